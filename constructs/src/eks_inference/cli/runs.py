"""What the commands of the simulator run, and what they say as plain data."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec

from eks_inference._check import Problems
from eks_inference.capacity import Capacity
from eks_inference.cli import documents, simulate
from eks_inference.cli.documents import Document
from eks_inference.cli.inputs import accelerators_of, checkpoint_of
from eks_inference.cli.series import SHARES, timeline
from eks_inference.planning.cost import Load
from eks_inference.planning.instances import Prices
from eks_inference.planning.plan import Plan, make_plan
from eks_inference.scaling import QueueScaling
from eks_inference.simulation import compare
from eks_inference.simulation._policy import ScalingPolicy
from eks_inference.simulation.generators import bundled
from eks_inference.simulation.policies import Fixed
from eks_inference.simulation.results import Result
from eks_inference.simulation.run import simulate as simulate_once
from eks_inference.simulation.scenario import BALANCERS, Scenario
from eks_inference.simulation.trace import Trace
from eks_inference.simulation.trace_files import read_trace

_LONGEST_SLO_SECONDS = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What is to be run.

    Args:
        asked: What the command was asked.
        plan: The model on its pool, which it may not fit.
        prices: What nodes cost.
        trace: What clients ask.
        policies: What scales it.
        seeds: Seeds of the runs.
    """

    asked: simulate.Asked
    plan: Plan
    prices: Prices
    trace: Trace
    policies: tuple[ScalingPolicy, ...]
    seeds: tuple[int, ...]

    @property
    def scenario(self) -> Scenario:
        """What is deployed."""
        return Scenario(
            balancer=self.asked.balancer,
            plan=self.plan,
            prices=self.prices,
            headroom=self.asked.headroom,
            interruptions_per_hour=self.asked.interruptions_per_hour,
        )


def require_plots() -> None:
    """Refuse a page with plots where the library that draws them is missing."""
    if find_spec("plotly") is None:
        with Problems() as problems:
            problems.add(
                "'html' needs plotly, which is not installed; "
                "run: pip install 'eks-inference[report]'"
            )


def prepare(asked: simulate.Asked, names: list[str], *, seeds: int = 1) -> Prepared:
    """Return what is to be run.

    Args:
        asked: What the command was asked.
        names: Names of the policies.
        seeds: How many seeds, from the one that was asked for on.

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.
    """
    gpu = asked.gpu
    if not gpu and asked.model == simulate.DEFAULT_MODEL:
        gpu = [simulate.DEFAULT_GPU]
    spot = asked.spot_ratio is not None
    with Problems() as problems:
        _check_numbers(problems, asked, seeds)
        problems.unique("policies", names, repair="remove one")
        most = max(1, asked.max_replicas)
        policies = [
            problems.attempt(partial(compare.policy_named, name, max_replicas=most))
            for name in dict.fromkeys(names)
        ]
        scaling = problems.attempt(
            lambda: QueueScaling(
                min_replicas=asked.min_replicas, max_replicas=asked.max_replicas
            )
        )
        prices = problems.attempt(lambda: Prices(spot_ratio=asked.spot_ratio))
        accelerators = problems.attempt(lambda: accelerators_of(gpu))
        checkpoint = problems.attempt(lambda: checkpoint_of(asked.model, None))
        trace = problems.attempt(lambda: _trace(asked))
    assert checkpoint is not None
    assert prices is not None
    assert trace is not None
    plan = make_plan(
        checkpoint,
        accelerators=accelerators,
        max_model_len=asked.max_model_len,
        scaling=scaling,
        capacity=Capacity.spot_with_fallback() if spot else Capacity.on_demand(),
        load=Load(
            requests_per_second=trace.rate,
            prompt_tokens=trace.prompt_lengths.mean,
            answer_tokens=trace.answer_lengths.mean,
        ),
        prices=prices,
    )
    return Prepared(
        asked=asked,
        plan=plan,
        prices=prices,
        trace=_clipped(trace, plan.serving.sizing.max_model_len),
        policies=tuple(item for item in policies if item is not None),
        seeds=tuple(range(asked.seed, asked.seed + seeds)),
    )


def run(prepared: Prepared) -> tuple[Result, Document]:
    """Return what happened in one run, and the same as plain data.

    Args:
        prepared: What is to be run.
    """
    (policy,), (seed,) = prepared.policies, prepared.seeds
    result = simulate_once(prepared.scenario, prepared.trace, policy, seed=seed)
    slo = prepared.asked.slo_first_token
    found = compare.measures(result, slo_first_token=slo)
    return result, {
        **_setting(prepared),
        "policy": policy.name,
        "seed": seed,
        "requests": {
            "all": len(result.outcomes),
            "answered": len(result.finished),
            "lost": result.lost,
            "late_share": found["late_share"],
        },
        "seconds": {
            name: {key: found[f"{name}_{key}_seconds"] for key in SHARES}
            for name in ("first_token", "per_token", "latency")
        },
        "replicas": {"mean": result.mean_replicas, "most": result.most_replicas},
        "nodes": {
            "launched": len(result.nodes),
            "interrupted": sum(
                node.end_reason == "interrupted" for node in result.nodes
            ),
        },
        "cold_starts": {
            "count": len(result.cold_starts),
            "p50_seconds": found["cold_start_p50_seconds"],
            "most_seconds": max(result.cold_starts, default=None),
        },
        "cost": {
            key: found[key]
            for key in ("gpu_hours", "usd", "usd_per_million_output_tokens")
        },
        "timeline": timeline(result),
    }


