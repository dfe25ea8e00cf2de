"""What makes the deletion of a pool wait until its nodes are gone.

CDK's kubectl handler logs an error of ``kubectl delete`` and reports success, and ends
after 15 minutes (aws-cdk-lib 2.275, ``kubectl-handler/apply``). CloudFormation would go
on and delete Karpenter while instances run that nothing else ends.
"""

from collections.abc import Sequence

from aws_cdk import CfnResource, Stack
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct, IConstruct

from eks_inference._handler_function import (
    ANSWER_LIMIT_SECONDS,
    handler_function,
    handler_log,
    in_this_region,
)
from eks_inference.planning.pool import NODE_DRAIN_LIMIT_SECONDS

CHECKER_ID = "EksInferenceNodeDrain"
"""Construct id of what a stack has once for all its pools."""

NODE_DRAIN_TYPE = "Custom::EksInferenceNodeDrain"
"""CloudFormation type of the resource."""

_SHUTDOWN_SECONDS = 240
"""What an instance may take from the end of its drain until EC2 calls it terminated.
Assumed, not measured."""

WAIT_SECONDS = NODE_DRAIN_LIMIT_SECONDS + _SHUTDOWN_SECONDS
"""Longest wait. ``kubectl delete`` has waited for the drain before, as a rule: this
covers the case that its answer was lost at once. Below Lambda's limit of 900 s."""


def node_drain(
    scope: Construct,
    id: str,
    *,
    cluster_name: str,
    node_pool: str,
    needs: Sequence[str] = (),
) -> CfnResource:
    """Define a resource whose deletion waits until a pool has no instances.

    What applies the pool must depend on it, and it must depend on Karpenter: then it is
    deleted after the pool's objects and before what ends their nodes. Its creation and
    its updates do nothing. Costs nothing but for a deletion: one Lambda of 256 MB that
    asks EC2 every 15 seconds.

    Args:
        scope: Owner.
        id: Construct id.
        cluster_name: Name of the cluster, as Karpenter knows it; may be a token.
        node_pool: Name of Karpenter's NodePool.
        needs: What the nodes are made of (instance profile, security groups), so that
            it outlives them; may be tokens. Default: nothing that the app owns.
    """
    return CfnResource(
        scope,
        id,
        type=NODE_DRAIN_TYPE,
        properties={
            "ServiceToken": _checker(Stack.of(scope)).attr_arn,
            "ServiceTimeout": ANSWER_LIMIT_SECONDS,
            "ClusterName": cluster_name,
            "NodePool": node_pool,
            "WaitSeconds": WAIT_SECONDS,
            # references only: the function does not read them
            "Needs": list(needs),
        },
    )


def node_drain_log(stack: Stack) -> logs.CfnLogGroup:
    """Return the log of the function that the pools of a stack share.

    It is kept for 30 days and goes with the stack. An app that keeps its logs changes
    that here.

    Args:
        stack: Stack with a pool.
    """
    return handler_log(stack.node.find_child(CHECKER_ID))


def _checker(stack: Stack) -> lambda_.CfnFunction:
    """Return the function of a stack, which all its pools share."""
    known: IConstruct | None = stack.node.try_find_child(CHECKER_ID)
    if known is None:
        return handler_function(
            Construct(stack, CHECKER_ID),
            handler="node_drain",
            description="Waits until the instances of a deleted GPU pool are gone",
            purpose="Counts the instances of a pool that is deleted",
            policy_name="NodeDrain",
            statements=[
                {
                    # EC2 has no resource and no tag to scope this call by (service
                    # authorization reference): it reads, and in one region only
                    "Action": "ec2:DescribeInstances",
                    "Resource": "*",
                    "Condition": in_this_region(),
                }
            ],
        )
    function = known.node.find_child("Function")
    assert isinstance(function, lambda_.CfnFunction)
    return function
