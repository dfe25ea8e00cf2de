"""An engine that takes one step after the other, to compare the fast one with.

Loops as they stand in vLLM's scheduler: nothing is counted together, and nothing is
skipped.
"""

from collections import deque
from collections.abc import Iterable

from eks_inference.planning.step_time import StepModel, attention_pairs
from eks_inference.planning.throughput import API_SECONDS
from eks_inference.simulation.requests import Outcome, Request

BLOCK = 16


class Plain:
    """A request of the engine.

    Args:
        outcome: What becomes of it.
    """

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome
        self.computed = self.generated = self.blocks = 0
        self.decoding = False

    @property
    def known(self) -> int:
        """Tokens of the prompt and the answer so far."""
        return self.outcome.request.prompt_tokens + self.generated


class PlainEngine:
    """The engine of one replica.

    Args:
        step: Time of a step.
        max_num_seqs: Requests that run at once.
        max_num_batched_tokens: Tokens that a step has room for.
        kv_tokens: Tokens that the KV cache holds.
        api_seconds: What the API server adds.
    """

    def __init__(
        self,
        *,
        step: StepModel,
        max_num_seqs: int,
        max_num_batched_tokens: int,
        kv_tokens: int,
        api_seconds: float = API_SECONDS,
    ) -> None:
        self.step = step
        self.max_num_seqs = max_num_seqs
        self.max_num_batched_tokens = max_num_batched_tokens
        self.api_seconds = api_seconds
        self.free = kv_tokens // BLOCK
        self.waiting: deque[Plain] = deque()
        self.running: list[Plain] = []
        self.batch: list[tuple[Plain, int]] = []
        self.steps = 0

    def replay(self, requests: Iterable[Request]) -> list[Outcome]:
        """Return the outcomes of requests, all of which are finished."""
        outcomes = [Outcome(request) for request in requests]
        coming = deque(sorted(outcomes, key=lambda item: item.request.arrival))
        now = 0.0
        while coming or self.waiting or self.running:
            if not self.waiting and not self.running:
                now = max(now, coming[0].request.arrival + self.api_seconds)
            while coming and coming[0].request.arrival + self.api_seconds <= now:
                self.waiting.append(Plain(coming.popleft()))
            self.schedule()
            now += self.seconds()
            self.steps += 1
            for item, tokens in self.batch:
                self.complete(item, tokens, now)
        return outcomes

    def schedule(self) -> None:
        """Choose the requests of a step."""
        self.batch.clear()
        left, index, preempted = self.max_num_batched_tokens, 0, False
        while index < len(self.running) and left:
            item = self.running[index]
            tokens = min(item.known - item.computed, left)
            while not (fits := self.allocate(item, tokens)):
                victim = self.running.pop()
                self.preempt(victim)
                preempted = True
                if victim is item:
                    break
            if not fits:
                break
            self.batch.append((item, tokens))
            left -= tokens
            index += 1
        while (
            not preempted
            and self.waiting
            and left
            and len(self.running) < self.max_num_seqs
            and -(-self.waiting[0].known // BLOCK) <= self.free
        ):
            item = self.waiting.popleft()
            self.running.append(item)
            cached = min(item.outcome.request.cached_tokens, item.known - 1)
            assert self.allocate(item, cached // BLOCK * BLOCK)
            item.computed = cached // BLOCK * BLOCK
            tokens = min(item.known - item.computed, left)
            assert self.allocate(item, tokens)
            self.batch.append((item, tokens))
            left -= tokens

    def seconds(self) -> float:
        """Return the time of the step."""
        ends = [(item, chunk, item.computed + chunk) for item, chunk in self.batch]
        return self.step.seconds(
            tokens=sum(chunk for _, chunk, _ in ends),
            sequences=sum(end == item.known for item, _, end in ends),
            context_tokens=sum(self.step.context_of(end) for _, _, end in ends),
            prefill_pairs=sum(
                attention_pairs(chunk, end)
                for item, chunk, end in ends
                if not item.decoding
            ),
        )

    def complete(self, item: Plain, tokens: int, now: float) -> None:
        """Note what a step has brought a request."""
        item.computed += tokens
        if item.computed < item.known:
            return
        item.decoding = True
        item.generated += 1
        if item.generated == 1:
            item.outcome.first_token = now
        if item.generated == item.outcome.request.answer_tokens:
            item.outcome.finished = now
            self.running.remove(item)
            self.release(item)

    def allocate(self, item: Plain, tokens: int) -> bool:
        """Take blocks for tokens of a request; say whether there were enough."""
        needed = -(-(item.computed + tokens) // BLOCK) - item.blocks
        if needed > self.free:
            return False
        self.free -= needed
        item.blocks += needed
        return True

    def release(self, item: Plain) -> None:
        """Give back the blocks of a request."""
        self.free += item.blocks
        item.blocks = 0

    def preempt(self, item: Plain) -> None:
        """Send a request back to the head of the queue."""
        self.release(item)
        item.computed, item.decoding = 0, False
        item.outcome.preemptions += 1
        self.waiting.appendleft(item)
