"""Placeholders that keep nodes of a pool warm, and yield to any other pod."""

from collections.abc import Sequence
from typing import Any

from eks_inference.manifests import (
    APP_INSTANCE,
    APP_NAME,
    NVIDIA_GPU,
    POOL_LABEL,
    Manifest,
)
from eks_inference.planning.pool import GpuPool

HEADROOM_APP = "headroom"
"""Value of the name label on every placeholder."""

HEADROOM_PRIORITY = -10
"""Below every pod without a priority class, whose priority is 0."""

PAUSE_IMAGE = "public.ecr.aws/eks-distro/kubernetes/pause:3.10"
"""What holds a node where no image of a model is known. The tag is that of
aws-samples and of EKS's own images; its digest was not looked up."""

LEAST_CPU, LEAST_MEMORY = "10m", "16Mi"
"""What a process that sleeps needs. Assumed."""

_NOBODY = 65_534


def headroom(
    pool: GpuPool, *, namespace: str, containers: Sequence[Manifest] | Any
) -> list[Manifest]:
    """Return the priority class and the Deployment of a pool's placeholders.

    A placeholder asks for all GPUs of a node, so that each has a node of its own.
    The scheduler evicts it for any pod that fits there, at once, since it needs no
    grace; its successor stays pending, and Karpenter launches the next node.

    Args:
        pool: The pool, with at least one node of headroom.
        namespace: Namespace of the placeholders.
        containers: What ``placeholder_containers`` returns; may be a token.
    """
    name = f"{pool.name}-headroom"
    labels = {APP_NAME: HEADROOM_APP, APP_INSTANCE: pool.name}
    return [
        {
            "apiVersion": "scheduling.k8s.io/v1",
            "kind": "PriorityClass",
            "metadata": {"name": name},
            "value": HEADROOM_PRIORITY,
            # a placeholder must not evict another team's pods of lower priority
            "preemptionPolicy": "Never",
            "globalDefault": False,
            "description": f"Placeholders of pool {pool.name}, which any pod displaces",
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name, "namespace": namespace, "labels": labels},
            "spec": {
                "replicas": pool.headroom_nodes,
                "selector": {"matchLabels": labels},
                # a placeholder more during a roll-out would be a node more
                "strategy": {"type": "Recreate"},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {
                        "priorityClassName": name,
                        "nodeSelector": {POOL_LABEL: pool.name},
                        "tolerations": [
                            {
                                "key": NVIDIA_GPU,
                                "operator": "Exists",
                                "effect": "NoSchedule",
                            }
                        ],
                        "terminationGracePeriodSeconds": 0,
                        "automountServiceAccountToken": False,
                        "enableServiceLinks": False,
                        "securityContext": {
                            "runAsNonRoot": True,
                            "runAsUser": _NOBODY,
                            "runAsGroup": _NOBODY,
                            "seccompProfile": {"type": "RuntimeDefault"},
                        },
                        "containers": containers,
                    },
                },
            },
        },
    ]


def placeholder_containers(
    pool: GpuPool, *, images: Sequence[str], cpu: str, memory: str, sleeps: bool
) -> list[Manifest]:
    """Return the containers of a placeholder, one for each image.

    The first asks for the GPUs of a node, and for CPUs and memory too: Karpenter would
    otherwise launch the smallest instance, on which a replica may not fit.

    Args:
        pool: The pool.
        images: Images that the nodes hold. An image in use is never cleaned up.
        cpu: CPUs of the largest replica.
        memory: Memory of the largest replica.
        sleeps: Whether the images have no entry point that waits.
    """
    held = {"cpu": cpu, "memory": memory, NVIDIA_GPU: str(pool.gpus_per_node)}
    return [
        _container(
            f"image-{index}" if index else "node",
            name,
            {"cpu": LEAST_CPU, "memory": LEAST_MEMORY} if index else held,
            sleeps=sleeps,
        )
        for index, name in enumerate(images)
    ]


def _container(name: str, image: str, requests: Manifest, *, sleeps: bool) -> Manifest:
    container: Manifest = {
        "name": name,
        "image": image,
        "resources": {
            "requests": requests,
            "limits": {key: text for key, text in requests.items() if key != "cpu"},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    if sleeps:
        # an image of a model has no entry point that waits
        container["command"] = ["sleep", "infinity"]
    return container
