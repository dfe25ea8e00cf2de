"""Tests of the help for tests of apps."""

import json
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk.assertions import Template

from eks_inference import GpuInferencePool, QueueScaledModel
from eks_inference.testing import (
    MANIFEST_TYPE,
    as_text,
    imported_cluster,
    manifests,
    snapshot,
    without_asset_hashes,
)
from tests.library.conftest import make_model

HASH = "0123456789abcdef" * 4


def applied(manifest: Any) -> dict[str, Any]:
    """Return a template whose only resource applies a manifest."""
    return {
        "Resources": {
            "Thing": {"Type": MANIFEST_TYPE, "Properties": {"Manifest": manifest}},
            "Other": {"Type": "AWS::S3::Bucket", "Properties": {}},
        }
    }


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("plain", "plain"),
        (7, "7"),
        ({"Ref": "Name"}, "${Name}"),
        ({"Ref": "AWS::Region"}, "${AWS::Region}"),
        ({"Fn::GetAtt": ["Role", "Arn"]}, "${Role.Arn}"),
        ({"Fn::ImportValue": "Stack:Export"}, "${Stack:Export}"),
        ({"Fn::ImportValue": {"Ref": "Export"}}, "${${Export}}"),
        ({"Fn::Join": ["", ["a", {"Ref": "B"}, "c"]]}, "a${B}c"),
        ({"Fn::Join": ["-", ["a", 1]]}, "a-1"),
        ({"Fn::Select": [0, {"Ref": "Az"}]}, "${{'Fn::Select': [0, {'Ref': 'Az'}]}}"),
        ({"a": 1, "b": 2}, '{"a": 1, "b": 2}'),
    ],
)
def test_references_stand_in_braces(value: object, text: str) -> None:
    """A property becomes a text in which every reference can be recognized."""
    assert as_text(value) == text


def test_manifests_are_found_by_logical_id() -> None:
    """Objects are returned for the resources that apply them, and for no others."""
    item = {"kind": "Service", "metadata": {"name": "a"}}
    assert manifests(applied(json.dumps([item, item]))) == {"Thing": [item, item]}


def test_references_inside_a_manifest_stay_readable() -> None:
    """What CloudFormation fills in later stands in the object by its name."""
    parts = ['[{"metadata":{"name":"', {"Ref": "Name"}, '"}}]']
    assert manifests(applied({"Fn::Join": ["", parts]})) == {
        "Thing": [{"metadata": {"name": "${Name}"}}]
    }


def test_prune_labels_are_left_out() -> None:
    """CDK's own labels are removed, the others stay, and no empty field is left."""
    prune = {"aws.cdk.eks/prune-c8123": ""}
    items = [
        {"metadata": {"name": "a", "labels": {**prune, "app": "a"}}},
        {"metadata": {"name": "b", "labels": prune}},
    ]
    assert manifests(applied(json.dumps(items))) == {
        "Thing": [
            {"metadata": {"name": "a", "labels": {"app": "a"}}},
            {"metadata": {"name": "b"}},
        ]
    }


def test_asset_hashes_are_replaced_everywhere() -> None:
    """No hash of an asset is left in keys, values or lists; other values stay."""
    value = {f"Asset{HASH}": [f"{HASH}.zip", 1, None, {"Key": HASH}], "n": 1.5}
    assert without_asset_hashes(value) == {
        "Asset<hash>": ["<hash>.zip", 1, None, {"Key": "<hash>"}],
        "n": 1.5,
    }
    assert without_asset_hashes(HASH[:-1]) == HASH[:-1]


def synthesized(*clusters: str) -> dict[str, Any]:
    """Return the template of an app with a pool and a model on each cluster."""
    app = cdk.App(analytics_reporting=False)
    stack = cdk.Stack(app, "Stack")
    for name in clusters:
        pool = GpuInferencePool(
            stack, f"Gpu-{name}", cluster=imported_cluster(stack, name)
        )
        QueueScaledModel(stack, f"Chat-{name}", pool=pool, model=make_model())
    return dict(Template.from_stack(stack).to_json())


def test_imported_cluster_takes_manifests() -> None:
    """A test needs no cluster of its own, and can have several in one stack."""
    made = manifests(synthesized("blue", "green")).values()
    tags = [
        item["spec"]["subnetSelectorTerms"][0]["tags"]["karpenter.sh/discovery"]
        for group in made
        for item in group
        if item["kind"] == "EC2NodeClass"
    ]
    assert tags == ["blue", "green"]


def test_imported_cluster_is_called_platform(stack: cdk.Stack) -> None:
    """Without a name the cluster has a known one, and packs no layer."""
    assert imported_cluster(stack).cluster_name == "platform"
    ids = {child.node.id for child in stack.node.children}
    assert {"platform", "platform-bare", "platform-kubectl"} <= ids


def test_snapshot_is_the_same_for_the_same_app() -> None:
    """Two syntheses of one app give one text, in which no hash of an asset stands."""
    first, second = (snapshot(synthesized("blue")) for _ in range(2))
    assert first == second
    assert "<hash>" in first
    assert json.loads(first) == without_asset_hashes(synthesized("blue"))
    assert first.endswith("}\n")


def test_snapshot_ignores_the_order_of_keys() -> None:
    """The order in which a template was built does not move its snapshot."""
    assert snapshot({"b": 1, "a": HASH}) == snapshot({"a": HASH, "b": 1})
    assert snapshot({"a": 1}) != snapshot({"a": 2})
