"""The cluster: version, access, add-ons, and the nodes of the controllers."""

import json
from dataclasses import replace
from typing import Any

import pytest

from eks_inference import ConfigurationError
from eks_inference.testing import as_text
from infra.settings import Settings
from infra.stages import load
from infra.versions import ADDONS, SUPPORTED
from tests.app.conftest import (
    Templates,
    of_kind,
    only,
    other_choices,
    resources,
    stage_templates,
    synthesis,
    synthesize,
)
from tests.app.good_settings import OFFICE
from tests.app.questions import exported, private_subnets

LOG_GROUP = "AWS::Logs::LogGroup"
LAUNCH_TEMPLATE = "AWS::EC2::LaunchTemplate"
FUNCTION = "AWS::Lambda::Function"


def test_kubernetes_1_35_is_the_default(templates: Templates) -> None:
    """A cluster runs Kubernetes 1.35 unless the settings say otherwise."""
    assert only(templates["Cluster"], "AWS::EKS::Cluster")["Version"] == "1.35"


def test_default_version_warns_of_nothing() -> None:
    """The default version is the one that needs no caution."""
    assert SUPPORTED["1.35"].caution == ""
    assert not [text for text in synthesis(load("dev")).warnings if "1.35" in text]


def test_old_version_is_selectable_with_a_warning() -> None:
    """Kubernetes 1.29 is there for clusters that exist, and says that it is over."""
    result = synthesis(at_version("1.29"))
    cluster = only(result.templates["Cluster"], "AWS::EKS::Cluster")
    [warning] = [text for text in result.warnings if "kubernetes_version" in text]
    assert cluster["Version"] == "1.29"
    assert "EKS ended its support" in warning


def test_kubectl_has_the_version_of_the_cluster() -> None:
    """Each version brings a kubectl of its own."""
    layers = {
        version: kubectl_layer(synthesize(at_version(version)))
        for version in ("1.29", "1.35")
    }
    assert layers["1.29"] != layers["1.35"]


def test_version_without_its_kubectl_says_what_to_install() -> None:
    """A version whose kubectl is not installed is refused with the package's name."""
    with pytest.raises(
        ConfigurationError, match=r"1\.34 .*add aws-cdk\.lambda-layer-kubectl-v34"
    ):
        synthesize(at_version("1.34"))


@pytest.mark.parametrize("version", ["1.29", "1.35"])
def test_version_table_decides_every_build(version: str) -> None:
    """Add-ons and node images are those of the version's row, and none is missing."""
    templates = synthesize(at_version(version))
    row = SUPPORTED[version]
    addons = {
        item["AddonName"]: item.get("AddonVersion")
        for item in resources(templates["Cluster"], "AWS::EKS::Addon").values()
    }
    aliases = {
        name: item["spec"]["amiSelectorTerms"]
        for name, item in of_kind(templates, "EC2NodeClass").items()
    }
    assert addons == {name: row.addons.get(name) for name in ADDONS}
    pinned = [{"alias": f"bottlerocket@v{row.bottlerocket}"}]
    assert aliases == {"system": pinned, "gpu-24": pinned}


def test_version_table_names_addons_that_exist() -> None:
    """A row names no unknown add-on, and the default one pins each of them."""
    for row in SUPPORTED.values():
        assert row.addons.keys() <= set(ADDONS), row.kubernetes
    assert SUPPORTED["1.35"].addons.keys() == set(ADDONS)


def test_access_entries_alone_decide_who_enters(templates: Templates) -> None:
    """There is no aws-auth config map, and the creator gets no silent rights."""
    assert only(templates["Cluster"], "AWS::EKS::Cluster")["AccessConfig"] == {
        "AuthenticationMode": "API",
        "BootstrapClusterCreatorAdminPermissions": False,
    }


