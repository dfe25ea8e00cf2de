"""The emulator's parts, without the emulator."""

from typing import Any

import boto3  # type: ignore[import-untyped]
import pytest
from botocore.exceptions import (  # type: ignore[import-untyped]
    ParamValidationError,
)
from hypothesis import given
from hypothesis import strategies as st
from moto.backends import get_backend

from tests.rehearsal.calls import CALLS, NO_API, Request, api_spelling
from tests.rehearsal.deletions import deletion_order
from tests.rehearsal.emulator import as_described, perform
from tests.rehearsal.inventory import added

POLICY = {"Statement": [], "Version": "2012-10-17"}

ENTRY = {"ClusterName": "c", "PrincipalArn": "arn:aws:iam::123456789012:role/r"}

PROPERTIES: dict[str, dict[str, Any]] = {
    "AWS::CloudWatch::Alarm": {
        "ComparisonOperator": "GreaterThanThreshold",
        "EvaluationPeriods": 1,
    },
    "AWS::ECR::PullThroughCacheRule": {
        "EcrRepositoryPrefix": "prefix",
        "UpstreamRegistryUrl": "public.ecr.aws",
    },
    "AWS::ECR::RepositoryCreationTemplate": {
        "AppliedFor": ["PULL_THROUGH_CACHE"],
        "Prefix": "p",
    },
    "AWS::EKS::AccessEntry": ENTRY
    | {"AccessPolicies": [{"PolicyArn": "a", "AccessScope": {"Type": "cluster"}}]},
    "AWS::EKS::Addon": {"ClusterName": "c", "AddonName": "a"},
    "AWS::EKS::Cluster": {
        "Name": "c",
        "RoleArn": "r",
        "ResourcesVpcConfig": {"SubnetIds": ["s"]},
        "Logging": {"ClusterLogging": {"EnabledTypes": [{"Type": "api"}]}},
    },
    "AWS::EKS::Nodegroup": {
        "ClusterName": "c",
        "ForceUpdateEnabled": True,
        "Labels": {"Team": "t"},
        "LaunchTemplate": {"Id": "lt", "Version": 1},
        "NodeRole": "r",
        "Subnets": ["s"],
    },
    "AWS::EKS::PodIdentityAssociation": {
        "ClusterName": "c",
        "Namespace": "n",
        "RoleArn": "r",
        "ServiceAccount": "s",
    },
    "AWS::S3::BucketPolicy": {"Bucket": "b", "PolicyDocument": POLICY},
    "AWS::SNS::TopicPolicy": {"Topics": ["t", "u"], "PolicyDocument": POLICY},
    "AWS::SQS::QueuePolicy": {"Queues": ["q", "r"], "PolicyDocument": POLICY},
    "AWS::SSM::Parameter": {"Type": "String", "Value": "v"},
}
"""Properties of each type, with what needs another spelling."""


