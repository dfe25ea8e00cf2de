"""Tests of apps with several of everything: nothing clashes that need not."""

from collections.abc import Callable
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_eks_v2 as eks
from aws_cdk.lambda_layer_kubectl_v35 import KubectlV35Layer
from constructs import Construct

from eks_inference import (
    CompileCache,
    GpuInferencePool,
    Guardrails,
    IGpuInferencePool,
    ImageCache,
    InferenceEndpoints,
    Model,
    ModelStore,
    PlatformRequirements,
    QueueScaledModel,
    Severity,
)
from eks_inference.manifests import Manifest
from eks_inference.testing import manifests
from tests.library.conftest import (
    children,
    import_cluster,
    import_group,
    import_vpc,
    make_model,
    refusal,
)

NAMES = ("chat", "code", "embed", "guard", "judge")


def new_app() -> cdk.App:
    """Return an app of one test's own."""
    return cdk.App(analytics_reporting=False)


def serve(
    scope: Construct, name: str, pool: IGpuInferencePool, **changes: Any
) -> QueueScaledModel:
    """Define a model that is called like its construct."""
    served = make_model(name=name)
    return QueueScaledModel(scope, name.title(), pool=pool, model=served, **changes)


def objects(app: cdk.App) -> dict[str, list[Manifest]]:
    """Synthesize an app, and return the objects of each stack."""
    stacks = [(stack.stack_name, stack.template) for stack in app.synth().stacks]
    return {
        name: [item for group in manifests(template).values() for item in group]
        for name, template in stacks
    }


def test_pools_models_and_namespaces() -> None:
    """Two pools and five models in two namespaces live in one stack."""
    app = new_app()
    stack = cdk.Stack(app, "Stack")
    cluster = import_cluster(stack)
    pools = [
        GpuInferencePool(stack, name, cluster=cluster, max_gpus=40)
        for name in ("Small", "Large")
    ]
    for index, name in enumerate(NAMES):
        namespace = ("search", "support")[index % 2]
        serve(stack, name, pools[index % 2], namespace=namespace)
    [found] = objects(app).values()
    keys = [
        (item["kind"], item["metadata"].get("namespace"), item["metadata"]["name"])
        for item in found
    ]
    assert len(keys) == len(set(keys)) == 2 * 2 + 5 * 8


def test_one_name_in_two_namespaces() -> None:
    """Models of one name live in two namespaces, and keep to their own metrics."""
    app = new_app()
    stack = cdk.Stack(app, "Stack")
    pool = GpuInferencePool(stack, "Gpu", cluster=import_cluster(stack), max_gpus=30)
    for namespace in ("search", "support"):
        serve(Construct(stack, namespace), "chat", pool, namespace=namespace)
    [found] = objects(app).values()
    for item in found:
        if item["kind"] == "ScaledObject":
            for trigger in item["spec"]["triggers"]:
                query = trigger["metadata"]["query"]
                assert f'namespace="{item["metadata"]["namespace"]}"' in query


def test_one_name_on_two_clusters() -> None:
    """Two clusters of one app have pools and models of one name each."""
    app = new_app()
    stack = cdk.Stack(app, "Stack")
    for name in ("blue", "green"):
        scope = Construct(stack, name)
        pool = GpuInferencePool(
            scope, "Gpu", cluster=import_cluster(scope, name=name), name="gpu"
        )
        serve(scope, "chat", pool)
    [found] = objects(app).values()
    tags = [
        item["spec"]["subnetSelectorTerms"][0]["tags"]
        for item in found
        if item["kind"] == "EC2NodeClass"
    ]
    assert tags == [
        {"karpenter.sh/discovery": "blue"},
        {"karpenter.sh/discovery": "green"},
    ]


def test_one_id_in_two_scopes() -> None:
    """Every construct can have one id in two scopes of one stack."""
    app = new_app()
    stack = cdk.Stack(app, "Stack")
    cluster, vpc, group = import_cluster(stack), import_vpc(stack), import_group(stack)
    for name in ("one", "two"):
        scope = Construct(stack, name)
        pool = GpuInferencePool(scope, "Gpu", cluster=cluster, name=name)
        store = ModelStore(scope, "Store")
        CompileCache(
            scope,
            "Cache",
            cluster=cluster,
            vpc=vpc,
            node_security_group=group,
            claim_name=name,
        )
        ImageCache(scope, "Images", public_ecr_prefix=name)
        InferenceEndpoints(scope, "Endpoints", vpc=vpc)
        model = Model.from_bucket(
            store, "m/", name=name, weights_gb=1, max_model_len=256
        )
        QueueScaledModel(scope, "Model", pool=pool, model=model)
    assert len(objects(app)["Stack"]) == 2 * (2 + 8 + 2)


def test_two_stacks_share_a_cluster_and_a_pool() -> None:
    """Models of several stacks run on the pool of another one, and are counted."""
    app = new_app()
    platform = cdk.Stack(app, "Platform")
    pool = GpuInferencePool(platform, "Gpu", cluster=import_cluster(platform))
    for name in NAMES[:2]:
        serve(cdk.Stack(app, name), name, pool)
    with pytest.raises(RuntimeError, match=r"20 nodes x 1 GPUs\), got 11"):
        app.synth()


