"""What a run has shown."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from eks_inference._check import Problems
from eks_inference.simulation.ec2 import Node
from eks_inference.simulation.pods import Sample
from eks_inference.simulation.requests import Outcome
from eks_inference.simulation.serving_pod import ServingPod

_SECONDS_PER_HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class QueueSample:
    """The queue at a time.

    Args:
        time: Time in seconds.
        running: Requests that replicas process.
        waiting: Requests that wait in replicas.
        unsent: Requests that wait for a replica.
        kv_usage: Share of the KV cache in use, on average over the replicas.
    """

    time: float
    running: int
    waiting: int
    unsent: int
    kv_usage: float


def percentile(values: Iterable[float], share: float) -> float | None:
    """Return the value below which a share of them lies, or None if there is none.

    The smallest value with at least that share at or below it (nearest rank).

    Args:
        values: Values in any order.
        share: Share, above 0 and at most 1.

    Raises:
        ConfigurationError: It is no such share.
    """
    with Problems() as problems:
        problems.number("share", share, minimum=1e-9, maximum=1)
    ordered = sorted(values)
    if not ordered:
        return None
    # 0.07 * 100 is a little more than 7
    rank = math.ceil(share * len(ordered) - 1e-9)
    return ordered[max(0, rank - 1)]


@dataclass(frozen=True, kw_only=True)
class Result:
    """What happened in a run; times in seconds since its start, warm-up included.

    Args:
        policy: What scaled it.
        trace: What was asked.
        seed: Seed of all chance.
        begin: When the trace began.
        end: When it ended.
        outcomes: What became of each request.
        replicas: How many pods and nodes there were, whenever that changed.
        queue: The queue, every five seconds.
        pods: Every pod.
        nodes: Every node.
        now: When the run ended.
    """

    policy: str
    trace: str
    seed: int
    begin: float
    end: float
    outcomes: Sequence[Outcome]
    replicas: Sequence[Sample]
    queue: Sequence[QueueSample]
    pods: Sequence[ServingPod]
    nodes: Sequence[Node]
    now: float

    @cached_property
    def finished(self) -> tuple[Outcome, ...]:
        """Requests that got their whole answer."""
        return tuple(item for item in self.outcomes if item.finished is not None)

    @property
    def lost(self) -> dict[str, int]:
        """Requests without an answer, by reason."""
        found: dict[str, int] = {}
        for item in self.outcomes:
            if item.lost is not None:
                found[item.lost] = found.get(item.lost, 0) + 1
        return found

    def first_token(self, share: float) -> float | None:
        """Return a percentile of the time to the first token, in seconds.

        Args:
            share: Share, such as 0.9.
        """
        return percentile(_known(i.time_to_first_token for i in self.finished), share)

    def per_token(self, share: float) -> float | None:
        """Return a percentile of the time per output token, in seconds.

        Args:
            share: Share, such as 0.9.
        """
        return percentile(_known(i.time_per_output_token for i in self.finished), share)

    def latency(self, share: float) -> float | None:
        """Return a percentile of the time to the last token, in seconds.

        Args:
            share: Share, such as 0.9.
        """
        return percentile(_known(i.latency for i in self.finished), share)

    def late(self, seconds: float) -> float:
        """Return the share of requests without a first token in time, lost ones too.

        Args:
            seconds: Time that a first token may take.
        """
        in_time = sum(
            1
            for item in self.finished
            if item.time_to_first_token is not None
            and item.time_to_first_token <= seconds
        )
        return 1 - in_time / len(self.outcomes) if self.outcomes else 0.0

    @property
    def most_replicas(self) -> int:
        """Most replicas that served at once."""
        return max((item.ready for item in self._during), default=0)

    @property
    def mean_replicas(self) -> float:
        """Replicas that served, on average over the trace."""
        samples = self._during
        times = [max(self.begin, item.time) for item in samples] + [self.end]
        area = math.fsum(
            item.ready * (times[index + 1] - times[index])
            for index, item in enumerate(samples)
        )
        return area / (self.end - self.begin) if self.end > self.begin else 0.0

    @property
    def gpu_hours(self) -> float:
        """GPUs of the nodes times the hours that they are paid for in the trace."""
        return math.fsum(
            node.instance.gpus * self._seconds(node) / _SECONDS_PER_HOUR
            for node in self.nodes
        )

    @property
    def usd(self) -> float | None:
        """What the nodes cost in the trace, or None where a price is not known."""
        total = 0.0
        for node in self.nodes:
            price = node.usd_per_hour
            if price is None:
                return None
            total += price * self._seconds(node) / _SECONDS_PER_HOUR
        return total

    @property
    def cold_starts(self) -> tuple[float, ...]:
        """Seconds from creation to readiness of the pods that the trace has asked for.

        Without those that the run did not see ready.
        """
        return tuple(
            pod.ready_at - pod.created_at
            for pod in self.pods
            if pod.ready_at is not None and self.begin <= pod.created_at < self.end
        )

    @property
    def _during(self) -> list[Sample]:
        """The samples of the trace, with what there was when it began."""
        before = [item for item in self.replicas if item.time <= self.begin]
        inside = [i for i in self.replicas if self.begin < i.time < self.end]
        return [*before[-1:], *inside]

    def _seconds(self, node: Node) -> float:
        """Return how long a node is paid for within the trace."""
        ended = self.now if node.ended_at is None else node.ended_at
        return max(0.0, min(ended, self.end) - max(node.launched_at, self.begin))


def _known(values: Iterable[float | None]) -> Iterable[float]:
    return (value for value in values if value is not None)
