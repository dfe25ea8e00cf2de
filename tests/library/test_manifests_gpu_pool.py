"""Tests of the two objects of a GPU pool."""

import tomllib
from typing import Any

import pytest

from eks_inference import Accelerator, Capacity, ImageSnapshot, NodeIdentity
from eks_inference.manifests import NVIDIA_GPU, POOL_LABEL, Manifest
from eks_inference.manifests.gpu_pool import DISCOVERY_TAG, node_class, node_pool
from eks_inference.manifests.serving import deployment
from eks_inference.planning import GpuPool
from tests.library.cases import SNAPSHOT
from tests.library.conftest import make_pool, make_serving

ARM = make_pool(accelerators=(Accelerator.T4G,))


def make_class(pool: GpuPool | None = None, **changes: Any) -> Manifest:
    """Return the spec of a pool's EC2NodeClass."""
    values: dict[str, Any] = {
        "cluster_name": "shared",
        "nodes": NodeIdentity("instanceProfile", "gpu-node"),
        "security_group_ids": (),
        "tags": {},
    }
    spec: Manifest = node_class(pool or make_pool(), **{**values, **changes})["spec"]
    return spec


def requirements(pool: GpuPool) -> dict[str, list[str]]:
    """Return what a pool's NodePool requires, by label."""
    found = node_pool(pool)["spec"]["template"]["spec"]["requirements"]
    assert {item["operator"] for item in found} == {"In"}
    return {item["key"]: item["values"] for item in found}


def volumes(spec: Manifest) -> dict[str, Manifest]:
    """Return the volumes of an EC2NodeClass, by device."""
    return {item["deviceName"]: item["ebs"] for item in spec["blockDeviceMappings"]}


def test_requirements_are_explicit() -> None:
    """A pool names its GPUs, their count and memory, and no family of instances."""
    assert requirements(make_pool()) == {
        "kubernetes.io/arch": ["amd64"],
        "kubernetes.io/os": ["linux"],
        "karpenter.sh/capacity-type": ["on-demand", "spot"],
        "karpenter.k8s.aws/instance-gpu-name": ["a10g", "l4"],
        "karpenter.k8s.aws/instance-gpu-count": ["1"],
        "karpenter.k8s.aws/instance-gpu-memory": ["22888"],
    }


@pytest.mark.parametrize(
    "capacity", [Capacity.spot(), Capacity.on_demand(), Capacity.spot_with_fallback()]
)
def test_capacity_is_required_as_it_is_bought(capacity: Capacity) -> None:
    """The capacity types are those that the pool may buy."""
    found = requirements(make_pool(capacity=capacity))
    assert found["karpenter.sh/capacity-type"] == list(capacity.types)


def test_arm_pool_requires_arm_nodes() -> None:
    """The CPU architecture follows from the GPU."""
    assert requirements(ARM)["kubernetes.io/arch"] == ["arm64"]


def test_same_gpus_in_another_order_change_nothing() -> None:
    """The order in which GPUs are named does not replace nodes."""
    swapped = make_pool(accelerators=(Accelerator.L4, Accelerator.A10G))
    assert node_pool(swapped) == node_pool(make_pool())


def test_taint_and_toleration_match() -> None:
    """Only pods for GPUs come to the nodes, and those of a model do."""
    [taint] = node_pool(make_pool())["spec"]["template"]["spec"]["taints"]
    pod = deployment(make_serving())["spec"]["template"]["spec"]
    [toleration] = pod["tolerations"]
    assert taint == {"key": NVIDIA_GPU, "value": "true", "effect": "NoSchedule"}
    assert toleration["key"] == taint["key"]
    assert toleration["effect"] == taint["effect"]
    assert toleration["operator"] == "Exists"


def test_node_label_and_selector_match() -> None:
    """The pods of a model select the label that its pool puts on its nodes."""
    pool = make_pool(name="large")
    labels = node_pool(pool)["spec"]["template"]["metadata"]["labels"]
    pod = deployment(make_serving(pool=pool))["spec"]["template"]["spec"]
    assert pod["nodeSelector"] == labels == {POOL_LABEL: "large"}


def test_pool_is_limited_in_gpus() -> None:
    """The limit counts GPUs, as a quantity in text."""
    assert node_pool(make_pool(max_gpus=12))["spec"]["limits"] == {NVIDIA_GPU: "12"}


def test_only_empty_nodes_are_removed_and_not_at_once() -> None:
    """A node goes when it has been empty for long, and all such may go."""
    found = node_pool(make_pool(consolidate_after_seconds=900))["spec"]["disruption"]
    assert found["consolidationPolicy"] == "WhenEmpty"
    assert found["consolidateAfter"] == "900s"
    assert {"nodes": "100%", "reasons": ["Empty"]} in found["budgets"]
    assert {"nodes": "10%", "reasons": ["Drifted", "Underutilized"]} in found["budgets"]


def test_nodes_end_in_bounded_time() -> None:
    """A node lives 30 days at most and drains in ten minutes at most."""
    spec = node_pool(make_pool())["spec"]["template"]["spec"]
    assert spec["expireAfter"] == "720h"
    assert spec["terminationGracePeriod"] == "600s"


def test_pool_refers_to_its_class() -> None:
    """NodePool and EC2NodeClass carry one name, and the first refers to the second."""
    pool = make_pool(name="large")
    reference = node_pool(pool)["spec"]["template"]["spec"]["nodeClassRef"]
    made = node_class(
        pool,
        cluster_name="c",
        nodes=NodeIdentity.from_role_name("r"),
        security_group_ids=(),
        tags={},
    )
    assert reference == {
        "group": "karpenter.k8s.aws",
        "kind": "EC2NodeClass",
        "name": "large",
    }
    assert (made["kind"], made["metadata"]) == ("EC2NodeClass", {"name": "large"})
    assert made["apiVersion"].startswith(reference["group"])


