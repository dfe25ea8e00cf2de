"""Which GPUs several models can share."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from eks_inference._check import Problems
from eks_inference.accelerator import Accelerator
from eks_inference.capacity import Capacity
from eks_inference.model import Model
from eks_inference.planning.fit import DAEMONS_GIB
from eks_inference.planning.instances import InstanceType
from eks_inference.planning.kernels import DEFAULT_VLLM_VERSION, Version
from eks_inference.planning.pool import GpuPool, pool_problems
from eks_inference.planning.sizing import DAEMONS_CPUS, Sizing, size_replica

_DEAREST = 2.0
"""How much more than the cheapest node another one of the pool may cost. A choice:
without a bound, Karpenter could fall back on a node of eight B200."""

Shape = tuple[Accelerator, int]
"""GPUs of a node: which, and how many."""


@dataclass(frozen=True, slots=True)
class SharedNodes:
    """The nodes on which every one of several models runs.

    Args:
        accelerators: GPUs of the pool, cheapest first.
        gpus_per_node: GPUs of a node.
    """

    accelerators: tuple[Accelerator, ...]
    gpus_per_node: int


def shared_nodes(
    models: Sequence[Model],
    *,
    accelerators: Sequence[Accelerator] | None = None,
    gpus_per_node: int | None = None,
    vllm_version: str = DEFAULT_VLLM_VERSION,
) -> SharedNodes:
    """Return the cheapest nodes on which every model fits, and what is near to them.

    Cheapest by the on-demand price of a node, which is what one replica at rest costs;
    of two at one price the one that holds more replicas. Other GPUs whose nodes cost
    at most twice as much join them, cheapest first, where Karpenter's requirements can
    tell them apart from the rest and no replica changes for it: what a model leaves
    open follows from the smallest GPU of its pool.

    Args:
        models: Models with a checkpoint, which are to share a pool.
        accelerators: GPUs to choose from. Default: all whose instances have x86-64
            processors; arm64 ones need an image of their own, so name them.
        gpus_per_node: GPUs of a node. Default: any number.
        vllm_version: Release of vLLM. Default: that of the library's image.

    Raises:
        ConfigurationError: A value breaks a rule, a model fits nowhere, or two models
            have no GPU in common; the message names them.
    """
    candidates: Sequence[Accelerator] = (
        [item for item in Accelerator if item.architecture == "amd64"]
        if accelerators is None
        else accelerators
    )
    with Problems("shared nodes") as problems:
        _check_models(problems, models)
        _check_candidates(problems, candidates, gpus_per_node)
        problems.attempt(lambda: Version.parse(vllm_version))
    nodes = [
        SharedNodes((item,), count)
        for item in candidates
        for count in item.counts
        if gpus_per_node in {None, count}
    ]
    shapes = {model.name: _shapes(model, nodes, vllm_version) for model in models}
    _refuse_contradictions(shapes)
    common = set.intersection(*map(set, shapes.values()))
    sizings = {shape: [found[shape] for found in shapes.values()] for shape in common}
    price = {shape: _price(found) for shape, found in sizings.items()}

    def order(shape: Shape) -> tuple[float, int, str]:
        held = min(_held(item.instances[0], item) for item in sizings[shape])
        return price[shape], -held, shape[0].name

    best = min(common, key=order)
    near = [
        shape
        for shape in common
        if shape[1] == best[1] and price[best] < price[shape] <= _DEAREST * price[best]
    ]
    found = SharedNodes((best[0],), best[1])
    for shape in sorted(near, key=lambda shape: (price[shape], shape[0].name)):
        wider = SharedNodes((*found.accelerators, shape[0]), best[1])
        if _is_pool(wider) and all(
            _limits(sizing_on(model, wider, vllm_version=vllm_version)) == _limits(same)
            for model, same in zip(models, sizings[best], strict=True)
        ):
            found = wider
    return found


def _check_models(problems: Problems, models: object) -> None:
    if not problems.sequence("models", models):
        return
    assert isinstance(models, list | tuple)
    problems.not_empty("models", models, repair="pass at least one")
    known = [item for item in models if problems.instance("models", item, Model)]
    for model in known:
        if model.checkpoint is None:
            problems.broken(f"'checkpoint' of model {model.name!r} must be known", None)
    problems.unique("models", (item.name for item in known), repair="rename one")


def _check_candidates(
    problems: Problems, accelerators: object, gpus_per_node: object
) -> None:
    if not check_accelerators(problems, accelerators) or gpus_per_node is None:
        return
    assert isinstance(accelerators, list | tuple)
    counts = sorted({count for item in accelerators for count in item.counts})
    if problems.integer("gpus_per_node", gpus_per_node) and gpus_per_node not in counts:
        problems.broken(
            f"'gpus_per_node' must be a count that instances with one of the "
            f"accelerators have ({', '.join(map(str, counts))})",
            gpus_per_node,
        )


def check_accelerators(problems: Problems, accelerators: object) -> bool:
    """Require several GPUs; say whether they are some.

    Args:
        problems: Where to note what is wrong.
        accelerators: The value of that name.
    """
    if not problems.sequence("accelerators", accelerators):
        return False
    assert isinstance(accelerators, list | tuple)
    known = [problems.instance("accelerators", i, Accelerator) for i in accelerators]
    return all(known) and problems.not_empty(
        "accelerators", accelerators, repair="pass for example [Accelerator.L4]"
    )


def _shapes(
    model: Model, nodes: Sequence[SharedNodes], vllm_version: str
) -> dict[Shape, Sizing]:
    """Return where a model fits, and how large a replica is there."""
    return {
        (item.accelerators[0], item.gpus_per_node): sizing
        for item in nodes
        if (sizing := sizing_on(model, item, vllm_version=vllm_version))
    }


def sizing_on(
    model: Model, nodes: SharedNodes, *, vllm_version: str = DEFAULT_VLLM_VERSION
) -> Sizing | None:
    """Return the size of a replica on some nodes, or None if the model does not fit.

    Args:
        model: A model with a checkpoint.
        nodes: The nodes.
        vllm_version: Release of vLLM. Default: that of the library's image.

    Raises:
        ConfigurationError: No pool can have such nodes, or the model cannot be divided
            among its GPUs.
    """
    pool = GpuPool(
        name="gpu",
        accelerators=nodes.accelerators,
        gpus_per_node=nodes.gpus_per_node,
        capacity=Capacity.on_demand(),
        max_gpus=nodes.gpus_per_node,
    )
    sizing = size_replica(model, pool, vllm_version=vllm_version)
    fits = all(fit.fits for fit in sizing.fits)
    return sizing if fits and all(_held(i, sizing) for i in sizing.instances) else None


def _held(node: InstanceType, sizing: Sizing) -> int:
    """Return how many replicas have room on a node beside its daemons."""
    return math.floor(
        min(
            node.gpus / sizing.gpus,
            (node.allocatable_memory_mib / 1024 - DAEMONS_GIB) / sizing.memory_gib,
            (node.allocatable_cpu - DAEMONS_CPUS) / sizing.cpu,
        )
    )


def _is_pool(nodes: SharedNodes) -> bool:
    return not pool_problems(
        name="gpu",
        accelerators=nodes.accelerators,
        gpus_per_node=nodes.gpus_per_node,
        max_gpus=nodes.gpus_per_node,
        consolidate_after_seconds=0,
    )


def _limits(sizing: Sizing | None) -> tuple[int, int, int] | None:
    if sizing is None:
        return None
    return sizing.gpus, sizing.max_model_len, sizing.max_num_seqs


def _refuse_contradictions(shapes: dict[str, dict[Shape, Sizing]]) -> None:
    with Problems("shared nodes") as problems:
        for name, found in shapes.items():
            if not found:
                problems.add(
                    f"'models' must fit a GPU, got {name!r}, which fits none; "
                    f"'eks-inference fit' says why"
                )
        if problems.messages:
            return
        for (one, first), (other, second) in combinations(shapes.items(), 2):
            if not first.keys() & second.keys():
                problems.add(
                    f"'models' must have GPUs in common, got {one!r}, which fits "
                    f"{_text(first)}, and {other!r}, which fits {_text(second)}; make "
                    "a pool for each"
                )
        if not problems.messages and not set.intersection(*map(set, shapes.values())):
            problems.add(
                f"'models' must have GPUs in common, got {', '.join(map(repr, shapes))}"
                ", of which any two have; make two pools"
            )


def _text(shapes: dict[Shape, Sizing]) -> str:
    return ", ".join(f"{count} x {item.name.lower()}" for item, count in shapes)


def _price(sizings: Sequence[Sizing]) -> float:
    """Return the price of the node with room for the largest pod."""
    # what has no price in the table is bought under an agreement, and not by chance
    return max(item.instances[0].usd_per_hour or float("inf") for item in sizings)
