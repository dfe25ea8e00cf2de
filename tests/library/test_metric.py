"""Tests of one number of a model."""

from collections.abc import Mapping
from typing import Any

import pytest

from eks_inference import Aggregate, Metric, Signal
from eks_inference.metric import Series
from tests.library.conftest import BadInputs, bad_inputs, refusal

NAME = (
    "metric: 'name' must be the name of a metric, got {!r}; for example "
    "'vllm:num_requests_running'"
)

BAD: BadInputs = [
    ({"name": ""}, NAME.format("")),
    ({"name": None}, NAME.format(None)),
    ({"name": "sum(vllm:x)"}, NAME.format("sum(vllm:x)")),
    ({"name": 'vllm:x{a="b"}'}, NAME.format('vllm:x{a="b"}')),
    (
        {"name": "vllm_num_requests_running"},
        (
            "metric: 'name' must be as vLLM exposes it, with a colon, got "
            "'vllm_num_requests_running'; write 'vllm:num_requests_running'"
        ),
    ),
    (
        {"aggregate": "median"},
        "metric: 'aggregate' must be of class Aggregate, got 'median'",
    ),
]


@bad_inputs(BAD)
def test_fails_when_a_value_breaks_a_rule(
    changes: Mapping[str, Any], message: str
) -> None:
    """Each bad value of a metric is refused with its whole message."""
    values = {"name": "vllm:kv_cache_usage_perc", **changes}
    assert refusal(lambda: Metric(**values)) == message


@pytest.mark.parametrize("aggregate", Aggregate)
def test_every_signal_can_do_every_aggregate(aggregate: Aggregate) -> None:
    """An aggregate is one in PromQL and one of the OpenTelemetry scaler."""
    metric = Metric("vllm:num_requests_running", aggregate)
    series = Series(namespace="inference", name="chat", served_name="mistral")
    for signal in (Signal.prometheus(), Signal.otel_scaler()):
        assert signal.query(metric, series).startswith(f"{aggregate.value}(vllm:")
