"""Tests of how a replica ends."""

from collections.abc import Mapping
from typing import Any

from eks_inference import Drain
from eks_inference.drain import SPOT_GRACE_LIMIT_SECONDS, TEARDOWN_SECONDS
from tests.library.conftest import BadInputs, bad_inputs, refusal

BAD: BadInputs = [
    ({"pre_stop_seconds": 0}, "'pre_stop_seconds' must be at least 1, got 0"),
    ({"pre_stop_seconds": "5"}, "'pre_stop_seconds' must be a whole number, got '5'"),
    ({"pre_stop_seconds": 5.0}, "'pre_stop_seconds' must be a whole number, got 5.0"),
    (
        {"shutdown_timeout_seconds": 0},
        "'shutdown_timeout_seconds' must be at least 1, got 0",
    ),
    (
        {"shutdown_timeout_seconds": None},
        "'shutdown_timeout_seconds' must be a whole number, got None",
    ),
]


@bad_inputs(BAD)
def test_fails_when_a_phase_breaks_a_rule(
    changes: Mapping[str, Any], message: str
) -> None:
    """Each bad phase is refused with its whole message."""
    assert refusal(lambda: Drain(**changes)) == f"drain: {message}"


def test_fails_with_every_problem_at_once() -> None:
    """All problems of a drain are reported together."""
    message = refusal(lambda: Drain(pre_stop_seconds=-1, shutdown_timeout_seconds=-1))
    assert message.splitlines() == [
        "drain: 'pre_stop_seconds' must be at least 1, got -1",
        "drain: 'shutdown_timeout_seconds' must be at least 1, got -1",
    ]


def test_grace_is_the_sum_of_the_phases() -> None:
    """Kubernetes waits for the pre-stop, the shutdown and vLLM's own teardown."""
    drain = Drain(pre_stop_seconds=7, shutdown_timeout_seconds=50)
    assert drain.grace_period_seconds == 7 + 50 + TEARDOWN_SECONDS


def test_default_fits_a_spot_notice() -> None:
    """The default uses what a spot notice allows, and no more."""
    assert Drain().grace_period_seconds == SPOT_GRACE_LIMIT_SECONDS == 110
