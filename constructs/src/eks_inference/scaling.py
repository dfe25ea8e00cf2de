"""When a model gets more replicas and when it gets fewer."""

from collections.abc import Sequence
from dataclasses import dataclass

from eks_inference._check import Problems
from eks_inference.activation import Activation, ScheduleActivation
from eks_inference.scaling_formula import ScalingFormula

DEFAULT_WAITING_WEIGHT = 10
"""Weight of a waiting request in the guide's formula."""

DEFAULT_SHARE = 0.75
"""24 of 32 sequences, close to the guide's 25: room for what comes while more replicas
start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueScaling:
    """Scaling on the requests that run and wait, summed over a model's replicas.

    KEDA hands ``running + waiting * waiting_weight`` to the autoscaler, which asks for
    that number divided by the target, where the target is ``target_share`` of the
    model's ``max_num_seqs``, or takes another ``formula``. ``cooldown_seconds`` matters
    only for the step to zero; between other counts the behaviours below decide. The
    autoscaler looks every 15 s, which EKS does not let one change, whatever KEDA's
    polling interval is.

    Args:
        min_replicas: Fewest replicas. Zero needs an ``activation``: the metrics come
            from the pods, so without pods nothing would ever start one (a guardrail).
            Default: 1.
        max_replicas: Most replicas. Default: 10.
        waiting_weight: How much more a waiting request counts than a running one.
            Default: 10. Not with a ``formula``, which has its own.
        target_share: Share of ``max_num_seqs`` at which a replica counts as full.
            Must leave room below 1, where running requests stop growing.
            Default: 0.75. Not with a ``formula`` that has a target.
        scale_up_percent: Growth allowed in 15 s, in percent of the replicas.
            Default: 900.
        scale_up_pods: Growth allowed in 15 s, in replicas; the larger of both
            counts. Default: 9.
        scale_down_window_seconds: The autoscaler takes the highest need of this
            window before it removes a replica. Default: 300, and 600 with a signal
            that cannot tell an outage from an idle model.
        scale_down_period_seconds: At most one replica is removed in this time.
            Default: 120.
        cooldown_seconds: Quiet time before the step to zero, and before the first
            such step after creation. Must outlast a cold start, or a replica is
            removed before it has served. Default: what nine of ten cold starts of the
            model take, in whole minutes, and at least 300: to keep a replica for as
            long as the next start would take costs at most twice the best choice.
        formula: What is divided by the target. Default: running requests plus the
            weighted waiting ones.
        activation: What wakes a model that has no replica, or keeps more of them in a
            window; one or several. Default: nothing.

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.

    Example:
        ```python
        QueueScaling(min_replicas=2, max_replicas=20, target_share=0.6)
        ```
    """

    min_replicas: int = 1
    max_replicas: int = 10
    waiting_weight: int = DEFAULT_WAITING_WEIGHT
    target_share: float = DEFAULT_SHARE
    scale_up_percent: int = 900
    scale_up_pods: int = 9
    scale_down_window_seconds: int | None = None
    scale_down_period_seconds: int = 120
    cooldown_seconds: int | None = None
    formula: ScalingFormula | None = None
    activation: Activation | Sequence[Activation] | None = None

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
            if quiet is not None:
                problems.integer(
                    "scale_down_window_seconds", quiet, minimum=0, maximum=3_600
                )
            period = self.scale_down_period_seconds
            problems.integer(
                "scale_down_period_seconds", period, minimum=1, maximum=1_800
            )
            if self.cooldown_seconds is not None:
                problems.integer("cooldown_seconds", self.cooldown_seconds, minimum=0)
            problems.include(self._formula_problems())
            problems.include(self._activation_problems())

    @property
    def activations(self) -> tuple[Activation, ...]:
        """What wakes the model."""
        if self.activation is None:
            return ()
        if isinstance(self.activation, Activation):
            return (self.activation,)
        return tuple(self.activation)

    @property
    def needs(self) -> ScalingFormula:
        """What is divided by the target."""
        if self.formula is not None:
            return self.formula
        return ScalingFormula.queue(waiting_weight=self.waiting_weight)

    def _formula_problems(self) -> list[str]:
        problems = Problems()
        if self.formula is None or not problems.instance(
            "formula", self.formula, ScalingFormula
        ):
            return problems.messages
        if self.waiting_weight != DEFAULT_WAITING_WEIGHT:
            problems.broken(
                "'waiting_weight' must be left out with a 'formula'",
                self.waiting_weight,
                "write it into the formula",
            )
        if self.formula.target is not None and self.target_share != DEFAULT_SHARE:
            problems.broken(
                "'target_share' must be left out with a 'formula' that has a target",
                self.target_share,
                "change the formula's target",
            )
        if self.min_replicas == 0 or self.activation is not None:
            problems.add(
                "'formula' must be left out with an 'activation' or without replicas, "
                f"got {self.formula.expression!r}: KEDA would not see the other "
                "triggers; use 'waiting_weight' and 'target_share'"
            )
        return problems.messages

    def _activation_problems(self) -> list[str]:
        problems = Problems()
        given = self.activation
        if given is not None and not isinstance(given, list | tuple):
            problems.instance("activation", given, Activation)
        if problems.messages:
            return problems.messages
        kinds = []
        for item in self.activations:
            if not problems.instance("activation", item, Activation):
                continue
            kinds.append(type(item).__name__)
            if isinstance(item, ScheduleActivation):
                problems.integer(
                    "activation.replicas",
                    item.replicas,
                    maximum=self.max_replicas,
                    repair="lower it or raise 'max_replicas'",
                )
        problems.unique("activation", kinds, repair="one of each kind is enough")
        return problems.messages


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
