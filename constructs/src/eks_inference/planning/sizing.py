"""How large a replica is: what a model leaves open follows from its checkpoint."""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass

from eks_inference._check import Problems
from eks_inference.checkpoint import Checkpoint
from eks_inference.model import Model
from eks_inference.planning.fit import DAEMONS_GIB, MEMORY_GIB_PER_GPU, Fit, sequences
from eks_inference.planning.instances import InstanceType, instances_with
from eks_inference.planning.kernels import (
    DEFAULT_VLLM_VERSION,
    tensor_parallel_problems,
)
from eks_inference.planning.pool import GpuPool

CPUS_PER_GPU = 3
"""CPUs of a replica for each GPU: with the daemons of a node it fits the 3.92
allocatable CPUs of a 4 vCPU instance. Not measured."""

MOST_SEQUENCES = 32
"""Sequences that a replica processes at once where nothing is said: vLLM's own default
of 256 or 1024 leaves the queue empty until latency has long suffered."""

TYPICAL_TOKENS = 1_366
"""Tokens of a usual request, prompt and answer: the mean of Azure's conversation trace
of 2023 (1,155 and 211; Azure/AzurePublicDataset at b469a11, 19,366 requests)."""

_LONGEST_AT_ONCE = 4
"""How many of the longest sequences have room at once where no length is given: with
fewer, one long request would keep all others waiting. A choice, not a measurement."""

_LENGTH_STEP = 1_024

