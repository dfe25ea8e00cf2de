"""The commands of the simulator: their options, and what is done with the answers."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from eks_inference._check import Problems
from eks_inference.cli import documents
from eks_inference.cli.inputs import (
    DOES_NOT_FIT,
    AsJson,
    Length,
    Spot,
    reporting,
    show,
    write,
)
from eks_inference.planning.plan import Plan

DEFAULT_MODEL = "mistral-7b-awq"

DEFAULT_GPU = "l4"

SLO_FIRST_TOKEN = 2.0
"""Seconds within which MLPerf's server scenario wants the first token of Llama 2 70B,
Llama 3.1 8B and Mixtral 8x7B. Source: mlcommons/inference@001712e9 loadgen/mlperf.conf
(``ttft_latency``)."""

DEFAULT_POLICIES = "queue,guide,guide-as-written,keda-defaults,cpu,kpa,foresight"

TraceFile = Annotated[
    Path | None,
    typer.Argument(
        metavar="[TRACE]",
        help="File of a published trace: Azure, BurstGPT, Vidur or Mooncake. "
        "[default: an hour of made-up requests]",
    ),
]
ModelName = Annotated[
    str,
    typer.Option(
        "--model", metavar="NAME", help="A name of the catalogue or a path, as in fit."
    ),
]
PoolGpus = Annotated[
    list[str] | None,
    typer.Option(
        "--gpu",
        metavar="GPU",
        help="GPU of the pool, such as l4; may be given again. "
        f"[default: {DEFAULT_GPU} for {DEFAULT_MODEL}, else as plan]",
    ),
]
Fewest = Annotated[int, typer.Option(help="Fewest replicas.")]
Most = Annotated[int, typer.Option(help="Most replicas.")]
Seed = Annotated[int, typer.Option(help="Seed of all chance, from 0 on.")]
RateFactor = Annotated[
    float, typer.Option(help="Multiply the rate: the trace is played that much faster.")
]
Slo = Annotated[
    float,
    typer.Option(metavar="SECONDS", help="After this a first token is late."),
]
Interruptions = Annotated[
    float,
    typer.Option(help="Interruptions of a spot node per hour, with --spot-ratio."),
]
PrefixHits = Annotated[
    float, typer.Option(help="Share of each prompt that is in the prefix cache.")
]
BalancerName = Annotated[
    str, typer.Option(help="Who gets a request: least-outstanding or round-robin.")
]
Headroom = Annotated[int, typer.Option(help="Empty nodes that are kept.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What both commands are asked to replay; see their options.

    Args:
        trace: File of the trace, or None.
        model: The model.
        gpu: GPUs of the pool, or None.
        min_replicas: Fewest replicas.
        max_replicas: Most replicas.
        max_model_len: Longest sequence in tokens, or None.
        seed: Seed of all chance.
        rate_factor: What the rate is multiplied by.
        slo_first_token: Seconds after which a first token is late.
        spot_ratio: Spot price as a share of on demand, or None for on-demand nodes.
        interruptions_per_hour: Interruptions of a spot node.
        headroom: Empty nodes that are kept.
        prefix_hits: Share of each prompt that is in the prefix cache.
        balancer: Which replica gets a request.
    """

    trace: Path | None
    model: str
    gpu: list[str] | None
    min_replicas: int
    max_replicas: int
    max_model_len: int | None
    seed: int
    rate_factor: float
    slo_first_token: float
    spot_ratio: float | None
    interruptions_per_hour: float
    headroom: int
    prefix_hits: float = 0.0
    balancer: str = "least-outstanding"


