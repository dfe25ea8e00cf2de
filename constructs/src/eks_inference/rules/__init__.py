"""What would fail in production, refused before it is deployed.

Each rule looks at the objects that will be applied, after every patch, and so at what
really runs. Rules are plain Python: they need no CDK and no cluster.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Generic, TypeAlias, TypeVar

from eks_inference.checkpoint import Checkpoint
from eks_inference.manifests import Manifest
from eks_inference.planning.pool import GpuPool

PACKAGE = "eks_inference"
"""First part of every rule's id."""


class Severity(StrEnum):
    """What happens when a rule is broken."""

    ERROR = "error"
    """The synthesis fails."""
    WARNING = "warning"
    """The synthesis warns; a warning can be acknowledged by its id."""
    OFF = "off"
    """Nothing, except that the switch itself is reported."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolFacts:
    """A pool as it will be applied.

    Args:
        path: Path of the construct.
        pool: The pool as a value.
        manifests: Its objects by kind.
        needs: GPUs of a replica and most replicas of each model, by the model's path.
    """

    path: str
    pool: GpuPool
    manifests: Mapping[str, Manifest]
    needs: dict[str, tuple[int, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """A model as it will be applied.

    Args:
        path: Path of the construct.
        name: Name of the model.
        has_activation: Whether something outside the pods wakes the model.
        sees_outage: Whether its metric source answers with an error when it is gone.
        cold_start_seconds: What nine of ten cold starts take, as planned.
        pool: The pool that it runs on.
        checkpoint: What its weights are the weights of, if that is known.
        vllm_version: Release of vLLM.
        manifests: Its objects by kind.
    """

    path: str
    name: str
    has_activation: bool
    sees_outage: bool
    cold_start_seconds: float
    pool: PoolFacts
    checkpoint: Checkpoint | None
    vllm_version: str
    manifests: Mapping[str, Manifest]

    @property
    def pod(self) -> Manifest:
        """The specification of its pods."""
        spec: Manifest = self.manifests["Deployment"]["spec"]["template"]["spec"]
        return spec

    @property
    def container(self) -> Manifest:
        """The container that serves."""
        container: Manifest = self.pod["containers"][0]
        return container

    @property
    def scaling(self) -> Manifest:
        """The specification of its autoscaler."""
        spec: Manifest = self.manifests["ScaledObject"]["spec"]
        return spec

    @property
    def triggers(self) -> Sequence[Manifest]:
        """What its autoscaler reads."""
        triggers: Sequence[Manifest] = self.scaling.get("triggers", ())
        return triggers

    @property
    def environment(self) -> Mapping[str, str]:
        """Variables of the container that have their value in the manifest."""
        return {
            item["name"]: item["value"]
            for item in self.container.get("env", ())
            if "value" in item
        }

    @property
    def min_replicas(self) -> int:
        """Fewest replicas; KEDA's default is none."""
        return int(self.scaling.get("minReplicaCount", 0))

    def argument(self, name: str) -> str | None:
        """Return the value of one of vLLM's flags, or None where it is not given."""
        for index, text in enumerate(self.container.get("args", ())):
            if text == name:
                return str(self.container["args"][index + 1])
            if text.startswith(f"{name}="):
                return str(text.removeprefix(f"{name}="))
        return None


Facts = TypeVar("Facts", PoolFacts, ModelFacts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule(Generic[Facts]):
    """One rule.

    Args:
        name: Last part of its id.
        severity: What happens when it is broken, unless an app says otherwise.
        statement: What must hold.
        reason: What happens where it does not.
        check: Returns a message for each place where the rule is broken.
    """

    name: str
    severity: Severity
    statement: str
    reason: str
    check: Callable[[Facts], Iterator[str]]

    @property
    def id(self) -> str:
        """Stable id, by which a warning is acknowledged and a severity switched."""
        return f"{PACKAGE}:{self.name}"


Check: TypeAlias = Callable[[Facts], Iterator[str]]
"""Yields a message for each place where a rule is broken; its docstring is the rule."""


def rule(
    rules: list[Rule[Facts]], name: str, severity: Severity, reason: str
) -> Callable[[Check[Facts]], Check[Facts]]:
    """Return a decorator that makes a rule of a check.

    Args:
        rules: List that gets the rule.
        name: Last part of the rule's id.
        severity: What happens when it is broken, unless an app says otherwise.
        reason: What happens where it does not hold.
    """

    def add(check: Check[Facts]) -> Check[Facts]:
        rules.append(
            Rule(
                name=name,
                severity=severity,
                statement=" ".join(str(check.__doc__).split()),
                reason=reason,
                check=check,
            )
        )
        return check

    return add
