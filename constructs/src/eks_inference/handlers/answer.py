"""What every function says to CloudFormation, and how."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.request import Request, urlopen  # noqa: TID251 - runs in a deployment

ANSWER_SECONDS = 15
"""Kept back of a function's own time for the answer to CloudFormation."""

MOST_CHARACTERS = 1_500
"""Of an error of AWS, whose encoded explanation can be long. CloudFormation takes
answers of 4096 bytes (its user guide, crpg-ref-requesttypes), and JSON writes a
quotation mark as two."""

Event = Mapping[str, Any]


def seconds_left(context: Any) -> float:
    """Return how long a function may go on before it has to answer.

    Args:
        context: Lambda's, of which the remaining time is asked.
    """
    left: int = context.get_remaining_time_in_millis()
    return left / 1000 - ANSWER_SECONDS


def answer(event: Event, result: Mapping[str, Any]) -> None:
    """Send the result to where CloudFormation waits for it."""
    echoed = {key: event[key] for key in ("StackId", "RequestId", "LogicalResourceId")}
    request = Request(  # noqa: S310 - CloudFormation's own address, signed by it
        event["ResponseURL"],
        data=json.dumps({**echoed, **result}).encode(),
        # the address is signed for an empty type
        headers={"Content-Type": ""},
        method="PUT",
    )
    with urlopen(request, timeout=ANSWER_SECONDS):  # noqa: S310
        pass


def client_of(service: str) -> Any:
    """Return a client of a service that asks again when it is throttled.

    Args:
        service: Name of the service in boto3.
    """
    # what the runtime brings, and an installation of the library does not
    import boto3  # type: ignore[import-untyped] # noqa: PLC0415
    from botocore.config import (  # type: ignore[import-untyped] # noqa: PLC0415
        Config,
    )

    retries = {"mode": "standard", "total_max_attempts": 8}
    return boto3.client(service, config=Config(retries=retries))
