"""Which versions belong together: one row for each supported Kubernetes version.

What must hold between them is data, too, and ``incompatibilities`` judges a row by it,
so that a row or a chart that is raised alone is refused when the app is synthesized.
``docs/upgrade.md`` has the order in which a cluster that runs follows the table.

Sources, read 2026-11-24. EKS support dates: Amazon EKS user guide, kubernetes-versions.
Bottlerocket variants: release notes of bottlerocket-os/bottlerocket (1.35-nvidia since
1.53.0, 1.29-nvidia until 1.57.0). Karpenter: its compatibility page (1.35 needs 1.9).
KEDA: its cluster page (2.20 is tested on 1.33 to 1.35). Add-ons: the default builds of
each Kubernetes version as clusters reported them in September and October 2026; where
none was found, EKS picks its default build for the version.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from eks_inference._check import ConfigurationError, Problems
from eks_inference.image import vllm_version
from eks_inference.planning.kernels import minimum_driver

KARPENTER_CHART = "1.14.1"
"""Version of both Karpenter charts; ``identity.py`` has the policy that it needs."""

KARPENTER_POLICY = ("1.14", "3fda2bb8d6c1a29a")
"""Minor release of Karpenter that ``identity.karpenter_statements`` was written for,
and the digest of its actions that ``tests/app/test_versions.py`` computes.

Karpenter's permissions change with its minor releases: 1.7 lists instance profiles,
1.11 describes placement groups, 1.12 the status of instances (its upgrade guide,
aws/karpenter-provider-aws@c1cb256 website/content/en/v1.14/upgrading/upgrade-guide.md).
Whoever raises the chart reads the new template and then raises this."""

KEDA_CHART = "2.20.2"
"""Version of the KEDA chart; its CRDs are templates of the chart, so an upgrade of the
release upgrades them."""

KEDA_HTTP_CHART = "0.15.0"
"""Version of the keda-add-ons-http chart, whose InterceptorRoute is v1beta1."""

OTEL_SCALER_CHART = "v0.1.4"
"""Version of Kedify's otel-add-on chart, written as its Chart.yaml has it."""

PROMETHEUS_CHART = "92.1.0"
"""Version of the kube-prometheus-stack chart (Prometheus operator 0.94.1), which can
upgrade its CRDs since 68.4.0 (its UPGRADE.md in prometheus-community/helm-charts)."""

DCGM_EXPORTER_CHART = "4.8.2"
"""Version of NVIDIA's dcgm-exporter chart, whose image needs driver R535 or later."""

KARPENTER_SINCE: Mapping[str, str] = {"1.29": "0.34", "1.35": "1.9", "1.36": "1.13"}
"""First release of Karpenter for a version of Kubernetes (its compatibility page). The
page's floors rise with the version, so one that is not here has the next one's."""

KARPENTER_DURATIONS = "1.12"
"""First release of Karpenter that reads a duration in ``karpenter.sh/do-not-disrupt``,
which every replica carries; before, the text meant nothing (kubernetes-sigs/karpenter
#2874, in its release 1.12.0)."""

KEDA_TESTED: Mapping[str, tuple[str, str]] = {"2.20": ("1.33", "1.35")}
"""First and last version of Kubernetes that a release of KEDA is tested on (KEDA's
documentation, operate/cluster). Others may work; their row says so in ``caution``."""

KUBERNETES_FLOOR = "1.26"
"""First version whose API server keeps ``podFailurePolicy``, by which an import job
tells errors apart: a beta that is on (kubernetes.io, Pod failure policy)."""

BOTTLEROCKET_NVIDIA: Mapping[str, tuple[str, str]] = {
    "1.29": ("", "1.57.0"),
    "1.35": ("1.53.0", ""),
}
"""First and last Bottlerocket release with an ``nvidia`` variant for a version of
Kubernetes, or empty where none is known (bottlerocket-os/bottlerocket, release notes).
Without a variant Karpenter finds no image."""

BOTTLEROCKET_SOCI = "1.46.0"
"""First Bottlerocket release on which images are pulled in parallel to the local disks.
SOCI came with 1.44.0 (bottlerocket-os/bottlerocket#4593), and since 1.46 Karpenter
moves its folder to the disks, too (aws/karpenter-provider-aws v1.14.1,
pkg/providers/amifamily/bootstrap)."""

BOTTLEROCKET_R580 = "1.57.0"
"""First Bottlerocket release of which we know that every ``nvidia`` variant has driver
R580, without which an image with CUDA 13 does not start. That all are on it stands in
bottlerocket-os/bottlerocket-kernel-kit#254 (2026-01-29), which names no release; 1.56
is taken for the first, and one more is asked for."""

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


