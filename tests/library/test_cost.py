"""Tests of what a pool, its tokens and its traffic cost."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eks_inference.accelerator import Accelerator
from eks_inference.architecture import Architecture
from eks_inference.checkpoint import Checkpoint
from eks_inference.planning.cost import (
    Load,
    image_traffic_cost,
    pool_cost,
    token_cost,
)
from eks_inference.planning.instances import InstanceType, Prices
from eks_inference.planning.step_time import StepModel
from eks_inference.planning.throughput import steady_throughput
from tests.library.conftest import BadInputs, bad_inputs, refusal

FOUR_GPUS = InstanceType(
    name="g5.12xlarge",
    accelerator=Accelerator.A10G,
    gpus=4,
    vcpus=48,
    memory_mib=196_608,
    allocatable_cpu=47.8,
    allocatable_memory_mib=180_000,
    network_mbps=40_000,
    network_burst_mbps=40_000,
    ebs_baseline_mbps=16_000,
    ebs_mbps=16_000,
    nvme_gb=3_800,
    usd_per_hour=6.0,
)
WITHOUT_PRICE = replace(FOUR_GPUS, name="p5e.48xlarge", usd_per_hour=None)
STEPS = StepModel(
    Checkpoint.computed(
        name="test",
        architecture=Architecture(
            name="MistralForCausalLM",
            layers=32,
            hidden_size=4096,
            attention_heads=32,
            kv_heads=8,
            head_size=128,
            vocabulary=32_000,
            context=32_768,
            parameters=7_241_732_096,
        ),
    ),
    Accelerator.A10G,
)
LOAD = Load(requests_per_second=10, prompt_tokens=1000, answer_tokens=200)
FULL = steady_throughput(STEPS, prompt_tokens=1000, answer_tokens=200, concurrency=32)


def test_whole_nodes_are_paid() -> None:
    """Ten replicas of one GPU take three nodes of four, and one takes a whole one."""
    cost = pool_cost(
        FOUR_GPUS, Prices(), gpus_per_replica=1, min_replicas=1, max_replicas=10
    )
    assert cost.on_demand.at_rest.usd == 6
    assert cost.on_demand.at_peak.usd == 18
    assert cost.on_demand.per_gpu_hour.usd == 1.5
    assert cost.on_demand.at_peak.text == (
        "10 replicas of 1 GPU on 3 nodes x 6 USD (g5.12xlarge on demand) "
        "= 18 USD per hour"
    )
    assert cost.on_demand.per_gpu_hour.text == (
        "6 USD for g5.12xlarge on demand / 4 GPUs = 1.5 USD per GPU and hour"
    )


def test_replicas_do_not_span_nodes() -> None:
    """Replicas of three GPUs leave the fourth GPU of each node idle."""
    cost = pool_cost(
        FOUR_GPUS, Prices(), gpus_per_replica=3, min_replicas=0, max_replicas=2
    )
    assert cost.on_demand.at_peak.usd == 12


def test_nothing_runs_at_rest_when_scaled_to_zero() -> None:
    """A model that scales to zero costs nothing at rest."""
    cost = pool_cost(
        FOUR_GPUS, Prices(), gpus_per_replica=1, min_replicas=0, max_replicas=1
    )
    assert cost.on_demand.at_rest.usd == 0
    assert cost.on_demand.at_rest.text == (
        "0 replicas of 1 GPU on 0 nodes x 6 USD (g5.12xlarge on demand) "
        "= 0 USD per hour"
    )


def test_spot_has_a_price_only_where_its_ratio_was_given() -> None:
    """The spot price is the user's ratio of the on-demand price, or none at all."""
    values = {"gpus_per_replica": 1, "min_replicas": 1, "max_replicas": 4}
    assert pool_cost(FOUR_GPUS, Prices(), **values).spot is None
    assert token_cost(STEPS, FOUR_GPUS, Prices(), LOAD).spot is None
    spot = pool_cost(FOUR_GPUS, Prices(spot_ratio=0.25), **values).spot
    assert spot is not None
    assert spot.at_rest.usd == 1.5
    assert "as spot" in spot.at_rest.text
    tokens = token_cost(STEPS, FOUR_GPUS, Prices(spot_ratio=0.25), LOAD)
    assert tokens.spot is not None
    assert (
        tokens.spot.per_million_output_tokens.usd
        == tokens.on_demand.per_million_output_tokens.usd / 4
    )


