"""Tests of the Lambda function that waits for the instances of a deleted pool."""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import boto3  # type: ignore[import-untyped]
import pytest
from botocore.stub import Stubber  # type: ignore[import-untyped]

from tests.library.cloudformation import Clock, Context, cloudformation, load

node_drain = load("node_drain")

FILTERS = [
    {"Name": "tag:eks:eks-cluster-name", "Values": ["platform"]},
    {"Name": "tag:karpenter.sh/nodepool", "Values": ["gpu"]},
    {
        "Name": "instance-state-name",
        "Values": ["pending", "running", "stopping", "stopped", "shutting-down"],
    },
]

Instances = Sequence[tuple[str, str]]
"""Ids and states of instances."""


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The function's time."""
    clock = Clock()
    monkeypatch.setattr(node_drain, "time", clock)
    return clock


@pytest.fixture
def ec2(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stubber]:
    """The function's EC2, which checks parameters and answers as it is told."""
    client = boto3.client(
        "ec2",
        region_name="eu-central-1",
        aws_access_key_id="none",
        aws_secret_access_key="none",
    )
    monkeypatch.setattr(node_drain, "client_of", {"ec2": client}.__getitem__)
    with Stubber(client) as stubber:
        yield stubber


class Asked(Protocol):
    """Calls the function, and returns its answer."""

    def __call__(
        self, kind: str, *, seconds: int = 900, known_as: str = ..., **changes: str
    ) -> dict[str, Any]:
        """Send a request with changed properties."""


@pytest.fixture
def ask() -> Iterator[Asked]:
    """The function, as CloudFormation calls it."""
    with cloudformation() as sender:

        def ask(
            kind: str,
            *,
            seconds: int = 900,
            known_as: str = "platform/gpu",
            **changes: str,
        ) -> dict[str, Any]:
            properties = {
                "ClusterName": "platform",
                "NodePool": "gpu",
                # CloudFormation turns numbers into texts
                "WaitSeconds": "840",
                **changes,
            }
            request = sender.request(kind, properties, known_as=known_as)
            node_drain.handler(request, Context(seconds))
            [answer] = sender.answers
            return answer

        yield ask


def tell(ec2: Stubber, *pages: Instances) -> None:
    """Let EC2 answer the next question with these pages."""
    for number, page in enumerate(pages):
        parameters: dict[str, Any] = {"Filters": FILTERS}
        response: dict[str, Any] = {
            "Reservations": [
                {"Instances": [{"InstanceId": name, "State": {"Name": state}}]}
                for name, state in page
            ]
        }
        if number:
            parameters["NextToken"] = f"page-{number}"
        if number < len(pages) - 1:
            response["NextToken"] = f"page-{number + 1}"
        ec2.add_response("describe_instances", response, parameters)


@pytest.mark.parametrize("kind", ["Create", "Update"])
def test_creation_and_update_do_nothing(kind: str, ask: Asked) -> None:
    """Only a deletion asks EC2; the resource is called after cluster and pool."""
    assert ask(kind) == {
        "Status": "SUCCESS",
        "PhysicalResourceId": "platform/gpu",
        "StackId": "arn:aws:cloudformation:eu-central-1:111122223333:stack/s/1",
        "RequestId": "42",
        "LogicalResourceId": "Resource",
    }


def test_renamed_pool_is_another_resource(ask: Asked) -> None:
    """A new name is a new identity, so that CloudFormation deletes the old one."""
    assert ask("Update", NodePool="other")["PhysicalResourceId"] == "platform/other"


def test_no_instance_left_is_success_at_once(
    ec2: Stubber, ask: Asked, clock: Clock
) -> None:
    """A pool without instances is deleted without waiting, under its old identity."""
    tell(ec2, [])
    answer = ask("Delete", known_as="what-it-was")
    assert answer["Status"] == "SUCCESS"
    assert answer["PhysicalResourceId"] == "what-it-was"
    assert clock.now == 0
    ec2.assert_no_pending_responses()


