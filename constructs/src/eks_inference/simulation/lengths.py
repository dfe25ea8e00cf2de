"""How long prompts and answers are, as distributions that a generator draws from."""

from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise

from eks_inference._check import Problems
from eks_inference.simulation.trace import MOST_TOKENS

_PAIR = 2


def check_pairs(problems: Problems, points: object, what: str) -> bool:
    """Require two or more pairs; say whether these are some."""
    if not isinstance(points, list | tuple) or len(points) < _PAIR:
        problems.broken(f"'points' must be two or more pairs of {what}", points)
        return False
    for index, point in enumerate(points):
        if not isinstance(point, list | tuple) or len(point) != _PAIR:
            problems.broken(f"'points[{index}]' must be a pair of {what}", point)
    return not problems.messages


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Numbers of tokens by the share of requests that have at most so many.

    Between two points the number grows in a straight line.

    Args:
        points: Pairs of a share and a number of tokens, both growing: from share 0
            (the least tokens) to share 1 (the most).

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.
    """

    points: tuple[tuple[float, int], ...]

    def __post_init__(self) -> None:
        with Problems("quantiles") as problems:
            if not check_pairs(problems, self.points, "a share and a number of tokens"):
                return
            for index, (share, tokens) in enumerate(self.points):
                problems.number(f"points[{index}][0]", share, minimum=0, maximum=1)
                problems.integer(
                    f"points[{index}][1]", tokens, minimum=1, maximum=MOST_TOKENS
                )
            if problems.messages:
                return
            shares = [share for share, _ in self.points]
            if (shares[0], shares[-1]) != (0, 1):
                problems.broken(
                    "'points' must start at share 0 and end at share 1",
                    (shares[0], shares[-1]),
                    "add the least and the most tokens",
                )
            for index, (before, after) in enumerate(pairwise(self.points), start=1):
                if after[0] <= before[0] or after[1] < before[1]:
                    problems.broken(
                        f"'points[{index}]' must have a larger share and no fewer "
                        f"tokens than the one before ({before})",
                        after,
                        "sort the points",
                    )

    @classmethod
    def fixed(cls, tokens: int) -> "Quantiles":
        """Return the distribution of a number that is always the same.

        Args:
            tokens: The number, at least 1.

        Raises:
            ConfigurationError: The value breaks the rule.
        """
        with Problems() as problems:
            problems.integer("tokens", tokens, minimum=1, maximum=MOST_TOKENS)
        return cls(((0, tokens), (1, tokens)))

    @property
    def mean(self) -> float:
        """Average number of tokens."""
        return sum(
            (after[0] - before[0]) * (before[1] + after[1]) / 2
            for before, after in pairwise(self.points)
        )

    def at(self, share: float) -> int:
        """Return the number of tokens at a share.

        Args:
            share: From 0 to 1; below 1 where it comes from chance.
        """
        above = bisect_right(self.points, share, key=lambda point: point[0])
        if above == len(self.points):
            return self.points[-1][1]
        (start, low), (end, high) = self.points[above - 1 : above + 1]
        return round(low + (high - low) * (share - start) / (end - start))


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths:
    """How long prompts and answers are.

    They are drawn independently: in the conversations of Azure's trace of 2023 the
    logarithms of the two have a correlation of 0.09, in its code 0.00.

    Args:
        prompt: Tokens of a prompt.
        answer: Tokens of an answer.

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.
    """

    prompt: Quantiles
    answer: Quantiles

    def __post_init__(self) -> None:
        with Problems("lengths") as problems:
            problems.instance("prompt", self.prompt, Quantiles)
            problems.instance("answer", self.answer, Quantiles)

    @classmethod
    def fixed(cls, *, prompt: int, answer: int) -> "Lengths":
        """Return lengths that are the same for all requests.

        Args:
            prompt: Tokens of a prompt, at least 1.
            answer: Tokens of an answer, at least 1.

        Raises:
            ConfigurationError: A value breaks a rule; all of them are named.
        """
        with Problems("lengths") as problems:
            for name, value in (("prompt", prompt), ("answer", answer)):
                problems.integer(name, value, minimum=1, maximum=MOST_TOKENS)
        return cls(prompt=Quantiles.fixed(prompt), answer=Quantiles.fixed(answer))


CONVERSATIONS = Lengths(
    prompt=Quantiles(
        (
            (0, 2),
            (0.05, 181),
            (0.1, 207),
            (0.25, 396),
            (0.4, 703),
            (0.5, 1020),
            (0.6, 1071),
            (0.75, 1189),
            (0.8, 1315),
            (0.9, 2735),
            (0.95, 4083),
            (0.99, 4142),
            (0.999, 6212),
            (1, 14_050),
        )
    ),
    answer=Quantiles(
        (
            (0, 7),
            (0.05, 41),
            (0.1, 54),
            (0.25, 85),
            (0.4, 103),
            (0.5, 129),
            (0.6, 177),
            (0.75, 395),
            (0.8, 400),
            (0.9, 424),
            (0.95, 451),
            (0.99, 601),
            (0.999, 954),
            (1, 1000),
        )
    ),
)
"""Lengths of chats. Source: percentiles (nearest rank) of the 19,366 conversations of
the Azure LLM inference trace 2023 (Microsoft Azure, CC-BY-4.0; Azure/AzurePublicDataset
at b469a113, AzureLLMInferenceTrace_conv.csv).

How well it fits: at these shares exactly; the means are 1,159 and 210 tokens, and those
of the trace 1,155 and 211. A lognormal distribution does not fit: with the median and
the mean of the trace its 99th percentiles are 21 % too low for prompts and 115 % too
high for answers, since answers have two humps, at about 90 and 400 tokens."""
