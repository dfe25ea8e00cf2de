"""Tests of what a cluster must run before pools and models can work on it."""

from typing import Any

import aws_cdk as cdk
import pytest
from constructs import Construct
from syrupy.assertion import SnapshotAssertion

from eks_inference import (
    Activation,
    CompileCache,
    GpuInferencePool,
    PlatformRequirements,
    QueueScaledModel,
    QueueScaling,
    Requirement,
    Signal,
)
from tests.library.cases import default_pool
from tests.library.conftest import import_cluster, make_model
from tests.schemas.crds import from_npm
from tests.schemas.manifests import problems

WAKES = Activation.http()
POOL = ["Karpenter", "Karpenter's AWS provider"]
MODEL = ["KEDA", "Prometheus operator", "EKS Pod Identity agent"]
IMAGE = "registry.example.com/kubectl:1.35.0"


def names(scope: Construct) -> list[str]:
    """Return the names of what everything below a construct needs."""
    return [item.name for item in PlatformRequirements.of(scope).requirements]


def everything(stack: cdk.Stack) -> PlatformRequirements:
    """Return what a pool and a model with every need have."""
    QueueScaledModel(
        stack,
        "Chat",
        pool=default_pool(stack),
        model=make_model(),
        namespace="search",
        priority_class_name="serving",
        compile_cache=CompileCache.from_claim_name("kernels"),
    )
    return PlatformRequirements.of(stack)


def test_nothing_is_needed_for_nothing(stack: cdk.Stack) -> None:
    """Where nothing is defined nothing is needed, and the check passes."""
    found = PlatformRequirements.of(stack)
    assert found.requirements == ()
    assert found.markdown() == "| needs | for | check |\n|---|---|---|\n"
    *_, job = found.manifests(image=IMAGE)
    [container] = job["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["sh", "-c", "true"]


def test_pool_needs_karpenter(stack: cdk.Stack) -> None:
    """A pool alone needs both parts of Karpenter."""
    default_pool(stack)
    assert names(stack) == POOL


def test_model_needs_what_it_names(stack: cdk.Stack) -> None:
    """Namespace, priority class and claim are needed where a model names them."""
    assert [item.name for item in everything(stack).requirements] == [
        *POOL,
        *MODEL,
        "namespace search",
        "priority class serving",
        "claim kernels",
    ]


def test_everything_is_needed_once(stack: cdk.Stack) -> None:
    """Two models of one namespace need no more than one of them."""
    pool = default_pool(stack)
    QueueScaledModel(stack, "A", pool=pool, model=make_model(name="a"))
    one = names(stack)
    QueueScaledModel(stack, "B", pool=pool, model=make_model(name="b"))
    assert names(stack) == one == [*POOL, *MODEL, "namespace inference"]
    other = make_model(name="c")
    QueueScaledModel(stack, "C", pool=pool, model=other, namespace="search")
    assert names(stack) == [*one, "namespace search"]


def test_only_what_lies_below_counts(stack: cdk.Stack) -> None:
    """What another part of the tree needs does not count, nor a longer name's."""
    scopes = {name: Construct(stack, name) for name in ("Team", "Team2", "Empty")}
    pool = GpuInferencePool(scopes["Team"], "Gpu", cluster=import_cluster(stack))
    QueueScaledModel(scopes["Team2"], "Chat", pool=pool, model=make_model())
    assert names(scopes["Team"]) == POOL
    assert names(scopes["Team2"]) == [*MODEL, "namespace inference"]
    assert names(scopes["Empty"]) == []
    assert names(stack) == [*POOL, *MODEL, "namespace inference"]


def test_the_construct_itself_counts(stack: cdk.Stack) -> None:
    """A pool or a model can be asked itself, and a whole app too."""
    app = cdk.App(analytics_reporting=False)
    own = cdk.Stack(app, "Stack")
    pool = default_pool(own)
    assert names(pool) == POOL
    assert names(app) == POOL
    assert names(stack) == []


def test_markdown_is_a_table(stack: cdk.Stack, snapshot: SnapshotAssertion) -> None:
    """The hand-over is a table with a command for each requirement."""
    lines = everything(stack).markdown().splitlines()
    assert lines == snapshot
    assert len(lines) == 2 + 8
    assert all(line.count("|") == 4 for line in lines)


def test_job_is_valid_and_recorded(
    stack: cdk.Stack, snapshot: SnapshotAssertion
) -> None:
    """The check is a job, with an account of its own, that a cluster accepts."""
    made = everything(stack).manifests(image=IMAGE, namespace="kube-system")
    assert made == snapshot
    for item in made:
        assert problems(item, kubernetes_version="1.35", crds=from_npm()) == []
    account, role, binding, job = made
    assert binding["subjects"] == [{"kind": "ServiceAccount", **account["metadata"]}]
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    pod = job["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == account["metadata"]["name"]
    assert {item["metadata"].get("namespace") for item in made} == {
        "kube-system",
        None,
    }


def test_job_may_get_what_it_asks_for_and_nothing_else(stack: cdk.Stack) -> None:
    """Each requirement has one rule, for one verb on one object by name."""
    found = everything(stack)
    _, role, _, job = found.manifests(image=IMAGE)
    assert len(role["rules"]) == len(found.requirements)
    for rule, item in zip(role["rules"], found.requirements, strict=True):
        assert rule["verbs"] == ["get"]
        assert rule["resourceNames"] == [item.resource.partition("/")[2]]
        assert "*" not in str(rule)
    [container] = job["spec"]["template"]["spec"]["containers"]
    script = container["command"][2]
    assert script.split(" && ") == [item.command for item in found.requirements]
    assert container["image"] == IMAGE


@pytest.mark.parametrize(
    ("namespace", "command"),
    [
        ("", "kubectl get crd/a.b"),
        ("kube-system", "kubectl get crd/a.b --namespace kube-system"),
    ],
)
def test_command_names_the_namespace(namespace: str, command: str) -> None:
    """The command looks where the object is."""
    item = Requirement(name="a", reason="b", resource="crd/a.b", namespace=namespace)
    assert item.command == command


def test_own_requirements_can_be_given() -> None:
    """Requirements of one's own are kept in order, each once."""
    a, b = (Requirement(name=n, reason="r", resource=f"crd/{n}") for n in "ab")
    assert PlatformRequirements([b, a, b]).requirements == (b, a)


def test_what_wakes_and_what_scales_is_needed(stack: cdk.Stack) -> None:
    """Add-ons are needed by the models that name them, and proofs by those at zero."""
    pool = default_pool(stack)
    kinds: dict[str, dict[str, Any]] = {
        "Asleep": {"scaling": QueueScaling(min_replicas=0, activation=WAKES)},
        "Blind": {"signal": Signal.otel_scaler()},
        "Bought": {"signal": Signal.kedify()},
    }
    for name, values in kinds.items():
        model = make_model(name=name.lower())
        QueueScaledModel(stack, name, pool=pool, model=model, **values)
    extra = [item for item in names(stack) if item not in [*POOL, *MODEL]]
    assert extra == [
        "namespace inference",
        "kube-state-metrics",
        "KEDA's HTTP add-on",
        "the OpenTelemetry scaler",
        "Kedify's KEDA and its OpenTelemetry scaler",
    ]
