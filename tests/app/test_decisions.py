"""What the platform has decided, one test for each decision, on the templates."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from eks_inference import ConfigurationError
from eks_inference.manifests import Manifest
from eks_inference.manifests.serving import VLLM_USER
from eks_inference.signal import IN_CLUSTER_PROMETHEUS
from eks_inference.testing import as_text
from infra.settings import ENDPOINT_SERVICES, NetworkSettings, Settings
from infra.stages import load
from infra.versions import ADDONS, KARPENTER_CHART, KEDA_CHART, SUPPORTED
from tests.app.conftest import (
    RELEASE_TYPE,
    Templates,
    objects,
    of_kind,
    only,
    other_choices,
    resources,
    stage_templates,
    statements,
    synthesis,
    synthesize,
)

ENDPOINT = "AWS::EC2::VPCEndpoint"
SUBNET = "AWS::EC2::Subnet"
LOG_GROUP = "AWS::Logs::LogGroup"
FUNCTION = "AWS::Lambda::Function"
DISCOVERY = "karpenter.sh/discovery"
STATEFUL = {
    "AWS::EFS::FileSystem",
    "AWS::KMS::Key",
    "AWS::Logs::LogGroup",
    "AWS::S3::Bucket",
}


# Kubernetes


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
        for stack in ("Cluster", "Platform")
        for item in resources(templates[stack], "AWS::EKS::Addon").values()
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


# EKS


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
    assert network["PublicAccessCidrs"] == ["192.0.2.0/24"]


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
    assert len(days) == 4
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


def test_kubectl_handler_runs_in_private_subnets(templates: Templates) -> None:
    """What calls the private API does it from the private subnets, all of them."""
    private = private_subnets(templates["Network"])
    functions = resources(templates["Cluster"], FUNCTION).values()
    assert len(functions) == 2
    for function in functions:
        used = [as_text(item) for item in function["VpcConfig"]["SubnetIds"]]
        assert used == exported(templates["Network"], private)


# Network


def test_s3_endpoint_admits_what_the_platform_needs(templates: Templates) -> None:
    """Layers of ECR, answers to CloudFormation and own buckets pass; nothing else."""
    [(_, gateway)] = endpoints(templates["Network"], "Gateway").items()
    assert as_text(gateway["ServiceName"]).endswith(".s3")
    layers, responses, own = statements(gateway["PolicyDocument"])
    assert [item["Effect"] for item in (layers, responses, own)] == [["Allow"]] * 3
    assert layers["Action"] == ["s3:GetObject"]
    assert [as_text(item) for item in layers["Resource"]] == [
        "arn:${AWS::Partition}:s3:::prod-${AWS::Region}-starport-layer-bucket/*"
    ]
    assert responses["Action"] == ["s3:PutObject"]
    [bucket] = responses["Resource"]
    assert without_dashes(bucket, "eu-west-1") == (
        "arn:aws:s3:::cloudformation-custom-resource-response-euwest1/*"
    )
    assert own["Resource"] == ["*"]
    assert own["Condition"] == [
        {"StringEquals": {"aws:ResourceAccount": {"Ref": "AWS::AccountId"}}}
    ]
    assert {"s3:GetObject", "s3:ListBucket", "s3:PutObject"} <= set(own["Action"])
    assert not any("*" in action for action in own["Action"])


def test_s3_endpoint_serves_every_subnet(templates: Templates) -> None:
    """No subnet reaches S3 through NAT, which costs by the gigabyte."""
    [(_, gateway)] = endpoints(templates["Network"], "Gateway").items()
    tables = resources(templates["Network"], "AWS::EC2::RouteTable")
    assert {item["Ref"] for item in gateway["RouteTableIds"]} == tables.keys()


def test_interface_endpoints_of_a_stage(dev: Templates, prod: Templates) -> None:
    """Development pays for the image endpoints only, production for all services."""
    assert services(dev["Network"]) == {"ecr.api", "ecr.dkr"}
    assert services(prod["Network"]) == set(ENDPOINT_SERVICES)


def test_interface_endpoints_admit_the_vpc_on_443(templates: Templates) -> None:
    """Every private address can connect to an endpoint, by HTTPS and not otherwise."""
    network = templates["Network"]
    vpc = only(network, "AWS::EC2::VPC")
    private = private_subnets(network)
    for endpoint in endpoints(network, "Interface").values():
        [group] = endpoint["SecurityGroupIds"]
        properties = network["Resources"][group["Fn::GetAtt"][0]]["Properties"]
        [rule] = properties["SecurityGroupIngress"]
        assert rule["CidrIp"] == vpc["CidrBlock"]
        assert (rule["IpProtocol"], rule["FromPort"], rule["ToPort"]) == (
            *("tcp", 443),
            443,
        )
        assert endpoint["PrivateDnsEnabled"] is True
        assert [item["Ref"] for item in endpoint["SubnetIds"]] == private


def test_no_interface_endpoint_is_required() -> None:
    """A stage without interface endpoints has no security group for them either."""
    network = synthesize(other_choices())["Network"]
    assert services(network) == set()
    assert resources(network, "AWS::EC2::SecurityGroup") == {}


def test_refused_traffic_is_logged(templates: Templates) -> None:
    """The flow log of the VPC goes to a log group of ours."""
    log = only(templates["Network"], "AWS::EC2::FlowLog")
    [group] = resources(templates["Network"], LOG_GROUP)
    assert log["LogGroupName"] == {"Ref": group}
    assert log["TrafficType"] == "REJECT"
    assert log["ResourceType"] == "VPC"


@pytest.mark.parametrize(
    ("gateways", "account", "count"), [(1, "111122223333", 1), (3, "111122223333", 3)]
)
def test_nat_gateways_are_as_many_as_the_settings_say(
    gateways: int, account: str, count: int
) -> None:
    """One NAT gateway is cheap, one for each zone survives a zone."""
    network = network_of(gateways=gateways, account=account)
    assert len(resources(network, "AWS::EC2::NatGateway")) == count


def test_nat_gateways_are_at_most_one_for_each_zone() -> None:
    """Where only two zones are known, three NAT gateways become two."""
    assert len(resources(network_of(gateways=3), "AWS::EC2::NatGateway")) == 2


def test_known_account_gives_three_zones() -> None:
    """Three zones are used where the account is known."""
    zones = zones_of(network_of(account="111122223333"))
    assert zones == [zone_number(index) for index in range(3)]


def test_unknown_account_gives_two_zones() -> None:
    """Two zones are used where the account is unknown: each region has two."""
    assert zones_of(network_of()) == [zone_number(index) for index in range(2)]


def test_zones_can_be_named() -> None:
    """Named zones are used as they are, where EKS refuses the first ones."""
    named = ("us-east-1a", "us-east-1b", "us-east-1d")
    assert zones_of(network_of(zones=named)) == list(named)


def test_private_subnets_are_discovered_by_karpenter(dev: Templates) -> None:
    """Karpenter finds the private subnets by the cluster's name, and no public one."""
    [(cluster, properties)] = resources(dev["Cluster"], "AWS::EKS::Cluster").items()
    [imported] = exported(dev["Cluster"], [cluster])
    tagged = [
        name
        for name, subnet in resources(dev["Network"], SUBNET).items()
        if {"Key": DISCOVERY, "Value": properties["Name"]} in subnet["Tags"]
    ]
    assert tagged == private_subnets(dev["Network"])
    for item in of_kind(dev, "EC2NodeClass").values():
        [term] = item["spec"]["subnetSelectorTerms"]
        assert term["tags"].keys() == {DISCOVERY}
        assert term["tags"][DISCOVERY] in {imported, properties["Name"]}


