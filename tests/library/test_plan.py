"""Tests of the plan: everything that follows from a model."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eks_inference import Accelerator, Capacity, ConfigurationError, QueueScaling
from eks_inference.planning import GpuPool, Load, Prices, gpus_needed, make_plan
from eks_inference.planning.catalogue import CHECKPOINTS
from eks_inference.planning.cold_start_values import PHASES
from tests.library.conftest import refusal

A = Accelerator
AWQ = CHECKPOINTS["mistral-7b-awq"]
BIG = CHECKPOINTS["llama-3.1-70b"]
MODEL = "model 'model': "


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_every_model_of_the_catalogue_has_a_plan(name: str) -> None:
    """A model of which nothing is said fits, starts and costs something."""
    plan = make_plan(CHECKPOINTS[name])
    sizing = plan.serving.sizing
    assert plan.problems == ()
    assert plan.fit.fits
    assert plan.fit in sizing.fits
    replicas = [(sizing.gpus, plan.scaling.max_replicas)]
    size = plan.pool.gpus_per_node
    at_most = gpus_needed(replicas, gpus_per_node=size)
    assert plan.pool.max_gpus == at_most + size
    assert isinstance(plan.pool, GpuPool)
    cost = plan.pool_cost.on_demand
    assert 0 < cost.at_rest.usd <= cost.at_peak.usd
    assert plan.token_cost.on_demand.per_million_total_tokens.usd > 0
    assert plan.pool_cost.spot is None
    assert plan.traffic.nat_gateway.usd > plan.traffic.interface_endpoint.usd
    names = [phase.name for phase in plan.cold_start.phases]
    assert names == [name for name in PHASES if name in names]
    assert {"node", "image", "weights", "compile"} <= set(names)
    assert 60 < plan.cold_start.p50 < plan.cold_start.p90
    assert plan.serving.cold_start.p90 >= plan.cold_start.p90
    assert plan.savings


def test_prices_a_load_whose_requests_have_room() -> None:
    """A usual request is never longer than what a replica takes."""
    usual = make_plan(AWQ).load
    length = usual.prompt_tokens + usual.answer_tokens
    for checkpoint in CHECKPOINTS.values():
        assert make_plan(checkpoint).serving.sizing.max_model_len >= length


def test_names_the_instance_where_a_model_does_not_fit() -> None:
    """A plan for GPUs that are too small is made, and says of each what is wrong."""
    plan = make_plan(BIG, accelerators=[A.L4, A.A10G], gpus_per_node=4)
    assert plan.problems == (
        (
            "g6.12xlarge: weights 32.9 GiB + overhead 2.0 GiB exceed the 19.8 GiB "
            "usable of one l4 (0.9 of 22.0 GiB)"
        ),
        (
            "g5.12xlarge: weights 32.9 GiB + overhead 2.0 GiB exceed the 19.9 GiB "
            "usable of one a10g (0.9 of 22.1 GiB)"
        ),
    )
    assert not plan.fit.fits


def test_shows_the_largest_nodes_where_a_model_fits_none() -> None:
    """Without a number of GPUs, the most that there are come nearest."""
    plan = make_plan(BIG, accelerators=[A.T4])
    assert plan.pool.gpus_per_node == 4
    assert [text.split(":")[0] for text in plan.problems] == ["g4dn.12xlarge"]


@pytest.mark.parametrize(
    ("accelerators", "count"), [([A.L4], 8), ([A.L40S, A.L4], 8), ([A.RTX_PRO_6000], 2)]
)
def test_nodes_have_the_fewest_gpus_that_fit(
    accelerators: list[Accelerator], count: int
) -> None:
    """With GPUs given, a node has the fewest of them that every model fits."""
    plan = make_plan(BIG, accelerators=accelerators)
    assert plan.problems == ()
    assert plan.pool.gpus_per_node == count
    assert plan.pool.accelerators == tuple(accelerators)


def test_what_is_stated_holds() -> None:
    """Everything that is said reaches the plan as it was said."""
    scaling = QueueScaling(min_replicas=2, max_replicas=7)
    load = Load(requests_per_second=2, prompt_tokens=500, answer_tokens=100)
    plan = make_plan(
        AWQ,
        name="chat",
        accelerators=(A.L4,),
        gpus_per_node=4,
        gpus=2,
        max_model_len=4_000,
        max_num_seqs=20,
        scaling=scaling,
        capacity=Capacity.on_demand(),
        load=load,
        prices=Prices(usd_per_hour={"g6.12xlarge": 10.0}, spot_ratio=0.5),
        vllm_version="0.30.0",
    )
    assert plan.model.name == "chat"
    assert plan.serving.cache_key == "chat/l4"
    sizing = plan.serving.sizing
    assert (sizing.gpus, sizing.max_model_len, sizing.max_num_seqs) == (2, 4_000, 20)
    assert plan.fit.vllm_version == "0.30.0"
    assert (plan.scaling, plan.load) == (scaling, load)
    assert plan.pool.capacity == Capacity.on_demand()
    # seven replicas of two GPUs fill four nodes of four, and a rollout takes a fifth
    assert plan.pool.max_gpus == 20
    assert plan.pool_cost.on_demand.at_rest.usd == pytest.approx(10)
    assert plan.pool_cost.on_demand.at_peak.usd == pytest.approx(40)
    assert plan.pool_cost.spot is not None
    assert plan.pool_cost.spot.at_peak.usd == pytest.approx(20)


def test_number_of_gpus_of_a_node_decides_which_gpus_are_chosen() -> None:
    """Nodes with two GPUs are looked for among those that are sold with two."""
    plan = make_plan(AWQ, gpus_per_node=2)
    assert plan.pool.accelerators == (A.RTX_PRO_4500, A.RTX_PRO_6000)
    assert plan.problems == ()


def test_release_of_vllm_decides_which_gpus_are_chosen() -> None:
    """A release without a kernel for T4 gets a pool without T4."""
    assert A.T4 in make_plan(AWQ).pool.accelerators
    assert A.T4 not in make_plan(AWQ, vllm_version="0.13.0").pool.accelerators
    stated = make_plan(AWQ, accelerators=[A.T4], vllm_version="0.13.0")
    assert stated.problems == (
        (
            "g4dn.12xlarge: vLLM 0.13.0 needs compute capability 8.0 for 'awq' "
            "weights, and t4 (7.5) has less; use 0.14.0 or newer"
        ),
    )


def test_a_model_at_rest_on_no_node_costs_nothing() -> None:
    """Zero replicas at rest are planned; the guardrail asks for what wakes them."""
    plan = make_plan(AWQ, scaling=QueueScaling(min_replicas=0))
    assert plan.pool_cost.on_demand.at_rest.usd == 0
    assert plan.pool_cost.on_demand.at_peak.usd > 0


def test_fails_when_a_model_fits_no_gpu() -> None:
    """A model that no GPU holds is refused where no GPUs are given."""
    message = refusal(lambda: make_plan(BIG, gpus_per_node=1))
    assert message == (
        "shared nodes: 'models' must fit a GPU, got 'model', which fits none; "
        "'eks-inference fit' says why"
    )


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (
            {"checkpoint": "m"},
            "plan: 'checkpoint' must be of class Checkpoint, got 'm'",
        ),
        ({"scaling": 0}, "plan: 'scaling' must be of class QueueScaling, got 0"),
        (
            {"capacity": "spot"},
            "plan: 'capacity' must be of class Capacity, got 'spot'",
        ),
        ({"load": None}, "plan: 'load' must be of class Load, got None"),
        ({"prices": {}}, "plan: 'prices' must be of class Prices, got {}"),
        (
            {"vllm_version": None},
            (
                "'vllm_version' must be a release of vLLM, got None; for example "
                "'0.31.0'"
            ),
        ),
        (
            {"vllm_version": "0.8.5"},
            "'vllm_version' must be at least 0.9.0, got '0.8.5'; use a newer one",
        ),
        (
            {"accelerators": []},
            "plan: 'accelerators' must not be empty; pass for example [Accelerator.L4]",
        ),
        (
            {"accelerators": "l4"},
            (
                "plan: 'accelerators' must be a list or tuple, got 'l4'; put it in "
                "brackets"
            ),
        ),
        (
            {"accelerators": ["l4"]},
            "plan: 'accelerators' must be of class Accelerator, got 'l4'",
        ),
        (
            {"accelerators": [A.T4G, A.A100_40G]},
            (
                "plan: 'accelerators' must have a number of GPUs per instance in "
                "common, got t4g (1, 2), a100_40g (8); make a plan for each"
            ),
        ),
        (
            {"accelerators": [A.T4G, A.T4]},
            (
                "pool 'gpu': 'accelerators' must share one CPU architecture, got t4g "
                "(arm64), t4 (amd64); make a pool for each"
            ),
        ),
        (
            {"accelerators": [A.L4, A.L4]},
            (
                "pool 'gpu': 'accelerators' must not name anything twice, got 'l4'; "
                "remove one"
            ),
        ),
        (
            {"accelerators": [A.L4], "gpus_per_node": 2},
            (
                "pool 'gpu': 'gpus_per_node' must be a count that instances with l4 "
                "have (1, 4, 8), got 2"
            ),
        ),
        (
            {"gpus_per_node": 0},
            (
                "shared nodes: 'gpus_per_node' must be a count that instances with one "
                "of the accelerators have (1, 2, 4, 8), got 0"
            ),
        ),
        (
            {"gpus_per_node": "4"},
            "shared nodes: 'gpus_per_node' must be a whole number, got '4'",
        ),
        (
            {"gpus": 8, "gpus_per_node": 4},
            "plan: 'gpus' must be at most 4, got 8; a replica never spans two nodes",
        ),
        (
            {"gpus": 4, "accelerators": [A.T4G]},
            "plan: 'gpus' must be at most 2, got 4; a replica never spans two nodes",
        ),
        (
            {"gpus": 3},
            (
                "fit: 'tensor_parallel' must divide the 32 attention heads, got 3; use "
                "1, 2, 4 or 8 where they do"
            ),
        ),
        ({"gpus": -1}, MODEL + "'gpus' must be 1 to 8, got -1"),
        (
            {"max_num_seqs": 10**9},
            MODEL + "'max_num_seqs' must be 2 to 4096, got 1000000000",
        ),
        (
            {"max_model_len": float("nan")},
            (
                MODEL + "'max_model_len' must be a whole number, got nan; "
                "'mistral-7b-awq' was made for 32768 tokens"
            ),
        ),
    ],
)
def test_fails_when_a_value_breaks_a_rule(inputs: dict[str, Any], message: str) -> None:
    """Each bad value is refused with its whole message."""
    values = {"checkpoint": AWQ, **inputs}
    assert refusal(lambda: make_plan(**values)) == message


def test_fails_with_every_problem_at_once() -> None:
    """Values of the wrong kind are reported together."""
    values: dict[str, Any] = {
        "checkpoint": None,
        "scaling": 1,
        "accelerators": 1,
        "vllm_version": 1,
    }
    assert refusal(lambda: make_plan(**values)).splitlines() == [
        "plan: 'checkpoint' must be of class Checkpoint, got None",
        "plan: 'scaling' must be of class QueueScaling, got 1",
        "'vllm_version' must be a release of vLLM, got 1; for example '0.31.0'",
        "plan: 'accelerators' must be a list or tuple, got 1; put it in brackets",
    ]


@given(
    st.sampled_from(sorted(CHECKPOINTS)),
    st.lists(st.sampled_from(list(A)), min_size=1, max_size=3),
    st.sampled_from([None, 1, 2, 4, 8]),
    st.sampled_from([None, 1, 2, 3, 4, 8]),
)
def test_a_plan_is_made_or_refused_with_a_message(
    name: str,
    accelerators: list[Accelerator],
    gpus_per_node: int | None,
    gpus: int | None,
) -> None:
    """Any GPUs and numbers give a plan or an error of the library, never another."""
    try:
        plan = make_plan(
            CHECKPOINTS[name],
            accelerators=accelerators,
            gpus_per_node=gpus_per_node,
            gpus=gpus,
        )
    except ConfigurationError:
        return
    assert bool(plan.problems) is not all(f.fits for f in plan.serving.sizing.fits)
    assert plan.fit.fits or plan.problems
    assert plan.serving.sizing.gpus == (gpus or plan.serving.sizing.gpus)
    assert plan.pool.max_gpus >= 2 * plan.pool.gpus_per_node


def test_notes_say_what_works_otherwise_than_expected() -> None:
    """A shortened context, a load beyond the replicas and a sleep for ever are told."""
    plan = make_plan(
        CHECKPOINTS["llama-3.1-8b"],
        accelerators=[Accelerator.L4],
        scaling=QueueScaling(min_replicas=0, max_replicas=1),
        load=Load(requests_per_second=50, prompt_tokens=7_000, answer_tokens=500),
    )
    length = plan.serving.sizing.max_model_len
    assert plan.notes == (
        (
            f"sequences end at {length} of 131072 tokens: a longer one would leave "
            "room for fewer than four at once"
        ),
        f"requests of the load have 7500 tokens, more than {length}",
        (
            f"the load needs {plan.token_cost.replicas} replicas, more than "
            "'max_replicas' (1)"
        ),
        "nothing wakes a model with no replica: give an activation",
    )


def test_plan_as_expected_has_no_notes() -> None:
    """A plan that keeps the whole context and carries the load has nothing to note."""
    plan = make_plan(CHECKPOINTS["mistral-7b-awq"], accelerators=[Accelerator.L40S])
    assert plan.notes == ()
