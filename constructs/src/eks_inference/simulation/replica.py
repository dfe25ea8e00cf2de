"""A replica: an API server, and an engine that works as vLLM does.

What the engine does in a step is in ``replica_scheduler``, how long a step takes in
``planning.step_time``. A step that has begun is not changed: what arrives meanwhile
waits for the next one.

Against a run of vLLM 0.19 (300 requests in 29 s, Llama 3.1 8B on an RTX PRO 6000, at
most 128 at once; casys-kaist/LLMServingSim at 5daddb2, bench/examples) means and 90th
percentiles are met within 2 %; ``benchmarks/replica.py`` prints the table. The
GPU's MFU of 0.60 was fitted to the same run, so this says that the scheduler is right,
not how well another GPU is met. No run with preemptions was compared.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable

from eks_inference._check import Problems
from eks_inference.planning.fit import BLOCK_TOKENS
from eks_inference.planning.step_time import StepModel
from eks_inference.planning.throughput import API_SECONDS
from eks_inference.simulation.events import Event, EventQueue
from eks_inference.simulation.replica_scheduler import (
    Burst,
    Scheduler,
    Sequence,
    blocks_of,
)
from eks_inference.simulation.requests import Outcome, require_open

_MOST_TOKENS = 1_000_000_000
"""Beyond every cache, assumed."""


class Replica:
    """A replica that is ready.

    Args:
        events: The events of the simulation.
        name: Name that outcomes get.
        step: Time of its steps.
        max_num_seqs: Requests that run at once.
        max_num_batched_tokens: Tokens that a step has room for, at least
            ``max_num_seqs``, as vLLM demands (``SchedulerConfig``).
        kv_tokens: Tokens that its KV cache holds (``Fit.kv_tokens``); what exceeds
            whole blocks of 16 is not used.
        on_finished: Called with a request that has its last token, or is refused.
        api_seconds: What the API server adds before a request is in the queue.
            Default: 15.6 ms, see ``API_SECONDS``.

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.

    Example:
        ```python
        events = EventQueue()
        replica = Replica(
            events,
            name="chat-1",
            step=StepModel(checkpoint, Accelerator.L4),
            max_num_seqs=32,
            max_num_batched_tokens=2048,
            kv_tokens=40_000,
            on_finished=lambda outcome: print(outcome.latency),
        )
        replica.submit(Outcome(Request(0.0, prompt_tokens=500, answer_tokens=100)))
        events.run(until=60)
        ```
    """

    def __init__(
        self,
        events: EventQueue,
        *,
        name: str,
        step: StepModel,
        max_num_seqs: int,
        max_num_batched_tokens: int,
        kv_tokens: int,
        on_finished: Callable[[Outcome], None],
        api_seconds: float = API_SECONDS,
    ) -> None:
        with Problems() as problems:
            problems.instance("events", events, EventQueue)
            problems.text("name", name)
            problems.instance("step", step, StepModel)
            if (
                problems.integer(
                    "max_num_seqs", max_num_seqs, minimum=1, maximum=1_000_000
                )
                and problems.integer(
                    "max_num_batched_tokens",
                    max_num_batched_tokens,
                    minimum=1,
                    maximum=_MOST_TOKENS,
                )
                and max_num_batched_tokens < max_num_seqs
            ):
                problems.broken(
                    f"'max_num_batched_tokens' must be at least 'max_num_seqs' "
                    f"({max_num_seqs})",
                    max_num_batched_tokens,
                    "raise it or lower 'max_num_seqs'",
                )
            problems.integer(
                "kv_tokens",
                kv_tokens,
                minimum=BLOCK_TOKENS,
                maximum=_MOST_TOKENS,
            )
            if not callable(on_finished):
                problems.broken("'on_finished' must be a function", on_finished)
            problems.number("api_seconds", api_seconds, minimum=0, maximum=3600)
        self.name = name
        self._events = events
        self._on_finished = on_finished
        self._on_empty: Callable[[], None] | None = None
        self._api_seconds = api_seconds
        self._scheduler = Scheduler(
            step,
            max_num_seqs=max_num_seqs,
            max_num_batched_tokens=max_num_batched_tokens,
            blocks=kv_tokens // BLOCK_TOKENS,
        )
        self._accepting = True
        self._held: dict[Sequence, None] = {}
        self._burst: Burst | None = None
        self._steps = 0
        self._began = 0.0
        self._next: Event | None = None

    @property
    def accepting(self) -> bool:
        """Whether it takes requests: it neither drains nor was killed."""
        return self._accepting

    @property
    def outstanding(self) -> int:
        """Requests that it has and has not finished, those in the API server too."""
        return len(self._held)

    @property
    def running(self) -> int:
        """Requests in the current step: ``vllm:num_requests_running``.

        vLLM publishes its gauges after each step, so a scrape sees those of the last
        one; this and the other gauges are up to date.
        """
        return len(self._scheduler.running)

    @property
    def waiting(self) -> int:
        """Requests that wait for a place: ``vllm:num_requests_waiting``."""
        return len(self._scheduler.waiting)

    @property
    def kv_usage(self) -> float:
        """Share of the KV cache that is taken: ``vllm:kv_cache_usage_perc``, 0 to 1."""
        complete = 0
        if self._burst:
            steps, burst = range(1, self._steps), self._burst
            passed = self._events.now - self._began
            complete = bisect_right(steps, passed, key=burst.seconds)
        return self._scheduler.used_blocks(complete) / self._scheduler.blocks

    def submit(self, outcome: Outcome) -> None:
        """Take a request, or refuse it.

        It is refused where the replica drains or was killed, and where prompt and
        answer together are longer than the KV cache; vLLM answers with an error then.

        Args:
            outcome: What becomes of the request; filled in as that happens.

        Raises:
            ConfigurationError: It is not an ``Outcome``, or is finished or lost.
        """
        require_open(outcome)
        outcome.replica = self.name
        sequence = Sequence(outcome)
        if not self._accepting or blocks_of(sequence.last) > self._scheduler.blocks:
            outcome.lost = "refused"
            self._on_finished(outcome)
            return
        self._held[sequence] = None
        self._events.after(self._api_seconds, lambda: self._queue(sequence))

    def drain(self, on_empty: Callable[[], None]) -> None:
        """Take no more requests, and finish those that run and wait.

        That is vLLM with a ``--shutdown-timeout`` that is long enough.

        Args:
            on_empty: Called when the last is finished, at once if there is none; not
                called if the replica is killed before.

        Raises:
            ConfigurationError: ``on_empty`` is not a function.
        """
        if not callable(on_empty):
            with Problems() as problems:
                problems.broken("'on_empty' must be a function", on_empty)
        self._accepting = False
        self._on_empty = on_empty
        self._report_empty()

    def kill(self) -> list[Outcome]:
        """End at once, as by SIGKILL or with a spot node; return what is lost.

        The outcomes have ``lost="killed"`` and are in the order of arrival.
        """
        self._accepting = False
        self._on_empty = None
        if self._next:
            self._next.cancel()
        self._burst = None
        killed = [sequence.outcome for sequence in self._held]
        self._held.clear()
        self._scheduler.clear()
        for outcome in killed:
            outcome.lost = "killed"
        return killed

    def _queue(self, sequence: Sequence) -> None:
        """Let a request wait for the next step, which is brought forward to now."""
        if sequence not in self._held:
            return
        scheduler = self._scheduler
        scheduler.waiting.append(sequence)
        if self._next is None:
            # what arrives at the same time gets into the same step
            self._next = self._events.after(0.0, self._begin)
        elif (
            self._burst
            and len(scheduler.waiting) == 1
            and len(scheduler.running) < scheduler.max_num_seqs
        ):
            self._cut(self._burst)

    def _cut(self, burst: Burst) -> None:
        """End a burst with the step that is under way."""
        passed = self._events.now - self._began
        steps = 1 + bisect_left(range(1, self._steps), passed, key=burst.seconds)
        if steps < self._steps:
            assert self._next
            self._next.cancel()
            self._plan_end(burst, steps)

    def _begin(self) -> None:
        self._next = None
        burst = self._scheduler.next()
        if burst:
            self._burst = burst
            self._began = self._events.now
            self._plan_end(burst, burst.steps)

    def _plan_end(self, burst: Burst, steps: int) -> None:
        self._steps = steps
        self._next = self._events.at(self._began + burst.seconds(steps), self._end)

    def _end(self) -> None:
        now, self._burst = self._events.now, None
        started, ended = self._scheduler.advance(self._steps)
        for sequence in started:
            if sequence.outcome.first_token is None:
                sequence.outcome.first_token = now
        for sequence in ended:
            sequence.outcome.finished = now
            del self._held[sequence]
        self._next = self._events.after(0.0, self._begin)
        for sequence in ended:
            self._on_finished(sequence.outcome)
        self._report_empty()

    def _report_empty(self) -> None:
        if self._on_empty and not self._held:
            on_empty, self._on_empty = self._on_empty, None
            on_empty()
