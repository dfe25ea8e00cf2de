"""The documents as tables in a terminal."""

from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from eks_inference.cli import simulation_texts as texts
from eks_inference.cli.documents import (
    COST_NAMES,
    PRICES,
    TRAFFIC_NAMES,
    Document,
    load_text,
    pool_rows,
    replica_rows,
)

_TEXTS = {"", "GPU", "bound by", "arithmetic", "ready replicas"}
"""Columns of text behind the first; all others hold numbers."""

_LONG = {"", "bound by", "arithmetic"}
"""Columns that may be broken into lines."""


def print_instances(console: Console, rows: Sequence[Document]) -> None:
    """Print instance types."""
    spot = [("spot USD/h", "spot_usd_per_hour")] if _has_spot(rows) else []
    header = "instance|GPUs|GPU|CUDA GiB|vCPUs|pods' GiB|Gbit/s|NVMe GB|USD/h"
    _table(
        console,
        [*header.split("|"), *(name for name, _ in spot)],
        (
            (
                row["instance"],
                row["gpus"],
                row["gpu"],
                f"{row['cuda_memory_mib'] / 1024:.1f}",
                row["vcpus"],
                f"{row['allocatable_memory_mib'] / 1024:,.0f}",
                _gbit(row),
                f"{row['nvme_gb']:,}" if row["nvme_gb"] else "-",
                _usd(row["usd_per_hour"]),
                *(_usd(row[key]) for _, key in spot),
            )
            for row in rows
        ),
    )
    _note(
        console,
        "CUDA GiB: memory of a GPU that CUDA reports. pods' GiB: memory of the node "
        "that pods can request. Gbit/s: baseline-burst of the network. "
        f"Prices: {PRICES}.",
    )


def print_fits(console: Console, rows: Sequence[Document]) -> None:
    """Print where a model fits."""
    header = (
        "instance|GPUs|usable|weights|overhead|KV cache|KV tokens|longest|typical|USD/h"
    )
    _table(
        console,
        header.split("|"),
        (
            (
                row["instance"],
                f"{row['gpus']} x {row['gpu']}",
                *(
                    f"{row['gib_per_gpu'][part]:.1f}"
                    for part in ("usable", "weights", "overhead", "kv_cache")
                ),
                f"{row['kv_tokens']:,}",
                f"{row['longest_sequences_at_once']:,.1f}",
                f"{row['typical_sequences_at_once']:,}",
                _usd(row["usd_per_hour"]),
            )
            for row in rows
        ),
    )
    first = rows[0]
    _note(
        console,
        "Memory in GiB of each GPU: what vLLM may use, and what it is used for. "
        "longest, typical: sequences at once that the KV cache has room for, of "
        f"{first['max_model_len']:,} tokens (--max-model-len) and of "
        f"{first['typical_tokens']:,}. Prices: {PRICES}.",
    )


def print_refusals(console: Console, rows: Sequence[Document]) -> None:
    """Print why a model does not fit, and what would; where it fits, nothing."""
    for row in rows:
        if row["fits"]:
            continue
        _line(
            console,
            f"[bold]{escape(row['model'])} does not fit[/] {row['gpus']} of the GPUs "
            f"of {row['instance']} ({row['gpu']}):",
        )
        for problem in row["problems"]:
            _line(console, f"  - {escape(problem)}")
        if row["repairs"]:
            _line(console, "What fits, cheapest first:")
        for repair in row["repairs"]:
            extra = _extra(repair["extra_usd_per_hour"])
            _line(console, f"  - {escape(repair['change'])}: {extra}")


def print_cold_start(console: Console, start: Document) -> None:
    """Print the ledger of a cold start."""
    total = {**start, "phase": "total", "bound_by": f"on {start['instance']}"}
    _table(
        console,
        ("phase", "p50 s", "p90 s", "bound by"),
        (
            (row["phase"], *_seconds(row), row["bound_by"])
            for row in [*start["phases"], total]
        ),
    )
    _table(
        console,
        ("what each option saves", "p50 s", "p90 s"),
        ((row["option"], *_seconds(row)) for row in start["savings"]),
    )


