"""Tests of the commands: input, output, exit status, and what their pages show."""

import json
import os
import re
import shlex
import signal
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
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
from tests.account.snapshot_account import (
    VLLM_ON_PAGE,
    Host,
    answer_with_ids_that_stay,
)

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


@pytest.fixture
def host(new_account: Calls, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Host:
    """An account with a stage, and the instance of a snapshot, with ids that stay."""
    made = answer_with_ids_that_stay(tmp_path, new_account)
    clock = SimpleNamespace(sleep=made.slept.append)
    monkeypatch.setattr("botocore.waiter.time", clock)
    return made


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


@pytest.mark.usefixtures("host")
def test_page_of_image_snapshot_shows_what_is_printed() -> None:
    """Every block of the page is what the command prints today."""
    blocks = list(shown("image-snapshot.md"))
    assert ["--create" in command for command, _ in blocks] == [False, True]
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
        (
            "image-snapshot cdk.out --stage dev --image ghcr.io/a/b:1",
            "'image' must not be given with an assembly, got 'ghcr.io/a/b:1'; the ",
        ),
        ("image-snapshot --stage dev", "'image' must not be empty; pass for example "),
        (
            "image-snapshot --stage dev --image ghcr.io/a/b:latest",
            "'image' must be an image with its registry, and a tag other than 'la",
        ),
        (
            "image-snapshot --cluster own --image ghcr.io/a/b:1",
            "'instance_profile' must be given without a stage; pass the name of ",
        ),
        (
            "image-snapshot --stage dev --image ghcr.io/a/b:1 --bottlerocket latest",
            "'bottlerocket' must be a pinned Bottlerocket release, got 'latest'; for ",
        ),
        (
            "image-snapshot --stage dev --image ghcr.io/a/b:1",
            "'region' must be given, or set for the profile or the environment, got ",
        ),
        ("sweep --stage DEV", "'stage' must be a DNS label"),
        ("sweep --cluster a*", "'cluster' must be the name of an EKS cluster, got "),
    ],
)
def test_bad_input_is_named(line: str, message: str) -> None:
    """Input that cannot be meant ends with status 2 and a line for each problem."""
    result = run(line, 2)
    assert result.stdout == ""
    assert result.stderr.startswith(f"Error: {message}")


@pytest.mark.parametrize(
    "line",
    [
        "preflight --gpu l4",
        "sweep --stage dev",
        "image-snapshot --stage dev --image ghcr.io/a/b:1",
    ],
)
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


SNAPSHOT = f"image-snapshot --stage dev --image {VLLM_ON_PAGE}"


def test_planned_snapshot_as_json(host: Host) -> None:
    """Without being told to create, JSON has what it would take, with status 0."""
    document = json.loads(run(f"{SNAPSHOT} --json", 0).stdout)
    assert document.pop("commands") != []
    assert document == {
        "cluster": "inference-dev",
        "stage": "dev",
        "region": REGION,
        "kubernetes": "1.35",
        "images": [VLLM_ON_PAGE],
        "bottlerocket": "1.64.0",
        "ami": "ami-0a1b2c3d4e5f60718",
        "instance_type": "m5.large",
        "instance_profile": "inference-dev-cluster-NodeProfile-1a2b3c4d",
        "subnet": "subnet-0a1b2c3d4e5f60718",
        "security_groups": ["sg-0a1b2c3d4e5f60718"],
        "volume_gib": 200,
        "create": False,
        "outcome": "planned",
        "snapshot": None,
        "setting": None,
        "errors": [],
        "left": [],
    }
    assert host.commands == []
    assert "ec2:RunInstances" not in host.calls.actions


def test_images_are_those_of_an_app(host: Host) -> None:
    """Without a name the images are those that the app's pods name, once each."""
    named = json.loads(run(f"{SNAPSHOT} --json", 0).stdout)
    line = "image-snapshot cdk.out --stage dev --region us-east-1 --json"
    assert json.loads(run(line, 0).stdout) == named
    assert "sts:GetCallerIdentity" in host.calls.actions


@pytest.mark.usefixtures("host")
def test_folder_without_an_app_is_named(tmp_path: Path) -> None:
    """A folder that is no assembly is refused, and so is one without a model."""
    line = "image-snapshot {} --stage dev --region us-east-1"
    assert run(line.format("none"), 2).stderr.startswith(
        "Error: 'assembly' must be the folder of a synthesized app, got 'none'; run "
    )
    synthesis = cdk.App(outdir=str(tmp_path / "empty"))
    cdk.Stack(synthesis, "Empty")
    synthesis.synth()
    assert run(line.format(tmp_path / "empty"), 2).stderr == (
        "Error: 'assembly' must not be empty; it must have a model, or name an image\n"
    )


def test_account_of_an_app_must_be_known(host: Host) -> None:
    """The names of images hold the account: without credentials there are none."""
    host.calls.answers["sts:GetCallerIdentity"] = refuse("ExpiredToken")
    line = "image-snapshot cdk.out --stage dev --region us-east-1"
    assert run(line, 2).stderr == (
        "Error: 'credentials' must be accepted by AWS, got 'ExpiredToken no'; sign in "
        "again (aws sso login, aws configure), or pass --profile\n"
    )


def test_created_snapshot_as_json(host: Host) -> None:
    """JSON stands alone on the standard output, and has the line for the settings."""
    planned = json.loads(run(f"{SNAPSHOT} --json", 0).stdout)
    result = run(f"{SNAPSHOT} --json --create", 0)
    document = json.loads(result.stdout)
    assert (document["outcome"], document["create"]) == ("created", True)
    assert document["snapshot"] == "snap-0a1b2c3d4e5f60718"
    assert document["setting"] == 'image_snapshot="snap-0a1b2c3d4e5f60718"'
    assert "pulling" in result.stderr
    assert host.commands == planned["commands"]


