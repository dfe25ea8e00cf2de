"""What outlives a deployment: the weights, and the compiled kernels."""

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_efs as efs
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from constructs import Construct

from eks_inference.manifests.serving import VLLM_USER
from infra.settings import Settings
from infra.stack import PlatformStack


class StorageStack(PlatformStack):
    """Bucket of the weights and file system of the compile cache."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        settings: Settings,
        vpc: ec2.IVpc,
        nodes: ec2.ISecurityGroup,
    ) -> None:
        super().__init__(
            scope,
            id,
            settings=settings,
            description="LLM inference: model bucket, compile cache",
        )
        self.key = kms.Key(
            self,
            "Key",
            description=f"Weights and compile cache of {settings.cluster_name}",
            enable_key_rotation=True,
            removal_policy=self.removal_policy,
        )
        self.bucket = s3.Bucket(
            self,
            "Models",
            encryption=s3.BucketEncryption.KMS,
            encryption_key=self.key,
            # one KMS call for many objects; streaming sends a request for each chunk
            bucket_key_enabled=True,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            enforce_ssl=True,
            versioned=True,
            lifecycle_rules=[
                s3.LifecycleRule(
                    abort_incomplete_multipart_upload_after=cdk.Duration.days(3),
                    noncurrent_version_expiration=cdk.Duration.days(30),
                )
            ],
            removal_policy=self.removal_policy,
            auto_delete_objects=not settings.retain,
        )
        cdk.CfnOutput(
            self,
            "ModelBucket",
            value=self.bucket.bucket_name,
            description="Bucket for the weights of the models",
        )
        self.file_system: efs.FileSystem | None = None
        self.access_point: efs.AccessPoint | None = None
        if settings.shared_compile_cache:
            self._add_compile_cache(vpc, nodes)

    def _add_compile_cache(self, vpc: ec2.IVpc, nodes: ec2.ISecurityGroup) -> None:
        group = ec2.SecurityGroup(
            self,
            "CompileCacheAccess",
            vpc=vpc,
            description="NFS from the nodes to the compile cache",
            allow_all_outbound=False,
        )
        group.add_ingress_rule(nodes, ec2.Port.tcp(2049), "NFS from the nodes")
        self.file_system = efs.FileSystem(
            self,
            "CompileCache",
            vpc=vpc,
            vpc_subnets=ec2.SubnetSelection(subnets=vpc.private_subnets),
            security_group=group,
            encrypted=True,
            kms_key=self.key,
            throughput_mode=efs.ThroughputMode.ELASTIC,
            # files of an image that nobody runs any more cost a tenth after a month
            lifecycle_policy=efs.LifecyclePolicy.AFTER_30_DAYS,
            out_of_infrequent_access_policy=(
                efs.OutOfInfrequentAccessPolicy.AFTER_1_ACCESS
            ),
            file_system_policy=_file_system_policy(),
            # or CDK would add a statement of its own, which lets everyone be root
            allow_anonymous_access=True,
            removal_policy=self.removal_policy,
        )
        self.access_point = self.file_system.add_access_point(
            "CompileCacheVolume",
            path="/compile-cache",
            # whoever mounts it is this user: the one that the pods run as
            posix_user=efs.PosixUser(uid=str(VLLM_USER), gid="0"),
            create_acl=efs.Acl(
                owner_uid=str(VLLM_USER), owner_gid="0", permissions="0770"
            ),
        )


def _file_system_policy() -> iam.PolicyDocument:
    # who may reach a mount target is the security group's decision
    return iam.PolicyDocument(
        statements=[
            iam.PolicyStatement(
                sid="MountThroughTheNetwork",
                principals=[iam.AnyPrincipal()],
                actions=[
                    "elasticfilesystem:ClientMount",
                    "elasticfilesystem:ClientWrite",
                ],
                conditions={"Bool": {"elasticfilesystem:AccessedViaMountTarget": True}},
            ),
            iam.PolicyStatement(
                sid="EncryptedInTransit",
                effect=iam.Effect.DENY,
                principals=[iam.AnyPrincipal()],
                actions=[
                    "elasticfilesystem:ClientMount",
                    "elasticfilesystem:ClientRootAccess",
                    "elasticfilesystem:ClientWrite",
                ],
                conditions={"Bool": {"aws:SecureTransport": False}},
            ),
        ]
    )
