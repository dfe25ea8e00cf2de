"""Everything that follows from a model and where it is to run, in one value."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from eks_inference._check import Problems
from eks_inference.accelerator import Accelerator
from eks_inference.capacity import Capacity
from eks_inference.checkpoint import Checkpoint
from eks_inference.model import Model
from eks_inference.planning.cold_start_ledger import cold_start
from eks_inference.planning.cold_start_presets import Saving, savings
from eks_inference.planning.cold_start_values import ColdStart
from eks_inference.planning.cost import (
    Load,
    PoolCost,
    TokenCost,
    TrafficCost,
    image_traffic_cost,
    pool_cost,
    token_cost,
)
from eks_inference.planning.fit import Fit
from eks_inference.planning.instances import Prices
from eks_inference.planning.kernels import DEFAULT_VLLM_VERSION, Version
from eks_inference.planning.pool import GpuPool, gpus_needed
from eks_inference.planning.serving import ServingPlan, plan_serving
from eks_inference.planning.sharing import (
    SharedNodes,
    check_accelerators,
    shared_nodes,
    sizing_on,
)
from eks_inference.planning.step_time import StepModel
from eks_inference.scaling import QueueScaling

USUAL_LOAD = Load(requests_per_second=5.53, prompt_tokens=1_155, answer_tokens=211)
"""The mean of Azure's conversation trace of 2023 (Azure/AzurePublicDataset at b469a11):
19,366 requests in 3,502 seconds."""

_STARTS_PER_MONTH = 300
"""Ten node starts a day, for the cost of traffic. An example, not a measurement."""

_ZONES = 3


@dataclass(frozen=True, slots=True)
class _AnyBucket:
    bucket_name: str = "BUCKET"
    bucket_arn: str = "arn:aws:s3:::BUCKET"
    encryption_key: None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a model needs, how long it starts and what it costs.

    Args:
        model: What is served.
        pool: Where it runs.
        scaling: When replicas are added and removed.
        serving: The numbers that the manifests are rendered from.
        fit: The model on the cheapest instance type of the pool.
        load: The load that tokens are priced at.
        cold_start: How long a new replica takes on that instance type.
        savings: What each option buys of it.
        pool_cost: What the nodes cost at rest and at peak.
        token_cost: What tokens cost at the load.
        traffic: What loading images and weights costs, by the way they take, with ten
            node starts a day in three zones.
    """

    model: Model
    pool: GpuPool
    scaling: QueueScaling
    serving: ServingPlan
    fit: Fit
    load: Load
    cold_start: ColdStart
    savings: tuple[Saving, ...]
    pool_cost: PoolCost
    token_cost: TokenCost
    traffic: TrafficCost

    @property
    def notes(self) -> tuple[str, ...]:
        """What works, but perhaps not as expected."""
        found = []
        length, context = self.serving.sizing.max_model_len, self.fit.checkpoint
        if self.model.max_model_len is None and length < context.architecture.context:
            found.append(
                f"sequences end at {length} of {context.architecture.context} tokens: "
                "a longer one would leave room for fewer than four at once"
            )
        asked = self.load.prompt_tokens + self.load.answer_tokens
        if asked > length:
            found.append(
                f"requests of the load have {asked:g} tokens, more than {length}"
            )
        if self.token_cost.replicas > self.scaling.max_replicas:
            found.append(
                f"the load needs {self.token_cost.replicas} replicas, more than "
                f"'max_replicas' ({self.scaling.max_replicas})"
            )
        if self.scaling.min_replicas == 0 and self.scaling.activation is None:
            found.append("nothing wakes a model with no replica: give an activation")
        return tuple(found)

    @property
    def problems(self) -> tuple[str, ...]:
        """Why the model does not run on every GPU of the pool; empty if it does."""
        return tuple(
            f"{fit.instance.name}: {problem}"
            for fit in self.serving.sizing.fits
            for problem in fit.problems
        )