def test_waits_until_the_last_instance_is_gone(
    ec2: Stubber, ask: Asked, clock: Clock
) -> None:
    """Every state but 'terminated' is waited for."""
    tell(ec2, [("i-1", "running"), ("i-2", "running")])
    tell(ec2, [("i-2", "shutting-down")])
    tell(ec2, [])
    assert ask("Delete")["Status"] == "SUCCESS"
    assert clock.now == 2 * node_drain.POLL_SECONDS
    ec2.assert_no_pending_responses()


def test_fails_when_instances_stay(ec2: Stubber, ask: Asked, clock: Clock) -> None:
    """After the time that it has, the answer names instances, states and repair."""
    asked = 840 // node_drain.POLL_SECONDS + 1
    for _ in range(asked):
        # one on each page: what stays is counted over all of them
        tell(ec2, [("i-0b", "running")], [("i-0a", "shutting-down")])
    answer = ask("Delete")
    ec2.assert_no_pending_responses()
    assert clock.now == 840
    assert (answer["Status"], answer["PhysicalResourceId"]) == (
        "FAILED",
        "platform/gpu",
    )
    assert answer["Reason"] == (
        "pool 'gpu' of cluster 'platform' must have no instances, got 2 after 840 s: "
        "i-0a shutting-down, i-0b running; see what keeps them (kubectl get nodeclaims "
        "-l karpenter.sh/nodepool=gpu), or end them (aws ec2 terminate-instances "
        "--instance-ids i-0a i-0b), then delete again"
    )


def test_fails_before_lambda_ends_it(ec2: Stubber, ask: Asked) -> None:
    """A function that has less time than the wait answers while it still can."""
    for _ in range(3):
        tell(ec2, [("i-1", "running")])
    answer = ask("Delete", seconds=45)
    ec2.assert_no_pending_responses()
    assert answer["Status"] == "FAILED"
    assert "got 1 after 30 s: i-1 running;" in answer["Reason"]


def test_long_answer_fits(ec2: Stubber, ask: Asked) -> None:
    """Of many instances some are named and the others counted: 4096 bytes are few."""
    tell(ec2, [(f"i-{number:017x}", "shutting-down") for number in range(150)])
    reason = ask("Delete", WaitSeconds="0")["Reason"]
    assert "got 150 after 0 s" in reason
    assert "and 130 more;" in reason


@pytest.mark.parametrize("size", [10, 5_000])
def test_fails_when_ec2_refuses(ec2: Stubber, ask: Asked, size: int) -> None:
    """An error of EC2 is the reason of the failure, however long its text is."""
    ec2.add_client_error("describe_instances", "UnauthorizedOperation", "x" * size)
    answer = ask("Delete")
    assert answer["Status"] == "FAILED"
    assert answer["Reason"].startswith(
        "instances of pool 'gpu' must be countable, got An error occurred "
        "(UnauthorizedOperation) when calling the DescribeInstances operation: xxx"
    )
    assert answer["Reason"].endswith("xxx; repair it, then delete again")


def test_error_after_a_wait_is_reported(ec2: Stubber, ask: Asked) -> None:
    """An error that comes while it waits is no success either."""
    tell(ec2, [("i-1", "running")])
    ec2.add_client_error("describe_instances", "InternalError", "later")
    answer = ask("Delete")
    assert answer["Status"] == "FAILED"
    assert "InternalError" in answer["Reason"]


def test_fails_when_a_request_is_no_request(ask: Asked) -> None:
    """Whatever goes wrong in a deletion, CloudFormation hears of it."""
    answer = ask("Delete", WaitSeconds="soon")
    assert answer["Status"] == "FAILED"
    assert "'soon'" in answer["Reason"]


def test_client_asks_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client repeats what EC2 throttles."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    retries = node_drain.client_of("ec2").meta.config.retries
    assert retries == {"mode": "standard", "total_max_attempts": 8}
