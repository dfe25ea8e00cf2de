"""A volume on EFS and the claim by which pods of one namespace mount it."""

from eks_inference.manifests import Manifest

_STORAGE_CLASS = "efs-static"
_SIZE = "5Gi"
"""Required by Kubernetes; EFS grows as needed and ignores it."""


def compile_cache_manifests(
    *, claim_name: str, namespace: str, volume_handle: str
) -> list[Manifest]:
    """Return the PersistentVolume and the PersistentVolumeClaim.

    Args:
        claim_name: Name of the claim.
        namespace: Namespace of the claim.
        volume_handle: File system and access point, as the EFS driver names them:
            ``fs-…::fsap-…``. The driver encrypts the connection by default.
    """
    claim = {"name": claim_name, "namespace": namespace}
    # volumes have no namespace, and a dash stands in both names: a dot in neither
    volume = f"{namespace}.{claim_name}"
    access = {"accessModes": ["ReadWriteMany"], "storageClassName": _STORAGE_CLASS}
    return [
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": volume},
            "spec": {
                **access,
                "capacity": {"storage": _SIZE},
                "volumeMode": "Filesystem",
                "persistentVolumeReclaimPolicy": "Retain",
                "csi": {"driver": "efs.csi.aws.com", "volumeHandle": volume_handle},
                # nobody else can take the volume before its claim does
                "claimRef": claim,
            },
        },
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": claim,
            "spec": {
                **access,
                "volumeName": volume,
                "resources": {"requests": {"storage": _SIZE}},
            },
        },
    ]
