"""Tests of how a pool buys its instances."""

from collections.abc import Mapping
from typing import Any

import pytest

from eks_inference import Capacity
from tests.library.conftest import BadInputs, bad_inputs, refusal

KNOWN = "'types' must be one of 'on-demand', 'reserved', 'spot', got {!r}"

BAD: BadInputs = [
    ({"types": ()}, "'types' must not be empty; use for example Capacity.on_demand()"),
    ({"types": ("preemptible",)}, KNOWN.format("preemptible")),
    ({"types": ("spot", None)}, KNOWN.format(None)),
]


@bad_inputs(BAD)
def test_fails_when_a_type_is_unknown(changes: Mapping[str, Any], message: str) -> None:
    """Each purchase option that Karpenter does not know is refused."""
    assert refusal(lambda: Capacity(**changes)) == f"capacity: {message}"


def test_fails_with_every_problem_at_once() -> None:
    """All unknown purchase options are reported together."""
    assert refusal(lambda: Capacity(("Spot", "spot", "cheap"))).splitlines() == [
        f"capacity: {KNOWN.format('Spot')}",
        f"capacity: {KNOWN.format('cheap')}",
    ]


def test_accepts_reservations() -> None:
    """Capacity that is reserved is a purchase option of Karpenter's too."""
    assert not Capacity(("reserved", "on-demand")).uses_spot


@pytest.mark.parametrize(
    ("capacity", "types", "spot"),
    [
        (Capacity.on_demand(), ("on-demand",), False),
        (Capacity.spot(), ("spot",), True),
        (Capacity.spot_with_fallback(), ("on-demand", "spot"), True),
    ],
)
def test_factories_state_karpenters_types(
    capacity: Capacity, types: tuple[str, ...], spot: bool
) -> None:
    """Each factory gives Karpenter's own words and knows whether spot is among them."""
    assert capacity.types == types
    assert capacity.uses_spot is spot


def test_is_a_value() -> None:
    """Two capacities that buy alike are equal and hash alike."""
    assert Capacity.spot() == Capacity(("spot",))
    assert len({Capacity.spot(), Capacity.spot(), Capacity.on_demand()}) == 2
