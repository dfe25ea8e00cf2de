"""A pod that serves a model, from its creation to its end.

Sources: Kubernetes documentation, "Pod Lifecycle" (phases, termination), and the
cold-start ledger. Not modelled: restarts of the container, the limit of its start-up
probe.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Protocol

from eks_inference.drain import Drain
from eks_inference.planning.cold_start_values import ColdStart
from eks_inference.simulation.distributions import LogNormal, phase_times
from eks_inference.simulation.ec2 import Node
from eks_inference.simulation.events import Event, EventQueue
from eks_inference.simulation.nodes import NodePool

SCHEDULE_SECONDS = 1.0
"""From the decision to a pod that the scheduler has seen: HPA, ReplicaSet and
scheduler. Assumed, as in the cold-start ledger, whose phase ``schedule`` has it."""

END_SECONDS = 5.0
"""What vLLM needs to end after its last answer: about 5 s on a real vLLM 0.32
(``TEARDOWN_SECONDS`` of ``eks_inference.drain`` leaves room)."""

STAGES = (
    "pending",
    "image",
    "process",
    "weights",
    "compile",
    "capture",
    "probe",
    "ready",
    "stopping",
    "ended",
)
"""What a pod goes through; it may leave out stages, and never goes back."""

_IN_THE_CONTAINER = ("process", "weights", "compile", "capture", "probe")


class Replica(Protocol):
    """What serves, as far as its pod is concerned."""

    def drain(self, done: Callable[[], None]) -> None:
        """Take no more requests, finish those in flight, then say so."""

    def kill(self) -> None:
        """End at once; what is in flight is lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PodSettings:
    """What all pods of a Deployment share; see ``Deployment`` for the meaning.

    Args:
        events: The run's engine.
        nodes: Where they run.
        gpus: GPUs of each.
        cold_starts: The ledger of each instance type.
        first_compile: Time of a compilation that fills the shared cache, or None.
        kernels: GPUs whose kernels that cache has, filled by the pods.
        drain: How a replica ends.
        random: What draws times.
        make_replica: Makes what serves.
        on_ready: Told when a pod enters the endpoints.
        on_gone: Told when it leaves them.
        changed: Told when a pod has entered another stage.
    """

    events: EventQueue
    nodes: NodePool
    gpus: int
    cold_starts: Mapping[str, ColdStart]
    first_compile: LogNormal | None
    kernels: set[str]
    drain: Drain
    random: Random
    make_replica: Callable[["ServingPod"], Replica]
    on_ready: Callable[["ServingPod"], None]
    on_gone: Callable[["ServingPod"], None]
    changed: Callable[[], None]


