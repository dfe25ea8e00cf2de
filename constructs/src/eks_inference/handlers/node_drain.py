"""Lambda function: a pool counts as deleted only when its instances are gone.

CloudFormation deletes this resource after the pool's objects and before the controller
that ends the pool's nodes. See ``eks_inference.node_drain``.
"""

import logging
import time  # noqa: TID251 - runs in a deployment, never in a synthesis
from collections.abc import Mapping
from typing import Any

from eks_inference.handlers.answer import (
    MOST_CHARACTERS,
    Event,
    answer,
    client_of,
    seconds_left,
)

ALIVE = ("pending", "running", "stopping", "stopped", "shutting-down")
"""States of an instance that still holds a network interface, and so a security group
and a subnet. Karpenter lists its instances by the same five
(aws/karpenter-provider-aws@004b39b pkg/providers/instance/instance.go)."""

POLL_SECONDS = 15
"""Assumed: some 60 questions in the longest wait, far below what EC2 throttles."""

MOST_NAMED = 20
"""Instances that a message names, see ``MOST_CHARACTERS``; the log of the function has
them all."""

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
        try:
            most = min(int(properties["WaitSeconds"]), seconds_left(context))
            wait(pool, cluster, seconds=most)
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
    client = client_of("ec2")
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
