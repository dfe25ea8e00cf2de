"""Tests of ways to scale: what each sees, decides and sets."""

import itertools
from dataclasses import replace
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from eks_inference import ConfigurationError
from eks_inference.simulation import policies
from eks_inference.simulation.events import EventQueue
from eks_inference.simulation.hpa_controller import Observation
from eks_inference.simulation.hpa_spec import Behavior, Policy, ScalingRules
from eks_inference.simulation.keda_spec import (
    ScaledObject,
    ScalingModifiers,
    Trigger,
)
from eks_inference.simulation.kpa import KpaSpec
from eks_inference.simulation.policies import (
    ConcurrencyScaling,
    CpuScaling,
    Fixed,
    Foresight,
    KedaScaling,
    ScalingPolicy,
    World,
)
from eks_inference.simulation.results import Result
from eks_inference.simulation.run import simulate
from tests.library.simulated import plan, requests, scenario, trace

STEP = trace((0, 0.2), (60, 0.2), (60, 4), (600, 4))

QUEUE = Trigger(name="queue", threshold=10)


class Bench:
    """A deployment with some pods of which a policy sees what the test says."""

    def __init__(
        self, replicas: int, *, ready: int = 0, phase: str = "Running"
    ) -> None:
        self.events = EventQueue()
        self.scaled: list[int] = []
        self.times: list[float] = []
        self.replicas = [
            SimpleNamespace(name=f"r{index}", running=0, waiting=0, outstanding=0)
            for index in range(ready)
        ]
        pods = [SimpleNamespace(phase=phase) for _ in range(replicas)]
        self.deployment = SimpleNamespace(
            desired=replicas,
            replicas=replicas,
            ready_replicas=ready,
            pods=pods,
            scale=self.scale,
        )

    def scale(self, replicas: int) -> None:
        """Note what a policy sets; pods are there at once, and not ready."""
        self.scaled.append(replicas)
        self.times.append(self.events.now)
        self.deployment.desired = self.deployment.replicas = replicas

    def run(self, policy: ScalingPolicy, until: float, *, seed: int = 1) -> list[int]:
        """Return what a policy sets up to a time."""
        world: Any = World(
            events=self.events,
            deployment=self.deployment,  # type: ignore[arg-type]
            balancer=SimpleNamespace(  # type: ignore[arg-type]
                replicas=tuple(self.replicas), waiting=()
            ),
            scenario=scenario(),
            trace=STEP,
            random=Random(seed),
            begin=0,
        )
        policy.attach(world)
        self.events.run(until)
        return self.scaled


def desired(run: Result) -> list[int]:
    """Return the replicas that were asked for from the trace's begin on, in order."""
    first = [item for item in run.replicas if item.time <= run.begin][-1]
    rest = [i for i in run.replicas if run.begin < i.time < run.end]
    return [key for key, _ in itertools.groupby(i.desired for i in (first, *rest))]


@pytest.mark.parametrize(
    "policy",
    [
        KedaScaling(),
        policies.guide(4),
        policies.guide_as_written(4),
        policies.keda_defaults(4),
        CpuScaling(request_cpus=1),
        ConcurrencyScaling(),
        Foresight(),
    ],
    ids=lambda policy: policy.name,
)
def test_every_policy_scales(policy: ScalingPolicy) -> None:
    """From one replica, a load that it cannot bear makes every policy add some."""
    run = simulate(scenario(), STEP, policy)

    assert max(desired(run)) > 1
    assert run.most_replicas > 1


def test_a_policy_can_be_used_again() -> None:
    """A policy keeps nothing of a run, so that the next one is the same."""
    policy = KedaScaling()

    assert simulate(scenario(), STEP, policy).replicas == (
        simulate(scenario(), STEP, policy).replicas
    )


def test_fixed() -> None:
    """A fixed number is there from the start and stays."""
    run = simulate(scenario(), STEP, Fixed(3))

    assert desired(run) == [3]
    assert run.mean_replicas == 3
    assert run.cold_starts == ()


def test_the_guide() -> None:
    """The guide's policy has the numbers that the guide's manifest has."""
    found = policies.guide()
    expected = ScaledObject(
        triggers=(
            Trigger(name="running", threshold=25),
            Trigger(name="waiting", threshold=5),
        ),
        min_replica_count=1,
        max_replica_count=10,
        polling_interval_seconds=2,
        cooldown_period_seconds=300,
        scaling_modifiers=ScalingModifiers(
            formula="running + (waiting * 10)", target=25, activation_target=5
        ),
        behavior=Behavior(
            scale_up=ScalingRules(
                window_s=0,
                select="Max",
                policies=(
                    Policy(type="Percent", value=900, period_s=15),
                    Policy(type="Pods", value=9, period_s=15),
                ),
            )
        ),
    )

    assert found.scaled_object(scenario()) == expected
    assert policies.guide_as_written().scaled_object(scenario()).behavior is None


