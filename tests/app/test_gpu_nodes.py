"""GPU nodes: what Karpenter may launch, how they boot, and when they go."""

import json

from eks_inference.manifests import Manifest
from tests.app.conftest import (
    Templates,
    of_kind,
    other_choices,
    stage_templates,
    synthesize,
)
from tests.app.questions import pod


def test_gpu_nodes_boot_bottlerocket_with_parallel_pull(dev: Templates) -> None:
    """GPU nodes run a pinned Bottlerocket that pulls images in parallel, on NVMe."""
    spec = of_kind(dev, "EC2NodeClass")["gpu-24"]["spec"]
    assert spec["amiSelectorTerms"] == [{"alias": "bottlerocket@v1.64.0"}]
    assert spec["instanceStorePolicy"] == "RAID0"
    assert 'snapshotter = "soci"' in spec["userData"]
    assert 'pull-mode = "parallel-pull-unpack"' in spec["userData"]


def test_snapshot_of_the_settings_is_where_nodes_have_their_images() -> None:
    """A pool with a snapshot boots from it, and finds what is on it."""
    classes = of_kind(synthesize(other_choices()), "EC2NodeClass")
    spec = classes["gpu-48"]["spec"]
    [data] = [
        mapping["ebs"]
        for mapping in spec["blockDeviceMappings"]
        if mapping["deviceName"] == "/dev/xvdb"
    ]
    assert data["snapshotID"] == "snap-0123456789abcdef0"
    assert data["volumeInitializationRate"] == 300
    assert data["encrypted"] is True
    assert {"instanceStorePolicy", "userData"}.isdisjoint(spec)
    assert "snapshotID" not in json.dumps(classes["gpu-24"])


def test_pods_cannot_reach_the_credentials_of_a_node(templates: Templates) -> None:
    """Metadata needs a token and ends at the node, on each node of Karpenter's."""
    for item in of_kind(templates, "EC2NodeClass").values():
        assert item["spec"]["metadataOptions"] == {
            "httpEndpoint": "enabled",
            "httpTokens": "required",
            "httpPutResponseHopLimit": 1,
        }


def test_volumes_of_gpu_nodes_are_encrypted(dev: Templates) -> None:
    """Every volume of a GPU node is encrypted and goes with it."""
    spec = of_kind(dev, "EC2NodeClass")["gpu-24"]["spec"]
    for mapping in spec["blockDeviceMappings"]:
        assert mapping["ebs"]["encrypted"] is True
        assert mapping["ebs"]["deleteOnTermination"] is True


def test_gpu_pool_names_its_gpus(dev: Templates) -> None:
    """A pool asks for GPUs by name, memory and count, never for a whole category."""
    requirements = {
        item["key"]: (item["operator"], item["values"])
        for item in pool(dev)["template"]["spec"]["requirements"]
    }
    gpu = "karpenter.k8s.aws/instance-gpu-"
    assert requirements == {
        "kubernetes.io/arch": ("In", ["amd64"]),
        "kubernetes.io/os": ("In", ["linux"]),
        "karpenter.sh/capacity-type": ("In", ["on-demand", "spot"]),
        f"{gpu}name": ("In", ["a10g", "l4"]),
        f"{gpu}count": ("In", ["1"]),
        f"{gpu}memory": ("In", ["22888"]),
    }


def test_gpu_pool_is_bounded(dev: Templates) -> None:
    """A pool cannot grow beyond the GPUs that its settings allow."""
    assert pool(dev)["limits"] == {"nvidia.com/gpu": "11"}


def test_gpu_nodes_admit_gpu_pods_only(dev: Templates) -> None:
    """GPU nodes are tainted, and the models' pods tolerate it."""
    [taint] = pool(dev)["template"]["spec"]["taints"]
    [toleration] = pod(dev, "mistral-7b")["tolerations"]
    assert taint == {"key": "nvidia.com/gpu", "value": "true", "effect": "NoSchedule"}
    assert toleration == {
        "key": "nvidia.com/gpu",
        "operator": "Exists",
        "effect": "NoSchedule",
    }


def test_busy_gpu_nodes_are_left_alone(dev: Templates) -> None:
    """Only empty nodes go at once, and not before a cold start would be over."""
    disruption = pool(dev)["disruption"]
    assert disruption["consolidationPolicy"] == "WhenEmpty"
    assert int(disruption["consolidateAfter"].removesuffix("s")) >= 300
    assert disruption["budgets"] == [
        {"nodes": "100%", "reasons": ["Empty"]},
        {"nodes": "10%", "reasons": ["Drifted", "Underutilized"]},
    ]


def test_gpu_nodes_do_not_live_for_ever(dev: Templates) -> None:
    """A node is replaced in time, and its drain has an end."""
    node = pool(dev)["template"]["spec"]
    assert node["expireAfter"] == "720h"
    assert node["terminationGracePeriod"] == "600s"


def test_everything_says_its_stage(stage: str) -> None:
    """Instances that Karpenter launches carry the tag of the stage."""
    for item in of_kind(stage_templates(stage), "EC2NodeClass").values():
        assert item["spec"]["tags"] == {"eks-inference:stage": stage}


def pool(templates: Templates) -> Manifest:
    """Return the specification of the GPU pool."""
    found: Manifest = of_kind(templates, "NodePool")["gpu-24"]["spec"]
    return found