def run_several(prepared: Prepared) -> Document:
    """Return a comparison as plain data; a terminal shows how far it is.

    Args:
        prepared: What is to be run.
    """
    total = len(prepared.policies) * len(prepared.seeds)
    with _bar(total) as advance:
        rows = compare.compare(
            prepared.scenario,
            prepared.trace,
            prepared.policies,
            seeds=prepared.seeds,
            slo_first_token=prepared.asked.slo_first_token,
            progress=advance,
        )
    return {
        **_setting(prepared),
        "seeds": list(prepared.seeds),
        "policies": [
            {
                "policy": row.policy,
                "measures": {
                    name: _measure(row, rows[0], name) for name in row.runs[0]
                },
            }
            for row in rows
        ],
    }


@contextmanager
def _bar(total: int) -> Iterator[Callable[[], None]]:
    """Show how far a comparison is on the standard error, where that is a terminal."""
    if not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import Progress  # noqa: PLC0415

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("runs", total=total)
        yield lambda: progress.advance(task)


def _check_numbers(problems: Problems, asked: simulate.Asked, seeds: int) -> None:
    problems.integer("seed", asked.seed, minimum=0)
    problems.integer("seeds", seeds, minimum=1, maximum=compare.MOST_SEEDS)
    problems.number(
        "slo_first_token",
        asked.slo_first_token,
        minimum=0.001,
        maximum=_LONGEST_SLO_SECONDS,
    )
    problems.integer("headroom", asked.headroom, minimum=0, maximum=1_000)
    problems.number("prefix_hits", asked.prefix_hits, minimum=0, maximum=1)
    problems.one_of("balancer", asked.balancer, tuple(BALANCERS))
    if asked.min_replicas == 0:
        problems.broken(
            "'min_replicas' must be at least 1",
            0,
            "nothing in a simulation wakes a model without replicas",
        )
    rate = asked.interruptions_per_hour
    known = problems.number("interruptions_per_hour", rate, minimum=0, maximum=3_600)
    if known and rate > 0 and asked.spot_ratio is None:
        problems.broken(
            "'interruptions_per_hour' must be 0 without 'spot_ratio'",
            rate,
            "only spot nodes are interrupted",
        )


def _trace(asked: simulate.Asked) -> Trace:
    trace = bundled() if asked.trace is None else read_trace(asked.trace)
    if asked.rate_factor != 1:
        trace = trace.scaled(asked.rate_factor)
    if 0 < asked.prefix_hits <= 1:
        trace = trace.with_prefix_hits(asked.prefix_hits)
    return trace


def _clipped(trace: Trace, length: int) -> Trace:
    longest = max(item.prompt_tokens + item.answer_tokens for item in trace.requests)
    return trace if longest <= length else trace.clipped(length)


def _measure(row: compare.Row, first: compare.Row, name: str) -> Document | None:
    found = row.interval(name)
    if found is None:
        return None
    return {
        "mean": found.mean,
        "half_width": found.half_width,
        "ratio": row.ratio(first, name),
    }


def _setting(prepared: Prepared) -> Document:
    """Return what was replayed, and against what."""
    plan, trace, asked = prepared.plan, prepared.trace, prepared.asked
    sizing = plan.serving.sizing
    return {
        "model": plan.fit.checkpoint.name,
        "instances": [item.name for item in sizing.instances],
        "gpus_per_replica": sizing.gpus,
        "capacity": list(plan.pool.capacity.types),
        "headroom": asked.headroom,
        "interruptions_per_hour": asked.interruptions_per_hour,
        "min_replicas": plan.scaling.min_replicas,
        "max_replicas": plan.scaling.max_replicas,
        "max_model_len": sizing.max_model_len,
        "max_num_seqs": sizing.max_num_seqs,
        "prices": documents.PRICES,
        "spot_ratio": asked.spot_ratio,
        "slo_first_token_seconds": asked.slo_first_token,
        "trace": {
            "name": trace.name,
            "source": trace.source,
            "notes": list(trace.notes),
            "requests": len(trace.requests),
            "seconds": trace.duration,
            "requests_per_second": trace.rate,
            "peak_requests_per_second": trace.peak_rate,
            "prompt_tokens": trace.prompt_lengths.mean,
            "answer_tokens": trace.answer_lengths.mean,
        },
        "notes": [*plan.notes, *_own_minimums(prepared)],
    }


def _own_minimums(prepared: Prepared) -> list[str]:
    """Return which policies do not heed the fewest replicas that were asked for."""
    least = prepared.asked.min_replicas
    resting = {item: item.at_rest(prepared.scenario) for item in prepared.policies}
    return [
        f"{item.name} has a minimum of its own: {count}"
        for item, count in resting.items()
        if count != least and not isinstance(item, Fixed)
    ]