def test_no_subnet_gives_public_addresses(templates: Templates) -> None:
    """Nothing gets a public address by being launched."""
    subnets = resources(templates["Network"], SUBNET).values()
    assert {subnet["MapPublicIpOnLaunch"] for subnet in subnets} == {False}


# Images


def test_public_images_are_cached(templates: Templates) -> None:
    """A rule caches public ECR, and its repositories are made by a template."""
    registry = templates["Registry"]
    rule = only(registry, "AWS::ECR::PullThroughCacheRule")
    template = only(registry, "AWS::ECR::RepositoryCreationTemplate")
    assert rule["EcrRepositoryPrefix"] == "ecr-public"
    assert rule["UpstreamRegistryUrl"] == "public.ecr.aws"
    assert template["Prefix"] == "ecr-public"
    assert template["AppliedFor"] == ["PULL_THROUGH_CACHE"]
    assert template["ImageTagMutability"] == "IMMUTABLE"
    assert json.loads(template["LifecyclePolicy"])["rules"]


def test_docker_hub_is_cached_with_credentials_only() -> None:
    """Docker Hub has a cache where a secret for it is named, in the account's own."""
    rules = resources(
        synthesize(other_choices())["Registry"], "AWS::ECR::PullThroughCacheRule"
    )
    assert rules.keys() == {"EcrPublic", "DockerHub"}
    assert as_text(rules["DockerHub"]["CredentialArn"]) == (
        "arn:${AWS::Partition}:secretsmanager:${AWS::Region}:${AWS::AccountId}:"
        "secret:ecr-pullthroughcache/docker-hub"
    )


@pytest.mark.parametrize(
    ("settings", "prefixes"),
    [
        (load("dev"), {"ecr-public"}),
        (other_choices(), {"ecr-public", "docker-hub"}),
    ],
)
def test_nodes_may_fill_the_caches(settings: Settings, prefixes: set[str]) -> None:
    """The first pull of an image may import it, below the caches' prefixes alone."""
    cluster = synthesize(settings)["Cluster"]
    roles = [
        item
        for item in resources(cluster, "AWS::IAM::Role").values()
        if "Nodes of the cluster" in item.get("Description", "")
    ]
    assert len(roles) == 2
    for role in roles:
        [policy] = role["Policies"]
        [statement] = statements(policy["PolicyDocument"])
        assert statement["Action"] == [
            "ecr:BatchImportUpstreamImage",
            "ecr:CreateRepository",
        ]
        assert {as_text(item) for item in statement["Resource"]} == {
            "arn:${AWS::Partition}:ecr:${AWS::Region}:${AWS::AccountId}:"
            f"repository/{prefix}/*"
            for prefix in prefixes
        }


