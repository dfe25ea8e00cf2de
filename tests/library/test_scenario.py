"""Tests of what is simulated: the manifests' own ScaledObject, read back."""

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eks_inference import (
    Accelerator,
    Activation,
    Capacity,
    ConfigurationError,
    QueueScaling,
    Signal,
)
from eks_inference.planning import CHECKPOINTS, make_plan
from eks_inference.simulation.hpa_spec import Behavior, Policy, ScalingRules
from eks_inference.simulation.keda_spec import (
    Fallback,
    ScaledObject,
    ScalingModifiers,
    Trigger,
)
from eks_inference.simulation.scenario import (
    Scenario,
    read_scaled_object,
    weights_of,
)
from tests.library.simulated import plan, scenario

WINDOW = Activation.schedule(
    timezone="Europe/Berlin", start="0 8 * * 1-5", end="0 19 * * 1-5"
)


def test_the_rendered_object() -> None:
    """The simulated KEDA gets what the manifests of the library say."""
    found = read_scaled_object(scenario().scaled_object)

    assert found == ScaledObject(
        triggers=(
            Trigger(name="running", threshold=24),
            Trigger(name="waiting", threshold=24),
        ),
        min_replica_count=1,
        max_replica_count=4,
        scaling_modifiers=ScalingModifiers(formula="running + waiting * 10", target=24),
        fallback=Fallback(
            failure_threshold=3, replicas=1, behavior="currentReplicasIfHigher"
        ),
        behavior=Behavior(
            scale_up=ScalingRules(
                window_s=0,
                select="Max",
                policies=(
                    Policy(type="Percent", value=900, period_s=15),
                    Policy(type="Pods", value=9, period_s=15),
                ),
            ),
            scale_down=ScalingRules(
                window_s=300, policies=(Policy(type="Pods", value=1, period_s=120),)
            ),
        ),
    )


@given(
    low=st.integers(1, 4),
    more=st.integers(0, 20),
    weight=st.integers(1, 1000),
    share=st.floats(0.05, 0.95),
    percent=st.integers(1, 2000),
    pods=st.integers(1, 50),
    window=st.integers(0, 3600),
    period=st.integers(1, 1800),
)
def test_every_scaling_is_read_back(
    *,
    low: int,
    more: int,
    weight: int,
    share: float,
    percent: int,
    pods: int,
    window: int,
    period: int,
) -> None:
    """Whatever the scaling, the simulated KEDA gets its numbers."""
    scaling = QueueScaling(
        min_replicas=low,
        max_replicas=low + more,
        waiting_weight=weight,
        target_share=share,
        scale_up_percent=percent,
        scale_up_pods=pods,
        scale_down_window_seconds=window,
        scale_down_period_seconds=period,
    )
    known = plan()
    scaled = replace(
        known,
        scaling=scaling,
        serving=replace(known.serving, scaling_target=math.ceil(32 * share)),
    )
    found = read_scaled_object(Scenario(plan=scaled).scaled_object)

    assert (found.min_replica_count, found.max_replica_count) == (low, low + more)
    assert found.scaling_modifiers is not None
    assert found.scaling_modifiers.formula == f"running + waiting * {weight}"
    assert found.scaling_modifiers.target == math.ceil(32 * share)
    assert found.behavior is not None
    up, down = found.behavior.scale_up, found.behavior.scale_down
    assert up.policies is not None
    assert [item.value for item in up.policies] == [percent, pods]
    assert (up.window_s, down.window_s) == (0, window)
    assert down.policies == (Policy(type="Pods", value=1, period_s=period),)


def test_a_model_that_may_sleep() -> None:
    """With a minimum of 0 there is one trigger with the formula in its query."""
    manifest = scenario(scaling={"min_replicas": 0}).scaled_object
    found = read_scaled_object(manifest)

    assert found.min_replica_count == 0
    assert found.scaling_modifiers is None
    assert found.cooldown_period_seconds == 420
    assert [item.name for item in found.triggers] == ["queue"]
    assert weights_of(manifest) == {"queue": (1, 10)}


