"""Which versions belong together: one row for each supported Kubernetes version.

Sources, read 2026-11-24. EKS support dates: Amazon EKS user guide, kubernetes-versions.
Bottlerocket variants: release notes of bottlerocket-os/bottlerocket (1.35-nvidia since
1.53.0, 1.29-nvidia until 1.57.0). Karpenter: its compatibility page (1.35 needs 1.9).
KEDA: its cluster page (2.20 is tested on 1.33 to 1.35). Add-ons: the default builds of
each Kubernetes version as clusters reported them in September and October 2026; where
none was found, EKS picks its default build for the version.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

KARPENTER_CHART = "1.14.1"
"""Version of both Karpenter charts; ``identity.py`` has the policy that it needs."""

KEDA_CHART = "2.20.2"
"""Version of the KEDA chart; its CRDs are templates of the chart, so an upgrade of the
release upgrades them."""

PROMETHEUS_CHART = "92.1.0"
"""Version of the kube-prometheus-stack chart (Prometheus operator 0.94.1)."""

ADDONS = (
    "vpc-cni",
    "coredns",
    "kube-proxy",
    "eks-pod-identity-agent",
    "aws-efs-csi-driver",
    "eks-node-monitoring-agent",
)
"""EKS add-ons that the platform installs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Versions:
    """What runs on one version of Kubernetes.

    Args:
        kubernetes: Version of the control plane.
        bottlerocket: Bottlerocket release with an ``nvidia`` variant for it.
        addons: Build of each EKS add-on; an add-on that is not named gets the
            default build of the version.
        caution: Why this version should be left, or empty.
    """

    kubernetes: str
    bottlerocket: str
    addons: Mapping[str, str] = field(default_factory=dict)
    caution: str = ""

    @property
    def ami_alias(self) -> str:
        """Bottlerocket release as Karpenter's ``alias`` has it."""
        return f"bottlerocket@v{self.bottlerocket}"

    @property
    def kubectl_layer(self) -> str:
        """Suffix of the package with the matching kubectl, such as ``v35``."""
        return f"v{self.kubernetes.split('.')[1]}"


_VPC_CNI = "v1.22.4-eksbuild.3"
_POD_IDENTITY_AGENT = "v1.3.10-eksbuild.3"

_ROWS = (
    Versions(
        kubernetes="1.29",
        bottlerocket="1.57.0",
        addons={
            "coredns": "v1.11.4-eksbuild.53",
            "kube-proxy": "v1.29.15-eksbuild.26",
        },
        caution="EKS ended its support on 2026-03-23 and creates no new cluster with "
        "it, and neither KEDA 2.20 nor Karpenter 1.14 is tested on it",
    ),
    Versions(
        kubernetes="1.33",
        bottlerocket="1.64.0",
        addons={
            "vpc-cni": _VPC_CNI,
            "coredns": "v1.12.4-eksbuild.38",
            "kube-proxy": "v1.33.10-eksbuild.29",
            "eks-pod-identity-agent": _POD_IDENTITY_AGENT,
        },
        caution="its standard support ended on 2026-07-29, and extended support costs "
        "more for each cluster hour",
    ),
    Versions(
        kubernetes="1.34",
        bottlerocket="1.64.0",
        addons={
            "vpc-cni": _VPC_CNI,
            "coredns": "v1.12.4-eksbuild.38",
            "kube-proxy": "v1.34.6-eksbuild.29",
            "eks-pod-identity-agent": _POD_IDENTITY_AGENT,
        },
        caution="its standard support ends on 2026-12-02, and extended support costs "
        "more for each cluster hour",
    ),
    Versions(
        kubernetes="1.35",
        bottlerocket="1.64.0",
        addons={
            "vpc-cni": _VPC_CNI,
            "coredns": "v1.13.2-eksbuild.31",
            "kube-proxy": "v1.35.3-eksbuild.29",
            "eks-pod-identity-agent": _POD_IDENTITY_AGENT,
            "aws-efs-csi-driver": "v3.4.1-eksbuild.1",
            "eks-node-monitoring-agent": "v1.7.0-eksbuild.1",
        },
    ),
)

SUPPORTED: Mapping[str, Versions] = {row.kubernetes: row for row in _ROWS}
"""The rows by Kubernetes version."""
