"""What exists before what, which deletion reverses.

The order comes from references and ``DependsOn`` inside a stack, and from the stacks'
dependencies between them. Each rule below is a function that names its breaches, and
each is shown to find one when a dependency is taken away.
"""

import copy
import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self

import pytest

from eks_inference.manifests import POOL_LABEL, Manifest
from eks_inference.testing import manifests
from infra.settings import Settings
from infra.stages import load
from tests.app.conftest import (
    RELEASE_TYPE,
    Synthesis,
    other_choices,
    synthesis,
    with_models,
)

Place = tuple[str, str]
"""A resource: stack and logical id."""

CRDS = {
    "karpenter.k8s.aws": "karpenter-crd",
    "karpenter.sh": "karpenter-crd",
    "keda.sh": "keda",
    "monitoring.coreos.com": "kube-prometheus-stack",
}
"""Helm release that brings the custom resources of a group."""

CONTROLLERS = {**CRDS, "karpenter.k8s.aws": "karpenter", "karpenter.sh": "karpenter"}
"""Helm release whose controller answers for the objects of a group."""

POD_MAKERS = {
    ("kube-system", "efs-csi-controller-sa"): "aws-efs-csi-driver",
    ("kube-system", "karpenter"): "karpenter",
    ("keda", "keda-operator"): "keda",
    ("monitoring", "kube-prometheus-stack-alertmanager"): "kube-prometheus-stack",
}
"""Release or add-on whose pods use a service account that is not a model's."""

BUILT_IN = {"kube-system"}


class Order:
    """The order in which the resources of a stage are made.

    Args:
        templates: Templates by the name of their stack.
        needs: Stacks that each stack is deployed after.
    """

    def __init__(
        self, templates: Mapping[str, Any], needs: Mapping[str, frozenset[str]]
    ) -> None:
        self.templates = templates
        self.needs = needs
        self._known: dict[Place, set[str]] = {}
        self.applied: dict[Place, list[Manifest]] = {
            (stack, logical_id): group
            for stack, template in templates.items()
            for logical_id, group in manifests(template).items()
        }
        self.named = {
            properties[name]: (stack, logical_id)
            for stack, template in templates.items()
            for logical_id, resource in template["Resources"].items()
            for properties in [resource.get("Properties", {})]
            for kind, name in (
                (RELEASE_TYPE, "Release"),
                ("AWS::EKS::Addon", "AddonName"),
            )
            if resource["Type"] == kind
        }

    @classmethod
    def of(cls, result: Synthesis) -> Self:
        """Return the order of a synthesis."""
        return cls(result.templates, result.needs)

    def without(self, later: Place, earlier: str) -> Self:
        """Return the order that is left when a resource's dependency is taken away."""
        templates = copy.deepcopy(dict(self.templates))
        stack, logical_id = later
        depends = templates[stack]["Resources"][logical_id]["DependsOn"]
        depends.remove(earlier)
        return type(self)(templates, self.needs)

    def without_stacks(self, *taken: tuple[str, str]) -> Self:
        """Return the order that is left when stacks no longer need others."""
        needs = {
            stack: frozenset(other for other in others if (stack, other) not in taken)
            for stack, others in self.needs.items()
        }
        return type(self)(self.templates, needs)

    def places(self, kind: str) -> dict[Place, Any]:
        """Return the properties of every resource of a type, by place."""
        return {
            (stack, logical_id): resource.get("Properties", {})
            for stack, template in self.templates.items()
            for logical_id, resource in template["Resources"].items()
            if resource["Type"] == kind
        }

    def place(self, kind: str) -> Place:
        """Return the only resource of a type."""
        [found] = self.places(kind)
        return found

    def after(self, later: Place, earlier: Place) -> bool:
        """Whether a resource is made after another, and so deleted before it."""
        if later[0] == earlier[0]:
            return earlier[1] in self._earlier(later)
        return earlier[0] in self._stacks(later[0])

    def _stacks(self, stack: str) -> set[str]:
        direct = self.needs[stack]
        return set(direct).union(*map(self._stacks, direct))

    def _earlier(self, later: Place) -> set[str]:
        if later not in self._known:
            stack, logical_id = later
            known = self.templates[stack]["Resources"]
            found = set(mentioned(known[logical_id])) & known.keys()
            self._known[later] = found.union(
                *(self._earlier((stack, item)) for item in found)
            )
        return self._known[later]


