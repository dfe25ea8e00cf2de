"""Which settings are refused: every problem of a stage at once."""

import ipaddress
import re
from collections.abc import Iterator

from eks_inference._check import ConfigurationError, Problems
from eks_inference.accelerator import Accelerator
from eks_inference.activation import activation_problems
from eks_inference.image import image_problems
from eks_inference.inference_endpoints import INTERFACE_SERVICES
from eks_inference.model import model_problems
from eks_inference.planning.pool import COLD_START_SECONDS, gpus_needed, pool_problems
from eks_inference.scaling import scaling_problems
from infra.settings import (
    CAPACITIES,
    ImageSettings,
    ModelSettings,
    NetworkSettings,
    PoolSettings,
    Schedule,
    Settings,
    SystemNodes,
)
from infra.versions import SUPPORTED
from k8s.karpenter import SYSTEM_POOL

MOST_MODELS = 100
"""A model is three to five resources in one stack, which CloudFormation ends at 500."""

_LARGEST_VPC = 16
_SMALLEST_VPC = 20
"""Prefix lengths: EC2 allows no larger VPC, and a /20 has about 3000 pod addresses."""

_LARGEST_ADMIN_NETWORK = 8

_MOST_COUNTED = 1_000
"""Most replicas that a model can have, and far more GPUs than a node."""

_PRIVATE = tuple(
    ipaddress.IPv4Network(block)
    for block in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")
)
"""What RFC 1918 sets aside for private networks."""

_X86_TYPE = r"[a-z]+[0-9]+(?!g)[a-z]*(-[a-z]+)?\.[a-z0-9-]+"
"""Instance types but those with AWS's own arm64 processors, whose families have a 'g'
behind the generation (EC2 instance type names)."""


def validate(settings: Settings) -> Settings:
    """Return the settings, or raise with everything that is wrong with them.

    Args:
        settings: Settings of a stage.

    Raises:
        ConfigurationError: At least one value breaks a rule; each message names the
            place, the rule, the value and, where it is not plain, the repair.
    """
    messages = list(_problems(settings))
    if messages:
        raise ConfigurationError(messages)
    return settings


def _problems(settings: Settings) -> Iterator[str]:
    shape = _shape_problems(settings)
    if shape:
        # nothing else can be asked of values that are not even of their kind
        yield from shape
        return
    yield from _stage_problems(settings)
    yield from _within("network", _network_problems(settings.network))
    yield from _within(
        "image",
        image_problems(
            settings.image.repository, settings.image.tag, settings.image.digest
        ),
    )
    yield from _within("system_nodes", _system_problems(settings.system_nodes))
    for pool in settings.pools:
        yield from _within(f"pool {pool.name!r}", _pool_problems(pool))
    for model in settings.models:
        yield from _within(f"model {model.name!r}", _model_problems(model))
    yield from _composition_problems(settings)


def _shape_problems(settings: Settings) -> list[str]:
    problems = Problems()
    problems.instance("network", settings.network, NetworkSettings)
    problems.instance("image", settings.image, ImageSettings)
    problems.instance("system_nodes", settings.system_nodes, SystemNodes)
    problems.sequence("admin_role_arns", settings.admin_role_arns)
    problems.sequence("public_access_cidrs", settings.public_access_cidrs)
    if isinstance(settings.network, NetworkSettings):
        for name in ("availability_zones", "interface_endpoints"):
            problems.sequence(name, getattr(settings.network, name))
    if problems.sequence("pools", settings.pools):
        for pool in settings.pools:
            if problems.instance("pools", pool, PoolSettings):
                problems.sequence("accelerators", pool.accelerators)
    if problems.sequence("models", settings.models):
        for model in settings.models:
            if problems.instance("models", model, ModelSettings) and (
                model.schedule is not None
            ):
                problems.instance("schedule", model.schedule, Schedule)
    return problems.messages


def _within(place: str, messages: list[str]) -> Iterator[str]:
    for message in messages:
        yield f"{place}: {message}"


def _stage_problems(settings: Settings) -> list[str]:
    problems = Problems()
    problems.dns_label("stage", settings.stage, limit=20)
    if settings.account is not None:
        problems.matches(
            "account",
            settings.account,
            r"\d{12}",
            rule="an AWS account id (a text of 12 digits)",
        )
    if settings.region is not None:
        problems.matches(
            "region",
            settings.region,
            r"[a-z]{2}(-[a-z]+)+-\d",
            rule="an AWS region",
            repair="for example 'us-east-1'",
        )
    if (settings.account is None) != (settings.region is None):
        problems.add(
            "'account' and 'region' must be given together or not at all, got "
            f"{settings.account!r} and {settings.region!r}; add the other one"
        )
    problems.one_of(
        "kubernetes_version",
        settings.kubernetes_version,
        tuple(SUPPORTED),
        repair="or add a row to infra/versions.py",
    )
    problems.flag("retain", settings.retain)
    problems.flag("shared_compile_cache", settings.shared_compile_cache)
    if settings.docker_hub_secret != "":
        problems.matches(
            "docker_hub_secret",
            settings.docker_hub_secret,
            r"ecr-pullthroughcache/[\w/+=.@-]+",
            rule="the name of a secret that begins with 'ecr-pullthroughcache/'",
        )
    problems.include(_access_problems(settings))
    return problems.messages


