"""What makes the deletion of a pool wait until its nodes are gone.

CDK's kubectl handler logs an error of ``kubectl delete`` and reports success, and ends
after 15 minutes (aws-cdk-lib 2.275, ``kubectl-handler/apply``). CloudFormation would go
on and delete Karpenter while instances run that nothing else ends.
"""

from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from aws_cdk import CfnResource, RemovalPolicy, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct, IConstruct

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

_LAMBDA_LIMIT_SECONDS = 900

_ANSWER_LIMIT_SECONDS = 1_800
"""When CloudFormation gives up on a function that never answers, instead of after an
hour: the function's own time, once more for a second attempt of Lambda."""

_LOG_DAYS = 30


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
            "ServiceTimeout": _ANSWER_LIMIT_SECONDS,
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
    log_group = stack.node.find_child(CHECKER_ID).node.find_child("Logs")
    assert isinstance(log_group, logs.CfnLogGroup)
    return log_group


def _checker(stack: Stack) -> lambda_.CfnFunction:
    """Return the function of a stack, which all its pools share."""
    known: IConstruct | None = stack.node.try_find_child(CHECKER_ID)
    if known is None:
        return _new_checker(Construct(stack, CHECKER_ID))
    function = known.node.find_child("Function")
    assert isinstance(function, lambda_.CfnFunction)
    return function


def _new_checker(scope: Construct) -> lambda_.CfnFunction:
    # the function may not make a group: what is deleted with the stack stays deleted
    log_group = logs.CfnLogGroup(scope, "Logs", retention_in_days=_LOG_DAYS)
    log_group.apply_removal_policy(RemovalPolicy.DESTROY)
    role = iam.CfnRole(
        scope,
        "Role",
        description="Counts the instances of a pool that is deleted",
        assume_role_policy_document=_policy(
            {
                "Principal": {"Service": "lambda.amazonaws.com"},
                "Action": "sts:AssumeRole",
            }
        ),
        policies=[
            iam.CfnRole.PolicyProperty(
                policy_name="NodeDrain",
                policy_document=_policy(
                    {
                        "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
                        "Resource": log_group.attr_arn,
                    },
                    {
                        # EC2 has no resource and no tag to scope this call by (service
                        # authorization reference): it reads, and in one region only
                        "Action": "ec2:DescribeInstances",
                        "Resource": "*",
                        "Condition": {
                            "StringEquals": {
                                "aws:RequestedRegion": {"Ref": "AWS::Region"}
                            }
                        },
                    },
                ),
            )
        ],
    )
    return lambda_.CfnFunction(
        scope,
        "Function",
        description="Waits until the instances of a deleted GPU pool are gone",
        # the version that CDK gives its kubectl handler, which every pool needs as well
        runtime="python3.13",
        handler="index.handler",
        code=lambda_.CfnFunction.CodeProperty(zip_file=_code()),
        role=role.attr_arn,
        timeout=_LAMBDA_LIMIT_SECONDS,
        memory_size=256,
        logging_config=lambda_.CfnFunction.LoggingConfigProperty(
            log_group=log_group.ref
        ),
    )


def _policy(*statements: dict[str, Any]) -> dict[str, Any]:
    return {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", **item} for item in statements],
    }


@cache
def _code() -> str:
    # in the template, so that no bucket is needed and a diff shows it
    return (files("eks_inference.handlers") / "node_drain.py").read_text()