def test_pods_name_the_cached_image(templates: Templates) -> None:
    """A pod names the repository of the cache, with a pinned tag."""
    assert container(templates, "mistral-7b")["image"] == (
        "${AWS::AccountId}.dkr.ecr.${AWS::Region}.${AWS::URLSuffix}/ecr-public/"
        "deep-learning-containers/vllm:0.31.0-gpu-py312-cu130-ubuntu24.04-ec2"
    )


def test_digest_is_used_where_it_is_given() -> None:
    """A known digest pins the image beside the tag."""
    image = container(synthesize(other_choices()), "mistral-7b")["image"]
    assert image.endswith("-ec2@sha256:" + "0" * 64)


# Nodes and Karpenter


def test_gpu_nodes_boot_bottlerocket_with_parallel_pull(dev: Templates) -> None:
    """GPU nodes run a pinned Bottlerocket that pulls images in parallel, on NVMe."""
    spec = of_kind(dev, "EC2NodeClass")["gpu-24"]["spec"]
    assert spec["amiSelectorTerms"] == [{"alias": "bottlerocket@v1.64.0"}]
    assert spec["instanceStorePolicy"] == "RAID0"
    assert 'snapshotter = "soci"' in spec["userData"]
    assert 'pull-mode = "parallel-pull-unpack"' in spec["userData"]


def test_pods_cannot_reach_the_credentials_of_a_node(templates: Templates) -> None:
    """Metadata needs a token and ends at the node, on each node of Karpenter's."""
    for item in of_kind(templates, "EC2NodeClass").values():
        assert item["spec"]["metadataOptions"] == {
            "httpEndpoint": "enabled",
            "httpTokens": "required",
            "httpPutResponseHopLimit": 1,
        }


def test_volumes_of_gpu_nodes_are_encrypted(dev: Templates) -> None:
    """Every volume of a GPU node is encrypted and goes with it."""
    spec = of_kind(dev, "EC2NodeClass")["gpu-24"]["spec"]
    for mapping in spec["blockDeviceMappings"]:
        assert mapping["ebs"]["encrypted"] is True
        assert mapping["ebs"]["deleteOnTermination"] is True


def test_gpu_pool_names_its_gpus(dev: Templates) -> None:
    """A pool asks for GPUs by name, memory and count, never for a whole category."""
    requirements = {
        item["key"]: (item["operator"], item["values"])
        for item in pool(dev)["template"]["spec"]["requirements"]
    }
    gpu = "karpenter.k8s.aws/instance-gpu-"
    assert requirements == {
        "kubernetes.io/arch": ("In", ["amd64"]),
        "kubernetes.io/os": ("In", ["linux"]),
        "karpenter.sh/capacity-type": ("In", ["on-demand", "spot"]),
        f"{gpu}name": ("In", ["a10g", "l4"]),
        f"{gpu}count": ("In", ["1"]),
        f"{gpu}memory": ("In", ["22888"]),
    }


def test_gpu_pool_is_bounded(dev: Templates) -> None:
    """A pool cannot grow beyond the GPUs that its settings allow."""
    assert pool(dev)["limits"] == {"nvidia.com/gpu": "11"}


def test_gpu_nodes_admit_gpu_pods_only(dev: Templates) -> None:
    """GPU nodes are tainted, and the models' pods tolerate it."""
    [taint] = pool(dev)["template"]["spec"]["taints"]
    [toleration] = pod(dev, "mistral-7b")["tolerations"]
    assert taint == {"key": "nvidia.com/gpu", "value": "true", "effect": "NoSchedule"}
    assert toleration == {
        "key": "nvidia.com/gpu",
        "operator": "Exists",
        "effect": "NoSchedule",
    }


def test_busy_gpu_nodes_are_left_alone(dev: Templates) -> None:
    """Only empty nodes go at once, and not before a cold start would be over."""
    disruption = pool(dev)["disruption"]
    assert disruption["consolidationPolicy"] == "WhenEmpty"
    assert int(disruption["consolidateAfter"].removesuffix("s")) >= 300
    assert disruption["budgets"] == [
        {"nodes": "100%", "reasons": ["Empty"]},
        {"nodes": "10%", "reasons": ["Drifted", "Underutilized"]},
    ]


def test_gpu_nodes_do_not_live_for_ever(dev: Templates) -> None:
    """A node is replaced in time, and its drain has an end."""
    node = pool(dev)["template"]["spec"]
    assert node["expireAfter"] == "720h"
    assert node["terminationGracePeriod"] == "10m"


def test_karpenter_and_its_crds_are_one_version(templates: Templates) -> None:
    """Both charts of Karpenter have the pinned version, from its own registry."""
    for name in ("karpenter-crd", "karpenter"):
        chart = release(templates, name)
        assert chart["Version"] == KARPENTER_CHART == "1.14.1"
        assert chart["Repository"] == f"oci://public.ecr.aws/karpenter/{name}"
        assert chart["Namespace"] == "kube-system"


