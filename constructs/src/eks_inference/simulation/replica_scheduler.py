"""Which requests a step of vLLM works on, and how many steps pass before that changes.

The rules are those of vLLM V1 with its defaults, first come first served
(``Scheduler.schedule`` in vllm/v1/core/sched/scheduler.py, vllm-project/vllm at
00024d3):

1. Every decoding request gets one token. Where one needs a block of the KV cache and
   none is free, the newest running request loses all of its blocks and goes back to
   the head of the queue. Its prompt and its tokens so far are computed again.
2. A prompt that did not fit into the last step continues.
3. Waiting requests are admitted, while the step has room for a token, fewer than
   ``max_num_seqs`` run, and the free blocks hold the whole prompt
   (``scheduler_reserve_full_isl``). Blocks are taken as they are computed. After a
   preemption nobody is, without a rule for it: the last one preempted stands at the
   head, and needs more than it has left behind.

So at most one prompt is part done, and it is the newest request. While no prompt is
computed nothing changes but the context, see ``Lockstep``.

Left out: speculative decoding, priorities, blocks that requests share, what a preempted
request finds of its own blocks in the prefix cache, that windowed layers free blocks,
and the one block that vLLM keeps for itself.
"""

import heapq
from collections import deque
from dataclasses import dataclass
from itertools import count
from math import inf

from eks_inference.planning.fit import BLOCK_TOKENS
from eks_inference.planning.step_time import StepModel, attention_pairs
from eks_inference.simulation.requests import Outcome


