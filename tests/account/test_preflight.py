"""Tests of the checks of an account, against AWS in memory."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError  # type: ignore[import-untyped]

from eks_inference import Capacity
from eks_inference.account.checks import SPOT_ROLE
from eks_inference.account.needs import DeploymentNeeds, NodeGroupNeeds
from eks_inference.account.preflight import (
    PREFLIGHT_ACTIONS,
    has_failed,
    preflight,
)
from eks_inference.account.results import Check, Status
from eks_inference.account.session import Account
from tests.account.conftest import (
    IMAGE,
    REGION,
    Calls,
    deployment,
    policy_actions,
    pool_needs,
    refuse,
    watch,
)

WHOLE = {
    "kubernetes_version": "1.35",
    "first_zones": 2,
    "node_groups": (NodeGroupNeeds(instance_type="m6i.large", count=2),),
    "other_vcpus": 32,
    "vpcs": 1,
    "elastic_ips": 1,
    "stacks": ("inference-dev-network",),
    "clusters": ("inference-dev",),
}
PARAMETER = "/cdk-bootstrap/hnb659fds/version"


def quota(value: float) -> Any:
    """Return an answer with the value of a quota."""
    return lambda _: {"Quota": {"Value": value}}


def version(status: str, **dates: datetime) -> Any:
    """Return an answer with a version of Kubernetes."""
    return lambda asked: {
        "clusterVersions": [
            {
                "clusterVersion": asked["clusterVersions"][0],
                "versionStatus": status,
                **dates,
            }
        ]
    }


@pytest.fixture
def calls(account: Account) -> Calls:
    """The calls of an account that has everything."""
    account.client("ssm").put_parameter(Name=PARAMETER, Value="28", Type="String")
    account.client("iam").create_role(RoleName=SPOT_ROLE, AssumeRolePolicyDocument="{}")
    calls = watch(account)
    calls.answers["servicequotas:GetServiceQuota"] = quota(1_000)
    calls.answers["eks:DescribeClusterVersions"] = version("STANDARD_SUPPORT")
    return calls


def line(checks: list[Check], name: str) -> Check:
    """Return the line of a check whose name starts with a word."""
    [found] = [check for check in checks if check.name.startswith(name)]
    return found


def run_instances(
    account: Account, kind: str, count: int = 1, tags: Mapping[str, str] | None = None
) -> None:
    """Start instances with tags."""
    client = account.client("ec2")
    listed = [{"Key": key, "Value": value} for key, value in (tags or {}).items()]
    client.run_instances(
        ImageId=IMAGE,
        InstanceType=kind,
        MinCount=count,
        MaxCount=count,
        TagSpecifications=[{"ResourceType": "instance", "Tags": listed}]
        if listed
        else [],
    )


def test_account_with_everything_passes(account: Account, calls: Calls) -> None:
    """Every line passes, none asks for a repair, and each of the actions was used."""
    run_instances(account, "m5.large")
    calls.actions.clear()
    checks = preflight(account, deployment(pool_needs(), **WHOLE))
    assert [(c.name, c.status) for c in checks if c.status is not Status.PASS] == []
    assert [check.repair for check in checks if check.repair] == []
    assert not has_failed(checks)
    assert [check.name for check in checks] == [
        "credentials",
        "CDK bootstrap",
        "Kubernetes 1.35",
        "instance types of pool gpu-24",
        "role of EC2 Spot",
        "quota Running On-Demand G and VT instances",
        "quota All G and VT Spot Instance Requests",
        "quota Running On-Demand Standard instances",
        "quota VPCs per Region",
        "quota EC2-VPC Elastic IPs",
    ]


def test_actions_are_those_of_the_policy(account: Account, calls: Calls) -> None:
    """What is called, the list in the code and the policy of the page are the same."""
    calls.answers["servicequotas:GetServiceQuota"] = refuse("NoSuchResourceException")
    calls.answers["servicequotas:GetAWSDefaultServiceQuota"] = quota(5)
    preflight(account, deployment(pool_needs(), **WHOLE))
    assert tuple(sorted(set(calls.actions))) == PREFLIGHT_ACTIONS
    assert policy_actions("preflight.md") == set(PREFLIGHT_ACTIONS)


@pytest.mark.usefixtures("calls")
def test_empty_deployment_asks_little(account: Account) -> None:
    """Without pools and a version only the credentials and CDK are looked at."""
    checks = preflight(account, DeploymentNeeds())
    assert [check.name for check in checks] == ["credentials", "CDK bootstrap"]


@pytest.mark.parametrize("value", [None, "5", "x"])
def test_bootstrap_is_missing_or_old(
    account: Account, calls: Calls, value: str | None
) -> None:
    """An account that CDK cannot deploy to fails with the command that repairs it."""
    client = account.client("ssm")
    client.delete_parameter(Name=PARAMETER)
    if value:
        client.put_parameter(Name=PARAMETER, Value=value, Type="String")
    found = line(preflight(account, DeploymentNeeds()), "CDK bootstrap")
    assert calls.actions[-1] == "ssm:GetParameter"
    assert found.status is Status.FAIL
    assert found.repair == "cdk bootstrap aws://123456789012/us-east-1"
    assert (f"version {value} in" if value else "no parameter") in found.found


@pytest.mark.parametrize(
    ("answer", "status", "text"),
    [
        (
            version(
                "STANDARD_SUPPORT",
                endOfStandardSupportDate=datetime(2027, 3, 27, tzinfo=UTC),
            ),
            Status.PASS,
            "standard support until 2027-03-27",
        ),
        (
            version("EXTENDED_SUPPORT"),
            Status.WARN,
            "extended support, which EKS charges more for",
        ),
        (version("UNSUPPORTED"), Status.FAIL, "EKS does not support it"),
        (lambda _: {"clusterVersions": []}, Status.FAIL, "EKS does not know it"),
    ],
)
def test_version_of_kubernetes(
    account: Account, calls: Calls, answer: Any, status: Status, text: str
) -> None:
    """A version passes in standard support, warns in extended, and fails after it."""
    calls.answers["eks:DescribeClusterVersions"] = answer
    checks = preflight(account, DeploymentNeeds(kubernetes_version="1.31"))
    found = line(checks, "Kubernetes 1.31")
    assert (found.status, found.found) == (status, text)
    assert bool(found.repair) == (status is not Status.PASS)


@pytest.mark.usefixtures("calls")
def test_role_of_spot_is_missing(account: Account) -> None:
    """Without the role no spot instance starts; a pool on demand does not need it."""
    account.client("iam").delete_role(RoleName=SPOT_ROLE)
    found = line(preflight(account, deployment(pool_needs())), "role of EC2 Spot")
    assert found.status is Status.FAIL
    assert found.repair == (
        "aws iam create-service-linked-role --aws-service-name spot.amazonaws.com"
    )
    only = pool_needs(capacity=Capacity.on_demand())
    names = [check.name for check in preflight(account, deployment(only))]
    assert "role of EC2 Spot" not in names


def offered(*pairs: tuple[str, str]) -> Any:
    """Return two pages of instance types in zones, the first of them empty."""

    def answer(asked: Mapping[str, Any]) -> Mapping[str, Any]:
        if "NextToken" not in asked:
            return {"InstanceTypeOfferings": [], "NextToken": "more"}
        return {
            "InstanceTypeOfferings": [
                {"InstanceType": name, "Location": zone} for name, zone in pairs
            ]
        }

    return answer


@pytest.mark.parametrize(
    ("pairs", "zones", "expected"),
    [
        (
            [("g5.xlarge", "us-east-1b"), ("g6.xlarge", "us-east-1b")],
            ("us-east-1a", "us-east-1b"),
            (Status.WARN, "us-east-1b: g6.xlarge and 1 more; none in us-east-1a"),
        ),
        (
            [("g5.xlarge", "us-east-1b")],
            (),
            (Status.PASS, "us-east-1b: g5.xlarge; none in us-east-1a, us-east-1c, us-"),
        ),
        ([("g5.xlarge", "us-east-1b")], ("us-east-1b",), (Status.PASS, "us-")),
        ([("g5.xlarge", "us-east-1c")], ("us-east-1b",), (Status.FAIL, "none")),
        ([], (), (Status.FAIL, "none of g6.xlarge")),
    ],
)
def test_zones_that_have_the_instance_types(
    account: Account,
    calls: Calls,
    pairs: list[tuple[str, str]],
    zones: tuple[str, ...],
    expected: tuple[Status, str],
) -> None:
    """Every zone of the nodes needs one of the types, and one zone must have some."""
    calls.answers["ec2:DescribeInstanceTypeOfferings"] = offered(*pairs)
    needs = deployment(pool_needs(), availability_zones=zones)
    found = line(preflight(account, needs), "instance types")
    status, text = expected
    assert found.status is status
    assert found.found.startswith(text)
    assert calls.actions.count("ec2:DescribeInstanceTypeOfferings") == 2


def test_first_zones_are_those_of_the_nodes(account: Account, calls: Calls) -> None:
    """A stack without a region uses the region's first zones, and no others count."""
    calls.answers["ec2:DescribeInstanceTypeOfferings"] = offered(
        ("g5.xlarge", "us-east-1a"), ("g5.xlarge", "us-east-1c")
    )
    found = line(
        preflight(account, deployment(pool_needs(), first_zones=2)), "instance types"
    )
    assert found.status is Status.WARN
    assert found.found == "us-east-1a: g5.xlarge; none in us-east-1b"


