"""What does not go together: pools and models, the cluster's version and the image."""

from eks_inference._check import Problems
from eks_inference.planning.pool import gpus_needed
from infra.settings import ModelSettings, PoolSettings, Settings
from infra.versions import SUPPORTED, incompatibilities
from k8s.karpenter import SYSTEM_POOL

MOST_MODELS = 50
"""A model is three to five resources in one stack, which CloudFormation ends at 500."""


def composition_problems(settings: Settings) -> list[str]:
    """Return what is wrong with values together.

    Args:
        settings: Settings whose values are of their kinds.
    """
    problems = Problems()
    version, tag = settings.kubernetes_version, settings.image.tag
    # what is no version of the table, or no text, has its own message
    if isinstance(tag, str) and version in tuple(SUPPORTED):
        problems.include(incompatibilities(SUPPORTED[version], image_tag=tag))
    problems.not_empty("pools", settings.pools, repair="add one to infra/stages.py")
    problems.unique(
        "pools", (pool.name for pool in settings.pools), repair="rename one"
    )
    for pool in settings.pools:
        if pool.name == SYSTEM_POOL:
            problems.broken(
                "'name' of a pool must not be that of the pool for everything else",
                pool.name,
                "rename it",
            )
    problems.unique(
        "models", (model.name for model in settings.models), repair="rename one"
    )
    if len(settings.models) > MOST_MODELS:
        problems.add(
            f"'models' must be at most {MOST_MODELS}, got {len(settings.models)}; "
            "make a second stage for the others"
        )
    pools = {pool.name: pool for pool in settings.pools}
    for model in settings.models:
        chosen = pools.get(model.pool)
        if chosen is None:
            known = ", ".join(map(repr, pools)) or "none"
            problems.add(
                f"model {model.name!r}: 'pool' must name a pool ({known}), "
                f"got {model.pool!r}"
            )
            continue
        if _countable(model, chosen):
            problems.include(
                f"model {model.name!r}: {message}"
                for message in _placement_problems(model, chosen)
            )
    for pool in settings.pools:
        served = [model for model in settings.models if model.pool == pool.name]
        problems.include(_sharing_problems(pool, served))
    return problems.messages


def _sharing_problems(pool: PoolSettings, served: list[ModelSettings]) -> list[str]:
    problems = Problems()
    alone = [model for model in served if _fits(model, pool)]
    if len(alone) > 1:
        size = pool.gpus_per_node
        needed = gpus_needed(
            ((model.gpus, model.max_replicas) for model in alone), gpus_per_node=size
        )
        if needed > pool.max_gpus:
            problems.broken(
                f"pool {pool.name!r}: 'max_gpus' must be at least what its models need "
                f"together ({needed // size} nodes x {size} GPUs)",
                pool.max_gpus,
                "raise it or lower a model's 'max_replicas'",
            )
    if not served:
        problems.add(
            f"pool {pool.name!r}: 'models' must have one that names the pool, got "
            "none; remove the pool or let a model name it"
        )
    return problems.messages


def _placement_problems(model: ModelSettings, pool: PoolSettings) -> list[str]:
    problems = Problems()
    size = pool.gpus_per_node
    if model.gpus > size:
        problems.broken(
            f"'gpus' must be at most the GPUs of a node ({size})",
            model.gpus,
            "raise the pool's 'gpus_per_node'",
        )
    needed = gpus_needed([(model.gpus, model.max_replicas)], gpus_per_node=size)
    if needed > pool.max_gpus:
        problems.broken(
            "'max_gpus' of the pool must be at least what 'max_replicas' replicas "
            f"need ({needed // size} nodes x {size} GPUs)",
            pool.max_gpus,
            "raise it or lower 'max_replicas'",
        )
    return problems.messages


def _countable(model: ModelSettings, pool: PoolSettings) -> bool:
    # what is no number or below one has its own message
    counts = (model.gpus, model.max_replicas, pool.gpus_per_node, pool.max_gpus)
    return all(type(count) is int and count > 0 for count in counts)


def _fits(model: ModelSettings, pool: PoolSettings) -> bool:
    # a model that cannot be placed even alone has its own message already
    return _countable(model, pool) and not _placement_problems(model, pool)