def incompatibilities(
    row: Versions,
    *,
    image_tag: str,
    karpenter: str = KARPENTER_CHART,
    keda: str = KEDA_CHART,
) -> list[str]:
    """Return what does not go together in a row, with the repair of each.

    Args:
        row: The row of the cluster's version.
        image_tag: Tag of vLLM's image. CUDA 13 is taken for granted unless the tag
            names CUDA 12 (``cu129``) or a vLLM that was built with it: its driver runs
            images of CUDA 12, too.
        karpenter: Version of Karpenter's charts. Default: the pinned one.
        keda: Version of KEDA's chart. Default: the pinned one.
    """
    problems = Problems(f"kubernetes_version {row.kubernetes!r}")
    pins = {
        "KARPENTER_CHART": karpenter,
        "KEDA_CHART": keda,
        "bottlerocket": row.bottlerocket,
    }
    pinned = [
        problems.matches(
            "kubernetes", row.kubernetes, r"\d+\.\d+", rule="a minor release"
        )
    ]
    pinned += [
        problems.matches(
            name,
            pin,
            r"\d+\.\d+\.\d+",
            rule="a release of three numbers",
            repair="what moves by itself replaces nodes on a day that nobody chose",
        )
        for name, pin in pins.items()
    ]
    if all(pinned):
        _at_least(
            problems,
            "kubernetes",
            row.kubernetes,
            KUBERNETES_FLOOR,
            needed="for the failure policy of import jobs",
            repair="remove the row",
        )
        _judge_karpenter(problems, row, karpenter)
        _judge_keda(problems, row, keda)
        _judge_bottlerocket(problems, row, image_tag)
    return problems.messages


def _judge_karpenter(problems: Problems, row: Versions, karpenter: str) -> None:
    name, repair = "KARPENTER_CHART", "raise it"
    known = [
        version
        for version in KARPENTER_SINCE
        if _release(version) >= _release(row.kubernetes)
    ]
    if known:
        floor = KARPENTER_SINCE[min(known, key=_release)]
        needed = f"for Kubernetes {row.kubernetes}"
        _at_least(problems, name, karpenter, floor, needed=needed, repair=repair)
    else:
        newest = max(KARPENTER_SINCE, key=_release)
        problems.broken(
            f"'kubernetes' must be at most {newest}, the newest in KARPENTER_SINCE",
            row.kubernetes,
            "look its Karpenter up and add it",
        )
    _at_least(
        problems,
        name,
        karpenter,
        KARPENTER_DURATIONS,
        needed="for a do-not-disrupt that ends",
        repair=repair,
    )
    minor, _ = KARPENTER_POLICY
    if _release(karpenter)[:2] != _release(minor):
        problems.broken(
            f"'{name}' must be of the minor release whose policy is in "
            f"infra/identity.py ({minor})",
            karpenter,
            "compare the policy with the release's template, then raise "
            "KARPENTER_POLICY",
        )


def _judge_keda(problems: Problems, row: Versions, keda: str) -> None:
    minor = keda.rpartition(".")[0]
    if minor not in KEDA_TESTED:
        known = ", ".join(KEDA_TESTED)
        problems.broken(
            f"'KEDA_CHART' must be of a release in KEDA_TESTED ({known})",
            keda,
            "look up which Kubernetes it is tested on and add it",
        )
        return
    first, last = KEDA_TESTED[minor]
    tested = _release(first) <= _release(row.kubernetes) <= _release(last)
    if not tested and not row.caution:
        problems.broken(
            f"'caution' must say that KEDA {minor} is tested on {first} to {last}",
            row.caution,
            "or change KEDA_CHART",
        )


def _judge_bottlerocket(problems: Problems, row: Versions, image_tag: str) -> None:
    name, mine = "bottlerocket", row.bottlerocket
    first, last = BOTTLEROCKET_NVIDIA.get(row.kubernetes, ("", ""))
    variant = f"an nvidia variant for Kubernetes {row.kubernetes}"
    if first:
        needed = f"for {variant}"
        _at_least(problems, name, mine, first, needed=needed, repair="raise it")
    if last and _release(mine) > _release(last):
        problems.broken(
            f"'{name}' must be at most {last}, the last with {variant}",
            mine,
            "lower it",
        )
    _at_least(
        problems,
        name,
        mine,
        BOTTLEROCKET_SOCI,
        needed="for parallel pulls to local disks",
        repair="raise it",
    )
    if not _is_cuda_12(problems, image_tag):
        _at_least(
            problems,
            name,
            mine,
            BOTTLEROCKET_R580,
            needed=f"for driver R580, which the image {image_tag!r} needs",
            repair="raise it, or take an image with CUDA 12",
        )


def _at_least(
    problems: Problems, name: str, value: str, floor: str, *, needed: str, repair: str
) -> None:
    if _release(value) < _release(floor):
        problems.broken(f"'{name}' must be at least {floor} {needed}", value, repair)


def _is_cuda_12(problems: Problems, image_tag: str) -> bool:
    named = re.search(r"-cu(\d\d)\d(-|$)", image_tag)
    if named:
        return named[1] == "12"
    release = vllm_version(f":{image_tag}")
    if release is None:
        return False
    try:
        return minimum_driver(release) is None
    except ConfigurationError as error:
        problems.include(error.problems)
        return False


def _release(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))
