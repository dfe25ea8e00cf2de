"""What the placeholders of a pool hold, known when all its models are defined."""

from collections.abc import Callable

import jsii
from aws_cdk import IStableAnyProducer, Lazy
from constructs import Construct, IDependable

from eks_inference._check import Problems
from eks_inference._cluster import AnyCluster, apply
from eks_inference.guardrails import Report
from eks_inference.manifests import Manifest
from eks_inference.manifests.headroom import (
    LEAST_CPU,
    LEAST_MEMORY,
    PAUSE_IMAGE,
    headroom,
    placeholder_containers,
)
from eks_inference.rules import PoolFacts
from eks_inference.rules.quantity import cpus, gib


def headroom_problems(namespace: object, image: object) -> list[str]:
    """Return what is wrong with the arguments of a pool for its headroom."""
    problems = Problems()
    problems.dns_label("headroom_namespace", namespace)
    if image is not None:
        problems.text("headroom_image", image)
    return problems.messages


def define_headroom(
    scope: Construct,
    id: str,
    *,
    cluster: AnyCluster,
    facts: PoolFacts,
    report: Report,
    namespace: str,
    image: str | None,
    after: IDependable,
) -> None:
    """Define the placeholders of a pool, which are deleted before it.

    Args:
        scope: Owner.
        id: Construct id.
        cluster: Cluster of the pool.
        facts: The pool.
        report: What the app has defined; read when the app is synthesized.
        namespace: Namespace of the placeholders.
        image: Image that holds the nodes instead of those of the pool's models.
        after: What applies the pool.
    """
    held = Lazy.any(_Containers(facts, report, image))
    manifests = headroom(facts.pool, namespace=namespace, containers=held)
    apply(scope, id, cluster=cluster, manifests=manifests, after=[after])


@jsii.implements(IStableAnyProducer)
class _Containers:
    def __init__(self, facts: PoolFacts, report: Report, image: str | None) -> None:
        self._facts = facts
        self._report = report
        self._image = image

    def produce(self) -> list[Manifest]:
        serving = [
            model.container
            for model in self._report.models
            if model.pool is self._facts
        ]
        own = list(dict.fromkeys(container["image"] for container in serving))
        return placeholder_containers(
            self._facts.pool,
            images=[self._image] if self._image else own or [PAUSE_IMAGE],
            cpu=_largest(serving, "cpu", LEAST_CPU, by=cpus),
            memory=_largest(serving, "memory", LEAST_MEMORY, by=gib),
            sleeps=bool(own) and not self._image,
        )


def _largest(
    serving: list[Manifest],
    key: str,
    least: str,
    *,
    by: Callable[[str], float | None],
) -> str:
    asked = (item.get("resources", {}).get("requests", {}) for item in serving)
    given = [least, *(str(item[key]) for item in asked if key in item)]
    return max(given, key=lambda text: by(text) or 0.0)
