"""Tests of when a model gets more replicas and when fewer."""

from collections.abc import Mapping
from typing import Any

from eks_inference import QueueScaling, ScalingFormula
from tests.library.conftest import WINDOW, BadInputs, bad_inputs, refusal

BAD: BadInputs = [
    ({"min_replicas": -1}, "'min_replicas' must be at least 0, got -1"),
    ({"min_replicas": "1"}, "'min_replicas' must be a whole number, got '1'"),
    ({"max_replicas": 1.5}, "'max_replicas' must be a whole number, got 1.5"),
    (
        {"min_replicas": 4, "max_replicas": 3},
        (
            "'max_replicas' must be at least 'min_replicas' (4), got 3; "
            "raise it or lower 'min_replicas'"
        ),
    ),
    ({"waiting_weight": 0}, "'waiting_weight' must be 1 to 1000, got 0"),
    ({"waiting_weight": 0.5}, "'waiting_weight' must be a whole number, got 0.5"),
    ({"target_share": 0.04}, "'target_share' must be 0.05 to 0.95, got 0.04"),
    ({"target_share": 1}, "'target_share' must be 0.05 to 0.95, got 1"),
    ({"target_share": "75%"}, "'target_share' must be a number, got '75%'"),
    ({"scale_up_percent": 0}, "'scale_up_percent' must be at least 1, got 0"),
    ({"scale_up_percent": 1.5}, "'scale_up_percent' must be a whole number, got 1.5"),
    ({"scale_up_pods": 0}, "'scale_up_pods' must be at least 1, got 0"),
    ({"scale_up_pods": None}, "'scale_up_pods' must be a whole number, got None"),
    (
        {"scale_down_window_seconds": -1},
        "'scale_down_window_seconds' must be 0 to 3600, got -1",
    ),
    (
        {"scale_down_window_seconds": 3601},
        "'scale_down_window_seconds' must be 0 to 3600, got 3601",
    ),
    (
        {"scale_down_window_seconds": "5m"},
        "'scale_down_window_seconds' must be a whole number, got '5m'",
    ),
    (
        {"scale_down_period_seconds": 0},
        "'scale_down_period_seconds' must be 1 to 1800, got 0",
    ),
    (
        {"scale_down_period_seconds": 1801},
        "'scale_down_period_seconds' must be 1 to 1800, got 1801",
    ),
    (
        {"scale_down_period_seconds": True},
        "'scale_down_period_seconds' must be a whole number, got True",
    ),
    ({"cooldown_seconds": -1}, "'cooldown_seconds' must be at least 0, got -1"),
    ({"max_replicas": 1001}, "'max_replicas' must be 1 to 1000, got 1001"),
    ({"waiting_weight": 1001}, "'waiting_weight' must be 1 to 1000, got 1001"),
    (
        {"activation": [WINDOW, WINDOW]},
        (
            "'activation' must not name anything twice, got 'ScheduleActivation'; one "
            "of each kind is enough"
        ),
    ),
    (
        {"activation": [WINDOW, "9-17"]},
        "'activation' must be of class Activation, got '9-17'",
    ),
    ({"formula": "a + b"}, "'formula' must be of class ScalingFormula, got 'a + b'"),
    (
        {"formula": ScalingFormula.queue(), "waiting_weight": 3},
        (
            "'waiting_weight' must be left out with a 'formula', got 3; write it into "
            "the formula"
        ),
    ),
    (
        {"formula": ScalingFormula.queue(), "activation": WINDOW},
        (
            "'formula' must be left out with an 'activation' or without replicas, got "
            "'running + waiting * 10': KEDA would not see the other triggers; use "
            "'waiting_weight' and 'target_share'"
        ),
    ),
    (
        {
            "formula": ScalingFormula.queue_or_kv_cache(full_requests=24),
            "target_share": 0.5,
        },
        (
            "'target_share' must be left out with a 'formula' that has a target, got "
            "0.5; change the formula's target"
        ),
    ),
    ({"activation": "9-17"}, "'activation' must be of class Activation, got '9-17'"),
    (
        {"activation": WINDOW, "max_replicas": 1},
        (
            "'activation.replicas' must be at most 1, got 2; "
            "lower it or raise 'max_replicas'"
        ),
    ),
    ({"cooldown_seconds": "5m"}, "'cooldown_seconds' must be a whole number, got '5m'"),
]


@bad_inputs(BAD)
def test_fails_when_a_value_breaks_a_rule(
    changes: Mapping[str, Any], message: str
) -> None:
    """Each bad value of a scaling is refused with its whole message."""
    assert refusal(lambda: QueueScaling(**changes)) == f"scaling: {message}"


def test_fails_when_a_model_may_have_no_replica_at_all() -> None:
    """A maximum of zero replicas is refused once, and not compared any further."""
    message = refusal(lambda: QueueScaling(max_replicas=0))
    assert message == "scaling: 'max_replicas' must be 1 to 1000, got 0"


def test_fails_with_every_problem_at_once() -> None:
    """All problems of a scaling are reported together."""
    message = refusal(
        lambda: QueueScaling(
            min_replicas=0,
            max_replicas=0,
            waiting_weight=0,
            target_share=2,
            scale_up_percent=0,
            scale_up_pods=0,
            scale_down_window_seconds=-1,
            scale_down_period_seconds=0,
            cooldown_seconds=-1,
        )
    )
    assert message.splitlines() == [
        "scaling: 'max_replicas' must be 1 to 1000, got 0",
        "scaling: 'waiting_weight' must be 1 to 1000, got 0",
        "scaling: 'target_share' must be 0.05 to 0.95, got 2",
        "scaling: 'scale_up_percent' must be at least 1, got 0",
        "scaling: 'scale_up_pods' must be at least 1, got 0",
        "scaling: 'scale_down_window_seconds' must be 0 to 3600, got -1",
        "scaling: 'scale_down_period_seconds' must be 1 to 1800, got 0",
        "scaling: 'cooldown_seconds' must be at least 0, got -1",
    ]


def test_zero_replicas_are_allowed_with_an_activation() -> None:
    """A model may go to zero when something outside its pods wakes it."""
    assert QueueScaling(min_replicas=0, activation=WINDOW).min_replicas == 0


def test_default_keeps_one_replica_warm() -> None:
    """Without arguments one replica stays, and up to ten are added."""
    scaling = QueueScaling()
    assert (scaling.min_replicas, scaling.max_replicas) == (1, 10)
    assert scaling.activation is None
