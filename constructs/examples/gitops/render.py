"""The objects of a pool and a model as YAML, for Argo CD or Flux, without AWS CDK.

    python render.py > inference.yaml

What CDK would have made is named instead: the node role, the bucket, and the role of
the pods, which an EKS Pod Identity association binds to the service account.
"""

import sys
from dataclasses import dataclass

import cdk8s

from eks_inference import Accelerator, Capacity, Drain, Model, QueueScaling, Signal
from eks_inference.manifests.gpu_pool import node_class, node_pool
from eks_inference.manifests.model import serving_manifests
from eks_inference.manifests.serving import Serving
from eks_inference.node_identity import NodeIdentity
from eks_inference.planning import CHECKPOINTS, GpuPool, plan_serving


@dataclass(frozen=True)
class Bucket:
    """A bucket that exists."""

    bucket_name: str
    encryption_key: None = None

    @property
    def bucket_arn(self) -> str:
        """ARN of the bucket."""
        return f"arn:aws:s3:::{self.bucket_name}"


pool = GpuPool(
    name="gpu",
    accelerators=(Accelerator.A10G, Accelerator.L4),
    gpus_per_node=1,
    capacity=Capacity.spot_with_fallback(),
    max_gpus=10,
)
model = Model.from_bucket(
    Bucket("our-model-weights"),
    "models/mistral-7b-instruct-awq/",
    name="mistral-7b",
    checkpoint=CHECKPOINTS["mistral-7b-awq"],
    max_model_len=8192,
)
scaling = QueueScaling(min_replicas=1, max_replicas=10)
serving = Serving(
    model=model,
    plan=plan_serving(model=model, scaling=scaling, pool=pool),
    scaling=scaling,
    drain=Drain(),
    signal=Signal.prometheus(),
    cache_claim=None,
    image="public.ecr.aws/deep-learning-containers/vllm:"
    "0.31.0-gpu-py312-cu130-ubuntu24.04-ec2",
    namespace="inference",
    pool_name=pool.name,
    region="us-east-1",
    priority_class_name=None,
)
objects = [
    node_class(
        pool,
        cluster_name="platform",
        nodes=NodeIdentity.from_role_name("KarpenterNodeRole-platform"),
        security_group_ids=(),
        tags={},
    ),
    node_pool(pool),
    *serving_manifests(serving),
]
sys.stdout.write(cdk8s.Yaml.stringify(*objects))
