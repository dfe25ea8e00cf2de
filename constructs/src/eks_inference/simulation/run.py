"""One run: a trace against a model on its pool, with a policy that scales it."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from random import Random

from eks_inference._check import Problems
from eks_inference.planning.cold_start_ledger import cold_start
from eks_inference.planning.cold_start_values import (
    ColdStart,
    CompileCacheState,
    Phase,
)
from eks_inference.planning.instances import InstanceType
from eks_inference.planning.plan import Plan
from eks_inference.planning.step_time import StepModel
from eks_inference.simulation._policy import ScalingPolicy, World
from eks_inference.simulation.distributions import LogNormal
from eks_inference.simulation.events import EventQueue
from eks_inference.simulation.nodes import NodePool
from eks_inference.simulation.pods import Deployment
from eks_inference.simulation.replica import Replica
from eks_inference.simulation.requests import Outcome, Request
from eks_inference.simulation.results import QueueSample, Result
from eks_inference.simulation.scenario import BALANCERS, Scenario
from eks_inference.simulation.serving_pod import ServingPod
from eks_inference.simulation.trace import Trace

WARM_UP_SECONDS = 3_600.0
"""Time before the first request in which the replicas at rest start, so that a run
begins with a platform that is up."""

_SAMPLE_SECONDS = 5.0
"""Time between two points of the queue's series."""

_DRAIN_SECONDS = 1_800.0
"""How long a run goes on after the last request, for answers that are under way."""


@dataclass(slots=True)
class _Served:
    """A replica as its pod sees it."""

    replica: Replica

    def drain(self, done: Callable[[], None]) -> None:
        self.replica.drain(done)

    def kill(self) -> None:
        self.replica.kill()


def simulate(
    scenario: Scenario, trace: Trace, policy: ScalingPolicy, *, seed: int = 0
) -> Result:
    """Replay a trace; the same seed gives the same result.

    Args:
        scenario: What is deployed.
        trace: What clients ask. Requests that are longer than the model's
            ``--max-model-len`` are refused; ``Trace.clipped`` shortens them before.
        policy: What scales it.
        seed: Seed of all chance: times of nodes and starts, phases of clocks.

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.
    """
    with Problems("simulation") as problems:
        problems.instance("scenario", scenario, Scenario)
        problems.instance("trace", trace, Trace)
        problems.instance("policy", policy, ScalingPolicy)
        problems.integer("seed", seed, minimum=0)
    return _Run(scenario, trace, policy, Random(seed)).result(seed)  # noqa: S311


