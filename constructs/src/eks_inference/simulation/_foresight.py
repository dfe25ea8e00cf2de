"""Replicas as they would be with knowledge of the trace."""

import math

from eks_inference._check import Problems
from eks_inference.planning.step_time import StepModel
from eks_inference.planning.throughput import max_requests_per_second
from eks_inference.simulation._policy import ScalingPolicy, World

_STEP_SECONDS = 10.0
"""Time between two decisions. Chosen: a batch of Karpenter's."""


class Foresight(ScalingPolicy):
    """Replicas that are ready when they are needed: what no policy can know.

    A yardstick, not a policy: it reads the trace, and orders each replica one cold
    start ahead. What it needs is computed from means, so that it is no strict bound.

    Args:
        share: Share of what a full replica can do that is used. Default: 0.75, the
            target share of the library.
        window_seconds: Time over which the load is averaged. Default: 30.

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.
    """

    def __init__(self, *, share: float = 0.75, window_seconds: float = 30.0) -> None:
        super().__init__("perfect foresight")
        with Problems("foresight") as problems:
            problems.number("share", share, minimum=0.01, maximum=1)
            problems.number("window_seconds", window_seconds, minimum=1, maximum=3_600)
        self._share, self._window = share, window_seconds

    def attach(self, world: World) -> None:
        """Order what will be needed until the next replica could be ready.

        Args:
            world: What the policy can see and do.
        """
        plan = world.scenario.plan
        ahead = plan.serving.cold_start.p90
        needed = self._needed(world)

        def order() -> None:
            now = world.events.now - world.begin
            first = max(0, math.floor(now / _STEP_SECONDS))
            last = math.ceil((now + ahead) / _STEP_SECONDS)
            wanted = max(
                needed[first : max(0, last + 1)], default=plan.scaling.min_replicas
            )
            wanted = max(wanted, plan.scaling.min_replicas)
            if wanted != world.deployment.desired:
                world.deployment.scale(min(wanted, plan.scaling.max_replicas))

        world.events.every(_STEP_SECONDS, order)

    def _needed(self, world: World) -> list[int]:
        """Return the replicas that the load needs, by steps of ten seconds."""
        plan, trace = world.scenario.plan, world.trace
        count = max(1, len(trace.requests))
        fit = plan.fit
        model = StepModel(
            fit.checkpoint,
            fit.instance.accelerator,
            tensor_parallel=fit.tensor_parallel,
        )
        most = max_requests_per_second(
            model,
            prompt_tokens=max(1, sum(i.prompt_tokens for i in trace.requests) / count),
            answer_tokens=max(1, sum(i.answer_tokens for i in trace.requests) / count),
            max_num_seqs=plan.serving.sizing.max_num_seqs,
            max_num_batched_tokens=fit.batched_tokens,
        )
        steps = [0] * (math.ceil(trace.duration / _STEP_SECONDS) + 1)
        for item in trace.requests:
            steps[int(item.arrival / _STEP_SECONDS)] += 1
        width = max(1, round(self._window / _STEP_SECONDS))
        means = (
            sum(steps[max(0, i - width + 1) : i + 1]) / (width * _STEP_SECONDS)
            for i in range(len(steps))
        )
        return [math.ceil(rate / (most * self._share)) for rate in means]
