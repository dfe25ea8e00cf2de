"""What every policy is, what it sees, and when it acts."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from eks_inference._check import Problems
from eks_inference.simulation.balancer import Balancer
from eks_inference.simulation.events import EventQueue
from eks_inference.simulation.pods import Deployment
from eks_inference.simulation.scenario import Scenario
from eks_inference.simulation.trace import Trace


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What a policy can see and do.

    Args:
        events: The run's engine.
        deployment: What it scales.
        balancer: Requests that no replica has yet, and the replicas that are ready.
        scenario: What is deployed.
        trace: What will be asked; only perfect foresight looks at it.
        random: Chance, for the phases of clocks.
        begin: When the trace begins.
    """

    events: EventQueue
    deployment: Deployment
    balancer: Balancer
    scenario: Scenario
    trace: Trace
    random: Random
    begin: float


class ScalingPolicy(ABC):
    """How many replicas there are, and when.

    Args:
        name: Name for tables.
    """

    def __init__(self, name: str) -> None:
        with Problems() as problems:
            problems.text("name", name)
        self.name = name

    def at_rest(self, scenario: Scenario) -> int:
        """Return the replicas before the first request.

        Args:
            scenario: What is deployed.
        """
        return scenario.plan.scaling.min_replicas

    @abstractmethod
    def attach(self, world: World) -> None:
        """Begin to scale.

        Args:
            world: What the policy can see and do.
        """


class Scrapes:
    """What Prometheus last read of the replicas that are in the endpoints.

    Not modelled: a replica that drains is read until its pod is gone.

    Args:
        world: Where the replicas are.
        period_seconds: Time between two scrapes.
    """

    def __init__(self, world: World, period_seconds: float) -> None:
        self._world = world
        self._read: dict[str, tuple[int, int]] = {}
        phase = world.random.uniform(0, period_seconds)
        world.events.every(period_seconds, self._scrape, first=phase)

    def _scrape(self) -> None:
        # a target that is gone is stale at once
        self._read = {
            item.name: (item.running, item.waiting)
            for item in self._world.balancer.replicas
        }

    def total(self, running: float, waiting: float) -> float | None:
        """Return a weighted sum over the replicas, or None where there is no series.

        Args:
            running: Weight of running requests.
            waiting: Weight of waiting requests.
        """
        if not self._read:
            return None
        values = self._read.values()
        return math.fsum(running * r + waiting * w for r, w in values)


def repeat(world: World, period: float, action: Callable[[], None]) -> None:
    """Do something again and again, with a phase that chance decides."""
    world.events.every(period, action, first=world.random.uniform(0, period))
