"""Values and places that once slipped through."""

from collections.abc import Callable
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_ec2 as ec2
from cdk8s import JsonPatch

from eks_inference import (
    Accelerator,
    Capacity,
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
from eks_inference.manifests.compile_cache import compile_cache_manifests
from tests.library.broken_rule import CONTAINER, DATA_VOLUME, patched
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


def test_gateway_alone_needs_no_network(stack: cdk.Stack) -> None:
    """Without interface endpoints nobody asks for the network of the VPC."""
    vpc = ec2.Vpc.from_vpc_attributes(
        stack,
        "Vpc",
        vpc_id="vpc-0123456789abcdef0",
        availability_zones=["a"],
        private_subnet_ids=["subnet-0aaaaaaaaaaaaaaaa"],
        private_subnet_route_table_ids=["rtb-0aaaaaaaaaaaaaaaa"],
    )
    found = InferenceEndpoints(stack, "Endpoints", vpc=vpc, services=[])
    assert found.security_group is None


def public_vpc(stack: cdk.Stack) -> ec2.IVpc:
    """Import a VPC without private subnets."""
    return ec2.Vpc.from_vpc_attributes(
        stack,
        "Vpc",
        vpc_id="vpc-0123456789abcdef0",
        vpc_cidr_block="10.20.0.0/16",
        availability_zones=["a"],
        public_subnet_ids=["subnet-0aaaaaaaaaaaaaaaa"],
        public_subnet_route_table_ids=["rtb-0aaaaaaaaaaaaaaaa"],
    )


def endpoints_in(stack: cdk.Stack, **changes: Any) -> object:
    """Define endpoints of any VPC."""
    return InferenceEndpoints(stack, "Endpoints", **changes)


def cache_in(stack: cdk.Stack, **changes: Any) -> object:
    """Define a compile cache in any VPC."""
    return CompileCache(
        stack,
        "Cache",
        cluster=import_cluster(stack),
        node_security_group=import_group(stack),
        **changes,
    )


NO_PRIVATE = (
    "'subnets' must name subnets of the VPC: There are no 'Private' subnet groups in "
    "this VPC. Available types: Public Name others"
)


@pytest.mark.parametrize(
    ("define", "subject"),
    [(endpoints_in, "endpoints 'Endpoints'"), (cache_in, "compile cache 'Cache'")],
)
@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({}, NO_PRIVATE),
        (
            {"subnets": ec2.SubnetSelection(availability_zones=["z"])},
            (
                "'subnets' must name subnets of the VPC: none of its subnets matches. "
                "Name others"
            ),
        ),
        (
            {"subnets": "private"},
            "'subnets' must be of class SubnetSelection, got 'private'",
        ),
        ({"vpc": "vpc-1"}, "'vpc' must be a VPC of aws_ec2, got 'vpc-1'"),
    ],
)
def test_no_subnets(
    define: Callable[..., object],
    subject: str,
    changes: dict[str, Any],
    problem: str,
    stack: cdk.Stack,
) -> None:
    """Subnets that a VPC does not have are refused, and nothing is made."""
    vpc = public_vpc(stack)
    with pytest.raises(ConfigurationError) as caught:
        define(stack, **{"vpc": vpc, **changes})
    assert f"{subject}: {problem}" in caught.value.problems
    assert not stack.node.try_find_child(subject.split("'")[1])


@pytest.mark.parametrize(
    ("size", "broken"), [("0.5Ti", []), ("0.01Ti", ["volumeTooSmall"]), ("big", [])]
)
def test_size_with_a_fraction(size: str, broken: list[str]) -> None:
    """A size is read in every form that Kubernetes has, or left to the schema."""

    def define(stack: cdk.Stack) -> None:
        change = JsonPatch.replace(f"{DATA_VOLUME}/volumeSize", size)
        patches = patched("EC2NodeClass", change)
        default_pool(stack, accelerators=[Accelerator.T4G], **patches)

    assert findings(define) == broken


@pytest.mark.parametrize("cluster", ["shared", None])
def test_cluster_of_a_role(cluster: Any, stack: cdk.Stack) -> None:
    """What is no cluster is refused by a role as it is by a pool."""
    with pytest.raises(ConfigurationError) as caught:
        PodIdentityRole(
            stack,
            "Role",
            cluster=cluster,
            namespace="inference",
            service_account="mistral",
        )
    assert str(caught.value) == (
        "role 'Role': 'cluster' must be a cluster of aws_eks or aws_eks_v2, "
        f"got {cluster!r}"
    )


def test_severities_are_named_as_one_writes_them(stack: cdk.Stack) -> None:
    """The message about a severity names the texts, and not Python's members."""
    severity: Any = "fatal"
    with pytest.raises(ConfigurationError) as caught:
        Guardrails.of(stack).switch(SPOT, severity, reason="a test")
    assert str(caught.value) == (
        "guardrails: 'severity' must be one of 'error', 'warning', 'off', got 'fatal'"
    )


def test_volumes_of_two_namespaces() -> None:
    """A dash in a namespace and one in a claim make two volumes, not one twice."""
    names = {
        manifest["metadata"]["name"]
        for namespace, claim in (("a-b", "c"), ("a", "b-c"))
        for manifest in compile_cache_manifests(
            claim_name=claim, namespace=namespace, volume_handle="fs-1::fsap-1"
        )
        if manifest["kind"] == "PersistentVolume"
    }
    assert names == {"a-b.c", "a.b-c"}


@pytest.mark.parametrize(
    ("patches", "problem"),
    [
        ("NodePool", "'json_patches' must map kinds to patches, got 'NodePool'"),
        (
            {"NodePool": {"op": "add"}},
            (
                "'json_patches['NodePool']' must be a list or tuple, "
                "got {'op': 'add'}; put it in brackets"
            ),
        ),
        (
            {"NodePool": ["add"]},
            "'json_patches['NodePool']' must be of class JsonPatch, got 'add'",
        ),
    ],
)
def test_patches_of_another_kind(patches: Any, problem: str, stack: cdk.Stack) -> None:
    """What is no patch is refused before anything is made."""
    cluster = import_cluster(stack)
    with pytest.raises(ConfigurationError) as caught:
        GpuInferencePool(stack, "Gpu", cluster=cluster, json_patches=patches)
    assert caught.value.problems == (f"pool 'Gpu': {problem}",)


@pytest.mark.parametrize("types", ["spot", None, 3])
def test_capacity_of_another_kind(types: Any) -> None:
    """A text is no list of purchase options, and gets one message."""
    with pytest.raises(ConfigurationError) as caught:
        Capacity(types)
    assert str(caught.value) == (
        f"capacity: 'types' must be a list or tuple, got {types!r}; put it in brackets"
    )


def test_dependency_of_another_kind(stack: cdk.Stack) -> None:
    """What nothing can depend on is refused, and no half of a model is left."""
    with pytest.raises(ConfigurationError) as caught:
        serve(stack, after=["Karpenter"])
    assert str(caught.value) == (
        "model 'Chat': 'after' must hold constructs, got 'Karpenter'"
    )
    assert not stack.node.try_find_child("Chat")