def test_own_prices_go_before_those_of_the_table() -> None:
    """A price that the user gives is the one that is used."""
    cost = pool_cost(
        FOUR_GPUS,
        Prices(usd_per_hour={"g5.12xlarge": 5.0}),
        gpus_per_replica=4,
        min_replicas=1,
        max_replicas=1,
    )
    assert cost.on_demand.at_rest.usd == 5


def test_tokens_cost_what_the_nodes_of_their_load_cost() -> None:
    """A load decides the replicas, these the nodes, and all tokens share the price."""
    cost = token_cost(STEPS, FOUR_GPUS, Prices(), LOAD, concurrency=32)
    replicas = math.ceil(10 / FULL.requests_per_second)
    nodes = math.ceil(replicas / 4)
    assert cost.full == FULL
    assert cost.replicas == replicas > 4
    assert cost.on_demand.per_hour.usd == 6 * nodes
    # 10 requests x 200 tokens, or x 1200 tokens, in 3600 seconds
    assert cost.on_demand.per_million_output_tokens.usd == pytest.approx(
        6 * nodes / 7.2
    )
    assert cost.on_demand.per_million_total_tokens.usd == pytest.approx(
        6 * nodes / 43.2
    )
    assert cost.replicas_text == (
        f"10 requests per second / {FULL.requests_per_second:.4f} of a replica at "
        f"concurrency 32, rounded up = {replicas} replicas"
    )
    assert cost.on_demand.per_million_output_tokens.text.startswith(
        f"{6 * nodes} USD per hour / (2,000 tokens per second x 3600 s) x 1,000,000 = "
    )


def test_traffic_is_paid_by_its_way() -> None:
    """NAT takes a price for each GB, an interface one for hours too, a gateway none."""
    cost = image_traffic_cost(
        image_gb=10, weights_gb=30, node_starts_per_month=100, availability_zones=3
    )
    # 4,000 GB x 0.045; 0.01 x 730 x 3 + 4,000 x 0.01
    assert cost.nat_gateway.usd == pytest.approx(180)
    assert cost.interface_endpoint.usd == pytest.approx(61.9)
    assert cost.gateway_endpoint.usd == 0
    assert cost.nat_gateway.text == (
        "(10 GB + 30 GB) x 100 node starts x 0.045 USD = 180 USD per month"
    )
    assert cost.interface_endpoint.text == (
        "0.01 USD x 730 hours x 3 zones + (10 GB + 30 GB) x 100 node starts x "
        "0.01 USD = 61.9 USD per month"
    )


@given(
    gpus=st.integers(1, 4),
    replicas=st.integers(0, 1000),
    more=st.integers(0, 1000),
    ratio=st.floats(0.01, 1),
)
def test_peak_never_costs_less_than_rest(
    gpus: int, replicas: int, more: int, ratio: float
) -> None:
    """More replicas are not cheaper, and spot is not dearer than on demand."""
    cost = pool_cost(
        FOUR_GPUS,
        Prices(spot_ratio=ratio),
        gpus_per_replica=gpus,
        min_replicas=replicas,
        max_replicas=max(1, replicas + more),
    )
    assert cost.spot is not None
    for price in (cost.on_demand, cost.spot):
        assert price.at_peak.usd >= price.at_rest.usd >= 0
    assert cost.spot.at_peak.usd <= cost.on_demand.at_peak.usd


@given(requests=st.floats(1e-3, 1e4), factor=st.floats(1, 10))
def test_more_load_never_needs_fewer_replicas(requests: float, factor: float) -> None:
    """Replicas are enough for the load, and more load does not need fewer."""
    few, many = (
        token_cost(
            STEPS,
            FOUR_GPUS,
            Prices(),
            replace(LOAD, requests_per_second=rate),
            concurrency=32,
        )
        for rate in (requests, requests * factor)
    )
    assert few.replicas * FULL.requests_per_second >= requests * (1 - 1e-12)
    assert many.replicas >= few.replicas
    assert (
        few.on_demand.per_million_total_tokens.usd
        < few.on_demand.per_million_output_tokens.usd
    )


