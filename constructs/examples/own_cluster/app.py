"""A model on a cluster of the older module ``aws_eks``, defined in another stack.

The stacks do not depend on each other in a circle: what a model needs belongs to the
model's stack.
"""

import aws_cdk as cdk
from aws_cdk import aws_eks as eks
from aws_cdk.lambda_layer_kubectl_v35 import KubectlV35Layer
from constructs import Construct

from eks_inference import (
    Accelerator,
    Capacity,
    GpuInferencePool,
    Model,
    ModelStore,
    NodeIdentity,
    QueueScaledModel,
    QueueScaling,
)
from eks_inference.planning import CHECKPOINTS


class Platform(cdk.Stack):
    """The cluster and the weights. Karpenter, KEDA and Prometheus are yours."""

    def __init__(self, scope: Construct, id: str) -> None:
        super().__init__(scope, id)
        self.cluster = eks.Cluster(
            self,
            "Cluster",
            version=eks.KubernetesVersion.of("1.35"),
            kubectl_layer=KubectlV35Layer(self, "Kubectl"),
            default_capacity=0,
        )
        self.store = ModelStore(self, "Models")


class Serving(cdk.Stack):
    """A model on L4 GPUs that are not reclaimed."""

    def __init__(self, scope: Construct, id: str, *, platform: Platform) -> None:
        super().__init__(scope, id)
        pool = GpuInferencePool(
            self,
            "L4",
            cluster=platform.cluster,
            nodes=NodeIdentity.from_role_name("gpu-nodes"),
            accelerators=[Accelerator.L4],
            capacity=Capacity.on_demand(),
            max_gpus=4,
        )
        QueueScaledModel(
            self,
            "Chat",
            pool=pool,
            model=Model.from_bucket(
                platform.store,
                "models/mistral-7b-instruct-awq/",
                name="mistral-7b",
                checkpoint=CHECKPOINTS["mistral-7b-awq"],
                max_model_len=8192,
            ),
            scaling=QueueScaling(min_replicas=1, max_replicas=4),
        )


app = cdk.App()
Serving(app, "Serving", platform=Platform(app, "Platform"))
app.synth()