@pytest.mark.parametrize(
    ("policy", "steps"),
    [
        (KedaScaling(), [4]),
        (policies.guide(), [10]),
        (policies.guide_as_written(), [4, 8, 10]),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_steps_from_one_replica(policy: KedaScaling, steps: list[int]) -> None:
    """A step of the queue is answered at once with a behavior, in steps without."""
    bench = Bench(1, ready=1)
    bench.replicas[0].running, bench.replicas[0].waiting = 32, 37

    assert bench.run(policy, 70) == steps


def test_the_autoscaler_looks_every_15_seconds() -> None:
    """With a replica, the polling interval has no part in the time of the step."""
    times = []
    for interval in (2, 30):
        bench = Bench(1, ready=1)
        bench.replicas[0].running = 100
        scaled = ScaledObject(
            triggers=(QUEUE,),
            min_replica_count=1,
            max_replica_count=10,
            polling_interval_seconds=interval,
        )
        bench.run(KedaScaling(scaled_object=scaled, reads={"queue": (1, 1)}), 25)
        times.append(bench.times)

    assert times[0][0] <= 15 + 5
    # phases are drawn in the same order, so that those of the syncs are the same
    assert times[0] == times[1]


def test_no_replica_answers() -> None:
    """While no replica answers, the fallback keeps them."""
    assert Bench(4).run(KedaScaling(), 1000) == []


def test_no_answer_taken_for_zero() -> None:
    """With KEDA's default, no answer is an empty queue, and replicas go."""
    bench = Bench(4)

    assert bench.run(KedaScaling(empty=0), 1000) == [3, 2, 1]
    assert bench.times[0] > 300


def test_nothing_wakes_a_model_without_replicas() -> None:
    """At zero the queue reads zero, which nothing changes: metrics need a pod."""
    sleeping = scenario(scaling={"min_replicas": 0})
    run = simulate(sleeping, requests((1, 100, 100)), KedaScaling())

    assert desired(run) == [0]
    assert run.lost == {"unfinished": 1}
    assert run.gpu_hours == 0


def test_a_start_is_not_given_up() -> None:
    """A pod that starts does not answer, which is an error, and so it may go on."""
    scaled = ScaledObject(triggers=(QUEUE,), max_replica_count=4)
    policy = KedaScaling(scaled_object=scaled, reads={"queue": (1, 1)})

    assert Bench(1, phase="Running").run(policy, 3600) == []
    assert Bench(1, phase="Pending").run(policy, 3600) == [0]


def cpu_pod(now: float, sampled: float, **values: Any) -> Any:
    """Return what the HPA knows of a pod that started at 100 s."""
    pod: Any = SimpleNamespace(
        **{
            "started_at": 100.0,
            "ready_at": None,
            "ready": False,
            "phase": "Running",
            "stopping": False,
            **values,
        }
    )
    return policies.cpu_pod(pod, (sampled, 900), 2, now)


@pytest.mark.parametrize(
    ("now", "sampled", "ready_at", "counts"),
    [
        # young: ready, and a whole window of 15 s since
        (250, 245, None, False),
        (250, 214, 200, False),
        (250, 215, 200, True),
        # older than 300 s: it must have been ready
        (401, 400, None, False),
        (401, 400, 395, True),
    ],
)
def test_cpu_samples_that_count(
    *, now: float, sampled: float, ready_at: float | None, counts: bool
) -> None:
    """The sample of a pod counts by its age and its readiness, as in Kubernetes."""
    pod = cpu_pod(now, sampled, ready=ready_at is not None, ready_at=ready_at)

    assert pod.cpu_counts is counts
    assert pod.metric_milli == 900
    assert pod.request_milli == 2000


def test_pods_without_cpu_samples() -> None:
    """A pod without a sample is passed on as one, with its phase and its deletion."""
    pod: Any = SimpleNamespace(
        started_at=None, ready_at=None, ready=False, phase="Pending", stopping=True
    )
    found = policies.cpu_pod(pod, None, 1, 50)

    assert found.metric_milli is None
    assert (found.phase, found.deleting) == ("Pending", True)


def test_cold_pods_damp_cpu() -> None:
    """On CPU, a replica that starts counts as idle: the next waits until it serves."""
    run = simulate(scenario(), STEP, CpuScaling(request_cpus=1.2))
    steps = desired(run)
    pods = run.pods

    assert steps == list(range(1, max(steps) + 1))
    assert len(steps) > 2
    for before, after in itertools.pairwise(pods[1:]):
        assert before.ready_at is not None
        assert after.created_at > before.ready_at


def test_cpu_has_nothing_to_see() -> None:
    """Where a busy replica stays below the target, no load adds one."""
    run = simulate(scenario(), STEP, CpuScaling(request_cpus=3))

    assert desired(run) == [1]
    assert run.late(10) > 0.5


def test_cpu_does_not_sleep() -> None:
    """A minimum of zero is one for an HPA on CPU."""
    assert CpuScaling().at_rest(scenario(scaling={"min_replicas": 0})) == 1


def test_kpa_wakes() -> None:
    """Requests that find no pod are counted, so that one starts within 2 s."""
    policy = ConcurrencyScaling(KpaSpec(container_concurrency=32, max_scale=4))
    run = simulate(scenario(), requests((10, 100, 50), duration=600), policy)

    assert desired(run)[:2] == [0, 1]
    created = [pod.created_at for pod in run.pods if pod.created_at >= run.begin]
    assert run.begin + 10 <= created[0] <= run.begin + 12.5
    assert len(run.finished) == 1


def test_kpa_counts_what_waits() -> None:
    """It has 70 % of the concurrency as its target, so that load decides."""
    policy = ConcurrencyScaling(
        KpaSpec(container_concurrency=10, min_scale=1, max_scale=4)
    )
    run = simulate(scenario(), trace((0, 4), (120, 4)), policy)

    assert max(desired(run)) == 4


def test_foresight_is_ahead() -> None:
    """Replicas are ordered before the step and ready with it."""
    late = trace((0, 0.2), (900, 0.2), (900, 6), (1500, 6))
    seen = simulate(scenario(), late, Foresight())
    blind = simulate(scenario(), late, KedaScaling())
    ordered = [pod.created_at for pod in seen.pods[1:]]

    assert ordered
    assert min(ordered) < seen.begin + 900
    assert desired(seen)[0] == 1
    assert seen.late(5) < blind.late(5)


def test_foresight_does_not_look_before_the_trace() -> None:
    """In the warm-up it orders for the trace's start, not for its peak."""
    run = simulate(
        scenario(), trace((0, 0.2), (1800, 0.2), (1800, 8), (2000, 8)), Foresight()
    )
    before = [item.desired for item in run.replicas if item.time < run.begin]

    assert max(before) == 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Fixed(0), "'replicas' must be 1 to 1000"),
        (lambda: Fixed(None), "'replicas' must be a whole number"),  # type: ignore[arg-type]
        (lambda: Foresight(share=0), "'share' must be"),
        (lambda: Foresight(window_seconds=None), "'window_seconds' must be"),  # type: ignore[arg-type]
        (lambda: CpuScaling(target_percent=0), "'target_percent' must be"),
        (lambda: CpuScaling(request_cpus=0), "'request_cpus' must be"),
        (
            lambda: CpuScaling(idle_cpus=2),
            "'busy_cpus' must be .* 'idle_cpus'",
        ),
        (lambda: CpuScaling(idle_cpus=None), "'idle_cpus' must be a number"),  # type: ignore[arg-type]
        (lambda: ConcurrencyScaling(3), "'spec' must be of class KpaSpec"),  # type: ignore[arg-type]
        (lambda: KedaScaling(""), "'name' must be a text"),
        (lambda: KedaScaling(scrape_seconds=0), "'scrape_seconds' must be"),
        (lambda: KedaScaling(empty=-1), "'empty' must be"),
        (lambda: KedaScaling(reads=[1]), "'reads' must be of class Mapping"),  # type: ignore[arg-type]
        (lambda: KedaScaling(scaled_object={}), "of class ScaledObject"),  # type: ignore[arg-type]
        (lambda: policies.guide(0), "max_replica_count"),
    ],
)
def test_bad_values(make: Any, message: str) -> None:
    """A bad value is refused by its name."""
    with pytest.raises(ConfigurationError, match=message):
        make()


