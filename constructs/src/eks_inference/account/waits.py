"""Waits for AWS that have an end, and say what they were waiting for."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from eks_inference.account.session import Account, reason_of, refusals, repair_of

_EVERY_SECONDS = 10
"""How often AWS is asked. Assumed: every wait here is one of minutes."""

_AGENT_ONLINE = {
    "version": 2,
    "waiters": {
        "AgentOnline": {
            "operation": "DescribeInstanceInformation",
            "delay": _EVERY_SECONDS,
            "maxAttempts": 1,
            "acceptors": [
                {
                    "state": "success",
                    "matcher": "pathAny",
                    "argument": "InstanceInformationList[].PingStatus",
                    "expected": "Online",
                }
            ],
        }
    },
}
"""A wait that boto3 does not have: until Systems Manager hears from an instance."""


class StepError(Exception):
    """A step has failed; the message has the form of every other one."""


@contextmanager
def step(what: str) -> Iterator[None]:
    """Raise what AWS refuses as the failure of a step.

    Args:
        what: The step, as a rule: "'instance' must be launched".

    Raises:
        StepError: AWS refuses a call of the step.
    """
    try:
        yield
    except refusals() as error:
        message = f"{what}, got {reason_of(error)}; {repair_of(error)}"
        raise StepError(message) from error


def wait(
    account: Account,
    service: str,
    waiter: str,
    *,
    rule: str,
    seconds: int,
    got: Callable[[Mapping[str, Any]], str],
    repair: str,
    **asked: Any,
) -> None:
    """Wait, but not longer than a number of seconds.

    Args:
        account: The account.
        service: Name of the service in boto3.
        waiter: Waiter of its client, or ``agent_online``.
        rule: What is waited for: "'instance' must be running".
        seconds: Longest wait.
        got: Says what is the case instead, from the last answer.
        repair: What to do then.
        asked: What the waiter asks with.

    Raises:
        StepError: It has not come true in time, never will, or AWS does not say.
    """
    from botocore.exceptions import (  # type: ignore[import-untyped] # noqa: PLC0415
        ClientError,
        WaiterError,
    )

    config = {"Delay": _EVERY_SECONDS, "MaxAttempts": seconds // _EVERY_SECONDS}
    with step(rule):
        found = _waiter(account.client(service), waiter)
        try:
            found.wait(WaiterConfig=config, **asked)
        except WaiterError as error:
            last = error.last_response
            if "Error" in last:  # a refusal, which a waiter wraps
                raise ClientError(last, found.config.operation) from error
            message = f"{rule} within {seconds} s, got {got(last)}; {repair}"
            raise StepError(message) from error


def _waiter(client: Any, name: str) -> Any:
    if name != "agent_online":
        return client.get_waiter(name)
    from botocore.waiter import (  # type: ignore[import-untyped] # noqa: PLC0415
        WaiterModel,
        create_waiter_with_client,
    )

    return create_waiter_with_client("AgentOnline", WaiterModel(_AGENT_ONLINE), client)
