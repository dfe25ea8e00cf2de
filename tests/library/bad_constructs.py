"""Values that the constructs refuse, each with the whole message."""

from typing import cast

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2

from eks_inference import (
    Accelerator,
    Activation,
    GpuInferencePool,
    ModelEndpoint,
    QueueScaling,
)
from eks_inference.inference_endpoints import INTERFACE_SERVICES
from tests.library.conftest import BadInputs, import_cluster
from tests.library.test_cluster import NO_KUBECTL, bare_v2


def endpoint(stack: cdk.Stack, **changes: str) -> ModelEndpoint:
    """Return an endpoint of another model, in a stack of its own."""
    root = cast("cdk.App", stack.node.root)
    other = cdk.Stack(root, f"{stack.node.id}Endpoint")
    return ModelEndpoint(
        other, "Endpoint", cluster=import_cluster(other), name="chat", **changes
    )


def vpc_without_network(stack: cdk.Stack) -> ec2.IVpc:
    """Return an imported VPC whose network was not given."""
    return ec2.Vpc.from_vpc_attributes(
        stack,
        "Bare",
        vpc_id="vpc-0123456789abcdef0",
        availability_zones=["a"],
        private_subnet_ids=["subnet-0aaaaaaaaaaaaaaaa"],
        private_subnet_route_table_ids=["rtb-0aaaaaaaaaaaaaaaa"],
    )


class OtherCache:
    """A cache whose claim is in another namespace."""

    claim_name = "kernels"
    namespace = "search"
    manifest = None


LABEL = (
    "{!r} must be a DNS label of at most 63 characters "
    "(a-z, 0-9 and '-', starting with a letter), got {!r}"
)


def label(kind: str, id: object, name: str, value: object) -> str:
    """Return the message about a value that is no DNS label."""
    return f"{kind} {id!r}: {LABEL.format(name, value)}"


ALIAS = (
    "pool 'gpu': 'ami_alias' must be a pinned Bottlerocket release, got {!r}; "
    "for example 'bottlerocket@v1.64.0'"
)
BRACKETS = (
    "pool 'Gpu': 'security_group_ids' must be a list or tuple, got {!r}; "
    "put it in brackets"
)
GROUPS = "pool 'Gpu': 'security_group_ids' must be ids of security groups, got {!r}"
TAGS = (
    "pool 'Gpu': 'tags' must not be empty or Karpenter's own (karpenter.sh/, "
    "karpenter.k8s.aws/, kubernetes.io/cluster/, eks:eks-cluster-name), got {!r}; "
    "rename it"
)
KINDS = "{}: 'json_patches' must be one of {}, got {!r}; name a kind by its patches"
OF_A_POOL = "'EC2NodeClass', 'NodePool'"
OF_A_MODEL = (
    "'Deployment', 'InterceptorRoute', 'PodDisruptionBudget', 'PodMonitor', "
    "'ScaledObject', 'Service', 'ServiceAccount', 'TriggerAuthentication'"
)