def test_karpenter_hears_of_interruptions(templates: Templates) -> None:
    """Karpenter reads the queue that five rules fill, each with its exact event."""
    platform = templates["Platform"]
    [queue] = resources(platform, "AWS::SQS::Queue")
    rules = resources(platform, "AWS::Events::Rule").values()
    events = {
        (*rule["EventPattern"]["source"], *rule["EventPattern"]["detail-type"])
        for rule in rules
    }
    targets = [target["Arn"] for rule in rules for target in rule["Targets"]]
    settings = values(release(templates, "karpenter"))["settings"]
    assert settings["interruptionQueue"] == f"${{{queue}.QueueName}}"
    assert targets == [{"Fn::GetAtt": [queue, "Arn"]}] * 5
    assert events == {
        ("aws.health", "AWS Health Event"),
        ("aws.ec2", "EC2 Spot Instance Interruption Warning"),
        ("aws.ec2", "EC2 Instance Rebalance Recommendation"),
        ("aws.ec2", "EC2 Instance State-change Notification"),
        ("aws.ec2", "EC2 Capacity Reservation Instance Interruption Warning"),
    }


def test_queue_admits_events_of_this_account(templates: Templates) -> None:
    """EventBridge may write to the queue for this account, and nobody without TLS."""
    platform = templates["Platform"]
    [(queue, properties)] = resources(platform, "AWS::SQS::Queue").items()
    policy = only(platform, "AWS::SQS::QueuePolicy")
    insecure, events = statements(policy["PolicyDocument"])
    assert properties["SqsManagedSseEnabled"] is True
    assert policy["Queues"] == [{"Ref": queue}]
    assert insecure["Effect"] == ["Deny"]
    assert insecure["Condition"] == [{"Bool": {"aws:SecureTransport": "false"}}]
    assert events["Effect"] == ["Allow"]
    assert events["Principal"] == [{"Service": "events.amazonaws.com"}]
    assert events["Action"] == ["sqs:SendMessage"]
    assert "aws:Source" in json.dumps(events["Condition"])


def test_karpenter_hands_over_the_node_role_only(templates: Templates) -> None:
    """Karpenter can give instances the nodes' role and no other."""
    [allowed] = [
        statement
        for role in resources(templates["Platform"], "AWS::IAM::Role").values()
        for policy in role.get("Policies", ())
        for statement in statements(policy["PolicyDocument"])
        if "iam:PassRole" in statement["Action"]
    ]
    [profile] = only(templates["Cluster"], "AWS::IAM::InstanceProfile")["Roles"]
    role = exported(templates["Cluster"], [f"{profile['Ref']}.Arn"])
    assert [as_text(item) for item in allowed["Resource"]] == role


# Controllers


def test_keda_is_found_by_its_names(templates: Templates) -> None:
    """KEDA has the pinned version, and its operator the account that has a role."""
    chart = release(templates, "keda")
    assert (chart["Version"], chart["Namespace"]) == (KEDA_CHART, "keda")
    account = values(chart)["serviceAccount"]["operator"]["name"]
    associations = resources(
        templates["Platform"], "AWS::EKS::PodIdentityAssociation"
    ).values()
    assert ("keda", account) in {
        (item["Namespace"], item["ServiceAccount"]) for item in associations
    }


def test_prometheus_is_where_keda_asks(templates: Templates) -> None:
    """Release and namespace of Prometheus make the address of the models' signal."""
    chart = release(templates, "kube-prometheus-stack")
    address = f"http://{chart['Release']}-prometheus.{chart['Namespace']}.svc:9090"
    assert address == IN_CLUSTER_PROMETHEUS
    for scaler in of_kind(templates, "ScaledObject").values():
        for trigger in scaler["spec"]["triggers"]:
            assert trigger["metadata"]["serverAddress"] == address


def test_prometheus_scrapes_every_namespace(templates: Templates) -> None:
    """A monitor needs no label of the release to be found."""
    spec = values(release(templates, "kube-prometheus-stack"))["prometheus"]
    assert spec["prometheusSpec"]["podMonitorSelectorNilUsesHelmValues"] is False


def test_controllers_run_on_the_system_nodes(templates: Templates) -> None:
    """What must run before Karpenter has made a node tolerates the system nodes."""
    tolerated = [{"key": "CriticalAddonsOnly", "operator": "Exists"}]
    keda = values(release(templates, "keda"))
    stack = values(release(templates, "kube-prometheus-stack"))
    operator = stack["prometheusOperator"]
    assert keda["tolerations"] == tolerated
    assert stack["prometheus"]["prometheusSpec"]["tolerations"] == tolerated
    assert operator["tolerations"] == tolerated
    assert operator["admissionWebhooks"]["patch"]["tolerations"] == tolerated


# Storage


def test_compile_cache_is_an_encrypted_elastic_file_system(
    templates: Templates,
) -> None:
    """The compile cache is encrypted with the storage key and pays for what it uses."""
    system = only(templates["Storage"], "AWS::EFS::FileSystem")
    [key] = resources(templates["Storage"], "AWS::KMS::Key")
    assert system["Encrypted"] is True
    assert system["KmsKeyId"] == {"Fn::GetAtt": [key, "Arn"]}
    assert system["ThroughputMode"] == "elastic"


