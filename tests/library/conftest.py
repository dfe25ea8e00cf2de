"""Values that the tests of the library start from, and stacks to define them in."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_eks as eks_v1
from aws_cdk import aws_eks_v2 as eks
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from aws_cdk.lambda_layer_kubectl_v35 import KubectlV35Layer
from constructs import Construct, IConstruct
from hypothesis import settings

from eks_inference import (
    Accelerator,
    Activation,
    Capacity,
    ConfigurationError,
    Drain,
    Model,
    QueueScaling,
    Signal,
)
from eks_inference.manifests.serving import Serving
from eks_inference.planning import GpuPool, plan_serving

settings.register_profile(
    "library", max_examples=60, derandomize=True, database=None, deadline=None
)
settings.load_profile("library")

Template = Mapping[str, Any]
"""A CloudFormation template."""

BadInputs = Sequence[tuple[Mapping[str, Any], str]]
"""Arguments that are refused, each with the whole message."""

WINDOW = Activation.schedule(
    timezone="Europe/Berlin", start="0 8 * * 1-5", end="0 19 * * 1-5", replicas=2
)


@dataclass(frozen=True)
class Bucket:
    """A bucket as plain data."""

    bucket_name: str = "weights"
    bucket_arn: str = "arn:aws:s3:::weights"
    encryption_key: None = None


def make_model(**changes: Any) -> Model:
    """Return a model that fits the default pool, with some values changed."""
    values: dict[str, Any] = {
        "name": "mistral",
        "bucket": Bucket(),
        "prefix": "models/mistral/",
        "weights_gb": 4.15,
        "max_model_len": 8_192,
    }
    return Model(**{**values, **changes})


def make_pool(**changes: Any) -> GpuPool:
    """Return a pool that the default model fits, with some values changed."""
    values: dict[str, Any] = {
        "name": "gpu",
        "accelerators": (Accelerator.A10G, Accelerator.L4),
        "gpus_per_node": 1,
        "capacity": Capacity.spot_with_fallback(),
        "max_gpus": 10,
        "consolidate_after_seconds": 600,
        "ami_alias": "bottlerocket@v1.64.0",
    }
    return GpuPool(**{**values, **changes})


def make_serving(
    *,
    model: Model | None = None,
    scaling: QueueScaling | None = None,
    drain: Drain | None = None,
    pool: GpuPool | None = None,
    **changes: Any,
) -> Serving:
    """Return what the objects of a model are rendered from, with some values changed.

    Args:
        model: What is served. Default: a 7B model.
        scaling: When replicas are added and removed. Default: the library's.
        drain: How a replica ends. Default: the library's.
        pool: Where the replicas run. Default: A10G and L4.
        changes: Other values of ``Serving``.
    """
    model = model or make_model()
    scaling = scaling or QueueScaling()
    pool = pool or make_pool()
    values: dict[str, Any] = {
        "model": model,
        "plan": plan_serving(model=model, scaling=scaling, pool=pool),
        "scaling": scaling,
        "drain": drain or Drain(),
        "signal": Signal.prometheus(),
        "cache_claim": None,
        "image": "registry.example.com/team/vllm:0.31.0",
        "namespace": "inference",
        "pool_name": pool.name,
        "region": "eu-central-1",
        "priority_class_name": None,
    }
    return Serving(**{**values, **changes})


def refusal(make: Callable[[], object]) -> str:
    """Return the whole message with which a configuration is refused."""
    with pytest.raises(ConfigurationError) as refused:
        make()
    assert str(refused.value) == "\n".join(refused.value.problems)
    return str(refused.value)


def bad_inputs(table: BadInputs) -> pytest.MarkDecorator:
    """Run a test for each row of a table, called by the arguments that are bad."""
    ids = ["-".join(changes) for changes, _ in table]
    return pytest.mark.parametrize(("changes", "message"), table, ids=ids)


def children(scope: IConstruct) -> list[str]:
    """Return the paths of everything that is defined below a scope."""
    return [child.node.path for child in scope.node.find_all()]


def import_cluster(
    scope: Construct, id: str = "Cluster", *, name: str | None = None
) -> eks.ICluster:
    """Return a cluster that the stack does not own, with its kubectl provider.

    Args:
        scope: Stack.
        id: Construct id.
        name: Name of the cluster. Default: the stack's, so that the stacks of the tests
            do not see each other.
    """
    return eks.Cluster.from_cluster_attributes(
        scope,
        id,
        cluster_name=name or cdk.Stack.of(scope).stack_name,
        kubectl_provider=eks.KubectlProvider.from_kubectl_provider_attributes(
            scope,
            f"{id}Kubectl",
            service_token="arn:aws:lambda:eu-central-1:111122223333:function:kubectl",
        ),
    )


def import_v1_cluster(scope: Construct) -> eks_v1.ICluster:
    """Return a cluster of the older module that the stack does not own."""
    return eks_v1.Cluster.from_cluster_attributes(
        scope,
        "Cluster",
        cluster_name=cdk.Stack.of(scope).stack_name,
        kubectl_role_arn="arn:aws:iam::111122223333:role/kubectl",
        kubectl_layer=KubectlV35Layer(scope, "Layer"),
    )


def import_vpc(scope: Construct) -> ec2.IVpc:
    """Return a VPC that the stack does not own, with two private subnets."""
    return ec2.Vpc.from_vpc_attributes(
        scope,
        "Vpc",
        vpc_id="vpc-0123456789abcdef0",
        vpc_cidr_block="10.20.0.0/16",
        availability_zones=["eu-central-1a", "eu-central-1b"],
        private_subnet_ids=["subnet-0aaaaaaaaaaaaaaaa", "subnet-0bbbbbbbbbbbbbbbb"],
        private_subnet_route_table_ids=["rtb-0aaaaaaaaaaaaaaaa", "rtb-0bbbbbbbbbbbbbb"],
    )


def import_group(scope: Construct) -> ec2.ISecurityGroup:
    """Return a security group that the stack does not own."""
    return ec2.SecurityGroup.from_security_group_id(
        scope, "NodeGroup", "sg-0123456789abcdef0"
    )


def import_key(scope: Construct) -> kms.IKey:
    """Return a key that the stack does not own."""
    return kms.Key.from_key_arn(
        scope, "Key", "arn:aws:kms:eu-central-1:111122223333:key/weights"
    )


def import_role(scope: Construct, id: str) -> iam.IRole:
    """Return a role of the account that the stack does not own."""
    return iam.Role.from_role_name(scope, id, id)


def import_bucket(scope: Construct) -> s3.IBucket:
    """Return a bucket that the stack does not own."""
    return s3.Bucket.from_bucket_name(scope, "Bucket", "weights")


def import_profile(scope: Construct) -> iam.IInstanceProfile:
    """Return an instance profile that the stack does not own."""
    return iam.InstanceProfile.from_instance_profile_attributes(
        scope,
        "Profile",
        instance_profile_arn="arn:aws:iam::111122223333:instance-profile/gpu-node",
    )


@pytest.fixture(scope="session")
def app() -> cdk.App:
    """An app that is never synthesized, for constructs that are looked at directly."""
    return cdk.App(analytics_reporting=False)


@pytest.fixture
def stack(app: cdk.App) -> cdk.Stack:
    """An empty stack for one test."""
    return cdk.Stack(app, f"Test{len(app.node.children)}")


def recorded_data(name: str) -> Path:
    """Return a recorded file, or skip the test where there is none.

    Args:
        name: Name of the file in the folder of recorded data.
    """
    folder = os.environ.get("EKS_INFERENCE_DATA")
    if not folder:
        pytest.skip(
            "needs measurements that others have published, which are not ours to "
            "distribute; EKS_INFERENCE_DATA names the folder that has them"
        )
    return Path(folder) / name
