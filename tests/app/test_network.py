"""The network: zones, ways out, and who may use the endpoints."""

from dataclasses import replace
from typing import Any

import pytest

from eks_inference.inference_endpoints import INTERFACE_SERVICES
from eks_inference.testing import as_text
from infra.settings import NetworkSettings
from infra.stages import load
from tests.app.conftest import (
    Templates,
    of_kind,
    only,
    other_choices,
    resources,
    statements,
    synthesize,
)
from tests.app.questions import exported, private_subnets

ENDPOINT = "AWS::EC2::VPCEndpoint"
SUBNET = "AWS::EC2::Subnet"
LOG_GROUP = "AWS::Logs::LogGroup"
DISCOVERY = "karpenter.sh/discovery"


def test_s3_endpoint_admits_what_the_platform_needs(templates: Templates) -> None:
    """Image layers, answers to CloudFormation and own buckets pass; nothing else."""
    [(_, gateway)] = endpoints(templates["Network"], "Gateway").items()
    assert as_text(gateway["ServiceName"]).endswith(".s3")
    layers, responses, own = statements(gateway["PolicyDocument"])
    assert [item["Effect"] for item in (layers, responses, own)] == [["Allow"]] * 3
    assert layers["Action"] == ["s3:GetObject"]
    assert [as_text(item) for item in layers["Resource"]] == [
        f"arn:${{AWS::Partition}}:s3:::{bucket}/*"
        for bucket in (
            "docker-images-prod",
            "prod-${AWS::Region}-starport-layer-bucket",
            "prod-registry-k8s-io-${AWS::Region}",
            "quayio-production-s3",
        )
    ]
    assert responses["Action"] == ["s3:PutObject"]
    [bucket] = responses["Resource"]
    assert without_dashes(bucket, "eu-west-1") == (
        "arn:aws:s3:::cloudformation-custom-resource-response-euwest1/*"
    )
    assert own["Resource"] == ["*"]
    assert own["Condition"] == [
        {"StringEquals": {"aws:ResourceAccount": {"Ref": "AWS::AccountId"}}}
    ]
    assert {"s3:GetObject", "s3:ListBucket", "s3:PutObject"} <= set(own["Action"])
    assert not any("*" in action for action in own["Action"])


def test_s3_endpoint_serves_every_private_subnet(templates: Templates) -> None:
    """No subnet with pods reaches S3 through NAT, which costs by the gigabyte."""
    network = templates["Network"]
    [(_, gateway)] = endpoints(network, "Gateway").items()
    private = [{"Ref": name} for name in private_subnets(network)]
    routes = resources(network, "AWS::EC2::SubnetRouteTableAssociation").values()
    tables = [item["RouteTableId"] for item in routes if item["SubnetId"] in private]
    assert len(tables) == len(private) > 0
    assert gateway["RouteTableIds"] == tables


def test_interface_endpoints_of_a_stage(dev: Templates, prod: Templates) -> None:
    """Development pays for the image endpoints only, production for all services."""
    assert services(dev["Network"]) == {"ecr.api", "ecr.dkr"}
    assert services(prod["Network"]) == set(INTERFACE_SERVICES)


def test_interface_endpoints_admit_the_vpc_on_443(templates: Templates) -> None:
    """Every private address can connect to an endpoint, by HTTPS and not otherwise."""
    network = templates["Network"]
    vpc = only(network, "AWS::EC2::VPC")
    private = private_subnets(network)
    for endpoint in endpoints(network, "Interface").values():
        [group] = endpoint["SecurityGroupIds"]
        properties = network["Resources"][group["Fn::GetAtt"][0]]["Properties"]
        [rule] = properties["SecurityGroupIngress"]
        assert rule["CidrIp"] == vpc["CidrBlock"]
        assert (rule["IpProtocol"], rule["FromPort"], rule["ToPort"]) == (
            *("tcp", 443),
            443,
        )
        assert endpoint["PrivateDnsEnabled"] is True
        assert [item["Ref"] for item in endpoint["SubnetIds"]] == private


def test_no_interface_endpoint_is_required() -> None:
    """A stage without interface endpoints has no security group for them either."""
    network = synthesize(other_choices())["Network"]
    assert services(network) == set()
    assert resources(network, "AWS::EC2::SecurityGroup") == {}


def test_refused_traffic_is_logged(templates: Templates) -> None:
    """The flow log of the VPC goes to a log group of ours."""
    log = only(templates["Network"], "AWS::EC2::FlowLog")
    [group] = resources(templates["Network"], LOG_GROUP)
    assert log["LogGroupName"] == {"Ref": group}
    assert log["TrafficType"] == "REJECT"
    assert log["ResourceType"] == "VPC"


