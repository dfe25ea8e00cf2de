"""Values and places that once slipped through."""

from collections.abc import Callable
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_ec2 as ec2
from cdk8s import JsonPatch

from eks_inference import (
    Accelerator,
    CompileCache,
    ConfigurationError,
    GpuInferencePool,
    Guardrails,
    ImageCache,
    InferenceEndpoints,
    ModelStore,
    PodIdentityRole,
    QueueScaledModel,
    QueueScaling,
    Severity,
)
from tests.library.broken_rules import CONTAINER, DATA_VOLUME, patched
from tests.library.cases import default_pool
from tests.library.conftest import (
    WINDOW,
    children,
    import_cluster,
    import_group,
    import_vpc,
    make_model,
)

SPOT = "eks_inference:spotGrace"


def new_app() -> cdk.App:
    """Return an app of one test's own."""
    return cdk.App(analytics_reporting=False)


def findings(define: Callable[[cdk.Stack], object]) -> list[str]:
    """Return the ids of the rules that an app with one stack breaks as errors."""
    app = new_app()
    define(cdk.Stack(app, "Stack"))
    try:
        app.synth()
    except RuntimeError as error:
        text = str(error)
        assert "Validation failed" in text, text
        return [line.rpartition(":")[2].rstrip("]") for line in text.splitlines()[1:]]
    return []


def serve(stack: cdk.Stack, **changes: Any) -> QueueScaledModel:
    """Define a model on a pool of its own."""
    pool = default_pool(stack)
    return QueueScaledModel(stack, "Chat", pool=pool, model=make_model(), **changes)


def test_one_cluster_name_in_two_regions() -> None:
    """Clusters of one name in two regions are two clusters."""
    app = new_app()
    for region in ("eu-central-1", "us-east-1"):
        where = cdk.Environment(account="111122223333", region=region)
        stack = cdk.Stack(app, region, env=where)
        cluster = import_cluster(stack, name="platform")
        GpuInferencePool(stack, "Gpu", cluster=cluster)


def test_warnings_inside_a_stage() -> None:
    """What warns in a stack warns in a stack of a stage too."""
    app = new_app()
    default_pool(cdk.Stack(cdk.Stage(app, "Prod"), "Stack"))
    nested = app.synth().get_nested_assembly("assembly-Prod")
    assert [len(stack.messages) for stack in nested.stacks] == [1]


def test_switch_on_the_app_is_told() -> None:
    """The reason of a switch on the whole app stands in the synthesis."""
    app = new_app()
    serve(cdk.Stack(app, "Stack"))
    Guardrails.of(app).switch(SPOT, Severity.OFF, reason="batch")
    messages = [str(m.entry.data) for s in app.synth().stacks for m in s.messages]
    assert any("batch" in message for message in messages)


@pytest.mark.parametrize("severity", ["nonsense", None, "ERROR"])
def test_unknown_severity(severity: Any, stack: cdk.Stack) -> None:
    """A severity that there is not is refused, and does not switch a rule off."""
    with pytest.raises(ConfigurationError):
        Guardrails.of(stack).switch(SPOT, severity, reason="batch")


def test_severity_as_text() -> None:
    """The severity's own text is the severity."""

    def define(stack: cdk.Stack) -> None:
        serve(stack, image="vllm")
        error: Any = "error"
        rule = "eks_inference:unpinnedImage"
        Guardrails.of(stack).switch(rule, error, reason="strict")

    assert findings(define) == ["unpinnedImage"]


def test_last_switch_on_one_construct_counts() -> None:
    """Of two switches on one construct the later one is the app's last word."""

    def define(stack: cdk.Stack) -> None:
        serve(stack, image="vllm")
        rule = "eks_inference:unpinnedImage"
        Guardrails.of(stack).switch(rule, Severity.OFF, reason="at first")
        Guardrails.of(stack).switch(rule, Severity.ERROR, reason="after all")

    assert findings(define) == ["unpinnedImage"]


def test_two_caches_of_one_claim(stack: cdk.Stack) -> None:
    """Two caches cannot both make one claim of one namespace."""
    cluster, vpc, group = import_cluster(stack), import_vpc(stack), import_group(stack)
    given: dict[str, Any] = {
        "cluster": cluster,
        "vpc": vpc,
        "node_security_group": group,
    }
    CompileCache(stack, "One", **given)
    with pytest.raises(ConfigurationError):
        CompileCache(stack, "Two", **given)


def test_cache_of_another_namespace(stack: cdk.Stack) -> None:
    """A model cannot mount a claim that is made in another namespace."""
    pool = default_pool(stack)
    cache = CompileCache(
        stack,
        "Cache",
        cluster=pool.cluster,
        vpc=import_vpc(stack),
        node_security_group=import_group(stack),
        namespace="search",
    )
    with pytest.raises(ConfigurationError):
        QueueScaledModel(
            stack, "Chat", pool=pool, model=make_model(), compile_cache=cache
        )


def test_pool_that_was_refused_takes_no_name(stack: cdk.Stack) -> None:
    """A patch that cannot be applied leaves the pool's name free."""
    cluster = import_cluster(stack)
    bad = patched("NodePool", JsonPatch.add("/spec/a/b/c", 1))
    with pytest.raises(RuntimeError):
        GpuInferencePool(stack, "One", cluster=cluster, name="gpu", **bad)
    assert GpuInferencePool(stack, "Two", cluster=cluster, name="gpu")


