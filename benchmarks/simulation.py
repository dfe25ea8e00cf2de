"""What the autoscaler answers to a step, and how fast a simulation is, as tables.

    EKS_INFERENCE_DATA=FOLDER python benchmarks/simulation.py

The folder holds Azure's traces of 2023. Without the variable, the bundled trace is
taken alone.
"""

import os
import time
from dataclasses import replace
from pathlib import Path

from eks_inference import Accelerator, Capacity, QueueScaling
from eks_inference.planning import CHECKPOINTS, make_plan
from eks_inference.simulation import (
    Behavior,
    Fixed,
    Observation,
    Scenario,
    Trace,
    bundled,
    guide,
    read_trace,
)
from eks_inference.simulation import simulate as run
from eks_inference.simulation.policies import KedaScaling as QueuePolicy
from eks_inference.simulation.policies import ScalingPolicy

MAX_MODEL_LEN = 8192

CONVERSATIONS = "traces/azure-2023/AzureLLMInferenceTrace_conv.csv"


def scenario(max_replicas: int) -> Scenario:
    """Return Mistral 7B AWQ on L4, with some replicas at most."""
    return Scenario(
        plan=make_plan(
            CHECKPOINTS["mistral-7b-awq"],
            accelerators=[Accelerator.L4],
            capacity=Capacity.on_demand(),
            max_model_len=MAX_MODEL_LEN,
            scaling=QueueScaling(max_replicas=max_replicas),
        )
    )


def row(trace: Trace, max_replicas: int, policy: ScalingPolicy) -> None:
    """Print how long a run takes."""
    start = time.perf_counter()
    result = run(scenario(max_replicas), trace, policy, seed=1)
    seconds = time.perf_counter() - start
    count = len(trace.requests)
    print(
        f"| {trace.name} | {trace.rate:.1f} | {count:,} | {policy.name} | "
        f"{result.mean_replicas:.1f} | {seconds:.1f} | {count / seconds:,.0f} | "
        f"{trace.duration / seconds:,.0f} |"
    )


def steps() -> None:
    """Print the replicas at each sync after a step of the guide's formula."""
    known = guide().scaled_object(scenario(10))
    behaviors = (
        ("the guide's behavior", known.behavior),
        ("no behavior", None),
        ("an empty behavior", Behavior()),
    )
    print("| formula, from 0 to | behavior | at 0 s | 15 s | 30 s | 45 s | 60 s |")
    print("|---|---|---|---|---|---|---|")
    for value in (82, 400):
        for name, behavior in behaviors:
            hpa = replace(known, behavior=behavior).autoscaler()
            replicas, seen = 1, []
            for sync in range(5):
                milli = value * 1000 if sync else 0
                metrics = {hpa.metrics[0].name: milli}  # type: ignore[union-attr]
                replicas = hpa.sync(
                    15 * sync, Observation(replicas=replicas, external=metrics)
                )
                seen.append(str(replicas))
            print(f"| {value} | {name} | " + " | ".join(seen) + " |")
    print()


def main() -> None:
    """Print the tables."""
    steps()
    print(
        "| trace | requests/s | requests | policy | mean replicas | seconds | "
        "requests per second | times real time |"
    )
    print("|---|---|---|---|---|---|---|---|")
    small = bundled().clipped(MAX_MODEL_LEN)
    row(small, 10, QueuePolicy())
    row(small, 10, Fixed(5))
    folder = os.environ.get("EKS_INFERENCE_DATA")
    if not folder:
        return
    whole = read_trace(Path(folder, CONVERSATIONS), name="Azure conv")
    whole = whole.clipped(MAX_MODEL_LEN)
    for factor, most in ((1, 20), (2, 40), (5, 100), (10, 200)):
        trace = whole.scaled(factor, method="superpose") if factor > 1 else whole
        row(trace, most, QueuePolicy())


if __name__ == "__main__":
    main()