@pytest.mark.parametrize(
    ("gateways", "account", "count"), [(1, "111122223333", 1), (3, "111122223333", 3)]
)
def test_nat_gateways_are_as_many_as_the_settings_say(
    gateways: int, account: str, count: int
) -> None:
    """One NAT gateway is cheap, one for each zone survives a zone."""
    network = network_of(gateways=gateways, account=account)
    assert len(resources(network, "AWS::EC2::NatGateway")) == count


def test_nat_gateways_are_at_most_one_for_each_zone() -> None:
    """Where only two zones are known, three NAT gateways become two."""
    assert len(resources(network_of(gateways=3), "AWS::EC2::NatGateway")) == 2


def test_known_account_gives_three_zones() -> None:
    """Three zones are used where the account is known."""
    zones = zones_of(network_of(account="111122223333"))
    assert zones == [zone_number(index) for index in range(3)]


def test_unknown_account_gives_two_zones() -> None:
    """Two zones are used where the account is unknown: each region has two."""
    assert zones_of(network_of()) == [zone_number(index) for index in range(2)]


def test_zones_can_be_named() -> None:
    """Named zones are used as they are, where EKS refuses the first ones."""
    named = ("us-east-1a", "us-east-1b", "us-east-1d")
    assert zones_of(network_of(zones=named)) == list(named)


def test_private_subnets_are_discovered_by_karpenter(dev: Templates) -> None:
    """Karpenter finds the private subnets by the cluster's name, and no public one."""
    [(cluster, properties)] = resources(dev["Cluster"], "AWS::EKS::Cluster").items()
    [imported] = exported(dev["Cluster"], [cluster])
    tagged = [
        name
        for name, subnet in resources(dev["Network"], SUBNET).items()
        if {"Key": DISCOVERY, "Value": properties["Name"]} in subnet["Tags"]
    ]
    assert tagged == private_subnets(dev["Network"])
    for item in of_kind(dev, "EC2NodeClass").values():
        [term] = item["spec"]["subnetSelectorTerms"]
        assert term["tags"].keys() == {DISCOVERY}
        assert term["tags"][DISCOVERY] in {imported, properties["Name"]}


def test_no_subnet_gives_public_addresses(templates: Templates) -> None:
    """Nothing gets a public address by being launched."""
    subnets = resources(templates["Network"], SUBNET).values()
    assert {subnet["MapPublicIpOnLaunch"] for subnet in subnets} == {False}


def network_of(
    *, gateways: int = 1, account: str | None = None, zones: tuple[str, ...] = ()
) -> Any:
    """Return the template of a network."""
    settings = replace(
        load("dev", account=account, region=account and "us-east-1"),
        network=NetworkSettings(nat_gateways=gateways, availability_zones=zones),
    )
    return synthesize(settings)["Network"]


def zones_of(network: Any) -> list[Any]:
    """Return the zones of the private subnets."""
    subnets = resources(network, SUBNET)
    return [subnets[name]["AvailabilityZone"] for name in private_subnets(network)]


def zone_number(index: int) -> dict[str, Any]:
    """Return the intrinsic function for a zone of the stack's region."""
    return {"Fn::Select": [index, {"Fn::GetAZs": ""}]}


def endpoints(network: Any, kind: str) -> dict[str, Any]:
    """Return the endpoints of a kind."""
    return {
        name: endpoint
        for name, endpoint in resources(network, ENDPOINT).items()
        if endpoint["VpcEndpointType"] == kind
    }


def services(network: Any) -> set[str]:
    """Return the services that have an interface endpoint."""
    return {
        as_text(item["ServiceName"]).removeprefix("com.amazonaws.${AWS::Region}.")
        for item in endpoints(network, "Interface").values()
    }


def without_dashes(value: Any, region: str) -> str:
    """Return what CloudFormation makes of a name with a region less its dashes."""
    if isinstance(value, str):
        return value
    known = {"AWS::Partition": "aws", "AWS::Region": region}
    match value:
        case {"Ref": name}:
            return known[name]
        case {"Fn::Join": [separator, {"Fn::Split": [dash, text]}]}:
            parts = without_dashes(text, region).split(dash)
        case {"Fn::Join": [separator, items]}:
            parts = [without_dashes(item, region) for item in items]
    return str(separator).join(parts)
