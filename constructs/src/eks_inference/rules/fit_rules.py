"""Rules about whether a model fits its nodes, as it will be applied."""

from collections.abc import Iterator

from eks_inference._check import ConfigurationError
from eks_inference.planning.fit import DAEMONS_GIB, Fit
from eks_inference.planning.instances import InstanceType, instances_with
from eks_inference.planning.repair import repairs
from eks_inference.planning.sizing import DAEMONS_CPUS, fits_on, nodes_with_room
from eks_inference.rules import ModelFacts, Rule, Severity, rule
from eks_inference.rules.quantity import cpus, gib

FIT_RULES: list[Rule[ModelFacts]] = []
"""Every rule about a model and its nodes."""

_SHOWN_REPAIRS = 3


@rule(
    FIT_RULES,
    "modelDoesNotFit",
    Severity.ERROR,
    "vLLM would end at its start, out of memory or without a kernel, again and again, "
    "on a GPU that is paid for.",
)
def _model_does_not_fit(model: ModelFacts) -> Iterator[str]:
    """A model whose checkpoint is known fits every GPU that its pool may use."""
    try:
        fits = _fits(model)
    except ConfigurationError as error:
        yield from error.problems
        return
    for fit in fits:
        for problem in fit.problems:
            changes = [repair.text for repair in repairs(fit)[:_SHOWN_REPAIRS]]
            yield (
                f"{fit.checkpoint.name!r} must fit {fit.tensor_parallel} of "
                f"{fit.instance.name} ({fit.instance.accelerator.name.lower()}), got: "
                f"{problem}; " + (" or ".join(changes) or "use another model")
            )


@rule(
    FIT_RULES,
    "podExceedsNode",
    Severity.ERROR,
    "No node would ever have room, and the pod stays pending.",
)
def _pod_exceeds_node(model: ModelFacts) -> Iterator[str]:
    """CPUs and memory of a replica fit an instance type of its pool."""
    requests = model.container.get("resources", {}).get("requests", {})
    memory = gib(str(requests.get("memory", "0")))
    cpu = cpus(str(requests.get("cpu", "0")))
    types = instances_with(
        model.pool.pool.accelerators, gpus=model.pool.pool.gpus_per_node
    )
    if memory is None or cpu is None or any(_has_room(t, cpu, memory) for t in types):
        return
    largest = max(types, key=lambda item: item.allocatable_memory_mib)
    yield (
        f"a replica must fit a node of the pool, of which {largest.name} is the "
        f"largest ({largest.allocatable_cpu:g} CPUs and "
        f"{largest.allocatable_memory_mib / 1024:.1f} GiB less {DAEMONS_CPUS} and "
        f"{DAEMONS_GIB} for daemons), got {cpu:g} CPUs and {memory:g} GiB; lower 'cpu' "
        "or 'memory_gib'"
    )


def _has_room(item: InstanceType, cpu: float, memory: float) -> bool:
    return (
        item.allocatable_cpu >= cpu + DAEMONS_CPUS
        and item.allocatable_memory_mib >= (memory + DAEMONS_GIB) * 1024
    )


def _fits(model: ModelFacts) -> tuple[Fit, ...]:
    """Return the model on each GPU of its pool, with the limits that are rendered."""
    if model.checkpoint is None:
        return ()
    limits = model.container.get("resources", {}).get("limits", {})
    requests = model.container.get("resources", {}).get("requests", {})
    memory = gib(str(limits.get("memory", "0")))
    cpu = cpus(str(requests.get("cpu", "0")))
    try:
        values = {
            "tensor_parallel": int(model.argument("--tensor-parallel-size") or 1),
            "max_num_seqs": int(model.argument("--max-num-seqs") or 256),
            "gpu_memory_utilization": float(
                model.argument("--gpu-memory-utilization") or 0.92
            ),
        }
        length = model.argument("--max-model-len")
        if length is not None:
            values["max_model_len"] = int(length)
    except ValueError:
        # vLLM reads '8k' too; what it refuses is not for this rule to say
        return ()
    cache = model.argument("--kv-cache-dtype") or "auto"
    return fits_on(
        model.checkpoint,
        model.pool.pool,
        nodes_with_room(model.pool.pool, memory or 0, cpu or 0),
        **values,
        kv_dtype="fp8" if cache.startswith("fp8") else "auto",
        memory_gib=memory,
        vllm_version=model.vllm_version,
    )
