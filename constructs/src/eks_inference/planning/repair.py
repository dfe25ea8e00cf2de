"""What would make a model fit: every suggestion is computed again, and fits."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from eks_inference._check import ConfigurationError, Problems
from eks_inference.accelerator import Accelerator
from eks_inference.checkpoint import Checkpoint
from eks_inference.planning.fit import GIB, Fit
from eks_inference.planning.instances import (
    INSTANCE_TYPES,
    InstanceType,
    instances_with,
)
from eks_inference.planning.kernels import (
    DEFAULT_VLLM_VERSION,
    tensor_parallel_problems,
)
from eks_inference.quantization import Quantization

_DEGREES = (1, 2, 4, 8)
"""Numbers of GPUs that instances have and models are divided among."""

_SHORTEST = 256
"""The shortest ``max_model_len`` that ``Model`` takes."""

_STEP = 1024
"""Contexts above are suggested in these steps, below in those of ``_SHORTEST``."""

_FORMATS = (Quantization.FP8, Quantization.AWQ)
"""Formats that are suggested, the least change first. Weights of most models can be
had, or made, in both."""

_UTILIZATION = 0.9
"""Share of a GPU's memory that ``Fit`` and ``Model`` give vLLM by default."""

_NO_PRICE = float("inf")
"""Behind everything that has one."""


@dataclass(frozen=True, slots=True)
class Repair:
    """A change after which a model fits.

    Args:
        text: What to change, in words.
        fit: The model with it; ``fit.fits`` is True.
        extra_usd_per_hour: What it costs more than before, negative where it costs
            less, or None where a price is not known.
    """

    text: str
    fit: Fit
    extra_usd_per_hour: float | None


def repairs(fit: Fit) -> tuple[Repair, ...]:
    """Return the nearest things that work, cheapest first, then the least change.

    Each changes one thing: a setting of vLLM or of the pod, the format of the weights
    (whose bytes are then computed, and whose answers differ), or the GPUs. Empty where
    the model fits already, and where nothing of that is enough.

    Args:
        fit: What does not fit.

    Raises:
        ConfigurationError: ``fit`` is not a ``Fit``.
    """
    with Problems() as problems:
        problems.instance("fit", fit, Fit)
    if fit.fits:
        return ()
    found = [
        Repair(text, changed, _extra(fit, changed))
        for text, changed in _changes(fit)
        if changed.fits
    ]
    # sorted() keeps the order of what costs the same: the least change first
    return tuple(sorted(found, key=_cost))


def options(checkpoint: Checkpoint, **inputs: Any) -> tuple[Fit, ...]:
    """Return every instance type and number of its GPUs that serves a model.

    Cheapest first, those without a price last; then fewer GPUs, then by name.

    Args:
        checkpoint: The model.
        inputs: Other arguments of ``Fit`` but ``instance`` and ``tensor_parallel``.

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.
    """
    with Problems() as problems:
        problems.instance("checkpoint", checkpoint, Checkpoint)
        for name in ("instance", "tensor_parallel"):
            if name in inputs:
                problems.add(f"'{name}' must not be given; options tries all of them")
    found = _everywhere(checkpoint, INSTANCE_TYPES, inputs)
    return tuple(sorted((item for item in found if item.fits), key=_price))


def nearest(
    checkpoint: Checkpoint,
    accelerators: Iterable[Accelerator] = tuple(Accelerator),
    **inputs: Any,
) -> Fit:
    """Return where a model comes nearest to fitting: what a refusal is about.

    That is where the fewest things are in the way, then where the most memory is left
    for the KV cache, then the cheapest.

    Args:
        checkpoint: The model.
        accelerators: GPUs to look at. Default: all.
        inputs: Other arguments of ``Fit`` but ``instance`` and ``tensor_parallel``.

    Raises:
        ConfigurationError: A value breaks a rule; all of them are named.
    """
    return min(
        _everywhere(checkpoint, instances_with(accelerators), inputs),
        key=lambda fit: (len(fit.problems), -fit.kv_available_bytes, _price(fit)),
    )


def _everywhere(
    checkpoint: Checkpoint, instances: Sequence[InstanceType], inputs: dict[str, Any]
) -> Iterator[Fit]:
    # what is wrong with the inputs is wrong on every instance: say it once
    first = Fit(checkpoint, instances[0], **inputs)
    for degree in _DEGREES:
        if not tensor_parallel_problems(checkpoint.architecture, degree):
            for item in instances:
                if degree <= item.gpus:
                    yield replace(first, instance=item, tensor_parallel=degree)


def _changes(fit: Fit) -> Iterator[tuple[str, Fit]]:
    """Yield what to try, the least change first; not all of it fits."""
    yield from _of_settings(fit)
    yield from _of_format(fit)
    for degree in _DEGREES:
        if degree != fit.tensor_parallel and degree <= fit.instance.gpus:
            more = _divided(fit, degree)
            if more is not None and more.fits:
                yield f"{_count(degree)} of {fit.instance.name}", more
                break
    for other in _elsewhere(fit)[:1]:
        gpu = other.instance.accelerator.name.lower()
        yield (
            f"{_count(other.tensor_parallel)} of {other.instance.name} ({gpu})",
            other,
        )


