"""An account with a cluster, and an instance that runs what it is told.

Systems Manager's agent is a shell of this machine; what Bottlerocket has for it
(``apiclient``, ``sheltie``, ``host-ctr``, ``ctr``) are scripts that know their flags.
"""

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eks_inference.account.session import Account
from tests.account.conftest import IMAGE, REGION, Calls, session, watch
from tests.account.leftover_account import specification

CLUSTER = "inference-dev"
VLLM = "public.ecr.aws/deep-learning-containers/vllm:0.31.0-gpu"
VLLM_ON_PAGE = (
    "111122223333.dkr.ecr.us-east-1.amazonaws.com/dev-public/"
    "deep-learning-containers/vllm:0.31.0-gpu-py312-cu130-ubuntu24.04-ec2"
)
DIGEST = "sha256:" + "ab" * 32
MINE = f"123456789012.dkr.ecr.us-east-1.amazonaws.com/own@{DIGEST}"
PROFILE = "inference-dev-nodes"
CLUSTER_STACK = """{"Resources": {
    "NodeRole": {"Type": "AWS::IAM::Role", "Properties": {
        "AssumeRolePolicyDocument": {"Version": "2012-10-17", "Statement": []}}},
    "NodeProfile": {"Type": "AWS::IAM::InstanceProfile", "Properties": {
        "InstanceProfileName": "inference-dev-nodes", "Roles": [{"Ref": "NodeRole"}]}}
}}"""

_SCRIPTS = {
    "apiclient": """
        [ "$1 $2" = "exec admin" ] || exit 64
        shift 2
        [ -e admin ] || { echo "admin is not running" >&2; exit 1; }
        exec "$@"
    """,
    "sheltie": 'exec "$@"',
    # the admin container is there a while after the agent
    "sleep": "[ -e no-admin ] && exec /bin/sleep 0.2; touch admin",
    "systemctl": '[ "$*" = "stop kubelet" ] && touch kubelet-is-stopped',
    "host-ctr": """
        [ "$1" = --containerd-socket=/run/containerd/containerd.sock ] || exit 64
        [ "$2 $3" = "--namespace=k8s.io pull-image" ] || exit 64
        [ "$5" = --registry-config=/etc/host-containers/host-ctr.toml ] || exit 64
        [ "$6" = --label=io.cri-containerd.image=managed ] && [ $# = 6 ] || exit 64
        name="${4#--source=}"
        grep -F "$name " registry >> images || {
            echo "retries exhausted: pull access denied for $name" >&2; exit 1
        }
    """,
    "ctr": """
        [ "$1" = --address=/run/containerd/containerd.sock ] || exit 64
        [ "$2 $3 $4" = "--namespace=k8s.io images list" ] || exit 64
        echo "REF TYPE DIGEST SIZE PLATFORMS LABELS"
        while read -r name digest; do
            echo "$name   application/vnd.oci.image.index.v1+json $digest" \\
                "9.8 GiB linux/amd64 io.cri-containerd.image=managed"
        done < images
    """,
}