@pytest.mark.parametrize("account", [None, "111122223333"])
def test_compile_cache_is_mounted_in_every_zone(account: str | None) -> None:
    """Each private subnet has a mount target: a pod waits for ever without one."""
    templates = stage_templates("dev", account, account and "us-east-1")
    targets = resources(templates["Storage"], "AWS::EFS::MountTarget").values()
    used = [as_text(item["SubnetId"]) for item in targets]
    private = private_subnets(templates["Network"])
    assert used == exported(templates["Network"], private)
    assert len(used) == (3 if account else 2)


def test_compile_cache_admits_nodes_on_2049_only(templates: Templates) -> None:
    """Only members of the cluster's security group reach the file system, by NFS."""
    storage = templates["Storage"]
    [(group, properties)] = resources(storage, "AWS::EC2::SecurityGroup").items()
    rule = only(storage, "AWS::EC2::SecurityGroupIngress")
    [cluster] = resources(templates["Cluster"], "AWS::EKS::Cluster")
    nodes = exported(templates["Cluster"], [f"{cluster}.ClusterSecurityGroupId"])
    assert "SecurityGroupIngress" not in properties
    assert rule["GroupId"] == {"Fn::GetAtt": [group, "GroupId"]}
    assert [as_text(rule["SourceSecurityGroupId"])] == nodes
    assert (rule["IpProtocol"], rule["FromPort"], rule["ToPort"]) == (
        *("tcp", 2049),
        2049,
    )
    for target in resources(storage, "AWS::EFS::MountTarget").values():
        assert target["SecurityGroups"] == [{"Fn::GetAtt": [group, "GroupId"]}]


def test_compile_cache_belongs_to_the_user_of_the_pods(templates: Templates) -> None:
    """The access point writes as the user that the pods run as."""
    point = only(templates["Storage"], "AWS::EFS::AccessPoint")
    user = {"Uid": str(VLLM_USER), "Gid": "0"}
    security = pod(templates, "mistral-7b")["securityContext"]
    assert point["PosixUser"] == user
    assert point["RootDirectory"]["CreationInfo"] == {
        "OwnerUid": str(VLLM_USER),
        "OwnerGid": "0",
        "Permissions": "0770",
    }
    assert (security["runAsUser"], security["runAsGroup"]) == (VLLM_USER, 0)


def test_compile_cache_needs_tls_and_admits_no_root(templates: Templates) -> None:
    """Connections without TLS are refused, and nobody is allowed to be root."""
    system = only(templates["Storage"], "AWS::EFS::FileSystem")
    allowed, denied = statements(system["FileSystemPolicy"])
    assert allowed["Effect"] == ["Allow"]
    assert allowed["Action"] == [
        "elasticfilesystem:ClientMount",
        "elasticfilesystem:ClientWrite",
    ]
    assert denied["Effect"] == ["Deny"]
    assert denied["Condition"] == [{"Bool": {"aws:SecureTransport": False}}]
    assert "elasticfilesystem:ClientMount" in denied["Action"]


def test_compile_cache_is_one_argument() -> None:
    """Without the shared cache there is no file system, driver or role for it."""
    templates = synthesize(other_choices())
    assert resources(templates["Storage"], "AWS::EFS::FileSystem") == {}
    assert resources(templates["Platform"], "AWS::EKS::Addon") == {}
    assert "CompileCache" not in json.dumps(templates)


def test_model_bucket_is_private_and_encrypted(templates: Templates) -> None:
    """The weights are encrypted with the storage key and never public."""
    bucket = only(templates["Storage"], "AWS::S3::Bucket")
    [key] = resources(templates["Storage"], "AWS::KMS::Key")
    [rule] = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    assert len(bucket["PublicAccessBlockConfiguration"]) == 4
    assert rule["BucketKeyEnabled"] is True
    assert rule["ServerSideEncryptionByDefault"] == {
        "SSEAlgorithm": "aws:kms",
        "KMSMasterKeyID": {"Fn::GetAtt": [key, "Arn"]},
    }


def test_model_bucket_needs_tls(templates: Templates) -> None:
    """Requests without TLS are refused for the bucket and for its objects."""
    policy = only(templates["Storage"], "AWS::S3::BucketPolicy")
    denied = statements(policy["PolicyDocument"])[0]
    assert denied["Effect"] == ["Deny"]
    assert denied["Action"] == ["s3:*"]
    assert denied["Condition"] == [{"Bool": {"aws:SecureTransport": "false"}}]
    assert len(denied["Resource"]) == 2


def test_model_bucket_keeps_versions_for_a_while(templates: Templates) -> None:
    """A deleted version can be restored for 30 days; a broken upload is cleaned up."""
    bucket = only(templates["Storage"], "AWS::S3::Bucket")
    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    assert bucket["LifecycleConfiguration"]["Rules"] == [
        {
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 3},
            "NoncurrentVersionExpiration": {"NoncurrentDays": 30},
            "Status": "Enabled",
        }
    ]


