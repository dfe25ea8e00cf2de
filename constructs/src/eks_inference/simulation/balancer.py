"""What chooses a replica for a request, and keeps those that none is ready for."""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable

from eks_inference._check import Problems
from eks_inference.simulation.replica import Replica
from eks_inference.simulation.requests import Outcome, require_open


class Balancer(ABC):
    """The way of requests to the replicas that are ready.

    Without one, requests wait here, as at a gateway that holds them, or are refused,
    as by a Service that has no endpoints. The first that is ready gets all that wait,
    in the order of arrival.

    Args:
        on_refused: Called with a request that is refused because no replica is ready.
            Default: None, such requests wait.

    Raises:
        ConfigurationError: ``on_refused`` is neither a function nor None.
    """

    def __init__(self, on_refused: Callable[[Outcome], None] | None = None) -> None:
        if on_refused is not None and not callable(on_refused):
            with Problems() as problems:
                problems.broken("'on_refused' must be a function or None", on_refused)
        self._on_refused = on_refused
        self._replicas: list[Replica] = []
        self._waiting: deque[Outcome] = deque()

    @property
    def replicas(self) -> tuple[Replica, ...]:
        """Replicas that are ready, in the order in which they became so."""
        return tuple(self._replicas)

    @property
    def waiting(self) -> tuple[Outcome, ...]:
        """Requests that wait for a replica to become ready, in order of arrival."""
        return tuple(self._waiting)

    def add(self, replica: Replica) -> None:
        """Give requests to a replica, which has become ready.

        Args:
            replica: The replica.

        Raises:
            ConfigurationError: It is not a ``Replica``, was added already, or takes no
                requests.
        """
        with Problems() as problems:
            if problems.instance("replica", replica, Replica):
                if replica in self._replicas:
                    problems.broken("'replica' must not be added twice", replica.name)
                if not replica.accepting:
                    problems.broken(
                        "'replica' must take requests",
                        replica.name,
                        "it drains or was killed; add another one",
                    )
        self._replicas.append(replica)
        while self._waiting and self._replicas:
            self._send(self._waiting.popleft())

    def remove(self, replica: Replica) -> None:
        """Give no more requests to a replica; harmless where it gets none.

        Those that it has stay there. Remove it before it drains or is killed: it
        refuses what it gets from then on, as vLLM does.

        Args:
            replica: The replica.
        """
        if replica in self._replicas:
            self._forget(self._replicas.index(replica))

    def submit(self, outcome: Outcome) -> None:
        """Send a request to a replica, or keep or refuse it where none is ready.

        Args:
            outcome: What becomes of the request.

        Raises:
            ConfigurationError: It is not an ``Outcome``, or is finished or lost.
        """
        require_open(outcome)
        if self._replicas:
            self._send(outcome)
        elif self._on_refused:
            outcome.lost = "refused"
            self._on_refused(outcome)
        else:
            self._waiting.append(outcome)

    @abstractmethod
    def _choose(self) -> Replica:
        """Return one of the replicas, of which there is at least one."""

    def _forget(self, index: int) -> None:
        del self._replicas[index]

    def _send(self, outcome: Outcome) -> None:
        self._choose().submit(outcome)


class RoundRobin(Balancer):
    """Each replica in turn: what a Kubernetes Service comes to on average.

    With kube-proxy's iptables, EKS's default, a Service sends each connection to a
    replica at random; with ``ipvs`` and its scheduler ``rr`` in turn, from each node
    on its own (kubernetes.io, reference/networking/virtual-ips;
    kubernetes/kubernetes#64580). So shares are the same, but a real Service is less
    even from one moment to the next, and much less with connections that stay open.
    """

    _next = 0

    def _choose(self) -> Replica:
        self._next %= len(self._replicas)
        replica = self._replicas[self._next]
        self._next += 1
        return replica

    def _forget(self, index: int) -> None:
        super()._forget(index)
        # the turn stays with the same replica
        self._next -= index < self._next


class LeastOutstanding(Balancer):
    """The replica with the fewest requests that it has not answered.

    Of several, the one that became ready first. That is what gateways call least
    requests, with one gateway that sees all requests.
    """

    def _choose(self) -> Replica:
        return min(self._replicas, key=lambda replica: replica.outstanding)
