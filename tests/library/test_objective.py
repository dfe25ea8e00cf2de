"""Tests of what users may expect of a model's speed."""

from typing import Any

import pytest

from eks_inference.objective import (
    TTFT_BUCKETS,
    LatencyObjective,
)
from tests.library.conftest import refusal

BAD: list[tuple[dict[str, Any], list[str]]] = [
    ({"ttft_seconds": 3}, ["'ttft_seconds' must be a bound of vLLM's histogram"]),
    ({"ttft_seconds": 10**400}, ["histogram, got 1000000"]),
    ({"ttft_seconds": float("nan")}, ["histogram, got nan; use one of 0.001, 0"]),
    ({"ttft_seconds": -1.0}, ["histogram, got -1.0"]),
    ({"ttft_seconds": True}, ["'ttft_seconds' must be a number, got True"]),
    (
        {"ttft_seconds": 0.3, "inter_token_seconds": 0.06, "share": 0.9},
        [
            "got 0.3; use one of 0.001",
            "'inter_token_seconds' must be a bound",
            "'share' must be 0.94 to 0.9999, got 0.9; for example 0.95",
        ],
    ),
    ({"share": None}, ["'share' must be a number, got None"]),
    ({"share": float("nan")}, ["'share' must be 0.94 to 0.9999, got nan"]),
    ({"share": 95}, ["'share' must be 0.94 to 0.9999, got 95"]),
]


@pytest.mark.parametrize(("changes", "messages"), BAD)
def test_fails_when_an_objective_cannot_be_counted(
    changes: dict[str, float], messages: list[str]
) -> None:
    """What vLLM does not count, or no alert could tell, is refused, all at once."""
    problems = refusal(lambda: LatencyObjective(**changes)).split("\n")
    assert len(problems) == len(messages)
    for problem, message in zip(problems, messages, strict=True):
        assert problem.startswith("objective: ")
        assert message in problem


@pytest.mark.parametrize("bound", TTFT_BUCKETS)
def test_every_bound_is_an_objective(bound: float) -> None:
    """Each bound of the histogram may be promised, also as a whole number."""
    assert LatencyObjective(ttft_seconds=bound).ttft_seconds == bound
    if bound == int(bound):
        assert LatencyObjective(ttft_seconds=int(bound)).ttft_seconds == bound


def test_budget_is_the_rest() -> None:
    """What may be late is what the share leaves, without a float's dust."""
    assert LatencyObjective(share=0.95).budget == 0.05
    assert LatencyObjective(share=0.9999).budget == 0.0001
