"""Tests of how a pool buys its instances."""

import pytest

from eks_inference import Capacity


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
