"""What a pool, its tokens and its traffic cost, with the arithmetic written out.

Not in it: EKS itself, EBS volumes, the load balancer, nodes that are idle between two
requests, and taxes. A node is paid from its launch to its end, also while it starts.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from eks_inference._check import Problems
from eks_inference.planning.instances import InstanceType, Prices
from eks_inference.planning.pool import gpus_needed
from eks_inference.planning.step_time import StepModel
from eks_inference.planning.throughput import Throughput, steady_throughput

Price = TypeVar("Price")

NAT_USD_PER_GB = 0.045
"""What a NAT gateway takes for each GB, in either direction, us-east-1. AWS VPC pricing
(aws.amazon.com/vpc/pricing, read 2026-09-20 as api-evangelist/amazon-vpc,
plans/amazon-vpc-plans-pricing.yml has it). Its hourly price is left out: it is there
for other traffic, too."""

INTERFACE_USD_PER_HOUR = 0.01
"""What an interface endpoint costs in each zone, us-east-1. AWS PrivateLink pricing, as
factualminds.com/blog/amazon-vpc-pricing-endpoints-peering-transit-gateway has it,
2026-06."""

INTERFACE_USD_PER_GB = 0.01
"""What an interface endpoint takes for each GB of the first PB in a month (AWS
PrivateLink pricing, aws.amazon.com/privatelink/pricing, read 2026-11)."""

HOURS_PER_MONTH = 730
"""Hours of a month, as AWS's pricing calculator counts them (8,760 / 12)."""

_SECONDS_PER_HOUR = 3600

_MOST_REPLICAS = 100_000

_MOST = 1e9


