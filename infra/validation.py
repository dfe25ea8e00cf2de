"""Which settings are refused: every problem of a stage at once."""

import ipaddress
import re
from collections.abc import Iterator, Sequence
from typing import TypeVar

from eks_inference._check import ConfigurationError, Problems
from eks_inference.accelerator import Accelerator
from eks_inference.guardrails import switch_problems
from eks_inference.image import image_problems
from eks_inference.image_snapshot import SNAPSHOT_ID
from eks_inference.inference_endpoints import INTERFACE_SERVICES
from eks_inference.planning.pool import COLD_START_SECONDS, pool_problems
from infra.composition import composition_problems
from infra.model_validation import model_settings_problems
from infra.settings import (
    CAPACITIES,
    SIGNALS,
    GuardrailSwitch,
    ImageSettings,
    ModelSettings,
    NetworkSettings,
    ObservabilitySettings,
    PoolSettings,
    Schedule,
    Settings,
    SystemNodes,
)
from infra.versions import SUPPORTED

Value = TypeVar("Value")

_LARGEST_VPC = 16
_SMALLEST_VPC = 20
"""Prefix lengths: EC2 allows no larger VPC, and a /20 has about 3000 pod addresses."""

_LARGEST_ADMIN_NETWORK = 8

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
    yield from _within("observability", _observability_problems(settings.observability))
    yield from _within("system_nodes", _system_problems(settings.system_nodes))
    for pool in settings.pools:
        yield from _within(f"pool {pool.name!r}", _pool_problems(pool))
    for model in settings.models:
        yield from _within(f"model {model.name!r}", model_settings_problems(model))
    for switch in settings.guardrails:
        yield from _within(
            f"guardrail {switch.rule!r}",
            switch_problems(
                rule=switch.rule, severity=switch.severity, reason=switch.reason
            ),
        )
    yield from composition_problems(settings)


def _shape_problems(settings: Settings) -> list[str]:
    problems = Problems()
    problems.instance("network", settings.network, NetworkSettings)
    problems.instance("image", settings.image, ImageSettings)
    problems.instance("system_nodes", settings.system_nodes, SystemNodes)
    if problems.instance(
        "observability", settings.observability, ObservabilitySettings
    ):
        problems.sequence("emails", settings.observability.emails)
    problems.sequence("admin_role_arns", settings.admin_role_arns)
    problems.sequence("public_access_cidrs", settings.public_access_cidrs)
    if isinstance(settings.network, NetworkSettings):
        for name in ("availability_zones", "interface_endpoints"):
            problems.sequence(name, getattr(settings.network, name))
    for pool in _members(problems, "pools", settings.pools, PoolSettings):
        problems.instance("name", pool.name, str)
        problems.sequence("accelerators", pool.accelerators)
    for model in _members(problems, "models", settings.models, ModelSettings):
        problems.instance("name", model.name, str)
        problems.instance("pool", model.pool, str)
        if model.schedule is not None:
            problems.instance("schedule", model.schedule, Schedule)
    _members(problems, "guardrails", settings.guardrails, GuardrailSwitch)
    return problems.messages


def _members(
    problems: Problems, name: str, values: Sequence[Value], kind: type
) -> list[Value]:
    if not problems.sequence(name, values):
        return []
    return [value for value in values if problems.instance(name, value, kind)]


def _within(place: str, messages: list[str]) -> Iterator[str]:
    for message in messages:
        yield f"{place}: {message}"


def _stage_problems(settings: Settings) -> list[str]:
    problems = Problems()
    if problems.dns_label("stage", settings.stage, limit=20) and re.search(
        "--|-$", settings.stage
    ):
        problems.broken(
            "'stage' must have no two dashes in a row",
            settings.stage,
            "it begins the names of repositories, where ECR takes one",
        )
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
    problems.one_of("signal", settings.signal, tuple(SIGNALS))
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


def _observability_problems(observability: ObservabilitySettings) -> list[str]:
    problems = Problems()
    for email in observability.emails:
        problems.matches(
            "emails",
            email,
            r"[^@\s]+@[^@\s]+\.[^@\s]+",
            rule="addresses of e-mail",
            repair="for example 'on-call@example.com'",
        )
    problems.unique("emails", observability.emails, repair="remove one")
    for name in ("managed_prometheus", "managed_grafana", "dashboards"):
        problems.flag(name, getattr(observability, name))
    if observability.managed_grafana is True and not observability.managed_prometheus:
        problems.broken(
            "'managed_grafana' must be False without 'managed_prometheus', which it "
            "reads",
            True,
            "set both",
        )
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
                "'public_access_cidrs' must be networks of the form 'a.b.c.d/24'", cidr
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
            repair="the images of the controllers come through NAT",
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
                headroom_nodes=pool.headroom_nodes,
            )
        )
    if pool.image_snapshot != "":
        problems.matches(
            "image_snapshot",
            pool.image_snapshot,
            SNAPSHOT_ID,
            rule="the id of an EBS snapshot",
            repair="'make image-snapshot' prints one",
        )
    problems.one_of("capacity", pool.capacity, tuple(CAPACITIES))
    problems.integer(
        "consolidate_after_seconds",
        pool.consolidate_after_seconds,
        minimum=COLD_START_SECONDS,
        repair="an empty node must outlive a cold start",
    )
    return problems.messages


def _network(text: object) -> ipaddress.IPv4Network | None:
    # the module also reads netmasks, which CDK does not
    if not re.fullmatch(r"[0-9.]+/[0-9]+", str(text)):
        return None
    try:
        return ipaddress.IPv4Network(str(text))
    except ValueError:
        return None
