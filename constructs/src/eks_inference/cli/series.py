"""What happened in a run over time, in seconds since the trace began."""

import csv
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from eks_inference.cli.documents import Document
from eks_inference.simulation.ec2 import Node
from eks_inference.simulation.pods import Sample
from eks_inference.simulation.results import QueueSample, Result, percentile

_STEPS = (10, 30, 60, 120, 300, 600, 1_800, 3_600, 7_200, 21_600)
"""Lengths of a step of the timeline, in seconds."""

_MOST_ROWS = 15
"""Rows of a timeline that are read at a glance."""

_DAY = 86_400

SHARES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
"""The percentiles that are shown, by name."""


def timeline(result: Result) -> list[Document]:
    """Return a run in at most 15 steps, or one for each day.

    Args:
        result: What happened.
    """
    length = result.end - result.begin
    fitting = (step for step in _STEPS if length <= step * _MOST_ROWS)
    step = next(fitting, _DAY)
    asked = _by_step(result, step)
    rows = []
    for index in range(math.ceil(length / step)):
        start = result.begin + index * step
        end = min(start + step, result.end)
        outcomes = asked.get(index, [])
        queue = [item for item in result.queue if start < item.time <= end]
        during = list(_between(result.replicas, start, end))
        rows.append(
            {
                "start_seconds": index * step,
                "requests_per_second": len(outcomes) / (end - start),
                "desired_replicas": max(item.desired for item, _ in during),
                "ready_replicas": sum(item.ready * share for item, share in during),
                "nodes": max(item.nodes for item, _ in during),
                "running": _mean(queue, lambda item: item.running),
                "waiting": _mean(queue, lambda item: item.waiting + item.unsent),
                "first_token_p90_seconds": percentile(
                    _known(item.time_to_first_token for item in outcomes), 0.9
                ),
            }
        )
    return rows


def percentiles(result: Result, step: float = 60.0) -> list[Document]:
    """Return the times of the requests that arrived in each step of time.

    Args:
        result: What happened.
        step: Seconds of a step. Default: a minute.
    """
    found = []
    for index, outcomes in sorted(_by_step(result, step).items()):
        first = list(_known(item.time_to_first_token for item in outcomes))
        whole = list(_known(item.latency for item in outcomes))
        found.append(
            {
                "time": (index + 0.5) * step,
                **{
                    f"{name}_{key}": percentile(values, share)
                    for name, values in (("first_token", first), ("latency", whole))
                    for key, share in SHARES.items()
                },
            }
        )
    return found


def spent(result: Result, step: float = 60.0) -> list[tuple[float, float | None]]:
    """Return what the nodes have cost by each time, in USD, None without a price.

    Args:
        result: What happened.
        step: Seconds between two times. Default: a minute.
    """
    length = result.end - result.begin
    times = [index * step for index in range(math.ceil(length / step))]
    return [
        (time, _usd_until(result, result.begin + time)) for time in [*times, length]
    ]


def starts(result: Result) -> list[tuple[str, list[tuple[str, float, float]]]]:
    """Return the stages of each pod created in the trace, as begin and length.

    Args:
        result: What happened.
    """
    found = []
    for pod in result.pods:
        if not result.begin <= pod.created_at < result.end:
            continue
        ends = [time for time, _ in pod.stages[1:]] + [result.now]
        stages = [
            (stage, begin - result.begin, end - begin)
            for (begin, stage), end in zip(pod.stages, ends, strict=True)
            if stage not in {"ready", "stopping", "ended"}
        ]
        found.append((pod.name, stages))
    return found


def write_csv(directory: Path, result: Result) -> None:
    """Write requests.csv, replicas.csv, queue.csv and nodes.csv.

    Args:
        directory: Where; made if it is not there.
        result: What happened.

    Raises:
        OSError: It cannot be written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    for name, rows in _tables(result).items():
        with (directory / name).open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)


def _tables(result: Result) -> dict[str, list[Sequence[Any]]]:
    begin = result.begin
    requests = (
        "arrival prompt_tokens answer_tokens cached_tokens replica "
        "time_to_first_token time_per_output_token latency lost preemptions"
    )
    replicas = "time desired pending starting ready draining nodes"
    queue = "time running waiting unsent kv_usage"
    nodes = "name instance capacity_type usd_per_hour launched ready ended end_reason"
    return {
        "requests.csv": [
            requests.split(),
            *(
                (
                    item.request.arrival - begin,
                    item.request.prompt_tokens,
                    item.request.answer_tokens,
                    item.request.cached_tokens,
                    item.replica,
                    item.time_to_first_token,
                    item.time_per_output_token,
                    item.latency,
                    item.lost,
                    item.preemptions,
                )
                for item in result.outcomes
            ),
        ],
        "replicas.csv": [
            replicas.split(),
            *(_values(item, replicas, begin) for item in result.replicas),
        ],
        "queue.csv": [
            queue.split(),
            *(_values(item, queue, begin) for item in result.queue),
        ],
        "nodes.csv": [
            nodes.split(),
            *(
                (
                    node.name,
                    node.instance.name,
                    node.capacity_type,
                    node.usd_per_hour,
                    node.launched_at - begin,
                    None if node.ready_at is None else node.ready_at - begin,
                    None if node.ended_at is None else node.ended_at - begin,
                    node.end_reason,
                )
                for node in result.nodes
            ),
        ],
    }


def _values(item: Sample | QueueSample, names: str, begin: float) -> list[Any]:
    time, *rest = (getattr(item, name) for name in names.split())
    return [time - begin, *rest]


def _by_step(result: Result, step: float) -> dict[int, list[Any]]:
    found: dict[int, list[Any]] = {}
    last = math.ceil((result.end - result.begin) / step) - 1
    for item in result.outcomes:
        # the last request may arrive when the trace ends
        index = min(int((item.request.arrival - result.begin) // step), last)
        found.setdefault(index, []).append(item)
    return found


def _between(
    samples: Iterable[Sample], start: float, end: float
) -> Iterator[tuple[Sample, float]]:
    """Return what there was in a time, with the share of the time that it lasted."""
    ordered = list(samples)
    for index, item in enumerate(ordered):
        until = ordered[index + 1].time if index + 1 < len(ordered) else end
        lasted = min(until, end) - max(item.time, start)
        if lasted > 0:
            yield item, lasted / (end - start)


def _mean(queue: Sequence[QueueSample], count: Callable[[QueueSample], float]) -> float:
    return sum(map(count, queue)) / len(queue) if queue else 0.0


def _usd_until(result: Result, time: float) -> float | None:
    total = 0.0
    for node in result.nodes:
        if node.usd_per_hour is None:
            return None
        total += node.usd_per_hour / 3_600 * _paid(node, result, time)
    return total


def _paid(node: Node, result: Result, time: float) -> float:
    ended = result.now if node.ended_at is None else node.ended_at
    return max(0.0, min(ended, time) - max(node.launched_at, result.begin))


def _known(values: Iterable[float | None]) -> Iterator[float]:
    return (value for value in values if value is not None)