def test_model_reads_its_own_prefix(templates: Templates) -> None:
    """The role of a model reads below its prefix, and decrypts, and nothing more."""
    role = only(templates["Serving"], "AWS::IAM::Role")
    [policy] = role["Policies"]
    read, listing, decrypt = statements(policy["PolicyDocument"])
    prefix = "models/mistral-7b-instruct-awq/*"
    [weights] = [as_text(item) for item in read["Resource"]]
    assert read["Action"] == ["s3:GetObject"]
    assert weights.endswith(f"}}/{prefix}")
    assert listing["Action"] == ["s3:ListBucket"]
    assert listing["Condition"] == [{"StringLike": {"s3:prefix": prefix}}]
    assert decrypt["Action"] == ["kms:Decrypt"]
    assert "*" not in as_text(decrypt["Resource"][0])


def test_pods_of_this_account_alone_assume_a_role(templates: Templates) -> None:
    """Each role of pods is EKS Pod Identity's, for clusters of this account."""
    roles = [
        template["Resources"][item["RoleArn"]["Fn::GetAtt"][0]]["Properties"]
        for template in templates.values()
        for item in resources(template, "AWS::EKS::PodIdentityAssociation").values()
    ]
    assert len(roles) == 4
    for role in roles:
        [trust] = statements(role["AssumeRolePolicyDocument"])
        assert trust["Action"] == ["sts:AssumeRole", "sts:TagSession"]
        assert trust["Principal"] == [{"Service": "pods.eks.amazonaws.com"}]
        assert trust["Condition"] == [
            {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}
        ]


# Serving and scaling


def test_weights_are_streamed_from_the_bucket(dev: Templates) -> None:
    """vLLM streams the weights from the model's prefix, many requests at once."""
    arguments = container(dev, "mistral-7b")["args"]
    assert arguments[0].startswith("s3://${inference-dev-storage:")
    assert arguments[0].endswith("}/models/mistral-7b-instruct-awq/")
    assert "--load-format=runai_streamer" in arguments
    assert '--model-loader-extra-config={"concurrency":16}' in arguments


def test_weights_fit_the_memory_of_the_pod(dev: Templates) -> None:
    """The streamer's buffer is smaller than the pod's memory."""
    main = container(dev, "mistral-7b")
    limit = int(environment(main)["RUNAI_STREAMER_MEMORY_LIMIT"])
    memory = int(main["resources"]["limits"]["memory"].removesuffix("Gi"))
    assert 1e9 < limit < memory * 1024**3 / 2


def test_compile_cache_is_apart_for_each_model_gpu_and_image(dev: Templates) -> None:
    """A pod sees the directory of its model, GPUs and image only."""
    [mount] = [
        item
        for item in container(dev, "mistral-7b")["volumeMounts"]
        if item["name"] == "cache"
    ]
    assert mount["subPath"] == (
        "mistral-7b/a10g-l4/vllm-0.31.0-gpu-py312-cu130-ubuntu24.04-ec2"
    )


def test_scaling_follows_running_and_waiting_requests(dev: Templates) -> None:
    """A replica is full at three quarters of the sequences that it processes."""
    spec = of_kind(dev, "ScaledObject")["mistral-7b"]["spec"]
    assert "--max-num-seqs=32" in container(dev, "mistral-7b")["args"]
    assert spec["advanced"]["scalingModifiers"] == {
        "formula": "running + waiting * 10",
        "target": "24",
        "metricType": "AverageValue",
    }


def test_scaling_is_fast_up_and_slow_down(dev: Templates) -> None:
    """One replica becomes ten at once; replicas go one by one after a quiet time."""
    advanced = of_kind(dev, "ScaledObject")["mistral-7b"]["spec"]["advanced"]
    behavior = advanced["horizontalPodAutoscalerConfig"]["behavior"]
    assert behavior == {
        "scaleUp": {
            "stabilizationWindowSeconds": 0,
            "selectPolicy": "Max",
            "policies": [
                {"type": "Percent", "value": 900, "periodSeconds": 15},
                {"type": "Pods", "value": 9, "periodSeconds": 15},
            ],
        },
        "scaleDown": {
            "stabilizationWindowSeconds": 300,
            "policies": [{"type": "Pods", "value": 1, "periodSeconds": 120}],
        },
    }


def test_silent_metrics_are_not_an_empty_queue(dev: Templates) -> None:
    """A query without an answer is an error, upon which the replicas stay."""
    spec = of_kind(dev, "ScaledObject")["mistral-7b"]["spec"]
    assert spec["fallback"]["behavior"] == "currentReplicasIfHigher"
    for trigger in spec["triggers"]:
        assert trigger["metadata"]["ignoreNullValues"] == "false"
        assert trigger["metadata"]["query"].startswith("sum(")


def test_metrics_are_fresh(dev: Templates) -> None:
    """Prometheus scrapes the models every five seconds."""
    spec = of_kind(dev, "PodMonitor")["mistral-7b"]["spec"]
    assert [item["interval"] for item in spec["podMetricsEndpoints"]] == ["5s"]


