"""When a model gets more replicas and when it gets fewer."""

from dataclasses import dataclass

from eks_inference._check import Problems
from eks_inference.activation import Activation


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueScaling:
    """Scaling on the requests that run and wait, summed over a model's replicas.

    KEDA hands ``running + waiting * waiting_weight`` to the autoscaler, which asks for
    that number divided by the target, where the target is ``target_share`` of the
    model's ``max_num_seqs``. ``cooldown_seconds`` matters only for the step to zero;
    between other counts the behaviours below decide. The autoscaler looks every 15 s,
    which EKS does not let one change, whatever KEDA's polling interval is.

    Args:
        min_replicas: Fewest replicas. Zero needs an ``activation``: the metrics come
            from the pods, so without pods nothing would ever start one (a guardrail).
            Default: 1.
        max_replicas: Most replicas. Default: 10.
        waiting_weight: How much more a waiting request counts than a running one.
            Default: 10.
        target_share: Share of ``max_num_seqs`` at which a replica counts as full.
            Must leave room below 1, where running requests stop growing.
            Default: 0.75.
        scale_up_percent: Growth allowed in 15 s, in percent of the replicas.
            Default: 900.
        scale_up_pods: Growth allowed in 15 s, in replicas; the larger of both
            counts. Default: 9.
        scale_down_window_seconds: The autoscaler takes the highest need of this
            window before it removes a replica. Default: 300.
        scale_down_period_seconds: At most one replica is removed in this time.
            Default: 120.
        cooldown_seconds: Quiet time before the step to zero, and before the first
            such step after creation. Must outlast a cold start, or a replica is
            removed before it has served. Default: 900.
        activation: What wakes a model that has no replica, or keeps more of them in a
            window. Default: nothing.

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.

    Example:
        ```python
        QueueScaling(min_replicas=2, max_replicas=20, target_share=0.6)
        ```
    """

    min_replicas: int = 1
    max_replicas: int = 10
    waiting_weight: int = 10
    target_share: float = 0.75
    scale_up_percent: int = 900
    scale_up_pods: int = 9
    scale_down_window_seconds: int = 300
    scale_down_period_seconds: int = 120
    cooldown_seconds: int = 900
    activation: Activation | None = None

    def __post_init__(self) -> None:
        with Problems("scaling") as problems:
            problems.include(
                scaling_problems(
                    min_replicas=self.min_replicas,
                    max_replicas=self.max_replicas,
                    waiting_weight=self.waiting_weight,
                    target_share=self.target_share,
                )
            )
            problems.integer("scale_up_percent", self.scale_up_percent, minimum=1)
            problems.integer("scale_up_pods", self.scale_up_pods, minimum=1)
            quiet = self.scale_down_window_seconds
            problems.integer(
                "scale_down_window_seconds", quiet, minimum=0, maximum=3_600
            )
            period = self.scale_down_period_seconds
            problems.integer(
                "scale_down_period_seconds", period, minimum=1, maximum=1_800
            )
            problems.integer("cooldown_seconds", self.cooldown_seconds, minimum=0)
            window = self.activation
            if window is not None and problems.instance(
                "activation", window, Activation
            ):
                problems.integer(
                    "activation.replicas",
                    window.replicas,
                    maximum=self.max_replicas,
                    repair="lower it or raise 'max_replicas'",
                )


def scaling_problems(
    *,
    min_replicas: object,
    max_replicas: object,
    waiting_weight: object,
    target_share: object,
) -> list[str]:
    """Return what is wrong with replica bounds and formula; see ``QueueScaling``."""
    problems = Problems()
    known_min = problems.integer("min_replicas", min_replicas, minimum=0)
    known_max = problems.integer("max_replicas", max_replicas, minimum=1, maximum=1_000)
    if known_min and known_max and int(str(max_replicas)) < int(str(min_replicas)):
        problems.add(
            f"'max_replicas' must be at least 'min_replicas' ({min_replicas}), "
            f"got {max_replicas}; raise it or lower 'min_replicas'"
        )
    problems.integer("waiting_weight", waiting_weight, minimum=1, maximum=1_000)
    problems.number("target_share", target_share, minimum=0.05, maximum=0.95)
    return problems.messages