def test_pod_without_resources() -> None:
    """A pod whose resources a patch has removed breaks a rule, and not the rules."""
    gone = JsonPatch.remove(f"{CONTAINER}/resources")
    found = findings(lambda stack: serve(stack, **patched("Deployment", gone)))
    assert found == ["missingToleration"]


@pytest.mark.parametrize("size", ["1Ti", "100G"])
def test_size_in_another_unit(size: str) -> None:
    """A volume is large enough in whatever unit its size is given."""

    def define(stack: cdk.Stack) -> None:
        larger = JsonPatch.replace(f"{DATA_VOLUME}/volumeSize", size)
        patch = patched("EC2NodeClass", larger)
        default_pool(stack, accelerators=[Accelerator.T4G], **patch)

    assert findings(define) == []


def test_target_of_a_model_with_a_window() -> None:
    """A threshold above what a replica holds is found without a formula too."""
    above = JsonPatch.replace("/spec/triggers/0/metadata/threshold", "64")
    scaling = QueueScaling(activation=WINDOW)
    patch = patched("ScaledObject", above)
    found = findings(lambda stack: serve(stack, scaling=scaling, **patch))
    assert found == ["targetAboveCapacity"]


def test_pool_too_small_for_patched_replicas() -> None:
    """The pool is held against the replicas that are applied, after every patch."""
    more = patched("ScaledObject", JsonPatch.replace("/spec/maxReplicaCount", 50))
    assert findings(lambda stack: serve(stack, **more)) == ["poolTooSmall"]


@pytest.mark.parametrize(
    "changes",
    [
        {"accelerators": ["l4"]},
        {"accelerators": "l4"},
        {"accelerators": None},
        {"tags": {"team": 1}},
        {"tags": {1: "team"}},
        {"tags": ["team"]},
        {"cluster": "shared"},
        {"cluster": None},
    ],
)
def test_bad_value_of_a_pool(changes: dict[str, Any], stack: cdk.Stack) -> None:
    """A wrong type of an argument of a pool is refused as every other bad value."""
    values = {"cluster": import_cluster(stack), **changes}
    with pytest.raises(ConfigurationError):
        GpuInferencePool(stack, "Gpu", **values)


@pytest.mark.parametrize("pool", [None, "gpu"])
def test_bad_pool_of_a_model(pool: Any, stack: cdk.Stack) -> None:
    """What is no pool is refused as such."""
    with pytest.raises(ConfigurationError):
        QueueScaledModel(stack, "Chat", pool=pool, model=make_model())


@pytest.mark.parametrize(
    "changes", [{"compile_cache": 7}, {"after": None}, {"after": "Before"}]
)
def test_bad_value_of_a_model(changes: dict[str, Any], stack: cdk.Stack) -> None:
    """A wrong type of an argument of a model is refused before anything is made."""
    pool = default_pool(stack)
    before = children(stack)
    with pytest.raises(ConfigurationError):
        QueueScaledModel(stack, "Chat", pool=pool, model=make_model(), **changes)
    assert children(stack) == before


def imported(stack: cdk.Stack, **changes: Any) -> object:
    """Return a pool of another app."""
    cluster = import_cluster(stack)
    return GpuInferencePool.from_pool_name("gpu", cluster=cluster, **changes)


def endpoints(stack: cdk.Stack, **changes: Any) -> object:
    """Define endpoints of an imported VPC."""
    return InferenceEndpoints(stack, "Endpoints", vpc=import_vpc(stack), **changes)


def images(stack: cdk.Stack, **changes: Any) -> object:
    """Define an image cache."""
    return ImageCache(stack, "Images", **changes)


def store(stack: cdk.Stack, **changes: Any) -> object:
    """Define a store that goes with its stack."""
    destroy = cdk.RemovalPolicy.DESTROY
    return ModelStore(stack, "Models", removal_policy=destroy, **changes)


def role(stack: cdk.Stack, **changes: Any) -> object:
    """Define the role of a service account."""
    return PodIdentityRole(
        stack,
        "Role",
        cluster=import_cluster(stack),
        namespace="inference",
        service_account="mistral",
        **changes,
    )


@pytest.mark.parametrize(
    ("make", "changes"),
    [
        (imported, {"capacity": "spot"}),
        (endpoints, {"services": None}),
        (endpoints, {"client_cidr": "999.0.0.0/99"}),
        (images, {"public_ecr_prefix": "x"}),
        (images, {"public_ecr_prefix": "x" * 31}),
        (store, {"delete_objects": "yes"}),
        (role, {"statements": [{"Effect": "Allow"}]}),
    ],
)
def test_bad_value(
    make: Callable[..., object], changes: dict[str, Any], stack: cdk.Stack
) -> None:
    """A value that AWS would refuse, or of a wrong type, is refused before."""
    with pytest.raises(ConfigurationError):
        make(stack, **changes)


def test_vpc_without_a_network(stack: cdk.Stack) -> None:
    """Endpoints of a VPC whose network is not known ask for it, and make nothing."""
    vpc = ec2.Vpc.from_vpc_attributes(
        stack,
        "Vpc",
        vpc_id="vpc-0123456789abcdef0",
        availability_zones=["a"],
        private_subnet_ids=["subnet-0aaaaaaaaaaaaaaaa"],
        private_subnet_route_table_ids=["rtb-0aaaaaaaaaaaaaaaa"],
    )
    before = children(stack)
    with pytest.raises(ConfigurationError):
        InferenceEndpoints(stack, "Endpoints", vpc=vpc)
    assert children(stack) == before