@dataclass(frozen=True, slots=True)
class Cost:
    """An amount of money.

    Args:
        usd: The amount, in US dollars.
        text: The arithmetic that leads to it.
    """

    usd: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolPrice:
    """What the nodes of a model cost, bought in one way.

    Args:
        per_gpu_hour: One GPU for an hour.
        at_rest: An hour with the fewest replicas.
        at_peak: An hour with the most replicas.
    """

    per_gpu_hour: Cost
    at_rest: Cost
    at_peak: Cost


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolCost:
    """What the nodes of a model cost.

    Args:
        on_demand: At the on-demand price.
        spot: At the spot price, or None where no ratio was given.
    """

    on_demand: PoolPrice
    spot: PoolPrice | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Requests that arrive all the time.

    Args:
        requests_per_second: Requests in a second, on average.
        prompt_tokens: Tokens of a prompt, on average.
        answer_tokens: Tokens of an answer, on average.

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.
    """

    requests_per_second: float
    prompt_tokens: float
    answer_tokens: float

    def __post_init__(self) -> None:
        with Problems("load") as problems:
            problems.number(
                "requests_per_second",
                self.requests_per_second,
                minimum=1e-6,
                maximum=_MOST,
                repair="a pool without requests has no cost per token",
            )
            for name in ("prompt_tokens", "answer_tokens"):
                problems.number(
                    name, getattr(self, name), minimum=1, maximum=100_000_000
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenPrice:
    """What tokens cost at a load, with nodes bought in one way.

    Args:
        per_hour: An hour of the nodes that the load needs.
        per_million_output_tokens: A million tokens of answers; prompts are free.
        per_million_total_tokens: A million tokens of prompts and answers.
    """

    per_hour: Cost
    per_million_output_tokens: Cost
    per_million_total_tokens: Cost


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenCost:
    """What tokens cost at a load.

    Args:
        replicas: Replicas that the load needs.
        replicas_text: The arithmetic that leads to them.
        full: What a replica does at the concurrency that the plan allows it.
        on_demand: At the on-demand price.
        spot: At the spot price, or None where no ratio was given.
    """

    replicas: int
    replicas_text: str
    full: Throughput
    on_demand: TokenPrice
    spot: TokenPrice | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficCost:
    """What loading images and weights costs in a month, by the way they take.

    Args:
        nat_gateway: Through a NAT gateway.
        interface_endpoint: Through an interface endpoint.
        gateway_endpoint: Through an S3 gateway endpoint, which costs nothing.
            Layers of images in ECR come from S3 and take it, too.
    """

    nat_gateway: Cost
    interface_endpoint: Cost
    gateway_endpoint: Cost


def pool_cost(
    instance: InstanceType,
    prices: Prices,
    *,
    gpus_per_replica: int,
    min_replicas: int,
    max_replicas: int,
) -> PoolCost:
    """Return what the nodes of one model cost for an hour, at rest and at peak.

    Args:
        instance: The nodes.
        prices: What they cost.
        gpus_per_replica: GPUs of a replica, which never spans two nodes.
        min_replicas: Replicas at rest.
        max_replicas: Replicas at peak.

    Raises:
        ConfigurationError: A value breaks a rule, or there is no price.
    """
    with Problems() as problems:
        _check_nodes(problems, instance, prices, gpus_per_replica)
        least = problems.integer(
            "min_replicas", min_replicas, minimum=0, maximum=_MOST_REPLICAS
        )
        if (
            problems.integer(
                "max_replicas", max_replicas, minimum=1, maximum=_MOST_REPLICAS
            )
            and least
            and max_replicas < min_replicas
        ):
            problems.broken(
                f"'max_replicas' must be at least 'min_replicas' ({min_replicas})",
                max_replicas,
                "raise it or lower 'min_replicas'",
            )

    def priced(usd: float, how: str) -> PoolPrice:
        def hour(replicas: int) -> Cost:
            return _hour(instance, usd, how, replicas, gpus_per_replica)

        return PoolPrice(
            per_gpu_hour=Cost(
                usd / instance.gpus,
                f"{_number(usd)} USD for {instance.name} {how} / "
                f"{_count(instance.gpus, 'GPU')} "
                f"= {_number(usd / instance.gpus)} USD per GPU and hour",
            ),
            at_rest=hour(min_replicas),
            at_peak=hour(max_replicas),
        )

    on_demand, spot = _bought(instance, prices, priced)
    return PoolCost(on_demand=on_demand, spot=spot)


def token_cost(
    model: StepModel,
    instance: InstanceType,
    prices: Prices,
    load: Load,
    *,
    concurrency: int = 256,
    max_num_batched_tokens: int = 2048,
) -> TokenCost:
    """Return what a million tokens cost at a load, and the replicas that it needs.

    Replicas are those that the load fills when each runs at ``concurrency`` all the
    time. Real load is not even: a lower concurrency leaves room for that.

    Args:
        model: Time of a replica's steps; a replica has its ``tensor_parallel`` GPUs.
        instance: The nodes.
        prices: What they cost.
        load: What is asked of the model.
        concurrency: Requests in flight on a replica. Default: 256, ``max_num_seqs`` of
            vLLM's server on GPUs below 70 GiB and on the A100.
        max_num_batched_tokens: Tokens that a step has room for. Default: 2048, see
            ``steady_throughput``.

    Raises:
        ConfigurationError: A value breaks a rule, or there is no price.
    """
    full = _full_replica(
        model, instance, prices, load, concurrency, max_num_batched_tokens
    )
    replicas = math.ceil(load.requests_per_second / full.requests_per_second)
    with Problems() as problems:
        problems.integer(
            "replicas",
            replicas,
            maximum=_MOST_REPLICAS,
            repair="no pool is that large; check 'requests_per_second'",
        )

    def priced(usd: float, how: str) -> TokenPrice:
        per_hour = _hour(instance, usd, how, replicas, model.tensor_parallel)
        output = load.requests_per_second * load.answer_tokens
        total = output + load.requests_per_second * load.prompt_tokens
        return TokenPrice(
            per_hour=per_hour,
            per_million_output_tokens=_per_million(per_hour, output, "output"),
            per_million_total_tokens=_per_million(per_hour, total, "total"),
        )

    on_demand, spot = _bought(instance, prices, priced)
    return TokenCost(
        replicas=replicas,
        replicas_text=f"{_number(load.requests_per_second)} requests per second / "
        f"{_number(full.requests_per_second)} of a replica at concurrency "
        f"{concurrency}, rounded up = {_count(replicas, 'replica')}",
        full=full,
        on_demand=on_demand,
        spot=spot,
    )


def image_traffic_cost(
    *,
    image_gb: float,
    weights_gb: float,
    node_starts_per_month: float,
    availability_zones: int,
) -> TrafficCost:
    """Return what loading images and weights costs in a month, us-east-1.

    Args:
        image_gb: Compressed size of the image, in GB (10^9 bytes), or 0 where nodes
            have it when they start.
        weights_gb: Size of the weights, in GB (10^9 bytes).
        node_starts_per_month: Nodes that start in a month; each loads both once.
        availability_zones: Zones of the VPC that have nodes: an interface endpoint is
            paid in each.

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.
    """
    with Problems() as problems:
        for name, value in (
            ("image_gb", image_gb),
            ("weights_gb", weights_gb),
            ("node_starts_per_month", node_starts_per_month),
        ):
            problems.number(name, value, minimum=0, maximum=_MOST)
        problems.integer("availability_zones", availability_zones, minimum=1, maximum=6)
    gb = (image_gb + weights_gb) * node_starts_per_month
    traffic = (
        f"({_number(image_gb)} GB + {_number(weights_gb)} GB) x "
        f"{_number(node_starts_per_month)} node starts"
    )
    nat = gb * NAT_USD_PER_GB
    standing = INTERFACE_USD_PER_HOUR * HOURS_PER_MONTH * availability_zones
    interface = standing + gb * INTERFACE_USD_PER_GB
    return TrafficCost(
        nat_gateway=Cost(
            nat, f"{traffic} x {NAT_USD_PER_GB} USD = {_number(nat)} USD per month"
        ),
        interface_endpoint=Cost(
            interface,
            f"{INTERFACE_USD_PER_HOUR} USD x {HOURS_PER_MONTH} hours x "
            f"{_count(availability_zones, 'zone')} + {traffic} x "
            f"{INTERFACE_USD_PER_GB} USD = {_number(interface)} USD per month",
        ),
        gateway_endpoint=Cost(0.0, f"{traffic} x 0 USD = 0 USD per month"),
    )


def _full_replica(  # noqa: PLR0917 - those of its only caller
    model: StepModel,
    instance: InstanceType,
    prices: Prices,
    load: Load,
    concurrency: int,
    max_num_batched_tokens: int,
) -> Throughput:
    """Check all arguments of ``token_cost``, and return what a full replica does."""
    full = None
    with Problems() as problems:
        known = problems.instance("model", model, StepModel)
        gpus = model.tensor_parallel if known else 1
        _check_nodes(problems, instance, prices, gpus, name="tensor_parallel")
        if (
            known
            and isinstance(instance, InstanceType)
            and instance.accelerator is not model.accelerator
        ):
            problems.broken(
                "'instance' must have the model's GPUs "
                f"({model.accelerator.name.lower()})",
                instance.name,
                "take one with these GPUs",
            )
        if problems.instance("load", load, Load) and known:
            full = problems.attempt(
                lambda: steady_throughput(
                    model,
                    prompt_tokens=load.prompt_tokens,
                    answer_tokens=load.answer_tokens,
                    concurrency=concurrency,
                    max_num_batched_tokens=max_num_batched_tokens,
                )
            )
    # otherwise there was a problem
    assert full is not None
    return full


def _check_nodes(
    problems: Problems,
    instance: object,
    prices: object,
    gpus_per_replica: object,
    name: str = "gpus_per_replica",
) -> None:
    problems.instance("prices", prices, Prices)
    problems.instance("instance", instance, InstanceType)
    if not isinstance(instance, InstanceType):
        return
    problems.integer(
        name,
        gpus_per_replica,
        minimum=1,
        maximum=instance.gpus,
        repair=f"a replica fits on one node, and {instance.name} has {instance.gpus}",
    )
    if isinstance(prices, Prices) and prices.on_demand(instance) is None:
        problems.add(
            f"'prices' must have a price for {instance.name}, got none; give one: "
            f"Prices(usd_per_hour={{{instance.name!r}: ...}})"
        )


def _bought(
    instance: InstanceType, prices: Prices, priced: Callable[[float, str], Price]
) -> tuple[Price, Price | None]:
    """Return what on-demand nodes cost, and spot ones where their price is known."""
    on_demand, spot = prices.on_demand(instance), prices.spot(instance)
    # no price at all was refused with the other problems
    assert on_demand is not None
    return (
        priced(on_demand, "on demand"),
        None if spot is None else priced(spot, "as spot"),
    )


def _hour(
    instance: InstanceType, usd: float, how: str, replicas: int, gpus: int
) -> Cost:
    needed = gpus_needed([(gpus, replicas)], gpus_per_node=instance.gpus)
    nodes = needed // instance.gpus
    total = nodes * usd
    return Cost(
        total,
        f"{_count(replicas, 'replica')} of {_count(gpus, 'GPU')} on "
        f"{_count(nodes, 'node')} x {_number(usd)} USD ({instance.name} {how}) "
        f"= {_number(total)} USD per hour",
    )


def _per_million(per_hour: Cost, tokens_per_second: float, kind: str) -> Cost:
    usd = per_hour.usd / (tokens_per_second * _SECONDS_PER_HOUR) * 1e6
    return Cost(
        usd,
        f"{_number(per_hour.usd)} USD per hour / ({_number(tokens_per_second)} tokens "
        f"per second x {_SECONDS_PER_HOUR} s) x 1,000,000 = {_number(usd)} USD per "
        f"million {kind} tokens",
    )


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" + ("" if number == 1 else "s")


def _number(value: float) -> str:
    """Write a number to a hundredth of a cent, or to four digits where it is less."""
    if 0 < value < 1:
        return f"{value:.4g}"
    return f"{value:,.4f}".rstrip("0").rstrip(".")
