"""An account in memory: moto's, with what moto does not know filled in."""

import json
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped]
import pytest
from botocore.exceptions import (  # type: ignore[import-untyped]
    ClientError,
    ParamValidationError,
)
from botocore.validate import validate_parameters  # type: ignore[import-untyped]
from moto import mock_aws

from eks_inference import Accelerator, Capacity
from eks_inference.account.needs import DeploymentNeeds, PoolNeeds
from eks_inference.account.session import Account, iam_action
from eks_inference.planning import GpuPool

REGION = "us-east-1"
IMAGE = "ami-12c6146b"
"""One of the images that moto knows."""
DOCS = Path(__file__).parents[2] / "docs"

Answer = Callable[[Mapping[str, Any]], Mapping[str, Any]]
"""Answers an operation, or raises what AWS would."""


class Calls:
    """The calls of an account, and what is answered to some of them."""

    def __init__(self) -> None:
        self.actions: list[str] = []
        self.answers: dict[str, Answer] = {}


@pytest.fixture(autouse=True)
def _no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of the machine's own configuration is used."""
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@cache
def session() -> Any:
    """Return a session, the same one for all tests: it reads the API's descriptions."""
    return boto3.Session(region_name=REGION)


@pytest.fixture
def account() -> Iterator[Account]:
    """An account in memory, with credentials for it and without anything in it."""
    with mock_aws():
        yield Account(session(), REGION)


SERVICES = (
    *("cloudformation", "ec2", "eks", "iam", "logs", "resourcegroupstaggingapi"),
    *("service-quotas", "ssm", "sts"),
)


def watch(account: Account) -> Calls:
    """Record the calls of an account, and answer those that get an answer."""
    seen = Calls()

    def before(model: Any, context: Any, **_: Any) -> tuple[Any, Any] | None:
        service = model.service_model.service_name
        action = iam_action(service, model.name)
        seen.actions.append(action)
        if action not in seen.answers:
            return None
        asked = context["asked"]
        answer = dict(seen.answers[action](asked))
        # a fake must have the form of the API, as botocore's own stubber demands
        if model.output_shape is not None:
            try:
                validate_parameters(answer, model.output_shape)
            except ParamValidationError as error:
                # one of AWS's refusals otherwise, which the commands report and survive
                raise AssertionError(error) from error
        return type("Response", (), {"status_code": 200, "headers": {}})(), answer

    def remember(params: Mapping[str, Any], context: Any, **_: Any) -> None:
        context["asked"] = dict(params)

    for service in SERVICES:
        events = account.client(service).meta.events
        events.register("provide-client-params.*.*", remember)
        events.register("before-call.*.*", before)
    return seen


def refuse(code: str, operation: str = "Operation", *, message: str = "no") -> Answer:
    """Return an answer that is a refusal.

    Args:
        code: AWS's code.
        operation: Name of the operation.
        message: What AWS says.
    """

    def answer(_: Mapping[str, Any]) -> Mapping[str, Any]:
        raise ClientError({"Error": {"Code": code, "Message": message}}, operation)

    return answer


def pool_needs(**changes: Any) -> PoolNeeds:
    """Return a pool of one A10G or L4 a node, with some values changed."""
    room = {key: changes.pop(key) for key in ("cpu", "memory_mib") if key in changes}
    values: dict[str, Any] = {
        "name": "gpu-24",
        "accelerators": (Accelerator.A10G, Accelerator.L4),
        "gpus_per_node": 1,
        "capacity": Capacity.spot_with_fallback(),
        "max_gpus": 11,
    }
    return PoolNeeds(pool=GpuPool(**{**values, **changes}), **room)


def deployment(*pools: PoolNeeds, **values: Any) -> DeploymentNeeds:
    """Return a deployment of pools."""
    return DeploymentNeeds(pools=pools, **values)


def policy_actions(page: str) -> set[str]:
    """Return the actions of all policies that a page shows."""
    blocks = (DOCS / page).read_text().split("```json\n")[1:]
    return {
        action
        for block in blocks
        for statement in json.loads(block.split("```")[0])["Statement"]
        for action in statement["Action"]
    }