@dataclass
class Host:
    """The instance that the commands reach.

    Args:
        folder: Its file system.
        calls: Calls of the account, whose answers it gives.
        launched: Instance and volumes as they were when the first command came.
        slept: Seconds of each pause between two questions.
    """

    folder: Path
    calls: Calls
    launched: dict[str, Any] = field(default_factory=dict)
    slept: list[float] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    asked_online: int = 0
    _invocations: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, script in _SCRIPTS.items():
            path = self.folder / "bin" / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(f"#!/bin/sh\n{script}\n")
            path.chmod(0o755)
        self.offer({VLLM: DIGEST, MINE: DIGEST})
        (self.folder / "images").touch()
        answers = self.calls.answers
        answers["ssm:DescribeInstanceInformation"] = self._information
        answers["ssm:SendCommand"] = self._send
        answers["ssm:GetCommandInvocation"] = self._invocation

    def offer(self, images: Mapping[str, str]) -> None:
        """Say which images the registries have, with the digest of each."""
        lines = (f"{name} {digest}\n" for name, digest in images.items())
        (self.folder / "registry").write_text("".join(lines))

    def has(self, file: str) -> bool:
        """Return whether a file is there."""
        return (self.folder / file).exists()

    def _information(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        [[instance]] = [item["Values"] for item in asked["Filters"]]
        self.asked_online += 1
        status = ["", "Inactive", "Online"][min(self.asked_online, 3) - 1]
        listed = [{"InstanceId": instance, "PingStatus": status}] if status else []
        return {"InstanceInformationList": listed}

    def _send(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        [instance] = asked["InstanceIds"]
        assert asked["DocumentName"] == "AWS-RunShellScript"
        if not self.launched:
            self.launched = described(instance)
        lines = asked["Parameters"]["commands"]
        self.commands += lines
        found = {"Status": "TimedOut", "StandardErrorContent": "not in time"}
        try:
            done = subprocess.run(
                ["/bin/sh", "-c", "\n".join(lines)],
                cwd=self.folder,
                env={"PATH": f"{self.folder}/bin:/usr/bin:/bin"},
                capture_output=True,
                text=True,
                timeout=1,
                check=False,
            )
            found = {
                "Status": "Failed" if done.returncode else "Success",
                "StandardOutputContent": done.stdout,
                "StandardErrorContent": done.stderr,
            }
        except subprocess.TimeoutExpired:
            pass
        command = f"00000000-0000-0000-0000-{len(self._invocations):012}"
        self._invocations[command] = found
        return {"Command": {"CommandId": command}}

    def _invocation(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        return self._invocations[asked["CommandId"]]


def described(id: str) -> dict[str, Any]:
    """Return an instance as EC2 has it, with its volumes by device."""
    client = session().client("ec2", region_name=REGION)
    [page] = client.describe_instances(InstanceIds=[id])["Reservations"]
    [instance] = page["Instances"]
    data = client.describe_instance_attribute(InstanceId=id, Attribute="userData")
    volumes = {
        item["DeviceName"]: client.describe_volumes(
            VolumeIds=[item["Ebs"]["VolumeId"]]
        )["Volumes"][0]
        for item in instance["BlockDeviceMappings"]
    }
    return {**instance, "volumes": volumes, "userData": data["UserData"]["Value"]}


@dataclass
class Network:
    """Ids of the network that was made."""

    vpc: str
    subnet: str
    group: str


def fill(account: Account) -> Network:
    """Make a cluster's network, and what looks like it and is another's."""
    ec2 = account.client("ec2")

    def subnet(vpc: str, block: str, tags: Mapping[str, str]) -> str:
        made = ec2.create_subnet(
            VpcId=vpc, CidrBlock=block, **specification("subnet", tags)
        )
        return str(made["Subnet"]["SubnetId"])

    mine = {"karpenter.sh/discovery": CLUSTER}
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    other = ec2.create_vpc(CidrBlock="10.1.0.0/16")["Vpc"]["VpcId"]
    subnet(vpc, "10.0.0.0/24", mine)
    emptiest = subnet(vpc, "10.0.16.0/20", mine)
    subnet(vpc, "10.0.32.0/19", {"karpenter.sh/discovery": "inference-dev2"})
    subnet(other, "10.1.0.0/18", mine)
    group = ec2.create_security_group(
        GroupName="eks-cluster-sg", Description="of a test", VpcId=vpc
    )["GroupId"]
    return Network(vpc=vpc, subnet=emptiest, group=group)


def answer_cluster(calls: Calls, network: Network, **changes: Any) -> None:
    """Let EKS and Systems Manager know the cluster and Bottlerocket's releases."""
    found = {
        "name": CLUSTER,
        "version": "1.35",
        "status": "ACTIVE",
        "resourcesVpcConfig": {
            "vpcId": network.vpc,
            "clusterSecurityGroupId": network.group,
        },
        **changes,
    }

    def parameter(asked: Mapping[str, Any]) -> Mapping[str, Any]:
        pinned = "/aws/service/bottlerocket/aws-k8s-1.35/x86_64/1.64.0/image_id"
        assert asked["Name"] == pinned
        return {"Parameter": {"Name": pinned, "Value": IMAGE}}

    calls.answers["eks:DescribeCluster"] = lambda _: {"cluster": found}
    calls.answers["ssm:GetParameter"] = parameter


def make_stage(account: Account, folder: Path) -> tuple[Host, Network]:
    """Make a stage with a cluster, and an instance that is not launched yet."""
    network = fill(account)
    account.client("cloudformation").create_stack(
        StackName=f"{CLUSTER}-cluster", TemplateBody=CLUSTER_STACK
    )
    calls = watch(account)
    answer_cluster(calls, network)
    return Host(folder, calls), network


def answer_with_ids_that_stay(folder: Path, calls: Calls) -> Host:
    """Answer everything, with ids that a page can show; return the instance."""
    instance = {
        "InstanceId": "i-0a1b2c3d4e5f60718",
        "State": {"Name": "running"},
        "BlockDeviceMappings": [
            {"DeviceName": "/dev/xvdb", "Ebs": {"VolumeId": "vol-0a1b2c3d4e5f60718"}}
        ],
    }
    snapshot = {"SnapshotId": "snap-0a1b2c3d4e5f60718", "State": "completed"}
    profile = {
        "LogicalResourceId": "NodeProfile",
        "PhysicalResourceId": "inference-dev-cluster-NodeProfile-1a2b3c4d",
        "ResourceType": "AWS::IAM::InstanceProfile",
        "LastUpdatedTimestamp": "2026-11-24",
        "ResourceStatus": "CREATE_COMPLETE",
    }
    subnet = {"SubnetId": "subnet-0a1b2c3d4e5f60718", "AvailableIpAddressCount": 4_000}
    ami = {"Value": "ami-0a1b2c3d4e5f60718"}

    def launch(_: Mapping[str, Any]) -> Mapping[str, Any]:
        instance["State"] = {"Name": "running"}
        return {"Instances": [instance]}

    def stop(_: Mapping[str, Any]) -> Mapping[str, Any]:
        instance["State"] = {"Name": "stopped"}
        return {}

    def of(key: str, asked: Mapping[str, Any], item: object) -> Mapping[str, Any]:
        """Answer with what is asked for by its id; to a search nothing is found."""
        return {key: [item] if {"InstanceIds", "SnapshotIds"} & {*asked} else []}

    answer_cluster(calls, Network("vpc-0a1b2c3d4e5f60718", "", "sg-0a1b2c3d4e5f60718"))
    calls.answers |= {
        "cloudformation:ListStackResources": lambda _: {
            "StackResourceSummaries": [profile]
        },
        "ec2:CreateSnapshot": lambda _: snapshot,
        "ec2:DescribeInstances": lambda asked: of(
            "Reservations", asked, {"Instances": [instance]}
        ),
        "ec2:DescribeSecurityGroups": lambda _: {"SecurityGroups": []},
        "ec2:DescribeSnapshots": lambda asked: of("Snapshots", asked, snapshot),
        "ec2:DescribeSubnets": lambda _: {"Subnets": [subnet]},
        "ec2:RunInstances": launch,
        "ec2:StopInstances": stop,
        "ec2:TerminateInstances": lambda _: {},
        "ssm:GetParameter": lambda _: {"Parameter": ami},
        "sts:GetCallerIdentity": lambda _: {
            "Account": "111122223333",
            "Arn": "arn:aws:iam::111122223333:role/Admin",
        },
    }
    host = Host(folder, calls, launched=instance)
    host.offer({VLLM_ON_PAGE: DIGEST})
    return host