def mentioned(value: Any) -> Iterator[str]:
    """Yield what a resource depends on or refers to."""
    match value:
        case {"Ref": str(name)}:
            yield name
        case {"Fn::GetAtt": [str(name), *_]}:
            yield name
        case {"DependsOn": str(name), **rest}:
            yield name
            yield from mentioned(rest)
        case {"DependsOn": [*names], **rest}:
            yield from names
            yield from mentioned(rest)
        case {"Fn::Sub": str() | [*_]}:
            raise NotImplementedError("references in the text of Fn::Sub")
        case dict():
            for item in value.values():
                yield from mentioned(item)
        case list():
            for item in value:
                yield from mentioned(item)


def crds_after_objects(order: Order) -> Iterator[str]:
    """Yield the custom resources that may be applied before their kind exists."""
    for place, group in order.applied.items():
        for item in group:
            release = CRDS.get(item["apiVersion"].partition("/")[0])
            if release and not order.after(place, order.named[release]):
                yield name_of(item)


def controllers_deleted_first(order: Order) -> Iterator[str]:
    """Yield the custom resources whose controller is gone when they are deleted."""
    for place, group in order.applied.items():
        for item in group:
            release = CONTROLLERS.get(item["apiVersion"].partition("/")[0])
            if release and not order.after(place, order.named[release]):
                yield name_of(item)


def pods_without_credentials(order: Order) -> Iterator[str]:
    """Yield the identities whose pods may be made before credentials are bound."""
    models = {
        (item["metadata"]["namespace"], pod["serviceAccountName"]): place
        for place, group in order.applied.items()
        for item in group
        if item["kind"] in {"Deployment", "Job"}
        for pod in [item["spec"]["template"]["spec"]]
    }
    for place, bound in order.places("AWS::EKS::PodIdentityAssociation").items():
        account = (bound["Namespace"], bound["ServiceAccount"])
        maker = models.get(account) or order.named[POD_MAKERS[account]]
        if not order.after(maker, place):
            yield "/".join(account)


def objects_without_namespace(order: Order) -> Iterator[str]:
    """Yield what may be made before its namespace, and outlive it."""
    namespaces = {
        item["metadata"]["name"]: place
        for place, group in order.applied.items()
        for item in group
        if item["kind"] == "Namespace"
    }
    used = {
        (place, item["metadata"]["namespace"], name_of(item))
        for place, group in order.applied.items()
        for item in group
        if "namespace" in item["metadata"]
    } | {
        (place, release["Namespace"], release["Release"])
        for place, release in order.places(RELEASE_TYPE).items()
    }
    for place, namespace, name in sorted(used):
        if namespace in BUILT_IN or place == namespaces[namespace]:
            continue  # one resource applies its objects in the order of the list
        if not order.after(place, namespaces[namespace]):
            yield name


def models_outliving_their_pool(order: Order) -> Iterator[str]:
    """Yield the models that are deleted after the nodes that they run on."""
    pools = {
        item["metadata"]["name"]: place
        for place, group in order.applied.items()
        for item in group
        if item["kind"] == "NodePool"
    }
    for place, group in order.applied.items():
        for item in group:
            if item["kind"] == "Deployment":
                pool = item["spec"]["template"]["spec"]["nodeSelector"][POOL_LABEL]
                if not order.after(place, pools[pool]):
                    yield name_of(item)


def pods_without_volume(order: Order) -> Iterator[str]:
    """Yield the pods that may be made before the claim that they mount."""
    claims = {
        item["metadata"]["name"]: place
        for place, group in order.applied.items()
        for item in group
        if item["kind"] == "PersistentVolumeClaim"
    }
    for place, group in order.applied.items():
        for item in group:
            if item["kind"] != "Deployment":
                continue
            for volume in item["spec"]["template"]["spec"].get("volumes", ()):
                claim = volume.get("persistentVolumeClaim", {}).get("claimName")
                if claim and not order.after(place, claims[claim]):
                    yield name_of(item)


def karpenter_outliving_its_means(order: Order) -> Iterator[str]:
    """Yield what Karpenter needs to delete nodes and what may go before it does."""
    karpenter = order.named["karpenter"]
    means = {
        "its role": role_of(order, "karpenter"),
        "its credentials": association_of(order, "karpenter"),
        "its queue": order.place("AWS::SQS::Queue"),
        "the nodes that it runs on": order.place("AWS::EKS::Nodegroup"),
        "what its nodes are made of": order.place("AWS::EC2::LaunchTemplate"),
        "the profile of its nodes": order.place("AWS::IAM::InstanceProfile"),
        "the access entry of its nodes": node_entry(order),
        "the cluster": order.place("AWS::EKS::Cluster"),
        "the names of services": order.named["coredns"],
        "the agent of its credentials": order.named["eks-pod-identity-agent"],
        "the network": order.place("AWS::EC2::VPC"),
    }
    for name, place in means.items():
        if not order.after(karpenter, place):
            yield name


