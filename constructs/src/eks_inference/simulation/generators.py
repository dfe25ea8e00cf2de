"""Traces made from a rate and a seed: the same arguments give the same trace."""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from random import Random
from typing import Any

from eks_inference._check import Problems
from eks_inference.simulation._records import LONGEST_SECONDS
from eks_inference.simulation.lengths import CONVERSATIONS, Lengths, check_pairs
from eks_inference.simulation.requests import Request
from eks_inference.simulation.trace import (
    MOST_REQUESTS,
    Trace,
    positive,
)

HIGHEST_RATE = 100_000
"""Most requests per second. Assumed to be a mistake when exceeded."""

BUNDLED_SEED = 2023
"""Seed of the bundled trace. Chosen."""

_DAY_SECONDS = 86_400

_STEPS_PER_PERIOD = 288
"""Straight pieces of a sine wave, one for each five minutes of a day; they are at most
0.006 % of the amplitude away from it ((pi / 288)^2 / 2)."""

MOST_PERIODS = 10_000
"""Most bursts or days of a trace. Assumed to be a mistake when exceeded."""

_ARRIVALS = ("poisson", "even")

Point = tuple[float, float]
"""A time in seconds and the rate then, in requests per second."""


def profile(
    points: Sequence[Point],
    *,
    lengths: Lengths = CONVERSATIONS,
    arrivals: str = "poisson",
    seed: int = 0,
    name: str = "profile",
) -> Trace:
    """Return requests whose rate follows straight lines between points.

    Args:
        points: Pairs of a time in seconds and the rate then, in requests per second,
            from time 0 to the end of the trace. Two points at one time are a step.
        lengths: How long prompts and answers are. Default: ``CONVERSATIONS``.
        arrivals: ``poisson``: independent of each other, as those of many clients
            are; or ``even``: the time between two is as long as the rate says.
            Default: ``poisson``.
        seed: What chance starts from. Default: 0.
        name: Name of the trace. Default: ``profile``.

    Raises:
        ConfigurationError: A value breaks a rule, or no request arrives.
    """
    with Problems(f"trace {name!r}") as problems:
        problems.text("name", name)
        problems.instance("lengths", lengths, Lengths)
        problems.one_of("arrivals", arrivals, _ARRIVALS)
        problems.integer("seed", seed)
        _check_points(problems, points)
    random = Random(seed)  # noqa: S311 - chance, not a secret
    requests = tuple(
        Request(
            arrival,
            lengths.prompt.at(random.random()),
            lengths.answer.at(random.random()),
        )
        for arrival in _arrivals(points, random, even=arrivals == "even")
    )
    with Problems(f"trace {name!r}") as problems:
        if not requests:
            problems.broken(
                "the rates must let at least one request arrive",
                0,
                "raise them or the duration, or take another seed",
            )
    return Trace(
        name=name,
        requests=requests,
        duration=points[-1][0],
        source=f"generated: {arrivals} arrivals, seed {seed}",
    )


def steady(
    rate: float,
    duration: float,
    *,
    lengths: Lengths = CONVERSATIONS,
    arrivals: str = "poisson",
    seed: int = 0,
) -> Trace:
    """Return requests at one rate.

    Args:
        rate: Requests per second.
        duration: How long, in seconds.
        lengths: See ``profile``.
        arrivals: See ``profile``.
        seed: What chance starts from. Default: 0.

    Raises:
        ConfigurationError: A value breaks a rule, or no request arrives.
    """
    with Problems("trace 'steady'") as problems:
        _check(problems, duration, rate=rate)
    points = ((0, rate), (duration, rate))
    return profile(points, lengths=lengths, arrivals=arrivals, seed=seed, name="steady")


