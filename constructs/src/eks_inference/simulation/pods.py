"""A Deployment: as many pods as are asked for, replaced when they go.

Sources: kubernetes/kubernetes ``pkg/controller/replicaset/replica_set.go`` and
``pkg/controller/controller_utils.go`` (``ActivePodsWithRanks``). Not modelled:
roll-outs, and the creation of pods in batches that grow.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from random import Random

from eks_inference._check import Problems
from eks_inference.drain import Drain
from eks_inference.planning.cold_start_values import ColdStart
from eks_inference.simulation.distributions import LogNormal
from eks_inference.simulation.ec2 import Node
from eks_inference.simulation.events import EventQueue
from eks_inference.simulation.nodes import NodePool
from eks_inference.simulation.serving_pod import PodSettings, Replica, ServingPod

_MOST_REPLICAS = 100_000
"""Assumed to be a mistake when exceeded."""


@dataclass(frozen=True, slots=True)
class Sample:
    """How many there are from a time on.

    Args:
        time: Time in seconds since the start.
        desired: Replicas asked for.
        pending: Pods without a node.
        starting: Pods that start on one.
        ready: Pods that serve.
        draining: Pods that are being deleted.
        nodes: Nodes of the pool that are there or are coming up.
    """

    time: float
    desired: int
    pending: int
    starting: int
    ready: int
    draining: int
    nodes: int


class Deployment:
    """A model's replicas: as many pods as are asked for, replaced when they go.

    Args:
        events: The run's engine.
        nodes: Where the pods run. Pods of one pool share one image.
        name: Name of the Deployment.
        gpus: GPUs of a replica.
        cold_starts: The ledger of each instance type that ``nodes`` may launch. Its
            phases ``detect``, ``schedule`` and ``node`` are left to what causes them,
            and ``image`` counts on a node without the image only: placeholders of
            ``nodes`` pull it ahead.
        random: What draws times.
        make_replica: Makes what serves when a pod becomes ready.
        on_ready: Told when a pod enters the endpoints, with its ``replica``.
        on_gone: Told when it leaves them: when its preStop hook is over, or when its
            node is gone.
        first_compile: How long compiling takes where a shared cache does not have
            the kernels of a GPU yet; a start that finds them takes the ledger's time.
            Default: no shared cache, each start takes the ledger's time.
        drain: How a replica ends. Default: ``Drain()``.

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.
    """

    def __init__(
        self,
        events: EventQueue,
        nodes: NodePool,
        *,
        name: str,
        gpus: int,
        cold_starts: Mapping[str, ColdStart],
        random: Random,
        make_replica: Callable[[ServingPod], Replica],
        on_ready: Callable[[ServingPod], None],
        on_gone: Callable[[ServingPod], None],
        first_compile: LogNormal | None = None,
        drain: Drain | None = None,
    ) -> None:
        drain = Drain() if drain is None else drain
        with Problems("deployment") as problems:
            problems.instance("events", events, EventQueue)
            problems.dns_label("name", name)
            problems.instance("random", random, Random)
            problems.instance("drain", drain, Drain)
            if first_compile is not None:
                problems.instance("first_compile", first_compile, LogNormal)
            for argument, value in (
                ("make_replica", make_replica),
                ("on_ready", on_ready),
                ("on_gone", on_gone),
            ):
                if not callable(value):
                    problems.broken(f"'{argument}' must be a function", value)
            if problems.instance("nodes", nodes, NodePool):
                most = nodes.pool.gpus_per_node
                problems.integer(
                    "gpus",
                    gpus,
                    minimum=1,
                    maximum=most,
                    repair="a replica never spans two nodes",
                )
                _check_cold_starts(problems, cold_starts, nodes)
        self.name = name
        self.desired = 0
        """Replicas asked for: the Deployment's ``spec.replicas``."""
        self.history: list[ServingPod] = []
        """Every pod that there has been, in the order of creation."""
        self.samples: list[Sample] = []
        """How many pods and nodes there were, whenever that changed."""
        self._pods: list[ServingPod] = []
        self._settings = PodSettings(
            events=events,
            nodes=nodes,
            gpus=gpus,
            cold_starts=cold_starts,
            first_compile=first_compile,
            kernels=set(),
            drain=drain,
            random=random,
            make_replica=make_replica,
            on_ready=on_ready,
            on_gone=on_gone,
            changed=self._changed,
        )
        nodes.prefetch(self._pull)
        nodes.watch(self._record)
        self._record()

    @property
    def pods(self) -> tuple[ServingPod, ...]:
        """The pods that have not ended, in the order of creation."""
        return tuple(self._pods)

    @property
    def replicas(self) -> int:
        """Pods that are not being deleted: ``status.replicas``, which counts so."""
        return sum(not pod.stopping for pod in self._pods)

    @property
    def ready_replicas(self) -> int:
        """Pods that serve: ``status.readyReplicas``."""
        return sum(pod.ready for pod in self._pods)

    def scale(self, replicas: int) -> None:
        """Set how many replicas there should be.

        Args:
            replicas: Their number; 0 removes all.

        Raises:
            ConfigurationError: It is no number of replicas.
        """
        with Problems(f"deployment {self.name!r}") as problems:
            problems.integer("replicas", replicas, minimum=0, maximum=_MOST_REPLICAS)
        self.desired = replicas
        self._reconcile()

    def _pull(self, node: Node) -> float:
        """Return how long a placeholder takes to pull the image onto its node."""
        shared = self._settings
        phases = shared.cold_starts[node.instance.name].phases
        return sum(
            LogNormal.from_phase(phase).sample(shared.random)
            for phase in phases
            if phase.name == "image"
        )

    def _reconcile(self) -> None:
        active = [pod for pod in self._pods if not pod.stopping]
        for _ in range(self.desired - len(active)):
            name = f"{self.name}-{len(self.history)}"
            pod = ServingPod(self._settings, name, self._settings.random.random())
            self.history.append(pod)
            self._pods.append(pod)
        for pod in self._first_to_go(active)[: max(0, len(active) - self.desired)]:
            pod.delete()
        self._record()

    def _first_to_go(self, pods: list[ServingPod]) -> list[ServingPod]:
        """Return pods in the ReplicaSet's order of deletion.

        Without a node, then not running, then not ready, then with more of its own
        kind on the node, then ready for less time, then younger. Times are compared
        by their order of magnitude in base 2, and what is equal by UID.
        """
        now = self._settings.events.now
        together = Counter(pod.node for pod in pods)

        def magnitude(since: float) -> int:
            nanoseconds = (now - since) * 1e9
            return math.floor(math.log2(nanoseconds)) if nanoseconds >= 1 else -1

        def key(pod: ServingPod) -> tuple[bool, bool, bool, int, int, float]:
            since = pod.ready_at if pod.ready_at is not None else pod.created_at
            return (
                pod.node is not None,
                pod.phase == "Running",
                pod.ready,
                -together[pod.node],
                magnitude(since),
                pod.lot,
            )

        return sorted(pods, key=key)

    def _changed(self) -> None:
        self._pods = [pod for pod in self._pods if pod.stage != "ended"]
        if self.replicas < self.desired:
            self._settings.events.after(0, self._reconcile)
        self._record()

    def _record(self) -> None:
        stages = [pod.stage for pod in self._pods]
        pending, ready = stages.count("pending"), stages.count("ready")
        draining = stages.count("stopping")
        sample = Sample(
            time=self._settings.events.now,
            desired=self.desired,
            pending=pending,
            starting=len(stages) - pending - ready - draining,
            ready=ready,
            draining=draining,
            nodes=len(self._settings.nodes.live),
        )
        if self.samples and self.samples[-1].time == sample.time:
            self.samples.pop()
        if not self.samples or replace(self.samples[-1], time=sample.time) != sample:
            self.samples.append(sample)


def _check_cold_starts(problems: Problems, starts: object, nodes: NodePool) -> None:
    if not isinstance(starts, Mapping):
        problems.broken(
            "'cold_starts' must be a mapping of instance types to cold starts",
            starts,
            "for example {'g5.xlarge': cold_start(...)}",
        )
        return
    for item in nodes.instances:
        if item.name not in starts:
            problems.broken(
                f"'cold_starts' must have {item.name}, which the pool may launch",
                sorted(map(str, starts)),
                "add it",
            )
        else:
            problems.instance(
                f"cold_starts[{item.name!r}]", starts[item.name], ColdStart
            )
