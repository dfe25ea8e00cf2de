"""Everything that a stage becomes, as files that a reviewer can read.

``pytest --snapshot-update tests/app`` records them again.
"""

import json
import re
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion

from eks_inference.testing import (
    MANIFEST_TYPE,
    as_text,
    manifests,
    without_asset_hashes,
)
from tests.app.conftest import RELEASE_TYPE, Templates, resources, stage_templates

ELSEWHERE = {MANIFEST_TYPE: "Manifest", RELEASE_TYPE: "Values"}
"""Properties that have files of their own, where they are data instead of one text."""

APPLYING = ("Platform", "Storage", "Serving")
"""Stacks that apply objects."""


@pytest.mark.parametrize(
    "stack", ["Network", "Registry", "Cluster", "Platform", "Storage", "Serving"]
)
def test_template(
    templates: Templates, stack: str, snapshot: SnapshotAssertion
) -> None:
    """The template of each stack is the recorded one."""
    assert reviewable(templates[stack]) == snapshot


def test_network_of_a_known_account(snapshot: SnapshotAssertion) -> None:
    """The network that is made where the account is known is the recorded one."""
    template = stage_templates("prod", "111122223333", "us-east-1")["Network"]
    assert reviewable(template) == snapshot(name="prod-us-east-1")


@pytest.mark.parametrize("stack", APPLYING)
def test_manifests(
    templates: Templates, stack: str, snapshot: SnapshotAssertion
) -> None:
    """The Kubernetes objects of each resource are the recorded ones."""
    for logical_id, objects in manifests(templates[stack]).items():
        assert objects == snapshot(name=readable(logical_id))


def test_helm_values(templates: Templates, snapshot: SnapshotAssertion) -> None:
    """The values of each Helm release are the recorded ones."""
    for logical_id, release in resources(templates["Platform"], RELEASE_TYPE).items():
        values = json.loads(as_text(release["Values"]))
        assert values == snapshot(name=readable(logical_id))


def test_every_stack_with_objects_has_its_snapshots(templates: Templates) -> None:
    """Objects are applied and charts are installed by the recorded stacks alone."""
    applying = {
        stack
        for stack, template in templates.items()
        if manifests(template) or resources(template, RELEASE_TYPE)
    }
    assert len(templates) == 6
    assert applying == set(APPLYING)


def reviewable(template: Any) -> Any:
    """Return a template without what has a file of its own or says nothing."""
    shown = without_asset_hashes(template)
    for resource in shown["Resources"].values():
        if property_name := ELSEWHERE.get(resource["Type"]):
            resource["Properties"][property_name] = "<in a file of its own>"
    return shown


def readable(logical_id: str) -> str:
    """Return a logical id without the hash at its end."""
    return re.sub(r"[0-9A-F]{8}$", "", logical_id)
