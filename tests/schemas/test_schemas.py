"""Proves that the manifest validator accepts what is right and can fail."""

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.schemas import crds as schemas
from tests.schemas.crds import CrdSchemas
from tests.schemas.manifests import problems

SAMPLES: dict[str, dict[str, Any]] = {
    sample["kind"]: sample
    for sample in yaml.safe_load_all(
        (Path(__file__).parent / "samples.yaml").read_text()
    )
}
GONE = object()
TRIGGER = "spec.triggers.0."
ENDPOINT = "spec.podMetricsEndpoints.0."
RULE = "spec.groups.0.rules.0."
REQUIREMENT = "spec.template.spec.requirements.0."
MAPPING = "spec.blockDeviceMappings.0."

# kind, where a value is put (GONE: taken away), the value, the complaint expected
BROKEN: list[tuple[str, str, Any, str]] = [
    ("ScaledObject", "spec.horizontalPodAutoscalerConfig", {}, "unknown field"),
    ("ScaledObject", "spec.advanced.horizontalPodAutoscalerConfig.min", 1, "unknown"),
    ("ScaledObject", "metadata.label", {}, "metadata.label: unknown field"),
    ("ScaledObject", "metadata.name", GONE, "metadata.name: required"),
    ("ScaledObject", "spec.minReplicaCount", "1", "minReplicaCount: '1' is not"),
    ("ScaledObject", "spec.minReplicaCount", -1, "minReplicaCount: -1 is less"),
    ("ScaledObject", "spec.minReplicaCount", 11, "spec.*minReplicaCount"),
    ("ScaledObject", "spec.maxReplicaCount", None, "maxReplicaCount: None is not"),
    ("ScaledObject", "spec.scaleTargetRef", GONE, "scaleTargetRef: required"),
    ("ScaledObject", "spec.fallback.behavior", "zero", "'zero' is not one of"),
    ("ScaledObject", "spec.triggers", [], "spec.triggers: "),
    ("ScaledObject", TRIGGER + "metadata.threshold", 24, "24 is not of type"),
    ("TriggerAuthentication", "spec.podIdentity.provider", "x", "not one of"),
    ("TriggerAuthentication", "spec.podIdentity.provider", GONE, "required"),
    ("ClusterTriggerAuthentication", "spec.pod", {}, "spec.pod: unknown field"),
    ("PodMonitor", ENDPOINT + "metricPath", "/", r"\[0\].metricPath: unknown"),
    ("PodMonitor", ENDPOINT + "interval", "5 s", "does not match"),
    ("PodMonitor", "spec.selector", GONE, "spec.selector: required"),
    ("ServiceMonitor", "spec.endpoints.0.scheme", "ftp", "not one of"),
    ("ServiceMonitor", "spec.endpoints.0.ports", 1, "ports: unknown field"),
    ("PrometheusRule", RULE + "severity", "x", "severity: unknown field"),
    ("PrometheusRule", RULE + "expr", GONE, "expr: required"),
    ("PrometheusRule", RULE + "labels.severity", 1, "1 is not of type"),
    ("NodePool", "spec.consolidationPolicy", "WhenEmpty", "unknown field"),
    (
        *("NodePool", "spec.disruption.consolidationPolicy", "WhenUnderutilized"),
        "'WhenUnderutilized' is not one of",
    ),
    ("NodePool", "spec.disruption.consolidateAfter", GONE, "required"),
    ("NodePool", "spec.disruption.budgets.0.duration", "10m", "schedule"),
    ("NodePool", "spec.disruption.budgets.0.reasons", ["Old"], "'Old' is not"),
    ("NodePool", "spec.template.spec.nodeClassRef.name", "", "name"),
    ("NodePool", "spec.template.metadata.labels", {"karpenter.sh/x": ""}, "restrict"),
    ("NodePool", "spec.replicas", 2, "limits"),
    ("NodePool", REQUIREMENT + "values", [], r"'?In'?.* value"),
    ("NodePool", REQUIREMENT + "minValues", 2, "minValues"),
    ("NodePool", REQUIREMENT + "operator", "Gt", "Gt"),
    ("NodePool", REQUIREMENT + "key", "kubernetes.io/hostname", "restricted"),
    ("NodePool", REQUIREMENT + "key", "karpenter.sh/nodepool", "restricted"),
    ("NodePool", REQUIREMENT + "key", "karpenter.k8s.aws/gpu", "restricted"),
    ("EC2NodeClass", "spec.amiSelector", {}, "spec.amiSelector: unknown field"),
    ("EC2NodeClass", "spec.role", GONE, "exactly one of"),
    ("EC2NodeClass", "spec.instanceProfile", "x", "exactly one of"),
    ("EC2NodeClass", "spec.amiFamily", "AL2023", "amiFamily"),
    ("EC2NodeClass", "spec.amiSelectorTerms", [{"name": "x"}], "amiFamily"),
    ("EC2NodeClass", "spec.amiSelectorTerms.0.alias", "debian@1", "family"),
    ("EC2NodeClass", "spec.amiSelectorTerms.0.alias", "windows2025@1", "latest"),
    ("EC2NodeClass", "spec.amiSelectorTerms.0.id", "ami-0", "alias"),
    ("EC2NodeClass", "spec.subnetSelectorTerms", [], "subnetSelectorTerms"),
    ("EC2NodeClass", "spec.subnetSelectorTerms.0.tags", {"a": ""}, "empty"),
    ("EC2NodeClass", "spec.securityGroupSelectorTerms.0", {}, "securityGroup"),
    ("EC2NodeClass", MAPPING + "ebs.volumeSize", GONE, "volumeSize"),
    ("EC2NodeClass", MAPPING + "ebs.volumeSize", "4GB", "does not match"),
    ("EC2NodeClass", "spec.tags", {"karpenter.sh/nodepool": "x"}, "restricted"),
    ("EC2NodeClass", "spec.instanceStorePolicy", "RAID1", "'RAID1' is not"),
    ("Deployment", "spec.replica", 1, "spec.replica: unknown field"),
    ("Deployment", "spec.template.spec.containers.0.image", 1, "1 is not of type"),
    ("Deployment", "spec.selector", GONE, "spec.selector: required"),
    ("Deployment", "kind", "Deploymnet", "kind: apps/v1 Deploymnet is neither"),
    ("Deployment", "apiVersion", "example.com/v1", "neither"),
    ("Deployment", "apiVersion", "apps.example.com/v1", "apiVersion"),
    ("Deployment", "kind", GONE, "apiVersion and kind"),
    ("PersistentVolume", "spec.csi.driver", GONE, "driver: required"),
    ("PersistentVolumeClaim", "spec.storageClass", "x", "unknown field"),
]