class _Run:
    def __init__(
        self, scenario: Scenario, trace: Trace, policy: ScalingPolicy, random: Random
    ) -> None:
        plan = scenario.plan
        self._scenario, self._trace, self._policy = scenario, trace, policy
        self._events = EventQueue()
        self._balancer = BALANCERS[scenario.balancer](
            on_refused=None if scenario.gateway_queues else self._ended
        )
        self._outcomes: list[Outcome] = []
        self._queue: list[QueueSample] = []
        self._fits = {fit.instance.name: fit for fit in plan.serving.sizing.fits}
        self._steps: dict[str, StepModel] = {}
        starts, first = _cold_starts(plan)
        self._nodes = NodePool(
            self._events,
            plan.pool,
            launch=LogNormal.from_phase(first["node"]),
            random=random,
            instances=plan.serving.sizing.instances,
            prices=scenario.prices,
            errors=dict(scenario.capacity_errors),
            headroom=scenario.headroom,
            interruptions_per_hour=scenario.interruptions_per_hour,
        )
        self._deployment = Deployment(
            self._events,
            self._nodes,
            name=plan.model.name,
            gpus=plan.serving.sizing.gpus,
            cold_starts=starts,
            random=random,
            make_replica=self._make_replica,
            on_ready=self._ready,
            on_gone=self._gone,
            first_compile=LogNormal.from_phase(first["compile"]),
            drain=scenario.drain,
        )
        self._world = World(
            events=self._events,
            deployment=self._deployment,
            balancer=self._balancer,
            scenario=scenario,
            trace=trace,
            random=random,
            begin=WARM_UP_SECONDS,
        )

    def result(self, seed: int) -> Result:
        """Run, and return what happened."""
        self._deployment.scale(self._policy.at_rest(self._scenario))
        self._policy.attach(self._world)
        self._events.run(WARM_UP_SECONDS)
        for request in self._trace.requests:
            self._events.at(
                WARM_UP_SECONDS + request.arrival, partial(self._arrive, request)
            )
        self._events.every(_SAMPLE_SECONDS, self._sample)
        end = WARM_UP_SECONDS + self._trace.duration
        self._events.run(end)
        limit = end + _DRAIN_SECONDS
        while self._events.now < limit and self._unfinished():
            self._events.run(min(limit, self._events.now + _SAMPLE_SECONDS))
        for outcome in self._outcomes:
            if outcome.finished is None and outcome.lost is None:
                outcome.lost = "unfinished"
        return Result(
            policy=self._policy.name,
            trace=self._trace.name,
            seed=seed,
            begin=WARM_UP_SECONDS,
            end=end,
            outcomes=tuple(self._outcomes),
            replicas=tuple(self._deployment.samples),
            queue=tuple(self._queue),
            pods=tuple(self._deployment.history),
            nodes=tuple(self._nodes.nodes),
            now=self._events.now,
        )

    def _arrive(self, request: Request) -> None:
        length = self._scenario.plan.serving.sizing.max_model_len
        outcome = Outcome(replace(request, arrival=self._events.now))
        self._outcomes.append(outcome)
        if request.prompt_tokens + request.answer_tokens > length:
            outcome.lost = "too long"
            return
        self._balancer.submit(outcome)

    def _unfinished(self) -> bool:
        return any(
            outcome.finished is None and outcome.lost is None
            for outcome in self._outcomes
        )

    def _make_replica(self, pod: ServingPod) -> _Served:
        assert pod.node is not None
        fit = self._fits[pod.node.instance.name]
        step = self._steps.get(fit.instance.name)
        if step is None:
            step = self._steps[fit.instance.name] = StepModel(
                fit.checkpoint,
                fit.instance.accelerator,
                tensor_parallel=fit.tensor_parallel,
            )
        sizing = self._scenario.plan.serving.sizing
        replica = Replica(
            self._events,
            name=pod.name,
            step=step,
            max_num_seqs=sizing.max_num_seqs,
            max_num_batched_tokens=fit.batched_tokens,
            kv_tokens=fit.kv_tokens,
            on_finished=self._ended,
        )
        return _Served(replica)

    def _ready(self, pod: ServingPod) -> None:
        assert isinstance(pod.replica, _Served)
        self._balancer.add(pod.replica.replica)

    def _gone(self, pod: ServingPod) -> None:
        assert isinstance(pod.replica, _Served)
        self._balancer.remove(pod.replica.replica)

    def _ended(self, outcome: Outcome) -> None:
        """Nothing to do: the outcome itself says what became of the request."""

    def _sample(self) -> None:
        replicas = self._balancer.replicas
        self._queue.append(
            QueueSample(
                time=self._events.now,
                running=sum(item.running for item in replicas),
                waiting=sum(item.waiting for item in replicas),
                unsent=len(self._balancer.waiting),
                kv_usage=math.fsum(item.kv_usage for item in replicas)
                / max(1, len(replicas)),
            )
        )


def _cold_starts(plan: Plan) -> tuple[dict[str, ColdStart], dict[str, Phase]]:
    """Return the ledger of each instance type, and the phases of a first start."""
    options = plan.serving.cold_start_options

    def start(instance: InstanceType, cache: CompileCacheState) -> ColdStart:
        return cold_start(
            instance=instance,
            weight_bytes=plan.model.weight_bytes,
            options=replace(options, compile_cache=cache),
        )

    instances = plan.serving.sizing.instances
    first = start(instances[0], CompileCacheState.NONE)
    return (
        {item.name: start(item, CompileCacheState.EFS_HIT) for item in instances},
        {phase.name: phase for phase in first.phases},
    )