POOL: BadInputs = [
    ({"cluster": bare_v2}, f"pool 'Gpu': {NO_KUBECTL}"),
    (
        {"cluster": "shared"},
        (
            "pool 'Gpu': 'cluster' must be a cluster of aws_eks or aws_eks_v2, "
            "got 'shared'"
        ),
    ),
    (
        {"cluster": None},
        "pool 'Gpu': 'cluster' must be a cluster of aws_eks or aws_eks_v2, got None",
    ),
    (
        {"accelerators": "l4"},
        (
            "pool 'Gpu': 'accelerators' must be a list or tuple, got 'l4'; "
            "put it in brackets"
        ),
    ),
    (
        {"accelerators": None},
        (
            "pool 'Gpu': 'accelerators' must be a list or tuple, got None; "
            "put it in brackets"
        ),
    ),
    (
        {"accelerators": ["l4", Accelerator.L4]},
        "pool 'Gpu': 'accelerators' must be of class Accelerator, got 'l4'",
    ),
    (
        {"accelerators": [7], "max_gpus": 0},
        (
            "pool 'Gpu': 'accelerators' must be of class Accelerator, got 7\n"
            "pool 'gpu': 'max_gpus' must be at least 1, got 0"
        ),
    ),
    (
        {"tags": ["team"]},
        "pool 'Gpu': 'tags' must map names to values, got ['team']",
    ),
    (
        {"tags": {"team": 1, "": "a"}},
        (
            "pool 'Gpu': 'tags' must map texts to texts, got {'team': 1}\n"
            f"{TAGS.format('')}"
        ),
    ),
    (
        {"tags": {7: "team"}},
        "pool 'Gpu': 'tags' must map texts to texts, got {7: 'team'}",
    ),
    (
        {"nodes": "gpu-nodes"},
        "pool 'Gpu': 'nodes' must be of class NodeIdentity, got 'gpu-nodes'",
    ),
    (
        {"security_group_ids": "sg-0123456789abcdef0"},
        BRACKETS.format("sg-0123456789abcdef0"),
    ),
    ({"security_group_ids": None}, BRACKETS.format(None)),
    ({"security_group_ids": ["default"]}, GROUPS.format("default")),
    ({"security_group_ids": ["sg-0123456789abcdef0", 7]}, GROUPS.format(7)),
    ({"security_group_ids": ["sg-XYZ"]}, GROUPS.format("sg-XYZ")),
    (
        {"accelerators": []},
        (
            "pool 'gpu': 'accelerators' must not be empty; "
            "pass for example [Accelerator.L4]"
        ),
    ),
    (
        {"accelerators": [Accelerator.T4G, Accelerator.L4]},
        (
            "pool 'gpu': 'accelerators' must share one CPU architecture, "
            "got t4g (arm64), l4 (amd64); make a pool for each"
        ),
    ),
    (
        {"gpus_per_node": 2},
        (
            "pool 'gpu': 'gpus_per_node' must be a count that instances with a10g have "
            "(1, 4, 8), got 2\n"
            "pool 'gpu': 'gpus_per_node' must be a count that instances with l4 have "
            "(1, 4, 8), got 2"
        ),
    ),
    (
        {"gpus_per_node": "1"},
        "pool 'gpu': 'gpus_per_node' must be a whole number, got '1'",
    ),
    (
        {"capacity": "spot"},
        "pool 'Gpu': 'capacity' must be of class Capacity, got 'spot'",
    ),
    ({"max_gpus": 0}, "pool 'gpu': 'max_gpus' must be at least 1, got 0"),
    ({"max_gpus": "8"}, "pool 'gpu': 'max_gpus' must be a whole number, got '8'"),
    (
        {"consolidate_after_seconds": -1},
        "pool 'gpu': 'consolidate_after_seconds' must be at least 0, got -1",
    ),
    (
        {"consolidate_after_seconds": "10m"},
        "pool 'gpu': 'consolidate_after_seconds' must be a whole number, got '10m'",
    ),
    ({"ami_alias": "bottlerocket@latest"}, ALIAS.format("bottlerocket@latest")),
    ({"ami_alias": None}, ALIAS.format(None)),
    ({"name": "Gpu Nodes"}, label("pool", "Gpu Nodes", "name", "Gpu Nodes")),
    ({"name": ""}, label("pool", "", "name", "")),
    ({"name": 24}, label("pool", 24, "name", 24)),
    ({"id": "Gpu_24"}, label("pool", "gpu_24", "name", "gpu_24")),
    ({"tags": {"": "search"}}, TAGS.format("")),
    (
        {"tags": {"team": "a", "karpenter.sh/nodepool": "b"}},
        TAGS.format("karpenter.sh/nodepool"),
    ),
    (
        {"tags": {"kubernetes.io/cluster/a": "owned"}},
        TAGS.format("kubernetes.io/cluster/a"),
    ),
    (
        {"headroom_nodes": -1},
        "pool 'gpu': 'headroom_nodes' must be at least 0, got -1",
    ),
    (
        {"headroom_nodes": 12, "max_gpus": 11},
        (
            "pool 'gpu': 'headroom_nodes' must fit 'max_gpus' (11) with 1 GPUs each, "
            "got 12; lower it or raise 'max_gpus'"
        ),
    ),
    (
        {"image_snapshot": "snap-0123456789abcdef0"},
        (
            "pool 'gpu': 'image_snapshot' must be of class ImageSnapshot, got "
            "'snap-0123456789abcdef0'"
        ),
    ),
    (
        {"headroom_namespace": "A"},
        label("pool", "Gpu", "headroom_namespace", "A"),
    ),
    (
        {"headroom_image": ""},
        "pool 'Gpu': 'headroom_image' must be a text that is not empty, got ''",
    ),
    (
        {"json_patches": {"Deployment": []}},
        KINDS.format("pool 'Gpu'", OF_A_POOL, "Deployment"),
    ),
    ({"json_patches": {7: []}}, KINDS.format("pool 'Gpu'", OF_A_POOL, 7)),
    (
        {"json_patches": [7]},
        "pool 'Gpu': 'json_patches' must map kinds to patches, got [7]",
    ),
    (
        {"nodes": 7, "tags": {"": ""}, "capacity": None, "max_gpus": 0, "name": "-"},
        (
            "pool 'Gpu': 'nodes' must be of class NodeIdentity, got 7\n"
            f"{TAGS.format('')}\n"
            f"{label('pool', '-', 'name', '-')}\n"
            "pool '-': 'max_gpus' must be at least 1, got 0"
        ),
    ),
]

