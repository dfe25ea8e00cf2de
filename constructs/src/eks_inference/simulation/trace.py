"""Requests over time, and changes of them that say what they did."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from random import Random

from eks_inference._check import Problems
from eks_inference.simulation._records import LONGEST_SECONDS
from eks_inference.simulation.requests import Request

MOST_REQUESTS = 5_000_000
"""Most requests of a trace. Assumed: they take about a gigabyte of memory."""

MOST_TOKENS = 10_485_760
"""Most tokens of a prompt or an answer: the longest context of a published model
(``max_position_embeddings`` of Llama 4 Scout)."""

CACHE_BLOCK_TOKENS = 16
"""Tokens of a block of vLLM's prefix cache, which gives whole blocks, and never the
last token of a prompt: it must be computed to give the answer's first (vLLM,
vllm/v1/core/kv_cache_manager.py, ``max_cache_hit_length``)."""

PEAK_WINDOW_SECONDS = 10
"""Window of the peak rate, in seconds: shorter than the HPA's period of 15 s, and long
enough to count more than chance. Chosen."""

_MOST_FACTOR = 1_000
"""Assumed to be a mistake when exceeded."""

_METHODS = ("compress", "thin", "superpose")

_COPY_SPREAD_SECONDS = 10
"""How far a copy may move in time in either direction, so that it does not arrive with
its original. Assumed; small against ramps, which take minutes."""


@dataclass(frozen=True, slots=True)
class LengthSummary:
    """How long prompts or answers are, in tokens.

    A percentile is the smallest length that at least this share of them does not
    exceed (nearest rank).

    Args:
        mean: Average.
        p50: Median.
        p90: 90th percentile.
        p99: 99th percentile.
        largest: The longest one.
    """

    mean: float
    p50: int
    p90: int
    p99: int
    largest: int

    @classmethod
    def of(cls, lengths: Iterable[int]) -> "LengthSummary":
        """Return the summary of some lengths.

        Args:
            lengths: At least one length.
        """
        ranked = sorted(lengths)
        p50, p90, p99 = (
            ranked[math.ceil(percent * len(ranked) / 100) - 1]
            for percent in (50, 90, 99)
        )
        return cls(sum(ranked) / len(ranked), p50, p90, p99, ranked[-1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """The requests of clients over a time, in the order of their arrival.

    Every change returns another trace with one more note, so that a result can say
    from which requests it comes.

    Args:
        name: Name for tables and messages.
        requests: The requests, earliest first, at least one.
        duration: How long the trace lasts, in seconds, above 0; clients may be quiet
            after the last request.
        source: Where the requests come from.
        notes: What was done to them, in the order in which it was done. Default:
            nothing.

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.
    """

    name: str
    requests: tuple[Request, ...] = field(repr=False)
    duration: float
    source: str
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        with Problems(f"trace {self.name!r}") as problems:
            problems.text("name", self.name)
            problems.text("source", self.source)
            if not isinstance(self.notes, tuple):
                problems.broken("'notes' must be a tuple of texts", self.notes)
            _check_requests(problems, self.requests)
            if (
                positive(problems, "duration", self.duration, maximum=LONGEST_SECONDS)
                and not problems.messages
                and self.requests[-1].arrival > self.duration
            ):
                problems.broken(
                    "'duration' must be at least the last arrival "
                    f"({self.requests[-1].arrival:g})",
                    self.duration,
                    "raise it or use between()",
                )

    @property
    def rate(self) -> float:
        """Requests per second, on average."""
        return len(self.requests) / self.duration

    @property
    def peak_rate(self) -> float:
        """Requests per second in the busiest of the windows of 10 s from the start."""
        windows = Counter(
            int(request.arrival // PEAK_WINDOW_SECONDS) for request in self.requests
        )
        return max(windows.values()) / PEAK_WINDOW_SECONDS

    @property
    def prompt_lengths(self) -> LengthSummary:
        """How long the prompts are."""
        return LengthSummary.of(request.prompt_tokens for request in self.requests)

    @property
    def answer_lengths(self) -> LengthSummary:
        """How long the answers are."""
        return LengthSummary.of(request.answer_tokens for request in self.requests)

    def scaled(
        self, rate_factor: float, *, method: str = "compress", seed: int = 0
    ) -> "Trace":
        """Return the trace with another rate; lengths stay pairs as they were.

        - ``compress`` divides all times, so that the rate is multiplied exactly; ramps
          and bursts become shorter with it.
        - ``thin`` keeps each request with a probability of ``rate_factor``, at most 1:
          what is not there cannot be thinned into being.
        - ``superpose``, for 1 and more, keeps every time and adds copies of requests,
          each moved by at most 10 s. Copies have the lengths and the cached tokens of
          their originals.

        Args:
            rate_factor: What the rate is multiplied by, above 0 and at most 1,000.
            method: ``compress``, ``thin`` or ``superpose``. Default: ``compress``,
                which invents nothing and loses nothing.
            seed: What chance starts from, for ``thin`` and ``superpose``. Default: 0.

        Raises:
            ConfigurationError: A value breaks a rule, or no request would be left.
        """
        with self._problems() as problems:
            problems.integer("seed", seed)
            known = problems.one_of("method", method, _METHODS)
            if (
                positive(problems, "rate_factor", rate_factor, maximum=_MOST_FACTOR)
                and known
            ):
                self._check_method(problems, rate_factor, method)
        if method == "compress":
            return self._compressed(rate_factor)
        random = Random(seed)  # noqa: S311 - chance, not a secret
        return self._resampled(rate_factor, random, f"{method}, seed {seed}")

    def jittered(self, seconds: float, *, seed: int = 0) -> "Trace":
        """Return the trace with each arrival moved later, by chance.

        For traces whose times are rounded down: requests that came within seconds
        would otherwise arrive at one moment.

        Args:
            seconds: Each request moves by less than this: the step of the rounding,
                above 0.
            seed: What chance starts from. Default: 0.

        Raises:
            ConfigurationError: A value breaks a rule; all of them are named.
        """
        with self._problems() as problems:
            positive(problems, "seconds", seconds, maximum=LONGEST_SECONDS)
            problems.integer("seed", seed)
        random = Random(seed)  # noqa: S311 - chance, not a secret
        moved = [
            replace(item, arrival=item.arrival + seconds * random.random())
            for item in self.requests
        ]
        return self._changed(
            moved,
            self.duration + seconds,
            f"each arrival moved later by less than {seconds:g} s at random "
            f"(seed {seed})",
        )

    def with_prefix_hits(self, share: float) -> "Trace":
        """Return the trace with a share of each prompt in the prefix cache.

        For traces that do not say what prompts have in common. Whole blocks of 16
        tokens, and never the prompt's last token, as in vLLM.

        Args:
            share: Share of each prompt, from 0 to 1.

        Raises:
            ConfigurationError: The value breaks the rule.
        """
        with self._problems() as problems:
            problems.number("share", share, minimum=0, maximum=1)
        changed = [
            replace(item, cached_tokens=_blocks(share, item.prompt_tokens))
            for item in self.requests
        ]
        return self._changed(
            changed,
            self.duration,
            f"{share:.0%} of each prompt taken as found in the prefix cache",
        )

    def clipped(self, max_model_len: int) -> "Trace":
        """Return the trace with requests that a replica with a shorter context takes.

        The answer is cut first, down to one token, and then the prompt.

        Args:
            max_model_len: Most tokens of prompt and answer together, at least 2.

        Raises:
            ConfigurationError: The value breaks the rule.
        """
        with self._problems() as problems:
            problems.integer(
                "max_model_len", max_model_len, minimum=2, maximum=2 * MOST_TOKENS
            )
        kept = [_clip(request, max_model_len) for request in self.requests]
        pairs = list(zip(self.requests, kept, strict=True))
        answers = sum(old.answer_tokens != new.answer_tokens for old, new in pairs)
        prompts = sum(old.prompt_tokens != new.prompt_tokens for old, new in pairs)
        clipped = sum(old != new for old, new in pairs)
        return self._changed(
            kept,
            self.duration,
            f"{clipped:,} of {len(kept):,} requests clipped to {max_model_len:,} "
            f"tokens: {answers:,} answers and {prompts:,} prompts shortened",
        )

    def between(self, start: float, end: float | None = None) -> "Trace":
        """Return a part of the trace, which starts at 0 again.

        Args:
            start: Where the part starts, in seconds.
            end: Where it ends; a request that arrives then is left out. Default: the
                end of the trace, with all requests.

        Raises:
            ConfigurationError: A value breaks a rule, or no request is in the part.
        """
        last = self.duration if end is None else end
        with self._problems() as problems:
            within = problems.number("start", start, minimum=0, maximum=self.duration)
            if end is not None:
                within &= problems.number("end", end, minimum=0, maximum=self.duration)
            if within and not start < last:
                problems.broken(f"'start' must be below 'end' ({last:g})", start)
        kept = [
            replace(item, arrival=item.arrival - start)
            for item in self.requests
            if start <= item.arrival and (end is None or item.arrival < end)
        ]
        return self._changed(
            kept,
            last - start,
            f"{len(kept):,} of {len(self.requests):,} requests from {start:g} s to "
            f"{last:g} s",
        )

    def first(self, n: int) -> "Trace":
        """Return the trace up to the request after the first ``n``.

        Args:
            n: How many requests are kept, at least 1; all where it has fewer.

        Raises:
            ConfigurationError: The value breaks the rule, or all of them arrive at
                one moment.
        """
        with self._problems() as problems:
            problems.integer("n", n, minimum=1)
        if n >= len(self.requests):
            return self._changed(
                self.requests, self.duration, f"all {len(self.requests):,} requests"
            )
        return self._changed(
            self.requests[:n],
            self.requests[n].arrival,
            f"the first {n:,} of {len(self.requests):,} requests",
        )

    def _problems(self) -> Problems:
        return Problems(f"trace {self.name!r}")

    def _check_method(self, problems: Problems, factor: float, method: str) -> None:
        if method == "thin" and factor > 1:
            problems.broken(
                "'rate_factor' must be at most 1 for 'thin'",
                factor,
                "use 'superpose' or 'compress'",
            )
        elif method == "superpose" and factor < 1:
            problems.broken(
                "'rate_factor' must be at least 1 for 'superpose'",
                factor,
                "use 'thin' or 'compress'",
            )
        elif method == "superpose" and factor * len(self.requests) > MOST_REQUESTS:
            problems.broken(
                f"'rate_factor' must give at most {MOST_REQUESTS:,} requests",
                factor,
                "use 'compress' or a part of the trace",
            )

    def _compressed(self, factor: float) -> "Trace":
        return self._changed(
            [replace(item, arrival=item.arrival / factor) for item in self.requests],
            self.duration / factor,
            f"times divided by {factor:g}: {self.duration:,.0f} s become "
            f"{self.duration / factor:,.0f} s, {self.rate:.3g} requests/s become "
            f"{self.rate * factor:.3g}",
        )

    def _resampled(self, factor: float, random: Random, how: str) -> "Trace":
        whole, rest = divmod(factor, 1)
        kept: list[Request] = []
        for item in self.requests:
            count = int(whole) + (random.random() < rest)
            kept += [item] if count else []
            for _ in range(count - 1):
                arrival = random.uniform(
                    max(0, item.arrival - _COPY_SPREAD_SECONDS),
                    min(self.duration, item.arrival + _COPY_SPREAD_SECONDS),
                )
                kept.append(replace(item, arrival=arrival))
        return self._changed(
            kept,
            self.duration,
            f"rate multiplied by {factor:g} at random ({how}): "
            f"{len(self.requests):,} requests become {len(kept):,}",
        )

    def _changed(
        self, requests: Sequence[Request], duration: float, note: str
    ) -> "Trace":
        with self._problems() as problems:
            if not requests:
                problems.broken(
                    "'requests' must keep at least one",
                    note,
                    "choose a longer part or a higher rate",
                )
        ordered = tuple(sorted(requests, key=lambda item: item.arrival))
        return replace(
            self, requests=ordered, duration=duration, notes=(*self.notes, note)
        )


def positive(problems: Problems, name: str, value: object, *, maximum: float) -> bool:
    """Require a number above 0 and at most a maximum; say whether it is one."""
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not 0 < value <= maximum
    ):
        problems.broken(
            f"'{name}' must be a number above 0 and at most {maximum:,}", value
        )
        return False
    return True


def most_cached(prompt_tokens: int) -> int:
    """Return how many tokens of a prompt a prefix cache can give.

    Args:
        prompt_tokens: Tokens of the prompt.
    """
    return (prompt_tokens - 1) // CACHE_BLOCK_TOKENS * CACHE_BLOCK_TOKENS


def _blocks(share: float, prompt: int) -> int:
    return (
        int(min(share * prompt, prompt - 1)) // CACHE_BLOCK_TOKENS * CACHE_BLOCK_TOKENS
    )


def _clip(request: Request, limit: int) -> Request:
    if request.prompt_tokens + request.answer_tokens <= limit:
        return request
    prompt = min(request.prompt_tokens, limit - 1)
    return Request(
        arrival=request.arrival,
        prompt_tokens=prompt,
        answer_tokens=min(request.answer_tokens, limit - prompt),
        cached_tokens=min(request.cached_tokens, most_cached(prompt)),
    )


def _check_requests(problems: Problems, requests: object) -> None:
    """Name the first request that breaks a rule."""
    if not isinstance(requests, tuple) or not requests:
        got = requests if requests == () else type(requests).__name__
        problems.broken("'requests' must be a tuple with at least one Request", got)
        return
    if len(requests) > MOST_REQUESTS:
        problems.broken(
            f"'requests' must be at most {MOST_REQUESTS:,}",
            len(requests),
            "use a part of the trace",
        )
        return
    previous = 0.0
    for index, item in enumerate(requests):
        if not problems.instance(f"requests[{index}]", item, Request):
            return
        if item.arrival < previous:
            problems.broken(
                f"'requests[{index}]' must not arrive before the one in front of it "
                f"({previous:g})",
                item.arrival,
                "sort them",
            )
            return
        previous = item.arrival