def test_images_lie_on_the_nvme_where_there_is_any() -> None:
    """With NVMe the instance store is used, and the EBS volume is small and plain."""
    spec = make_class()
    assert spec["instanceStorePolicy"] == "RAID0"
    data = volumes(spec)["/dev/xvdb"]
    assert data["volumeSize"] == "20Gi"
    assert not {"iops", "throughput"} & set(data)


def test_images_lie_on_a_fast_volume_otherwise() -> None:
    """Without NVMe the EBS volume is large and as fast as gp3 can be."""
    spec = make_class(ARM)
    assert "instanceStorePolicy" not in spec
    data = volumes(spec)["/dev/xvdb"]
    assert (data["volumeSize"], data["iops"], data["throughput"]) == (
        "200Gi",
        16_000,
        1_000,
    )


@pytest.mark.parametrize("pool", [make_pool(), ARM])
def test_volumes_are_encrypted_and_end_with_the_node(pool: GpuPool) -> None:
    """Both volumes of a node are encrypted gp3 and deleted with it."""
    found = volumes(make_class(pool))
    assert set(found) == {"/dev/xvda", "/dev/xvdb"}
    for volume in found.values():
        assert volume["encrypted"] is True
        assert volume["deleteOnTermination"] is True
        assert volume["volumeType"] == "gp3"


def test_pods_cannot_reach_the_nodes_credentials() -> None:
    """The metadata service wants a token, which does not reach beyond one hop."""
    assert make_class()["metadataOptions"] == {
        "httpEndpoint": "enabled",
        "httpTokens": "required",
        "httpPutResponseHopLimit": 1,
    }


def test_image_is_pinned() -> None:
    """The node's image is the alias of the pool, and the only term."""
    spec = make_class(make_pool(ami_alias="bottlerocket@v1.60.1"))
    assert spec["amiSelectorTerms"] == [{"alias": "bottlerocket@v1.60.1"}]


def test_network_is_discovered_by_tag() -> None:
    """Subnets and security groups are found by the cluster's discovery tag."""
    spec = make_class(cluster_name="blue")
    discovered = [{"tags": {DISCOVERY_TAG: "blue"}}]
    assert spec["subnetSelectorTerms"] == discovered
    assert spec["securityGroupSelectorTerms"] == discovered


def test_security_groups_can_be_named() -> None:
    """Named security groups replace the discovery, for them and not for subnets."""
    spec = make_class(security_group_ids=["sg-1", "sg-2"])
    assert spec["securityGroupSelectorTerms"] == [{"id": "sg-1"}, {"id": "sg-2"}]
    assert spec["subnetSelectorTerms"] == [{"tags": {DISCOVERY_TAG: "shared"}}]


def test_profile_is_named_and_no_role_is() -> None:
    """The node's identity is the given instance profile alone."""
    spec = make_class()
    assert spec["instanceProfile"] == "gpu-node"
    assert "role" not in spec


def test_role_is_named_and_no_profile_is() -> None:
    """Karpenter makes the profile where it is given a role."""
    spec = make_class(nodes=NodeIdentity.from_role_name("gpu-nodes"))
    assert spec["role"] == "gpu-nodes"
    assert "instanceProfile" not in spec


def test_tags_are_written_where_there_are_any() -> None:
    """Tags reach the instances, and no empty field is written without any."""
    assert make_class(tags={"team": "search"})["tags"] == {"team": "search"}
    assert "tags" not in make_class()


def test_snapshot_is_the_data_volume() -> None:
    """The volume comes from the snapshot, and nothing hides the images on it."""
    spec = make_class(make_pool(image_snapshot=ImageSnapshot(snapshot_id=SNAPSHOT)))
    assert volumes(spec)["/dev/xvdb"] == {
        "snapshotID": SNAPSHOT,
        "volumeInitializationRate": 300,
        "volumeSize": "200Gi",
        "volumeType": "gp3",
        "iops": 16_000,
        "throughput": 1_000,
        "encrypted": True,
        "deleteOnTermination": True,
    }
    assert "snapshotID" not in volumes(spec)["/dev/xvda"]
    assert "instanceStorePolicy" not in spec
    assert "userData" not in spec


def test_fast_restore_needs_no_rate() -> None:
    """Without a rate EBS brings the blocks as it does by itself."""
    snapshot = ImageSnapshot(snapshot_id=SNAPSHOT, initialization_mib_per_second=None)
    data = volumes(make_class(make_pool(image_snapshot=snapshot)))["/dev/xvdb"]
    assert data["snapshotID"] == SNAPSHOT
    assert "volumeInitializationRate" not in data
    assert "snapshotID" not in volumes(make_class())["/dev/xvdb"]


def test_user_data_pulls_images_in_parallel() -> None:
    """The user data is TOML that turns on the SOCI snapshotter's parallel pull."""
    found = tomllib.loads(make_class()["userData"])["settings"]
    assert found == {
        "container-runtime": {"snapshotter": "soci"},
        "container-runtime-plugins": {
            "soci-snapshotter": {
                "pull-mode": "parallel-pull-unpack",
                "parallel-pull-unpack": {
                    "max-concurrent-downloads-per-image": 20,
                    "concurrent-download-chunk-size": "16mb",
                    "max-concurrent-unpacks-per-image": 12,
                    "discard-unpacked-layers": True,
                },
            }
        },
    }
