"""What is deleted before what, in every kind of stage.

A relation yields pairs: the resource that must be gone before the deletion of the other
begins. CloudFormation deletes in the reverse of the order in which it creates, so that
each pair holds exactly when references, ``DependsOn`` and the dependencies of the
stacks lead from the first resource to the second one. Every pair is then shown to be
missed when a dependency that it rests on is taken out of the templates.
"""

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from eks_inference.manifests import POOL_LABEL
from eks_inference.node_drain import NODE_DRAIN_TYPE
from infra.retained import retained
from infra.stages import load
from tests.app.conftest import RELEASE_TYPE, Templates, synthesis
from tests.app.test_ordering import (
    CONTROLLERS,
    CRDS,
    STAGES,
    Order,
    Place,
    association_of,
    mentioned,
    node_entry,
    role_of,
)

KUBECTL_TYPES = (RELEASE_TYPE, "Custom::AWSCDK-EKS-KubernetesResource")

Pairs = Iterator[tuple[str, Place, Place]]
"""What a pair says, the resource that is deleted first, and the one after it."""

Relation = Callable[[Order], Pairs]


def models_before_their_pool(order: Order) -> Pairs:
    """A pool that goes first leaves replicas without a place to drain."""
    pools = _pools(order)
    for place, group in order.applied.items():
        for item in group:
            if item["kind"] == "Deployment":
                pod = item["spec"]["template"]["spec"]
                pool = pod.get("nodeSelector", {}).get(POOL_LABEL)
                if pool:
                    yield f"{item['metadata']['name']} of {pool}", place, pools[pool]


def pools_before_their_check(order: Order) -> Pairs:
    """A check that runs while the pool exists waits for nodes that nobody ends."""
    checks = _checks(order)
    pools = _pools(order)
    assert pools.keys() == checks.keys()
    for name, place in pools.items():
        yield name, place, checks[name]


def check_before_karpenter(order: Order) -> Pairs:
    """Without Karpenter nobody ends the instances that the check waits for."""
    for name, place in _checks(order).items():
        yield name, place, order.named["karpenter"]


def check_before_its_own_means(order: Order) -> Pairs:
    """A check cannot run without its function, the function's role and its log."""
    for name, place in _checks(order).items():
        for kind in ("AWS::Lambda::Function", "AWS::IAM::Role", "AWS::Logs::LogGroup"):
            [found] = [
                (stack, logical_id)
                for stack, logical_id in order.places(kind)
                if stack == place[0] and logical_id.startswith("EksInferenceNodeDrain")
            ]
            yield f"{name}: {kind}", place, found


def karpenter_before_its_means(order: Order) -> Pairs:
    """Karpenter ends nodes as long as it has a role, a queue and nodes of its own."""
    karpenter = order.named["karpenter"]
    means = {
        "role": role_of(order, "karpenter"),
        "credentials": association_of(order, "karpenter"),
        "queue": order.place("AWS::SQS::Queue"),
        "CRDs": order.named["karpenter-crd"],
        "profile of the nodes": order.place("AWS::IAM::InstanceProfile"),
        "access entry of the nodes": node_entry(order),
        "nodes that it runs on": order.place("AWS::EKS::Nodegroup"),
        "names of services": order.named["coredns"],
        "agent of its credentials": order.named["eks-pod-identity-agent"],
        "network of its pods": order.named["vpc-cni"],
        "cluster": order.place("AWS::EKS::Cluster"),
    }
    for name, place in means.items():
        yield name, karpenter, place
    for place in order.places("AWS::IAM::Policy"):
        if place[0] == "Cluster":
            yield f"policy {place[1]}", karpenter, place


def objects_before_their_kind(order: Order) -> Pairs:
    """A CRD that goes first takes its objects along, whose finalizers then hang."""
    for place, group in order.applied.items():
        for item in group:
            release = CRDS.get(item["apiVersion"].partition("/")[0])
            if release:
                yield item["kind"], place, order.named[release]