@pytest.fixture(autouse=True)
def _port(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client needs an address, which nobody calls."""
    monkeypatch.setenv("MOTO_PORT", "9")


def test_each_type_has_properties() -> None:
    """Every type that is created by calls is among the tests."""
    assert PROPERTIES.keys() == CALLS.keys()


@pytest.mark.parametrize("kind", sorted(CALLS))
def test_calls_are_what_the_api_takes(kind: str) -> None:
    """What creates and deletes a resource has the form that the service describes."""
    calls, properties = CALLS[kind], PROPERTIES[kind]
    made = calls.create(properties, "generated-name")
    assert made
    perform(made, "us-east-1", make=False)
    perform(calls.delete(properties, "generated-name"), "us-east-1", make=False)


@pytest.mark.parametrize(
    "kind", [kind for kind, calls in CALLS.items() if calls.unmade == NO_API]
)
def test_emulator_has_no_such_api(kind: str) -> None:
    """What is only checked for want of an API has none in this version of moto."""
    for request in CALLS[kind].create(PROPERTIES[kind], "generated-name"):
        backends: Any = get_backend(request.service)  # type: ignore[call-overload]
        backend = backends["123456789012"]["us-east-1"]
        assert not hasattr(backend, request.operation)


def test_fails_on_what_the_api_does_not_take() -> None:
    """A property that the API does not know is an error, and so is a missing one."""
    calls = CALLS["AWS::EKS::Addon"]
    with pytest.raises(
        ParamValidationError, match=r'Unknown parameter .*"addonVersoin"'
    ):
        perform(
            calls.create({**PROPERTIES["AWS::EKS::Addon"], "AddonVersoin": "1"}, ""),
            "us-east-1",
            make=False,
        )
    with pytest.raises(ParamValidationError, match=r'required parameter .*"addonName"'):
        perform(calls.create({"ClusterName": "c"}, ""), "us-east-1", make=False)


def test_labels_are_not_spelled_anew() -> None:
    """Keys of labels and tags are the user's."""
    assert api_spelling({"Labels": {"Team": "A"}, "Taints": [{"Key": "K"}]}) == {
        "labels": {"Team": "A"},
        "taints": [{"key": "K"}],
    }


def test_access_policies_are_associated() -> None:
    """An access entry is created first, then each policy associated with it."""
    entry, policy = CALLS["AWS::EKS::AccessEntry"].create(
        PROPERTIES["AWS::EKS::AccessEntry"], ""
    )
    assert entry == Request("eks", "create_access_entry", api_spelling(ENTRY))
    assert policy.operation == "associate_access_policy"
    assert policy.parameters == api_spelling(ENTRY) | {
        "policyArn": "a",
        "accessScope": {"type": "cluster"},
    }


def test_numbers_become_texts() -> None:
    """A number is a text where the API asks for one, and only there."""
    model = boto3.client("eks", region_name="us-east-1").meta.service_model
    shape = model.operation_model("CreateNodegroup").input_shape
    value = {
        "launchTemplate": {"version": 3},
        "scalingConfig": {"minSize": 1},
        "subnets": [4],
        "nodeRepairConfig": {"enabled": True},
        "unknown": 5,
    }
    assert as_described(value, shape) == value | {
        "launchTemplate": {"version": "3"},
        "subnets": ["4"],
    }


@pytest.mark.parametrize(
    "mention",
    [
        {"Properties": {"A": {"Ref": "First"}}},
        {"Properties": {"A": [{"Fn::GetAtt": ["First", "Arn"]}]}},
        {"Properties": {"A": {"Fn::Sub": "x-${First}"}}},
        {"Properties": {"A": {"Fn::Sub": ["${First.Arn}", {"B": "c"}]}}},
        {"DependsOn": "First"},
        {"DependsOn": ["First"]},
    ],
)
def test_what_mentions_goes_first(mention: dict[str, Any]) -> None:
    """A resource is deleted before what it mentions, in every way to mention it."""
    assert deletion_order({"Other": mention, "First": {}}) == ["Other", "First"]
    assert deletion_order({"First": {}, "Other": mention}) == ["Other", "First"]


def test_names_elsewhere_are_no_mentions() -> None:
    """The name of an attribute, and a parameter, are no resources."""
    resources = {
        "Arn": {"Properties": {"A": {"Ref": "AWS::Region"}}},
        "B": {"Properties": {"A": {"Fn::GetAtt": ["C", "Arn"]}}},
        "C": {"Properties": {"A": {"Ref": "Arn"}}},
    }
    assert deletion_order(resources) == ["B", "C", "Arn"]


@given(st.data())
def test_deletion_undoes_creation(data: st.DataObject) -> None:
    """Whatever depends on whatever, all are deleted, each before what it needs."""
    count = data.draw(st.integers(0, 8))
    resources = {
        f"R{index}": {
            "DependsOn": data.draw(
                st.lists(st.sampled_from([f"R{i}" for i in range(index)]), unique=True)
                if index
                else st.just([])
            )
        }
        for index in range(count)
    }
    order = deletion_order(resources)
    assert sorted(order) == sorted(resources)
    for name, resource in resources.items():
        for needed in resource["DependsOn"]:
            assert order.index(name) < order.index(needed)


def test_added_is_what_is_new() -> None:
    """Only what was not there before is added, and kinds without any are left out."""
    before = {"A": {"1"}, "B": {"2"}, "C": set[str]()}
    after = {"A": {"1", "3"}, "B": set[str](), "C": set[str]()}
    assert added(before, after) == {"A": ["3"]}
