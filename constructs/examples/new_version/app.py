"""A new version takes over from the old one without a gap.

Clients know one name and one address. To release a version, write it into VERSIONS in
place of the old one and deploy: the old replicas go when a new one is ready.
"""

import aws_cdk as cdk
from aws_cdk import aws_eks_v2 as eks
from aws_cdk import aws_s3 as s3
from aws_cdk.lambda_layer_kubectl_v35 import KubectlV35Layer
from constructs import Construct

from eks_inference import GpuInferencePool, Model, ModelEndpoint, QueueScaledModel
from eks_inference.planning import CHECKPOINTS

VERSIONS = {"v2": "models/chat/v2/"}
"""What serves, by version. With two entries, both do."""


class Chat(cdk.Stack):
    """A chat model whose versions come and go."""

    def __init__(self, scope: Construct, id: str) -> None:
        super().__init__(scope, id)
        cluster = existing_cluster(self, "platform")
        weights = s3.Bucket.from_bucket_name(self, "Weights", "our-model-weights")
        # room for the replicas of both versions while one takes over
        pool = GpuInferencePool(self, "Gpu", cluster=cluster, max_gpus=20)
        endpoint = ModelEndpoint(self, "Endpoint", cluster=cluster, name="chat")
        for version, prefix in VERSIONS.items():
            QueueScaledModel(
                self,
                f"Chat-{version}",
                pool=pool,
                model=Model.from_bucket(
                    weights,
                    prefix,
                    name=f"chat-{version}",
                    served_name="chat",
                    checkpoint=CHECKPOINTS["mistral-7b-awq"],
                ),
                shared_endpoint=endpoint,
                await_ready=True,
            )
        cdk.CfnOutput(self, "Address", value=endpoint.endpoint)


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
