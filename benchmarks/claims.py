"""What the guide claims about scaling, tried in the simulator, as tables.

    EKS_INFERENCE_DATA=FOLDER python benchmarks/claims.py

The folder holds Azure's traces of 2023. Without the variable, only generated traces are
taken. Every number is the mean of five seeds unless its table says otherwise; late
requests come with the lowest and the highest of the seeds.
"""

import math
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from statistics import fmean

from eks_inference import Accelerator, Capacity, QueueScaling
from eks_inference.planning import CHECKPOINTS, make_plan
from eks_inference.simulation import (
    Behavior,
    ConcurrencyScaling,
    CpuScaling,
    Fixed,
    Foresight,
    Result,
    ScaledObject,
    Scenario,
    Trace,
    bundled,
    guide,
    guide_as_written,
    keda_defaults,
    percentile,
    read_trace,
    simulate,
    step,
)
from eks_inference.simulation.hpa_spec import Policy, ScalingRules
from eks_inference.simulation.keda_spec import ScalingModifiers
from eks_inference.simulation.policies import KedaScaling as QueuePolicy
from eks_inference.simulation.policies import ScalingPolicy

SEEDS = range(1, 6)

MAX_MODEL_LEN = 8192

LATE_SECONDS = 10
"""A first token after this is late: where the guide warns of latency."""

GUIDE_SECONDS = 120
"""The guide's time from the queue to more capacity."""

CODE = "traces/azure-2023/AzureLLMInferenceTrace_code.csv"

GUIDE_READS = {"running": (1, 0), "waiting": (0, 1)}

SCENARIO = Scenario(
    plan=make_plan(
        CHECKPOINTS["mistral-7b-awq"],
        accelerators=[Accelerator.L4],
        capacity=Capacity.on_demand(),
        max_model_len=MAX_MODEL_LEN,
        scaling=QueueScaling(min_replicas=1, max_replicas=10),
    )
)
"""The guide's model, Mistral 7B AWQ, on the cheapest L4 node, one to ten replicas."""

STEP = step(0.3, 6, at=600, duration=1800).clipped(MAX_MODEL_LEN)
"""From 0.3 to 6 requests per second, after ten minutes, for twenty."""


@cache
def traces() -> tuple[Trace, ...]:
    """Return the traces, the recorded one where its folder is named."""
    found = [bundled().clipped(MAX_MODEL_LEN)]
    folder = os.environ.get("EKS_INFERENCE_DATA")
    if folder:
        code = read_trace(Path(folder, CODE), name="Azure code")
        found.append(code.clipped(MAX_MODEL_LEN))
    return tuple(found)


def runs(
    policy: ScalingPolicy, trace: Trace, scenario: Scenario = SCENARIO
) -> list[Result]:
    """Return a run for each seed."""
    return [simulate(scenario, trace, policy, seed=seed) for seed in SEEDS]


def mean(results: Iterable[Result], value: Callable[[Result], float | None]) -> float:
    """Return the mean of what runs show, not a number where one shows nothing."""
    found = [value(result) for result in results]
    return fmean(math.nan if item is None else item for item in found)


HEAD = (
    "late, % (seeds)",
    "first token p50, s",
    "p90, s",
    "latency p90, s",
    "lost, %",
    "mean replicas",
    "starts",
    "USD",
)


def cells(results: Sequence[Result]) -> list[str]:
    """Return what the tables show of some runs."""
    unanswered = mean(results, lambda r: 100 * sum(r.lost.values()) / len(r.outcomes))
    late = [100 * result.late(LATE_SECONDS) for result in results]
    return [
        f"{fmean(late):.1f} ({min(late):.0f}-{max(late):.0f})",
        f"{mean(results, lambda r: r.first_token(0.5)):.2f}",
        f"{mean(results, lambda r: r.first_token(0.9)):.1f}",
        f"{mean(results, lambda r: r.latency(0.9)):.1f}",
        f"{unanswered:.1f}",
        f"{mean(results, lambda r: r.mean_replicas):.2f}",
        f"{mean(results, lambda r: float(len(r.cold_starts))):.1f}",
        f"{mean(results, lambda r: r.usd):.2f}",
    ]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table."""
    print("| " + " | ".join(head) + " |")
    print("|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print()


def compare(
    variants: Sequence[tuple[str, ScalingPolicy]],
    trace: Trace,
    scenario: Scenario = SCENARIO,
) -> None:
    """Print a table of ways to scale on one trace."""
    table(
        (trace.name, *HEAD),
        ([name, *cells(runs(policy, trace, scenario))] for name, policy in variants),
    )


def guide_with(**changes: object) -> QueuePolicy:
    """Return the guide's policy with other fields of its ScaledObject."""
    known = guide().scaled_object(SCENARIO)
    return queue(replace(known, **changes))  # type: ignore[arg-type]


