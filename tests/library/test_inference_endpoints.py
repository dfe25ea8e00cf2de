"""Tests of the ways from a VPC to the AWS services that inference needs."""

from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_ec2 as ec2
from syrupy.assertion import SnapshotAssertion

from eks_inference import InferenceEndpoints
from eks_inference.inference_endpoints import INTERFACE_SERVICES
from eks_inference.testing import as_text, without_asset_hashes
from tests.library.cases import resources, template
from tests.library.conftest import import_vpc

ENDPOINT = "AWS::EC2::VPCEndpoint"
GROUP = "AWS::EC2::SecurityGroup"
CASES = ["endpoints-smallest", "endpoints-everything", "endpoints-gateway"]


def endpoints(case: str, type: str) -> dict[str, dict[str, Any]]:
    """Return the endpoints of one type in a case, by the service's last part."""
    found = {}
    for item in resources(case, ENDPOINT).values():
        properties = item["Properties"]
        if properties["VpcEndpointType"] == type:
            name = as_text(properties["ServiceName"])
            found[name.partition("${AWS::Region}.")[2]] = properties
    return found


def group(case: str) -> dict[str, Any]:
    """Return the only security group of a case."""
    [found] = resources(case, GROUP).values()
    properties: dict[str, Any] = found["Properties"]
    return properties


@pytest.mark.parametrize("case", CASES)
def test_template(case: str, snapshot: SnapshotAssertion) -> None:
    """The whole template is the recorded one, with few arguments and with all."""
    assert without_asset_hashes(template(case)["Resources"]) == snapshot


@pytest.mark.parametrize(
    ("case", "services"),
    [
        ("endpoints-smallest", {"ecr.api", "ecr.dkr"}),
        ("endpoints-everything", {"ecr.api", "eks-auth", "elasticfilesystem"}),
        ("endpoints-gateway", set()),
    ],
)
def test_services_have_endpoints(case: str, services: set[str]) -> None:
    """Each service that is asked for has an endpoint, and S3 has one always."""
    assert endpoints(case, "Interface").keys() == services
    assert endpoints(case, "Gateway").keys() == {"s3"}


def test_vpc_is_admitted_on_443() -> None:
    """The endpoints' group admits the VPC's network, or the one that is given."""
    for case, cidr in (
        ("endpoints-smallest", "10.20.0.0/16"),
        ("endpoints-everything", "10.20.128.0/17"),
    ):
        [rule] = group(case)["SecurityGroupIngress"]
        assert (rule["CidrIp"], rule["FromPort"], rule["ToPort"]) == (cidr, 443, 443)
        assert rule["IpProtocol"] == "tcp"
        [group_id] = resources(case, GROUP)
        for item in endpoints(case, "Interface").values():
            assert item["SecurityGroupIds"] == [{"Fn::GetAtt": [group_id, "GroupId"]}]
            assert item["PrivateDnsEnabled"] is True


def test_gateway_alone_needs_no_group() -> None:
    """Without interface endpoints there is no security group."""
    assert not resources("endpoints-gateway", GROUP)


def test_endpoints_lie_in_the_subnets() -> None:
    """Endpoints are in all private subnets, or in those that are given."""
    both = ["subnet-0aaaaaaaaaaaaaaaa", "subnet-0bbbbbbbbbbbbbbbb"]
    for case, subnets in (
        ("endpoints-smallest", both),
        ("endpoints-everything", both[:1]),
    ):
        for item in endpoints(case, "Interface").values():
            assert item["SubnetIds"] == subnets
    [tables] = [
        item["RouteTableIds"]
        for item in endpoints("endpoints-everything", "Gateway").values()
    ]
    assert tables == ["rtb-0aaaaaaaaaaaaaaaa"]


def test_s3_admits_layers_answers_and_the_account() -> None:
    """The policy names whose buckets are reached, and what is done with them."""
    policy = endpoints("endpoints-smallest", "Gateway")["s3"]["PolicyDocument"]
    layers, answers, own = policy["Statement"]
    assert layers["Action"] == "s3:GetObject"
    assert [as_text(item) for item in layers["Resource"]] == [
        f"arn:${{AWS::Partition}}:s3:::{bucket}/*"
        for bucket in (
            "prod-${AWS::Region}-starport-layer-bucket",
            "quayio-production-s3",
            "prod-registry-k8s-io-${AWS::Region}",
            "docker-images-prod",
        )
    ]
    assert answers["Action"] == "s3:PutObject"
    assert "cloudformation-custom-resource-response-" in as_text(answers["Resource"])
    assert own["Action"] == [
        "s3:AbortMultipartUpload",
        "s3:DeleteObject",
        "s3:GetBucketLocation",
        "s3:GetObject",
        "s3:ListBucket",
        "s3:ListBucketMultipartUploads",
        "s3:ListMultipartUploadParts",
        "s3:PutObject",
    ]
    assert own["Resource"] == "*"
    assert own["Condition"] == {
        "StringEquals": {"aws:ResourceAccount": {"Ref": "AWS::AccountId"}}
    }
    assert {item["Effect"] for item in policy["Statement"]} == {"Allow"}


def test_every_service_makes_an_endpoint(stack: cdk.Stack) -> None:
    """All services of the list can be had at once, each with an id of its own."""
    made = InferenceEndpoints(
        stack, "Endpoints", vpc=import_vpc(stack), services=INTERFACE_SERVICES
    )
    ids = {child.node.id for child in made.node.children}
    assert ids == {
        "S3",
        "Clients",
        "EcrApi",
        "EcrDkr",
        "Sts",
        "Ec2",
        "Eks",
        "EksAuth",
        "Sqs",
        "Ssm",
        "Logs",
        "Elasticfilesystem",
    }


def test_attributes_are_what_others_need(stack: cdk.Stack) -> None:
    """The gateway is readable, and the group where there is one."""
    vpc = import_vpc(stack)
    made = InferenceEndpoints(stack, "Endpoints", vpc=vpc)
    assert isinstance(made.s3, ec2.GatewayVpcEndpoint)
    assert isinstance(made.security_group, ec2.SecurityGroup)
    other = InferenceEndpoints(stack, "Gateway", vpc=vpc, services=[])
    assert other.security_group is None


def test_logical_ids_are_stable() -> None:
    """The ids are pinned: a second endpoint with private DNS excludes the first."""
    assert list(resources("endpoints-smallest", ENDPOINT)) == [
        "EndpointsS332DF97CF",
        "EndpointsEcrApiEA5E8197",
        "EndpointsEcrDkr2489B205",
    ]
