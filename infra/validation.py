"""Which settings are refused: every problem of a stage at once."""

import ipaddress
from collections.abc import Iterator

from eks_inference._check import ConfigurationError, Problems
from eks_inference.accelerator import Accelerator
from eks_inference.activation import activation_problems
from eks_inference.model import model_problems
from eks_inference.planning.pool import pool_problems
from eks_inference.planning.serving import placement_problems
from eks_inference.scaling import scaling_problems
from infra.settings import (
    CAPACITIES,
    ENDPOINT_SERVICES,
    ImageSettings,
    ModelSettings,
    NetworkSettings,
    PoolSettings,
    Settings,
    SystemNodes,
)
from infra.versions import SUPPORTED

MOST_MODELS = 100
"""A model is three to five resources in one stack, which CloudFormation ends at 500."""

_LARGEST_VPC = 16
_SMALLEST_VPC = 20
"""Prefix lengths: EC2 allows no larger VPC, and a /20 has about 3000 pod addresses."""

_LARGEST_ADMIN_NETWORK = 8

_DIGEST = r"sha256:[0-9a-f]{64}"
_TAG = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}"


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
    yield from _stage_problems(settings)
    yield from _within("network", _network_problems(settings.network))
    yield from _within("image", _image_problems(settings.image))
    yield from _within("system_nodes", _system_problems(settings.system_nodes))
    for pool in settings.pools:
        yield from _within(f"pool {pool.name!r}", _pool_problems(pool))
    for model in settings.models:
        yield from _within(f"model {model.name!r}", _model_problems(model))
    yield from _composition_problems(settings)


def _within(place: str, messages: list[str]) -> Iterator[str]:
    for message in messages:
        yield f"{place}: {message}"


def _stage_problems(settings: Settings) -> list[str]:
    problems = Problems()
    problems.dns_label("stage", settings.stage, limit=20)
    if settings.account is not None:
        problems.matches(
            "account", settings.account, r"\d{12}", rule="an AWS account id (12 digits)"
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
    for arn in settings.admin_role_arns:
        problems.matches(
            "admin_role_arns",
            arn,
            r"arn:aws[a-z-]*:iam::\d{12}:(role|user)/[\w+=,.@/-]+",
            rule="the ARNs of IAM roles",
            repair="for example 'arn:aws:iam::111122223333:role/Admin'",
        )
    for cidr in settings.public_access_cidrs:
        network = _network(cidr)
        if network is None:
            problems.matches(
                "public_access_cidrs",
                cidr,
                "$^",
                rule="networks such as '192.0.2.0/24'",
            )
        elif network.prefixlen < _LARGEST_ADMIN_NETWORK:
            problems.add(
                f"'public_access_cidrs' must be /{_LARGEST_ADMIN_NETWORK} or smaller, "
                f"got {cidr!r}; name the networks that you administer from"
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
        if not cidr.is_private:
            problems.add(
                f"'cidr' must be a private network, got {network.cidr!r}; "
                "use for example '10.0.0.0/16'"
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
        problems.one_of("interface_endpoints", service, ENDPOINT_SERVICES)
    problems.unique(
        "interface_endpoints", network.interface_endpoints, repair="remove one"
    )
    return problems.messages


def _image_problems(image: ImageSettings) -> list[str]:
    problems = Problems()
    problems.matches(
        "repository",
        image.repository,
        r"[a-z0-9]+([._/-][a-z0-9]+)*",
        rule="a repository below public.ecr.aws",
        repair="for example 'deep-learning-containers/vllm'",
    )
    problems.matches("tag", image.tag, _TAG, rule="an image tag")
    if image.tag == "latest":
        problems.broken(
            "'tag' must be pinned",
            image.tag,
            "nodes that start on different days would run different versions",
        )
    if image.digest != "":
        problems.matches(
            "digest", image.digest, _DIGEST, rule="'sha256:' and 64 hex digits"
        )
    return problems.messages


def _system_problems(nodes: SystemNodes) -> list[str]:
    problems = Problems()
    problems.matches(
        "instance_type",
        nodes.instance_type,
        r"[a-z][a-z0-9-]*\.[a-z0-9-]+",
        rule="an EC2 instance type",
        repair="for example 'm6i.large'",
    )
    problems.integer(
        "count",
        nodes.count,
        minimum=2,
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
            has_activation=model.schedule is not None,
        )
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
    return problems.messages


def _composition_problems(settings: Settings) -> list[str]:
    problems = Problems()
    problems.not_empty("pools", settings.pools, repair="add one to infra/stages.py")
    problems.unique(
        "pools", (pool.name for pool in settings.pools), repair="rename one"
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
        pool = pools.get(model.pool)
        if pool is None:
            known = ", ".join(map(repr, pools)) or "none"
            problems.add(
                f"model {model.name!r}: 'pool' must name a pool ({known}), "
                f"got {model.pool!r}"
            )
            continue
        if all(isinstance(n, int) for n in _counts(model, pool)):
            problems.include(
                f"model {model.name!r}: {message}"
                for message in placement_problems(
                    gpus=model.gpus,
                    max_replicas=model.max_replicas,
                    gpus_per_node=pool.gpus_per_node,
                    max_gpus=pool.max_gpus,
                )
            )
    for pool in settings.pools:
        served = [model for model in settings.models if model.pool == pool.name]
        needs = [
            model.gpus * model.max_replicas for model in served if _fits(model, pool)
        ]
        if len(needs) > 1 and sum(needs) > pool.max_gpus:
            problems.add(
                f"pool {pool.name!r}: 'max_gpus' must be at least what its models need "
                f"together ({' + '.join(map(str, needs))} = {sum(needs)}), got "
                f"{pool.max_gpus}; raise it or lower a model's 'max_replicas'"
            )
        if not served:
            problems.add(
                f"pool {pool.name!r}: must have at least one model, got none; "
                "remove the pool or let a model name it"
            )
    return problems.messages


def _counts(model: ModelSettings, pool: PoolSettings) -> tuple[object, ...]:
    return (model.gpus, model.max_replicas, pool.gpus_per_node, pool.max_gpus)


def _fits(model: ModelSettings, pool: PoolSettings) -> bool:
    # a model that cannot be placed even alone has its own message already
    return all(isinstance(n, int) for n in _counts(model, pool)) and (
        model.gpus * model.max_replicas <= pool.max_gpus
    )


def _network(text: object) -> ipaddress.IPv4Network | None:
    try:
        return ipaddress.IPv4Network(str(text))
    except ValueError:
        return None