def nodes_without_means(order: Order) -> Iterator[str]:
    """Yield what the first nodes need, and what needs them, in the wrong order."""
    nodes = order.place("AWS::EKS::Nodegroup")
    for addon in ("vpc-cni", "kube-proxy", "eks-pod-identity-agent"):
        if not order.after(nodes, order.named[addon]):
            yield addon
    for addon in ("coredns", "aws-efs-csi-driver", "eks-node-monitoring-agent"):
        if not order.after(order.named[addon], nodes):
            yield addon
    for rule in order.places("AWS::ECR::PullThroughCacheRule"):
        if not order.after(nodes, rule):
            yield "image cache"


def volumes_without_file_system(order: Order) -> Iterator[str]:
    """Yield the mount targets that may be missing when the volume is defined."""
    for place, group in order.applied.items():
        if any(item["kind"] == "PersistentVolume" for item in group):
            for target in order.places("AWS::EFS::MountTarget"):
                if not order.after(place, target):
                    yield target[1]
            if not order.after(place, order.named["aws-efs-csi-driver"]):
                yield "driver"


RULES: list[Callable[[Order], Iterator[str]]] = [
    crds_after_objects,
    controllers_deleted_first,
    pods_without_credentials,
    objects_without_namespace,
    models_outliving_their_pool,
    pods_without_volume,
    karpenter_outliving_its_means,
    nodes_without_means,
    volumes_without_file_system,
]

KARPENTER = ("Platform", "Karpenter3DCA5D0D")
MODEL = ("Serving", "Modelsmistral7bEDC28FCF")
TARGET = "CompileCacheEfsMountTargetPrivateSubnet10AC433B0"
CACHE = ("Storage", "CompileCacheVolume1BF61929")

TAKEN_AWAY: list[tuple[Callable[[Order], Iterator[str]], Place, str, str]] = [
    (
        crds_after_objects,
        *(KARPENTER, "KarpenterCrds3C65624E", "NodePool system"),
    ),
    (
        controllers_deleted_first,
        ("Platform", "SystemPoolDrain"),
        *("Karpenter3DCA5D0D", "EC2NodeClass system"),
    ),
    (
        pods_without_credentials,
        *(KARPENTER, "KarpenterRoleAssociation5A621E01", "kube-system/karpenter"),
    ),
    (
        pods_without_credentials,
        ("Platform", "Keda53FA7F5C"),
        *("KedaRoleAssociationFD174F68", "keda/keda-operator"),
    ),
    (
        pods_without_credentials,
        ("Cluster", "AwsEfsCsiDriver"),
        "EfsCsiRoleAssociation48F36DE1",
        "kube-system/efs-csi-controller-sa",
    ),
    (
        pods_without_credentials,
        MODEL,
        *("Modelsmistral7bRoleAssociation9EFF72DF", "inference/mistral-7b"),
    ),
    (
        objects_without_namespace,
        ("Platform", "Prometheus2BCCDD01"),
        *("Namespaces90F58B69", "kube-prometheus-stack"),
    ),
    (
        objects_without_namespace,
        ("Platform", "Prometheus2BCCDD01"),
        *("Namespaces90F58B69", "keda"),
    ),
    (
        models_outliving_their_pool,
        *(MODEL, "Poolsgpu2461247EC5", "Deployment mistral-7b"),
    ),
    (
        volumes_without_file_system,
        *(CACHE, TARGET, TARGET),
    ),
    (
        nodes_without_means,
        ("Cluster", "SystemNodes68B127BD"),
        *("VpcCni", "vpc-cni"),
    ),
    (
        nodes_without_means,
        ("Cluster", "Coredns"),
        *("SystemNodes68B127BD", "coredns"),
    ),
]
"""Rule, resource, the dependency that it loses, and the breach that must be found."""

MODELS_ALONE = (("Serving", "Platform"), ("Storage", "Platform"))
STORAGE_ALONE = (("Storage", "Platform"), ("Storage", "Cluster"))