def objects_before_their_controller(order: Order) -> Pairs:
    """An object with a finalizer stays until its controller has let it go."""
    for place, group in order.applied.items():
        for item in group:
            release = CONTROLLERS.get(item["apiVersion"].partition("/")[0])
            if release:
                yield item["kind"], place, order.named[release]


def objects_before_kubectl(order: Order) -> Pairs:
    """Without its handler or its admission, kubectl deletes nothing and says so to
    nobody."""
    means = {
        "handler": _only(order, "AWS::Lambda::Function", "ProviderHandler"),
        "framework": _only(order, "AWS::Lambda::Function", "onEvent"),
        "admission": _only(order, "AWS::EKS::AccessEntry", "AdminRoleAccess"),
    }
    for kind in KUBECTL_TYPES:
        for place in order.places(kind):
            for name, mean in means.items():
                yield f"{place[1]}: {name}", place, mean


def everything_before_the_network(order: Order) -> Pairs:
    """Nodes, controllers and kubectl reach AWS through endpoints, NAT and subnets."""
    kinds = (
        "AWS::EC2::NatGateway",
        "AWS::EC2::Route",
        "AWS::EC2::Subnet",
        "AWS::EC2::VPC",
        "AWS::EC2::VPCEndpoint",
    )
    users = [
        order.place("AWS::EKS::Cluster"),
        order.place("AWS::EKS::Nodegroup"),
        *_checks(order).values(),
        *(place for kind in KUBECTL_TYPES for place in order.places(kind)),
    ]
    for kind in kinds:
        for place in order.places(kind):
            for user in users:
                yield f"{user[1]}: {place[1]}", user, place


RELATIONS: list[Relation] = [
    models_before_their_pool,
    pools_before_their_check,
    check_before_karpenter,
    check_before_its_own_means,
    karpenter_before_its_means,
    objects_before_their_kind,
    objects_before_their_controller,
    objects_before_kubectl,
    everything_before_the_network,
]


def breaches(order: Order, relation: Relation) -> list[str]:
    """Return what the pairs of a relation say that do not hold."""
    return [
        text for text, first, then in relation(order) if not order.after(first, then)
    ]


def _pools(order: Order) -> dict[str, Place]:
    return {
        item["metadata"]["name"]: place
        for place, group in order.applied.items()
        for item in group
        if item["kind"] == "NodePool"
    }


def _checks(order: Order) -> dict[str, Place]:
    return {
        properties["NodePool"]: place
        for place, properties in order.places(NODE_DRAIN_TYPE).items()
    }


def _only(order: Order, kind: str, part: str) -> Place:
    [found] = [
        place
        for place in order.places(kind)
        if place[0] == "Cluster" and part in place[1]
    ]
    return found


def without_dependency(order: Order, later: Place, earlier: str) -> Order:
    """Return the order that is left when a resource forgets another one entirely."""
    stack, logical_id = later
    template = copy.deepcopy(order.templates[stack])
    resource = template["Resources"][logical_id]
    depends = [item for item in resource.pop("DependsOn", []) if item != earlier]
    resource = _forgotten(resource, earlier)
    template["Resources"][logical_id] = resource | {"DependsOn": depends}
    return Order({**order.templates, stack: template}, order.needs)


def _forgotten(value: Any, name: str) -> Any:
    match value:
        case {"Ref": str(found)} | {"Fn::GetAtt": [str(found), *_]} if found == name:
            return "forgotten"
        case dict():
            return {key: _forgotten(item, name) for key, item in value.items()}
        case list():
            return [_forgotten(item, name) for item in value]
    return value


def without_any_way(order: Order, first: Place, then: Place) -> Order:
    """Return the order that is left when a resource forgets all that leads to another.

    In most cases that is a single dependency.
    """
    stack = first[0]
    if stack != then[0]:
        return order.without_stacks(
            *(
                (stack, other)
                for other in order.needs[stack]
                if other == then[0] or order.after((other, ""), then)
            )
        )
    known = order.templates[stack]["Resources"]
    for name in sorted(set(mentioned(known[first[1]])) & known.keys()):
        if name == then[1] or order.after((stack, name), then):
            order = without_dependency(order, first, name)
    return order