def test_administrators_are_the_named_roles() -> None:
    """A named role gets an access entry with the administrator's policy."""
    cluster = synthesize(other_choices())["Cluster"]
    [entry] = [
        item
        for item in resources(cluster, "AWS::EKS::AccessEntry").values()
        if item["PrincipalArn"] == "arn:aws:iam::111122223333:role/Admin"
    ]
    [policy] = entry["AccessPolicies"]
    assert as_text(policy["PolicyArn"]).endswith("/AmazonEKSClusterAdminPolicy")


def test_administrators_of_one_name_are_told_apart() -> None:
    """Roles whose ARNs end alike, by path or account, each get an entry."""
    arns = (
        "arn:aws:iam::111122223333:role/Admin",
        "arn:aws:iam::111122223333:role/team/Admin",
        "arn:aws:iam::444455556666:role/Admin",
        "arn:aws:iam::111122223333:user/Admin",
    )
    cluster = synthesize(replace(load("dev"), admin_role_arns=arns))["Cluster"]
    entries = resources(cluster, "AWS::EKS::AccessEntry").values()
    principals = [item["PrincipalArn"] for item in entries]
    assert [item for item in principals if item in arns] == list(arns)


def test_missing_administrator_is_a_warning() -> None:
    """A cluster that nobody can use kubectl on says so."""
    told = [
        any("admin_role_arns" in text for text in synthesis(settings).warnings)
        for settings in (load("dev"), other_choices())
    ]
    assert told == [True, False]


def test_karpenter_nodes_may_join(templates: Templates) -> None:
    """The role of Karpenter's nodes has an access entry for nodes."""
    entries = resources(templates["Cluster"], "AWS::EKS::AccessEntry").values()
    [nodes] = [item for item in entries if item.get("Type") == "EC2_LINUX"]
    profile = only(templates["Cluster"], "AWS::IAM::InstanceProfile")
    [role] = profile["Roles"]
    assert nodes["PrincipalArn"] == {"Fn::GetAtt": [role["Ref"], "Arn"]}


def test_api_is_private(templates: Templates) -> None:
    """The Kubernetes API is not on the internet."""
    network = only(templates["Cluster"], "AWS::EKS::Cluster")["ResourcesVpcConfig"]
    assert network["EndpointPrivateAccess"] is True
    assert network["EndpointPublicAccess"] is False
    assert "PublicAccessCidrs" not in network


def test_api_is_public_for_named_networks_only() -> None:
    """Named networks reach the API over the internet, and nodes still privately."""
    cluster = only(synthesize(other_choices())["Cluster"], "AWS::EKS::Cluster")
    network = cluster["ResourcesVpcConfig"]
    assert network["EndpointPrivateAccess"] is True
    assert network["EndpointPublicAccess"] is True
    assert network["PublicAccessCidrs"] == [OFFICE]


def test_control_plane_logs_everything(templates: Templates) -> None:
    """The control plane writes all five kinds of log."""
    logging = only(templates["Cluster"], "AWS::EKS::Cluster")["Logging"]
    kinds = {item["Type"] for item in logging["ClusterLogging"]["EnabledTypes"]}
    assert kinds == {"api", "audit", "authenticator", "controllerManager", "scheduler"}


def test_control_plane_logs_end(templates: Templates) -> None:
    """The group that EKS writes to is ours, before EKS makes one without an end."""
    cluster = only(templates["Cluster"], "AWS::EKS::Cluster")
    groups = resources(templates["Cluster"], LOG_GROUP)
    [logical_id] = [
        name
        for name, group in groups.items()
        if group.get("LogGroupName") == f"/aws/eks/{cluster['Name']}/cluster"
    ]
    [resource] = [
        resource
        for resource in templates["Cluster"]["Resources"].values()
        if resource["Type"] == "AWS::EKS::Cluster"
    ]
    assert groups[logical_id]["RetentionInDays"] == 90
    assert logical_id in resource["DependsOn"]


