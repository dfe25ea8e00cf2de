"""Tests of what wakes a model that has no replica."""

from collections.abc import Mapping
from typing import Any

import pytest

from eks_inference import Activation
from tests.library.conftest import BadInputs, bad_inputs, refusal

GOOD: dict[str, Any] = {
    "timezone": "Europe/Berlin",
    "start": "0 8 * * 1-5",
    "end": "0 19 * * 1-5",
}
ZONE = (
    "activation: 'timezone' must be the IANA name of a time zone, got {!r}; "
    "for example 'Europe/Berlin'"
)
CRON = (
    "activation: '{}' must be a cron expression with five fields, got {!r}; "
    "for example '0 8 * * 1-5'"
)

BAD: BadInputs = [
    ({"timezone": ""}, ZONE.format("")),
    ({"timezone": None}, ZONE.format(None)),
    ({"timezone": "+02:00"}, ZONE.format("+02:00")),
    ({"timezone": "Europe/"}, ZONE.format("Europe/")),
    ({"timezone": "Europe/New York"}, ZONE.format("Europe/New York")),
    ({"start": ""}, CRON.format("start", "")),
    ({"start": None}, CRON.format("start", None)),
    ({"start": "0 8 * *"}, CRON.format("start", "0 8 * *")),
    ({"start": "0 0 8 * * 1"}, CRON.format("start", "0 0 8 * * 1")),
    ({"start": "0  8 * * 1"}, CRON.format("start", "0  8 * * 1")),
    ({"start": "@daily"}, CRON.format("start", "@daily")),
    ({"start": "60 8 * * *"}, CRON.format("start", "60 8 * * *")),
    ({"start": "0 24 * * *"}, CRON.format("start", "0 24 * * *")),
    ({"start": "0 8 0 * *"}, CRON.format("start", "0 8 0 * *")),
    ({"start": "0 8 * 13 *"}, CRON.format("start", "0 8 * 13 *")),
    ({"start": "0 8 * * 7"}, CRON.format("start", "0 8 * * 7")),
    ({"start": "0 8 * * FUN"}, CRON.format("start", "0 8 * * FUN")),
    ({"start": "0 8 * * 5-1"}, CRON.format("start", "0 8 * * 5-1")),
    ({"start": "0 8-9-10 * * *"}, CRON.format("start", "0 8-9-10 * * *")),
    ({"start": "*/0 * * * *"}, CRON.format("start", "*/0 * * * *")),
    ({"start": "*/x * * * *"}, CRON.format("start", "*/x * * * *")),
    ({"start": "*/ * * * *"}, CRON.format("start", "*/ * * * *")),
    ({"start": "1/ * * * *"}, CRON.format("start", "1/ * * * *")),
    ({"start": "0, 8 * * *"}, CRON.format("start", "0, 8 * * *")),
    ({"end": "19:00"}, CRON.format("end", "19:00")),
    ({"end": 19}, CRON.format("end", 19)),
    (
        {"end": GOOD["start"]},
        "activation: 'end' must differ from 'start', got '0 8 * * 1-5' twice",
    ),
    ({"replicas": 0}, "activation: 'replicas' must be at least 1, got 0"),
    ({"replicas": "1"}, "activation: 'replicas' must be a whole number, got '1'"),
    ({"replicas": 1.5}, "activation: 'replicas' must be a whole number, got 1.5"),
]


@bad_inputs(BAD)
def test_fails_when_a_value_breaks_a_rule(
    changes: Mapping[str, Any], message: str
) -> None:
    """Each bad value of a window is refused with its whole message."""
    assert refusal(lambda: Activation.schedule(**{**GOOD, **changes})) == message


def test_fails_with_every_problem_at_once() -> None:
    """All problems of a window are reported together."""
    message = refusal(lambda: Activation(timezone="?", start="x", end="x", replicas=0))
    assert message.splitlines() == [
        ZONE.format("?"),
        CRON.format("start", "x"),
        CRON.format("end", "x"),
        "activation: 'end' must differ from 'start', got 'x' twice",
        "activation: 'replicas' must be at least 1, got 0",
    ]


def test_keeps_one_replica_by_default() -> None:
    """A window keeps one replica unless told otherwise."""
    assert Activation.schedule(**GOOD).replicas == 1


@pytest.mark.parametrize("zone", ["UTC", "Etc/GMT+1", "America/Argentina/Buenos_Aires"])
def test_accepts_iana_time_zones(zone: str) -> None:
    """Names of the IANA database are accepted in every form that it has."""
    assert Activation.schedule(**{**GOOD, "timezone": zone}).timezone == zone


@pytest.mark.parametrize(
    "cron", ["*/5 * * * *", "0 8,14 1-7 JAN MON-FRI", "0 8-18/2 * jul-DEC 0,6"]
)
def test_accepts_cron_expressions(cron: str) -> None:
    """Steps, lists, ranges and names are cron expressions too."""
    assert Activation.schedule(**{**GOOD, "start": cron}).start == cron