def test_others_use_the_quota(account: Account, calls: Calls) -> None:
    """What runs counts by family and purchase; own nodes and ended ones do not."""
    calls.answers["servicequotas:GetServiceQuota"] = quota(64)
    run_instances(account, "g5.2xlarge", 2)
    run_instances(account, "g6f.xlarge")  # no type of a pool, so EC2 is asked
    run_instances(account, "p4d.24xlarge")
    run_instances(account, "g5.xlarge", tags={"eks:eks-cluster-name": "inference-dev"})
    run_instances(account, "g5.xlarge", tags={"eks:cluster-name": "inference-dev"})
    run_instances(account, "g5.xlarge", tags={"eks:cluster-name": "inference-dev2"})
    client = account.client("ec2")
    run_instances(account, "g5.48xlarge")
    listed = client.describe_instances(
        Filters=[{"Name": "instance-type", "Values": ["g5.48xlarge"]}]
    )
    [gone] = listed["Reservations"][0]["Instances"]
    client.terminate_instances(InstanceIds=[gone["InstanceId"]])
    checks = preflight(
        account, deployment(pool_needs(max_gpus=4), clusters=("inference-dev",))
    )
    found = line(checks, "quota Running On-Demand G and VT")
    # 2 x 8 + 4 + 4
    assert "quota 64, in use 24, room for 40" in found.found
    spot = line(checks, "quota All G and VT Spot")
    assert "quota 64, in use 0, room for 64" in spot.found


