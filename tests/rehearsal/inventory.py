"""What an account holds, by the services' own lists."""

from collections.abc import Callable, Mapping
from typing import Any

LISTS = {
    "AWS::CloudFormation::Stack": (
        "cloudformation",
        "describe_stacks",
        "Stacks",
        "StackName",
    ),
    "AWS::CloudWatch::Alarm": (
        "cloudwatch",
        "describe_alarms",
        "MetricAlarms",
        "AlarmName",
    ),
    "AWS::EC2::EIP": ("ec2", "describe_addresses", "Addresses", "AllocationId"),
    "AWS::EC2::FlowLog": ("ec2", "describe_flow_logs", "FlowLogs", "FlowLogId"),
    "AWS::EC2::InternetGateway": (
        "ec2",
        "describe_internet_gateways",
        "InternetGateways",
        "InternetGatewayId",
    ),
    "AWS::EC2::LaunchTemplate": (
        "ec2",
        "describe_launch_templates",
        "LaunchTemplates",
        "LaunchTemplateId",
    ),
    "AWS::EC2::NatGateway": (
        "ec2",
        "describe_nat_gateways",
        "NatGateways",
        "NatGatewayId",
    ),
    "AWS::EC2::NetworkInterface": (
        "ec2",
        "describe_network_interfaces",
        "NetworkInterfaces",
        "NetworkInterfaceId",
    ),
    "AWS::EC2::RouteTable": (
        "ec2",
        "describe_route_tables",
        "RouteTables",
        "RouteTableId",
    ),
    "AWS::EC2::SecurityGroup": (
        "ec2",
        "describe_security_groups",
        "SecurityGroups",
        "GroupId",
    ),
    "AWS::EC2::Subnet": ("ec2", "describe_subnets", "Subnets", "SubnetId"),
    "AWS::EC2::VPC": ("ec2", "describe_vpcs", "Vpcs", "VpcId"),
    "AWS::EC2::VPCEndpoint": (
        "ec2",
        "describe_vpc_endpoints",
        "VpcEndpoints",
        "VpcEndpointId",
    ),
    "AWS::EFS::AccessPoint": (
        "efs",
        "describe_access_points",
        "AccessPoints",
        "AccessPointId",
    ),
    "AWS::EFS::FileSystem": (
        "efs",
        "describe_file_systems",
        "FileSystems",
        "FileSystemId",
    ),
    "AWS::EKS::Cluster": ("eks", "list_clusters", "clusters", ""),
    "AWS::Events::Rule": ("events", "list_rules", "Rules", "Name"),
    "AWS::IAM::InstanceProfile": (
        "iam",
        "list_instance_profiles",
        "InstanceProfiles",
        "InstanceProfileName",
    ),
    "AWS::IAM::Role": ("iam", "list_roles", "Roles", "RoleName"),
    "AWS::KMS::Key": ("kms", "list_keys", "Keys", "KeyId"),
    "AWS::Lambda::Function": ("lambda", "list_functions", "Functions", "FunctionName"),
    "AWS::Lambda::LayerVersion": ("lambda", "list_layers", "Layers", "LayerName"),
    "AWS::Logs::LogGroup": ("logs", "describe_log_groups", "logGroups", "logGroupName"),
    "AWS::S3::Bucket": ("s3", "list_buckets", "Buckets", "Name"),
    "AWS::SNS::Topic": ("sns", "list_topics", "Topics", "TopicArn"),
    "AWS::SQS::Queue": ("sqs", "list_queues", "QueueUrls", ""),
    "AWS::SSM::Parameter": ("ssm", "describe_parameters", "Parameters", "Name"),
}
"""Services, operations, and in their answer the list and its members' name; a list of
names has none. What is not here belongs to something that is, such as a node group to
its cluster."""

_GONE = "deleted"
"""State of what EC2 goes on listing for a while."""

Inventory = dict[str, set[str]]
"""Names of what there is, by its type."""


def inventory(client: Callable[[str], Any]) -> Inventory:
    """Return what there is.

    Args:
        client: Makes the client of a service.
    """
    return {
        kind: {
            item[name] if name else item
            for item in _whole(client(service), operation).get(found, ())
            if not (name and item.get("State") == _GONE)
        }
        for kind, (service, operation, found, name) in LISTS.items()
    }


def added(before: Inventory, after: Inventory) -> dict[str, list[str]]:
    """Return what there is more; empty if nothing is.

    Args:
        before: An inventory.
        after: A later one.
    """
    more = {kind: sorted(names - before[kind]) for kind, names in after.items()}
    return {kind: names for kind, names in more.items() if names}


def _whole(client: Any, operation: str) -> Mapping[str, Any]:
    answer: Mapping[str, Any] = (
        client.get_paginator(operation).paginate().build_full_result()
        if client.can_paginate(operation)
        else getattr(client, operation)()
    )
    return answer