def queue(scaled: ScaledObject, **values: float) -> QueuePolicy:
    """Return a policy that reads running and waiting requests."""
    return QueuePolicy(
        "queue",
        scaled_object=scaled,
        reads=GUIDE_READS,
        **values,
    )


def queue_beats_cpu() -> None:
    """Queue against CPU, with three requests of CPU, and others."""
    print("### Queue and CPU\n")
    variants = (
        ("this library", QueuePolicy()),
        ("the guide", guide()),
        ("the guide, behavior dropped", guide_as_written()),
        ("KEDA, defaults", keda_defaults()),
        ("CPU 80 % of 3 cores", CpuScaling(request_cpus=3)),
        ("CPU 80 % of 1.2 cores", CpuScaling(request_cpus=1.2)),
        ("CPU 80 % of 0.5 cores", CpuScaling(request_cpus=0.5)),
        ("Knative, concurrency", ConcurrencyScaling()),
        ("always 5", Fixed(5)),
        ("always 10", Fixed(10)),
        ("perfect foresight", Foresight()),
    )
    for trace in traces():
        compare(variants, trace)
    print("Idle and busy CPUs of a replica are assumed (0.1 and 1.2). With others:\n")
    compare(
        [
            (f"busy {busy} of 1.2 cores", CpuScaling(request_cpus=1.2, busy_cpus=busy))
            for busy in (0.8, 1.0, 1.2, 1.5, 2.0)
        ],
        traces()[0],
    )


def two_minutes() -> None:
    """How long starts take in runs, and when a step of the load is answered."""
    print("### About two minutes\n")
    rows = []
    for name, scenario in (
        ("new nodes", SCENARIO),
        ("three nodes kept empty", replace(SCENARIO, headroom=3)),
    ):
        results = [
            simulate(scenario, STEP, QueuePolicy(), seed=seed) for seed in range(1, 41)
        ]
        starts = [item for result in results for item in result.cold_starts]
        first, second = [], []
        for result in results:
            change = result.begin + 600
            ready = sorted(
                pod.ready_at - change
                for pod in result.pods
                if pod.ready_at is not None and pod.created_at > change
            )
            created = min(p.created_at for p in result.pods if p.created_at > change)
            first.append(created - change)
            second.append(ready[0])
        rows.append(
            [
                name,
                *(f"{percentile(first, share):.0f}" for share in (0.5, 0.9)),
                *(f"{percentile(second, share):.0f}" for share in (0.5, 0.9)),
                *(f"{percentile(starts, share):.0f}" for share in (0.1, 0.5, 0.9)),
                f"{sum(item <= GUIDE_SECONDS for item in starts) / len(starts):.0%}",
            ]
        )
    table(
        (
            "40 seeds, seconds",
            "step to pods p50",
            "p90",
            "step to first new replica p50",
            "p90",
            "start p10",
            "p50",
            "p90",
            "starts within 120 s",
        ),
        rows,
    )


def nine_hundred_percent() -> None:
    """The guide's behavior, none, an empty one, and the library's, on a step."""
    print("### 900 %\n")
    variants = (
        ("the guide", guide()),
        ("the guide, behavior dropped", guide_as_written()),
        ("the guide, empty behavior", guide_with(behavior=Behavior())),
        ("this library", QueuePolicy()),
    )
    rows = []
    for name, policy in variants:
        result = simulate(SCENARIO, STEP, policy, seed=1)
        change = result.begin + 600
        steps = [item for item in result.replicas if item.time > change]
        seen: list[tuple[float, int]] = []
        for item in steps:
            if item.desired > (seen[-1][1] if seen else 1):
                seen.append((item.time - change, item.desired))
        rows.append([name, ", ".join(f"{time:.0f} s: {n}" for time, n in seen)])
    table(("seed 1", "replicas asked for after the step, at which time"), rows)
    compare(variants, STEP)
    for trace in traces():
        compare(variants, trace)


