"""What outlives a deployment: the weights, and the compiled kernels."""

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from constructs import Construct

from eks_inference import CompileCache, ModelStore
from infra.cluster import ClusterStack
from infra.settings import Settings
from infra.stack import PlatformStack
from k8s.vllm import INFERENCE_NAMESPACE


class StorageStack(PlatformStack):
    """Bucket of the weights, file system of the compile cache."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        settings: Settings,
        vpc: ec2.IVpc,
        cluster: ClusterStack,
    ) -> None:
        super().__init__(
            scope,
            id,
            settings=settings,
            description="LLM inference: model bucket, compile cache",
        )
        self.models = ModelStore(
            self,
            "Models",
            removal_policy=self.removal_policy,
            delete_objects=not settings.retain,
        )
        cdk.CfnOutput(
            self,
            "ModelBucket",
            value=self.models.bucket_name,
            description="Bucket for the weights of the models",
        )
        self.compile_cache: CompileCache | None = None
        if settings.shared_compile_cache:
            self.compile_cache = CompileCache(
                self,
                "CompileCache",
                cluster=cluster.cluster,
                vpc=vpc,
                node_security_group=cluster.cluster.cluster_security_group,
                namespace=INFERENCE_NAMESPACE,
                encryption_key=self.models.encryption_key,
                removal_policy=self.removal_policy,
            )
