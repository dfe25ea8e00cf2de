"""Tests of the resource that makes a pool's deletion wait, and of its function."""

import json
from functools import cache
from typing import Any

import aws_cdk as cdk
from aws_cdk import assertions
from aws_cdk import aws_ec2 as ec2

from eks_inference import GpuInferencePool, NodeIdentity
from eks_inference._handler_function import handler_code
from eks_inference.node_drain import NODE_DRAIN_TYPE, WAIT_SECONDS
from eks_inference.planning.pool import NODE_DRAIN_LIMIT_SECONDS
from eks_inference.testing import MANIFEST_TYPE
from tests.library.cloudformation import imported
from tests.library.conftest import import_cluster, import_profile, import_vpc

Resources = dict[str, dict[str, Any]]


@cache
def two_pools() -> Resources:
    """Return the resources of a stack with two pools, one of them on a new group."""
    stack = cdk.Stack(cdk.App(analytics_reporting=False), "Pools")
    cluster = import_cluster(stack)
    group = ec2.SecurityGroup(stack, "Group", vpc=import_vpc(stack))
    GpuInferencePool(
        stack,
        "Large",
        cluster=cluster,
        name="large-gpus",
        nodes=NodeIdentity.from_instance_profile(import_profile(stack)),
        security_group_ids=[group.security_group_id],
    )
    GpuInferencePool(stack, "Small", cluster=cluster)
    resources: Resources = assertions.Template.from_stack(stack).to_json()["Resources"]
    return resources


def of_type(kind: str) -> Resources:
    """Return the resources of a type."""
    return {key: item for key, item in two_pools().items() if item["Type"] == kind}


def the_only(kind: str) -> Any:
    """Return the properties of the only resource of a type."""
    [found] = of_type(kind).values()
    return found["Properties"]


def test_each_pool_waits_for_its_own_nodes() -> None:
    """A pool's objects are applied after its own check, and so deleted before it."""
    checks = of_type(NODE_DRAIN_TYPE)
    asked = {
        key: (item["Properties"]["ClusterName"], item["Properties"]["NodePool"])
        for key, item in checks.items()
    }
    applied = {}
    for item in of_type(MANIFEST_TYPE).values():
        [check] = set(item["DependsOn"]) & checks.keys()
        _, pool = json.loads(as_plain(item["Properties"]["Manifest"]))
        applied[check] = ("Pools", pool["metadata"]["name"])
    assert asked == applied
    assert {pool for _, pool in asked.values()} == {"large-gpus", "small"}


def as_plain(manifest: Any) -> str:
    """Return a manifest as JSON, with a name for each reference."""
    parts = ["", [manifest]] if isinstance(manifest, str) else manifest["Fn::Join"]
    return "".join(part if isinstance(part, str) else "reference" for part in parts[1])


def test_what_nodes_are_made_of_outlives_them() -> None:
    """A group of the same stack is deleted after the check that no node uses it."""
    [group] = of_type("AWS::EC2::SecurityGroup")
    large, small = (item["Properties"] for item in of_type(NODE_DRAIN_TYPE).values())
    assert large["Needs"] == ["gpu-node", {"Fn::GetAtt": [group, "GroupId"]}]
    assert small["Needs"] == ["KarpenterNodeRole-Pools"]


def test_a_stack_has_one_function() -> None:
    """All pools of a stack share a function, a role and a log group."""
    [function] = of_type("AWS::Lambda::Function")
    tokens = {
        json.dumps(item["Properties"]["ServiceToken"])
        for item in of_type(NODE_DRAIN_TYPE).values()
    }
    assert tokens == {json.dumps({"Fn::GetAtt": [function, "Arn"]})}
    assert len(of_type("AWS::IAM::Role")) == len(of_type("AWS::Logs::LogGroup")) == 1


def test_logical_ids_are_stable() -> None:
    """The ids are pinned: with another one a deletion would wait for nothing."""
    kinds = {"AWS::IAM::Role", "AWS::Lambda::Function", "AWS::Logs::LogGroup"}
    assert [
        key
        for key, item in two_pools().items()
        if item["Type"] in kinds or item["Type"] == NODE_DRAIN_TYPE
    ] == [
        "LargeNodeDrain6BBA0861",
        "EksInferenceNodeDrainLogs7F0F1FDB",
        "EksInferenceNodeDrainRole04494BC3",
        "EksInferenceNodeDrainFunction24AE578F",
        "SmallNodeDrain34EB7E68",
    ]


def test_function_outlasts_the_wait() -> None:
    """Lambda's limit is longer than the wait, and CloudFormation's longer than that."""
    function = the_only("AWS::Lambda::Function")
    for item in of_type(NODE_DRAIN_TYPE).values():
        properties = item["Properties"]
        assert properties["WaitSeconds"] == WAIT_SECONDS > NODE_DRAIN_LIMIT_SECONDS
        assert WAIT_SECONDS + 30 < function["Timeout"] <= 900
        # two attempts, with the minute that Lambda leaves between them
        assert 2 * function["Timeout"] <= properties["ServiceTimeout"] <= 3600


def test_function_is_the_tested_code() -> None:
    """What runs in Lambda is the module, complete, and needs nothing beside boto3."""
    function = the_only("AWS::Lambda::Function")
    assert function["Code"] == {"ZipFile": handler_code("node_drain")}
    assert function["Handler"] == "index.handler"
    assert imported(handler_code("node_drain")) == {
        "boto3",
        "botocore",
        "collections",
        "json",
        "logging",
        "time",
        "typing",
        "urllib",
    }


def test_function_may_only_count_and_log() -> None:
    """The role reads instances of its region and writes to its own log, no more."""
    role = the_only("AWS::IAM::Role")
    [group] = of_type("AWS::Logs::LogGroup")
    [policy] = role["Policies"]
    write, count = policy["PolicyDocument"]["Statement"]
    assert write == {
        "Effect": "Allow",
        "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
        "Resource": {"Fn::GetAtt": [group, "Arn"]},
    }
    assert count == {
        "Effect": "Allow",
        "Action": "ec2:DescribeInstances",
        "Resource": "*",
        "Condition": {"StringEquals": {"aws:RequestedRegion": {"Ref": "AWS::Region"}}},
    }
    [trust] = role["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Principal"] == {"Service": "lambda.amazonaws.com"}


def test_log_ends_and_goes_with_the_stack() -> None:
    """The log is kept for a month, and nothing of it outlives the stack."""
    [group] = of_type("AWS::Logs::LogGroup").values()
    assert group["Properties"] == {"RetentionInDays": 30}
    assert group["DeletionPolicy"] == group["UpdateReplacePolicy"] == "Delete"
    [name] = of_type("AWS::Logs::LogGroup")
    function = the_only("AWS::Lambda::Function")
    assert function["LoggingConfig"] == {"LogGroup": {"Ref": name}}


def test_karpenter_of_the_same_stack_waits() -> None:
    """What a pool depends on is deleted after the check, and not only the objects."""
    stack = cdk.Stack(cdk.App(analytics_reporting=False), "Together")
    karpenter = cdk.CfnWaitConditionHandle(stack, "Karpenter")
    GpuInferencePool(stack, "Gpu", cluster=import_cluster(stack)).node.add_dependency(
        karpenter
    )
    resources = assertions.Template.from_stack(stack).to_json()["Resources"]
    [check] = [item for item in resources.values() if item["Type"] == NODE_DRAIN_TYPE]
    assert check["DependsOn"] == ["Karpenter"]