def test_stacks_of_cluster_pool_and_model_make_no_circle() -> None:
    """Cluster, store, pool and model in four stacks depend in one direction."""
    app = new_app()
    a, b, c, d = (cdk.Stack(app, name) for name in "ABCD")
    cluster = eks.Cluster(
        a,
        "Cluster",
        version=eks.KubernetesVersion.V1_35,
        default_capacity_type=eks.DefaultCapacityType.NODEGROUP,
        default_capacity=0,
        kubectl_provider_options=eks.KubectlProviderOptions(
            kubectl_layer=KubectlV35Layer(a, "Layer")
        ),
    )
    pool = GpuInferencePool(b, "Gpu", cluster=cluster)
    store = ModelStore(d, "Store")
    model = Model.from_bucket(store, "m/", name="m", weights_gb=1, max_model_len=256)
    QueueScaledModel(c, "Chat", pool=pool, model=model)
    assembly = app.synth()
    found = {
        name: {
            item.id
            for item in assembly.get_stack_by_name(name).dependencies
            if item.id in "ABCD"
        }
        for name in "ABCD"
    }
    assert found == {"A": set(), "B": {"A"}, "C": {"A", "B", "D"}, "D": set()}


def two_pools(stack: cdk.Stack) -> None:
    """Define two pools of one name on one cluster."""
    cluster = import_cluster(stack)
    for part in ("One", "Two"):
        GpuInferencePool(Construct(stack, part), "Gpu", cluster=cluster)


def two_models(stack: cdk.Stack) -> None:
    """Define two models of one name in one namespace."""
    pool = GpuInferencePool(stack, "Gpu", cluster=import_cluster(stack))
    for part in ("One", "Two"):
        serve(Construct(stack, part), "chat", pool)


def two_models_on_two_pools(stack: cdk.Stack) -> None:
    """Define two models of one name in one namespace, on pools of two apps."""
    cluster = import_cluster(stack)
    for part in ("One", "Two"):
        pool = GpuInferencePool.from_pool_name(part.lower(), cluster=cluster)
        serve(Construct(stack, part), "chat", pool)


@pytest.mark.parametrize(
    ("define", "what", "id", "name"),
    [
        (two_pools, "pool", "Gpu", "gpu"),
        (two_models, "model", "Chat", "chat"),
        (two_models_on_two_pools, "model", "Chat", "chat"),
    ],
)
def test_fails_when_two_objects_have_one_name(
    define: Callable[[cdk.Stack], None], what: str, id: str, name: str
) -> None:
    """One name twice would be one object for two owners: both paths are named."""
    stack = cdk.Stack(new_app(), "Stack")
    assert refusal(lambda: define(stack)) == (
        f"'name' of a {what} must be unique in its cluster, got {name!r} at "
        f"'Stack/Two/{id}' and at 'Stack/One/{id}'; rename one"
    )
    assert not any(path.startswith("Stack/Two/") for path in children(stack))


def test_clashes_are_found_between_stacks() -> None:
    """Two stacks that import one cluster cannot both call a pool the same."""
    app = new_app()
    one, two = (cdk.Stack(app, name) for name in ("One", "Two"))
    GpuInferencePool(one, "Gpu", cluster=import_cluster(one, name="shared"))
    cluster = import_cluster(two, name="shared")
    message = refusal(lambda: GpuInferencePool(two, "Gpu", cluster=cluster))
    assert "got 'gpu' at 'Two/Gpu' and at 'One/Gpu'" in message


def test_a_name_is_free_again_for_nobody_else(stack: cdk.Stack) -> None:
    """A refused model has taken no name."""
    pool = GpuInferencePool(stack, "Gpu", cluster=import_cluster(stack))
    refusal(lambda: serve(Construct(stack, "One"), "chat", pool, image=""))
    assert serve(Construct(stack, "Two"), "chat", pool).node.path.endswith("Two/Chat")


def test_apps_do_not_see_each_other() -> None:
    """Two apps of one process share no names, switches, findings or requirements."""
    first, second = new_app(), new_app()
    stacks = [cdk.Stack(app, "Stack") for app in (first, second)]
    pools = [
        GpuInferencePool(
            stack,
            "Gpu",
            cluster=import_cluster(stack, name="shared"),
            consolidate_after_seconds=30,
        )
        for stack in stacks
    ]
    serve(stacks[0], "chat", pools[0])
    Guardrails.of(first).switch(
        "eks_inference:consolidationShorterThanColdStart",
        Severity.OFF,
        reason="a test",
    )
    assert objects(first)
    with pytest.raises(RuntimeError) as failed:
        second.synth()
    assert str(failed.value).count("eks_inference:") == 1
    found = [len(PlatformRequirements.of(app).requirements) for app in (first, second)]
    assert found == [6, 2]


def test_order_of_definition_does_not_matter() -> None:
    """The objects of a model are the same, whatever is defined before it."""
    found = []
    for names in (NAMES, NAMES[::-1]):
        app = new_app()
        stack = cdk.Stack(app, "Stack")
        pool = GpuInferencePool(
            stack, "Gpu", cluster=import_cluster(stack), max_gpus=60
        )
        for name in names:
            serve(stack, name, pool)
        [made] = objects(app).values()
        found.append(sorted(made, key=lambda i: (i["kind"], i["metadata"]["name"])))
    assert found[0] == found[1]