def _of_settings(fit: Fit) -> Iterator[tuple[str, Fit]]:
    context = _longest_context(fit)
    if context is not None:
        yield (
            f"a context of {context} tokens instead of {fit.context}",
            replace(fit, max_model_len=context),
        )
    if fit.kv_dtype != "fp8":
        yield "an FP8 KV cache", replace(fit, kv_dtype="fp8")
    fewer = _most_sequences(fit)
    if fewer is not None:
        yield (
            f"{fewer} sequences at once instead of {fit.max_num_seqs}",
            replace(fit, max_num_seqs=fewer),
        )
    if not fit.compile_cache:
        yield "a compile cache that is filled", replace(fit, compile_cache=True)
    share = fit.gpu_memory_utilization
    if share < _UTILIZATION:
        yield (
            f"{_UTILIZATION} of a GPU's memory instead of {share:g}",
            replace(fit, gpu_memory_utilization=_UTILIZATION),
        )
    if fit.max_num_batched_tokens is not None:
        plain = replace(fit, max_num_batched_tokens=None)
        yield f"{plain.batched_tokens} tokens in a step", plain
    if fit.memory_gib is not None:
        plain = replace(fit, memory_gib=None)
        yield f"{plain.pod_gib:g} GiB of memory for the pod", plain
    if fit.disk_gib is not None:
        plain = replace(fit, disk_gib=None)
        yield f"a disk of {plain.disk_bytes / GIB:.0f} GiB", plain
    if fit.vllm_version != DEFAULT_VLLM_VERSION:
        yield (
            f"vLLM {DEFAULT_VLLM_VERSION}",
            replace(fit, vllm_version=DEFAULT_VLLM_VERSION),
        )


def _of_format(fit: Fit) -> Iterator[tuple[str, Fit]]:
    model = fit.checkpoint
    bits = model.quantization.bits
    for quantization in _FORMATS:
        # four bits are the fewest, and other kinds of them no repair
        if quantization is model.quantization or bits < Quantization.FP8.bits:
            continue
        weights = Checkpoint.computed(
            name=f"{model.name} as {quantization.label}",
            architecture=model.architecture,
            quantization=quantization,
            dtype=model.dtype,
            source=model.source,
        )
        new, old = weights.weight_bytes / GIB, model.weight_bytes / GIB
        yield (
            f"{quantization.label} weights, {new:.1f} GiB instead of {old:.1f} GiB",
            replace(fit, checkpoint=weights),
        )


def _longest_context(fit: Fit) -> int | None:
    """Return the longest shorter context that fits, in round numbers."""
    for step, least in ((_STEP, _STEP), (_SHORTEST, _SHORTEST)):
        # what fits, fits with a shorter context too: halve the range
        low, high = 0, (fit.context - 1) // step
        while low < high:
            middle = (low + high + 1) // 2
            if replace(fit, max_model_len=middle * step).fits:
                low = middle
            else:
                high = middle - 1
        if low * step >= least:
            return low * step
    return None


def _most_sequences(fit: Fit) -> int | None:
    """Return the most of half, a quarter and so on that fit."""
    fewer = fit.max_num_seqs // 2
    while fewer >= 1:
        if replace(fit, max_num_seqs=fewer).fits:
            return fewer
        fewer //= 2
    return None


def _count(gpus: int) -> str:
    return "1 GPU" if gpus == 1 else f"{gpus} GPUs"


def _divided(fit: Fit, degree: int) -> Fit | None:
    try:
        return replace(fit, tensor_parallel=degree)
    except ConfigurationError:
        return None


def _elsewhere(fit: Fit) -> tuple[Fit, ...]:
    """Return what fits on another instance type, cheapest first."""
    found = [
        changed
        for item in INSTANCE_TYPES
        for degree in _DEGREES
        if item.name != fit.instance.name and degree <= item.gpus
        for changed in [_divided(replace(fit, instance=item), degree)]
        if changed is not None and changed.fits
    ]
    return tuple(sorted(found, key=_price))


def _price(fit: Fit) -> tuple[float, int, str]:
    usd = fit.instance.usd_per_hour
    return _NO_PRICE if usd is None else usd, fit.tensor_parallel, fit.instance.name


def _extra(before: Fit, after: Fit) -> float | None:
    if after.instance == before.instance:
        return 0.0
    old, new = before.instance.usd_per_hour, after.instance.usd_per_hour
    return None if old is None or new is None else new - old


def _cost(repair: Repair) -> float:
    extra = repair.extra_usd_per_hour
    return _NO_PRICE if extra is None else extra
