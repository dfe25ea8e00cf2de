"""Tests of which role the nodes of a pool have."""

from collections.abc import Mapping
from typing import Any

import aws_cdk as cdk
import pytest

from eks_inference import NodeIdentity
from tests.library.cases import one
from tests.library.conftest import (
    BadInputs,
    bad_inputs,
    import_profile,
    import_role,
    refusal,
)

GOOD: dict[str, Any] = {"kind": "role", "name": "gpu-nodes"}
NAME = "nodes: 'name' must be a text that is not empty, got {!r}"
KIND = "nodes: 'kind' must be one of 'role', 'instanceProfile', got {!r}"

BAD: BadInputs = [
    ({"kind": "profile"}, KIND.format("profile")),
    ({"kind": ""}, KIND.format("")),
    ({"kind": None}, KIND.format(None)),
    ({"name": ""}, NAME.format("")),
    ({"name": None}, NAME.format(None)),
    ({"kind": "x", "name": 7}, f"{KIND.format('x')}\n{NAME.format(7)}"),
]


@bad_inputs(BAD)
def test_fails_when_a_value_breaks_a_rule(
    changes: Mapping[str, Any], message: str
) -> None:
    """What Karpenter has no field for is refused with its whole message."""
    assert refusal(lambda: NodeIdentity(**{**GOOD, **changes})) == message


def test_fails_when_a_role_has_no_name() -> None:
    """The factory by name checks it as the constructor does."""
    assert refusal(lambda: NodeIdentity.from_role_name("")) == NAME.format("")


def test_factories_name_what_karpenter_takes(stack: cdk.Stack) -> None:
    """A role and a profile are named in the field that is theirs."""
    role = import_role(stack, "Nodes")
    assert NodeIdentity.from_role(role) == NodeIdentity("role", "Nodes")
    profile = NodeIdentity.from_instance_profile(import_profile(stack))
    assert profile == NodeIdentity("instanceProfile", "gpu-node")


def test_is_a_value() -> None:
    """Two identities of one name are equal and hash alike."""
    made = {NodeIdentity.from_role_name("a"), NodeIdentity("role", "a")}
    assert made == {NodeIdentity("role", "a")}


@pytest.mark.parametrize(
    ("case", "field", "name"),
    [
        ("pool-smallest", "role", "KarpenterNodeRole-pool-smallest"),
        ("pool-everything", "instanceProfile", "gpu-node"),
    ],
)
def test_reaches_the_node_class(case: str, field: str, name: str) -> None:
    """The class has the one field, and by default the role of Karpenter's guide."""
    spec = one(case, "EC2NodeClass")["spec"]
    assert {key: spec[key] for key in spec if key in {"role", "instanceProfile"}} == {
        field: name
    }
