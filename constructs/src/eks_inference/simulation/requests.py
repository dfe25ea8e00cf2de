"""What clients ask, and what became of it."""

from dataclasses import dataclass

from eks_inference._check import Problems
from eks_inference.simulation._records import seconds

_MOST_TOKENS = 100_000_000
"""Beyond every request, assumed."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request of a trace.

    Args:
        arrival: When it arrives, in seconds since the start.
        prompt_tokens: Tokens of the prompt, at least 1.
        answer_tokens: Tokens of the answer, at least 1.
        cached_tokens: Tokens at the start of the prompt that a replica finds in its
            prefix cache, whole blocks of 16 of them. Default: 0.

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.
    """

    arrival: float
    prompt_tokens: int
    answer_tokens: int
    cached_tokens: int = 0

    def __post_init__(self) -> None:
        with Problems("request") as problems:
            seconds(problems, "arrival", self.arrival)
            for name in ("prompt_tokens", "answer_tokens"):
                problems.integer(
                    name, getattr(self, name), minimum=1, maximum=_MOST_TOKENS
                )
            if (
                problems.integer(
                    "cached_tokens", self.cached_tokens, minimum=0, maximum=_MOST_TOKENS
                )
                and not problems.messages
                and self.cached_tokens > self.prompt_tokens
            ):
                problems.broken(
                    f"'cached_tokens' must be at most 'prompt_tokens' "
                    f"({self.prompt_tokens})",
                    self.cached_tokens,
                )


@dataclass(slots=True)
class Outcome:
    """What became of a request; times in seconds since the start.

    Args:
        request: The request.
        replica: Name of the replica that it went to last, or None.
        first_token: When its first token came, or None.
        finished: When its last token came, or None.
        lost: Why it got no answer, or None: ``killed``, ``refused``, ``unfinished``.
        preemptions: How often it lost its place in the KV cache.
    """

    request: Request
    replica: str | None = None
    first_token: float | None = None
    finished: float | None = None
    lost: str | None = None
    preemptions: int = 0

    @property
    def time_to_first_token(self) -> float | None:
        """Seconds from the arrival to the first token."""
        if self.first_token is None:
            return None
        return self.first_token - self.request.arrival

    @property
    def latency(self) -> float | None:
        """Seconds from the arrival to the last token."""
        return None if self.finished is None else self.finished - self.request.arrival

    @property
    def time_per_output_token(self) -> float | None:
        """Seconds from one token to the next, over the tokens after the first."""
        if self.finished is None or self.first_token is None:
            return None
        more = self.request.answer_tokens - 1
        return (self.finished - self.first_token) / more if more else None


def require_open(outcome: Outcome) -> None:
    """Refuse what is not the outcome of a request that still waits for its answer.

    Args:
        outcome: What becomes of a request.

    Raises:
        ConfigurationError: It is not an ``Outcome``, or is finished or lost.
    """
    if (
        isinstance(outcome, Outcome)
        and outcome.finished is None
        and outcome.lost is None
    ):
        return
    with Problems() as problems:
        if problems.instance("outcome", outcome, Outcome):
            problems.broken(
                "'outcome' must be neither finished nor lost",
                outcome,
                "make a new one for each request",
            )
