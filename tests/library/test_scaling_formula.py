"""Tests of formulas over vLLM's metrics."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eks_inference import ConfigurationError, Metric, QueueScaling, ScalingFormula
from eks_inference.keda_formula import Formula
from eks_inference.manifests.scaling import scaled_object
from eks_inference.scaling_formula import RESERVED_TRIGGERS
from tests.library.conftest import BadInputs, bad_inputs, make_serving, refusal

KV = {"kv": Metric("vllm:kv_cache_usage_perc")}
BOTH = {**KV, "waiting": Metric("vllm:num_requests_waiting")}
DIVIDES = (
    "'expression' must not divide by what can be zero, got it in {!r}; divide by a "
    "number, or by max(..., 1)"
)

BAD: BadInputs = [
    (
        {"expression": ""},
        "'expression' must be a text that is not empty, got ''",
    ),
    (
        {"expression": "kv", "metrics": BOTH},
        (
            "'expression' must use every name of 'metrics', got 'kv'; use or remove "
            "waiting"
        ),
    ),
    ({"expression": "1 / kv"}, DIVIDES.format("1 / kv")),
    ({"expression": "kv / max(kv, 0)"}, DIVIDES.format("kv / max(kv, 0)")),
    ({"expression": "kv / (1 - kv)"}, DIVIDES.format("kv / (1 - kv)")),
    (
        {"expression": "kv ** -1"},
        (
            "'expression' must have a positive number as exponent, got another in "
            "'kv ** -1': zero to a negative power is infinite"
        ),
    ),
    (
        {"expression": "kv + 1"},
        (
            "'expression' must be 0 for a model without load, got 'kv + 1'; or "
            "replicas would stay that nobody needs"
        ),
    ),
    (
        {"expression": "kv ?? 0"},
        (
            "'expression' must not put a number in place of a metric that is missing, "
            "got '??' in 'kv ?? 0': an outage would look like that load; remove it, "
            "and let the fallback keep the replicas"
        ),
    ),
    ({"metrics": {}}, "'metrics' must not be empty; name one"),
    ({"metrics": None}, "'metrics' must be of class Mapping, got None"),
    (
        {"metrics": {"k-v": KV["kv"]}},
        (
            "'metrics' must be named by identifiers, which a formula can use, got "
            "'k-v'; for example 'running'"
        ),
    ),
    (
        {"metrics": {"pods": KV["kv"]}, "expression": "pods"},
        (
            "'metrics' must not have the name of a trigger of the library's own, got "
            "'pods'; rename it"
        ),
    ),
    (
        {"metrics": {"kv": "vllm:kv_cache_usage_perc"}},
        "'metrics['kv']' must be of class Metric, got 'vllm:kv_cache_usage_perc'",
    ),
    ({"target": 0}, "'target' must be 1 to 1000000000, got 0"),
    ({"target": 0.7}, "'target' must be a whole number, got 0.7"),
]


@bad_inputs(BAD)
def test_fails_when_a_value_breaks_a_rule(
    changes: Mapping[str, Any], message: str
) -> None:
    """Each bad value of a formula is refused with its whole message."""
    values: dict[str, Any] = {"expression": "kv * 10", "metrics": KV, **changes}
    assert refusal(lambda: ScalingFormula(**values)) == f"formula: {message}"


def test_fails_when_keda_would_refuse_the_formula() -> None:
    """What expr-lang does not admit is refused with the reason."""
    message = refusal(lambda: ScalingFormula(expression="kv +", metrics=KV))
    assert message.startswith("formula: formula 'float(kv +)': must be an expression")


@pytest.mark.parametrize(
    "expression",
    ["kv / 2", "kv / max(kv, 1)", "kv * 100 / (2 * 4)", "kv ^ 2", "ceil(kv / 0.7)"],
)
def test_divisors_that_are_never_zero_are_taken(expression: str) -> None:
    """A number above zero, or a maximum with one, may stand below a fraction."""
    assert ScalingFormula(expression=expression, metrics=KV).expression == expression


@given(
    running=st.floats(0, 1e6),
    waiting=st.floats(0, 1e6),
    kv=st.floats(0, 100),
    share=st.floats(0.05, 0.95),
    full=st.integers(1, 4_096),
)
def test_queue_or_cache_takes_what_needs_more(
    *, running: float, waiting: float, kv: float, share: float, full: int
) -> None:
    """Requests and cache each ask for replicas, and the larger number wins."""
    formula = ScalingFormula.queue_or_kv_cache(full_requests=full, full_share=share)
    value = Formula(formula.expression, triggers=list(formula.metrics)).evaluate(
        {"running": running, "waiting": waiting, "kv": kv}
    )
    assert value is not None
    assert formula.target == full
    wanted = max((running + 10 * waiting) / full, kv / share)
    assert value / full == pytest.approx(wanted, rel=1e-4)


def test_queue_or_cache_checks_its_numbers() -> None:
    """All bad numbers of the composed formula are reported together."""
    message = refusal(
        lambda: ScalingFormula.queue_or_kv_cache(
            full_requests=0, full_share=2, waiting_weight=0
        )
    )
    assert message.splitlines() == [
        "formula: 'full_requests' must be 1 to 4096, got 0",
        "formula: 'full_share' must be 0.05 to 0.95, got 2",
        "formula: 'waiting_weight' must be 1 to 1000, got 0",
    ]
    with pytest.raises(ConfigurationError, match="'waiting_weight' must be 1 to 1000"):
        ScalingFormula.queue(waiting_weight=0)


def test_formula_of_a_model_reaches_its_autoscaler() -> None:
    """Expression, target and one trigger for each metric are what KEDA gets."""
    formula = ScalingFormula(
        expression="kv * 74000 + waiting * 2000", metrics=BOTH, target=50_000
    )
    serving = make_serving(scaling=QueueScaling(formula=formula))
    spec = scaled_object(serving)["spec"]
    modifiers = spec["advanced"]["scalingModifiers"]
    assert (modifiers["formula"], modifiers["target"]) == (formula.expression, "50000")
    assert [trigger["name"] for trigger in spec["triggers"]] == ["kv", "waiting"]


def test_names_of_the_librarys_own_triggers_are_reserved() -> None:
    """Whatever trigger the library may add, no metric of a formula has its name."""
    assert set(RESERVED_TRIGGERS) >= {"alive", "pods", "queue", "http", "schedule"}
