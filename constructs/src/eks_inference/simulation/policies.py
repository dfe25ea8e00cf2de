"""Ways to scale a model, ours and those that it is compared with."""

from collections import Counter
from collections.abc import Mapping

from eks_inference._check import Problems
from eks_inference.simulation._foresight import Foresight
from eks_inference.simulation._policy import ScalingPolicy, Scrapes, World, repeat
from eks_inference.simulation.hpa import Pod, cpu_flags
from eks_inference.simulation.hpa_controller import (
    SYNC_PERIOD_SECONDS,
    HorizontalPodAutoscaler,
    Observation,
)
from eks_inference.simulation.hpa_spec import (
    Behavior,
    CpuUtilization,
    Policy,
    ScalingRules,
)
from eks_inference.simulation.keda import Keda
from eks_inference.simulation.keda_spec import ScaledObject, ScalingModifiers, Trigger
from eks_inference.simulation.kpa import TICK_SECONDS, Kpa, KpaSpec
from eks_inference.simulation.scenario import (
    Scenario,
    read_scaled_object,
    weights_of,
)
from eks_inference.simulation.serving_pod import ServingPod

__all__ = [
    "ConcurrencyScaling",
    "CpuScaling",
    "Fixed",
    "Foresight",
    "KedaScaling",
    "ScalingPolicy",
    "Scrapes",
    "World",
    "guide",
    "guide_as_written",
    "keda_defaults",
]

_CPU_WINDOW_SECONDS = 15
"""Resolution of metrics-server as its manifest sets it (``--metric-resolution=15s``,
kubernetes-sigs/metrics-server at 5ed5d3a)."""

_IDLE_CPUS, _BUSY_CPUS = 0.1, 1.2
"""CPUs of a replica without and with work. Assumed: one core runs the engine's loop
whatever the queue, and the API server some of another."""


class Fixed(ScalingPolicy):
    """Always the same number of replicas.

    Args:
        replicas: Their number.

    Raises:
        ConfigurationError: It is no number of replicas.
    """

    def __init__(self, replicas: int) -> None:
        super().__init__(f"fixed {replicas}")
        with Problems("fixed") as problems:
            problems.integer("replicas", replicas, minimum=1, maximum=1_000)
        self._replicas = replicas

    def at_rest(self, scenario: Scenario) -> int:  # noqa: ARG002 - the number is known
        """Return the number.

        Args:
            scenario: What is deployed.
        """
        return self._replicas

    def attach(self, world: World) -> None:
        """Do nothing more.

        Args:
            world: What the policy can see and do.
        """


class KedaScaling(ScalingPolicy):
    """KEDA and the HPA on the queue that Prometheus reads.

    Args:
        name: Name for tables.
        scaled_object: What KEDA is told. Default: the ScaledObject that the scenario's
            manifests have.
        reads: Weights of running and waiting requests in each trigger's query.
            Default: those of that ScaledObject.
        scrape_seconds: Time between two scrapes. Default: that of the scenario.
        empty: What a query gives while no replica is scraped. Default: None, an error,
            as with ``ignoreNullValues: "false"``, which the manifests have. KEDA's own
            default is 0.

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.
    """

    def __init__(
        self,
        name: str = "queue",
        *,
        scaled_object: ScaledObject | None = None,
        reads: Mapping[str, tuple[float, float]] | None = None,
        scrape_seconds: float | None = None,
        empty: float | None = None,
    ) -> None:
        super().__init__(name)
        with Problems("queue scaling") as problems:
            if scaled_object is not None:
                problems.instance("scaled_object", scaled_object, ScaledObject)
            if reads is not None:
                problems.instance("reads", reads, Mapping)
            if scrape_seconds is not None:
                problems.number(
                    "scrape_seconds", scrape_seconds, minimum=0.1, maximum=3_600
                )
            if empty is not None:
                problems.number("empty", empty, minimum=0, maximum=1_000_000)
        self._given, self._reads, self._period = scaled_object, reads, scrape_seconds
        self._empty = empty

    def at_rest(self, scenario: Scenario) -> int:
        """Return the fewest replicas of the ScaledObject.

        Args:
            scenario: What is deployed.
        """
        return self.scaled_object(scenario).min_replica_count

    def attach(self, world: World) -> None:
        """Poll as KEDA does, and decide as the HPA does.

        Args:
            world: What the policy can see and do.
        """
        scaled = self.scaled_object(world.scenario)
        reads = self._reads or weights_of(world.scenario.scaled_object)
        period = self._period or world.scenario.signal.scrape_interval_seconds
        scrapes = Scrapes(world, period)
        keda, hpa = Keda(scaled), scaled.autoscaler()
        deployment, events = world.deployment, world.events

        def values() -> dict[str, float | None]:
            found = {name: scrapes.total(*weights) for name, weights in reads.items()}
            empty = self._empty
            # the query of a model that may sleep: zero without pods, and an error
            # where there are some that do not answer
            if scaled.min_replica_count == 0 and not any(
                pod.phase == "Running" for pod in deployment.pods
            ):
                empty = 0.0
            return {n: empty if value is None else value for n, value in found.items()}

        def poll() -> None:
            wanted = keda.poll(events.now, values(), replicas=deployment.desired)
            if wanted != deployment.desired:
                deployment.scale(wanted)

        def sync() -> None:
            if deployment.desired == 0:
                return
            ready = deployment.ready_replicas
            seen = Observation(
                replicas=deployment.desired,
                status_replicas=deployment.replicas,
                ready_pods=ready if deployment.pods else None,
                external=keda.metric(
                    values(), replicas=deployment.desired, ready_pods=ready
                ),
            )
            wanted = hpa.sync(events.now, seen)
            if wanted != deployment.desired:
                deployment.scale(wanted)

        repeat(world, scaled.polling_interval_seconds, poll)
        repeat(world, SYNC_PERIOD_SECONDS, sync)

    def scaled_object(self, scenario: Scenario) -> ScaledObject:
        """Return what KEDA is told.

        Args:
            scenario: What is deployed.
        """
        return self._given or read_scaled_object(scenario.scaled_object)