_SHORTEST = -(-TYPICAL_TOKENS // _LENGTH_STEP) * _LENGTH_STEP
"""Shortest length that is chosen where none is given: a usual request has room."""

DAEMONS_CPUS = 0.4
"""What the daemons of a node request, assumed: CNI, Pod Identity, device plugin, node
monitoring."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizing:
    """The size of a replica.

    Args:
        max_model_len: Longest sequence in tokens.
        max_num_seqs: Sequences that it processes at once.
        gpus: GPUs, which is also the tensor-parallel size.
        cpu: CPUs that it requests.
        memory_gib: Memory in GiB, request and limit.
        instances: For each GPU of the pool the instance type that Karpenter launches.
        fits: The model on each of them; empty where no checkpoint is known.
    """

    max_model_len: int
    max_num_seqs: int
    gpus: int
    cpu: int
    memory_gib: int
    instances: tuple[InstanceType, ...]
    fits: tuple[Fit, ...] = ()


def size_replica(
    model: Model, pool: GpuPool, *, vllm_version: str = DEFAULT_VLLM_VERSION
) -> Sizing:
    """Return the size of a model's replicas on a pool.

    What the model says holds, also where it does not fit: ``Sizing.fits`` tells.

    Args:
        model: What is served.
        pool: Where the replicas run.
        vllm_version: Release of vLLM. Default: that of the library's image.

    Raises:
        ConfigurationError: The model cannot be divided among its GPUs, or an argument
            is not of its kind.
    """
    with Problems("sizing") as problems:
        problems.instance("model", model, Model)
        problems.instance("pool", pool, GpuPool)
    checkpoint = model.checkpoint
    if checkpoint is None:
        assert model.max_model_len is not None  # or the model would have been refused
        gpus = model.gpus or 1
        memory = model.memory_gib or MEMORY_GIB_PER_GPU * gpus
        cpu = model.cpu or CPUS_PER_GPU * gpus
        return Sizing(
            max_model_len=model.max_model_len,
            max_num_seqs=model.max_num_seqs or MOST_SEQUENCES,
            gpus=gpus,
            cpu=cpu,
            memory_gib=memory,
            instances=nodes_with_room(pool, memory, cpu),
        )
    candidates = [
        _sizing(model, checkpoint, pool, gpus, vllm_version)
        for gpus in _degrees(model, checkpoint, pool)
    ]
    fitting = (item for item in candidates if all(fit.fits for fit in item.fits))
    # where nothing fits, the most GPUs come nearest
    return next(fitting, candidates[-1])


def fits_on(
    checkpoint: Checkpoint,
    pool: GpuPool,
    instances: Iterable[InstanceType],
    **limits: object,
) -> tuple[Fit, ...]:
    """Return the model on each of some instance types.

    Args:
        checkpoint: What is served.
        pool: The pool that launches them.
        instances: Instance types of the pool.
        limits: The other arguments of ``Fit``, by name.

    Raises:
        ConfigurationError: A limit breaks a rule; all of them are named.
    """
    disk = None if pool.keeps_images_on_nvme else pool.data_volume_gib
    return tuple(
        Fit(checkpoint, item, disk_gib=disk, **limits)  # type: ignore[arg-type]
        for item in instances
    )


def nodes_with_room(
    pool: GpuPool, memory_gib: float, cpu: float = 0
) -> tuple[InstanceType, ...]:
    """Return what Karpenter launches for a pod, for each GPU of a pool.

    That is the cheapest instance type with room for the pod beside the daemons of a
    node; where none has, the largest.

    Args:
        pool: Where the pod runs.
        memory_gib: Memory of the pod in GiB.
        cpu: CPUs that the pod requests. Default: 0, so that only memory decides.
    """
    found = []
    for accelerator in pool.accelerators:
        types = instances_with([accelerator], gpus=pool.gpus_per_node)
        needed = (memory_gib + DAEMONS_GIB) * 1024
        roomy = (
            item
            for item in types
            if item.allocatable_memory_mib >= needed
            and item.allocatable_cpu >= cpu + DAEMONS_CPUS
        )
        largest = max(types, key=lambda item: item.allocatable_memory_mib)
        found.append(next(roomy, largest))
    return tuple(found)


def _degrees(model: Model, checkpoint: Checkpoint, pool: GpuPool) -> list[int]:
    if model.gpus is not None:
        return [model.gpus]
    divisible = [
        gpus
        for gpus in (1, 2, 4, 8)
        if gpus <= pool.gpus_per_node
        and not tensor_parallel_problems(checkpoint.architecture, gpus)
    ]
    return divisible or [1]


def _sizing(
    model: Model, checkpoint: Checkpoint, pool: GpuPool, gpus: int, vllm_version: str
) -> Sizing:
    memory = model.memory_gib or MEMORY_GIB_PER_GPU * gpus
    cpu = model.cpu or CPUS_PER_GPU * gpus
    most = model.max_num_seqs or MOST_SEQUENCES
    context = checkpoint.architecture.context
    instances = nodes_with_room(pool, memory, cpu)

    def fits(length: int) -> tuple[Fit, ...]:
        return fits_on(
            checkpoint,
            pool,
            instances,
            tensor_parallel=gpus,
            max_model_len=length,
            max_num_seqs=most,
            gpu_memory_utilization=model.gpu_memory_utilization,
            memory_gib=memory,
            vllm_version=vllm_version,
        )

    length = model.max_model_len or min(map(_longest, fits(context)))
    found = fits(length)
    at_once = [sequences(fit, min(TYPICAL_TOKENS, length)) for fit in found]
    return Sizing(
        max_model_len=length,
        max_num_seqs=model.max_num_seqs or max(2, min(at_once)),
        gpus=gpus,
        cpu=cpu,
        memory_gib=memory,
        instances=instances,
        fits=found,
    )


def _longest(fit: Fit) -> int:
    """Return the context, or the length of which several sequences have room."""
    context = fit.context
    room = fit.kv_available_bytes / _LONGEST_AT_ONCE
    if fit.kv_bytes(context) <= room:
        return context
    # asked for each length: with sliding windows, short sequences take more per token
    lengths = range(_LENGTH_STEP, context, _LENGTH_STEP)
    steps = bisect_right(lengths, room, key=fit.kv_bytes)
    return max(steps * _LENGTH_STEP, min(_SHORTEST, context))