BAD_POOLS: BadInputs = [
    (
        {"prices": None, "instance": "g5.xlarge"},
        (
            "'prices' must be of class Prices, got None\n"
            "'instance' must be of class InstanceType, got 'g5.xlarge'"
        ),
    ),
    (
        {"instance": WITHOUT_PRICE},
        (
            "'prices' must have a price for p5e.48xlarge, got none; give one: "
            "Prices(usd_per_hour={'p5e.48xlarge': ...})"
        ),
    ),
    (
        {"gpus_per_replica": 5, "min_replicas": -1, "max_replicas": float("nan")},
        (
            "'gpus_per_replica' must be 1 to 4, got 5; a replica fits on one node, "
            "and g5.12xlarge has 4\n"
            "'min_replicas' must be 0 to 100000, got -1\n"
            "'max_replicas' must be a whole number, got nan"
        ),
    ),
    (
        {"min_replicas": 3, "max_replicas": 2},
        (
            "'max_replicas' must be at least 'min_replicas' (3), got 2; raise it or "
            "lower 'min_replicas'"
        ),
    ),
]


@bad_inputs(BAD_POOLS)
def test_pools_that_cannot_be_are_refused(
    changes: dict[str, object], message: str
) -> None:
    """An impossible pool is refused, with every problem named."""
    values: dict[str, object] = {
        "instance": FOUR_GPUS,
        "prices": Prices(),
        "gpus_per_replica": 1,
        "min_replicas": 1,
        "max_replicas": 2,
    }
    values |= changes
    assert refusal(lambda: pool_cost(**values)) == message  # type: ignore[arg-type]


BAD_TOKENS: BadInputs = [
    (
        {"model": None, "load": 5},
        (
            "'model' must be of class StepModel, got None\n"
            "'load' must be of class Load, got 5"
        ),
    ),
    (
        {
            "instance": replace(WITHOUT_PRICE, accelerator=Accelerator.H200),
            "concurrency": 0,
        },
        (
            "'prices' must have a price for p5e.48xlarge, got none; give one: "
            "Prices(usd_per_hour={'p5e.48xlarge': ...})\n"
            "'instance' must have the model's GPUs (a10g), got 'p5e.48xlarge'; "
            "take one with these GPUs\n"
            "'concurrency' must be 1 to 1000000, got 0"
        ),
    ),
]


@bad_inputs(BAD_TOKENS)
def test_tokens_that_cannot_be_are_refused(
    changes: dict[str, object], message: str
) -> None:
    """Tokens without a price or a model are refused, with every problem named."""
    values: dict[str, object] = {
        "model": STEPS,
        "instance": FOUR_GPUS,
        "prices": Prices(),
        "load": LOAD,
    }
    values |= changes
    assert refusal(lambda: token_cost(**values)) == message  # type: ignore[arg-type]


def test_loads_that_no_pool_can_serve_are_refused() -> None:
    """A load that needs more replicas than any pool has is a slip of the unit."""
    load = replace(LOAD, requests_per_second=1e9)
    assert refusal(lambda: token_cost(STEPS, FOUR_GPUS, Prices(), load)).endswith(
        "; no pool is that large; check 'requests_per_second'"
    )


def test_loads_that_cannot_be_are_refused() -> None:
    """Everything that is wrong with a load is named at once."""
    assert refusal(
        lambda: Load(
            requests_per_second=0,
            prompt_tokens=float("nan"),
            answer_tokens="200",  # type: ignore[arg-type]
        )
    ) == (
        "load: 'requests_per_second' must be 1e-06 to 1000000000.0, got 0; a pool "
        "without requests has no cost per token\n"
        "load: 'prompt_tokens' must be 1 to 100000000, got nan\n"
        "load: 'answer_tokens' must be a number, got '200'"
    )


def test_traffic_that_cannot_be_is_refused() -> None:
    """Everything that is wrong with traffic is named at once."""
    assert refusal(
        lambda: image_traffic_cost(
            image_gb=-1,
            weights_gb=float("inf"),
            node_starts_per_month=None,  # type: ignore[arg-type]
            availability_zones=0,
        )
    ) == (
        "'image_gb' must be 0 to 1000000000.0, got -1\n"
        "'weights_gb' must be 0 to 1000000000.0, got inf\n"
        "'node_starts_per_month' must be a number, got None\n"
        "'availability_zones' must be 1 to 6, got 0"
    )
