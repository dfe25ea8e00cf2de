"""Tests of how a snapshot is made, and that its instance ends whatever happens."""

import base64
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from eks_inference.account.image_snapshot import SnapshotRequest, snapshot_tags
from eks_inference.account.leftovers import tagged
from eks_inference.account.ownership import tags_of
from eks_inference.account.session import Account
from eks_inference.account.snapshot_maker import (
    CREATE_ACTIONS,
    SnapshotResult,
    make_snapshot,
)
from eks_inference.account.snapshot_plan import PLAN_ACTIONS, plan_snapshot
from eks_inference.account.sweep import sweep
from tests.account.conftest import REGION, policy_actions, refuse, session
from tests.account.leftover_account import STAGE_TAG
from tests.account.snapshot_account import (
    CLUSTER,
    DIGEST,
    MINE,
    VLLM,
    Host,
    described,
    make_stage,
)

REQUEST = SnapshotRequest(stage="dev", images=(VLLM, MINE))
OTHER = "sha256:" + "cd" * 32
AWS_SAYS_NO = refuse("UnauthorizedOperation", "Action")


@pytest.fixture
def host(account: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """A stage, and its instance, whose pauses take no time."""
    host, _ = make_stage(account, tmp_path)
    clock = SimpleNamespace(sleep=host.slept.append)
    monkeypatch.setattr("botocore.waiter.time", clock)
    return host


def make(account: Account, **values: Any) -> tuple[SnapshotResult, list[str]]:
    """Plan a snapshot and make it; return the result and what was said."""
    said: list[str] = []
    plan = plan_snapshot(account, REQUEST)
    made = make_snapshot(account, plan, say=values.get("say", said.append))
    return made, said


def fail(account: Account) -> str:
    """Return why a snapshot was not made."""
    made, _ = make(account)
    assert made.snapshot is None
    [error] = made.errors
    return error


def ec2() -> Any:
    """Return a client whose calls nobody counts."""
    return session().client("ec2", region_name=REGION)


def instances() -> dict[str, str]:
    """Return the state of each instance."""
    pages = ec2().describe_instances()["Reservations"]
    return {
        item["InstanceId"]: item["State"]["Name"]
        for page in pages
        for item in page["Instances"]
    }


def snapshots() -> list[dict[str, Any]]:
    """Return the snapshots of the cluster."""
    wanted = [{"Name": "tag:eks-inference:image-snapshot", "Values": [CLUSTER]}]
    listed: list[dict[str, Any]] = ec2().describe_snapshots(Filters=wanted)["Snapshots"]
    return listed


def test_snapshot_is_made(account: Account, host: Host) -> None:
    """The images are pulled, the data volume is kept, the instance is gone."""
    made, said = make(account)
    assert made.errors == ()
    [snapshot] = snapshots()
    assert snapshot["SnapshotId"] == made.snapshot
    assert snapshot["VolumeId"] == host.launched["volumes"]["/dev/xvdb"]["VolumeId"]
    assert snapshot["Encrypted"]
    assert tags_of(snapshot["Tags"]) == {
        "eks-inference:image-snapshot": CLUSTER,
        "eks-inference:bottlerocket": "1.64.0",
        "eks-inference:image.0": VLLM,
        "eks-inference:image.1": MINE,
        STAGE_TAG: "dev",
    }
    assert list(instances().values()) == ["terminated"]
    assert ec2().describe_volumes()["Volumes"] == []
    assert (host.folder / "images").read_text().split() == [VLLM, DIGEST, MINE, DIGEST]
    assert host.has("kubelet-is-stopped")
    assert [line.split()[0] for line in said] == [
        *("launching", "waiting", "pulling", "pulling", "stopping", "waiting", "ending")
    ]


def test_instance_is_closed(account: Account, host: Host) -> None:
    """It is reached from nowhere, gives pods no credentials, and joins no cluster."""
    make(account)
    found = host.launched
    assert "PublicIpAddress" not in found
    assert found["MetadataOptions"]["HttpTokens"] == "required"
    assert found["MetadataOptions"]["HttpPutResponseHopLimit"] == 1
    volumes = found["volumes"]
    assert {name: item["Size"] for name, item in volumes.items()} == {
        "/dev/xvda": 4,
        "/dev/xvdb": 200,
    }
    for item in (found, *volumes.values()):
        assert REQUEST.owner.reason(tags_of(item["Tags"]))
    assert all(item["Encrypted"] for item in volumes.values())
    assert {item["VolumeType"] for item in volumes.values()} == {"gp3"}
    settings = tomllib.loads(base64.b64decode(found["userData"]).decode())
    assert settings == {"settings": {"host-containers": {"admin": {"enabled": True}}}}


def test_order_of_steps(account: Account, host: Host) -> None:
    """The volume is at rest before it is copied, and the instance ends after that."""
    make(account)
    changes = [a for a in host.calls.actions if a in CREATE_ACTIONS]
    steps = [a for i, a in enumerate(changes) if i == 0 or a != changes[i - 1]]
    run = ["ssm:SendCommand", "ssm:GetCommandInvocation"]
    assert steps == [
        "ec2:RunInstances",
        "ssm:DescribeInstanceInformation",
        *(run * 4),
        "ec2:StopInstances",
        "ec2:CreateSnapshot",
        "ec2:TerminateInstances",
    ]


def test_commands_hold_no_secret(account: Account, host: Host) -> None:
    """Nothing asks for a token or a password, which Run Command would keep."""
    make(account)
    assert len(host.commands) == 5
    assert not [
        line
        for line in host.commands
        for word in ("--u", "AWS:", "password", "token")
        if word in line
    ]
    assert not [action for action in host.calls.actions if action.startswith("ecr")]


def test_actions_are_those_of_the_policy(account: Account, host: Host) -> None:
    """What is called, the lists in the code and those of the page are the same."""
    make(account)
    # no calls, but what EC2 asks for when it tags, and hands a role to an instance
    asked = {*host.calls.actions, "ec2:CreateTags", "iam:PassRole"}
    assert asked == {*PLAN_ACTIONS, *CREATE_ACTIONS}
    assert policy_actions("image-snapshot.md") == asked


def instance_in(host: Host, state: str, reason: str = "") -> None:
    """Let EC2 say that every instance is in a state."""
    item = {"InstanceId": "i-0", "State": {"Name": state}, "StateReason": {}}
    if reason:
        item["StateReason"] = {"Message": reason}

    def answer(_: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"Reservations": [{"Instances": [item]}]}

    host.calls.answers["ec2:RunInstances"] = after(host, "ec2:RunInstances", answer)


def after(host: Host, action: str, answer: Callable[..., Mapping[str, Any]]) -> Any:
    """Return what lets an operation be done, and then answers instead of EC2."""

    def do(asked: Mapping[str, Any]) -> Mapping[str, Any]:
        host.calls.answers["ec2:DescribeInstances"] = answer
        operation = {
            "ec2:RunInstances": "run_instances",
            "ec2:StopInstances": "stop_instances",
        }[action]
        done: Mapping[str, Any] = getattr(ec2(), operation)(**asked)
        return {key: done[key] for key in done if key != "ResponseMetadata"}

    return do


def never_running(host: Host) -> None:
    instance_in(host, "pending")


def ended_by_ec2(host: Host) -> None:
    instance_in(host, "terminated", "Client.InternalError: no such key")


def never_online(host: Host) -> None:
    host.calls.answers["ssm:DescribeInstanceInformation"] = lambda _: {
        "InstanceInformationList": []
    }


def lost(host: Host) -> None:
    host.calls.answers["ssm:DescribeInstanceInformation"] = lambda _: {
        "InstanceInformationList": [{"PingStatus": "ConnectionLost"}]
    }


def never_ready(host: Host) -> None:
    (host.folder / "no-admin").touch()


def pull_denied(host: Host) -> None:
    host.offer({VLLM: DIGEST})


def pull_never_ends(host: Host) -> None:
    answers = host.calls.answers
    answer = answers["ssm:GetCommandInvocation"]
    answers["ssm:GetCommandInvocation"] = lambda asked: (
        {"Status": "InProgress"} if host.has("images-are-pulled") else answer(asked)
    )
    (host.folder / "bin" / "host-ctr").write_text(
        "#!/bin/sh\ntouch images-are-pulled\n"
    )


def image_lost(host: Host) -> None:
    """Let ``host-ctr`` succeed and leave nothing."""
    (host.folder / "bin" / "host-ctr").write_text("#!/bin/sh\ntrue\n")


def other_digest(host: Host) -> None:
    host.offer({VLLM: DIGEST, MINE: OTHER})


def send_denied(host: Host) -> None:
    host.calls.answers["ssm:SendCommand"] = AWS_SAYS_NO


def invocation_denied(host: Host) -> None:
    host.calls.answers["ssm:GetCommandInvocation"] = AWS_SAYS_NO


def stop_denied(host: Host) -> None:
    host.calls.answers["ec2:StopInstances"] = AWS_SAYS_NO


def stopped_as(state: str, *devices: str) -> Callable[[Host], None]:
    """Return what lets EC2 say that a stopped instance is in a state."""
    item = {
        "InstanceId": "i-0",
        "State": {"Name": state},
        "BlockDeviceMappings": [
            {"DeviceName": device, "Ebs": {"VolumeId": "vol-0"}} for device in devices
        ],
    }

    def prepare(host: Host) -> None:
        host.calls.answers["ec2:StopInstances"] = after(
            host,
            "ec2:StopInstances",
            lambda _: {"Reservations": [{"Instances": [item]}]},
        )

    return prepare


def snapshot_denied(host: Host) -> None:
    host.calls.answers["ec2:CreateSnapshot"] = AWS_SAYS_NO


def snapshot_as(state: str) -> Callable[[Host], None]:
    """Return what lets EC2 say that the new snapshot is in a state."""

    def prepare(host: Host) -> None:
        def answer(_: Mapping[str, Any]) -> Mapping[str, Any]:
            host.calls.answers["ec2:DescribeSnapshots"] = lambda _: {
                "Snapshots": [{"SnapshotId": "snap-0", "State": state}]
            }
            return {"SnapshotId": "snap-0"}

        host.calls.answers["ec2:CreateSnapshot"] = answer

    return prepare


FAILURES: list[tuple[Callable[[Host], None], str, int]] = [
    (
        never_running,
        (
            "'instance' must be running within 300 s, got 'pending'; try again, or "
            "another --instance-type"
        ),
        300,
    ),
    (
        ended_by_ec2,
        (
            "'instance' must be running within 300 s, got 'terminated' "
            "(Client.InternalError: no such key); try again"
        ),
        0,
    ),
    (
        never_online,
        (
            "'agent' of the instance must be online within 600 s, got none; the subnet "
            "must lead to Systems Manager and ECR, and the role of 'instance_profile' "
            "must allow AmazonSSMManagedInstanceCore"
        ),
        600,
    ),
    (
        lost,
        "'agent' of the instance must be online within 600 s, got 'ConnectionL",
        600,
    ),
    (
        never_ready,
        "'admin' container must be there within 360 s, got 'TimedOut' (not in time); ",
        20,
    ),
    (
        pull_denied,
        (
            f"'image' {MINE!r} must be pulled within 3660 s, got 'Failed' (retries "
            f"exhausted: pull access denied for {MINE}); see what the command says, "
            "and whether the role of 'instance_profile' may pull"
        ),
        20,
    ),
    (
        pull_never_ends,
        f"'image' {VLLM!r} must be pulled within 3660 s, got 'InProgress'; see what",
        3680,
    ),
    (
        image_lost,
        f"'image' {VLLM!r} must be in containerd after its pull, got none; try again",
        20,
    ),
    (
        other_digest,
        f"'image' {MINE!r} must have its digest, got '{OTHER}'; do not use this regi",
        20,
    ),
    (
        send_denied,
        "'admin' container must be there, got UnauthorizedOperation no; allow the ",
        20,
    ),
    (
        invocation_denied,
        (
            "'admin' container must be there, got UnauthorizedOperation no; allow the "
            "caller 'GetCommandInvocation'"
        ),
        20,
    ),
    (stop_denied, "'instance' must be stopped, got UnauthorizedOperation no; allo", 20),
    (
        stopped_as("stopping"),
        "'instance' must be stopped within 600 s, got 'stopping'; try again",
        620,
    ),
    (
        stopped_as("stopped", "/dev/xvda", "/dev/xvdc"),
        "'instance' must have a volume /dev/xvdb, got ['/dev/xvda', '/dev/xvdc']; try",
        20,
    ),
    (snapshot_denied, "'snapshot' must be begun, got UnauthorizedOperation no; al", 20),
    (
        snapshot_as("error"),
        (
            "'snapshot' snap-0 must be completed within 3600 s, got 'error'; if it is "
            "pending, run the command again, which waits for it; otherwise delete it "
            "first"
        ),
        20,
    ),
    (
        snapshot_as("pending"),
        "'snapshot' snap-0 must be completed within 3600 s, got 'pending'; if it is ",
        3620,
    ),
]
"""How it fails, what is said, and how many seconds are waited at most: 20 for an agent
that is heard from at the third question."""


@pytest.mark.parametrize(("prepare", "message", "seconds"), FAILURES)
def test_instance_ends_with_every_failure(
    account: Account,
    host: Host,
    prepare: Callable[[Host], None],
    message: str,
    seconds: int,
) -> None:
    """Each failure has its name, comes in its time, and leaves no instance."""
    prepare(host)
    assert fail(account).startswith(message)
    assert sum(host.slept) <= seconds
    assert sum(host.slept) >= seconds - 20
    assert list(instances().values()) == ["terminated"]
    assert snapshots() == []


@pytest.mark.parametrize(
    "word", ["waiting for i-", "pulling", "stopping", "waiting for snap-"]
)
def test_instance_ends_with_an_interruption(
    account: Account, host: Host, word: str
) -> None:
    """At every step an interruption ends the instance, and is not swallowed."""

    def say(text: str) -> None:
        if text.startswith(word):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(account, say=say)
    assert list(instances().values()) == ["terminated"]
    assert host.calls.actions[-1] == "ec2:TerminateInstances"


def test_launch_that_is_refused_leaves_nothing(account: Account, host: Host) -> None:
    """Without an instance there is none to end."""
    host.calls.answers["ec2:RunInstances"] = refuse(
        "VcpuLimitExceeded", message="You have requested more vCPU capacity"
    )
    assert fail(account).startswith(
        "'instance' must be launched, got VcpuLimitExceeded You have requested more "
        "vCPU capacity; try again"
    )
    assert "ec2:TerminateInstances" not in host.calls.actions
    assert instances() == {}


def test_instance_that_cannot_be_ended_is_named(account: Account, host: Host) -> None:
    """The snapshot is made all the same; what costs money is said with a command."""
    host.calls.answers["ec2:TerminateInstances"] = AWS_SAYS_NO
    made, said = make(account)
    assert made.snapshot == snapshots()[0]["SnapshotId"]
    [instance] = instances()
    assert made.errors == (
        (
            f"'instance' {instance} must be ended, got UnauthorizedOperation no; aws "
            f"ec2 terminate-instances --instance-ids {instance}"
        ),
    )
    assert said[-1] == made.errors[0]
    assert plan_snapshot(account, REQUEST).left == (instance,)


def test_failure_and_instance_are_both_named(account: Account, host: Host) -> None:
    """One failure hides no other."""
    pull_denied(host)
    host.calls.answers["ec2:TerminateInstances"] = AWS_SAYS_NO
    made, _ = make(account)
    assert [error.split()[0] for error in made.errors] == ["'image'", "'instance'"]


def test_second_run_makes_nothing(account: Account, host: Host) -> None:
    """What the first run has made, the second finds by its tags."""
    first, _ = make(account)
    host.calls.actions.clear()
    second, said = make(account)
    assert second == first
    assert said == []
    assert set(host.calls.actions) <= set(PLAN_ACTIONS)
    assert len(snapshots()) == 1


def test_second_run_waits_for_the_first_ones_snapshot(
    account: Account, host: Host
) -> None:
    """A snapshot that was begun is waited for, without another instance."""
    tags = [{"Key": k, "Value": v} for k, v in snapshot_tags(REQUEST).items()]
    states = iter(["pending", "pending", "completed"])
    host.calls.answers["ec2:DescribeSnapshots"] = lambda _: {
        "Snapshots": [
            {
                "SnapshotId": "snap-0",
                "State": next(states),
                "VolumeSize": 200,
                "Tags": tags,
            }
        ]
    }
    made, said = make(account)
    assert made == SnapshotResult(snapshot="snap-0")
    assert said == ["waiting for snap-0, which an earlier run has begun"]
    assert instances() == {}


def test_sweep_finds_what_is_left(account: Account, host: Host) -> None:
    """When the cluster is gone its instance is a leftover; the snapshot is kept."""
    host.calls.answers["ec2:TerminateInstances"] = AWS_SAYS_NO
    made, _ = make(account)
    [instance] = instances()
    host.calls.answers["eks:DescribeCluster"] = refuse("ResourceNotFoundException")
    account.client("cloudformation").delete_stack(StackName=f"{CLUSTER}-cluster")
    swept = sweep(account, REQUEST.owner)
    left = {item.item.name for item in swept.results}
    volumes = {v["VolumeId"] for v in described(instance)["volumes"].values()}
    assert {instance, *volumes} <= left
    [kept] = [item for item in swept.kept if item.kind == "ec2:snapshot"]
    assert kept.command == f"aws ec2 delete-snapshot --snapshot-id {made.snapshot}"
    assert kept in set(tagged(account, REQUEST.owner))
