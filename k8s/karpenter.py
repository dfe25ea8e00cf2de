"""Nodes without GPU, for whatever the cluster runs beside controllers and models."""

from collections.abc import Mapping

from eks_inference.manifests import Manifest
from eks_inference.manifests.gpu_pool import DISCOVERY_TAG
from k8s.chart import add, new_chart, rendered

SYSTEM_POOL = "system"

_MOST_CPUS = "32"
"""Bound on the pool, so that a runaway job has a price."""


def system_pool_chart(
    *,
    cluster_name: str,
    ami_alias: str,
    instance_profile: str,
    security_group_id: str,
    tags: Mapping[str, str],
) -> list[Manifest]:
    """Return the NodePool and EC2NodeClass of general nodes.

    Args:
        cluster_name: Value of the discovery tag on the subnets.
        ami_alias: Pinned Bottlerocket release.
        instance_profile: Name of the nodes' instance profile.
        security_group_id: Security group of the nodes.
        tags: Tags of the instances and volumes.
    """
    chart = new_chart("karpenter")
    add(
        chart,
        [
            _node_class(
                cluster_name, ami_alias, instance_profile, security_group_id, tags
            ),
            {
                "apiVersion": "karpenter.sh/v1",
                "kind": "NodePool",
                "metadata": {"name": SYSTEM_POOL},
                "spec": {
                    "limits": {"cpu": _MOST_CPUS},
                    "disruption": {
                        "consolidationPolicy": "WhenEmptyOrUnderutilized",
                        "consolidateAfter": "5m",
                    },
                    "template": {
                        "spec": {
                            "nodeClassRef": {
                                "group": "karpenter.k8s.aws",
                                "kind": "EC2NodeClass",
                                "name": SYSTEM_POOL,
                            },
                            "expireAfter": "720h",
                            # or a drain has no end, and the deletion of the pool
                            # waits for it in vain
                            "terminationGracePeriod": "600s",
                            "requirements": [
                                _one_of("kubernetes.io/arch", "amd64"),
                                _one_of("kubernetes.io/os", "linux"),
                                _one_of("karpenter.sh/capacity-type", "on-demand"),
                                _one_of(
                                    "karpenter.k8s.aws/instance-family",
                                    "m6i",
                                    "m7i",
                                    "c6i",
                                    "c7i",
                                ),
                            ],
                        }
                    },
                },
            },
        ],
    )
    return rendered(chart)


def _one_of(key: str, *values: str) -> Manifest:
    return {"key": key, "operator": "In", "values": list(values)}


def _node_class(
    cluster_name: str,
    ami_alias: str,
    instance_profile: str,
    security_group_id: str,
    tags: Mapping[str, str],
) -> Manifest:
    return {
        "apiVersion": "karpenter.k8s.aws/v1",
        "kind": "EC2NodeClass",
        "metadata": {"name": SYSTEM_POOL},
        "spec": {
            "amiSelectorTerms": [{"alias": ami_alias}],
            "instanceProfile": instance_profile,
            "subnetSelectorTerms": [{"tags": {DISCOVERY_TAG: cluster_name}}],
            "securityGroupSelectorTerms": [{"id": security_group_id}],
            # an import runs in the image of the models, which is larger than
            # Karpenter's default of 20 GiB; 60 is estimated, not measured
            "blockDeviceMappings": [
                {
                    "deviceName": "/dev/xvdb",
                    "ebs": {
                        "volumeSize": "60Gi",
                        "volumeType": "gp3",
                        "encrypted": True,
                        "deleteOnTermination": True,
                    },
                }
            ],
            "metadataOptions": {
                "httpEndpoint": "enabled",
                "httpTokens": "required",
                "httpPutResponseHopLimit": 1,
            },
            "tags": dict(tags),
        },
    }
