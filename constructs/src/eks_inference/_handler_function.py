"""A function that CloudFormation calls for a resource of the library's own."""

import ast
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from aws_cdk import RemovalPolicy
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct, IConstruct

LAMBDA_LIMIT_SECONDS = 900
"""Longest time that a function may take (AWS Lambda's quotas)."""

ANSWER_LIMIT_SECONDS = 2 * LAMBDA_LIMIT_SECONDS
"""When CloudFormation gives up on a function that never answers, instead of after an
hour: the function's own time, once more for a second attempt of Lambda."""

_LOG_DAYS = 30

_SHARED = "eks_inference.handlers.answer"

Statement = Mapping[str, Any]


def handler_function(
    scope: Construct,
    *,
    handler: str,
    description: str,
    purpose: str,
    policy_name: str,
    statements: Sequence[Statement],
    memory_mib: int = 256,
) -> lambda_.CfnFunction:
    """Define a function with a role and a log of its own.

    Its code stands in the template, so that no bucket is needed and a diff shows it.

    Args:
        scope: Owner of the three, whose only children they become.
        handler: Module of ``eks_inference.handlers``.
        description: What the function does.
        purpose: What the role is for.
        policy_name: Name of the role's policy.
        statements: What the function may do, besides writing its log.
        memory_mib: Memory, to which Lambda gives CPUs in proportion. Default: 256,
            enough for one that asks and waits.
    """
    # the function may not make a group: what is deleted with the stack stays deleted
    log_group = logs.CfnLogGroup(scope, "Logs", retention_in_days=_LOG_DAYS)
    log_group.apply_removal_policy(RemovalPolicy.DESTROY)
    role = iam.CfnRole(
        scope,
        "Role",
        description=purpose,
        assume_role_policy_document=policy_document(
            {
                "Principal": {"Service": "lambda.amazonaws.com"},
                "Action": "sts:AssumeRole",
            }
        ),
        policies=[
            iam.CfnRole.PolicyProperty(
                policy_name=policy_name,
                policy_document=policy_document(
                    {
                        "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
                        "Resource": log_group.attr_arn,
                    },
                    *statements,
                ),
            )
        ],
    )
    return lambda_.CfnFunction(
        scope,
        "Function",
        description=description,
        # the version that CDK gives its kubectl handler, which every pool needs as well
        runtime="python3.13",
        handler="index.handler",
        code=lambda_.CfnFunction.CodeProperty(zip_file=handler_code(handler)),
        role=role.attr_arn,
        timeout=LAMBDA_LIMIT_SECONDS,
        memory_size=memory_mib,
        logging_config=lambda_.CfnFunction.LoggingConfigProperty(
            log_group=log_group.ref
        ),
    )


def handler_log(scope: IConstruct) -> logs.CfnLogGroup:
    """Return the log of the function that was defined in a scope."""
    log_group = scope.node.find_child("Logs")
    assert isinstance(log_group, logs.CfnLogGroup)
    return log_group


def in_this_region() -> dict[str, Any]:
    """Return the condition that a call is made in the region of the stack."""
    return {"StringEquals": {"aws:RequestedRegion": {"Ref": "AWS::Region"}}}


@cache
def handler_code(handler: str) -> str:
    """Return the text of a handler, after what all handlers share.

    Lambda knows one file of it, so that the module's own import of that goes.
    """
    folder = files("eks_inference.handlers")
    shared, text = ((folder / f"{name}.py").read_text() for name in ("answer", handler))
    lines = text.splitlines(keepends=True)
    for node in ast.parse(text).body:
        if isinstance(node, ast.ImportFrom) and node.module == _SHARED:
            del lines[node.lineno - 1 : node.end_lineno]
    return shared + "".join(lines)


def policy_document(*statements: Statement) -> dict[str, Any]:
    """Return a policy that allows what the statements name."""
    return {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", **item} for item in statements],
    }