def print_plan(console: Console, plan: Document) -> None:
    """Print a plan, or why there is none."""
    if not plan["fits"]:
        return print_refusals(console, plan["fit"])
    model = plan["model"]
    _line(
        console,
        f"[bold]{escape(model['name'])}[/]: {escape(model['architecture'])}, "
        f"{model['parameters'] / 1e9:.2f} billion parameters, "
        f"quantization {model['quantization']}, "
        f"{model['weight_bytes'] / 1e9:.2f} GB of weights\n",
    )
    for note in plan["notes"]:
        _line(console, f"Note: {escape(note)}\n")
    _table(console, ("pool", ""), pool_rows(plan))
    _table(console, ("replica", ""), replica_rows(plan))
    print_fits(console, plan["fit"])
    console.print()
    print_cold_start(console, plan["cold_start"])
    _print_cost(console, plan["cost"])
    return None


def print_simulation(console: Console, run: Document) -> None:
    """Print what happened in a run."""
    _table(console, ("replayed", ""), texts.setting_rows(run))
    _table(console, ("result", ""), texts.run_rows(run))
    _table(console, ("seconds", "p50", "p90", "p99"), texts.time_rows(run))
    _table(console, texts.TIMELINE, texts.timeline_rows(run))
    _note(
        console,
        "wanted, nodes: most in the step. ready, running, waiting: on average; "
        f"waiting with those that no replica has yet. {texts.MODEL_NOTE}",
    )


def print_comparison(console: Console, comparison: Document) -> None:
    """Print what several policies reached."""
    seeds, first = comparison["seeds"], comparison["policies"][0]["policy"]
    _table(console, ("replayed", ""), texts.setting_rows(comparison))
    for measures in (texts.WAITING, texts.SPENDING):
        header = ("policy", *measures.values())
        _table(console, header, texts.mean_rows(comparison, measures))
    for measures in (texts.WAITING, texts.SPENDING):
        header = (f"as a multiple of {first}", *measures.values())
        _table(console, header, texts.ratio_rows(comparison, measures))
    _note(
        console,
        f"Times in seconds. Mean of {len(seeds)} runs (seeds {seeds[0]} to "
        f"{seeds[-1]}) ± half of the 95 % confidence interval (Student's t); seeds "
        "change nodes, starts and clocks, not the requests. late: no first token in "
        f"{comparison['slo_first_token_seconds']:g} s, lost ones too. "
        f"{texts.MODEL_NOTE}",
    )


def _print_cost(console: Console, cost: Document) -> None:
    bought = [name for name in ("on_demand", "spot") if cost[name]]
    _table(
        console,
        ("cost in USD", *(name.replace("_", " ") for name in bought), "arithmetic"),
        (
            (
                text,
                *(f"{cost[name][key]['usd']:,.3f}" for name in bought),
                cost["on_demand"][key]["arithmetic"],
            )
            for key, text in COST_NAMES.items()
        ),
    )
    _table(
        console,
        ("image and weights, a month", "USD", "arithmetic"),
        (
            (text, f"{way['usd']:,.2f}", way["arithmetic"])
            for key, text in TRAFFIC_NAMES.items()
            for way in [cost["traffic_per_month"][key]]
        ),
    )
    _note(console, load_text(cost))


def _table(
    console: Console, header: Sequence[str], rows: Iterable[Sequence[Any]]
) -> None:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for index, name in enumerate(header):
        is_number = index > 0 and name not in _TEXTS
        table.add_column(
            name,
            justify="right" if is_number else "left",
            no_wrap=name not in _LONG,
        )
    for row in rows:
        table.add_row(*(escape(str(cell)) for cell in row))
    console.print(table)
    console.print()


def _line(console: Console, text: str) -> None:
    # whole, however narrow the terminal: it can be searched and copied
    console.print(text, soft_wrap=True, highlight=False)


def _note(console: Console, text: str) -> None:
    console.print(escape(text), style="dim", highlight=False)


def _has_spot(rows: Sequence[Document]) -> bool:
    return any(row["spot_usd_per_hour"] is not None for row in rows)


def _seconds(row: Document) -> tuple[str, str]:
    return f"{row['p50_seconds']:,.0f}", f"{row['p90_seconds']:,.0f}"


def _usd(value: float | None) -> str:
    return "-" if value is None else f"{value:,.3f}"


def _extra(value: float | None) -> str:
    return "no price known" if value is None else f"{value:+,.2f} USD/h"


def _gbit(row: Document) -> str:
    low, high = row["network_mbps"] / 1000, row["network_burst_mbps"] / 1000
    return f"{low:g}" if low == high else f"{low:g}-{high:g}"