MODEL: BadInputs = [
    (
        {"after": ["Before"]},
        "model 'Chat': 'after' must hold constructs, got 'Before'",
    ),
    (
        {
            "pool": lambda stack: GpuInferencePool.from_pool_name(
                "gpu", cluster=bare_v2(stack)
            )
        },
        f"model 'Chat': {NO_KUBECTL}",
    ),
    ({"pool": "gpu"}, "model 'Chat': 'pool' must be a pool of GPU nodes, got 'gpu'"),
    ({"pool": None}, "model 'Chat': 'pool' must be a pool of GPU nodes, got None"),
    (
        {"after": None},
        ("model 'Chat': 'after' must be a list or tuple, got None; put it in brackets"),
    ),
    (
        {"after": "Before"},
        (
            "model 'Chat': 'after' must be a list or tuple, got 'Before'; "
            "put it in brackets"
        ),
    ),
    (
        {"compile_cache": 7},
        (
            "model 'Chat': 'compile_cache' must be a cache, got 7; "
            "use CompileCache.from_claim_name(...)"
        ),
    ),
    (
        {"compile_cache": OtherCache()},
        (
            "model 'Chat': 'compile_cache' must have its claim in the model's "
            "namespace ('inference'), got 'search'"
        ),
    ),
    (
        {"model": "mistral"},
        "model 'Chat': 'model' must be of class Model, got 'mistral'",
    ),
    ({"model": None}, "model 'Chat': 'model' must be of class Model, got None"),
    ({"scaling": 3}, "model 'Chat': 'scaling' must be of class QueueScaling, got 3"),
    ({"drain": 90}, "model 'Chat': 'drain' must be of class Drain, got 90"),
    (
        {"signal": "http://prometheus"},
        "model 'Chat': 'signal' must be of class Signal, got 'http://prometheus'",
    ),
    (
        {"compile_cache": "kernels"},
        (
            "model 'Chat': 'compile_cache' must be a cache, got 'kernels'; "
            "use CompileCache.from_claim_name(...)"
        ),
    ),
    ({"image": ""}, "model 'Chat': 'image' must be a text that is not empty, got ''"),
    ({"image": 7}, "model 'Chat': 'image' must be a text that is not empty, got 7"),
    ({"namespace": "Search"}, label("model", "Chat", "namespace", "Search")),
    ({"namespace": None}, label("model", "Chat", "namespace", None)),
    ({"priority_class_name": ""}, label("model", "Chat", "priority_class_name", "")),
    (
        {"json_patches": {"StatefulSet": []}},
        KINDS.format("model 'Chat'", OF_A_MODEL, "StatefulSet"),
    ),
    (
        {"api_key": "hunter2"},
        "model 'Chat': 'api_key' must be of class SecretKey, got 'hunter2'",
    ),
    (
        {"weights": "models/mistral/"},
        ("model 'Chat': 'weights' must be of class ModelImport, got 'models/mistral/'"),
    ),
    (
        {"observability": False},
        "model 'Chat': 'observability' must be of class Observability, got False",
    ),
    (
        {"await_ready": "yes"},
        "model 'Chat': 'await_ready' must be True or False, got 'yes'",
    ),
    (
        {
            "await_ready": True,
            "scaling": QueueScaling(min_replicas=0, activation=Activation.http()),
        },
        (
            "model 'Chat': 'await_ready' must be False for a model that can have no "
            "replica, got True; raise 'min_replicas' or leave it out"
        ),
    ),
    (
        {"shared_endpoint": "chat"},
        "model 'Chat': 'shared_endpoint' must be of class ModelEndpoint, got 'chat'",
    ),
    (
        {"shared_endpoint": lambda stack: endpoint(stack, namespace="search")},
        (
            "model 'Chat': 'shared_endpoint' must be in the model's namespace "
            "('inference'), got 'search'\nmodel 'Chat': 'shared_endpoint' must serve "
            "what the model is called by clients ('mistral'), got 'chat'; set the same "
            "'served_name' on both"
        ),
    ),
    (
        {"scaling": 3, "image": "", "namespace": "-"},
        (
            "model 'Chat': 'scaling' must be of class QueueScaling, got 3\n"
            "model 'Chat': 'image' must be a text that is not empty, got ''\n"
            f"{label('model', 'Chat', 'namespace', '-')}"
        ),
    ),
]

