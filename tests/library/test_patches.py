"""Tests of last-moment changes to rendered objects."""

import json
from collections.abc import Callable
from typing import Any

import aws_cdk as cdk
import pytest
from cdk8s import JsonPatch

from eks_inference import QueueScaledModel
from eks_inference._patches import patch_problems, patched
from eks_inference.manifests import Manifest
from tests.library.cases import default_pool, one
from tests.library.conftest import make_model, refusal

SERVICE: Manifest = {"kind": "Service", "spec": {"ports": [8000]}}
BUDGET: Manifest = {"kind": "PodDisruptionBudget", "spec": {}}


def test_patches_reach_their_kind_alone() -> None:
    """A patch changes the object of its kind, in order, and leaves the others."""
    found = patched(
        [SERVICE, BUDGET],
        {
            "Service": [
                JsonPatch.add("/spec/type", "ClusterIP"),
                JsonPatch.replace("/spec/type", "NodePort"),
                JsonPatch.remove("/spec/ports/0"),
            ]
        },
    )
    assert found == [
        {"kind": "Service", "spec": {"ports": [], "type": "NodePort"}},
        BUDGET,
    ]


def test_original_is_left_alone() -> None:
    """What a patch is applied to stays as it was."""
    before = json.dumps(SERVICE)
    patched([SERVICE], {"Service": [JsonPatch.remove("/spec")]})
    assert json.dumps(SERVICE) == before


@pytest.mark.parametrize("patches", [{}, {"Service": []}])
def test_nothing_changes_without_patches(patches: dict[str, list[JsonPatch]]) -> None:
    """Without patches the very same objects are returned."""
    [found] = patched([SERVICE], patches)
    assert found is SERVICE


def test_extended_resources_survive_a_patch() -> None:
    """A patch of the pods keeps the GPU, which cdk8s-plus would drop."""
    found = patched(
        [{"kind": "Deployment", "limits": {"nvidia.com/gpu": "1"}, "n": 1}],
        {"Deployment": [JsonPatch.add("/replicas", 2)]},
    )
    assert found == [
        {"kind": "Deployment", "limits": {"nvidia.com/gpu": "1"}, "n": 1, "replicas": 2}
    ]


def test_unknown_kinds_are_named() -> None:
    """A kind that the construct does not make is named, with those that it makes."""
    assert patch_problems({"Pod": [], "Service": []}, ["Service", "Deployment"]) == [
        (
            "'json_patches' must be one of 'Service', 'Deployment', got 'Pod'; "
            "name a kind by its patches"
        )
    ]
    assert patch_problems({}, ["Service"]) == []


@pytest.mark.parametrize(
    ("case", "kind", "path", "value"),
    [
        ("pool-everything", "NodePool", ["spec", "weight"], 10),
        ("pool-everything", "EC2NodeClass", ["spec", "detailedMonitoring"], True),
        (
            "model-everything",
            "Service",
            ["spec", "trafficDistribution"],
            "PreferClose",
        ),
    ],
)
def test_patches_reach_the_cluster(
    case: str, kind: str, path: list[str], value: object
) -> None:
    """What is applied to the cluster is the patched object."""
    found: Any = one(case, kind)
    for key in path:
        found = found[key]
    assert found == value


@pytest.mark.parametrize(
    ("define", "made"),
    [
        (
            lambda stack: default_pool(stack, json_patches={"Deployment": []}),
            "'EC2NodeClass', 'NodePool', got 'Deployment'",
        ),
        (
            lambda stack: QueueScaledModel(
                stack,
                "Chat",
                pool=default_pool(stack),
                model=make_model(),
                json_patches={"NodePool": []},
            ),
            (
                "'Deployment', 'InterceptorRoute', 'PodDisruptionBudget', "
                "'PodMonitor', 'ScaledObject', 'Service', 'ServiceAccount', "
                "'TriggerAuthentication', got 'NodePool'"
            ),
        ),
    ],
)
def test_fails_when_a_construct_has_no_such_object(
    define: Callable[[cdk.Stack], object], made: str, stack: cdk.Stack
) -> None:
    """A pool has no deployment and a model no nodes, and both say so."""
    assert f"'json_patches' must be one of {made}; name a kind by its patches" in (
        refusal(lambda: define(stack))
    )