@pytest.mark.parametrize("low", [0, 1])
def test_a_window_is_not_simulated(low: int) -> None:
    """A window's cron trigger is refused with what to do, not ignored."""
    scheduled = scenario(scaling={"min_replicas": low, "activation": WINDOW})

    with pytest.raises(
        ConfigurationError, match="got 'cron'; leave 'activation' out of the scaling"
    ):
        read_scaled_object(scheduled.scaled_object)


@pytest.mark.parametrize(
    ("query", "weights"),
    [
        ("sum(vllm:num_requests_running)", (1, 0)),
        ("sum(vllm:num_requests_waiting)", (0, 1)),
        ("sum(vllm:num_requests_running) + 7 * sum(vllm:num_requests_waiting)", (1, 7)),
        ("sum(vllm:num_requests_running) + sum(vllm:num_requests_waiting)", (1, 1)),
    ],
)
def test_weights_of_a_query(query: str, weights: tuple[float, float]) -> None:
    """A query's weights are read from it."""
    manifest = {"spec": {"triggers": [{"metadata": {"query": query}}]}}

    assert weights_of(manifest) == {"s0": weights}


def test_what_a_scaled_object_leaves_out() -> None:
    """Fields that are left out have KEDA's defaults."""
    trigger = {"type": "prometheus", "metadata": {"threshold": "5"}}
    found = read_scaled_object({"spec": {"triggers": [trigger]}})

    assert found == ScaledObject(triggers=(Trigger(name="s0", threshold=5),))


@pytest.mark.parametrize(
    "manifest",
    [
        None,
        {},
        {"spec": None},
        {"spec": {"triggers": None}},
        {"spec": {"triggers": [None]}},
        {"spec": {"triggers": []}},
        {"spec": {"triggers": [{"type": "prometheus", "metadata": {}}]}},
        {
            "spec": {
                "triggers": [{"type": "prometheus", "metadata": {"threshold": "x"}}]
            }
        },
        {"spec": {"triggers": [{"type": "cpu", "metadata": {"value": "80"}}]}},
    ],
)
def test_no_scaled_object(manifest: Any) -> None:
    """What is no ScaledObject is refused, with no other error."""
    with pytest.raises(ConfigurationError, match="scaled object: "):
        read_scaled_object(manifest)


@pytest.mark.parametrize(
    "manifest", [None, {}, {"spec": {"triggers": [{"metadata": {"query": "up"}}]}}]
)
def test_no_weights(manifest: Any) -> None:
    """A query of something else is refused, rather than read as zero."""
    with pytest.raises(ConfigurationError, match="scaled object: "):
        weights_of(manifest)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"plan": None}, "'plan' must be of class Plan"),
        ({"drain": 3}, "'drain' must be of class Drain"),
        ({"signal": None}, "'signal' must be of class Signal"),
        ({"prices": 1}, "'prices' must be of class Prices"),
        ({"headroom": -1}, "'headroom' must be 0 to 1000, got -1"),
        ({"headroom": None}, "'headroom' must be a whole number"),
        ({"interruptions_per_hour": float("nan")}, "'interruptions_per_hour' must be"),
        ({"capacity_errors": None}, "'capacity_errors' must be of class Mapping"),
        ({"gateway_queues": 1}, "'gateway_queues' must be True or False"),
        ({"balancer": "random"}, "'balancer' must be one of 'least-outstanding', 'ro"),
    ],
)
def test_bad_values(values: dict[str, Any], message: str) -> None:
    """A bad value is refused by its name."""
    with pytest.raises(ConfigurationError, match=message):
        Scenario(**{"plan": plan(), **values})


def test_a_plan_that_cannot_work() -> None:
    """A model that does not fit is refused with the plan's own words."""
    unfit = make_plan(
        CHECKPOINTS["llama-3.1-70b-awq"],
        accelerators=[Accelerator.T4],
        gpus_per_node=1,
        capacity=Capacity.on_demand(),
    )

    with pytest.raises(ConfigurationError) as caught:
        Scenario(plan=unfit)
    assert caught.value.problems == tuple(
        f"scenario: {text}" for text in unfit.problems
    )


def test_the_signal_is_that_of_the_manifests() -> None:
    """Another Prometheus changes where the ScaledObject asks."""
    other = scenario(signal=Signal.prometheus("http://other:9090"))
    triggers = other.scaled_object["spec"]["triggers"]

    assert {t["metadata"]["serverAddress"] for t in triggers} == {"http://other:9090"}
