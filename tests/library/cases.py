"""Every use of the constructs that the tests look at, synthesized once."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, cast

import aws_cdk as cdk
import cdk8s
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_eks as eks_v1
from aws_cdk import aws_eks_v2 as eks
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from aws_cdk.lambda_layer_kubectl_v35 import KubectlV35Layer

from eks_inference import (
    Accelerator,
    Activation,
    Capacity,
    CompileCache,
    Drain,
    GpuInferencePool,
    ImageCache,
    ImageSnapshot,
    InferenceEndpoints,
    Model,
    ModelEndpoint,
    ModelStore,
    NodeIdentity,
    PodIdentityRole,
    QueueScaledModel,
    QueueScaling,
    SecretKey,
    Signal,
)
from eks_inference.manifests import Manifest
from eks_inference.model import ModelBucket
from eks_inference.testing import manifests
from tests.library.conftest import (
    WINDOW,
    Template,
    import_bucket,
    import_cluster,
    import_group,
    import_key,
    import_profile,
    import_role,
    import_v1_cluster,
    import_vpc,
)

FLEET = ("chat", "code", "embed", "guard", "judge")
"""The models of the fleet."""

DIGEST = "sha256:" + "0123456789abcdef" * 4
SNAPSHOT = "snap-0123456789abcdef0"


def default_pool(stack: cdk.Stack, **changes: Any) -> GpuInferencePool:
    """Define a pool with the fewest arguments, and some more."""
    return GpuInferencePool(stack, "Gpu", cluster=import_cluster(stack), **changes)


def default_model(
    stack: cdk.Stack,
    name: str = "mistral",
    *,
    bucket: ModelBucket | None = None,
    **changes: Any,
) -> Model:
    """Return a model in an imported bucket."""
    values: dict[str, Any] = {"weights_gb": 4.15, "max_model_len": 8_192, **changes}
    return Model.from_bucket(
        bucket or import_bucket(stack), f"models/{name}/", name=name, **values
    )


def pool_smallest(stack: cdk.Stack) -> None:
    """Define a pool with the fewest arguments."""
    default_pool(stack)


def pool_everything(stack: cdk.Stack) -> None:
    """Define a pool with every argument; its GPU has no local NVMe."""
    default_pool(
        stack,
        nodes=NodeIdentity.from_instance_profile(import_profile(stack)),
        security_group_ids=["sg-0123456789abcdef0", "sg-0fedcba9876543210"],
        accelerators=[Accelerator.T4G],
        gpus_per_node=2,
        capacity=Capacity.on_demand(),
        max_gpus=8,
        consolidate_after_seconds=1_200,
        ami_alias="bottlerocket@v1.57.0",
        name="arm-16g",
        tags={"team": "search", "cost-center": "4711"},
        image_snapshot=ImageSnapshot(
            snapshot_id=SNAPSHOT, initialization_mib_per_second=None
        ),
        json_patches={
            "NodePool": [cdk8s.JsonPatch.add("/spec/weight", 10)],
            "EC2NodeClass": [cdk8s.JsonPatch.add("/spec/detailedMonitoring", True)],
        },
    )


def pool_snapshot(stack: cdk.Stack) -> None:
    """Define a pool whose nodes have NVMe, and their images from a snapshot."""
    default_pool(stack, image_snapshot=ImageSnapshot(snapshot_id=SNAPSHOT))


def model_smallest(stack: cdk.Stack) -> None:
    """Define a model with the fewest arguments."""
    QueueScaledModel(
        stack, "Chat", pool=default_pool(stack), model=default_model(stack)
    )


def model_everything(stack: cdk.Stack) -> None:
    """Define a model with every argument, on a pool of large nodes."""
    pool = default_pool(
        stack,
        accelerators=[Accelerator.L40S],
        gpus_per_node=4,
        capacity=Capacity.on_demand(),
        max_gpus=16,
    )
    QueueScaledModel(
        stack,
        "Chat",
        pool=pool,
        model=default_model(
            stack,
            "llama-70b",
            bucket=s3.Bucket.from_bucket_attributes(
                stack,
                "Weights",
                bucket_name="weights",
                encryption_key=kms.Key.from_key_arn(
                    stack, "Key", "arn:aws:kms:eu-central-1:111122223333:key/weights"
                ),
            ),
            weights_gb=141.1,
            max_model_len=16_384,
            max_num_seqs=64,
            gpus=4,
            gpu_memory_utilization=0.85,
            cpu=40,
            memory_gib=180,
        ),
        scaling=QueueScaling(
            min_replicas=2,
            max_replicas=3,
            waiting_weight=4,
            target_share=0.5,
            scale_up_percent=100,
            scale_up_pods=2,
            scale_down_window_seconds=600,
            scale_down_period_seconds=300,
        ),
        drain=Drain(pre_stop_seconds=15, shutdown_timeout_seconds=300),
        signal=Signal.prometheus(
            "https://prometheus.example.com", scrape_interval_seconds=10
        ),
        compile_cache=CompileCache.from_claim_name("kernels"),
        image=f"registry.example.com:5000/team/vllm:0.31.0@{DIGEST}",
        namespace="search",
        priority_class_name="serving",
        after=[cdk.CfnWaitConditionHandle(stack, "Before")],
        json_patches={
            "Service": [
                cdk8s.JsonPatch.add("/spec/trafficDistribution", "PreferClose")
            ],
        },
    )


def model_zero(stack: cdk.Stack) -> None:
    """Define a model that has no replica outside business hours."""
    QueueScaledModel(
        stack,
        "Chat",
        pool=default_pool(stack),
        model=default_model(stack),
        scaling=QueueScaling(min_replicas=0, activation=WINDOW),
    )


def model_http(stack: cdk.Stack) -> None:
    """Define a model that a request wakes, whose clients need a key."""
    QueueScaledModel(
        stack,
        "Chat",
        pool=default_pool(stack),
        model=default_model(stack, served_name="mistral/chat"),
        scaling=QueueScaling(min_replicas=0, activation=Activation.http()),
        api_key=SecretKey("clients"),
    )


def model_otel(stack: cdk.Stack) -> None:
    """Define a model that is scaled by the OpenTelemetry scaler, behind an endpoint."""
    pool = default_pool(stack)
    QueueScaledModel(
        stack,
        "Chat",
        pool=pool,
        model=default_model(stack),
        signal=Signal.otel_scaler(),
        shared_endpoint=ModelEndpoint(
            stack, "Endpoint", cluster=pool.cluster, name="chat", served_name="mistral"
        ),
        await_ready=True,
    )


def model_half(stack: cdk.Stack) -> None:
    """Define a model on a GPU that has no bfloat16."""
    pool = default_pool(stack, accelerators=[Accelerator.T4])
    QueueScaledModel(stack, "Chat", pool=pool, model=default_model(stack))


def fleet(stack: cdk.Stack) -> None:
    """Define two pools and five models in one stack."""
    cluster = import_cluster(stack)
    pools = [
        GpuInferencePool(
            stack,
            pool_id,
            cluster=cluster,
            accelerators=accelerators,
            max_gpus=31,
        )
        for pool_id, accelerators in (
            ("Small", [Accelerator.A10G, Accelerator.L4]),
            ("Large", [Accelerator.L40S]),
        )
    ]
    bucket = import_bucket(stack)
    for index, name in enumerate(FLEET):
        QueueScaledModel(
            stack,
            name,
            pool=pools[index % 2],
            model=default_model(stack, name, bucket=bucket),
        )


def role_smallest(stack: cdk.Stack) -> None:
    """Define a role with the fewest arguments."""
    PodIdentityRole(
        stack,
        "Role",
        cluster=import_cluster(stack),
        namespace="inference",
        service_account="mistral",
    )


def role_everything(stack: cdk.Stack) -> None:
    """Define a role with every argument, and grant it something."""
    role = PodIdentityRole(
        stack,
        "Role",
        cluster=import_cluster(stack),
        namespace="keda",
        service_account="keda-operator",
        statements={
            "Queue": [
                {
                    "Effect": "Allow",
                    "Action": "sqs:GetQueueAttributes",
                    "Resource": "arn:aws:sqs:eu-central-1:111122223333:jobs",
                }
            ]
        },
        managed_policies=[
            iam.ManagedPolicy.from_aws_managed_policy_name("AmazonSQSReadOnlyAccess")
        ],
        description="Reads the queue",
    )
    import_bucket(stack).grant_read(role, "results/*")


def imported(stack: cdk.Stack) -> None:
    """Define a pool and a model on an imported cluster whose kubectl is ours."""
    known = eks.Cluster.from_cluster_attributes(stack, "Known", cluster_name="shared")
    provider = eks.KubectlProvider(
        stack,
        "Kubectl",
        cluster=known,
        kubectl_layer=KubectlV35Layer(stack, "Layer"),
    )
    cluster = eks.Cluster.from_cluster_attributes(
        stack, "Cluster", cluster_name="shared", kubectl_provider=provider
    )
    pool = GpuInferencePool(stack, "Gpu", cluster=cluster)
    QueueScaledModel(stack, "Chat", pool=pool, model=default_model(stack))


def imported_v1(stack: cdk.Stack) -> None:
    """Define a pool and a model on an imported cluster of the older module."""
    cluster = import_v1_cluster(stack)
    pool = GpuInferencePool(stack, "Gpu", cluster=cluster)
    QueueScaledModel(stack, "Chat", pool=pool, model=default_model(stack))


def created_v1(stack: cdk.Stack) -> None:
    """Define a pool and a model on a cluster of the older module, made here."""
    cluster = eks_v1.Cluster(
        stack,
        "Cluster",
        version=eks_v1.KubernetesVersion.of("1.35"),
        kubectl_layer=KubectlV35Layer(stack, "Layer"),
        default_capacity=0,
    )
    made = cast("eks_v1.ICluster", cluster)
    pool = GpuInferencePool(stack, "Gpu", cluster=made)
    QueueScaledModel(stack, "Chat", pool=pool, model=default_model(stack))


def store_smallest(stack: cdk.Stack) -> None:
    """Define a store with the fewest arguments."""
    ModelStore(stack, "Models")


def store_everything(stack: cdk.Stack) -> None:
    """Define a store with every argument."""
    ModelStore(
        stack,
        "Models",
        encryption_key=import_key(stack),
        keep_old_versions_days=7,
        removal_policy=cdk.RemovalPolicy.DESTROY,
        delete_objects=True,
    )


def store_grants(stack: cdk.Stack) -> None:
    """Let a reader and a writer at the models of a store."""
    store = ModelStore(stack, "Models")
    assert store.grant_read(import_role(stack, "Reader"), "models/chat/").success
    assert store.grant_write(import_role(stack, "Writer"), "models/").success


def store_model(stack: cdk.Stack) -> None:
    """Define a store and a model in it."""
    store = ModelStore(stack, "Models")
    model = default_model(stack, bucket=store)
    QueueScaledModel(stack, "Chat", pool=default_pool(stack), model=model)


def images_smallest(stack: cdk.Stack) -> None:
    """Define an image cache with the fewest arguments."""
    ImageCache(stack, "Images")


def images_everything(stack: cdk.Stack) -> None:
    """Define an image cache with every argument, which nodes may fill."""
    images = ImageCache(
        stack,
        "Images",
        public_ecr_prefix="team.ecr",
        docker_hub_secret_name="ecr-pullthroughcache/docker-hub",
        docker_hub_prefix="hub",
        keep_images=3,
        removal_policy=cdk.RemovalPolicy.DESTROY,
    )
    assert images.grant_pull(import_role(stack, "Nodes")).success


def images_warm(stack: cdk.Stack) -> None:
    """Define an image cache that is warmed with images of both upstreams."""
    images = ImageCache(
        stack,
        "Images",
        docker_hub_secret_name="ecr-pullthroughcache/docker-hub",
        removal_policy=cdk.RemovalPolicy.DESTROY,
    )
    images.warm("deep-learning-containers/vllm", tag="0.31.0")
    images.warm("deep-learning-containers/vllm", tag="0.33.0", digest=DIGEST)
    images.warm("vllm/vllm-openai", tag="v0.33.0", docker_hub=True)


def endpoints_smallest(stack: cdk.Stack) -> None:
    """Define endpoints with the fewest arguments."""
    InferenceEndpoints(stack, "Endpoints", vpc=import_vpc(stack))


def endpoints_everything(stack: cdk.Stack) -> None:
    """Define endpoints with every argument."""
    vpc = import_vpc(stack)
    InferenceEndpoints(
        stack,
        "Endpoints",
        vpc=vpc,
        client_cidr="10.20.128.0/17",
        services=["ecr.api", "eks-auth", "elasticfilesystem"],
        subnets=ec2.SubnetSelection(subnets=vpc.private_subnets[:1]),
    )


def endpoints_gateway(stack: cdk.Stack) -> None:
    """Define the endpoint that costs nothing, and no other."""
    InferenceEndpoints(stack, "Endpoints", vpc=import_vpc(stack), services=[])


def cache_smallest(stack: cdk.Stack) -> None:
    """Define a compile cache with the fewest arguments."""
    CompileCache(
        stack,
        "Kernels",
        cluster=import_cluster(stack),
        vpc=import_vpc(stack),
        node_security_group=import_group(stack),
    )


def cache_everything(stack: cdk.Stack) -> None:
    """Define a compile cache with every argument, and a model that uses it."""
    vpc = import_vpc(stack)
    pool = default_pool(stack)
    cache = CompileCache(
        stack,
        "Kernels",
        cluster=pool.cluster,
        vpc=vpc,
        node_security_group=import_group(stack),
        namespace="search",
        claim_name="kernels",
        subnets=ec2.SubnetSelection(subnets=vpc.private_subnets[:1]),
        encryption_key=import_key(stack),
        removal_policy=cdk.RemovalPolicy.DESTROY,
    )
    QueueScaledModel(
        stack,
        "Chat",
        pool=pool,
        model=default_model(stack),
        namespace="search",
        compile_cache=cache,
    )


CASES: Mapping[str, Callable[[cdk.Stack], None]] = {
    define.__name__.replace("_", "-"): define
    for define in (
        pool_smallest,
        pool_everything,
        pool_snapshot,
        model_smallest,
        model_everything,
        model_zero,
        model_http,
        model_otel,
        model_half,
        fleet,
        role_smallest,
        role_everything,
        imported,
        imported_v1,
        created_v1,
        store_smallest,
        store_everything,
        store_grants,
        store_model,
        images_smallest,
        images_everything,
        images_warm,
        endpoints_smallest,
        endpoints_everything,
        endpoints_gateway,
        cache_smallest,
        cache_everything,
    )
}
"""What is defined in one stack, by the name of the stack."""

APART = ("apart-cluster", "apart-pools", "apart-models", "apart-bucket")
"""Cluster, pools, models and bucket, each in a stack of its own."""


def _apart(app: cdk.App) -> None:
    clusters, pools, models, buckets = (cdk.Stack(app, name) for name in APART)
    cluster = eks.Cluster(
        clusters,
        "Cluster",
        version=eks.KubernetesVersion.V1_35,
        default_capacity_type=eks.DefaultCapacityType.NODEGROUP,
        default_capacity=0,
        kubectl_provider_options=eks.KubectlProviderOptions(
            kubectl_layer=KubectlV35Layer(clusters, "Layer")
        ),
    )
    profile = iam.InstanceProfile(clusters, "Profile")
    pool = GpuInferencePool(
        pools,
        "Gpu",
        cluster=cluster,
        nodes=NodeIdentity.from_instance_profile(profile),
        max_gpus=21,
    )
    key = kms.Key(buckets, "Key")
    bucket = s3.Bucket(buckets, "Bucket", encryption_key=key)
    for name in ("chat", "code"):
        QueueScaledModel(
            models,
            name,
            pool=pool,
            model=Model.from_bucket(
                bucket,
                f"models/{name}/",
                name=name,
                weights_gb=4.15,
                max_model_len=8_192,
            ),
        )


@cache
def _stacks() -> Mapping[str, tuple[Template, frozenset[str]]]:
    app = cdk.App(analytics_reporting=False)
    for name, define in CASES.items():
        define(cdk.Stack(app, name))
    _apart(app)
    # all templates before any dependency, which jsii would take for the same objects
    stacks = [(stack, stack.template) for stack in app.synth().stacks]
    return {
        stack.stack_name: (found, frozenset(item.id for item in stack.dependencies))
        for stack, found in stacks
    }


def template(name: str) -> Template:
    """Return the template of a case, or of a stack of ``APART``."""
    found, _ = _stacks()[name]
    return found


def dependencies(name: str) -> frozenset[str]:
    """Return the names of the stacks of ``APART`` that one of them depends on."""
    _, found = _stacks()[name]
    return found & set(APART)


def objects(name: str, kind: str) -> list[Manifest]:
    """Return the Kubernetes objects of one kind in a case."""
    return [
        item
        for group in manifests(template(name)).values()
        for item in group
        if item["kind"] == kind
    ]


def one(name: str, kind: str) -> Manifest:
    """Return the only Kubernetes object of a kind in a case."""
    [found] = objects(name, kind)
    return found


def resources(name: str, type: str) -> dict[str, Any]:
    """Return the resources of one CloudFormation type in a case, by logical id."""
    return {
        logical_id: resource
        for logical_id, resource in template(name)["Resources"].items()
        if resource["Type"] == type
    }
