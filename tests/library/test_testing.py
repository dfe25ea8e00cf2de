"""Tests of the help for tests of apps."""

import json
from typing import Any

import pytest

from eks_inference.testing import (
    MANIFEST_TYPE,
    as_text,
    manifests,
    without_asset_hashes,
)

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
