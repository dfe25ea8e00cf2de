"""A mixed account: what a stage has left, and what looks like it and is another's."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from eks_inference.account.session import Account
from tests.account.conftest import IMAGE, REGION

CLUSTER = "inference-dev"
STAGE_TAG = "eks-inference:stage"

MINE: dict[str, dict[str, str]] = {
    "karpenter": {
        "kubernetes.io/cluster/inference-dev": "owned",
        "karpenter.sh/nodepool": "gpu-24",
        "eks:eks-cluster-name": "inference-dev",
        "karpenter.k8s.aws/ec2nodeclass": "gpu-24",
        STAGE_TAG: "dev",
    },
    "stage": {STAGE_TAG: "dev"},
}
"""Tags of what belongs to the stage."""

OTHERS: dict[str, dict[str, str]] = {
    "nothing": {},
    "longer stage": {STAGE_TAG: "dev2"},
    "stage in capitals": {STAGE_TAG: "Dev"},
    "another stage": {STAGE_TAG: "prod"},
    "longer cluster": {"kubernetes.io/cluster/inference-dev2": "owned"},
    "longer cluster of Karpenter": {"eks:eks-cluster-name": "inference-dev-2"},
    "shared with the cluster": {"kubernetes.io/cluster/inference-dev": "shared"},
    "stage as key": {"dev": STAGE_TAG},
    "another's with our stage": {
        "kubernetes.io/cluster/inference-dev2": "owned",
        STAGE_TAG: "dev",
    },
    "another's with our cluster": {
        "kubernetes.io/cluster/inference-dev": "owned",
        "eks:eks-cluster-name": "other",
    },
    "only a pool": {"karpenter.sh/nodepool": "gpu-24"},
}
"""Tags of what does not."""


@dataclass
class Scene:
    """Ids of what was made, by kind and the name of its tags."""

    account: Account
    ids: dict[tuple[str, str], str] = field(default_factory=dict)

    def mine(self, kind: str) -> set[str]:
        """Return the ids of a kind that belong to the stage."""
        return self._ids(kind, MINE)

    def others(self, kind: str) -> set[str]:
        """Return the ids of a kind that do not."""
        return self._ids(kind, OTHERS)

    def _ids(self, kind: str, names: Mapping[str, object]) -> set[str]:
        return {self.ids[key] for key in self.ids if key[0] == kind and key[1] in names}

    def alive(self, kind: str) -> set[str]:
        """Return the ids of a kind that the account still has."""
        ec2, iam = self.account.client("ec2"), self.account.client("iam")
        match kind:
            case "instance":
                return {
                    item["InstanceId"]
                    for page in ec2.describe_instances()["Reservations"]
                    for item in page["Instances"]
                    if item["State"]["Name"] != "terminated"
                }
            case "volume":
                listed = ec2.describe_volumes()["Volumes"]
                return {item["VolumeId"] for item in listed}
            case "network interface":
                listed = ec2.describe_network_interfaces()["NetworkInterfaces"]
                return {item["NetworkInterfaceId"] for item in listed}
            case "launch template":
                listed = ec2.describe_launch_templates()["LaunchTemplates"]
                return {item["LaunchTemplateId"] for item in listed}
            case "instance profile":
                listed = iam.list_instance_profiles()["InstanceProfiles"]
                return {item["InstanceProfileName"] for item in listed}
            case _:
                listed = ec2.describe_security_groups()["SecurityGroups"]
                return {item["GroupId"] for item in listed}


def tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Return tags as most services take them."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def specification(kind: str, tags: Mapping[str, str]) -> dict[str, Any]:
    """Return the argument that tags something when it is made."""
    if not tags:
        return {}
    return {"TagSpecifications": [{"ResourceType": kind, "Tags": tag_list(tags)}]}


def fill(account: Account) -> Scene:
    """Make one of each kind with each of the tags."""
    scene = Scene(account)
    ec2, iam = account.client("ec2"), account.client("iam")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.0.0/20")["Subnet"]["SubnetId"]
    for index, (name, tags) in enumerate({**MINE, **OTHERS}.items()):
        [instance] = ec2.run_instances(
            ImageId=IMAGE,
            InstanceType="g5.xlarge",
            MinCount=1,
            MaxCount=1,
            **specification("instance", tags),
        )["Instances"]
        scene.ids["instance", name] = instance["InstanceId"]
        scene.ids["volume", name] = ec2.create_volume(
            AvailabilityZone=f"{REGION}a", Size=8, **specification("volume", tags)
        )["VolumeId"]
        made = ec2.create_network_interface(
            SubnetId=subnet, **specification("network-interface", tags)
        )
        interface = made["NetworkInterface"]["NetworkInterfaceId"]
        scene.ids["network interface", name] = interface
        made = ec2.create_launch_template(
            LaunchTemplateName=f"karpenter.k8s.aws/{index}",
            LaunchTemplateData={"ImageId": IMAGE},
            **specification("launch-template", tags),
        )
        template = made["LaunchTemplate"]["LaunchTemplateId"]
        scene.ids["launch template", name] = template
        scene.ids["security group", name] = ec2.create_security_group(
            GroupName=f"group-{index}",
            Description="of a test",
            VpcId=vpc,
            **specification("security-group", tags),
        )["GroupId"]
        iam.create_instance_profile(
            InstanceProfileName=f"profile-{index}",
            Path=f"/karpenter/{REGION}/{CLUSTER}/uid-{index}/",
            Tags=tag_list(tags),
        )
        scene.ids["instance profile", name] = f"profile-{index}"
    return scene
