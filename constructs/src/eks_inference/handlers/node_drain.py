"""Lambda function: a pool counts as deleted only when its instances are gone.

CloudFormation deletes this resource after the pool's objects and before the controller
that ends the pool's nodes. See ``eks_inference.node_drain``.
"""

import json
import logging
import time  # noqa: TID251 - runs in a deployment, never in a synthesis
from collections.abc import Mapping
from typing import Any
from urllib.request import Request, urlopen  # noqa: TID251 - as above

ALIVE = ("pending", "running", "stopping", "stopped", "shutting-down")
"""States of an instance that still holds a network interface, and so a security group
and a subnet. Karpenter lists its instances by the same five
(aws/karpenter-provider-aws@004b39b pkg/providers/instance/instance.go)."""

POLL_SECONDS = 15
"""Assumed: some 60 questions in the longest wait, far below what EC2 throttles."""

ANSWER_SECONDS = 15
"""Kept back of the function's own time for the answer to CloudFormation."""

MOST_NAMED = 20
"""Instances that a message names. CloudFormation takes answers of 4096 bytes (its user
guide, crpg-ref-requesttypes); the log of the function has them all."""

MOST_CHARACTERS = 2_000
"""Of an error of EC2, whose encoded explanation can be long; see ``MOST_NAMED``."""

Event = Mapping[str, Any]

logger = logging.getLogger(__name__)
logger.setLevel(logging.INFO)


class NodesLeftError(Exception):
    """Instances of a pool outlived the time that they had."""


def handler(event: Event, context: Any) -> None:
    """Answer CloudFormation; only a deletion has anything to wait for.

    Args:
        event: Request of CloudFormation.
        context: Lambda's, of which the remaining time is asked.
    """
    properties = event["ResourceProperties"]
    pool, cluster = properties["NodePool"], properties["ClusterName"]
    result = {"Status": "SUCCESS"}
    if event["RequestType"] == "Delete":
        result["PhysicalResourceId"] = event["PhysicalResourceId"]
        most = context.get_remaining_time_in_millis() / 1000 - ANSWER_SECONDS
        try:
            wait(pool, cluster, seconds=min(int(properties["WaitSeconds"]), most))
        except Exception as error:
            logger.exception("pool %r", pool)
            result |= {"Status": "FAILED", "Reason": reason(pool, error)}
    else:
        # under another name it is another pool, whose predecessor is then deleted
        result["PhysicalResourceId"] = f"{cluster}/{pool}"
    answer(event, result)


def wait(pool: str, cluster: str, *, seconds: float) -> None:
    """Return when a pool has no instances.

    Args:
        pool: Name of the NodePool.
        cluster: Name of the cluster.
        seconds: Longest wait.

    Raises:
        NodesLeftError: Some are left; the message names them and the repair.
    """
    client = ec2()
    end = time.monotonic() + seconds
    while left := instances(client, pool, cluster):
        logger.info("pool %r has %s", pool, left)
        if time.monotonic() + POLL_SECONDS > end:
            raise NodesLeftError(message(pool, cluster, left, seconds))
        time.sleep(POLL_SECONDS)


def instances(client: Any, pool: str, cluster: str) -> dict[str, str]:
    """Return the states of a pool's instances, by their ids.

    Found by the tags that Karpenter sets and lets nobody else set
    (aws/karpenter-provider-aws@3a330b4 pkg/utils/utils.go, GetTags).
    """
    pages = client.get_paginator("describe_instances").paginate(
        Filters=[
            {"Name": "tag:eks:eks-cluster-name", "Values": [cluster]},
            {"Name": "tag:karpenter.sh/nodepool", "Values": [pool]},
            {"Name": "instance-state-name", "Values": list(ALIVE)},
        ]
    )
    return {
        instance["InstanceId"]: instance["State"]["Name"]
        for page in pages
        for reservation in page["Reservations"]
        for instance in reservation["Instances"]
    }


def message(pool: str, cluster: str, left: Mapping[str, str], seconds: float) -> str:
    """Return what is wrong and what repairs it."""
    named = sorted(left)[:MOST_NAMED]
    states = ", ".join(f"{name} {left[name]}" for name in named)
    more = f" and {len(left) - len(named)} more" if len(left) > len(named) else ""
    return (
        f"pool {pool!r} of cluster {cluster!r} must have no instances, got {len(left)} "
        f"after {seconds:.0f} s: {states}{more}; see what keeps them (kubectl get "
        f"nodeclaims -l karpenter.sh/nodepool={pool}), or end them (aws ec2 "
        f"terminate-instances --instance-ids {' '.join(named)}), then delete again"
    )


def reason(pool: str, error: Exception) -> str:
    """Return why the deletion failed, short enough for CloudFormation."""
    if isinstance(error, NodesLeftError):
        return str(error)
    why = f"instances of pool {pool!r} must be countable, got {error}"
    return f"{why[:MOST_CHARACTERS]}; repair it, then delete again"


def answer(event: Event, result: Mapping[str, str]) -> None:
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


def ec2() -> Any:
    """Return a client of EC2 that asks again when it is throttled."""
    # what the runtime brings, and an installation of the library does not
    import boto3  # type: ignore[import-untyped] # noqa: PLC0415
    from botocore.config import (  # type: ignore[import-untyped] # noqa: PLC0415
        Config,
    )

    retries = {"mode": "standard", "total_max_attempts": 8}
    return boto3.client("ec2", config=Config(retries=retries))
