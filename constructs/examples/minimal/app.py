"""One model on a cluster that exists: everything else has a default.

The cluster runs Karpenter, KEDA and the Prometheus operator already. What the app must
know of it is its name, and the role with which CDK may use kubectl on it.
"""

import aws_cdk as cdk
from aws_cdk import aws_eks_v2 as eks
from aws_cdk import aws_s3 as s3
from aws_cdk.lambda_layer_kubectl_v35 import KubectlV35Layer
from constructs import Construct

from eks_inference import GpuInferencePool, Model, QueueScaledModel
from eks_inference.planning import CHECKPOINTS


class Chat(cdk.Stack):
    """A chat model."""

    def __init__(self, scope: Construct, id: str) -> None:
        super().__init__(scope, id)
        cluster = existing_cluster(self, "platform")
        weights = s3.Bucket.from_bucket_name(self, "Weights", "our-model-weights")

        pool = GpuInferencePool(self, "Gpu", cluster=cluster)
        chat = QueueScaledModel(
            self,
            "Chat",
            pool=pool,
            model=Model.from_bucket(
                weights,
                "models/mistral-7b-instruct-awq/",
                name="mistral-7b",
                checkpoint=CHECKPOINTS["mistral-7b-awq"],
            ),
        )
        cdk.CfnOutput(self, "Endpoint", value=chat.endpoint)


def existing_cluster(scope: Construct, name: str) -> eks.ICluster:
    """Return a cluster that exists, with a way to use kubectl on it.

    The provider's role must have an access entry with AmazonEKSClusterAdminPolicy.
    """
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