def test_reads_must_fit_the_triggers() -> None:
    """Weights of other triggers are refused when the run begins."""
    policy = KedaScaling(
        scaled_object=ScaledObject(triggers=(QUEUE,), min_replica_count=1),
        reads={"other": (1, 0)},
    )

    with pytest.raises(ConfigurationError, match=r"must have the triggers \(queue\)"):
        simulate(scenario(), requests((1, 10, 10)), policy)


def test_the_plan_of_the_tests() -> None:
    """The numbers above hold for a target of 24 of 32 requests at once."""
    assert plan().serving.scaling_target == 24
    assert plan().serving.sizing.max_num_seqs == 32


@pytest.mark.parametrize(
    ("value", "behavior", "expected"),
    [
        (82, "the guide's", [1, 4, 4, 4]),
        (82, "none", [1, 4, 4, 4]),
        (400, "the guide's", [1, 10, 10, 10]),
        (400, "none", [1, 4, 8, 10]),
        (400, "empty", [1, 5, 10, 10]),
    ],
)
def test_the_timeline_of_a_step(
    *, value: int, behavior: str, expected: list[int]
) -> None:
    """A step of the guide's formula, sync by sync, as Kubernetes' rules have it."""
    known = policies.guide().scaled_object(scenario())
    rules = {"the guide's": known.behavior, "none": None, "empty": Behavior()}
    hpa = replace(known, behavior=rules[behavior]).autoscaler()
    seen = [1]
    for sync in range(1, 4):
        found = {"composite-metric": value * 1000}
        now = Observation(replicas=seen[-1], external=found)
        seen.append(hpa.sync(15 * sync, now))

    assert seen == expected