def test_running_spot_counts_as_spot(account: Account, calls: Calls) -> None:
    """An instance bought on the spot market is in the quota of spot, on any page."""

    def answer(asked: Mapping[str, Any]) -> Mapping[str, Any]:
        spot = {"InstanceType": "g6.xlarge", "InstanceLifecycle": "spot"}
        page: dict[str, Any] = {"Reservations": [{"Instances": [spot]}]}
        return page if "NextToken" in asked else {**page, "NextToken": "more"}

    calls.answers["ec2:DescribeInstances"] = answer
    checks = preflight(account, deployment(pool_needs()))
    assert "in use 8," in line(checks, "quota All G and VT Spot").found
    assert "in use 0," in line(checks, "quota Running On-Demand G and VT").found


def test_default_quota_holds_where_none_is_applied(
    account: Account, calls: Calls
) -> None:
    """An account that never asked for more has AWS's default."""
    calls.answers["servicequotas:GetServiceQuota"] = refuse("NoSuchResourceException")
    calls.answers["servicequotas:GetAWSDefaultServiceQuota"] = quota(0)
    checks = preflight(account, deployment(pool_needs()))
    assert line(checks, "quota Running On-Demand G").status is Status.FAIL
    assert has_failed(checks)


def test_places_for_vpc_and_addresses(account: Account, calls: Calls) -> None:
    """A VPC beyond the quota fails; one that the stack has made already is its own."""
    client = account.client("ec2")
    for _ in range(4):  # with the default one there are five
        client.create_vpc(CidrBlock="10.0.0.0/16")
    for _ in range(5):
        client.allocate_address(Domain="vpc")
    calls.answers["servicequotas:GetServiceQuota"] = quota(5)
    needs = deployment(vpcs=1, elastic_ips=3, stacks=("inference-dev-network",))
    checks = preflight(account, needs)
    found = line(checks, "quota VPCs")
    assert (found.status, found.found) == (
        Status.FAIL,
        "1 wanted; quota 5, in use 5, room for 0",
    )
    assert found.repair.endswith(
        "--service-code vpc --quota-code L-F678F1CE --desired-value 6 --region "
        "us-east-1"
    )
    assert line(checks, "quota EC2-VPC").repair.endswith(
        "--quota-code L-0263D0A3 --desired-value 8 --region us-east-1"
    )
    own = [{"Key": "aws:cloudformation:stack-name", "Value": "inference-dev-network"}]
    vpcs = [vpc["VpcId"] for vpc in client.describe_vpcs()["Vpcs"]]
    calls.answers["ec2:DescribeVpcs"] = lambda _: {
        "Vpcs": [
            {"VpcId": name, "Tags": own if name == vpcs[0] else []} for name in vpcs
        ]
    }
    assert line(preflight(account, needs), "quota VPCs").status is Status.PASS


