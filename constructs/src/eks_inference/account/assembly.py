"""What a synthesized app will ask of its account, read from its cloud assembly."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from eks_inference._check import ConfigurationError, Problems
from eks_inference.accelerator import Accelerator
from eks_inference.account.needs import (
    BOOTSTRAP_PARAMETER,
    DeploymentNeeds,
    NodeGroupNeeds,
    PoolNeeds,
)
from eks_inference.capacity import Capacity
from eks_inference.manifests import NVIDIA_GPU, POOL_LABEL, Manifest
from eks_inference.planning.pool import GpuPool
from eks_inference.rules.quantity import cpus, gib

_MANIFEST = "Custom::AWSCDK-EKS-KubernetesResource"
"""Type of the resource by which CDK applies objects (both modules of EKS)."""

_STACK = "aws:cloudformation:stack"
_NESTED_ASSEMBLY = "cdk:cloud-assembly"
_ASSET_PATH = "aws:asset:path"
_CLUSTERS = ("AWS::EKS::Cluster", "Custom::AWSCDK-EKS-Cluster")
"""A cluster of ``aws_eks_v2``, and one of ``aws_eks``."""

_NONE_YET = "unknown-"
"""How CDK begins an account or region that is chosen at the deployment."""


Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class _Stack:
    name: str
    account: str
    region: str
    bootstrap: tuple[str, int] | None
    templates: tuple[Mapping[str, Any], ...]


def read_needs(folder: Path) -> DeploymentNeeds:
    """Return what an app needs, from what its synthesis has written.

    Any app will do that uses the library: pools are the NodePools of its manifests
    that ask for GPUs.

    Args:
        folder: Cloud assembly, such as ``cdk.out``.

    Raises:
        ConfigurationError: It is none, or a pool in it is not one of the library's.
    """
    return _read(folder, _needs)


def read_images(folder: Path, *, account: str, region: str) -> tuple[str, ...]:
    """Return the images of an app's models, as their pods name them.

    Args:
        folder: Cloud assembly, such as ``cdk.out``.
        account: Account that it is deployed to, where it is bound to none.
        region: Region, likewise.

    Raises:
        ConfigurationError: It is none, or has no model.
    """
    known = {
        "AWS::AccountId": account,
        "AWS::Region": region,
        # CDK writes the name of any registry with it
        "AWS::URLSuffix": "amazonaws.com" + ".cn" * region.startswith("cn-"),
    }
    images = _read(folder, partial(_images, known=known))
    with Problems() as problems:
        problems.not_empty(
            "assembly", images, repair="it must have a model, or name an image"
        )
    return images


def _read(folder: Path, read: Callable[[list[_Stack]], Found]) -> Found:
    try:
        return read(list(_stacks(folder)))
    except ConfigurationError:
        raise
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        message = (
            f"'assembly' must be the folder of a synthesized app, got {str(folder)!r}; "
            f"run 'cdk synth' first ({type(error).__name__}: {error})"
        )
        raise ConfigurationError([message]) from error


def _images(stacks: list[_Stack], known: Mapping[str, str]) -> tuple[str, ...]:
    resources = [
        resource
        for stack in stacks
        for template in stack.templates
        for resource in _resources(template)
    ]
    found = [
        container["image"]
        for item in _objects(resources, known)
        if item["kind"] == "Deployment"
        for pod in [item["spec"]["template"]["spec"]]
        if POOL_LABEL in pod.get("nodeSelector", {})
        for container in pod["containers"]
    ]
    return tuple(dict.fromkeys(found))


def _needs(stacks: list[_Stack]) -> DeploymentNeeds:
    templates = [template for stack in stacks for template in stack.templates]
    resources = [item for template in templates for item in _resources(template)]
    objects = list(_objects(resources))
    kinds = [resource["Type"] for resource in resources]
    clusters = [item for item in resources if item["Type"] in _CLUSTERS]
    versions = sorted({text for item in clusters if (text := _version(item))})
    with Problems() as problems:
        pools = [problems.attempt(partial(_pool, item, objects)) for item in objects]
        if len(versions) > 1:
            problems.broken(
                "'assembly' must have one version of Kubernetes",
                versions,
                "check one cluster after the other",
            )
    named, counted = _zones(resources)
    return DeploymentNeeds(
        pools=tuple(pool for pool in pools if pool is not None),
        kubernetes_version=versions[0] if versions else None,
        availability_zones=named,
        first_zones=counted,
        node_groups=tuple(_node_groups(resources)),
        other_vcpus=sum(map(_other_vcpus, objects)),
        vpcs=kinds.count("AWS::EC2::VPC"),
        elastic_ips=kinds.count("AWS::EC2::EIP"),
        bootstrap=_bootstrap(stacks),
        accounts=_known(stack.account for stack in stacks),
        regions=_known(stack.region for stack in stacks),
        stacks=tuple(stack.name for stack in stacks),
        clusters=_known(_cluster_name(item) for item in clusters),
    )


def _stacks(folder: Path) -> Iterator[_Stack]:
    artifacts = json.loads((folder / "manifest.json").read_text())["artifacts"]
    for name, artifact in artifacts.items():
        properties = artifact.get("properties", {})
        if artifact["type"] == _NESTED_ASSEMBLY:
            yield from _stacks(folder / properties["directoryName"])
        elif artifact["type"] == _STACK:
            # aws://account/region
            *_, account, region = artifact["environment"].split("/")
            needed = properties.get("requiresBootstrapStackVersion")
            parameter = properties.get("bootstrapStackVersionSsmParameter")
            yield _Stack(
                name=properties.get("stackName", name),
                account=account,
                region=region,
                bootstrap=(
                    (parameter or BOOTSTRAP_PARAMETER, int(needed)) if needed else None
                ),
                templates=tuple(_templates(folder, properties["templateFile"])),
            )


def _objects(
    resources: list[dict[str, Any]], known: Mapping[str, str] | None = None
) -> Iterator[Manifest]:
    for resource in resources:
        if resource["Type"] == _MANIFEST:
            yield from json.loads(_text(_properties(resource)["Manifest"], known or {}))


def _text(value: Any, known: Mapping[str, str]) -> str:
    """Return a text; what a deployment fills in is "?" where it is not known."""
    if isinstance(value, str):
        return value
    separator, parts = value.get("Fn::Join", ("", [known.get(value.get("Ref"), "?")]))
    return str(separator).join(_text(part, known) for part in parts)


def _templates(folder: Path, file: str) -> Iterator[Mapping[str, Any]]:
    template = json.loads((folder / file).read_text())
    template.setdefault("Resources", {})
    yield template
    for resource in _resources(template):
        nested = resource.get("Metadata", {}).get(_ASSET_PATH)
        if resource["Type"] == "AWS::CloudFormation::Stack" and nested:
            yield from _templates(folder, nested)


def _resources(template: Mapping[str, Any]) -> list[dict[str, Any]]:
    return list(template["Resources"].values())


def _properties(resource: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = resource.get("Properties", {})
    # the older module's cluster has its properties one level lower
    return {**found.get("Config", {}), **found}


def _version(cluster: Mapping[str, Any]) -> str:
    properties = _properties(cluster)
    text = properties.get("Version", properties.get("version", ""))
    return text if isinstance(text, str) else ""


def _cluster_name(cluster: Mapping[str, Any]) -> str:
    properties = _properties(cluster)
    text = properties.get("Name", properties.get("name", ""))
    return text if isinstance(text, str) else ""


def _pool(manifest: Manifest, objects: list[Manifest]) -> PoolNeeds | None:
    if manifest["kind"] != "NodePool":
        return None
    spec = manifest["spec"]
    most = spec.get("limits", {}).get(NVIDIA_GPU)
    wanted = {
        item["key"].rpartition("/")[2]: item.get("values", [])
        for item in spec["template"]["spec"].get("requirements", [])
        if item["operator"] == "In"
    }
    if most is None and "instance-gpu-name" not in wanted:
        return None
    name = manifest["metadata"]["name"]
    memory = set(wanted.get("instance-gpu-memory", []))
    found = tuple(
        item
        for item in Accelerator
        if item.gpu_name in wanted.get("instance-gpu-name", [])
        and (not memory or str(item.memory_mib) in memory)
    )
    counts = wanted.get("instance-gpu-count", [])
    with Problems(f"pool {name!r}") as problems:
        if most is None or not str(most).isdigit():
            problems.broken(
                f"'limits' of the NodePool must have a number of {NVIDIA_GPU}", most
            )
        if len(counts) != 1 or not str(counts[0]).isdigit():
            problems.broken(
                "'requirements' of the NodePool must have one instance-gpu-count",
                counts,
                "make a pool for each",
            )
    requests = list(_requests(name, objects))
    return PoolNeeds(
        pool=GpuPool(
            name=name,
            accelerators=found,
            gpus_per_node=int(counts[0]),
            # what Karpenter takes where nothing is said
            capacity=Capacity(tuple(wanted.get("capacity-type", ["on-demand"]))),
            max_gpus=int(str(most)),
        ),
        cpu=max((cpu for cpu, _ in requests), default=0),
        memory_mib=max((memory for _, memory in requests), default=0),
    )


def _requests(pool: str, objects: list[Manifest]) -> Iterator[tuple[float, float]]:
    """Yield CPUs and MiB that each Deployment on a pool requests for a replica."""
    for item in objects:
        if item["kind"] != "Deployment":
            continue
        pod = item["spec"]["template"]["spec"]
        if pod.get("nodeSelector", {}).get(POOL_LABEL) != pool:
            continue
        asked = [
            {**resources.get("limits", {}), **resources.get("requests", {})}
            for container in pod["containers"]
            for resources in [container.get("resources", {})]
        ]
        yield (
            sum(cpus(str(each.get("cpu", "0"))) or 0 for each in asked),
            sum(gib(str(each.get("memory", "0"))) or 0 for each in asked) * 1024,
        )


def _other_vcpus(manifest: Manifest) -> float:
    """Return the most CPUs of a NodePool that asks for no GPUs."""
    if manifest["kind"] != "NodePool":
        return 0
    limits = manifest["spec"].get("limits", {})
    return 0 if NVIDIA_GPU in limits else cpus(str(limits.get("cpu", "0"))) or 0


def _node_groups(resources: list[dict[str, Any]]) -> Iterator[NodeGroupNeeds]:
    for resource in resources:
        if resource["Type"] != "AWS::EKS::Nodegroup":
            continue
        properties = _properties(resource)
        types = properties.get("InstanceTypes", [])
        count = properties.get("ScalingConfig", {}).get("DesiredSize", 0)
        if types and properties.get("CapacityType") != "SPOT":
            # the others are alternatives to the first
            yield NodeGroupNeeds(instance_type=types[0], count=int(count))


def _zones(resources: list[dict[str, Any]]) -> tuple[tuple[str, ...], int | None]:
    """Return the zones of the subnets by name, or how many they are."""
    zones = [
        _properties(resource).get("AvailabilityZone")
        for resource in resources
        if resource["Type"] == "AWS::EC2::Subnet"
    ]
    # 'dummy1a' is CDK's stand-in for a zone that it has not looked up yet
    named = {
        zone for zone in zones if isinstance(zone, str) and not zone.startswith("dummy")
    }
    # a stack that is bound to no region selects the zones by their index
    counted = [
        int(zone["Fn::Select"][0])
        for zone in zones
        if isinstance(zone, dict) and "Fn::Select" in zone
    ]
    return tuple(sorted(named)), max(counted) + 1 if counted else None


def _bootstrap(stacks: list[_Stack]) -> tuple[str, int]:
    needed = [stack.bootstrap for stack in stacks if stack.bootstrap is not None]
    default = DeploymentNeeds().bootstrap
    return max(needed, key=lambda item: item[1], default=default)


def _known(texts: Iterator[str]) -> tuple[str, ...]:
    return tuple(
        sorted({text for text in texts if text and not text.startswith(_NONE_YET)})
    )
