"""Tests of the placeholders that keep nodes of a pool warm."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import aws_cdk as cdk
import cdk8s
import pytest
from aws_cdk import assertions

from eks_inference import ConfigurationError, GpuInferencePool, QueueScaledModel
from eks_inference.manifests import NVIDIA_GPU, POOL_LABEL, Manifest
from eks_inference.manifests.headroom import (
    HEADROOM_PRIORITY,
    PAUSE_IMAGE,
    headroom,
    placeholder_containers,
)
from eks_inference.manifests.serving import deployment
from eks_inference.planning import GpuPool
from eks_inference.testing import MANIFEST_TYPE, manifests
from tests.library.conftest import (
    import_bucket,
    import_cluster,
    make_model,
    make_pool,
    make_serving,
)
from tests.schemas.crds import from_npm
from tests.schemas.manifests import problems

ONE = "registry.example.com/vllm:0.31.0"
TWO = "registry.example.com/vllm:0.30.0"

PATCHED = {
    "Deployment": [
        cdk8s.JsonPatch.replace(
            "/spec/template/spec/containers/0/resources/requests/memory", "40Gi"
        ),
        cdk8s.JsonPatch.replace(
            "/spec/template/spec/containers/0/resources/limits/memory", "40Gi"
        ),
    ]
}


def define(
    *images: str, patched: str = "", **changes: Any
) -> tuple[Mapping[str, Any], list[str]]:
    """Return a stack with a pool, and models on it, and the paths in it.

    Args:
        images: Image of each model.
        patched: Image of the model that asks for more memory.
        changes: Arguments of the pool.
    """
    stack = cdk.Stack(cdk.App(analytics_reporting=False), "Stack")
    pool = GpuInferencePool(
        stack, "Gpu", cluster=import_cluster(stack), max_gpus=40, **changes
    )
    bucket = import_bucket(stack)
    for number, image in enumerate(images):
        QueueScaledModel(
            stack,
            f"Model{number}",
            pool=pool,
            model=make_model(name=f"model-{number}", bucket=bucket),
            image=image,
            json_patches=PATCHED if image == patched else None,
        )
    template: Mapping[str, Any] = assertions.Template.from_stack(stack).to_json()
    return template, [child.node.path for child in pool.node.find_all()]


@cache
def held(*images: str, **changes: Any) -> Manifest:
    """Return the Deployment of a pool's placeholders."""
    template, _ = define(*images, **changes)
    [found] = [
        item
        for group in manifests(template).values()
        for item in group
        if item["metadata"]["name"] == "gpu-headroom" and item["kind"] == "Deployment"
    ]
    return found


def pod_of(found: Manifest) -> Manifest:
    """Return the pod of a Deployment."""
    pod: Manifest = found["spec"]["template"]["spec"]
    return pod


def rendered(pool: GpuPool) -> list[Manifest]:
    """Return the objects of a pool's placeholders without any CDK."""
    containers = placeholder_containers(
        pool, images=[ONE, TWO], cpu="3", memory="12Gi", sleeps=True
    )
    return headroom(pool, namespace="inference", containers=containers)


def test_nothing_is_held_by_default() -> None:
    """A pool without headroom defines no placeholder."""
    template, paths = define(ONE)
    assert not any("headroom" in path.lower() for path in paths)
    assert not any(
        item["kind"] == "PriorityClass"
        for group in manifests(template).values()
        for item in group
    )


def test_one_placeholder_for_each_node() -> None:
    """There are as many placeholders as spare nodes, each with all GPUs of a node."""
    found = held(ONE, headroom_nodes=3)
    assert found["spec"]["replicas"] == 3
    assert pod_of(found)["containers"][0]["resources"]["limits"][NVIDIA_GPU] == "1"
    four = make_pool(gpus_per_node=4, max_gpus=16, headroom_nodes=2)
    [_, found] = rendered(four)
    asked = [
        container["resources"]["limits"].get(NVIDIA_GPU)
        for container in pod_of(found)["containers"]
    ]
    assert asked == ["4", None]


def test_placeholders_run_where_models_do() -> None:
    """A placeholder selects and tolerates what a replica of the pool does."""
    ours, theirs = (
        pod_of(held(ONE, headroom_nodes=1)),
        pod_of(deployment(make_serving())),
    )
    assert ours["nodeSelector"] == theirs["nodeSelector"] == {POOL_LABEL: "gpu"}
    assert ours["tolerations"] == theirs["tolerations"]


def test_any_pod_displaces_a_placeholder_at_once() -> None:
    """Its priority is below the default, it has no grace, and displaces nothing."""
    priority, found = rendered(make_pool(headroom_nodes=1))
    assert priority["value"] == HEADROOM_PRIORITY < 0
    assert priority["preemptionPolicy"] == "Never"
    assert priority["globalDefault"] is False
    pod = pod_of(found)
    assert pod["priorityClassName"] == priority["metadata"]["name"] == "gpu-headroom"
    assert pod["terminationGracePeriodSeconds"] == 0


def test_roll_out_needs_no_further_node() -> None:
    """A new version of the placeholders takes the nodes of the old one."""
    [_, found] = rendered(make_pool(headroom_nodes=1))
    assert found["spec"]["strategy"] == {"type": "Recreate"}