@pytest.fixture(scope="session", params=["npm", "folder"])
def crds(request: pytest.FixtureRequest) -> CrdSchemas:
    """The published schemas, then the upstream CRDs in their place."""
    return schemas.from_upstream() if request.param == "folder" else schemas.from_npm()


def check(manifest: dict[str, Any], crds: CrdSchemas) -> list[str]:
    return problems(manifest, kubernetes_version="1.35", crds=crds)


@pytest.mark.parametrize("kind", SAMPLES)
def test_valid_sample_has_no_problems(kind: str, crds: CrdSchemas) -> None:
    """A valid manifest of each kind passes."""
    assert check(SAMPLES[kind], crds) == []


@pytest.mark.parametrize(("kind", "path", "value", "complaint"), BROKEN)
def test_broken_sample_is_refused(
    kind: str, path: str, value: Any, complaint: str, crds: CrdSchemas
) -> None:
    """One wrong field is refused with a message that names it."""
    manifest = copy.deepcopy(SAMPLES[kind])
    at: Any = manifest
    *parents, last = path.split(".")
    for step in parents:
        at = at[int(step) if isinstance(at, list) else step]
    if value is GONE:
        del at[last]
    else:
        at[int(last) if isinstance(at, list) else last] = value
    found = check(manifest, crds)
    assert any(re.search(complaint, problem) for problem in found), found


def test_unavailable_kubernetes_version_is_an_error(crds: CrdSchemas) -> None:
    """A version without schemas is never replaced by an older one."""
    with pytest.raises(ValueError, match=r"9\.99"):
        problems(SAMPLES["Deployment"], kubernetes_version="9.99", crds=crds)


def stated(actual: Any, expected: Any) -> Any:
    """Return what upstream says where a correction says something too."""
    if isinstance(expected, dict) and isinstance(actual, dict):
        return {key: stated(actual.get(key), expected[key]) for key in expected}
    if isinstance(expected, list) and isinstance(actual, list):
        return expected if sorted(actual) == sorted(expected) else actual
    return actual


def test_corrections_agree_with_the_upstream_crds() -> None:
    """What corrections.json adds to the packages is what the CRDs say."""
    upstream = schemas.from_upstream()
    for kind, changes in schemas.corrections().items():
        for path, change in changes.items():
            actual = schemas.node(dict(upstream.kinds[kind]), path)
            expected = schemas.closed(change)
            assert stated(actual, expected) == expected, path
