"""What the tests of runs share: a small plan, its scenario, and short traces."""

from functools import cache
from typing import Any

from eks_inference import Accelerator, Capacity, QueueScaling
from eks_inference.planning import CHECKPOINTS, make_plan
from eks_inference.planning.plan import Plan
from eks_inference.simulation.generators import profile
from eks_inference.simulation.requests import Request
from eks_inference.simulation.scenario import Scenario
from eks_inference.simulation.trace import Trace

MAX_MODEL_LEN = 8192


@cache
def plan(*, spot: bool = False, **scaling: Any) -> Plan:
    """Return Mistral 7B AWQ on L4, on one to four replicas if nothing else is said."""
    capacity = Capacity.spot_with_fallback() if spot else Capacity.on_demand()
    return make_plan(
        CHECKPOINTS["mistral-7b-awq"],
        accelerators=[Accelerator.L4],
        capacity=capacity,
        max_model_len=MAX_MODEL_LEN,
        scaling=QueueScaling(**{"min_replicas": 1, "max_replicas": 4, **scaling}),
    )


def scenario(*, spot: bool = False, scaling: Any = None, **values: Any) -> Scenario:
    """Return the plan's scenario, with other values where some are given."""
    return Scenario(plan=plan(spot=spot, **(scaling or {})), **values)


def trace(*rates: tuple[float, float], seed: int = 0) -> Trace:
    """Return requests at rates that change straight from one point to the next."""
    return profile(rates, seed=seed, name="test").clipped(MAX_MODEL_LEN)


def requests(*items: tuple[float, int, int], duration: float = 60) -> Trace:
    """Return a trace of times, prompt tokens and answer tokens."""
    return Trace(
        name="test",
        requests=tuple(Request(*item) for item in items),
        duration=duration,
        source="test",
    )
