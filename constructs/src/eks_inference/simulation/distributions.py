"""How long things take: the two quantiles of a ledger, as a distribution."""

import math
from dataclasses import dataclass
from random import Random
from typing import Self

from eks_inference._check import Problems
from eks_inference.planning.cold_start_values import ColdStart, Phase
from eks_inference.simulation._records import LONGEST_SECONDS, seconds

_Z90 = 1.2815515655446004
"""What nine of ten draws of the standard normal distribution stay below."""

_LARGEST_LOGARITHM = math.log(LONGEST_SECONDS)
"""Draws end there: an event engine needs times that are numbers."""


@dataclass(frozen=True, slots=True)
class LogNormal:
    """A time whose logarithm is normally distributed, given by two quantiles.

    The shape is assumed: the ledger's sources publish no more than a median and a high
    quantile, and a start that goes wrong takes much longer, never much less. With a
    median of 0, where there is no such distribution, half of the draws are 0 and the
    others lie evenly above it.

    Args:
        p50: Median, in seconds.
        p90: What nine of ten draws stay below, in seconds. Equal to the median:
            the time is always the same.

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.
    """

    p50: float
    p90: float

    def __post_init__(self) -> None:
        with Problems("distribution") as problems:
            known = seconds(problems, "p50", self.p50)
            known &= seconds(problems, "p90", self.p90)
            if known and self.p90 < self.p50:
                problems.broken(
                    f"'p90' must be at least 'p50' ({self.p50})", self.p90, "swap them"
                )

    @classmethod
    def from_quantiles(cls, p50: float, p90: float) -> Self:
        """Return the distribution with these quantiles.

        Args:
            p50: Median, in seconds.
            p90: What nine of ten draws stay below, in seconds.
        """
        return cls(p50, p90)

    @classmethod
    def from_phase(cls, phase: Phase) -> Self:
        """Return the distribution of a phase of a cold start.

        Args:
            phase: A line of a ledger.
        """
        return cls(phase.p50, phase.p90)

    def sample(self, random: Random) -> float:
        """Return a time in seconds.

        Args:
            random: What draws it.
        """
        if self.p50 == self.p90:
            return self.p50
        if self.p50 == 0:
            return max(0.0, random.random() - 0.5) / (0.9 - 0.5) * self.p90
        sigma = (math.log(self.p90) - math.log(self.p50)) / _Z90
        exponent = math.log(self.p50) + sigma * random.normalvariate()
        return math.exp(min(exponent, _LARGEST_LOGARITHM))


def phase_times(start: ColdStart, random: Random) -> dict[str, float]:
    """Return how long each phase of one start takes, in seconds, by name.

    The phases are independent of each other, as ``ColdStart.p90`` has them.

    Args:
        start: The ledger.
        random: What draws the times.

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.
    """
    with Problems() as problems:
        problems.instance("start", start, ColdStart)
        problems.instance("random", random, Random)
    return {
        phase.name: LogNormal.from_phase(phase).sample(random) for phase in start.phases
    }