def every_two_seconds() -> None:
    """What the polling interval, the scrapes, and the autoscaler's sync decide."""
    print("### Poll every two seconds\n")
    trace = traces()[0]
    two, thirty = (
        runs(guide_with(polling_interval_seconds=seconds), trace) for seconds in (2, 30)
    )
    same = all(a.outcomes == b.outcomes for a, b in zip(two, thirty, strict=True))
    print(f"Polling every 2 s and every 30 s, every request the same: {same}\n")
    known = guide().scaled_object(SCENARIO)
    compare(
        [
            (f"scraped every {seconds} s", queue(known, scrape_seconds=seconds))
            for seconds in (1, 5, 15, 30, 60)
        ],
        trace,
    )


def cooldown() -> None:
    """What the cooldown does with one replica at least, and what prevents thrashing."""
    print("### The cooldown\n")
    trace = traces()[0]
    none, five = (
        runs(guide_with(cooldown_period_seconds=seconds), trace) for seconds in (0, 300)
    )
    same = all(a.outcomes == b.outcomes for a, b in zip(none, five, strict=True))
    print(f"A cooldown of 0 s and of 300 s, every request the same: {same}\n")
    up = guide().scaled_object(SCENARIO).behavior
    assert up is not None

    def down(window: int, *policies: Policy) -> QueuePolicy:
        rules = ScalingRules(window_s=window, policies=policies or None)
        return guide_with(behavior=replace(up, scale_down=rules))

    slow = Policy(type="Pods", value=1, period_s=120)
    variants = [
        ("window 0 s", down(0)),
        ("window 60 s", down(60)),
        ("window 300 s, the guide's", down(300)),
        ("window 600 s", down(600)),
        ("window 300 s, one in 120 s", down(300, slow)),
        ("this library", QueuePolicy()),
    ]
    for item in traces():
        compare(variants, item)


def consolidation() -> None:
    """What an empty node costs that stays longer."""
    print("### Consolidation after 30 s\n")
    plan = SCENARIO.plan
    for trace in traces():
        rows = []
        for seconds in (0, 30, 120, 600):
            pool = replace(plan.pool, consolidate_after_seconds=seconds)
            scenario = replace(SCENARIO, plan=replace(plan, pool=pool))
            for name, policy in (("guide", guide()), ("library", QueuePolicy())):
                results = runs(policy, trace, scenario)
                median = mean(results, lambda r: percentile(r.cold_starts, 0.5))
                nodes = mean(
                    results,
                    lambda r: float(sum(n.launched_at >= r.begin for n in r.nodes)),
                )
                rows.append(
                    [
                        f"{seconds} s, {name}",
                        *cells(results),
                        f"{nodes:.1f}",
                        f"{median:.0f}",
                    ]
                )
        table((trace.name, *HEAD, "nodes launched", "start p50, s"), rows)


def target() -> None:
    """The target of 25, and the weight of 10."""
    print("### Target 25, weight 10\n")

    def formula(goal: int, weight: int) -> QueuePolicy:
        text = f"running + (waiting * {weight})"
        return guide_with(scaling_modifiers=ScalingModifiers(formula=text, target=goal))

    for trace in traces():
        compare(
            [
                (f"target {goal}, weight 10", formula(goal, 10))
                for goal in (8, 16, 25, 32, 40)
            ],
            trace,
        )
        compare(
            [
                (f"target 25, weight {weight}", formula(25, weight))
                for weight in (0, 1, 3, 10, 30)
            ],
            trace,
        )


SECTIONS: dict[str, Callable[[], None]] = {
    "cpu": queue_beats_cpu,
    "start": two_minutes,
    "percent": nine_hundred_percent,
    "poll": every_two_seconds,
    "cooldown": cooldown,
    "consolidation": consolidation,
    "target": target,
}


def main() -> None:
    """Print the sections, all or those that are named."""
    for name in sys.argv[1:] or SECTIONS:
        SECTIONS[name]()


if __name__ == "__main__":
    main()
