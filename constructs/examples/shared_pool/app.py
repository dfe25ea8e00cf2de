"""Three models on one pool: one is always warm, one sleeps at night, one is small.

The pool's limit covers all of them at once, or the synthesis says so.
"""

import aws_cdk as cdk
from aws_cdk import aws_eks_v2 as eks
from aws_cdk.lambda_layer_kubectl_v35 import KubectlV35Layer
from constructs import Construct

from eks_inference import (
    Activation,
    CompileCache,
    GpuInferencePool,
    Model,
    ModelStore,
    QueueScaledModel,
    QueueScaling,
)

WEIGHTS = "models/mistral-7b-instruct-awq/"


class Models(cdk.Stack):
    """Three ways to serve the same weights."""

    def __init__(self, scope: Construct, id: str) -> None:
        super().__init__(scope, id)
        bare = eks.Cluster.from_cluster_attributes(self, "Bare", cluster_name="shared")
        provider = eks.KubectlProvider(
            self, "Kubectl", cluster=bare, kubectl_layer=KubectlV35Layer(self, "Layer")
        )
        cluster = eks.Cluster.from_cluster_attributes(
            self, "Cluster", cluster_name="shared", kubectl_provider=provider
        )
        store = ModelStore(self, "Store")
        pool = GpuInferencePool(self, "Gpu", cluster=cluster, max_gpus=9)
        cache = CompileCache.from_claim_name("vllm-compile-cache")
        office_hours = Activation.schedule(
            timezone="Europe/Berlin", start="0 8 * * 1-5", end="0 19 * * 1-5"
        )
        for name, context, scaling in (
            ("chat", 8192, QueueScaling(min_replicas=1, max_replicas=6)),
            (
                "reports",
                32768,
                QueueScaling(min_replicas=0, max_replicas=2, activation=office_hours),
            ),
            ("titles", 2048, QueueScaling(min_replicas=1, max_replicas=1)),
        ):
            QueueScaledModel(
                self,
                name.title(),
                pool=pool,
                model=Model.from_bucket(
                    store, WEIGHTS, name=name, weights_gb=4.15, max_model_len=context
                ),
                scaling=scaling,
                compile_cache=cache,
            )


app = cdk.App()
Models(app, "Models")
app.synth()
