"""How a replica ends: nothing in flight is lost, within the time that there is."""

from dataclasses import dataclass

from eks_inference._check import Problems

SPOT_GRACE_LIMIT_SECONDS = 110
"""Longest grace period on spot: EC2 gives 120 s of notice, of which some are gone
before the pod is told (EC2 spot interruption notices)."""

TEARDOWN_SECONDS = 10
"""What vLLM needs to end after its last answer: about 5 s on a real vLLM
0.32, once 7 s on 0.31 on a busy CPU (docs/e2e.md)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drain:
    """The phases between the decision to remove a replica and its end.

    vLLM stays ready while it drains and answers new requests with errors, so the pod
    first waits until it has left the Service's endpoints (``pre_stop_seconds``); then
    vLLM gets SIGTERM and finishes what it has (``shutdown_timeout_seconds``).

    Args:
        pre_stop_seconds: Wait before SIGTERM, in seconds. Default: 10.
        shutdown_timeout_seconds: Time for requests in flight, in seconds. vLLM's own
            default is 0, which cuts every stream. Default: 90, so that the whole
            fits the notice of a spot interruption.

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.

    Example:
        ```python
        Drain(shutdown_timeout_seconds=300)  # long answers, on demand only
        ```
    """

    pre_stop_seconds: int = 10
    shutdown_timeout_seconds: int = 90

    def __post_init__(self) -> None:
        with Problems("drain") as problems:
            problems.integer("pre_stop_seconds", self.pre_stop_seconds, minimum=1)
            problems.integer(
                "shutdown_timeout_seconds", self.shutdown_timeout_seconds, minimum=1
            )

    @property
    def grace_period_seconds(self) -> int:
        """What Kubernetes must allow before it kills the pod."""
        return self.pre_stop_seconds + self.shutdown_timeout_seconds + TEARDOWN_SECONDS