def test_node_has_the_image_of_every_model() -> None:
    """Each image of the pool's models is in use on a spare node, once."""
    containers = pod_of(held(ONE, TWO, ONE, headroom_nodes=1))["containers"]
    assert [item["image"] for item in containers] == [ONE, TWO]
    assert [item["command"] for item in containers] == [["sleep", "infinity"]] * 2
    assert len({item["name"] for item in containers}) == 2


def test_spare_node_fits_the_largest_replica() -> None:
    """A placeholder asks for the CPUs and the memory of the largest replica."""
    replica = pod_of(deployment(make_serving()))["containers"][0]["resources"]
    [first, second] = pod_of(held(ONE, TWO, headroom_nodes=1))["containers"]
    assert first["resources"]["requests"] == replica["requests"]
    assert first["resources"]["limits"] == replica["limits"]
    assert second["resources"]["requests"] == {"cpu": "10m", "memory": "16Mi"}
    [first, _] = pod_of(held(ONE, TWO, headroom_nodes=1, patched=TWO))["containers"]
    assert first["resources"]["requests"]["memory"] == "40Gi"


def test_pool_without_models_holds_nodes_with_a_pause() -> None:
    """Where the models are in another app, the placeholder has an image of its own."""
    [container] = pod_of(held(headroom_nodes=1))["containers"]
    assert container["image"] == PAUSE_IMAGE
    assert "command" not in container


def test_given_image_holds_the_nodes() -> None:
    """An image that is named replaces those of the models, and starts by itself."""
    found = held(ONE, headroom_nodes=1, headroom_image="mirror.example.com/pause:1")
    [container] = pod_of(found)["containers"]
    assert container["image"] == "mirror.example.com/pause:1"
    assert "command" not in container
    assert container["resources"]["requests"]["memory"] != "16Mi"


def test_models_of_another_pool_do_not_count() -> None:
    """A placeholder holds the images of its own pool only."""
    stack = cdk.Stack(cdk.App(analytics_reporting=False), "Stack")
    cluster, bucket = import_cluster(stack), import_bucket(stack)
    pools = [
        GpuInferencePool(stack, name, cluster=cluster, max_gpus=40, headroom_nodes=1)
        for name in ("First", "Second")
    ]
    for pool, image in zip(pools, (ONE, TWO), strict=True):
        name = f"on-{pool.pool.name}"
        QueueScaledModel(
            stack,
            name,
            pool=pool,
            model=make_model(name=name, bucket=bucket),
            image=image,
        )
    template = assertions.Template.from_stack(stack).to_json()
    found = {
        item["metadata"]["name"]: pod_of(item)["containers"][0]["image"]
        for group in manifests(template).values()
        for item in group
        if item["metadata"]["name"].endswith("-headroom")
        and item["kind"] == "Deployment"
    }
    assert found == {"first-headroom": ONE, "second-headroom": TWO}


def test_namespace_is_a_choice() -> None:
    """Placeholders live where models do, or where the pool says."""
    assert held(ONE, headroom_nodes=1)["metadata"]["namespace"] == "inference"
    other = held(ONE, headroom_nodes=1, headroom_namespace="spare")
    assert other["metadata"]["namespace"] == "spare"


def test_placeholders_are_deleted_before_their_pool() -> None:
    """The placeholders are applied after the pool, and so deleted before it."""
    template, _ = define(ONE, headroom_nodes=1)
    [placeholders] = [
        resource
        for key, resource in template["Resources"].items()
        if resource["Type"] == MANIFEST_TYPE and key.startswith("GpuHeadroom")
    ]
    assert placeholders["DependsOn"] == ["Gpu05B72DCE"]


@pytest.mark.parametrize("version", ["1.33", "1.35"])
def test_objects_are_valid(version: str) -> None:
    """An API server accepts the objects."""
    for item in rendered(make_pool(headroom_nodes=1)):
        assert problems(item, kubernetes_version=version, crds=from_npm()) == []


def test_pods_meet_the_restricted_standard() -> None:
    """Pod Security Standard 'restricted' admits a placeholder, whatever its image."""
    pod = pod_of(held(ONE, TWO, headroom_nodes=1))
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    for container in pod["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"headroom_nodes": -1}, "'headroom_nodes' must be at least 0, got -1"),
        ({"headroom_nodes": None}, "'headroom_nodes' must be a whole number, got None"),
        (
            {"headroom_nodes": 5, "max_gpus": 8, "gpus_per_node": 4},
            (
                "'headroom_nodes' must fit 'max_gpus' (8) with 4 GPUs each, got 5; "
                "lower it or raise 'max_gpus'"
            ),
        ),
    ],
)
def test_fails_when_headroom_does_not_fit(
    changes: dict[str, Any], message: str
) -> None:
    """Spare nodes are a number that the limit of the pool admits."""
    with pytest.raises(ConfigurationError) as refused:
        make_pool(**changes)
    assert str(refused.value) == f"pool 'gpu': {message}"


def test_whole_limit_may_be_headroom() -> None:
    """A pool whose nodes are all spare is one whose replicas find every node warm."""
    assert make_pool(headroom_nodes=2, max_gpus=8, gpus_per_node=4).headroom_nodes == 2


def test_fails_when_namespace_or_image_is_none() -> None:
    """A namespace must be a name, and an image a text; both problems are named."""
    with pytest.raises(ConfigurationError) as refused:
        define(headroom_nodes=1, headroom_namespace="Not a name", headroom_image="")
    [namespace, image] = refused.value.problems
    assert "'headroom_namespace' must be a DNS label" in namespace
    assert "'headroom_image' must be a text that is not empty" in image
