"""Several policies on one trace, with several seeds, and how sure their means are."""

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from eks_inference._check import Problems
from eks_inference.simulation._foresight import Foresight
from eks_inference.simulation._policy import ScalingPolicy
from eks_inference.simulation.policies import (
    ConcurrencyScaling,
    CpuScaling,
    Fixed,
    KedaScaling,
    guide,
    guide_as_written,
    keda_defaults,
)
from eks_inference.simulation.results import Result, percentile
from eks_inference.simulation.run import simulate
from eks_inference.simulation.scenario import Scenario
from eks_inference.simulation.trace import Trace

MOST_SEEDS = 30
"""Most seeds of a comparison: the quantiles below end there."""

_T_975 = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045),
)
"""Student's t that 97.5 % of the distribution lie below, from one degree of freedom on.
Source: NIST/SEMATECH e-Handbook of Statistical Methods, section 1.3.6.7.2."""

_MADE: Mapping[str, Callable[[int], ScalingPolicy]] = {
    "queue": lambda _: KedaScaling(),
    "guide": guide,
    "guide-as-written": guide_as_written,
    "keda-defaults": keda_defaults,
    "cpu": lambda _: CpuScaling(),
    "kpa": lambda _: ConcurrencyScaling(),
    "foresight": lambda _: Foresight(),
}

POLICY_NAMES = tuple(_MADE)
"""Names of the policies that ``policy_named`` knows, apart from ``fixed:N``."""


def policy_named(name: str, *, max_replicas: int) -> ScalingPolicy:
    """Return a policy by its name.

    Args:
        name: One of ``POLICY_NAMES``, or ``fixed:N`` for N replicas.
        max_replicas: Most replicas of the scenario.

    Raises:
        ConfigurationError: There is no such policy.
    """
    made = _MADE.get(name)
    if made is not None:
        return made(max_replicas)
    kind, _, number = name.partition(":")
    with Problems() as problems:
        if kind != "fixed" or not (number.isascii() and number.isdigit()):
            known = ", ".join(map(repr, (*_MADE, "fixed:N")))
            problems.broken(f"'policy' must be one of {known}", name)
        # of more digits than a limit has, the first ones exceed it as well
        elif not 1 <= int(number[:9]) <= max_replicas:
            problems.broken(
                f"'policy' must be fixed:1 to fixed:{max_replicas}",
                name,
                "raise 'max_replicas'" if number.strip("0") else "",
            )
    return Fixed(int(number))


def measures(result: Result, *, slo_first_token: float) -> dict[str, float | None]:
    """Return what a run is judged by; None is what it does not have.

    Times are in seconds, of requests that got their whole answer.

    Args:
        result: What happened.
        slo_first_token: Seconds after which a first token is late.
    """
    tokens = sum(item.request.answer_tokens for item in result.finished)
    usd = result.usd
    shares = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
    times = {
        "first_token": result.first_token,
        "per_token": result.per_token,
        "latency": result.latency,
    }
    return {
        "lost": float(sum(result.lost.values())),
        "late_share": result.late(slo_first_token),
        **{
            f"{name}_{key}_seconds": find(share)
            for name, find in times.items()
            for key, share in shares.items()
        },
        "mean_replicas": result.mean_replicas,
        "most_replicas": float(result.most_replicas),
        "cold_starts": float(len(result.cold_starts)),
        "cold_start_p50_seconds": percentile(result.cold_starts, 0.5),
        "gpu_hours": result.gpu_hours,
        "usd": usd,
        "usd_per_million_output_tokens": (
            None if usd is None or not tokens else usd / tokens * 1e6
        ),
    }


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and how far the true one may be from it.

    Args:
        mean: Average.
        half_width: Half of the 95 % confidence interval, or None for one value.
    """

    mean: float
    half_width: float | None

    @classmethod
    def of(cls, values: Iterable[float]) -> Self:
        """Return the interval of independent values, by Student's t.

        Args:
            values: 1 to 30 values.

        Raises:
            ConfigurationError: There are fewer or more.
        """
        found = list(values)
        with Problems("interval") as problems:
            problems.integer("values", len(found), minimum=1, maximum=MOST_SEEDS)
        mean = statistics.fmean(found)
        if len(found) == 1:
            return cls(mean, None)
        deviation = statistics.stdev(found)
        return cls(mean, _T_975[len(found) - 2] * deviation / math.sqrt(len(found)))


@dataclass(frozen=True, slots=True)
class Row:
    """A policy's runs.

    Args:
        policy: What scaled them.
        runs: The ``measures`` of each seed, in the order of the seeds.
    """

    policy: str
    runs: tuple[Mapping[str, float | None], ...]

    def interval(self, measure: str) -> Interval | None:
        """Return mean and confidence interval, or None where a run has no such value.

        Args:
            measure: A key of ``measures``.
        """
        values = [run[measure] for run in self.runs]
        known = [value for value in values if value is not None]
        return Interval.of(known) if len(known) == len(values) else None

    def ratio(self, to: "Row", measure: str) -> float | None:
        """Return the mean as a multiple of another policy's, or None.

        Args:
            to: The other policy's runs.
            measure: A key of ``measures``.
        """
        mine, other = self.interval(measure), to.interval(measure)
        if mine is None or other is None or other.mean == 0:
            return None
        return mine.mean / other.mean


def compare(
    scenario: Scenario,
    trace: Trace,
    policies: Sequence[ScalingPolicy],
    *,
    seeds: Sequence[int],
    slo_first_token: float,
    progress: Callable[[], None] = lambda: None,
) -> tuple[Row, ...]:
    """Run each policy with each seed on the same requests.

    Seeds change what the platform does by chance (times of nodes and starts, phases of
    clocks), not the requests: an interval says how sure a mean is for this trace.

    Args:
        scenario: What is deployed.
        trace: What clients ask.
        policies: What scales it, at least one; ratios are against the first.
        seeds: Seeds, 1 to 30 different ones.
        slo_first_token: Seconds after which a first token is late.
        progress: Called after each run. Default: nothing.

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.
    """
    with Problems("comparison") as problems:
        problems.not_empty("policies", policies, repair="name at least one")
        problems.unique(
            "policies", (item.name for item in policies), repair="remove one"
        )
        problems.integer("seeds", len(seeds), minimum=1, maximum=MOST_SEEDS)
        if len(set(seeds)) < len(seeds):
            problems.broken("'seeds' must be different", list(seeds))
    rows = []
    for policy in policies:
        runs = []
        for seed in seeds:
            result = simulate(scenario, trace, policy, seed=seed)
            runs.append(measures(result, slo_first_token=slo_first_token))
            progress()
        rows.append(Row(policy.name, tuple(runs)))
    return tuple(rows)