CACHE: BadInputs = [
    (
        {"vpc": None},
        "compile cache 'Kernels': 'vpc' must be a VPC of aws_ec2, got None",
    ),
    (
        {"subnets": "private"},
        (
            "compile cache 'Kernels': 'subnets' must be of class SubnetSelection, "
            "got 'private'"
        ),
    ),
    (
        {"node_security_group": "sg-0123456789abcdef0"},
        (
            "compile cache 'Kernels': 'node_security_group' must be a security group "
            "of aws_ec2, got 'sg-0123456789abcdef0'"
        ),
    ),
    (
        {"encryption_key": "key"},
        (
            "compile cache 'Kernels': 'encryption_key' must be a key of aws_kms, "
            "got 'key'"
        ),
    ),
    (
        {"removal_policy": "retain"},
        (
            "compile cache 'Kernels': 'removal_policy' must be of class "
            "RemovalPolicy, got 'retain'"
        ),
    ),
    (
        {"cluster": bare_v2},
        f"compile cache 'Kernels': {NO_KUBECTL}",
    ),
    ({"namespace": "Search"}, label("compile cache", "Kernels", "namespace", "Search")),
    ({"namespace": None}, label("compile cache", "Kernels", "namespace", None)),
    ({"claim_name": "a_b"}, label("compile cache", "Kernels", "claim_name", "a_b")),
    ({"claim_name": 7}, label("compile cache", "Kernels", "claim_name", 7)),
    (
        {"namespace": "", "claim_name": ""},
        (
            f"{label('compile cache', 'Kernels', 'namespace', '')}\n"
            f"{label('compile cache', 'Kernels', 'claim_name', '')}"
        ),
    ),
]

PREFIX = (
    "image cache 'Images': {!r} must be a repository prefix (2 to 30 of a-z, 0-9 and "
    "single '.', '_' or '-'), got {!r}"
)
SECRET = (
    "image cache 'Images': 'docker_hub_secret_name' must be the name of a secret that "
    "begins with 'ecr-pullthroughcache/', got {!r}"
)