def test_every_log_ends(templates: Templates) -> None:
    """No log group keeps what is written to it for ever, or for years."""
    days = [
        group.get("RetentionInDays", 10_000)
        for template in templates.values()
        for group in resources(template, LOG_GROUP).values()
    ]
    assert len(days) == 7
    assert max(days) <= 90


def test_secrets_are_encrypted_with_a_key_of_ours(templates: Templates) -> None:
    """Kubernetes secrets are encrypted with a key that rotates."""
    [encryption] = only(templates["Cluster"], "AWS::EKS::Cluster")["EncryptionConfig"]
    [(key_id, key)] = resources(templates["Cluster"], "AWS::KMS::Key").items()
    assert encryption["Resources"] == ["secrets"]
    assert encryption["Provider"] == {"KeyArn": {"Fn::GetAtt": [key_id, "Arn"]}}
    assert key["EnableKeyRotation"] is True


def test_auto_mode_is_off(templates: Templates) -> None:
    """EKS manages no compute, storage or load balancers: Karpenter here is our own."""
    cluster = only(templates["Cluster"], "AWS::EKS::Cluster")
    assert cluster["ComputeConfig"] == {"Enabled": False}
    assert cluster["StorageConfig"] == {"BlockStorage": {"Enabled": False}}
    load_balancing = cluster["KubernetesNetworkConfig"]["ElasticLoadBalancing"]
    assert load_balancing == {"Enabled": False}


def test_addons_are_the_managed_ones(templates: Templates) -> None:
    """Every add-on is one that EKS manages, the file system's driver included."""
    assert (
        only(templates["Cluster"], "AWS::EKS::Cluster")["BootstrapSelfManagedAddons"]
        is False
    )
    assert addon_values(templates).keys() == set(ADDONS)


def test_network_policies_are_enforced(templates: Templates) -> None:
    """The CNI enforces network policies; its schema wants the word, not the truth."""
    assert addon_values(templates)["vpc-cni"] == {"enableNetworkPolicy": "true"}


def test_agents_run_on_tainted_nodes(templates: Templates) -> None:
    """Credentials and GPU monitoring reach the GPU nodes despite their taint."""
    anywhere = {"tolerations": [{"operator": "Exists"}]}
    values = addon_values(templates)
    assert values["eks-pod-identity-agent"] == anywhere
    assert values["eks-node-monitoring-agent"] == {"dcgmAgent": anywhere}


def test_system_nodes_admit_controllers_only(stage: str) -> None:
    """One managed group of Bottlerocket nodes runs what Karpenter cannot launch."""
    expected = load(stage).system_nodes
    group = only(stage_templates(stage)["Cluster"], "AWS::EKS::Nodegroup")
    assert group["Taints"] == [
        {"Effect": "NO_SCHEDULE", "Key": "CriticalAddonsOnly", "Value": "true"}
    ]
    assert group["AmiType"] == "BOTTLEROCKET_x86_64"
    assert group["InstanceTypes"] == [expected.instance_type]
    assert group["NodeRepairConfig"] == {"Enabled": True}
    assert group["ScalingConfig"] == {
        "MinSize": expected.count,
        "DesiredSize": expected.count,
        "MaxSize": expected.count + 1,
    }


@pytest.mark.parametrize("version", ["1.29", "1.35"])
def test_system_nodes_follow_the_control_plane(version: str) -> None:
    """Nodes have the control plane's version, get it after it, and are not held up."""
    template = synthesize(at_version(version))["Cluster"]
    [(cluster_id, cluster)] = resources(template, "AWS::EKS::Cluster").items()
    group = only(template, "AWS::EKS::Nodegroup")
    assert group["Version"] == cluster["Version"] == version
    # the reference is what CloudFormation updates the cluster first for
    assert group["ClusterName"] == {"Ref": cluster_id}
    assert group["ForceUpdateEnabled"] is True