@pytest.fixture(params=STAGES, scope="module")
def order(request: pytest.FixtureRequest) -> Order:
    """The order of each kind of stage."""
    return Order.of(synthesis(STAGES[request.param]()))


@pytest.mark.parametrize("relation", RELATIONS, ids=lambda item: str(item.__name__))
def test_deletion_goes_backwards(order: Order, relation: Relation) -> None:
    """Every pair of every relation holds, and each relation has pairs."""
    assert list(relation(order))
    assert breaches(order, relation) == []


@pytest.mark.parametrize("relation", RELATIONS, ids=lambda item: str(item.__name__))
def test_each_dependency_is_missed(order: Order, relation: Relation) -> None:
    """A pair is a breach once the dependencies that it rests on are taken away."""
    for text, first, then in relation(order):
        broken = without_any_way(order, first, then)
        assert text in breaches(broken, relation), text


SINGLE = [
    (models_before_their_pool, "Modelsmistral7bEDC28FCF", "Poolsgpu2461247EC5"),
    (pools_before_their_check, "Poolsgpu2461247EC5", "Poolsgpu24NodeDrain81C30850"),
    (pools_before_their_check, "SystemPoolAF11F45A", "SystemPoolDrain"),
    (check_before_karpenter, "SystemPoolDrain", "Karpenter3DCA5D0D"),
    (
        check_before_its_own_means,
        "Poolsgpu24NodeDrain81C30850",
        "EksInferenceNodeDrainFunction24AE578F",
    ),
    (
        check_before_its_own_means,
        "EksInferenceNodeDrainFunction24AE578F",
        "EksInferenceNodeDrainRole04494BC3",
    ),
    (karpenter_before_its_means, "Karpenter3DCA5D0D", "KarpenterCrds3C65624E"),
    (
        karpenter_before_its_means,
        "Karpenter3DCA5D0D",
        "KarpenterRoleAssociation5A621E01",
    ),
    (objects_before_their_kind, "Karpenter3DCA5D0D", "KarpenterCrds3C65624E"),
    (objects_before_their_controller, "SystemPoolDrain", "Karpenter3DCA5D0D"),
]
"""Relations, and one dependency each that alone holds a pair of theirs."""


@pytest.mark.parametrize(("relation", "later", "earlier"), SINGLE)
def test_one_lost_dependency_is_enough(
    relation: Relation, later: str, earlier: str
) -> None:
    """The loss of a single dependency of a resource is found."""
    whole = Order.of(synthesis(load("dev")))
    places = [
        (stack, later)
        for stack, template in whole.templates.items()
        if later in template["Resources"]
    ]
    for place in places:
        assert breaches(without_dependency(whole, place, earlier), relation)


def test_pools_wait_apart(order: Order) -> None:
    """A pool's deletion waits for its own nodes only: pools are deleted at once."""
    checks = [place for place in _checks(order).values() if place[0] == "Serving"]
    assert not any(order.after(a, b) for a in checks for b in checks if a != b)


def test_development_leaves_nothing(dev: Templates) -> None:
    """The deletion of the development stage leaves nothing that costs."""
    assert retained(dev) == []


def test_production_leaves_its_data(prod: Templates) -> None:
    """What production leaves is listed: data, keys and logs, and nothing else."""
    found = {tuple(line.split()[:2]) for line in retained(prod)}
    assert found >= {
        ("Network", "AWS::Logs::LogGroup"),
        ("Registry", "AWS::ECR::Repository"),
        ("Cluster", "AWS::KMS::Key"),
        ("Cluster", "AWS::Logs::LogGroup"),
        ("Storage", "AWS::KMS::Key"),
        ("Storage", "AWS::S3::Bucket"),
        ("Storage", "AWS::EFS::FileSystem"),
    }
    assert {kind for _, kind in found} == {
        "AWS::ECR::Repository",
        "AWS::EFS::FileSystem",
        "AWS::KMS::Key",
        "AWS::Logs::LogGroup",
        "AWS::S3::Bucket",
    }
