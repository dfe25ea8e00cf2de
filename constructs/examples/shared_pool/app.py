"""Three models on one pool: one is always warm, one sleeps at night, one is small.

The pool's GPUs follow from the models. Its limit covers all of them at once, or the
synthesis says so.
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
from eks_inference.planning import CHECKPOINTS


class Models(cdk.Stack):
    """Three models that share their nodes."""

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
        models = {
            name: Model.from_bucket(
                store,
                f"models/{name}/",
                name=name,
                checkpoint=CHECKPOINTS[checkpoint],
                max_model_len=context,
            )
            for name, checkpoint, context in (
                ("chat", "llama-3.1-8b-fp8", 8192),
                ("reports", "qwen2.5-14b-awq", 16384),
                ("titles", "mistral-7b-awq", 2048),
            )
        }
        pool = GpuInferencePool.for_models(
            self, "Gpu", models=list(models.values()), cluster=cluster, max_gpus=10
        )
        cache = CompileCache.from_claim_name("vllm-compile-cache")
        office_hours = Activation.schedule(
            timezone="Europe/Berlin", start="0 8 * * 1-5", end="0 19 * * 1-5"
        )
        for name, scaling in (
            ("chat", QueueScaling(min_replicas=1, max_replicas=6)),
            (
                "reports",
                QueueScaling(min_replicas=0, max_replicas=2, activation=office_hours),
            ),
            ("titles", QueueScaling(min_replicas=1, max_replicas=1)),
        ):
            QueueScaledModel(
                self,
                name.title(),
                pool=pool,
                model=models[name],
                scaling=scaling,
                compile_cache=cache,
            )


app = cdk.App()
Models(app, "Models")
app.synth()
