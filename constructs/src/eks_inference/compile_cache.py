"""A volume on which models share what torch.compile has produced."""

from typing import Protocol

from aws_cdk import RemovalPolicy
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_efs as efs
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from constructs import Construct, IDependable

from eks_inference._check import Problems
from eks_inference._cluster import AnyCluster, apply, cluster_problems, facts
from eks_inference._network import private_subnets, subnet_problems
from eks_inference.guardrails import path_of, place
from eks_inference.manifests import VLLM_USER
from eks_inference.manifests.compile_cache import compile_cache_manifests

_NFS = 2049


class ICompileCache(Protocol):
    """What a model needs to know of a cache (satisfied structurally)."""

    @property
    def claim_name(self) -> str:
        """PersistentVolumeClaim in the model's namespace."""

    @property
    def namespace(self) -> str | None:
        """Namespace of the claim, if it is known."""

    @property
    def manifest(self) -> IDependable | None:
        """What must exist before a pod can mount the claim, if the app defines it."""


class CompileCache(Construct):
    """Compiled kernels on EFS, shared by the models of one namespace.

    Defines one encrypted file system with a mount target in each subnet, a security
    group that admits the nodes, an access point whose user is the one that vLLM runs
    as, and the volume and claim in the namespace. A model's pods see their own
    directory only. The cluster needs the ``aws-efs-csi-driver`` add-on.

    A hit saves the compilation; profiling and the capture of CUDA graphs run in every
    start. The volume becomes necessary for a start: a model without ``compile_cache``
    compiles each time and depends on nothing.

    Args:
        cluster: Cluster with a kubectl provider.
        vpc: VPC of the nodes.
        node_security_group: Security group of the nodes.
        namespace: Namespace of the claim. Default: ``inference``.
        claim_name: Name of the claim. Default: ``vllm-compile-cache``.
        subnets: Subnets of the mount targets, one per zone of the nodes.
            Default: the private ones.
        encryption_key: Key of the file system. Default: AWS's key for EFS.
        removal_policy: What becomes of the file system with the stack.
            Default: it stays.

    Raises:
        ConfigurationError: Values break rules; all of them are named, and nothing was
            defined.

    Example:
        ```python
        cache = CompileCache(
            stack,
            "Cache",
            cluster=cluster,
            vpc=vpc,
            node_security_group=node_security_group,
        )
        QueueScaledModel(stack, "Chat", pool=pool, model=model, compile_cache=cache)
        ```
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        cluster: AnyCluster,
        vpc: ec2.IVpc,
        node_security_group: ec2.ISecurityGroup,
        namespace: str = "inference",
        claim_name: str = "vllm-compile-cache",
        subnets: ec2.SubnetSelection | None = None,
        encryption_key: kms.IKey | None = None,
        removal_policy: RemovalPolicy = RemovalPolicy.RETAIN,
    ) -> None:
        with Problems(f"compile cache {id!r}") as problems:
            problems.dns_label("namespace", namespace)
            problems.dns_label("claim_name", claim_name)
            problems.include(cluster_problems(cluster))
            problems.include(subnet_problems(vpc, subnets))
            problems.resource(
                "node_security_group",
                node_security_group,
                "security_group_id",
                kind="a security group of aws_ec2",
            )
            if encryption_key is not None:
                problems.resource(
                    "encryption_key", encryption_key, "key_arn", kind="a key of aws_kms"
                )
            problems.instance("removal_policy", removal_policy, RemovalPolicy)
        report, scope_path = place(scope)
        path = path_of(scope_path, id)
        report.claim(path, "claim", facts(cluster).key, namespace, claim_name)
        super().__init__(scope, id)
        self._claim_name = claim_name
        self._namespace = namespace
        group = ec2.SecurityGroup(
            self,
            "Access",
            vpc=vpc,
            description="NFS from the nodes to the compile cache",
            allow_all_outbound=False,
        )
        group.add_ingress_rule(
            node_security_group, ec2.Port.tcp(_NFS), "NFS from the nodes"
        )
        self._file_system = efs.FileSystem(
            self,
            "Resource",
            vpc=vpc,
            vpc_subnets=private_subnets(subnets),
            security_group=group,
            encrypted=True,
            kms_key=encryption_key,
            throughput_mode=efs.ThroughputMode.ELASTIC,
            # kernels of an image that nobody runs any more cost a tenth after a month
            lifecycle_policy=efs.LifecyclePolicy.AFTER_30_DAYS,
            out_of_infrequent_access_policy=(
                efs.OutOfInfrequentAccessPolicy.AFTER_1_ACCESS
            ),
            file_system_policy=_file_system_policy(),
            # or CDK would add a statement of its own, which lets everyone be root
            allow_anonymous_access=True,
            removal_policy=removal_policy,
        )
        self._access_point = self._file_system.add_access_point(
            "AccessPoint",
            path="/compile-cache",
            # whoever mounts it is this user: the one that the pods run as
            posix_user=efs.PosixUser(uid=str(VLLM_USER), gid="0"),
            create_acl=efs.Acl(
                owner_uid=str(VLLM_USER), owner_gid="0", permissions="0770"
            ),
        )
        handle = (
            f"{self._file_system.file_system_id}::{self._access_point.access_point_id}"
        )
        self._manifest = apply(
            self,
            "Volume",
            cluster=cluster,
            manifests=compile_cache_manifests(
                claim_name=claim_name, namespace=namespace, volume_handle=handle
            ),
            after=[self._file_system.mount_targets_available],
        )

    @classmethod
    def from_claim_name(cls, claim_name: str) -> ICompileCache:
        """Return a cache whose claim exists in the namespace of the models.

        Args:
            claim_name: Name of the claim; many pods must be able to write it.

        Raises:
            ConfigurationError: That is no name.
        """
        with Problems("compile cache") as problems:
            problems.dns_label("claim_name", claim_name)
        return _ExistingClaim(claim_name)

    @property
    def file_system(self) -> efs.FileSystem:
        """The file system."""
        return self._file_system

    @property
    def access_point(self) -> efs.AccessPoint:
        """The access point that the nodes mount."""
        return self._access_point

    @property
    def claim_name(self) -> str:
        """PersistentVolumeClaim in the models' namespace."""
        return self._claim_name

    @property
    def namespace(self) -> str:
        """Namespace of the claim."""
        return self._namespace

    @property
    def manifest(self) -> Construct:
        """The resource that applies the volume and the claim."""
        return self._manifest


class _ExistingClaim:
    def __init__(self, claim_name: str) -> None:
        self.claim_name = claim_name

    @property
    def namespace(self) -> None:
        return None

    @property
    def manifest(self) -> None:
        return None


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
