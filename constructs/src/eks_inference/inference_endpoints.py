"""Short and private ways from a VPC to the AWS services that inference needs."""

import ipaddress
from collections.abc import Sequence

from aws_cdk import Fn, Stack
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from constructs import Construct

from eks_inference._check import Problems, is_token
from eks_inference._network import private_subnets, subnet_problems

INTERFACE_SERVICES = (
    "ecr.api",
    "ecr.dkr",
    "sts",
    "ec2",
    "eks",
    "eks-auth",
    "sqs",
    "ssm",
    "logs",
    "elasticfilesystem",
)
"""Services that nodes and controllers call, and that have an interface endpoint."""

_BUCKET_ACTIONS = [
    "s3:AbortMultipartUpload",
    "s3:DeleteObject",
    "s3:GetBucketLocation",
    "s3:GetObject",
    "s3:ListBucket",
    "s3:ListBucketMultipartUploads",
    "s3:ListMultipartUploadParts",
    "s3:PutObject",
]


class InferenceEndpoints(Construct):
    """The VPC endpoints that inference needs, for a VPC that exists.

    Defines a gateway endpoint for S3, which costs nothing, and the interface endpoints
    that are asked for, with a security group that admits the VPC on 443. Without such
    a group an endpoint admits the members of the VPC's default group only, and every
    image pull would time out. Interface endpoints cost by zone and hour.

    The policy of the S3 endpoint admits the buckets of this account, reading from the
    buckets in which registries keep image layers, and the bucket to which CDK's kubectl
    handler answers.

    Args:
        vpc: The VPC.
        client_cidr: Network that may connect. Default: the VPC's.
        services: Services with an interface endpoint: ``ecr.api``, ``ecr.dkr``,
            ``sts``, ``ec2``, ``eks``, ``eks-auth``, ``sqs``, ``ssm``, ``logs``,
            ``elasticfilesystem``. Default: ``ecr.api`` and ``ecr.dkr``.
        subnets: Subnets of the endpoints. Default: the private ones.

    Raises:
        ConfigurationError: Values break rules; all of them are named, and nothing was
            defined.

    Example:
        ```python
        InferenceEndpoints(stack, "Endpoints", vpc=vpc, services=["ecr.api", "ecr.dkr"])
        ```
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        vpc: ec2.IVpc,
        client_cidr: str | None = None,
        services: Sequence[str] = ("ecr.api", "ecr.dkr"),
        subnets: ec2.SubnetSelection | None = None,
    ) -> None:
        with Problems(f"endpoints {id!r}") as problems:
            if problems.sequence("services", services):
                for service in services:
                    problems.one_of("services", service, INTERFACE_SERVICES)
                problems.unique("services", services, repair="remove one")
            problems.include(subnet_problems(vpc, subnets))
            network = _network_of(vpc) if client_cidr is None else client_cidr
            if network is None and not services:
                pass  # an S3 gateway endpoint admits whoever its route tables serve
            elif network is None:
                problems.add(
                    "'client_cidr' must be given for a VPC whose network is not known, "
                    "got None; pass for example '10.0.0.0/16'"
                )
            elif not is_token(str(network)) and not _is_network(network):
                problems.broken(
                    "'client_cidr' must be a network such as '10.0.0.0/16'", network
                )
        super().__init__(scope, id)
        selection = private_subnets(subnets)
        self._s3 = ec2.GatewayVpcEndpoint(
            self,
            "S3",
            vpc=vpc,
            service=ec2.GatewayVpcEndpointAwsService.S3,
            subnets=[selection],
        )
        for statement in _s3_statements(Stack.of(self)):
            self._s3.add_to_policy(statement)
        self._security_group: ec2.SecurityGroup | None = None
        if services:
            self._security_group = self._group(vpc, str(network))
        for service in services:
            ec2.InterfaceVpcEndpoint(
                self,
                "".join(
                    word.capitalize() for word in service.replace(".", "-").split("-")
                ),
                vpc=vpc,
                service=ec2.InterfaceVpcEndpointAwsService(service),
                subnets=selection,
                security_groups=[self._security_group] if self._security_group else [],
                open=False,
            )

    @property
    def s3(self) -> ec2.GatewayVpcEndpoint:
        """The gateway endpoint for S3."""
        return self._s3

    @property
    def security_group(self) -> ec2.SecurityGroup | None:
        """The security group of the interface endpoints, where there are any."""
        return self._security_group

    def _group(self, vpc: ec2.IVpc, cidr: str) -> ec2.SecurityGroup:
        group = ec2.SecurityGroup(
            self,
            "Clients",
            vpc=vpc,
            description="HTTPS from the VPC to the interface endpoints",
            allow_all_outbound=False,
        )
        group.add_ingress_rule(
            ec2.Peer.ipv4(cidr), ec2.Port.tcp(443), "HTTPS from the VPC"
        )
        return group


def _network_of(vpc: ec2.IVpc) -> str | None:
    try:
        return getattr(vpc, "vpc_cidr_block", "10.0.0.0/16")  # or jsii refuses the VPC
    except RuntimeError:  # an imported VPC knows what it has been told
        return None


def _is_network(text: object) -> bool:
    if not isinstance(text, str) or "/" not in text:
        return False
    try:
        ipaddress.IPv4Network(text)
    except ValueError:
        return False
    return True


def _s3_statements(stack: Stack) -> list[iam.PolicyStatement]:
    buckets = f"arn:{stack.partition}:s3:::"
    # where registries keep image layers: ECR's own, the one of EKS add-ons included,
    # and those to which quay.io, registry.k8s.io and Docker Hub send clients in AWS
    layers = [
        f"{buckets}{bucket}/*"
        for bucket in (
            f"prod-{stack.region}-starport-layer-bucket",
            "quayio-production-s3",
            f"prod-registry-k8s-io-{stack.region}",
            "docker-images-prod",
        )
    ]
    # CloudFormation names the bucket after the region without its dashes
    region = Fn.join("", Fn.split("-", stack.region))
    answers = f"{buckets}cloudformation-custom-resource-response-{region}/*"
    return [
        _anyone(["s3:GetObject"], *layers),
        # the answers of CDK's kubectl handler, where it runs in these subnets
        _anyone(["s3:PutObject"], answers),
        # any bucket, but of this account only: weights, assets, imports
        _anyone(
            _BUCKET_ACTIONS,
            "*",
            conditions={"StringEquals": {"aws:ResourceAccount": stack.account}},
        ),
    ]


def _anyone(
    actions: list[str], *resources: str, conditions: dict[str, object] | None = None
) -> iam.PolicyStatement:
    # an endpoint policy bounds what identities are allowed elsewhere; it grants nothing
    return iam.PolicyStatement(
        principals=[iam.AnyPrincipal()],
        actions=actions,
        resources=list(resources),
        conditions=conditions,
    )
