"""What the simulator found, as rows of texts that tables and pages share."""

from collections.abc import Mapping

from eks_inference.cli.documents import Document

TIMES = {
    "first_token": "to the first token",
    "per_token": "per output token",
    "latency": "to the last token",
}
"""What is timed, as people read it."""

WAITING = {
    "late_share": "late %",
    "first_token_p50_seconds": "TTFT p50",
    "first_token_p90_seconds": "TTFT p90",
    "first_token_p99_seconds": "TTFT p99",
    "latency_p90_seconds": "latency p90",
}
"""How long clients wait."""

SPENDING = {
    "mean_replicas": "replicas",
    "cold_starts": "cold starts",
    "gpu_hours": "GPU-hours",
    "usd": "USD",
    "usd_per_million_output_tokens": "USD/M tokens out",
}
"""What it takes. JSON has more measures of both kinds."""

MODEL_NOTE = (
    "Simulated, not measured: the policies' arithmetic is exact, the times of nodes, "
    "starts and tokens come from models."
)

_LARGE = 100
"""From here on, digits behind the point say nothing more."""


def setting_rows(document: Document) -> list[tuple[str, str]]:
    """Return what was replayed and against what.

    Args:
        document: A run or a comparison as plain data.
    """
    trace, ratio = document["trace"], document["spot_ratio"]
    bought = f"{', '.join(document['instances'])}, {' or '.join(document['capacity'])}"
    spot = "" if ratio is None else f", spot at {ratio:g} of it"
    load = (
        f"{trace['requests']:,} requests in {trace['seconds']:,.0f} s, "
        f"{trace['requests_per_second']:.2f}/s, "
        f"{trace['peak_requests_per_second']:.1f}/s at most, of "
        f"{trace['prompt_tokens']:,.0f} + {trace['answer_tokens']:,.0f} tokens"
    )
    replicas = (
        f"{document['min_replicas']} to {document['max_replicas']} of "
        f"{document['gpus_per_replica']} GPU, {document['max_num_seqs']} sequences "
        f"and {document['max_model_len']:,} tokens"
    )
    return [
        ("model", document["model"]),
        ("nodes", bought),
        ("prices", document["prices"] + spot),
        ("replicas", replicas),
        ("trace", f"{trace['name']} ({trace['source']})"),
        *(("what was done to it", note) for note in trace["notes"]),
        ("load", load),
        *(("note", note) for note in document["notes"]),
    ]


def run_rows(document: Document) -> list[tuple[str, str]]:
    """Return what came of the requests and what it took.

    Args:
        document: A run as plain data.
    """
    asked, starts = document["requests"], document["cold_starts"]
    nodes, cost, replicas = (document[key] for key in ("nodes", "cost", "replicas"))
    lost = ", ".join(f"{count:,} {why}" for why, count in asked["lost"].items())
    launched = f"{nodes['launched']} launched"
    if nodes["interrupted"]:
        launched += f", {nodes['interrupted']} interrupted"
    cold = str(starts["count"])
    if starts["count"]:
        cold += (
            f", {starts['p50_seconds']:.0f} s (p50), "
            f"{starts['most_seconds']:.0f} s at most"
        )
    served = f"{replicas['mean']:.2f} on average, {replicas['most']} at most"
    late = f"no first token in {document['slo_first_token_seconds']:g} s"
    price = cost["usd_per_million_output_tokens"]
    return [
        ("policy", f"{document['policy']}, seed {document['seed']}"),
        ("requests answered", f"{asked['answered']:,} of {asked['all']:,}"),
        ("lost", lost or "0"),
        (late, f"{100 * asked['late_share']:.1f} %"),
        ("replicas that served", served),
        ("nodes", launched),
        ("cold starts", cold),
        ("GPU-hours", f"{cost['gpu_hours']:.2f}"),
        ("USD", number(cost["usd"])),
        ("USD per million output tokens", number(price)),
    ]


def time_rows(document: Document) -> list[tuple[str, ...]]:
    """Return the percentiles of each time in seconds.

    Args:
        document: A run as plain data.
    """
    return [
        (text, *(number(value) for value in document["seconds"][name].values()))
        for name, text in TIMES.items()
    ]


TIMELINE = (
    "from",
    "requests/s",
    "wanted",
    "ready",
    "nodes",
    "running",
    "waiting",
    "TTFT p90 s",
    "ready replicas",
)
"""Columns of a timeline."""


def timeline_rows(document: Document) -> list[tuple[str, ...]]:
    """Return a run step by step, with a bar for each replica.

    Args:
        document: A run as plain data.
    """
    steps = document["timeline"]
    # one mark for a replica, or fewer where they would not fit the line
    most = max(step["ready_replicas"] for step in steps)
    scale = min(1.0, 20 / most) if most else 1.0
    return [
        (
            _clock(step["start_seconds"]),
            f"{step['requests_per_second']:.2f}",
            str(step["desired_replicas"]),
            f"{step['ready_replicas']:.1f}",
            str(step["nodes"]),
            f"{step['running']:.1f}",
            f"{step['waiting']:.1f}",
            number(step["first_token_p90_seconds"]),
            "█" * round(step["ready_replicas"] * scale),
        )
        for step in steps
    ]


def mean_rows(document: Document, measures: Mapping[str, str]) -> list[tuple[str, ...]]:
    """Return the mean of each measure and policy with its confidence interval.

    Args:
        document: A comparison as plain data.
        measures: The measures.
    """
    return [
        (row["policy"], *(_mean(row, name) for name in measures))
        for row in document["policies"]
    ]


def ratio_rows(
    document: Document, measures: Mapping[str, str]
) -> list[tuple[str, ...]]:
    """Return each mean as a multiple of the first policy's.

    Args:
        document: A comparison as plain data.
        measures: The measures.
    """
    return [
        (row["policy"], *(_ratio(row, name) for name in measures))
        for row in document["policies"]
    ]


def number(value: float | None) -> str:
    """Return a number for people: more digits where it is small.

    Args:
        value: The number, or None where there is none.
    """
    if value is None:
        return "-"
    digits = 3 if abs(value) < 1 else 2 if abs(value) < _LARGE else 0
    return f"{value:,.{digits}f}"


def _mean(row: Document, name: str) -> str:
    found = row["measures"][name]
    if found is None:
        return "-"
    factor = 100 if name == "late_share" else 1
    mean, half = found["mean"] * factor, found["half_width"]
    digits = 2 if mean < _LARGE else 0
    shown = f"{mean:,.{digits}f}"
    return shown if half is None else f"{shown} ± {half * factor:,.{digits}f}"


def _ratio(row: Document, name: str) -> str:
    found = row["measures"][name]
    if found is None or found["ratio"] is None:
        return "-"
    return f"{found['ratio']:,.2f}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