def test_zero_replicas_wake_by_the_clock() -> None:
    """A model that can go to zero has a trigger outside its own pods."""
    spec = of_kind(synthesize(other_choices()), "ScaledObject")["office-hours"]["spec"]
    clock = spec["triggers"][-1]
    assert spec["minReplicaCount"] == 0
    assert (clock["type"], clock["metadata"]["timezone"]) == ("cron", "Europe/Berlin")
    assert spec["cooldownPeriod"] >= 300


def test_shutdown_fits_a_spot_notice(dev: Templates) -> None:
    """Waiting, draining and ending take less than EC2's notice of two minutes."""
    main = container(dev, "mistral-7b")
    [timeout] = [item for item in main["args"] if "--shutdown-timeout=" in item]
    _, wait = main["lifecycle"]["preStop"]["exec"]["command"]
    grace = pod(dev, "mistral-7b")["terminationGracePeriodSeconds"]
    assert int(wait) + int(timeout.partition("=")[2]) < grace <= 110


def test_disruption_takes_one_replica_at_a_time(dev: Templates) -> None:
    """A budget bounds voluntary disruption and never blocks the only replica."""
    budget = of_kind(dev, "PodDisruptionBudget")["mistral-7b"]["spec"]
    assert budget["maxUnavailable"] == 1
    assert "minAvailable" not in budget


# Network policies


def test_namespaces_refuse_what_nobody_allows(templates: Templates) -> None:
    """Each namespace of ours denies by default, the models' in both directions."""
    denied = {
        item["metadata"]["namespace"]: item["spec"]
        for item in policies(templates)
        if item["metadata"]["name"] == "default-deny"
    }
    both = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    incoming = {"podSelector": {}, "policyTypes": ["Ingress"]}
    assert denied == {"inference": both, "keda": incoming, "monitoring": incoming}


def test_models_reach_names_credentials_and_storage(templates: Templates) -> None:
    """A model's pod asks for names, for its credentials, and HTTPS; nothing else."""
    names, credentials, storage = models_policy(templates)["egress"]
    [dns] = names["to"]
    assert dns == {
        "namespaceSelector": {
            "matchLabels": {"kubernetes.io/metadata.name": "kube-system"}
        },
        "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
    }
    assert names["ports"] == [
        {"protocol": "UDP", "port": 53},
        {"protocol": "TCP", "port": 53},
    ]
    assert credentials == {
        "to": [{"ipBlock": {"cidr": "169.254.170.23/32"}}],
        "ports": [{"protocol": "TCP", "port": 80}],
    }
    assert storage == {
        "to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}],
        "ports": [{"protocol": "TCP", "port": 443}],
    }


def test_models_answer_clients_and_prometheus(templates: Templates) -> None:
    """Labelled namespaces, the own one and Prometheus reach the models' port."""
    [rule] = models_policy(templates)["ingress"]
    [port] = rule["ports"]
    sources = [
        next(iter(item["namespaceSelector"]["matchLabels"].items()))
        for item in rule["from"]
        if "namespaceSelector" in item
    ]
    main = container(templates, "mistral-7b")
    assert port == {"protocol": "TCP", "port": main["ports"][0]["containerPort"]}
    assert {"podSelector": {}} in rule["from"]
    assert sources == [
        ("eks-inference/client", "true"),
        ("kubernetes.io/metadata.name", "monitoring"),
    ]


def test_models_policy_covers_their_pods(templates: Templates) -> None:
    """The policy of the models selects the label that each of their pods has."""
    selected = models_policy(templates)["podSelector"]["matchLabels"]
    labels = of_kind(templates, "Deployment")["mistral-7b"]["spec"]["template"]
    assert selected.items() <= labels["metadata"]["labels"].items()
    assert selected


@pytest.mark.parametrize(
    ("namespace", "name", "port"),
    [
        ("keda", "metrics-api", 6443),
        ("keda", "webhooks", 9443),
        ("monitoring", "operator", 10250),
    ],
)
def test_control_plane_reaches_the_webhooks(
    stage: str, namespace: str, name: str, port: int
) -> None:
    """The API server, which is no pod, reaches what it must call from the VPC."""
    [spec] = [
        item["spec"]
        for item in policies(stage_templates(stage))
        if item["metadata"] == {"name": name, "namespace": namespace}
    ]
    [rule] = spec["ingress"]
    assert {"ipBlock": {"cidr": load(stage).network.cidr}} in rule["from"]
    assert rule["ports"] == [{"protocol": "TCP", "port": port}]


# Keeping and deleting


def test_production_keeps_its_data(prod: Templates) -> None:
    """Data, keys and logs of production outlive its stacks."""
    assert deletion_policies(prod) == {kind: {"Retain"} for kind in STATEFUL}


def test_development_leaves_nothing(dev: Templates) -> None:
    """Data, keys and logs of development go with its stacks, objects included."""
    assert deletion_policies(dev) == {kind: {"Delete"} for kind in STATEFUL}
    assert resources(dev["Storage"], "Custom::S3AutoDeleteObjects")