IMAGES: BadInputs = [
    ({"public_ecr_prefix": "p"}, PREFIX.format("public_ecr_prefix", "p")),
    ({"public_ecr_prefix": "p" * 31}, PREFIX.format("public_ecr_prefix", "p" * 31)),
    ({"public_ecr_prefix": "a..b"}, PREFIX.format("public_ecr_prefix", "a..b")),
    ({"public_ecr_prefix": "Public"}, PREFIX.format("public_ecr_prefix", "Public")),
    ({"public_ecr_prefix": ""}, PREFIX.format("public_ecr_prefix", "")),
    ({"public_ecr_prefix": None}, PREFIX.format("public_ecr_prefix", None)),
    ({"docker_hub_prefix": "a/b"}, PREFIX.format("docker_hub_prefix", "a/b")),
    ({"docker_hub_prefix": 7}, PREFIX.format("docker_hub_prefix", 7)),
    (
        {"docker_hub_prefix": "ecr-public"},
        (
            "image cache 'Images': 'docker_hub_prefix' must differ from "
            "'public_ecr_prefix', got 'ecr-public'"
        ),
    ),
    ({"docker_hub_secret_name": "docker-hub"}, SECRET.format("docker-hub")),
    ({"docker_hub_secret_name": ""}, SECRET.format("")),
    ({"docker_hub_secret_name": 7}, SECRET.format(7)),
    (
        {"keep_images": 0},
        "image cache 'Images': 'keep_images' must be at least 1, got 0",
    ),
    (
        {"keep_images": "3"},
        "image cache 'Images': 'keep_images' must be a whole number, got '3'",
    ),
    (
        {"removal_policy": "destroy"},
        (
            "image cache 'Images': 'removal_policy' must be of class RemovalPolicy, "
            "got 'destroy'"
        ),
    ),
    (
        {"public_ecr_prefix": "A", "keep_images": -1},
        (
            f"{PREFIX.format('public_ecr_prefix', 'A')}\n"
            "image cache 'Images': 'keep_images' must be at least 1, got -1"
        ),
    ),
]

SERVICE = "endpoints 'Endpoints': 'services' must be one of {}, got {{!r}}".format(
    ", ".join(map(repr, INTERFACE_SERVICES))
)
CIDR = (
    "endpoints 'Endpoints': 'client_cidr' must be a network such as '10.0.0.0/16', "
    "got {!r}"
)

ENDPOINTS: BadInputs = [
    (
        {"vpc": "vpc-0123456789abcdef0"},
        (
            "endpoints 'Endpoints': 'vpc' must be a VPC of aws_ec2, "
            "got 'vpc-0123456789abcdef0'"
        ),
    ),
    (
        {"subnets": "private"},
        (
            "endpoints 'Endpoints': 'subnets' must be of class SubnetSelection, "
            "got 'private'"
        ),
    ),
    ({"client_cidr": "999.0.0.0/16"}, CIDR.format("999.0.0.0/16")),
    ({"client_cidr": "10.0.0.0/33"}, CIDR.format("10.0.0.0/33")),
    ({"client_cidr": "10.20.0.1/16"}, CIDR.format("10.20.0.1/16")),
    (
        {"services": "sqs"},
        (
            "endpoints 'Endpoints': 'services' must be a list or tuple, got 'sqs'; "
            "put it in brackets"
        ),
    ),
    (
        {"services": None},
        (
            "endpoints 'Endpoints': 'services' must be a list or tuple, got None; "
            "put it in brackets"
        ),
    ),
    (
        {"vpc": vpc_without_network},
        (
            "endpoints 'Endpoints': 'client_cidr' must be given for a VPC whose "
            "network is not known, got None; pass for example '10.0.0.0/16'"
        ),
    ),
    ({"client_cidr": "10.0.0.1"}, CIDR.format("10.0.0.1")),
    ({"client_cidr": ""}, CIDR.format("")),
    ({"client_cidr": 10}, CIDR.format(10)),
    ({"services": ["s3"]}, SERVICE.format("s3")),
    ({"services": ["sqs", None]}, SERVICE.format(None)),
    (
        {"services": ["sqs", "sqs"]},
        (
            "endpoints 'Endpoints': 'services' must not name anything twice, "
            "got 'sqs'; remove one"
        ),
    ),
    (
        {"services": ["s3"], "client_cidr": "x"},
        f"{SERVICE.format('s3')}\n{CIDR.format('x')}",
    ),
]

STAYS = (
    "model store 'Models': 'delete_objects' needs 'removal_policy' DESTROY, got {!r}; "
    "a bucket that stays is not emptied"
)

