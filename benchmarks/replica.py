"""How far a simulated replica is from a recorded one, and how fast it is, as tables.

    EKS_INFERENCE_DATA=... python benchmarks/replica.py

Needs the folder of recorded runs and traces, and the repository's root as working
directory.
"""

import csv
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

ENGINE = {"max_num_seqs": 256, "max_num_batched_tokens": 2048, "kv_tokens": 480_000}
"""A replica of Llama 3.1 8B on an RTX PRO 6000; its KV cache is computed by hand."""


def main() -> None:
    """Print the errors, the times, and the requests per second."""
    errors()
    speed()


def errors() -> None:
    """Compare a run of vLLM with the same requests on a simulated replica."""
    from eks_inference.accelerator import Accelerator
    from eks_inference.planning.step_time import SPEEDS, StepModel
    from tests.library import test_replica as tests

    run = tests.replay_recorded_run()
    print("vLLM 0.19, Llama 3.1 8B, RTX PRO 6000, 300 requests, at most 128 at once")
    print("(casys-kaist/LLMServingSim at 5daddb2). In sample: MFU was fitted to it.\n")
    print(f"  {'':18}{'measured ms':>12}{'simulated':>12}{'error':>8}")
    for key, measured in run.measured.items():
        name, simulated = " ".join(key), run.simulated[key]
        print(
            f"  {name:18}{measured * 1e3:12.1f}{simulated * 1e3:12.1f}"
            f"{run.error(*key):+8.1%}"
        )
    for name, (error, largest) in run.gauges.items():
        print(
            f"  {name}, each second: mean absolute error {error:.2f} of {largest:.0f}"
        )
    print("\n  Error of the mean with another MFU")
    speed = SPEEDS[Accelerator.RTX_PRO_6000]
    for mfu in (0.50, 0.55, 0.60, 0.65, 0.70):
        step = StepModel(
            tests.STEP.checkpoint,
            Accelerator.RTX_PRO_6000,
            speed=replace(speed, mfu=mfu),
        )
        run = tests.replay_recorded_run(step)
        cells = [
            f"{name} {run.error(name, 'mean'):+6.1%}"
            for name in ("first token", "token", "latency")
        ]
        print(f"  {mfu:.2f}  " + "   ".join(cells))


def speed() -> None:
    """Time the trace of a conversation service on one replica and on several."""
    from tests.library import test_replica as tests
    from tests.library.plain_engine import PlainEngine

    requests = conversations()
    print(f"\nAzure's conversation trace of 2023, {len(requests)} requests in an hour")
    part = requests[:2000]
    plain = PlainEngine(step=tests.STEP, **ENGINE)
    row(
        "one replica, 2,000 requests, every step", len(part), lambda: plain.replay(part)
    )
    print(f"    {plain.steps} steps")
    row(
        "one replica, 2,000 requests, skipping",
        len(part),
        lambda: tests.Site(dict(ENGINE)).replay(part),
    )
    row(
        "one replica, all",
        len(requests),
        lambda: tests.Site(dict(ENGINE)).replay(requests),
    )
    for number in (2, 4, 8):
        row(
            f"{number} replicas, all",
            len(requests),
            partial(several, requests, number),
        )


def conversations() -> list[Any]:
    """Return the requests of the trace, whose clock starts with the first."""
    from eks_inference.simulation.requests import Request

    folder = os.environ.get("EKS_INFERENCE_DATA")
    if not folder:
        sys.exit("EKS_INFERENCE_DATA does not name the folder of traces")
    path = Path(folder) / "traces/azure-2023/AzureLLMInferenceTrace_conv.csv"
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    # seven digits of a second, of which Python reads six
    times = [datetime.fromisoformat(item["TIMESTAMP"][:26]) for item in rows]
    return [
        Request(
            (at - times[0]).total_seconds(),
            int(item["ContextTokens"]),
            max(1, int(item["GeneratedTokens"])),
        )
        for at, item in zip(times, rows, strict=True)
    ]


def several(requests: list[Any], number: int) -> None:
    """Serve the requests with some replicas behind one balancer."""
    from eks_inference.simulation.balancer import LeastOutstanding
    from eks_inference.simulation.events import EventQueue
    from eks_inference.simulation.replica import Replica
    from eks_inference.simulation.requests import Outcome
    from tests.library import test_replica as tests

    events, balancer = EventQueue(), LeastOutstanding()
    finished: list[Outcome] = []
    for index in range(number):
        balancer.add(
            Replica(
                events,
                name=f"chat-{index}",
                step=tests.STEP,
                on_finished=finished.append,
                **ENGINE,
            )
        )
    for request in requests:
        outcome = Outcome(request)
        events.at(
            request.arrival,
            lambda outcome=outcome: balancer.submit(outcome),  # type: ignore[misc]
        )
    events.run(until=1e6)
    assert len(finished) == len(requests)


def row(name: str, requests: int, run: Callable[[], object]) -> None:
    """Print how long a run takes."""
    start = time.perf_counter()
    run()
    seconds = time.perf_counter() - start
    print(f"  {name:42}{seconds:7.2f} s {requests / seconds:9,.0f} requests/s")


if __name__ == "__main__":
    main()