def ramp(
    start: float,
    end: float,
    duration: float,
    *,
    lengths: Lengths = CONVERSATIONS,
    arrivals: str = "poisson",
    seed: int = 0,
) -> Trace:
    """Return requests at a rate that grows or shrinks in a straight line.

    Args:
        start: Requests per second at the start.
        end: Requests per second at the end.
        duration: How long, in seconds.
        lengths: See ``profile``.
        arrivals: See ``profile``.
        seed: What chance starts from. Default: 0.

    Raises:
        ConfigurationError: A value breaks a rule, or no request arrives.
    """
    with Problems("trace 'ramp'") as problems:
        _check(problems, duration, start=start, end=end)
    points = ((0, start), (duration, end))
    return profile(points, lengths=lengths, arrivals=arrivals, seed=seed, name="ramp")


def step(
    before: float,
    after: float,
    *,
    at: float,
    duration: float,
    lengths: Lengths = CONVERSATIONS,
    arrivals: str = "poisson",
    seed: int = 0,
) -> Trace:
    """Return requests at a rate that changes at one moment.

    Args:
        before: Requests per second at first.
        after: Requests per second then.
        at: When the rate changes, in seconds.
        duration: How long, in seconds.
        lengths: See ``profile``.
        arrivals: See ``profile``.
        seed: What chance starts from. Default: 0.

    Raises:
        ConfigurationError: A value breaks a rule, or no request arrives.
    """
    with Problems("trace 'step'") as problems:
        if _check(problems, duration, before=before, after=after):
            problems.number("at", at, minimum=0, maximum=duration)
    points = ((0, before), (at, before), (at, after), (duration, after))
    return profile(points, lengths=lengths, arrivals=arrivals, seed=seed, name="step")


def burst(
    quiet: float,
    busy: float,
    *,
    every: float,
    length: float,
    duration: float,
    lengths: Lengths = CONVERSATIONS,
    arrivals: str = "poisson",
    seed: int = 0,
) -> Trace:
    """Return requests at a low rate with bursts.

    Args:
        quiet: Requests per second between bursts, and before the first one.
        busy: Requests per second in a burst.
        every: Time from the start of a burst to that of the next, in seconds. The
            first one starts when this time is over.
        length: How long a burst is, in seconds, at most ``every``.
        duration: How long, in seconds; a burst may end with it.
        lengths: See ``profile``.
        arrivals: See ``profile``.
        seed: What chance starts from. Default: 0.

    Raises:
        ConfigurationError: A value breaks a rule, or no request arrives.
    """
    with Problems("trace 'burst'") as problems:
        known = _check(problems, duration, quiet=quiet, busy=busy)
        if _check_period(problems, "every", every, duration if known else None):
            positive(problems, "length", length, maximum=every)
    points: list[Point] = [(0, quiet)]
    for number in range(1, math.ceil(duration / every)):
        # products round, and time must not go back
        start = min(number * every, duration)
        end = min(start + length, (number + 1) * every, duration)
        points += [(start, quiet), (start, busy), (end, busy), (end, quiet)]
    points.append((duration, points[-1][1]))
    return profile(points, lengths=lengths, arrivals=arrivals, seed=seed, name="burst")


def diurnal(
    low: float,
    high: float,
    *,
    duration: float = _DAY_SECONDS,
    period: float = _DAY_SECONDS,
    lengths: Lengths = CONVERSATIONS,
    arrivals: str = "poisson",
    seed: int = 0,
) -> Trace:
    """Return requests at a rate that swings like a sine, lowest at the start.

    Args:
        low: Requests per second at night.
        high: Requests per second half a period later.
        duration: How long, in seconds. Default: a day.
        period: From one night to the next, in seconds. Default: a day.
        lengths: See ``profile``.
        arrivals: See ``profile``.
        seed: What chance starts from. Default: 0.

    Raises:
        ConfigurationError: A value breaks a rule, or no request arrives.
    """
    with Problems("trace 'diurnal'") as problems:
        known = _check(problems, duration, low=low, high=high)
        _check_period(problems, "period", period, duration if known else None)
    piece = period / _STEPS_PER_PERIOD
    pieces = math.ceil(duration / piece)
    times = [*(min(piece * number, duration) for number in range(pieces)), duration]
    middle, swing = (low + high) / 2, (high - low) / 2
    points = [
        (time, max(0, middle - swing * math.cos(2 * math.pi * time / period)))
        for time in times
    ]
    return profile(
        points, lengths=lengths, arrivals=arrivals, seed=seed, name="diurnal"
    )