def blocks_of(tokens: int) -> int:
    """Return the blocks of the KV cache that tokens of one request take.

    Args:
        tokens: How many tokens.
    """
    return -(-tokens // BLOCK_TOKENS)


class Sequence:
    """A request in the engine.

    Args:
        outcome: What becomes of it.
    """

    __slots__ = ("computed", "known", "last", "milestone", "offset", "outcome", "wide")

    def __init__(self, outcome: Outcome) -> None:
        request = outcome.request
        self.outcome = outcome
        self.known = request.prompt_tokens
        """Tokens of the prompt and the answer so far, when it was admitted last."""
        self.last = request.prompt_tokens + request.answer_tokens - 1
        """Tokens in the KV cache when it ends; its last token is never put there."""
        self.computed = 0
        """Tokens in the KV cache; out of date while it decodes, see ``offset``."""
        self.offset: int | None = None
        """Tokens in the KV cache less the steps of the engine: the same all the time
        while it decodes. None while it does not."""
        self.wide = False
        """Whether it is longer than the attention window."""
        self.milestone = -1
        """Step at which it ends or outgrows the window; -1 while it does not decode."""


@dataclass(frozen=True, slots=True)
class Burst:
    """Steps that the same requests are in.

    Args:
        steps: How many.
        first: Time of the first, in seconds.
        growth: How much longer each is than the one before, in seconds. It is the same
            every time, because the context grows by as many tokens every time.
    """

    steps: int
    first: float
    growth: float = 0.0

    def seconds(self, steps: int) -> float:
        """Return the time of the first steps: the sum of an arithmetic series.

        Args:
            steps: How many of them.
        """
        return steps * self.first + self.growth * (steps * (steps - 1) // 2)


class Lockstep:
    """The requests that decode: each grows by one token in every step.

    So their sum of context, and how many need a block in a step, follow from counts
    that change only when a request comes or goes.

    Args:
        step: Time of a step, and the context that counts in it.
    """

    def __init__(self, step: StepModel) -> None:
        self.count = 0
        self.steps = 0
        """Steps of the engine so far."""
        self._context_of = step.context_of
        self._window = step.checkpoint.architecture.window or inf
        self._offsets = 0
        self._wide_count = 0
        self._wide_offsets = 0
        self._remainders = [0] * BLOCK_TOKENS
        self._milestones: list[tuple[int, int, Sequence]] = []
        self._order = count()

    def add(self, sequence: Sequence) -> None:
        """Let a request decode from the next step on."""
        offset = sequence.offset = sequence.computed - self.steps
        sequence.wide = sequence.computed + 1 >= self._window
        self.count += 1
        self._offsets += offset
        self._remainders[offset % BLOCK_TOKENS] += 1
        if sequence.wide:
            self._wide_count += 1
            self._wide_offsets += offset
        self._plan(sequence, offset)

    def remove(self, sequence: Sequence) -> None:
        """Let a request decode no more."""
        offset = sequence.offset
        assert offset is not None
        self.count -= 1
        self._offsets -= offset
        self._remainders[offset % BLOCK_TOKENS] -= 1
        if sequence.wide:
            self._wide_count -= 1
            self._wide_offsets -= offset
        sequence.computed = offset + self.steps
        sequence.offset, sequence.milestone = None, -1

    def context(self, step: int) -> float:
        """Return the sum of the context that a step reads.

        Args:
            step: Which one; 0 is the next.
        """
        wide, end = self._wide_count, self.steps + step + 1
        narrow = self._offsets - self._wide_offsets + (self.count - wide) * end
        if not wide:
            return narrow
        # above the window the context is linear: the mean stands for all
        return narrow + wide * self._context_of(self._wide_offsets / wide + end)

    def blocks(self, first: int, stop: int) -> int:
        """Return the blocks that steps take.

        Args:
            first: The first of them; 0 is the next.
            stop: The first that is not one of them.
        """
        cycles, rest = divmod(stop - first, BLOCK_TOKENS)
        taken = cycles * self.count
        for step in range(first, first + rest):
            # a request whose blocks are full needs another one
            taken += self._remainders[-(self.steps + step) % BLOCK_TOKENS]
        return taken

    def until_change(self, free: int) -> int:
        """Return how many steps pass before a request changes or needs too much.

        Args:
            free: Free blocks, without those that the next step takes.
        """
        while self._milestones[0][0] != self._milestones[0][2].milestone:
            heapq.heappop(self._milestones)
        most = self._milestones[0][0] - self.steps
        cycles = free // self.count
        steps = 1 + cycles * BLOCK_TOKENS
        if steps >= most:
            return most
        free -= cycles * self.count
        while steps < most and (taken := self.blocks(steps, steps + 1)) <= free:
            free -= taken
            steps += 1
        return steps

    def advance(self, steps: int) -> list[Sequence]:
        """Complete steps; return the requests that have ended with the last.

        Args:
            steps: How many.
        """
        self.steps += steps
        ended = []
        while self._milestones and self._milestones[0][0] <= self.steps:
            milestone, _, sequence = heapq.heappop(self._milestones)
            if sequence.milestone != milestone:
                continue
            offset = sequence.offset
            assert offset is not None
            if offset + self.steps == sequence.last:
                self.remove(sequence)
                ended.append(sequence)
            else:
                sequence.wide = True
                self._wide_count += 1
                self._wide_offsets += offset
                self._plan(sequence, offset)
        return ended

    def _plan(self, sequence: Sequence, offset: int) -> None:
        milestone = sequence.last - offset
        if not sequence.wide:
            milestone = int(min(milestone, self._window - 1 - offset))
        sequence.milestone = milestone
        heapq.heappush(self._milestones, (milestone, next(self._order), sequence))


class Scheduler:
    """What waits and runs in an engine; it counts steps and knows no clock.

    Args:
        step: Time of a step.
        max_num_seqs: Requests that run at once.
        max_num_batched_tokens: Tokens that a step has room for.
        blocks: Blocks of the KV cache.
    """

    def __init__(
        self,
        step: StepModel,
        *,
        max_num_seqs: int,
        max_num_batched_tokens: int,
        blocks: int,
    ) -> None:
        self.waiting: deque[Sequence] = deque()
        self.running: dict[Sequence, None] = {}
        """In the order of admission; a dictionary, to remove one fast."""
        self.max_num_seqs = max_num_seqs
        self.blocks = blocks
        self._step = step
        self._most_tokens = max_num_batched_tokens
        self._left = 0
        self._free = blocks
        self._decoding = Lockstep(step)
        self._chunks: list[tuple[Sequence, int]] = []
        self._part_done: Sequence | None = None

    def clear(self) -> None:
        """Forget all requests."""
        self.waiting.clear()
        self.running.clear()
        self._chunks.clear()
        self._part_done = None
        self._decoding = Lockstep(self._step)
        self._free = self.blocks

    def used_blocks(self, steps: int = 0) -> int:
        """Return the blocks that are taken.

        Args:
            steps: Steps of the current burst that are complete. Default: 0.
        """
        return self.blocks - self._free + self._decoding.blocks(1, 1 + steps)

    def next(self) -> Burst | None:
        """Choose the requests of the next steps; None where there is none."""
        self._take_blocks()
        if self._part_done and not self._compute(self._part_done):
            self._preempt()
        self._admit()
        if not self.running:
            return None
        decoding = tokens = sequences = self._decoding.count
        context, pairs = self._decoding.context(0), 0.0
        for sequence, chunk in self._chunks:
            end = sequence.computed + chunk
            tokens += chunk
            sequences += end == sequence.known
            context += self._step.context_of(end)
            pairs += attention_pairs(chunk, end)
        first = self._step.seconds(
            tokens=tokens,
            sequences=sequences,
            context_tokens=context,
            prefill_pairs=pairs,
        )
        steps = 1 if self._chunks else self._decoding.until_change(self._free)
        if steps == 1:
            return Burst(1, first)
        last = self._step.seconds(
            tokens=decoding,
            sequences=decoding,
            context_tokens=self._decoding.context(steps - 1),
        )
        return Burst(steps, first, (last - first) / (steps - 1))

    def advance(self, steps: int) -> tuple[list[Sequence], list[Sequence]]:
        """Complete steps; return who got a token for a prompt, and who has ended.

        Args:
            steps: How many steps of the burst, at least 1.
        """
        self._free -= self._decoding.blocks(1, steps)
        ended = self._decoding.advance(steps)
        started = []
        for sequence, chunk in self._chunks:
            sequence.computed += chunk
            if sequence.computed < sequence.known:
                continue
            started.append(sequence)
            if sequence.computed == sequence.last:
                ended.append(sequence)
            else:
                self._decoding.add(sequence)
        self._chunks.clear()
        for sequence in ended:
            del self.running[sequence]
            self._free += blocks_of(sequence.computed)
        return started, ended

    def _take_blocks(self) -> None:
        """Take what decoding needs, from the newest requests where none are free."""
        while (taken := self._decoding.blocks(0, 1)) > self._free:
            self._preempt()
        self._free -= taken
        self._left = self._most_tokens - self._decoding.count

    def _admit(self) -> None:
        while self.waiting and self._left and len(self.running) < self.max_num_seqs:
            sequence = self.waiting[0]
            if blocks_of(sequence.known) > self._free:
                return
            self.waiting.popleft()
            self.running[sequence] = None
            # vLLM finds whole blocks, and computes at least one token
            found = min(sequence.outcome.request.cached_tokens, sequence.known - 1)
            sequence.computed = found // BLOCK_TOKENS * BLOCK_TOKENS
            self._free -= blocks_of(sequence.computed)
            self._compute(sequence)

    def _compute(self, sequence: Sequence) -> bool:
        """Give a prompt the room of the step; say whether there were blocks for it."""
        missing = sequence.known - sequence.computed
        chunk = min(missing, self._left)
        end = sequence.computed + chunk
        taken = blocks_of(end) - blocks_of(sequence.computed)
        if taken > self._free:
            return False
        self._free -= taken
        self._left -= chunk
        self._chunks.append((sequence, chunk))
        self._part_done = sequence if chunk < missing else None
        return True

    def _preempt(self) -> None:
        sequence, _ = self.running.popitem()
        if sequence is self._part_done:
            self._part_done = None
        if sequence.offset is not None:
            self._decoding.remove(sequence)
            sequence.known = sequence.computed + 1
        self._free += blocks_of(sequence.computed)
        sequence.computed = 0
        sequence.outcome.preemptions += 1
        self.waiting.appendleft(sequence)
