"""Karpenter: the nodes of a pool, when they come and when they go.

Sources: kubernetes-sigs/karpenter@22664681 ``pkg/controllers`` (provisioning,
disruption, nodeclaim) and aws/karpenter-provider-aws@1d927085
``pkg/controllers/interruption``.

Not modelled: zones, so that an offering is a capacity type and an instance type, and an
interruption says nothing about others; EC2's choice among instance types, which are
tried cheapest first; disruption budgets and PodDisruptionBudgets; drift and expiry; the
race in which an empty node is removed that has just got a pod (karpenter#3185); the
second or so in which a placeholder is evicted.
"""

from collections.abc import Callable, Mapping, Sequence
from random import Random

from eks_inference._check import Problems
from eks_inference.planning.instances import InstanceType, Prices, instances_with
from eks_inference.planning.pool import GpuPool
from eks_inference.simulation._records import LONGEST_SECONDS, records
from eks_inference.simulation.distributions import LogNormal
from eks_inference.simulation.ec2 import (
    CAPACITY_TYPES,
    Node,
    Offers,
    Shortage,
    Tenant,
)
from eks_inference.simulation.events import Event, EventQueue

BATCH_IDLE_SECONDS = 1.0
"""Karpenter launches when no further pod has come for this long. Source:
``BATCH_IDLE_DURATION`` of its settings."""

BATCH_MAX_SECONDS = 10.0
"""It launches this long after the first pod at the latest. Source:
``BATCH_MAX_DURATION`` of its settings."""

RETRY_SECONDS = 10.0
"""How often a pod that is still pending asks again. Source: ``RequeueAfter`` of
provisioning/controller.go. Pods that wait together are taken to ask together."""

REGISTRATION_SECONDS = 900.0
"""A node that has not come up by then is given up. Source:
nodeclaim/lifecycle/liveness.go."""

DISRUPTION_SECONDS = 10.0
"""Time between two looks for empty nodes. Source: ``pollingPeriod`` of
disruption/controller.go; that the first one is at the start is assumed."""

VALIDATION_SECONDS = 15.0
"""An empty node must be empty still after this. Source: ``consolidationTTL`` of
disruption/consolidation.go."""

SPOT_NOTICE_SECONDS = 120.0
"""Time from the notice to the end of a spot instance. Source: EC2 User Guide, spot
instance interruption notices."""

_HOUR = 3600.0

_MOST_NODES = 100_000
"""Assumed to be a mistake when exceeded."""