def test_production_is_protected() -> None:
    """Production's stacks cannot be deleted by accident, and development's can."""
    assert set(synthesis(load("prod")).protected.values()) == {True}
    assert set(synthesis(load("dev")).protected.values()) == {False}


def test_everything_says_its_stage(stage: str) -> None:
    """Instances that Karpenter launches carry the tag of the stage."""
    for item in of_kind(stage_templates(stage), "EC2NodeClass").values():
        assert item["spec"]["tags"] == {"eks-inference:stage": stage}


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
        for stack in ("Cluster", "Platform")
        for item in resources(templates[stack], "AWS::EKS::Addon").values()
    }


def network_of(
    *, gateways: int = 1, account: str | None = None, zones: tuple[str, ...] = ()
) -> Any:
    """Return the template of a network."""
    settings = replace(
        load("dev", account=account, region=account and "us-east-1"),
        network=NetworkSettings(nat_gateways=gateways, availability_zones=zones),
    )
    return synthesize(settings)["Network"]


def zones_of(network: Any) -> list[Any]:
    """Return the zones of the private subnets."""
    subnets = resources(network, SUBNET)
    return [subnets[name]["AvailabilityZone"] for name in private_subnets(network)]


def zone_number(index: int) -> dict[str, Any]:
    """Return the intrinsic function for a zone of the stack's region."""
    return {"Fn::Select": [index, {"Fn::GetAZs": ""}]}


def private_subnets(network: Any) -> list[str]:
    """Return the logical ids of the subnets without a way in."""
    kind = {"Key": "aws-cdk:subnet-type", "Value": "Private"}
    return [
        name
        for name, subnet in resources(network, SUBNET).items()
        if kind in subnet["Tags"]
    ]


def exported(template: Any, references: list[str]) -> list[str]:
    """Return, as texts, the imports of what a template exports of its resources."""
    exports = {
        as_text(output["Value"]): output["Export"]["Name"]
        for output in template["Outputs"].values()
        if "Export" in output
    }
    return [f"${{{exports[f'${{{item}}}']}}}" for item in references]


def endpoints(network: Any, kind: str) -> dict[str, Any]:
    """Return the endpoints of a kind."""
    return {
        name: endpoint
        for name, endpoint in resources(network, ENDPOINT).items()
        if endpoint["VpcEndpointType"] == kind
    }


def services(network: Any) -> set[str]:
    """Return the services that have an interface endpoint."""
    return {
        as_text(item["ServiceName"]).removeprefix("com.amazonaws.${AWS::Region}.")
        for item in endpoints(network, "Interface").values()
    }


def without_dashes(value: Any, region: str) -> str:
    """Return what CloudFormation makes of a name with a region less its dashes."""
    if isinstance(value, str):
        return value
    known = {"AWS::Partition": "aws", "AWS::Region": region}
    match value:
        case {"Ref": name}:
            return known[name]
        case {"Fn::Join": [separator, {"Fn::Split": [dash, text]}]}:
            parts = without_dashes(text, region).split(dash)
        case {"Fn::Join": [separator, items]}:
            parts = [without_dashes(item, region) for item in items]
    return str(separator).join(parts)


def release(templates: Templates, name: str) -> dict[str, Any]:
    """Return the properties of a Helm release."""
    [found] = [
        item
        for item in resources(templates["Platform"], RELEASE_TYPE).values()
        if item["Release"] == name
    ]
    return dict(found)


def values(chart: Mapping[str, Any]) -> Any:
    """Return the values of a release."""
    return json.loads(as_text(chart["Values"]))


def pool(templates: Templates) -> Manifest:
    """Return the specification of the GPU pool."""
    found: Manifest = of_kind(templates, "NodePool")["gpu-24"]["spec"]
    return found


def pod(templates: Templates, name: str) -> Manifest:
    """Return the pod of a model."""
    spec: Manifest = of_kind(templates, "Deployment")[name]["spec"]
    found: Manifest = spec["template"]["spec"]
    return found


def container(templates: Templates, name: str) -> Manifest:
    """Return the only container of a model's pod."""
    found: Manifest
    [found] = pod(templates, name)["containers"]
    return found


def environment(main: Manifest) -> dict[str, str]:
    """Return the environment of a container."""
    return {item["name"]: item["value"] for item in main["env"]}


def policies(templates: Templates) -> list[Manifest]:
    """Return every network policy."""
    return [item for item in objects(templates) if item["kind"] == "NetworkPolicy"]


def models_policy(templates: Templates) -> Manifest:
    """Return the network policy of the models."""
    found: Manifest
    [found] = [
        item["spec"]
        for item in policies(templates)
        if item["metadata"] == {"name": "models", "namespace": "inference"}
    ]
    return found


def deletion_policies(templates: Templates) -> dict[str, set[str]]:
    """Return what happens to stateful resources, by type."""
    found: dict[str, set[str]] = {}
    for template in templates.values():
        for resource in template["Resources"].values():
            if resource["Type"] in STATEFUL:
                policy = found.setdefault(resource["Type"], set())
                policy |= {resource["DeletionPolicy"], resource["UpdateReplacePolicy"]}
    return found
