"""What a VPC and an account need before the first model: endpoints, caches, a store.

The VPC is described by its attributes, so that a synthesis looks nothing up.
"""

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from constructs import Construct

from eks_inference import ImageCache, InferenceEndpoints, ModelStore


class Foundation(cdk.Stack):
    """Endpoints for a VPC that exists, an image cache, and a bucket for weights."""

    def __init__(self, scope: Construct, id: str) -> None:
        super().__init__(scope, id)
        vpc = ec2.Vpc.from_vpc_attributes(
            self,
            "Vpc",
            vpc_id="vpc-0123456789abcdef0",
            vpc_cidr_block="10.20.0.0/16",
            availability_zones=["us-east-1a", "us-east-1b"],
            private_subnet_ids=["subnet-0aaaaaaaaaaaaaaaa", "subnet-0bbbbbbbbbbbbbbbb"],
            private_subnet_route_table_ids=[
                "rtb-0aaaaaaaaaaaaaaaa",
                "rtb-0bbbbbbbbbbbbbbbb",
            ],
        )
        InferenceEndpoints(
            self, "Endpoints", vpc=vpc, services=["ecr.api", "ecr.dkr", "eks-auth"]
        )
        images = ImageCache(self, "Images")
        nodes = iam.Role.from_role_name(self, "Nodes", "KarpenterNodeRole-platform")
        images.grant_pull(nodes)
        store = ModelStore(self, "Models")
        importer = iam.Role.from_role_name(self, "Importer", "model-importer")
        store.grant_write(importer, "models/")
        cdk.CfnOutput(
            self,
            "Image",
            value=images.image_uri(
                "deep-learning-containers/vllm",
                tag="0.31.0-gpu-py312-cu130-ubuntu24.04-ec2",
            ),
        )


app = cdk.App()
Foundation(app, "Foundation")
app.synth()