class CpuScaling(ScalingPolicy):
    """The HPA on CPU utilisation, without a ``behavior``.

    Args:
        target_percent: Share of its CPU request that a replica should use, in per
            cent. Default: 80.
        request_cpus: CPUs that a replica requests. Default: those of the plan.
        idle_cpus: CPUs of a replica without work. Default: 0.1, assumed.
        busy_cpus: CPUs of a replica with work, and of one that starts. Default: 1.2,
            assumed.

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.
    """

    def __init__(
        self,
        *,
        target_percent: int = 80,
        request_cpus: float | None = None,
        idle_cpus: float = _IDLE_CPUS,
        busy_cpus: float = _BUSY_CPUS,
    ) -> None:
        with Problems("CPU scaling") as problems:
            problems.integer("target_percent", target_percent, minimum=1, maximum=1_000)
            if request_cpus is not None:
                problems.number("request_cpus", request_cpus, minimum=0.01, maximum=999)
            if problems.number("idle_cpus", idle_cpus, minimum=0, maximum=999):
                problems.number(
                    "busy_cpus",
                    busy_cpus,
                    minimum=idle_cpus,
                    maximum=999,
                    repair="at least 'idle_cpus'",
                )
        of = "" if request_cpus is None else f" of {request_cpus:g} cores"
        super().__init__(f"CPU {target_percent} %{of}")
        self._target, self._request = target_percent, request_cpus
        self._idle, self._busy = idle_cpus, busy_cpus

    def at_rest(self, scenario: Scenario) -> int:
        """Return the fewest replicas, at least one: this HPA does not know zero.

        Args:
            scenario: What is deployed.
        """
        return max(1, scenario.plan.scaling.min_replicas)

    def attach(self, world: World) -> None:
        """Sample as metrics-server does, and decide as the HPA does.

        Args:
            world: What the policy can see and do.
        """
        plan, deployment, events = world.scenario.plan, world.deployment, world.events
        request = self._request or plan.serving.sizing.cpu
        hpa = HorizontalPodAutoscaler(
            min_replicas=self.at_rest(world.scenario),
            max_replicas=plan.scaling.max_replicas,
            metrics=[CpuUtilization(target_pct=self._target)],
        )
        working: Counter[str] = Counter()
        samples: dict[str, tuple[float, int]] = {}

        def count() -> None:
            working.update(r.name for r in world.balancer.replicas if r.running)

        def sample() -> None:
            samples.clear()
            for pod in deployment.pods:
                if pod.phase == "Running":
                    share = working[pod.name] / _CPU_WINDOW_SECONDS if pod.ready else 1
                    cpus = self._idle + (self._busy - self._idle) * min(1, share)
                    samples[pod.name] = events.now, round(cpus * 1000)
            working.clear()

        def sync() -> None:
            seen = Observation(
                replicas=deployment.desired,
                status_replicas=deployment.replicas,
                ready_pods=deployment.ready_replicas,
                pods=[
                    cpu_pod(pod, samples.get(pod.name), request, events.now)
                    for pod in deployment.pods
                ],
            )
            wanted = hpa.sync(events.now, seen)
            if wanted != deployment.desired:
                deployment.scale(wanted)

        repeat(world, 1.0, count)
        repeat(world, _CPU_WINDOW_SECONDS, sample)
        repeat(world, SYNC_PERIOD_SECONDS, sync)


