"""What users may expect of a model's speed, in numbers that vLLM itself counts."""

from dataclasses import dataclass

from eks_inference._check import Problems

TTFT_BUCKETS = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75),
    *(1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0, 160.0, 640.0, 2560.0),
)
"""Bounds of vLLM's histogram of the time to first token, in seconds
(vllm-project/vllm@139b1c3, vllm/v1/metrics/buckets.py; a running 0.32 has the same)."""

INTER_TOKEN_BUCKETS = (
    *(0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75),
    *(1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0),
)
"""Bounds of vLLM's histogram of the time between two tokens, in seconds (the same
source)."""

SMALLEST_SHARE = 0.94
"""Least share that an objective may promise. The fastest alert fires when requests are
late at 14.4 times the rate that the objective allows; at 0.93 that would be more than
all of them, and the alert could never fire."""

LARGEST_SHARE = 0.9999
"""Largest share, assumed: one late request in ten thousand is the whole allowance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyObjective:
    """How fast a model answers, for a share of its requests over 30 days.

    The end of an answer is no measure: it comes later the longer the answer is. What a
    reader notices is when it begins, and that it does not stall.

    A threshold must be a bound of vLLM's histogram, because only there the number of
    requests on either side is known; elsewhere it would be guessed, and an allowance
    of some percent is smaller than such a guess is wrong.

    Args:
        ttft_seconds: Time to first token, queueing in vLLM included. Default: 2.5, a
            quarter of what the guide allows a whole answer before it warns. Assumed.
        inter_token_seconds: Time between two tokens of an answer. Default: 0.1, ten
            tokens a second, about twice as fast as people read (238 words a minute,
            Brysbaert 2019, doi:10.1016/j.jml.2019.104047).
        share: Share of the requests, and of the tokens, that must be within, 0.94 to
            0.9999. Default: 0.95: a burst that meets too few replicas makes requests
            late for as long as a cold start takes, and that is no failure. Assumed.

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.

    Example:
        ```python
        LatencyObjective(ttft_seconds=1.0, inter_token_seconds=0.05, share=0.99)
        ```
    """

    ttft_seconds: float = 2.5
    inter_token_seconds: float = 0.1
    share: float = 0.95

    def __post_init__(self) -> None:
        with Problems("objective") as problems:
            _check_bound(problems, "ttft_seconds", self.ttft_seconds, TTFT_BUCKETS)
            _check_bound(
                problems,
                "inter_token_seconds",
                self.inter_token_seconds,
                INTER_TOKEN_BUCKETS,
            )
            problems.number(
                "share",
                self.share,
                minimum=SMALLEST_SHARE,
                maximum=LARGEST_SHARE,
                repair="for example 0.95",
            )

    @property
    def budget(self) -> float:
        """Share of the requests that may be late."""
        return round(1 - self.share, 6)


def _check_bound(
    problems: Problems, name: str, value: float, bounds: tuple[float, ...]
) -> None:
    if problems.number(name, value) and value not in bounds:
        known = ", ".join(f"{bound:g}" for bound in bounds)
        problems.broken(
            f"'{name}' must be a bound of vLLM's histogram",
            value,
            f"use one of {known}",
        )
