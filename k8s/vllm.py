"""The volume on which models share their compiled kernels."""

import cdk8s
import cdk8s_plus_28 as kplus

from eks_inference.manifests import Manifest
from k8s.chart import add, new_chart, rendered
from k8s.platform import INFERENCE_NAMESPACE

COMPILE_CACHE_CLAIM = "vllm-compile-cache"

_STORAGE_CLASS = "efs-static"
_SIZE_GIB = 5
"""Required by Kubernetes; EFS grows as needed and ignores it."""


def compile_cache_chart(*, volume_handle: str) -> list[Manifest]:
    """Return the volume on EFS and the claim of the models' namespace.

    Args:
        volume_handle: File system and access point, as the EFS driver names them:
            ``fs-…::fsap-…``. The driver encrypts the connection by default.
    """
    chart = new_chart("vllm")
    # cdk8s-plus has no class for a volume of a CSI driver
    add(
        chart,
        [
            {
                "apiVersion": "v1",
                "kind": "PersistentVolume",
                "metadata": {"name": COMPILE_CACHE_CLAIM},
                "spec": {
                    "capacity": {"storage": f"{_SIZE_GIB}Gi"},
                    "volumeMode": "Filesystem",
                    "accessModes": ["ReadWriteMany"],
                    "persistentVolumeReclaimPolicy": "Retain",
                    "storageClassName": _STORAGE_CLASS,
                    "csi": {
                        "driver": "efs.csi.aws.com",
                        "volumeHandle": volume_handle,
                    },
                    # nobody else can take the volume before its claim does
                    "claimRef": {
                        "name": COMPILE_CACHE_CLAIM,
                        "namespace": INFERENCE_NAMESPACE,
                    },
                },
            }
        ],
    )
    kplus.PersistentVolumeClaim(
        chart,
        "Claim",
        metadata=cdk8s.ApiObjectMetadata(
            name=COMPILE_CACHE_CLAIM, namespace=INFERENCE_NAMESPACE
        ),
        access_modes=[kplus.PersistentVolumeAccessMode.READ_WRITE_MANY],
        storage=cdk8s.Size.gibibytes(_SIZE_GIB),
        storage_class_name=_STORAGE_CLASS,
        volume=kplus.PersistentVolume.from_persistent_volume_name(
            chart, "Volume", COMPILE_CACHE_CLAIM
        ),
    )
    return rendered(chart)