def cpu_pod(
    pod: ServingPod, sample: tuple[float, int] | None, request: float, now: float
) -> Pod:
    """Return what the HPA knows of a pod, whose sample counts by its age.

    Args:
        pod: The pod.
        sample: When its CPU was last sampled, and the value in milli-CPUs, or None.
        request: CPUs that it requests.
        now: Time of the sync.
    """
    flags = {"ready": pod.ready}
    if sample is not None and pod.started_at is not None:
        # a pod is not ready from its start on, and never again once it has been
        flags = cpu_flags(
            now=now,
            started_at=pod.started_at,
            ready=pod.ready,
            changed_at=pod.ready_at if pod.ready_at is not None else pod.started_at,
            sampled_at=sample[0],
            window_seconds=_CPU_WINDOW_SECONDS,
        )
    return Pod(
        metric_milli=None if sample is None else sample[1],
        request_milli=round(request * 1000),
        phase=pod.phase,
        deleting=pod.stopping,
        **flags,
    )


class ConcurrencyScaling(ScalingPolicy):
    """Knative's autoscaler on requests in flight, as KServe uses it.

    The decision that the activator asks for at once when a request finds no pod comes
    with the next tick, at most 2 s later.

    Args:
        spec: Its settings. Default: the requests that a replica processes at once as
            its concurrency, and the replicas of the plan.

    Raises:
        ConfigurationError: It is no such spec.
    """

    def __init__(self, spec: KpaSpec | None = None) -> None:
        super().__init__("KPA concurrency")
        if spec is not None:
            with Problems() as problems:
                problems.instance("spec", spec, KpaSpec)
        self._spec = spec

    def attach(self, world: World) -> None:
        """Count each second, and decide every two.

        Args:
            world: What the policy can see and do.
        """
        plan = world.scenario.plan
        spec = self._spec or KpaSpec(
            container_concurrency=plan.serving.sizing.max_num_seqs,
            min_scale=plan.scaling.min_replicas,
            max_scale=plan.scaling.max_replicas,
        )
        deployment, events, balancer = world.deployment, world.events, world.balancer
        kpa = Kpa(spec, now=events.now, ready=deployment.desired)
        seen: list[float] = []

        def count() -> None:
            inside = sum(item.outstanding for item in balancer.replicas)
            seen.append(float(inside + len(balancer.waiting)))

        def tick() -> None:
            wanted = kpa.tick(events.now, tuple(seen), ready=deployment.ready_replicas)
            seen.clear()
            if wanted != deployment.desired:
                deployment.scale(wanted)

        events.every(1.0, count, first=0.5)
        repeat(world, TICK_SECONDS, tick)


def guide(max_replicas: int = 10) -> KedaScaling:
    """Return the guide's configuration, as its manifest means it.

    Polling every 2 s, a cooldown of 300 s, one replica at least, the formula
    running + 10 x waiting with target 25, and its scale-up of 900 % or 9 pods in 15 s.
    The guide writes the behavior where KEDA drops it; here it is where it belongs.

    Args:
        max_replicas: Most replicas. Default: 10, as the guide has it.
    """
    return KedaScaling(
        "guide",
        scaled_object=_queue_object(
            max_replicas,
            Behavior(
                scale_up=ScalingRules(
                    window_s=0,
                    policies=(
                        Policy(type="Percent", value=900, period_s=15),
                        Policy(type="Pods", value=9, period_s=15),
                    ),
                )
            ),
        ),
        reads={"running": (1, 0), "waiting": (0, 1)},
    )


def guide_as_written(max_replicas: int = 10) -> KedaScaling:
    """Return the guide's configuration as the cluster takes it: without its behavior.

    Args:
        max_replicas: Most replicas. Default: 10, as the guide has it.
    """
    return KedaScaling(
        "guide, as written",
        scaled_object=_queue_object(max_replicas, None),
        reads={"running": (1, 0), "waiting": (0, 1)},
    )


def keda_defaults(max_replicas: int = 10) -> KedaScaling:
    """Return KEDA with nothing said but a threshold of 5 waiting requests.

    Polling every 30 s, scraped every 30 s, no formula, no behavior, and zero where a
    query has no answer (``ignoreNullValues`` is ``"true"`` by default).

    Args:
        max_replicas: Most replicas. Default: 10.
    """
    return KedaScaling(
        "KEDA defaults",
        scaled_object=ScaledObject(
            triggers=(Trigger(name="waiting", threshold=5),),
            min_replica_count=1,
            max_replica_count=max_replicas,
        ),
        reads={"waiting": (0, 1)},
        scrape_seconds=30,
        empty=0,
    )


def _queue_object(max_replicas: int, behavior: Behavior | None) -> ScaledObject:
    return ScaledObject(
        triggers=(
            Trigger(name="running", threshold=25),
            Trigger(name="waiting", threshold=5),
        ),
        min_replica_count=1,
        max_replica_count=max_replicas,
        polling_interval_seconds=2,
        cooldown_period_seconds=300,
        scaling_modifiers=ScalingModifiers(
            formula="running + (waiting * 10)", target=25, activation_target=5
        ),
        behavior=behavior,
    )
