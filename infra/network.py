"""The VPC: private subnets for nodes, and short ways to the AWS services they need."""

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from constructs import Construct

from eks_inference.manifests.gpu_pool import DISCOVERY_TAG
from infra.settings import Settings
from infra.stack import PlatformStack

_PUBLIC_PREFIX = 26
"""Public subnets hold NAT gateways and load balancers only; pods get the rest."""

_ZONES_WITHOUT_ACCOUNT = 2
"""Zones that every region has: what can be promised about an unknown region."""


class NetworkStack(PlatformStack):
    """Network of a stage."""

    def __init__(self, scope: Construct, id: str, *, settings: Settings) -> None:
        super().__init__(
            scope,
            id,
            settings=settings,
            description="LLM inference: VPC, endpoints, flow logs",
        )
        network = settings.network
        zones = self._zones(settings)
        self.vpc = ec2.Vpc(
            self,
            "Vpc",
            ip_addresses=ec2.IpAddresses.cidr(network.cidr),
            availability_zones=zones,
            nat_gateways=min(network.nat_gateways, len(zones)),
            restrict_default_security_group=False,
            subnet_configuration=[
                ec2.SubnetConfiguration(
                    name="Public",
                    subnet_type=ec2.SubnetType.PUBLIC,
                    cidr_mask=_PUBLIC_PREFIX,
                    map_public_ip_on_launch=False,
                ),
                ec2.SubnetConfiguration(
                    name="Private", subnet_type=ec2.SubnetType.PRIVATE_WITH_EGRESS
                ),
            ],
        )
        for subnet in self.vpc.private_subnets:
            cdk.Tags.of(subnet).add(DISCOVERY_TAG, settings.cluster_name)
        self._add_flow_log()
        self._add_s3_endpoint()
        if network.interface_endpoints:
            self._add_interface_endpoints(network.cidr, network.interface_endpoints)

    def _zones(self, settings: Settings) -> list[str]:
        network = settings.network
        if network.availability_zones:
            return list(network.availability_zones)
        count = network.zones if settings.account else _ZONES_WITHOUT_ACCOUNT
        # resolved by CloudFormation; naming them here would need a look-up
        return [cdk.Fn.select(index, cdk.Fn.get_azs()) for index in range(count)]

    def _add_flow_log(self) -> None:
        group = logs.LogGroup(
            self,
            "FlowLogs",
            retention=logs.RetentionDays.ONE_MONTH,
            removal_policy=self.removal_policy,
        )
        self.vpc.add_flow_log(
            "FlowLog",
            destination=ec2.FlowLogDestination.to_cloud_watch_logs(group),
            traffic_type=ec2.FlowLogTrafficType.REJECT,
        )

    def _add_s3_endpoint(self) -> None:
        endpoint = self.vpc.add_gateway_endpoint(
            "S3", service=ec2.GatewayVpcEndpointAwsService.S3
        )
        layers = f"prod-{self.region}-starport-layer-bucket"
        # CloudFormation names the bucket after the region without its dashes
        region = cdk.Fn.join("", cdk.Fn.split("-", self.region))
        responses = f"cloudformation-custom-resource-response-{region}"
        for statement in (
            # image layers of every ECR registry, the one of EKS add-ons included
            _anyone(["s3:GetObject"], f"arn:{self.partition}:s3:::{layers}/*"),
            # the answers of CDK's kubectl handler, which runs in these subnets
            _anyone(["s3:PutObject"], f"arn:{self.partition}:s3:::{responses}/*"),
            # any bucket, but of this account only: weights, assets, imports
            _anyone(
                [
                    "s3:AbortMultipartUpload",
                    "s3:DeleteObject",
                    "s3:GetBucketLocation",
                    "s3:GetObject",
                    "s3:ListBucket",
                    "s3:ListBucketMultipartUploads",
                    "s3:ListMultipartUploadParts",
                    "s3:PutObject",
                ],
                "*",
                {"StringEquals": {"aws:ResourceAccount": self.account}},
            ),
        ):
            endpoint.add_to_policy(statement)

    def _add_interface_endpoints(self, cidr: str, services: tuple[str, ...]) -> None:
        # the default group of a VPC admits its own members only: nothing could connect
        group = ec2.SecurityGroup(
            self,
            "Endpoints",
            vpc=self.vpc,
            description="HTTPS from the VPC to the interface endpoints",
            allow_all_outbound=False,
        )
        group.add_ingress_rule(
            ec2.Peer.ipv4(cidr),
            ec2.Port.tcp(443),
            "HTTPS from the VPC",
        )
        for service in services:
            ec2.InterfaceVpcEndpoint(
                self,
                _endpoint_id(service),
                vpc=self.vpc,
                service=ec2.InterfaceVpcEndpointAwsService(service),
                subnets=ec2.SubnetSelection(subnets=self.vpc.private_subnets),
                security_groups=[group],
                open=False,
            )


def _anyone(
    actions: list[str], resource: str, conditions: dict[str, object] | None = None
) -> iam.PolicyStatement:
    # an endpoint policy bounds what identities are allowed elsewhere; it grants nothing
    return iam.PolicyStatement(
        principals=[iam.AnyPrincipal()],
        actions=actions,
        resources=[resource],
        conditions=conditions,
    )


def _endpoint_id(service: str) -> str:
    words = service.replace(".", "-").split("-")
    return "".join(word.capitalize() for word in words) + "Endpoint"