def test_options_of_a_snapshot_are_used(host: Host) -> None:
    """Every option reaches the instance that is launched."""
    launched: dict[str, Any] = {}
    launch = host.calls.answers["ec2:RunInstances"]

    def answer(asked: Mapping[str, Any]) -> Mapping[str, Any]:
        launched.update(asked)
        return launch(asked)

    host.calls.answers["ec2:RunInstances"] = answer
    line = (
        f"{SNAPSHOT} --json --create --cluster own --instance-profile nodes "
        "--bottlerocket 1.57.0 --instance-type m6i.xlarge --volume-gib 120"
    )
    document = json.loads(run(line, 0).stdout)
    assert (document["cluster"], document["bottlerocket"]) == ("own", "1.57.0")
    assert launched["IamInstanceProfile"] == {"Name": "nodes"}
    assert launched["InstanceType"] == "m6i.xlarge"
    sizes = [item["Ebs"]["VolumeSize"] for item in launched["BlockDeviceMappings"]]
    assert sizes == [4, 120]


def listed_snapshot(host: Host, state: str) -> None:
    """Let the account have a snapshot of the image in a state."""
    item = {
        "SnapshotId": "snap-0",
        "State": state,
        "VolumeSize": 200,
        "Tags": tag_list({"eks-inference:image.0": VLLM_ON_PAGE}),
    }
    host.calls.answers["ec2:DescribeSnapshots"] = answered("Snapshots", item)


@pytest.mark.parametrize("create", ["", " --create"])
def test_found_snapshot_is_printed(host: Host, create: str) -> None:
    """A snapshot that exists is named with its setting, and none is made."""
    listed_snapshot(host, "completed")
    result = run(SNAPSHOT + create, 0)
    assert result.stdout == (
        "Snapshot snap-0 of inference-dev in us-east-1 has the images already. The "
        'setting of a pool:\n  image_snapshot="snap-0"\n'
    )
    assert result.stderr == ""
    document = json.loads(run(f"{SNAPSHOT} --json{create}", 0).stdout)
    assert document["outcome"] == "found"
    assert "ec2:RunInstances" not in host.calls.actions


def test_snapshot_that_is_being_made_is_printed(host: Host) -> None:
    """One that is not complete yet is no setting to use, until it is waited for."""
    listed_snapshot(host, "pending")
    assert run(SNAPSHOT, 0).stdout == (
        "Snapshot snap-0 of inference-dev in us-east-1 is being made; --create waits "
        "for it.\n"
    )
    document = json.loads(run(f"{SNAPSHOT} --json", 0).stdout)
    assert (document["outcome"], document["setting"]) == ("pending", None)


def test_failed_snapshot_is_printed(host: Host) -> None:
    """A failure is said with status 1, without a setting; so is an instance left."""
    host.offer({})
    host.calls.answers["ec2:TerminateInstances"] = refuse("UnauthorizedOperation")
    head, pulled, left = run(f"{SNAPSHOT} --create", 1).stdout.splitlines()
    assert head == "No snapshot of inference-dev in us-east-1 was made."
    assert pulled.startswith(f"  - 'image' '{VLLM_ON_PAGE}' must be pulled within ")
    assert left.startswith("  - 'instance' i-0a1b2c3d4e5f60718 must be ended, got ")
    document = json.loads(run(f"{SNAPSHOT} --create --json", 1).stdout)
    assert (document["outcome"], document["snapshot"]) == ("failed", None)
    assert len(document["errors"]) == 2


def test_instance_left_by_another_run_is_printed(host: Host) -> None:
    """What an earlier run has left is said with the command that ends it."""
    item = {"InstanceId": "i-0", "State": {"Name": "running"}}
    host.calls.answers["ec2:DescribeInstances"] = answered(
        "Reservations", {"Instances": [item]}
    )
    lines = run(SNAPSHOT, 0).stdout.splitlines()
    assert lines[-2:] == [
        "Instances of another run; if none is at work, end them:",
        "  aws ec2 terminate-instances --instance-ids i-0",
    ]


def test_cancelled_job_ends_the_instance(host: Host) -> None:
    """The signal by which pipelines cancel a job is an interruption, and no more."""
    # and no command before this one has left its own
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL

    def cancel(_: Mapping[str, Any]) -> Mapping[str, Any]:
        os.kill(os.getpid(), signal.SIGTERM)
        return {}

    host.calls.answers["ec2:StopInstances"] = cancel
    result = run(f"{SNAPSHOT} --create", 130)
    assert result.stdout == ""
    assert host.calls.actions[-1] == "ec2:TerminateInstances"
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_stack_that_is_asked_for_the_profile_has_one(assembly: Path) -> None:
    """The platform's stack is the one that is asked, and the page hands on its role."""
    folder = assembly / "cdk.out"
    manifest = json.loads((folder / "manifest.json").read_text())
    [file] = [
        item["properties"]["templateFile"]
        for item in manifest["artifacts"].values()
        if item.get("properties", {}).get("stackName") == "inference-dev-cluster"
    ]
    resources = json.loads((folder / file).read_text())["Resources"]
    [profile] = [
        name
        for name, item in resources.items()
        if item["Type"] == "AWS::IAM::InstanceProfile"
    ]
    assert profile.startswith("NodeProfile")
    [role] = resources[profile]["Properties"]["Roles"]
    assert role["Ref"].startswith("NodeRole")
    assert "RoleName" not in resources[role["Ref"]]["Properties"]
    page = (DOCS / "image-snapshot.md").read_text()
    assert "role/inference-dev-cluster-NodeRole*" in page
