"""What one replica serves when it has the same load all the time.

Of B requests in flight, each with p tokens of prompt and g of answer, r end in a step:

    r = B / g               a request leaves after g steps, one for each token
    r = M / (p + g - 1)     at most: a step has room for M tokens, and a request brings
                            p of them as a prompt and g - 1 as it decodes

D = r (g - 1) sequences decode in a step. New prompts bring r p tokens for a step, but
not evenly: vLLM takes a prompt as a whole, or as much of it as there is room for. So a
chunk of c = max(min(p, M - D), r p) tokens is in the share r p / c of the steps:

    step = (r p / c) T(D + c) + (1 - r p / c) T(D)

T is the time of a step (``StepModel``). The time per output token is one step, and
requests per second are r / step. Not in it: requests that wait for a place, memory for
the KV cache (``concurrency`` must fit), shared prefixes, the spread of lengths.

Against vLLM 0.19 with 128 running requests (Llama 3.1 8B, RTX PRO 6000;
casys-kaist/LLMServingSim at 5daddb2, bench/examples): 3 % below the measured 3,685
tokens per second. The GPU's MFU was fitted to the same run.
"""

import math
from dataclasses import dataclass

from eks_inference._check import Problems
from eks_inference.planning.step_time import StepModel, attention_pairs

API_SECONDS = 0.0156
"""What the HTTP server and the tokenizer add to the first token. Constant term of a fit
to runs of vLLM (alpha_coeffs 15,563 us; inference-sim/inference-sim at 2ebef6a,
defaults.yaml)."""

_MOST_TOKENS = 100_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Throughput:
    """What a replica does at a steady load.

    Args:
        concurrency: Requests in flight.
        seconds_to_first_token: Time to the first token of a request that finds the
            replica idle.
        seconds_per_output_token: Time from one token of an answer to the next.
        requests_per_second: Requests that end in a second, and as many that start.
        output_tokens_per_second: Tokens of answers in a second, over all requests.
        total_tokens_per_second: The same with the tokens of prompts.
    """

    concurrency: int
    seconds_to_first_token: float
    seconds_per_output_token: float
    requests_per_second: float
    output_tokens_per_second: float
    total_tokens_per_second: float


def steady_throughput(
    model: StepModel,
    *,
    prompt_tokens: float,
    answer_tokens: float,
    concurrency: int,
    max_num_batched_tokens: int = 2048,
) -> Throughput:
    """Return what a replica does with a number of requests in flight all the time.

    Args:
        model: Time of its steps.
        prompt_tokens: Tokens of a prompt, on average.
        answer_tokens: Tokens of an answer, on average.
        concurrency: Requests in flight: at most ``max_num_seqs`` of the engine.
        max_num_batched_tokens: Tokens that a step has room for. Default: 2048, that of
            vLLM's server on GPUs below 70 GiB and on the A100; 8192 on larger ones
            (vLLM, engine/arg_utils.py, ``get_batch_defaults``).

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.
    """
    with Problems() as problems:
        problems.instance("model", model, StepModel)
        for name, value in (
            ("prompt_tokens", prompt_tokens),
            ("answer_tokens", answer_tokens),
        ):
            problems.number(name, value, minimum=1, maximum=_MOST_TOKENS)
        problems.integer("concurrency", concurrency, minimum=1, maximum=1_000_000)
        problems.integer(
            "max_num_batched_tokens",
            max_num_batched_tokens,
            minimum=1,
            maximum=_MOST_TOKENS,
        )
    step, ended = _mean_step(
        model, prompt_tokens, answer_tokens, concurrency, max_num_batched_tokens
    )
    requests = ended / step
    return Throughput(
        concurrency=concurrency,
        seconds_to_first_token=API_SECONDS
        + _prefill_seconds(model, math.ceil(prompt_tokens), max_num_batched_tokens),
        seconds_per_output_token=step,
        requests_per_second=requests,
        output_tokens_per_second=requests * answer_tokens,
        total_tokens_per_second=requests * (prompt_tokens + answer_tokens),
    )


def max_requests_per_second(
    model: StepModel,
    *,
    prompt_tokens: float,
    answer_tokens: float,
    max_num_seqs: int = 256,
    max_num_batched_tokens: int = 2048,
) -> float:
    """Return the requests per second of a replica that is full.

    Args:
        model: Time of its steps.
        prompt_tokens: Tokens of a prompt, on average.
        answer_tokens: Tokens of an answer, on average.
        max_num_seqs: Requests that the engine runs at once. Default: 256, that of
            vLLM's server on GPUs below 70 GiB and on the A100; 1024 on larger ones.
        max_num_batched_tokens: Tokens that a step has room for. Default: 2048, see
            ``steady_throughput``.

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.
    """
    return steady_throughput(
        model,
        prompt_tokens=prompt_tokens,
        answer_tokens=answer_tokens,
        concurrency=max_num_seqs,
        max_num_batched_tokens=max_num_batched_tokens,
    ).requests_per_second


def _mean_step(
    model: StepModel, prompt: float, answer: float, concurrency: int, room: int
) -> tuple[float, float]:
    """Return the mean time of a step, and the requests that end in one."""
    ended = min(concurrency / answer, room / (prompt + answer - 1))
    decoding = ended * (answer - 1)
    chunk = max(min(prompt, room - decoding), ended * prompt)
    share = min(1.0, ended * prompt / chunk)
    # a request is half way through its answer, on average
    context = decoding * model.context_of(prompt + answer / 2)
    step = share * model.seconds(
        tokens=decoding + chunk,
        sequences=decoding + chunk / prompt,
        context_tokens=context,
        # a whole prompt compares p^2 / 2 pairs, however it is cut
        prefill_pairs=chunk * prompt / 2,
    )
    if share < 1:
        # one request alone is not half a sequence in a step that has no prompt
        tokens = max(1.0, decoding)
        step += (1 - share) * model.seconds(
            tokens=tokens, sequences=tokens, context_tokens=context
        )
    return step, ended


def _prefill_seconds(model: StepModel, prompt: int, room: int) -> float:
    """Return the time of the steps that a prompt takes on an idle engine."""
    whole, rest = divmod(prompt - 1, room)
    rest += 1
    seconds = model.seconds(
        tokens=rest,
        sequences=1,
        context_tokens=model.context_of(prompt),
        prefill_pairs=attention_pairs(rest, prompt),
    )
    if whole:
        # time is linear in context and pairs: the mean chunk stands for all of them
        context = room * (whole + 1) / 2
        seconds += whole * model.seconds(
            tokens=room,
            sequences=0,
            context_tokens=model.context_of(context),
            prefill_pairs=attention_pairs(room, context),
        )
    return seconds
