"""The two objects of a GPU pool: what to launch, and how such a node is made."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from eks_inference.image_snapshot import ImageSnapshot
from eks_inference.manifests import NVIDIA_GPU, POOL_LABEL, Manifest
from eks_inference.manifests.user_data import gpu_node_user_data
from eks_inference.node_identity import NodeIdentity
from eks_inference.planning.pool import NODE_DRAIN_LIMIT_SECONDS, GpuPool

DISCOVERY_TAG = "karpenter.sh/discovery"
"""Tag on the subnets and security groups that nodes may use; its value is the name
of the cluster."""

_NODE_LIFETIME = "720h"
"""Karpenter's own default: a node is replaced after 30 days at the latest."""

_FAST_VOLUME = {"iops": 16_000, "throughput": 1_000}
"""gp3 ceiling, in IOPS and MiB/s. Most GPU instances allow less; see EBS limits."""


def node_pool(pool: GpuPool) -> Manifest:
    """Return Karpenter's NodePool: which instances, how many, and when they go."""
    names = sorted({item.gpu_name for item in pool.accelerators})
    # the labels give MiB of one GPU, as AWS reports it: 22888 for a "24 GB" A10G
    memory = sorted({item.memory_mib for item in pool.accelerators})
    return {
        "apiVersion": "karpenter.sh/v1",
        "kind": "NodePool",
        "metadata": {"name": pool.name},
        "spec": {
            "limits": {NVIDIA_GPU: str(pool.max_gpus)},
            "disruption": {
                "consolidationPolicy": "WhenEmpty",
                "consolidateAfter": f"{pool.consolidate_after_seconds}s",
                "budgets": [
                    {"nodes": "100%", "reasons": ["Empty"]},
                    {"nodes": "10%", "reasons": ["Drifted", "Underutilized"]},
                ],
            },
            "template": {
                "metadata": {"labels": {POOL_LABEL: pool.name}},
                "spec": {
                    "nodeClassRef": {
                        "group": "karpenter.k8s.aws",
                        "kind": "EC2NodeClass",
                        "name": pool.name,
                    },
                    "expireAfter": _NODE_LIFETIME,
                    "terminationGracePeriod": f"{NODE_DRAIN_LIMIT_SECONDS}s",
                    "taints": [
                        {"key": NVIDIA_GPU, "value": "true", "effect": "NoSchedule"}
                    ],
                    "requirements": [
                        _one_of("kubernetes.io/arch", [pool.architecture]),
                        _one_of("kubernetes.io/os", ["linux"]),
                        _one_of("karpenter.sh/capacity-type", pool.capacity.types),
                        _one_of("karpenter.k8s.aws/instance-gpu-name", names),
                        _one_of(
                            "karpenter.k8s.aws/instance-gpu-count", [pool.gpus_per_node]
                        ),
                        _one_of("karpenter.k8s.aws/instance-gpu-memory", memory),
                    ],
                },
            },
        },
    }


def node_class(
    pool: GpuPool,
    *,
    cluster_name: str,
    nodes: NodeIdentity,
    security_group_ids: Sequence[str],
    tags: Mapping[str, str],
) -> Manifest:
    """Return Karpenter's EC2NodeClass: image, network, disks and identity of a node.

    Args:
        pool: The pool that the nodes belong to.
        cluster_name: Value of the discovery tag.
        nodes: Role or instance profile of the nodes.
        security_group_ids: Security groups of the nodes; empty to find them by the
            discovery tag, as the subnets are.
        tags: Tags of the instances and volumes; CDK's own do not reach them.
    """
    discovered = [{"tags": {DISCOVERY_TAG: cluster_name}}]
    speed = {} if pool.keeps_images_on_nvme else _FAST_VOLUME
    spec: Manifest = {
        "amiSelectorTerms": [{"alias": pool.ami_alias}],
        nodes.kind: nodes.name,
        "subnetSelectorTerms": discovered,
        "securityGroupSelectorTerms": [{"id": item} for item in security_group_ids]
        or discovered,
        "metadataOptions": {
            "httpEndpoint": "enabled",
            "httpTokens": "required",
            # one hop: a pod cannot reach the node's credentials
            "httpPutResponseHopLimit": 1,
        },
        "blockDeviceMappings": [
            _volume("/dev/xvda", 4, {}),
            _volume(
                "/dev/xvdb",
                pool.data_volume_gib,
                {**speed, **_restored(pool.image_snapshot)},
            ),
        ],
    }
    if pool.image_snapshot is None:
        # the images of a snapshot belong to the default snapshotter
        spec["userData"] = gpu_node_user_data()
    if pool.keeps_images_on_nvme:
        spec["instanceStorePolicy"] = "RAID0"
    if tags:
        spec["tags"] = dict(tags)
    return {
        "apiVersion": "karpenter.k8s.aws/v1",
        "kind": "EC2NodeClass",
        "metadata": {"name": pool.name},
        "spec": spec,
    }


def _one_of(key: str, values: Iterable[object]) -> Manifest:
    return {"key": key, "operator": "In", "values": [str(item) for item in values]}


def _restored(snapshot: ImageSnapshot | None) -> Manifest:
    if snapshot is None:
        return {}
    rate = snapshot.initialization_mib_per_second
    return {
        "snapshotID": snapshot.snapshot_id,
        **({} if rate is None else {"volumeInitializationRate": rate}),
    }


def _volume(device: str, size_gib: int, more: Mapping[str, Any]) -> Manifest:
    return {
        "deviceName": device,
        "ebs": {
            "volumeSize": f"{size_gib}Gi",
            "volumeType": "gp3",
            "encrypted": True,
            "deleteOnTermination": True,
            **more,
        },
    }
