"""Tests of the commands: input, output, exit status, and what their pages show."""

import json
import re
import shlex
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from typer.testing import CliRunner, Result

from eks_inference.account.checks import SPOT_ROLE
from eks_inference.account.session import Account
from eks_inference.cli.main import app
from infra.stacks import define_stacks
from infra.stages import load
from tests.account.conftest import DOCS, REGION, Calls, refuse, watch
from tests.account.leftover_account import MINE, STAGE_TAG, tag_list

CONSOLE = re.compile(r"```console\n\$ eks-inference (.*)\n((?:.*\n)*?)```")
QUOTAS = {
    "L-DB2E81BA": 0,
    "L-3819A6DF": 64,
    "L-1216C47A": 16,
    "L-F678F1CE": 5,
    "L-0263D0A3": 5,
}


def run(line: str, status: int) -> Result:
    """Run a command in this process; it ends with a status, not by an exception."""
    result = CliRunner().invoke(app, shlex.split(line))
    if not isinstance(result.exception, SystemExit | None):
        raise result.exception
    assert result.exit_code == status, result.output
    return result


@pytest.fixture(scope="module")
def assembly(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that a synthesis of the platform was started in."""
    folder = tmp_path_factory.mktemp("app")
    synthesis = cdk.App(outdir=str(folder / "cdk.out"))
    define_stacks(synthesis, load("dev"))
    synthesis.synth()
    return folder


@pytest.fixture
def new_account(
    account: Account, monkeypatch: pytest.MonkeyPatch, assembly: Path
) -> Calls:
    """An account with little in it, which the commands open, beside an assembly."""
    account.client("ssm").put_parameter(
        Name="/cdk-bootstrap/hnb659fds/version", Value="28", Type="String"
    )
    calls = watch(account)
    calls.answers["servicequotas:GetServiceQuota"] = lambda asked: {
        "Quota": {"Value": float(QUOTAS[asked["QuotaCode"]])}
    }
    calls.answers["eks:DescribeClusterVersions"] = lambda asked: {
        "clusterVersions": [
            {
                "clusterVersion": asked["clusterVersions"][0],
                "versionStatus": "STANDARD_SUPPORT",
                "endOfStandardSupportDate": datetime(2027, 3, 27, tzinfo=UTC),
            }
        ]
    }
    monkeypatch.setattr(
        "eks_inference.account.session.open_account", lambda **_: account
    )
    monkeypatch.chdir(assembly)
    return calls


def answered(key: str, *items: Mapping[str, Any]) -> Any:
    """Return an answer with a list, until it has been asked for the last time."""
    return lambda _: {key: list(items)}


@pytest.fixture
def old_account(new_account: Calls) -> Calls:
    """An account in which a stage has left something, with ids that stay."""
    node = MINE["karpenter"]
    answers = new_account.answers
    answers["ec2:DescribeInstances"] = answered(
        "Reservations",
        {
            "Instances": [
                {
                    "InstanceId": "i-0a1b2c3d4e5f60718",
                    "InstanceType": "g6.xlarge",
                    "State": {"Name": "running"},
                    "Tags": tag_list(node),
                }
            ]
        },
    )
    answers["ec2:DescribeVolumes"] = answered(
        "Volumes",
        {
            "VolumeId": "vol-0a1b2c3d4e5f60718",
            "Size": 20,
            "State": "in-use",
            "Tags": tag_list(node),
        },
    )
    answers["ec2:DescribeNetworkInterfaces"] = answered(
        "NetworkInterfaces",
        {
            "NetworkInterfaceId": "eni-0a1b2c3d4e5f60718",
            "Description": "aws-K8S-i-0f9e8d7c6b5a40312",
            "Status": "available",
            "TagSet": tag_list({"cluster.k8s.amazonaws.com/name": "inference-dev"}),
        },
    )
    answers["ec2:DescribeSecurityGroups"] = answered(
        "SecurityGroups",
        {
            "GroupId": "sg-0a1b2c3d4e5f60718",
            "GroupName": "eks-cluster-sg-inference-dev-1234567890",
            "IpPermissions": [],
            "IpPermissionsEgress": [],
            "Tags": tag_list({"kubernetes.io/cluster/inference-dev": "owned"}),
        },
    )
    answers["tag:GetResources"] = lambda asked: {
        "ResourceTagMappingList": [
            {
                "ResourceARN": "arn:aws:s3:::inference-dev-storage-models",
                "Tags": tag_list({STAGE_TAG: "dev"}),
            }
        ]
        if asked["TagFilters"][0]["Key"] == STAGE_TAG
        else []
    }
    answers["logs:DescribeLogGroups"] = answered(
        "logGroups", {"logGroupName": "/aws/eks/inference-dev/cluster"}
    )
    gone = {"InstanceId": "i-0a1b2c3d4e5f60718", "State": {"Name": "terminated"}}

    def end(_: Mapping[str, Any]) -> Mapping[str, Any]:
        answers["ec2:DescribeInstances"] = answered(
            "Reservations", {"Instances": [gone]}
        )
        return {}

    answers["ec2:TerminateInstances"] = end
    answers["ec2:DeleteVolume"] = refuse("InvalidVolume.NotFound")
    answers["ec2:DeleteNetworkInterface"] = lambda _: {}
    answers["ec2:DeleteSecurityGroup"] = refuse(
        "DependencyViolation",
        "DeleteSecurityGroup",
        message="resource sg-0a1b2c3d4e5f60718 has a dependent object",
    )
    return new_account


def shown(page: str) -> Iterator[tuple[str, str]]:
    """Yield the commands of a page and what it shows of them."""
    for command, output in CONSOLE.findall((DOCS / page).read_text()):
        yield command, output.rstrip()


def printed(command: str) -> str:
    """Return what a command prints, without blanks at the ends of lines."""
    result = CliRunner().invoke(app, shlex.split(command))
    return "\n".join(line.rstrip() for line in result.output.rstrip().splitlines())


@pytest.mark.usefixtures("new_account")
def test_page_of_preflight_shows_what_is_printed() -> None:
    """Every block of the page is what the command prints today."""
    blocks = list(shown("preflight.md"))
    assert [command.split()[:2] for command, _ in blocks] == [["preflight", "cdk.out"]]
    for command, output in blocks:
        assert printed(command) == output


@pytest.mark.usefixtures("old_account")
def test_page_of_sweep_shows_what_is_printed() -> None:
    """Every block of the page is what the command prints today."""
    blocks = list(shown("sweep.md"))
    assert ["--delete" in command for command, _ in blocks] == [False, True]
    for command, output in blocks:
        assert printed(command) == output


def test_preflight_as_json(new_account: Calls) -> None:
    """JSON has every line, and the status says that the deployment would fail."""
    result = run("preflight cdk.out --json", 1)
    document = json.loads(result.stdout)
    assert (document["ready"], document["region"]) == (False, REGION)
    lines = {check["check"]: check for check in document["checks"]}
    assert lines["role of EC2 Spot"]["status"] == "fail"
    assert lines["quota Running On-Demand G and VT instances"]["status"] == "warn"
    assert all(check.keys() == lines["credentials"].keys() for check in lines.values())
    assert "iam:GetRole" in new_account.actions


def test_preflight_warns_and_is_ready(account: Account, new_account: Calls) -> None:
    """Warnings alone leave the status at 0."""
    account.client("iam").create_role(RoleName=SPOT_ROLE, AssumeRolePolicyDocument="{}")
    document = json.loads(run("preflight cdk.out --json", 0).stdout)
    assert document["ready"]
    assert "warn" in {check["status"] for check in document["checks"]}
    assert new_account.actions


def test_preflight_without_an_assembly(new_account: Calls) -> None:
    """GPUs, capacity, version and zones can be named instead."""
    line = (
        "preflight --gpu l40s --gpus-per-node 4 --max-gpus 8 --capacity on-demand "
        "--kubernetes-version 1.35 --zone us-east-1b --json"
    )
    document = json.loads(run(line, 1).stdout)
    lines = {check["check"]: check for check in document["checks"]}
    quota = lines["quota Running On-Demand G and VT instances"]
    assert quota["found"].startswith("gpu: 2 nodes x 48 vCPUs (g6e.12xlarge) = 96;")
    assert quota["status"] == "fail"
    assert "Kubernetes 1.35" in lines
    assert "role of EC2 Spot" not in lines
    assert lines["instance types of pool gpu"]["found"].startswith("us-east-1b: g6e")
    assert new_account.actions


@pytest.mark.usefixtures("new_account")
def test_zones_of_an_assembly_can_be_named() -> None:
    """Zones that are named go before those of the app."""
    document = json.loads(run("preflight cdk.out --zone us-east-1e --json", 1).stdout)
    lines = {check["check"]: check for check in document["checks"]}
    assert "us-east-1a" not in lines["instance types of pool gpu-24"]["found"]


@pytest.mark.usefixtures("old_account")
def test_sweep_as_json() -> None:
    """JSON has what is left and what is kept; the status says that something is."""
    document = json.loads(run("sweep --stage dev --json", 1).stdout)
    assert [row["kind"] for row in document["left"]] == [
        "instance",
        "volume",
        "network interface",
        "security group",
    ]
    assert {row["outcome"] for row in document["left"]} == {"left"}
    assert [row["id"] for row in document["kept"]] == [
        "inference-dev-storage-models",
        "/aws/eks/inference-dev/cluster",
    ]
    assert (document["clean"], document["delete"]) == (False, False)


@pytest.mark.usefixtures("old_account")
def test_sweep_says_what_it_could_not_delete() -> None:
    """One deletion fails, which the status and the row say; the others are done."""
    document = json.loads(run("sweep --stage dev --delete --json", 1).stdout)
    assert [row["outcome"] for row in document["left"]] == [
        *("deleted", "deleted", "deleted", "failed"),
    ]
    assert document["left"][-1]["error"].startswith("DependencyViolation ")


@pytest.mark.usefixtures("new_account")
def test_clean_account() -> None:
    """Nothing left is said in a line, with status 0."""
    result = run("sweep --cluster inference-dev", 0)
    assert result.stdout == (
        "Nothing is left of inference-dev in us-east-1 that sweep would delete.\n"
    )


def test_list_that_is_denied_is_printed(new_account: Calls) -> None:
    """What could not be looked at stands at the end, and the status is 1."""
    new_account.answers["ec2:DescribeVolumes"] = refuse(
        "UnauthorizedOperation", "DescribeVolumes"
    )
    result = run("sweep --cluster inference-dev", 1)
    assert "Not looked at: volumes: UnauthorizedOperation no; allow" in result.stdout


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("preflight", "'assembly' or 'gpu' must be given, and not both; pass for "),
        ("preflight cdk.out --gpu l4", "'assembly' or 'gpu' must be given, and not "),
        (
            "preflight cdk.out --max-gpus 3",
            "'max_gpus' must not be given with an assembly, got 3; the ",
        ),
        (
            "preflight --gpu l4 --capacity cheap",
            "'capacity' must be one of 'on-demand', 'spot', 'spot-with-fallback', got ",
        ),
        ("preflight --gpu l4 --max-gpus 0", "pool 'gpu': 'max_gpus' must be at least"),
        ("preflight --gpu l5", "'gpu' must be one of 't4', "),
        ("preflight nothing", "'assembly' must be the folder of a synthesized app, "),
        (
            "preflight --gpu l4",
            "'region' must be given, or set for the profile or the environment, got ",
        ),
        (
            "preflight --gpu l4 --region moon",
            "'region' must be the name of an AWS region, got 'moon'; pass for example ",
        ),
        (
            "sweep --stage dev --profile none",
            "'profile' must be one of the AWS configuration, got 'none'; 'aws ",
        ),
        ("sweep", "'stage' or 'cluster' must be given; pass for example --stage dev"),
        ("sweep --stage DEV", "'stage' must be a DNS label"),
        ("sweep --cluster a*", "'cluster' must be the name of an EKS cluster, got "),
    ],
)
def test_bad_input_is_named(line: str, message: str) -> None:
    """Input that cannot be meant ends with status 2 and a line for each problem."""
    result = run(line, 2)
    assert result.stdout == ""
    assert result.stderr.startswith(f"Error: {message}")


@pytest.mark.parametrize("line", ["preflight --gpu l4", "sweep --stage dev"])
def test_missing_boto3_is_named(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra the command says how to install it."""
    monkeypatch.setitem(sys.modules, "boto3", None)
    result = run(f"{line} --region us-east-1", 2)
    assert result.stderr == (
        "Error: 'boto3' must be installed to talk to AWS, got no such module; pip "
        "install 'eks-inference[aws]'\n"
    )


def test_missing_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without credentials preflight fails with one line, and sweep refuses."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    result = run("preflight --gpu l4 --region us-east-1 --json", 1)
    [check] = json.loads(result.stdout)["checks"]
    assert check["check"] == "credentials"
    assert check["found"] == "Unable to locate credentials"
    assert check["repair"].startswith("sign in again")
    refused = run("sweep --stage dev --region us-east-1", 2)
    assert refused.stderr == (
        "Error: 'cluster' must be known to be gone, got Unable to locate credentials; "
        "sign in again (aws sso login, aws configure), or pass --profile\n"
    )


def test_region_of_the_profile_is_used(
    monkeypatch: pytest.MonkeyPatch, account: Account
) -> None:
    """Without an option the region is that of the environment."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    document = json.loads(run("sweep --cluster gone --json", 0).stdout)
    assert document["region"] == "eu-west-1"
    assert account.region == REGION