@reporting
def simulate(
    trace: TraceFile = None,
    *,
    model: ModelName = DEFAULT_MODEL,
    gpu: PoolGpus = None,
    policy: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="queue, guide, guide-as-written, keda-defaults, cpu, kpa, foresight "
            "or fixed:N.",
        ),
    ] = "queue",
    min_replicas: Fewest = 1,
    max_replicas: Most = 10,
    max_model_len: Length = None,
    seed: Seed = 0,
    rate_factor: RateFactor = 1.0,
    slo_first_token: Slo = SLO_FIRST_TOKEN,
    spot_ratio: Spot = None,
    interruptions_per_hour: Interruptions = 0.0,
    headroom: Headroom = 0,
    prefix_hits: PrefixHits = 0.0,
    balancer: BalancerName = "least-outstanding",
    html: Annotated[
        Path | None, typer.Option(help="Write a page with plots to this file.")
    ] = None,
    csv: Annotated[
        Path | None,
        typer.Option(
            metavar="DIRECTORY", help="Write requests, replicas, queue, nodes as CSV."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Replay a trace against a model on its pool: who waits, and what it costs."""
    # the simulator takes as long to load as all else
    from eks_inference.cli import runs  # noqa: PLC0415

    if html is not None:
        runs.require_plots()
    asked = Asked(
        trace=trace,
        model=model,
        gpu=gpu,
        min_replicas=min_replicas,
        max_replicas=max_replicas,
        max_model_len=max_model_len,
        seed=seed,
        rate_factor=rate_factor,
        slo_first_token=slo_first_token,
        spot_ratio=spot_ratio,
        interruptions_per_hour=interruptions_per_hour,
        headroom=headroom,
        prefix_hits=prefix_hits,
        balancer=balancer,
    )
    prepared = runs.prepare(asked, [policy])
    _require_fit(prepared.plan, prepared.prices, as_json=as_json)
    result, document = runs.run(prepared)
    if csv is not None:
        _write_csv(csv, result)
    if html is not None:
        from eks_inference.cli.report import report  # noqa: PLC0415

        write(html, report(result, document), option="html")
    show("print_simulation", document, as_json=as_json)


@reporting
def compare(
    trace: TraceFile = None,
    *,
    model: ModelName = DEFAULT_MODEL,
    gpu: PoolGpus = None,
    policies: Annotated[
        str,
        typer.Option(
            metavar="NAMES",
            help="Policies with commas between them; ratios are against the first.",
        ),
    ] = DEFAULT_POLICIES,
    seeds: Annotated[int, typer.Option(help="Runs of each policy, 1 to 30.")] = 5,
    min_replicas: Fewest = 1,
    max_replicas: Most = 10,
    max_model_len: Length = None,
    seed: Seed = 0,
    rate_factor: RateFactor = 1.0,
    slo_first_token: Slo = SLO_FIRST_TOKEN,
    spot_ratio: Spot = None,
    interruptions_per_hour: Interruptions = 0.0,
    headroom: Headroom = 0,
    prefix_hits: PrefixHits = 0.0,
    balancer: BalancerName = "least-outstanding",
    as_json: AsJson = False,
) -> None:
    """Replay a trace with several policies and seeds, and compare what they reach."""
    from eks_inference.cli import runs  # noqa: PLC0415

    asked = Asked(
        trace=trace,
        model=model,
        gpu=gpu,
        min_replicas=min_replicas,
        max_replicas=max_replicas,
        max_model_len=max_model_len,
        seed=seed,
        rate_factor=rate_factor,
        slo_first_token=slo_first_token,
        spot_ratio=spot_ratio,
        interruptions_per_hour=interruptions_per_hour,
        headroom=headroom,
        prefix_hits=prefix_hits,
        balancer=balancer,
    )
    names = [name.strip() for name in policies.split(",")]
    prepared = runs.prepare(asked, names, seeds=seeds)
    _require_fit(prepared.plan, prepared.prices, as_json=as_json)
    document = runs.run_several(prepared)
    show("print_comparison", document, as_json=as_json)


def _require_fit(plan: Plan, prices: Any, *, as_json: bool) -> None:
    """Say why a model does not fit its pool, if so, and end."""
    if plan.problems:
        rows = documents.plan_document(plan, prices)["fit"]
        show("print_refusals", rows, as_json=as_json)
        raise typer.Exit(DOES_NOT_FIT)


def _write_csv(directory: Path, result: Any) -> None:
    from eks_inference.cli.series import write_csv  # noqa: PLC0415

    try:
        write_csv(directory, result)
    except OSError as error:
        with Problems() as problems:
            problems.broken(
                "'csv' must be a directory that can be written",
                str(directory),
                str(error.strerror).lower(),
            )