def bundled() -> Trace:
    """Return the trace that a simulation takes without another one.

    An hour: ten quiet minutes at 0.3 requests per second, a ramp to 1.5 in ten
    minutes, a step to three times the load for a quarter of an hour, a quiet spell at
    1, and a burst of a minute at 10. Its shape is chosen, not measured; its lengths
    are ``CONVERSATIONS``.
    """
    points = (
        (0, 0.3),
        (600, 0.3),
        (1200, 1.5),
        (1500, 1.5),
        (1500, 4.5),
        (2400, 4.5),
        (2400, 1),
        (3000, 1),
        (3000, 10),
        (3060, 10),
        (3060, 1),
        (3600, 1),
    )
    return profile(points, seed=BUNDLED_SEED, name="bundled")


def _arrivals(
    points: Sequence[Point], random: Random, *, even: bool
) -> Iterator[float]:
    """Return arrivals: where the expected number of requests reaches a next value.

    The values are a unit-rate Poisson process, or 0.5, 1.5, 2.5 and so on; mapped back
    through the integral of the rate they have that rate (D. R. Cox and P. A. W. Lewis,
    The Statistical Analysis of Series of Events, 1966: change of the time scale).
    """
    wanted = 0.5 if even else random.expovariate(1)
    for (start, first), (end, last) in pairwise(points):
        expected = (first + last) / 2 * (end - start)
        while wanted < expected:
            # the root of first*x + slope*x^2/2 = wanted that does not cancel out
            slope = (last - first) / (end - start)
            rate = math.sqrt(max(0.0, first * first + 2 * slope * wanted))
            yield min(end, start + 2 * wanted / (first + rate)) if wanted else start
            wanted += 1 if even else random.expovariate(1)
        wanted -= expected


def _check(problems: Problems, duration: object, **rates: object) -> bool:
    """Check a duration and rates; say whether the duration is one."""
    known = positive(problems, "duration", duration, maximum=LONGEST_SECONDS)
    for key, rate in rates.items():
        problems.number(key, rate, minimum=0, maximum=HIGHEST_RATE)
    return known


def _check_period(
    problems: Problems, name: str, period: float, duration: float | None
) -> bool:
    """Require a period of which a duration has a number that memory holds."""
    if not positive(problems, name, period, maximum=LONGEST_SECONDS):
        return False
    if duration is not None and duration > MOST_PERIODS * period:
        problems.broken(
            f"'{name}' must be at least a {MOST_PERIODS:,}th of 'duration'",
            period,
            "raise it or lower 'duration'",
        )
    return True


def _check_points(problems: Problems, points: Any) -> None:
    if not check_pairs(problems, points, "a time and a rate"):
        return
    pairs: list[Point] = list(points)
    for index, (time, rate) in enumerate(pairs):
        problems.number(f"points[{index}][0]", time, minimum=0, maximum=LONGEST_SECONDS)
        problems.number(f"points[{index}][1]", rate, minimum=0, maximum=HIGHEST_RATE)
    if problems.messages:
        return
    if pairs[0][0] != 0:
        problems.broken("'points[0][0]' must be 0, the start", pairs[0][0])
    for index, (before, after) in enumerate(pairwise(pairs), start=1):
        if after[0] < before[0]:
            problems.broken(
                f"'points[{index}][0]' must be at least the time before ({before[0]})",
                after[0],
                "sort the points",
            )
    if pairs[-1][0] == 0:
        problems.add("'points' must end later than they start")
    if problems.messages:
        return
    expected = sum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in pairwise(pairs))
    if expected > MOST_REQUESTS:
        problems.broken(
            f"the rates must let at most {MOST_REQUESTS:,} requests arrive",
            round(expected),
            "lower them or the duration",
        )