@pytest.mark.parametrize(
    ("bound", "text"),
    [
        ({"accounts": ("111122223333",)}, "bound to account 111122223333"),
        ({"regions": ("eu-west-1",)}, "bound to region eu-west-1"),
        ({"regions": ("us-east-1", "us-west-2")}, "region us-east-1, us-west-2"),
    ],
)
@pytest.mark.usefixtures("calls")
def test_stacks_of_another_account(
    account: Account, bound: dict[str, Any], text: str
) -> None:
    """Stacks that are bound elsewhere fail at the credentials."""
    found = line(preflight(account, DeploymentNeeds(**bound)), "credentials")
    assert found.status is Status.FAIL
    assert text in found.found


@pytest.mark.usefixtures("calls")
def test_stacks_of_this_account_pass(account: Account) -> None:
    """Stacks that are bound to the account and region of the credentials pass."""
    needs = DeploymentNeeds(accounts=("123456789012",), regions=(REGION,))
    assert line(preflight(account, needs), "credentials").status is Status.PASS


@pytest.mark.parametrize(
    "code", ["ExpiredToken", "InvalidClientTokenId", "UnrecognizedClientException"]
)
def test_refused_credentials_end_it(account: Account, calls: Calls, code: str) -> None:
    """Credentials that AWS refuses are one line, and the repair is to sign in."""
    calls.answers["sts:GetCallerIdentity"] = refuse(code)
    [found] = preflight(account, deployment(pool_needs(), **WHOLE))
    assert (found.name, found.status) == ("credentials", Status.FAIL)
    assert found.found == f"{code} no"
    assert found.repair.startswith("sign in again")


def test_region_that_does_not_answer(account: Account, calls: Calls) -> None:
    """A region that cannot be reached is one line, and no traceback."""

    def answer(_: Mapping[str, Any]) -> Mapping[str, Any]:
        raise EndpointConnectionError(endpoint_url="https://sts.us-east-1.example")

    calls.answers["sts:GetCallerIdentity"] = answer
    [found] = preflight(account, DeploymentNeeds())
    assert found.status is Status.FAIL
    assert "Could not connect" in found.found
    assert found.repair == "try again, and check --region and the network"


@pytest.mark.parametrize(
    ("action", "name"),
    [
        ("ssm:GetParameter", "CDK bootstrap"),
        ("eks:DescribeClusterVersions", "Kubernetes 1.35"),
        ("ec2:DescribeAvailabilityZones", "availability zones"),
        ("ec2:DescribeInstanceTypeOfferings", "instance types of pool gpu-24"),
        ("iam:GetRole", "role of EC2 Spot"),
        ("ec2:DescribeInstances", "vCPUs in use"),
        ("servicequotas:GetServiceQuota", "quota VPCs per Region"),
        ("ec2:DescribeInstanceTypes", "quota Running On-Demand Standard"),
        ("ec2:DescribeVpcs", "quota VPCs per Region"),
        ("ec2:DescribeAddresses", "quota EC2-VPC Elastic IPs"),
    ],
)
def test_denied_question_is_a_line_of_its_own(
    account: Account, calls: Calls, action: str, name: str
) -> None:
    """An action that is denied warns and names itself; the others are still asked."""
    operation = action.partition(":")[2]
    calls.answers[action] = refuse("AccessDeniedException", operation)
    checks = preflight(account, deployment(pool_needs(), **WHOLE))
    found = line(checks, name)
    assert found.status is Status.WARN
    assert found.found == "not known: AccessDeniedException no"
    assert operation in found.repair
    assert not has_failed(checks)
    assert len(checks) >= 10
