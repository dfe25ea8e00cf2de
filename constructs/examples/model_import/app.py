"""A model whose weights the app brings itself: from the Hub into a bucket of its own.

The model starts when the import has ended. A new version is a new commit: its weights
arrive beside those of the old one, which goes on serving until then.
"""

import aws_cdk as cdk
from aws_cdk import aws_eks_v2 as eks
from aws_cdk.lambda_layer_kubectl_v35 import KubectlV35Layer
from constructs import Construct

from eks_inference import (
    GpuInferencePool,
    HuggingFaceSource,
    Model,
    ModelImport,
    ModelStore,
    QueueScaledModel,
)

REVISION = "b25037543e9394b818fdfca67ab2a00ecc7dd641"


class Chat(cdk.Stack):
    """A chat model with its weights."""

    def __init__(self, scope: Construct, id: str) -> None:
        super().__init__(scope, id)
        cluster = existing_cluster(self, "platform")
        store = ModelStore(self, "Models")
        weights = ModelImport(
            self,
            "Weights",
            cluster=cluster,
            bucket=store,
            prefix="models/qwen-7b-awq/",
            source=HuggingFaceSource(
                repo="Qwen/Qwen2.5-7B-Instruct-AWQ", revision=REVISION
            ),
        )
        QueueScaledModel(
            self,
            "Chat",
            pool=GpuInferencePool(self, "Gpu", cluster=cluster),
            model=Model.from_bucket(
                store,
                weights.prefix,
                name="qwen-7b",
                weights_gb=5.6,
                max_model_len=8_192,
            ),
            weights=weights,
        )


def existing_cluster(scope: Construct, name: str) -> eks.ICluster:
    """Return a cluster that exists, with a way to use kubectl on it."""
    bare = eks.Cluster.from_cluster_attributes(scope, "Bare", cluster_name=name)
    provider = eks.KubectlProvider(
        scope, "Kubectl", cluster=bare, kubectl_layer=KubectlV35Layer(scope, "Layer")
    )
    return eks.Cluster.from_cluster_attributes(
        scope, "Cluster", cluster_name=name, kubectl_provider=provider
    )


app = cdk.App()
Chat(app, "Chat")
app.synth()
