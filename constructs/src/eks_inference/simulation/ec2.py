"""EC2: what can be bought, and the instances that have been.

Sources: aws/karpenter-provider-aws@1d927085 (``pkg/providers/instance``, ``pkg/cache``)
and the EC2 User Guide.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Protocol

from eks_inference._check import Problems
from eks_inference.capacity import Capacity
from eks_inference.planning.instances import InstanceType, Prices
from eks_inference.simulation._records import LONGEST_SECONDS

UNAVAILABLE_SECONDS = 180.0
"""How long an offering without capacity is not tried. Source:
``UnavailableOfferingsTTL`` of pkg/cache/cache.go."""

BILLED_SECONDS = 60.0
"""Least time that an instance is billed for. Source: EC2 on-demand pricing (Linux, per
second, at least 60 s)."""

CAPACITY_TYPES = ("reserved", "spot", "on-demand")
"""Capacity types in Karpenter's order. Source: ``getCapacityType`` of
pkg/providers/instance/instance.go."""

_HOUR = 3600.0


class Tenant(Protocol):
    """A pod, as far as nodes are concerned."""

    @property
    def gpus(self) -> int:
        """GPUs that it needs, on one node."""

    @property
    def stopping(self) -> bool:
        """Whether it is being deleted."""

    def bound(self, node: "Node") -> None:
        """It has got its GPUs on a node."""

    def evict(self) -> None:
        """Its node is drained: it must end, with the grace that it has."""

    def lose(self) -> None:
        """Its node is gone."""


@dataclass(frozen=True, slots=True)
class Shortage:
    """A time in which EC2 has none of what is asked for.

    Args:
        capacity_type: ``reserved``, ``spot`` or ``on-demand``.
        start: When it begins, in seconds since the start.
        end: When it ends.
        instance: Name of the instance type that is short. Default: all are.

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.
    """

    capacity_type: str
    start: float
    end: float
    instance: str | None = None

    def __post_init__(self) -> None:
        with Problems("shortage") as problems:
            if problems.text("capacity_type", self.capacity_type):
                problems.one_of("capacity_type", self.capacity_type, CAPACITY_TYPES)
            most = LONGEST_SECONDS
            known = problems.number("start", self.start, minimum=0, maximum=most)
            known &= problems.number("end", self.end, minimum=0, maximum=most)
            if known and self.end < self.start:
                problems.broken(
                    f"'end' must be at least 'start' ({self.start})",
                    self.end,
                    "swap them",
                )
            if self.instance is not None:
                problems.text("instance", self.instance)

    def covers(self, instance: InstanceType, capacity_type: str, now: float) -> bool:
        """Say whether an offering has no capacity at a time.

        Args:
            instance: The instance type.
            capacity_type: How it is bought.
            now: Time in seconds.
        """
        return (
            capacity_type == self.capacity_type
            and self.instance in {None, instance.name}
            and self.start <= now < self.end
        )


@dataclass(slots=True, eq=False)
class Node:
    """An instance from its launch to its end; times in seconds since the start.

    Args:
        name: Its name.
        instance: Its type.
        capacity_type: How it has been bought.
        usd_per_hour: Its price, or None where there is none.
        launched_at: When it was launched.
        ready_at: When pods could use it, or None.
        ended_at: When it was gone, or None.
        end_reason: Why it ends: ``empty``, ``interrupted`` or ``not registered``.
        draining: Whether it takes no more pods.
        image_at: When the image is on it, or None while no pod has asked for it.
        last_pod_event: When a pod was last bound to it, began to stop, or ended.
        tenants: The pods on it.
    """

    name: str
    instance: InstanceType
    capacity_type: str
    usd_per_hour: float | None
    launched_at: float
    ready_at: float | None = None
    ended_at: float | None = None
    end_reason: str | None = None
    draining: bool = False
    image_at: float | None = None
    last_pod_event: float = 0.0
    tenants: list[Tenant] = field(default_factory=list)

    @property
    def free_gpus(self) -> int:
        """GPUs that no pod has."""
        return self.instance.gpus - sum(pod.gpus for pod in self.tenants)

    @property
    def takes_pods(self) -> bool:
        """Whether pods can be bound to it."""
        return self.ready_at is not None and not self.draining

    @property
    def idle(self) -> bool:
        """Whether no pod is on it that would have to go elsewhere."""
        return all(pod.stopping for pod in self.tenants)

    def billed_seconds(self, now: float) -> float:
        """Return what has been billed, in seconds.

        Args:
            now: Time in seconds; counts while the node is there.
        """
        end = now if self.ended_at is None else self.ended_at
        return max(BILLED_SECONDS, end - self.launched_at)

    def cost(self, now: float) -> float | None:
        """Return what it has cost in USD, or None where there is no price.

        Args:
            now: Time in seconds; counts while the node is there.
        """
        if self.usd_per_hour is None:
            return None
        return self.billed_seconds(now) / _HOUR * self.usd_per_hour


class Offers:
    """What EC2 can be asked for, and what it has just refused.

    Args:
        capacity: How instances may be bought.
        instances: Instance types to choose from.
        prices: What they cost; the cheapest is tried first.
        errors: Probability that there is none of a type, by capacity type.
        shortages: Times without capacity.
        random: What draws the failures.
    """

    def __init__(
        self,
        capacity: Capacity,
        *,
        instances: Sequence[InstanceType],
        prices: Prices,
        errors: Mapping[str, float],
        shortages: Sequence[Shortage],
        random: Random,
    ) -> None:
        self._prices = prices
        self._errors = errors
        self._shortages = shortages
        self._random = random
        self._refused: dict[tuple[str, str], float] = {}
        self._choices = [
            (capacity_type, sorted(instances, key=self._order))
            for capacity_type in CAPACITY_TYPES
            if capacity_type in capacity.types
        ]

    def _order(self, instance: InstanceType) -> tuple[bool, float, str]:
        price = self._prices.on_demand(instance)
        return price is None, price or 0.0, instance.name

    def price(self, instance: InstanceType, capacity_type: str) -> float | None:
        """Return a price in USD per hour, or None where there is none.

        Args:
            instance: The instance type.
            capacity_type: How it is bought.
        """
        # a capacity reservation is billed like what it reserves
        if capacity_type == "spot":
            return self._prices.spot(instance)
        return self._prices.on_demand(instance)

    def choose(self, now: float) -> tuple[InstanceType, str] | None:
        """Return the instance type and capacity type that EC2 launches, or None.

        One call asks for one capacity type, the first with an offering that has not
        just been refused, as Karpenter does: another one's turn comes with the next.

        Args:
            now: Time in seconds.
        """
        for capacity_type, instances in self._choices:
            known = [
                item
                for item in instances
                if self._refused.get((item.name, capacity_type), 0.0) <= now
            ]
            for item in known:
                if not self._refuses(item, capacity_type, now):
                    return item, capacity_type
                until = now + UNAVAILABLE_SECONDS
                self._refused[item.name, capacity_type] = until
            if known:
                return None
        return None

    def _refuses(self, item: InstanceType, capacity_type: str, now: float) -> bool:
        if any(short.covers(item, capacity_type, now) for short in self._shortages):
            return True
        share = self._errors.get(capacity_type, 0.0)
        return share > 0 and self._random.random() < share