STORE: BadInputs = [
    (
        {"encryption_key": "key"},
        "model store 'Models': 'encryption_key' must be a key of aws_kms, got 'key'",
    ),
    (
        {"removal_policy": "retain"},
        (
            "model store 'Models': 'removal_policy' must be of class RemovalPolicy, "
            "got 'retain'"
        ),
    ),
    (
        {"keep_old_versions_days": 0},
        "model store 'Models': 'keep_old_versions_days' must be at least 1, got 0",
    ),
    (
        {"keep_old_versions_days": "30"},
        (
            "model store 'Models': 'keep_old_versions_days' must be a whole number, "
            "got '30'"
        ),
    ),
    ({"delete_objects": True}, STAYS.format("RETAIN")),
    (
        {"delete_objects": "yes", "removal_policy": cdk.RemovalPolicy.DESTROY},
        "model store 'Models': 'delete_objects' must be True or False, got 'yes'",
    ),
    (
        {"delete_objects": True, "removal_policy": cdk.RemovalPolicy.SNAPSHOT},
        STAYS.format("SNAPSHOT"),
    ),
]

ROLE: BadInputs = [
    (
        {"cluster": "shared"},
        (
            "role 'Role': 'cluster' must be a cluster of aws_eks or aws_eks_v2, "
            "got 'shared'"
        ),
    ),
    (
        {"managed_policies": ["ReadOnlyAccess"]},
        (
            "role 'Role': 'managed_policies' must be managed policies of aws_iam, "
            "got 'ReadOnlyAccess'"
        ),
    ),
    (
        {"managed_policies": "ReadOnlyAccess"},
        (
            "role 'Role': 'managed_policies' must be a list or tuple, "
            "got 'ReadOnlyAccess'; put it in brackets"
        ),
    ),
    (
        {"description": 7},
        "role 'Role': 'description' must be a text that is not empty, got 7",
    ),
    ({"namespace": "Search"}, label("role", "Role", "namespace", "Search")),
    ({"namespace": None}, label("role", "Role", "namespace", None)),
    ({"service_account": ""}, label("role", "Role", "service_account", "")),
    ({"service_account": "a.b"}, label("role", "Role", "service_account", "a.b")),
    (
        {"statements": ["Read"]},
        "role 'Role': 'statements' must map names to policies, got ['Read']",
    ),
    (
        {"statements": {"Read": []}},
        "role 'Role': 'statements['Read']' must not be empty; remove the policy",
    ),
]

ENDPOINT: BadInputs = [
    ({"cluster": bare_v2}, f"endpoint 'Endpoint': {NO_KUBECTL}"),
    (
        {"name": "vllm-chat"},
        (
            "endpoint 'Endpoint': 'name' must not start with 'vllm', got 'vllm-chat': "
            "a Service of that name injects VLLM_* variables that vLLM takes for its "
            "own; choose another name"
        ),
    ),
    ({"namespace": "A"}, label("endpoint", "Endpoint", "namespace", "A")),
    (
        {"served_name": "a b", "namespace": ""},
        (
            "endpoint 'Endpoint': 'served_name' must be a name of letters, digits and "
            "'._/:-', at most 200 long, got 'a b'; for example 'mistral-7b-instruct'\n"
            f"{label('endpoint', 'Endpoint', 'namespace', '')}"
        ),
    ),
]

ALARMS: BadInputs = [
    (
        {"cluster_name": ""},
        "alarms 'Alarms': 'cluster_name' must be a text that is not empty, got ''",
    ),
    (
        {"interruption_queue_name": 7},
        (
            "alarms 'Alarms': 'interruption_queue_name' must be a text that is not "
            "empty, got 7"
        ),
    ),
    (
        {"alarm_actions": "arn:aws:sns:a:1:b"},
        (
            "alarms 'Alarms': 'alarm_actions' must be a list or tuple, got "
            "'arn:aws:sns:a:1:b'; put it in brackets"
        ),
    ),
    (
        {"alarm_actions": ["on-call"]},
        (
            "alarms 'Alarms': 'alarm_actions' must be ARNs, got 'on-call'; for example "
            "that of an SNS topic"
        ),
    ),
]