class ServingPod:
    """One pod of a Deployment; times in seconds since the start.

    Args:
        settings: What it shares with the others.
        name: Its name.
        lot: What stands for its random UID where the ReplicaSet compares those.
    """

    def __init__(self, settings: PodSettings, name: str, lot: float) -> None:
        self.name = name
        self.lot = lot
        self.node: Node | None = None
        """Its node, also when it has ended."""
        self.replica: Replica | None = None
        """What serves, once it has been ready."""
        self.stages = [(settings.events.now, "pending")]
        """Each of its ``STAGES`` and when it began."""
        self.deleted_at: float | None = None
        """When its deletion began, or None."""
        self.ready_at: float | None = None
        """When it became ready, or None."""
        self._settings = settings
        self._seconds: dict[str, float] = {}
        self._next: Event | None = None
        self._in_endpoints = False
        self._runs = False
        self._after(SCHEDULE_SECONDS, lambda: settings.nodes.submit(self))

    @property
    def gpus(self) -> int:
        """GPUs that it needs."""
        return self._settings.gpus

    @property
    def stage(self) -> str:
        """Where it is in its life, one of ``STAGES``."""
        return self.stages[-1][1]

    @property
    def created_at(self) -> float:
        """When it was created."""
        return self.stages[0][0]

    @property
    def started_at(self) -> float | None:
        """When it got its node, which is Kubernetes' start time, or None."""
        found = (time for time, stage in self.stages[1:] if stage != "ended")
        return next(found, None)

    @property
    def phase(self) -> str:
        """Its phase as Kubernetes has it: ``Pending`` until its container runs."""
        return "Pending" if self.stage in {"pending", "image"} else "Running"

    @property
    def ready(self) -> bool:
        """Whether it serves and stays."""
        return self.stage == "ready"

    @property
    def stopping(self) -> bool:
        """Whether it is being deleted, or is gone."""
        return self.deleted_at is not None

    def bound(self, node: Node) -> None:
        """Start on a node.

        Args:
            node: Where it has got its GPUs.
        """
        shared, now = self._settings, self._settings.events.now
        self.node = node
        self._seconds = phase_times(
            shared.cold_starts[node.instance.name], shared.random
        )
        if node.image_at is None:
            node.image_at = now + self._seconds.get("image", 0.0)
        if node.image_at > now:
            self._enter("image")
            self._after(node.image_at - now, lambda: self._start(_IN_THE_CONTAINER))
        else:
            self._start(_IN_THE_CONTAINER)

    def evict(self) -> None:
        """Be deleted since the node is drained."""
        self.delete()

    def lose(self) -> None:
        """End at once since the node is gone."""
        self._cancel()
        if self.deleted_at is None:
            self.deleted_at = self._settings.events.now
        self._leave_endpoints()
        self._kill()
        self._enter("ended")

    def delete(self) -> None:
        """Be deleted, with the grace that there is; harmless when it is under way."""
        if self.stopping:
            return
        shared = self._settings
        self._cancel()
        self.deleted_at = shared.events.now
        if self.node is None:
            shared.nodes.withdraw(self)
            self._enter("ended")
            return
        shared.nodes.stopping(self.node)
        if self.phase == "Pending":
            self._end()
            return
        self._enter("stopping")
        self._after(shared.drain.pre_stop_seconds, self._terminate)

    def _start(self, stages: tuple[str, ...]) -> None:
        """Go through what is left of the start."""
        shared = self._settings
        if not stages:
            self.ready_at = shared.events.now
            self.replica = shared.make_replica(self)
            self._in_endpoints = self._runs = True
            self._enter("ready")
            shared.on_ready(self)
            return
        stage, rest = stages[0], stages[1:]
        self._enter(stage)
        if stage == "compile" and shared.first_compile is not None:
            self._compile(shared.first_compile, rest)
        else:
            self._after(self._seconds.get(stage, 0.0), lambda: self._start(rest))

    def _compile(self, first: LogNormal, rest: tuple[str, ...]) -> None:
        """Compile what the shared cache lacks, and leave it there."""
        assert self.node is not None
        shared, gpu = self._settings, self.node.instance.accelerator.name
        seconds = self._seconds.get("compile", 0.0)
        if gpu not in shared.kernels:
            seconds = first.sample(shared.random)

        def done() -> None:
            shared.kernels.add(gpu)
            self._start(rest)

        self._after(seconds, done)

    def _terminate(self) -> None:
        """SIGTERM: the container ends, when vLLM has answered what it has."""
        if self.replica is None:
            self._after(END_SECONDS, self._end)
            return
        self._leave_endpoints()
        self._after(self._settings.drain.shutdown_timeout_seconds, self._abort)
        self.replica.drain(self._drained)

    def _drained(self) -> None:
        if self._runs:
            self._runs = False
            self._cancel()
            self._after(END_SECONDS, self._end)

    def _abort(self) -> None:
        """The shutdown timeout is over; the grace period, which is longer, is not."""
        self._kill()
        self._after(END_SECONDS, self._end)

    def _kill(self) -> None:
        if self.replica is not None and self._runs:
            self._runs = False
            self.replica.kill()

    def _end(self) -> None:
        assert self.node is not None
        self._enter("ended")
        self._settings.nodes.release(self, self.node)

    def _leave_endpoints(self) -> None:
        if self._in_endpoints:
            self._in_endpoints = False
            self._settings.on_gone(self)

    def _enter(self, stage: str) -> None:
        self.stages.append((self._settings.events.now, stage))
        self._settings.changed()

    def _after(self, seconds: float, action: Callable[[], None]) -> None:
        self._next = self._settings.events.after(seconds, action)

    def _cancel(self) -> None:
        if self._next is not None:
            self._next.cancel()
