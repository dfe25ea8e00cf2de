"""Tests of the snapshot that brings images to a node."""

from collections.abc import Mapping
from typing import Any

import pytest

from eks_inference import ImageSnapshot
from tests.library.cases import SNAPSHOT
from tests.library.conftest import BadInputs, bad_inputs, refusal

ID = (
    "'snapshot_id' must be the id of an EBS snapshot, got {!r}; 'eks-inference "
    "image-snapshot' makes one and prints its id"
)
RATE = "'initialization_mib_per_second' must be {}, got {}"

BAD: BadInputs = [
    ({"snapshot_id": ""}, ID.format("")),
    ({"snapshot_id": "snap-"}, ID.format("snap-")),
    ({"snapshot_id": "vol-0123456789abcdef0"}, ID.format("vol-0123456789abcdef0")),
    ({"snapshot_id": f"{SNAPSHOT}1"}, ID.format(f"{SNAPSHOT}1")),
    ({"snapshot_id": SNAPSHOT.upper()}, ID.format(SNAPSHOT.upper())),
    ({"snapshot_id": None}, ID.format(None)),
    ({"initialization_mib_per_second": 99}, RATE.format("100 to 300", 99)),
    ({"initialization_mib_per_second": 301}, RATE.format("100 to 300", 301)),
    ({"initialization_mib_per_second": "1"}, RATE.format("a whole number", "'1'")),
]


@bad_inputs(BAD)
def test_fails_when_a_value_breaks_a_rule(
    changes: Mapping[str, Any], message: str
) -> None:
    """What is no id of a snapshot, and a rate that EBS does not have, is refused."""
    values = {"snapshot_id": SNAPSHOT, **changes}
    assert refusal(lambda: ImageSnapshot(**values)) == f"image snapshot: {message}"


def test_fails_with_every_problem_at_once() -> None:
    """Both values are looked at."""
    message = refusal(
        lambda: ImageSnapshot(snapshot_id="", initialization_mib_per_second=0)
    )
    assert message.splitlines() == [
        f"image snapshot: {ID.format('')}",
        f"image snapshot: {RATE.format('100 to 300', 0)}",
    ]


@pytest.mark.parametrize("rate", [None, 100, 300])
@pytest.mark.parametrize("snapshot_id", [SNAPSHOT, "snap-01234567"])
def test_accepts_what_ebs_does(snapshot_id: str, rate: int | None) -> None:
    """Both forms of an id are taken, and each end of the rates, or none."""
    made = ImageSnapshot(snapshot_id=snapshot_id, initialization_mib_per_second=rate)
    assert (made.snapshot_id, made.initialization_mib_per_second) == (snapshot_id, rate)


def test_rate_is_the_highest_by_default() -> None:
    """Without a word a volume is filled as fast as EBS offers."""
    assert ImageSnapshot(snapshot_id=SNAPSHOT).initialization_mib_per_second == 300