class NodePool:
    """A pool of GPU nodes, as Karpenter runs it.

    Args:
        events: The run's engine.
        pool: What may be launched, and how long an empty node stays.
        launch: Time from the decision to a node that pods can use: the ledger's
            phase ``node``.
        random: What draws times and failures.
        instances: Instance types to choose from, as a model's sizing has them.
            Default: all with the pool's GPUs.
        prices: What they cost, which decides their order too. Default: the table's
            on-demand prices, and none for spot.
        errors: Probability that EC2 has no capacity of an instance type, by capacity
            type, drawn at each attempt. Default: none fails; how often this happens
            has not been measured.
        shortages: Times without capacity. Default: none.
        headroom: Spare nodes beyond the pool's own ``headroom_nodes``. Each is held by
            a placeholder, which yields to any pod. Default: 0.
        interruptions_per_hour: Rate at which one spot node is interrupted. Default:
            0; AWS publishes monthly frequencies by instance type only.

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.
    """

    def __init__(
        self,
        events: EventQueue,
        pool: GpuPool,
        *,
        launch: LogNormal,
        random: Random,
        instances: Sequence[InstanceType] | None = None,
        prices: Prices | None = None,
        errors: Mapping[str, float] | None = None,
        shortages: Sequence[Shortage] = (),
        headroom: int = 0,
        interruptions_per_hour: float = 0.0,
    ) -> None:
        prices = Prices() if prices is None else prices
        errors = {} if errors is None else errors
        with Problems("node pool") as problems:
            problems.instance("events", events, EventQueue)
            problems.instance("launch", launch, LogNormal)
            problems.instance("random", random, Random)
            problems.instance("prices", prices, Prices)
            problems.integer("headroom", headroom, minimum=0, maximum=_MOST_NODES)
            rate = interruptions_per_hour
            problems.number("interruptions_per_hour", rate, minimum=0, maximum=_HOUR)
            if problems.instance("pool", pool, GpuPool):
                chosen = instances
                if chosen is None:
                    chosen = instances_with(pool.accelerators, gpus=pool.gpus_per_node)
                _check_instances(problems, chosen, pool)
            _check_errors(problems, errors)
            shortages = records(problems, "shortages", shortages, Shortage)
        assert chosen is not None
        self.pool = pool
        self.instances = tuple(chosen)
        """Instance types to choose from."""
        self.nodes: list[Node] = []
        """Every node that there has been, in the order of launch."""
        self._events = events
        self._launch_time = launch
        self._random = random
        self._offers = Offers(
            pool.capacity,
            instances=self.instances,
            prices=prices,
            errors=errors,
            shortages=shortages,
            random=random,
        )
        self._headroom = headroom + pool.headroom_nodes
        self._held: list[Node] = []
        self._pull: Callable[[Node], float] | None = None
        self._rate = interruptions_per_hour / _HOUR
        self._live: list[Node] = []
        self._pending: list[Tenant] = []
        self._watchers: list[Callable[[], None]] = []
        self._batch: Event | None = None
        self._batch_opened = 0.0
        self._retry: Event | None = None
        events.after(0, self._disrupt)
        events.after(0, self._keep_headroom)

    @property
    def live(self) -> tuple[Node, ...]:
        """The nodes that are there or are coming up."""
        return tuple(self._live)

    def watch(self, changed: Callable[[], None]) -> None:
        """Have a function called whenever a node comes or goes.

        Args:
            changed: The function.
        """
        self._watchers.append(changed)

    def prefetch(self, pull: Callable[[Node], float]) -> None:
        """Have placeholders pull the image of the pods onto their nodes.

        Args:
            pull: Returns how many seconds that takes on a node.
        """
        self._pull = pull

    def billed_seconds(self) -> float:
        """Return the node-seconds billed up to now."""
        return sum(node.billed_seconds(self._events.now) for node in self.nodes)

    def cost(self) -> float | None:
        """Return what the nodes have cost up to now in USD, or None without prices."""
        total = 0.0
        for node in self.nodes:
            cost = node.cost(self._events.now)
            if cost is None:
                return None
            total += cost
        return total

    def submit(self, pod: Tenant) -> None:
        """Bind a pod to a node with room, now or when there is one.

        Args:
            pod: What needs GPUs.

        Raises:
            ConfigurationError: No node of the pool has room for it.
        """
        with Problems("pod") as problems:
            most = self.pool.gpus_per_node
            problems.integer("gpus", pod.gpus, minimum=1, maximum=most)
        self._pending.append(pod)
        self._schedule()
        if pod in self._pending:
            self._trigger()

    def withdraw(self, pod: Tenant) -> None:
        """Forget a pod that may be waiting.

        Args:
            pod: What was submitted.
        """
        if pod in self._pending:
            self._pending.remove(pod)

    def stopping(self, node: Node) -> None:
        """Note that a pod has begun to stop, which starts the node's wait anew.

        Args:
            node: Where it is.
        """
        node.last_pod_event = self._events.now

    def release(self, pod: Tenant, node: Node) -> None:
        """Take back the GPUs of a pod that has ended.

        Args:
            pod: What has ended.
            node: Where it was.
        """
        node.tenants.remove(pod)
        node.last_pod_event = self._events.now
        if node.draining and not node.tenants:
            self._end(node)
        self._schedule()

    def interrupt(self, node: Node) -> None:
        """Give the two-minute notice: the node drains, and is gone when it has.

        Args:
            node: What EC2 wants back; harmless where it has ended.

        Raises:
            ConfigurationError: It is no node.
        """
        with Problems("interruption") as problems:
            problems.instance("node", node, Node)
        if node.ended_at is not None or node.end_reason == "interrupted":
            return
        self._events.after(SPOT_NOTICE_SECONDS, lambda: self._end(node))
        self._drain(node, "interrupted")

    def _schedule(self) -> None:
        """Bind pods, the emptiest node first, as kube-scheduler's default scores do.

        A placeholder is evicted only where there is no room without that.
        """
        bound = False
        for pod in tuple(self._pending):
            rooms = [n for n in self._live if n.takes_pods and n.free_gpus >= pod.gpus]
            if rooms:
                node = max(rooms, key=self._preference)
                if node in self._held:
                    self._held.remove(node)
                self._pending.remove(pod)
                node.tenants.append(pod)
                node.last_pod_event = self._events.now
                pod.bound(node)
                bound = True
        self._hold()
        if bound:
            self._keep_headroom()

    def _preference(self, node: Node) -> tuple[bool, int, bool]:
        return node not in self._held, node.free_gpus, node.image_at is not None

    def _hold(self) -> None:
        """Bind placeholders to nodes without a pod; each pulls the image to its own."""
        for node in self._live:
            if len(self._held) >= self._headroom:
                return
            if node.takes_pods and not node.tenants and node not in self._held:
                self._held.append(node)
                if node.image_at is None and self._pull is not None:
                    node.image_at = self._events.now + self._pull(node)

    def _keep_headroom(self) -> None:
        """What holds the place asks for another node when its own has gone."""
        if self._headroom:
            self._trigger()

    def _trigger(self) -> None:
        """Open the batch, or hold it open; what stays pending asks again later."""
        now = self._events.now
        if self._retry is None:
            self._retry = self._events.after(RETRY_SECONDS, self._again)
        if self._batch is None:
            self._batch_opened = now
        else:
            self._batch.cancel()
        close = min(now + BATCH_IDLE_SECONDS, self._batch_opened + BATCH_MAX_SECONDS)
        self._batch = self._events.at(close, self._provision)

    def _provision(self) -> None:
        self._batch = None
        used = len(self._live) * self.pool.gpus_per_node
        room = (self.pool.max_gpus - used) // self.pool.gpus_per_node
        for _ in range(min(room, self._missing())):
            # launches are parallel: what failed for one has failed for the others
            if not self._launch():
                break

    def _missing(self) -> int:
        """Return the nodes that pods and headroom lack, largest pods placed first."""
        size = self.pool.gpus_per_node
        rooms = [node.free_gpus for node in self._live if not node.draining]
        before = len(rooms)
        for gpus in sorted((pod.gpus for pod in self._pending), reverse=True):
            fits = (index for index, room in enumerate(rooms) if room >= gpus)
            index = next(fits, len(rooms))
            if index == len(rooms):
                rooms.append(size)
            rooms[index] -= gpus
        spare = rooms.count(size)
        return len(rooms) - before + max(0, self._headroom - spare)

    def _again(self) -> None:
        self._retry = None
        if self._missing() or self._pending:
            self._trigger()

    def _launch(self) -> bool:
        now = self._events.now
        offer = self._offers.choose(now)
        if offer is None:
            return False
        instance, capacity_type = offer
        price = self._offers.price(instance, capacity_type)
        name = f"{self.pool.name}-{len(self.nodes)}"
        node = Node(name, instance, capacity_type, price, now)
        self.nodes.append(node)
        self._live.append(node)
        seconds = self._launch_time.sample(self._random)
        if seconds < REGISTRATION_SECONDS:
            self._events.after(seconds, lambda: self._ready(node))
        else:
            self._events.after(
                REGISTRATION_SECONDS, lambda: self._drain(node, "not registered")
            )
        if capacity_type == "spot" and self._rate:
            delay = self._random.expovariate(self._rate)
            self._events.after(
                min(delay, LONGEST_SECONDS), lambda: self.interrupt(node)
            )
        self._changed()
        return True

    def _ready(self, node: Node) -> None:
        if node.ended_at is None:
            node.ready_at = node.last_pod_event = self._events.now
            self._schedule()
            self._changed()

    def _drain(self, node: Node, reason: str) -> None:
        if node.ended_at is not None:
            return
        node.draining = True
        node.end_reason = reason
        if node in self._held:
            self._held.remove(node)
        for pod in tuple(node.tenants):
            pod.evict()
        if not node.tenants:
            self._end(node)
        self._keep_headroom()

    def _end(self, node: Node) -> None:
        if node.ended_at is not None:
            return
        node.ended_at = self._events.now
        self._live.remove(node)
        lost, node.tenants = node.tenants, []
        for pod in lost:
            pod.lose()
        self._keep_headroom()
        self._changed()

    def _changed(self) -> None:
        for changed in self._watchers:
            changed()

    def _empty(self) -> list[Node]:
        """Return the nodes that have been empty for long enough.

        A node with a placeholder is not empty: that is what keeps it.
        """
        after = self.pool.consolidate_after_seconds
        now = self._events.now
        return [
            node
            for node in self._live
            if node.takes_pods
            and node.idle
            and node not in self._held
            and node.last_pod_event + after <= now
        ]

    def _disrupt(self) -> None:
        candidates = self._empty()
        if candidates:
            self._events.after(VALIDATION_SECONDS, lambda: self._remove(candidates))
        else:
            self._events.after(DISRUPTION_SECONDS, self._disrupt)

    def _remove(self, candidates: Sequence[Node]) -> None:
        still = [node for node in self._empty() if node in candidates]
        for node in still:
            self._drain(node, "empty")
        self._events.after(0 if still else DISRUPTION_SECONDS, self._disrupt)


def _check_instances(problems: Problems, instances: object, pool: GpuPool) -> None:
    if not problems.sequence("instances", instances):
        return
    assert isinstance(instances, list | tuple)
    problems.not_empty("instances", instances, repair="name one that the model fits")
    for item in instances:
        if problems.instance("instances", item, InstanceType) and (
            item.gpus != pool.gpus_per_node or item.accelerator not in pool.accelerators
        ):
            problems.broken(
                f"'instances' must have the pool's GPUs, {pool.gpus_per_node} of "
                f"{', '.join(one.name.lower() for one in pool.accelerators)}",
                item.name,
                "leave it out",
            )


def _check_errors(problems: Problems, errors: object) -> None:
    if not isinstance(errors, Mapping):
        problems.broken(
            "'errors' must be a mapping of capacity types to probabilities",
            errors,
            "for example {'spot': 0.2}",
        )
        return
    for key, value in errors.items():
        problems.one_of("errors", key, CAPACITY_TYPES)
        problems.number(f"errors[{key!r}]", value, minimum=0, maximum=1)
