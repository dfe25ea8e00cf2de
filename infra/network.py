"""The VPC: private subnets for nodes, and short ways to the AWS services they need."""

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_logs as logs
from constructs import Construct

from eks_inference import InferenceEndpoints
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
        zones = self._zones = _zones(settings)
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
        InferenceEndpoints(
            self,
            "Endpoints",
            vpc=self.vpc,
            client_cidr=network.cidr,
            services=network.interface_endpoints,
        )

    @property
    def availability_zones(self) -> list[str]:
        """The zones of the VPC.

        CDK asks for them even where they are given, and would look up those of a known
        account, for which a synthesis has no credentials.
        """
        return self._zones

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


def _zones(settings: Settings) -> list[str]:
    network = settings.network
    if network.availability_zones:
        return list(network.availability_zones)
    count = network.zones if settings.account else _ZONES_WITHOUT_ACCOUNT
    # resolved by CloudFormation; naming them here would need a look-up
    return [cdk.Fn.select(index, cdk.Fn.get_azs()) for index in range(count)]