def make_plan(
    checkpoint: Checkpoint,
    *,
    name: str = "model",
    accelerators: Sequence[Accelerator] | None = None,
    gpus_per_node: int | None = None,
    gpus: int | None = None,
    max_model_len: int | None = None,
    max_num_seqs: int | None = None,
    scaling: QueueScaling | None = None,
    capacity: Capacity | None = None,
    load: Load = USUAL_LOAD,
    prices: Prices | None = None,
    vllm_version: str = DEFAULT_VLLM_VERSION,
) -> Plan:
    """Return the plan for a model; ``Plan.problems`` says whether it can work.

    Args:
        checkpoint: What is served.
        name: Name of the model. Default: ``model``.
        accelerators: GPUs of the pool. Default: the cheapest that the model fits, and
            those that cost at most twice as much.
        gpus_per_node: GPUs of a node. Default: as many as the cheapest nodes have, or
            with ``accelerators`` the fewest that all of them are sold with.
        gpus: GPUs of a replica. Default: the fewest that the model fits.
        max_model_len: Longest sequence in tokens. Default: see ``Model``.
        max_num_seqs: Sequences that a replica processes at once. Default: see
            ``Model``.
        scaling: When replicas are added and removed. Default: the library's.
        capacity: How instances are bought. Default: spot with fallback.
        load: The load that tokens are priced at. Default: that of Azure's
            conversation trace.
        prices: What instances cost. Default: the table's on-demand prices.
        vllm_version: Release of vLLM. Default: that of the library's image.

    Raises:
        ConfigurationError: A value breaks a rule, or no ``accelerators`` are given and
            the model fits none.
    """
    scaling = QueueScaling() if scaling is None else scaling
    capacity = Capacity.spot_with_fallback() if capacity is None else capacity
    prices = Prices() if prices is None else prices
    with Problems("plan") as problems:
        problems.instance("checkpoint", checkpoint, Checkpoint)
        problems.instance("scaling", scaling, QueueScaling)
        problems.instance("capacity", capacity, Capacity)
        problems.instance("load", load, Load)
        problems.instance("prices", prices, Prices)
        problems.attempt(lambda: Version.parse(vllm_version))
        if accelerators is not None:
            check_accelerators(problems, accelerators)
    model = Model(
        name=name,
        bucket=_AnyBucket(),
        prefix="models/",
        checkpoint=checkpoint,
        max_model_len=max_model_len,
        max_num_seqs=max_num_seqs,
        gpus=gpus,
    )
    nodes = _nodes(model, accelerators, gpus_per_node, vllm_version)
    pool = GpuPool(
        name="gpu",
        accelerators=nodes.accelerators,
        gpus_per_node=nodes.gpus_per_node,
        capacity=capacity,
        max_gpus=nodes.gpus_per_node,
    )
    serving = plan_serving(
        model=model,
        scaling=scaling,
        pool=pool,
        vllm_version=vllm_version,
        has_compile_cache=True,
    )
    fits = serving.sizing.fits
    fit = min(fits, key=lambda item: (not item.fits, _price(item, prices)))
    return Plan(
        model=model,
        pool=replace(pool, max_gpus=_most_gpus(serving, scaling, pool.gpus_per_node)),
        scaling=scaling,
        serving=serving,
        fit=fit,
        load=load,
        **_starts(fit, serving),
        **_costs(fit, serving, scaling, load, prices),
    )


def _price(fit: Fit, prices: Prices) -> float:
    usd = prices.on_demand(fit.instance)
    return float("inf") if usd is None else usd


def _starts(fit: Fit, serving: ServingPlan) -> dict[str, Any]:
    values: dict[str, Any] = {
        "instance": fit.instance,
        "weight_bytes": fit.checkpoint.weight_bytes,
        "files": fit.checkpoint.files,
        "options": serving.cold_start_options,
    }
    return {"cold_start": cold_start(**values), "savings": savings(**values)}


def _costs(
    fit: Fit, serving: ServingPlan, scaling: QueueScaling, load: Load, prices: Prices
) -> dict[str, Any]:
    sizing, checkpoint = serving.sizing, fit.checkpoint
    return {
        "pool_cost": pool_cost(
            fit.instance,
            prices,
            gpus_per_replica=sizing.gpus,
            min_replicas=scaling.min_replicas,
            max_replicas=scaling.max_replicas,
        ),
        "token_cost": token_cost(
            StepModel(
                checkpoint, fit.instance.accelerator, tensor_parallel=sizing.gpus
            ),
            fit.instance,
            prices,
            load,
            concurrency=sizing.max_num_seqs,
            max_num_batched_tokens=fit.batched_tokens,
        ),
        "traffic": image_traffic_cost(
            image_gb=serving.cold_start_options.image_gb,
            weights_gb=checkpoint.weight_bytes / 1e9,
            node_starts_per_month=_STARTS_PER_MONTH,
            availability_zones=_ZONES,
        ),
    }


def _nodes(
    model: Model,
    accelerators: Sequence[Accelerator] | None,
    gpus_per_node: int | None,
    vllm_version: str,
) -> SharedNodes:
    if gpus_per_node is not None:
        _require_room(model, gpus_per_node)
    if accelerators is None:
        return shared_nodes(
            [model], gpus_per_node=gpus_per_node, vllm_version=vllm_version
        )
    listed = tuple(accelerators)
    if gpus_per_node is not None:
        return SharedNodes(listed, gpus_per_node)
    counts = sorted(set.intersection(*(set(item.counts) for item in listed)))
    if not counts:
        known = ", ".join(
            f"{item.name.lower()} ({', '.join(map(str, item.counts))})"
            for item in listed
        )
        with Problems("plan") as problems:
            problems.add(
                "'accelerators' must have a number of GPUs per instance in common, got "
                f"{known}; make a plan for each"
            )
    fitting = (
        count
        for count in counts
        if sizing_on(model, SharedNodes(listed, count), vllm_version=vllm_version)
    )
    # where the model fits on none, the largest nodes come nearest
    nodes = SharedNodes(listed, next(fitting, counts[-1]))
    _require_room(model, nodes.gpus_per_node)
    return nodes


def _require_room(model: Model, gpus_per_node: object) -> None:
    if model.gpus is not None and isinstance(gpus_per_node, int):
        with Problems("plan") as problems:
            problems.integer(
                "gpus",
                model.gpus,
                maximum=gpus_per_node,
                repair="a replica never spans two nodes",
            )


def _most_gpus(serving: ServingPlan, scaling: QueueScaling, size: int) -> int:
    replicas = [(serving.sizing.gpus, scaling.max_replicas)]
    # one more node, for the first replica of a new version
    return gpus_needed(replicas, gpus_per_node=size) + size
