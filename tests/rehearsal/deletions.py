"""How the emulator deletes: what, and in which order.

moto's CloudFormation has no deletion for these types and says nothing of it. Each is
deleted by the call that CloudFormation makes at AWS; what has no row goes with what it
belongs to (a route with its table, a rule with its security group).
"""

import re
from collections.abc import Callable, Iterator, Mapping
from graphlib import TopologicalSorter
from typing import Any

Deletion = Callable[[Any, Any], Any]
"""Deletes, with the client of the service, what moto has made."""

KEPT = {"Retain", "RetainExceptOnCreate"}
"""Deletion policies under which CloudFormation leaves a resource where it is."""


def _associations(ec2: Any, association: Any) -> None:
    tables = ec2.describe_route_tables(RouteTableIds=[association.route_table_id])
    for found in tables["RouteTables"][0]["Associations"]:
        if found.get("SubnetId") == association.subnet_id:
            ec2.disassociate_route_table(AssociationId=found["RouteTableAssociationId"])


def _nat_gateway(ec2: Any, gateway: Any) -> None:
    found = ec2.describe_nat_gateways(NatGatewayIds=[gateway.id])["NatGateways"][0]
    ec2.delete_nat_gateway(NatGatewayId=gateway.id)
    # which goes with its gateway at AWS, and stays in the emulator
    for address in found["NatGatewayAddresses"]:
        ec2.delete_network_interface(NetworkInterfaceId=address["NetworkInterfaceId"])


def _gateway_attachments(ec2: Any, attachment: Any) -> None:
    of_vpc = {"Name": "attachment.vpc-id", "Values": [attachment.vpc_id]}
    for gateway in ec2.describe_internet_gateways(Filters=[of_vpc])["InternetGateways"]:
        ec2.detach_internet_gateway(
            InternetGatewayId=gateway["InternetGatewayId"], VpcId=attachment.vpc_id
        )


DELETIONS: dict[str, Deletion] = {
    "AWS::EC2::EIP": lambda ec2, address: ec2.release_address(
        AllocationId=address.allocation_id
    ),
    "AWS::EC2::FlowLog": lambda ec2, log: ec2.delete_flow_logs(FlowLogIds=[log.id]),
    "AWS::EC2::InternetGateway": lambda ec2, gateway: ec2.delete_internet_gateway(
        InternetGatewayId=gateway.id
    ),
    "AWS::EC2::NatGateway": _nat_gateway,
    "AWS::EC2::RouteTable": lambda ec2, table: ec2.delete_route_table(
        RouteTableId=table.id
    ),
    "AWS::EC2::SubnetRouteTableAssociation": _associations,
    "AWS::EC2::VPCEndpoint": lambda ec2, endpoint: ec2.delete_vpc_endpoints(
        VpcEndpointIds=[endpoint.id]
    ),
    "AWS::EC2::VPCGatewayAttachment": _gateway_attachments,
    "AWS::Lambda::LayerVersion": lambda functions, layer: (
        functions.delete_layer_version(
            LayerName=layer.name, VersionNumber=layer.version
        )
    ),
}
"""Types of resources by what deletes them."""


def deletion_order(resources: Mapping[str, Any]) -> list[str]:
    """Return the logical ids in the order in which CloudFormation deletes.

    What refers to another resource, or depends on it, goes before it.

    Args:
        resources: The resources of a template.
    """
    needs = {
        name: {other for other in _mentioned(resource) if other in resources}
        for name, resource in resources.items()
    }
    return list(TopologicalSorter(needs).static_order())[::-1]


def _mentioned(value: Any, key: str = "") -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _mentioned(item, name)
    elif isinstance(value, list):
        # of an attribute the first is the resource
        for item in value[:1] if key == "Fn::GetAtt" else value:
            yield from _mentioned(item, key)
    elif key in {"Ref", "DependsOn", "Fn::GetAtt"}:
        yield value
    elif key == "Fn::Sub" and isinstance(value, str):
        yield from re.findall(r"\${(\w+)", value)