def test_system_nodes_have_the_image_of_their_version(templates: Templates) -> None:
    """EKS chooses the image: it refuses a version beside an image of our own."""
    cluster = templates["Cluster"]
    assert "ImageId" not in only(cluster, LAUNCH_TEMPLATE)["LaunchTemplateData"]
    assert "ReleaseVersion" not in only(cluster, "AWS::EKS::Nodegroup")


def test_pods_cannot_reach_the_credentials_of_a_system_node(
    templates: Templates,
) -> None:
    """Metadata needs a token and ends at the node, in the version that runs."""
    cluster = templates["Cluster"]
    [(template, properties)] = resources(cluster, LAUNCH_TEMPLATE).items()
    assert properties["LaunchTemplateData"]["MetadataOptions"] == {
        "HttpEndpoint": "enabled",
        "HttpTokens": "required",
        "HttpPutResponseHopLimit": 1,
    }
    assert only(cluster, "AWS::EKS::Nodegroup")["LaunchTemplate"] == {
        "Id": {"Ref": template},
        "Version": {"Fn::GetAtt": [template, "LatestVersionNumber"]},
    }


def test_volumes_of_system_nodes_are_encrypted(templates: Templates) -> None:
    """Both volumes of Bottlerocket are encrypted and go with their node."""
    data = only(templates["Cluster"], LAUNCH_TEMPLATE)["LaunchTemplateData"]
    mappings = {item["DeviceName"]: item["Ebs"] for item in data["BlockDeviceMappings"]}
    assert mappings.keys() == {"/dev/xvda", "/dev/xvdb"}
    for volume in mappings.values():
        assert volume["Encrypted"] is True
        assert volume["DeleteOnTermination"] is True
    assert mappings["/dev/xvdb"]["VolumeSize"] >= 40


def test_system_nodes_say_their_stage(stage: str) -> None:
    """Instances and volumes of the system nodes carry the tag of the stage."""
    cluster = stage_templates(stage)["Cluster"]
    data = only(cluster, LAUNCH_TEMPLATE)["LaunchTemplateData"]
    tags = [{"Key": "eks-inference:stage", "Value": stage}]
    assert data["TagSpecifications"] == [
        {"ResourceType": kind, "Tags": tags} for kind in ("instance", "volume")
    ]


def test_role_of_system_nodes_is_their_own(templates: Templates) -> None:
    """EKS deletes the access entry of a group, which Karpenter's nodes must keep."""
    cluster = templates["Cluster"]
    [profile] = only(cluster, "AWS::IAM::InstanceProfile")["Roles"]
    group = only(cluster, "AWS::EKS::Nodegroup")
    assert group["NodeRole"]["Fn::GetAtt"][0] != profile["Ref"]


def test_kubectl_handler_runs_in_private_subnets(templates: Templates) -> None:
    """What calls the private API does it from the private subnets, all of them."""
    private = private_subnets(templates["Network"])
    functions = resources(templates["Cluster"], FUNCTION).values()
    assert len(functions) == 2
    for function in functions:
        used = [as_text(item) for item in function["VpcConfig"]["SubnetIds"]]
        assert used == exported(templates["Network"], private)


def at_version(version: str) -> Settings:
    """Return the default stage on another Kubernetes version."""
    return replace(load("dev"), kubernetes_version=version)


def kubectl_layer(templates: Templates) -> str:
    """Return the asset with kubectl, which is none of the AWS CLI's."""
    [layer] = [
        layer["Content"]["S3Key"]
        for name, layer in resources(
            templates["Cluster"], "AWS::Lambda::LayerVersion"
        ).items()
        if "AwsCli" not in name
    ]
    return str(layer)


def addon_values(templates: Templates) -> dict[str, Any]:
    """Return the configuration of each add-on, by name."""
    return {
        item["AddonName"]: json.loads(item.get("ConfigurationValues", "null"))
        for item in resources(templates["Cluster"], "AWS::EKS::Addon").values()
    }
