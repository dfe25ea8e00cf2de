"""A model without replicas at night: a request wakes it, and clients need a key.

The cluster runs KEDA's HTTP add-on besides. A Secret ``clients`` with the key
``api-key`` is in the namespace ``inference``; only its name is known here.
"""

import aws_cdk as cdk
from aws_cdk import aws_eks_v2 as eks
from aws_cdk import aws_s3 as s3
from aws_cdk.lambda_layer_kubectl_v35 import KubectlV35Layer
from constructs import Construct

from eks_inference import (
    Activation,
    GpuInferencePool,
    Model,
    QueueScaledModel,
    QueueScaling,
    SecretKey,
)
from eks_inference.planning import CHECKPOINTS


class Assistant(cdk.Stack):
    """A model that costs nothing while nobody asks."""

    def __init__(self, scope: Construct, id: str) -> None:
        super().__init__(scope, id)
        cluster = existing_cluster(self, "platform")
        weights = s3.Bucket.from_bucket_name(self, "Weights", "our-model-weights")

        assistant = QueueScaledModel(
            self,
            "Assistant",
            pool=GpuInferencePool(self, "Gpu", cluster=cluster),
            model=Model.from_bucket(
                weights,
                "models/mistral-7b-instruct-awq/",
                name="assistant",
                checkpoint=CHECKPOINTS["mistral-7b-awq"],
            ),
            scaling=QueueScaling(
                min_replicas=0,
                max_replicas=4,
                activation=[
                    # warm in business hours
                    Activation.schedule(
                        timezone="Europe/Berlin",
                        start="0 8 * * 1-5",
                        end="0 19 * * 1-5",
                    ),
                    # at any other time a request waits for the first replica
                    Activation.http(),
                ],
            ),
            api_key=SecretKey("clients"),
        )
        # the address of the interceptor, which knows the model by its host name
        cdk.CfnOutput(self, "Endpoint", value=assistant.endpoint)


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
Assistant(app, "Assistant")
app.synth()