TAKEN_FROM_STACKS = [
    (crds_after_objects, MODELS_ALONE, "ScaledObject mistral-7b"),
    (controllers_deleted_first, MODELS_ALONE, "NodePool gpu-24"),
    (objects_without_namespace, MODELS_ALONE, "Deployment mistral-7b"),
    (
        objects_without_namespace,
        *((("Storage", "Platform"),), "PersistentVolumeClaim vllm-compile-cache"),
    ),
    (pods_without_volume, (("Serving", "Storage"),), "Deployment mistral-7b"),
    (volumes_without_file_system, STORAGE_ALONE, "driver"),
    (nodes_without_means, (("Cluster", "Registry"),), "image cache"),
]
"""Rule, what stacks no longer need (both ways where there are two), and the breach."""


STAGES: dict[str, Callable[[], Settings]] = {
    "dev": lambda: load("dev"),
    "prod": lambda: load("prod"),
    "other choices": other_choices,
    "three models": lambda: with_models(3),
}


@pytest.fixture(params=STAGES)
def order(request: pytest.FixtureRequest) -> Order:
    """The order of each kind of stage."""
    return Order.of(synthesis(STAGES[request.param]()))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule.__name__))
def test_order(order: Order, rule: Callable[[Order], Iterator[str]]) -> None:
    """Everything is made after what it needs, and deleted before it."""
    assert list(rule(order)) == []


@pytest.mark.parametrize(("rule", "later", "earlier", "breach"), TAKEN_AWAY)
def test_missing_dependency_is_found(
    rule: Callable[[Order], Iterator[str]], later: Place, earlier: str, breach: str
) -> None:
    """A dependency that a template loses is found by the rule that it serves."""
    whole = Order.of(synthesis(load("dev")))
    assert breach in list(rule(whole.without(later, earlier)))


@pytest.mark.parametrize(("rule", "taken", "breach"), TAKEN_FROM_STACKS)
def test_missing_dependency_of_a_stack_is_found(
    rule: Callable[[Order], Iterator[str]], taken: tuple[tuple[str, str]], breach: str
) -> None:
    """A dependency that a stack loses is found by the rule that it serves."""
    whole = Order.of(synthesis(load("dev")))
    assert all(earlier in whole.needs[later] for later, earlier in taken)
    assert breach in list(rule(whole.without_stacks(*taken)))


def test_means_that_karpenter_could_lose_are_found() -> None:
    """Karpenter that refers to none of its means could be deleted after them."""
    whole = Order.of(synthesis(load("dev")))
    templates = copy.deepcopy(dict(whole.templates))
    chart = templates["Platform"]["Resources"][KARPENTER[1]]
    chart["Properties"]["Values"] = "{}"
    chart["DependsOn"] = ["KarpenterCrds3C65624E"]
    broken = Order(templates, {**whole.needs, "Platform": frozenset()})
    found = list(karpenter_outliving_its_means(broken))
    assert found[:3] == ["its role", "its credentials", "its queue"]
    assert len(found) == 11


def test_stacks_are_deployed_in_one_order(order: Order) -> None:
    """Deletion goes from models over storage and controllers to the network."""
    way = ["Serving", "Storage", "Platform", "Cluster"]
    for first in ("Network", "Registry"):
        assert order.after(("Cluster", ""), (first, ""))
        assert order.needs[first] == frozenset()
    for later, earlier in itertools.pairwise(way):
        assert order.after((later, ""), (earlier, ""))
        assert not order.after((earlier, ""), (later, ""))


def test_models_do_not_wait_for_each_other() -> None:
    """Models are made at the same time: none is after another."""
    order = Order.of(synthesis(with_models(3)))
    models = [
        place
        for place, group in order.applied.items()
        if any(item["kind"] == "Deployment" for item in group)
    ]
    assert len(models) == 3
    assert not any(order.after(a, b) for a in models for b in models if a != b)


def name_of(item: Manifest) -> str:
    """Return kind and name of an object."""
    return f"{item['kind']} {item['metadata']['name']}"


def association_of(order: Order, account: str) -> Place:
    """Return what binds a role to a service account."""
    [found] = [
        place
        for place, bound in order.places("AWS::EKS::PodIdentityAssociation").items()
        if bound["ServiceAccount"] == account
    ]
    return found


def role_of(order: Order, account: str) -> Place:
    """Return the role that is bound to a service account."""
    place = association_of(order, account)
    bound = order.places("AWS::EKS::PodIdentityAssociation")[place]
    return place[0], bound["RoleArn"]["Fn::GetAtt"][0]


def node_entry(order: Order) -> Place:
    """Return the access entry of the nodes that Karpenter launches."""
    [found] = [
        place
        for place, entry in order.places("AWS::EKS::AccessEntry").items()
        if entry.get("Type") == "EC2_LINUX"
    ]
    return found