def _access_problems(settings: Settings) -> list[str]:
    problems = Problems()
    for arn in settings.admin_role_arns:
        problems.matches(
            "admin_role_arns",
            arn,
            r"arn:aws[a-z-]*:iam::\d{12}:(role|user)/[\w+=,.@/-]+",
            rule="the ARNs of IAM roles or users",
            repair="for example 'arn:aws:iam::111122223333:role/Admin'",
        )
    problems.unique("admin_role_arns", settings.admin_role_arns, repair="remove one")
    for cidr in settings.public_access_cidrs:
        network = _network(cidr)
        if network is None:
            problems.broken(
                "'public_access_cidrs' must be networks such as '192.0.2.0/24'", cidr
            )
        elif network.is_private:
            problems.broken(
                "'public_access_cidrs' must be public networks",
                cidr,
                "private ones reach the API by its private endpoint",
            )
        elif network.prefixlen < _LARGEST_ADMIN_NETWORK:
            problems.broken(
                f"'public_access_cidrs' must be /{_LARGEST_ADMIN_NETWORK} or smaller",
                cidr,
                "name the networks that you administer from",
            )
    return problems.messages


def _network_problems(network: NetworkSettings) -> list[str]:
    problems = Problems()
    cidr = _network(network.cidr)
    if cidr is None:
        problems.broken("'cidr' must be a network such as '10.0.0.0/16'", network.cidr)
    else:
        if not _LARGEST_VPC <= cidr.prefixlen <= _SMALLEST_VPC:
            problems.broken(
                f"'cidr' must be /{_LARGEST_VPC} to /{_SMALLEST_VPC}",
                network.cidr,
                "every pod needs an address of it",
            )
        if not any(cidr.subnet_of(private) for private in _PRIVATE):
            problems.broken(
                "'cidr' must be a private network (RFC 1918)",
                network.cidr,
                "use for example '10.0.0.0/16'",
            )
    if problems.integer("zones", network.zones, minimum=2, maximum=6):
        problems.integer(
            "nat_gateways",
            network.nat_gateways,
            minimum=1,
            maximum=network.zones,
            repair="an image that is not cached yet comes through NAT",
        )
        named = len(network.availability_zones)
        if named not in {0, network.zones}:
            problems.broken(
                f"'availability_zones' must name 'zones' ({network.zones}) zones", named
            )
    problems.unique(
        "availability_zones", network.availability_zones, repair="remove one"
    )
    for service in network.interface_endpoints:
        problems.one_of("interface_endpoints", service, INTERFACE_SERVICES)
    problems.unique(
        "interface_endpoints", network.interface_endpoints, repair="remove one"
    )
    return problems.messages


def _system_problems(nodes: SystemNodes) -> list[str]:
    problems = Problems()
    problems.matches(
        "instance_type",
        nodes.instance_type,
        _X86_TYPE,
        rule="an EC2 instance type with an x86-64 processor",
        repair="for example 'm6i.large'",
    )
    problems.integer(
        "count",
        nodes.count,
        minimum=2,
        maximum=20,
        repair="Karpenter's two replicas never share a node",
    )
    return problems.messages


def _pool_problems(pool: PoolSettings) -> list[str]:
    problems = Problems()
    known = Accelerator.names()
    accelerators = [
        Accelerator[name.upper()]
        for name in pool.accelerators
        if problems.one_of("accelerators", name, known)
    ]
    if accelerators or not pool.accelerators:
        problems.include(
            pool_problems(
                name=pool.name,
                accelerators=accelerators,
                gpus_per_node=pool.gpus_per_node,
                max_gpus=pool.max_gpus,
                consolidate_after_seconds=pool.consolidate_after_seconds,
            )
        )
    problems.one_of("capacity", pool.capacity, tuple(CAPACITIES))
    problems.integer(
        "consolidate_after_seconds",
        pool.consolidate_after_seconds,
        minimum=COLD_START_SECONDS,
        repair="an empty node must outlive a cold start",
    )
    return problems.messages


def _model_problems(model: ModelSettings) -> list[str]:
    problems = Problems()
    problems.include(
        model_problems(
            name=model.name,
            prefix=model.prefix,
            weights_gb=model.weights_gb,
            max_model_len=model.max_model_len,
            max_num_seqs=model.max_num_seqs,
            gpus=model.gpus,
            gpu_memory_utilization=model.gpu_memory_utilization,
            cpu=model.cpu,
            memory_gib=model.memory_gib,
        )
    )
    problems.include(
        scaling_problems(
            min_replicas=model.min_replicas,
            max_replicas=model.max_replicas,
            waiting_weight=model.waiting_weight,
            target_share=model.target_share,
        )
    )
    if model.min_replicas == 0 and model.schedule is None:
        problems.broken(
            "'min_replicas' must be at least 1 without a 'schedule'",
            0,
            "the metrics come from the pods, so nothing would ever start the first one",
        )
    if model.schedule is not None:
        window = model.schedule
        problems.include(
            activation_problems(
                timezone=window.timezone,
                start=window.start,
                end=window.end,
                replicas=window.replicas,
            )
        )
        if isinstance(window.replicas, int) and isinstance(model.max_replicas, int):
            problems.integer(
                "schedule.replicas",
                window.replicas,
                maximum=model.max_replicas,
                repair="lower it or raise 'max_replicas'",
            )
    return problems.messages


def _composition_problems(settings: Settings) -> list[str]:
    problems = Problems()
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
    # what is out of range has its own message, and must not be counted one by one
    counts = (model.gpus, model.max_replicas, pool.gpus_per_node, pool.max_gpus)
    return all(type(count) is int and 0 < count <= _MOST_COUNTED for count in counts)


def _fits(model: ModelSettings, pool: PoolSettings) -> bool:
    # a model that cannot be placed even alone has its own message already
    return _countable(model, pool) and not _placement_problems(model, pool)


def _network(text: object) -> ipaddress.IPv4Network | None:
    # the module also reads netmasks, which CDK does not
    if not re.fullmatch(r"[0-9.]+/[0-9]+", str(text)):
        return None
    try:
        return ipaddress.IPv4Network(str(text))
    except ValueError:
        return None
