"""Every Kubernetes object is one that the API server would take, and fits the others.

Set ``EKS_INFERENCE_CRDS`` to a folder of upstream CRDs to check against them as well.
"""

import copy
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from eks_inference.manifests import POOL_LABEL, Manifest
from eks_inference.testing import manifests
from infra.stages import load
from infra.versions import SUPPORTED
from tests.app.conftest import (
    RELEASE_TYPE,
    Templates,
    objects,
    of_kind,
    other_choices,
    resources,
    stage_templates,
    synthesize,
)
from tests.schemas.crds import CrdSchemas, from_npm, from_upstream
from tests.schemas.manifests import problems

APPS: dict[str, Callable[[], Templates]] = {
    "dev": lambda: stage_templates("dev"),
    "prod": lambda: stage_templates("prod"),
    "prod in an account": lambda: stage_templates("prod", "111122223333", "us-east-1"),
    "other choices": lambda: synthesize(other_choices()),
    "old version": lambda: synthesize(
        replace(load("dev"), kubernetes_version=min(SUPPORTED))
    ),
}
"""Apps whose objects differ."""

CLUSTER_SCOPED = {
    "ClusterRole",
    "ClusterTriggerAuthentication",
    "EC2NodeClass",
    "Namespace",
    "NodePool",
    "PersistentVolume",
    "PriorityClass",
}
"""Kinds of objects that have no namespace."""

BUILT_IN_NAMESPACES = {"kube-system"}

RESTRICTED_VOLUMES = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
}
"""Volume sources that the Pod Security Standard 'restricted' allows."""


@pytest.fixture(params=APPS, scope="module")
def app(request: pytest.FixtureRequest) -> Templates:
    """Each app, as templates."""
    return APPS[request.param]()


@pytest.fixture(params=["npm", "upstream"], scope="module")
def crds(request: pytest.FixtureRequest) -> CrdSchemas:
    """The published schemas of the custom resources, then the upstream ones."""
    if request.param == "npm":
        return from_npm()
    return from_upstream()


@pytest.mark.parametrize("version", SUPPORTED)
def test_objects_keep_their_schemas(
    app: Templates, version: str, crds: CrdSchemas
) -> None:
    """Each supported Kubernetes version knows every object and every field of it."""
    checked = list(objects(app))
    assert len(checked) > 20
    for item in checked:
        found = problems(deployed(item), kubernetes_version=version, crds=crds)
        assert found == [], f"{item['kind']} {item['metadata']['name']}"


def test_scaling_speed_in_the_wrong_place_is_refused(dev: Templates) -> None:
    """An autoscaler whose speed stands where KEDA ignores it does not pass."""
    scaler = copy.deepcopy(of_kind(dev, "ScaledObject")["mistral-7b"])
    spec = scaler["spec"]
    spec["horizontalPodAutoscalerConfig"] = spec["advanced"].pop(
        "horizontalPodAutoscalerConfig"
    )
    assert problems(scaler, kubernetes_version="1.35", crds=from_npm()) == [
        "spec.horizontalPodAutoscalerConfig: unknown field"
    ]


def test_names_are_unique(app: Templates) -> None:
    """No two resources apply the same object, which the second would take over."""
    names = Counter(
        (item["kind"], item["metadata"].get("namespace"), item["metadata"]["name"])
        for item in objects(app)
    )
    assert [name for name, count in names.items() if count > 1] == []


def test_namespaces_exist(app: Templates) -> None:
    """Each object and each release is in a namespace that the platform makes."""
    known = of_kind(app, "Namespace").keys() | BUILT_IN_NAMESPACES
    used = {
        item["metadata"].get("namespace")
        for item in objects(app)
        if item["kind"] not in CLUSTER_SCOPED
    }
    releases = resources(app["Platform"], RELEASE_TYPE).values()
    assert used == {"inference", "keda", "monitoring", "gpu-telemetry"}
    assert used | {release["Namespace"] for release in releases} <= known


def test_objects_without_namespace_are_cluster_scoped(app: Templates) -> None:
    """What has no namespace is of a kind that has none."""
    kinds = {
        item["kind"] for item in objects(app) if "namespace" not in item["metadata"]
    }
    assert kinds <= CLUSTER_SCOPED


def test_namespaces_come_first_in_their_resource(app: Templates) -> None:
    """One resource makes all namespaces, before anything that lives in them."""
    [group] = [
        group
        for template in app.values()
        for group in manifests(template).values()
        if any(item["kind"] == "Namespace" for item in group)
    ]
    kinds = [item["kind"] for item in group]
    assert kinds[:4] == ["Namespace"] * 4
    assert kinds.count("Namespace") == 4


def test_priorities_exist(app: Templates) -> None:
    """Each priority class that a pod names is one that the platform makes."""
    named = {pod.get("priorityClassName") for pod in gpu_pods(app)}
    assert named == {"inference"}
    assert named <= of_kind(app, "PriorityClass").keys()


def test_claims_exist_and_find_their_volume(app: Templates) -> None:
    """Each claim that a pod mounts exists, and it is bound to a volume that exists."""
    claims = of_kind(app, "PersistentVolumeClaim")
    volumes = of_kind(app, "PersistentVolume")
    used = {
        volume["persistentVolumeClaim"]["claimName"]
        for _, pod in pods(app)
        for volume in pod["volumes"]
        if "persistentVolumeClaim" in volume
    }
    assert used == claims.keys()
    for name, claim in claims.items():
        volume = volumes[claim["spec"]["volumeName"]]["spec"]
        assert volume["claimRef"] == {"name": name, "namespace": "inference"}
        for shared in ("accessModes", "storageClassName"):
            assert claim["spec"][shared] == volume[shared]


def test_unshared_cache_needs_no_claim() -> None:
    """Without a shared compile cache no pod waits for a volume."""
    app = synthesize(other_choices())
    assert of_kind(app, "PersistentVolumeClaim") == {}
    assert of_kind(app, "PersistentVolume") == {}


def test_pods_select_a_pool_that_makes_their_nodes(app: Templates) -> None:
    """A pod selects, tolerates and fits the nodes of one pool that exists."""
    pools = {
        pool["spec"]["template"]["metadata"]["labels"][POOL_LABEL]: pool["spec"]
        for name, pool in of_kind(app, "NodePool").items()
        if name != "system"
    }
    selected = set()
    for pod in gpu_pods(app):
        name = pod["nodeSelector"][POOL_LABEL]
        selected.add(name)
        node = pools[name]["template"]["spec"]
        for taint in node["taints"]:
            assert any(tolerates(item, taint) for item in pod["tolerations"])
        [count] = requirement(node, "karpenter.k8s.aws/instance-gpu-count")
        [container] = pod["containers"]
        assert int(container["resources"]["limits"]["nvidia.com/gpu"]) <= int(count)
    assert selected == pools.keys()


def test_pools_name_a_node_class(app: Templates) -> None:
    """Each pool names a node class that exists."""
    classes = of_kind(app, "EC2NodeClass")
    for pool in of_kind(app, "NodePool").values():
        reference = pool["spec"]["template"]["spec"]["nodeClassRef"]
        assert reference["name"] in classes


def test_service_monitor_and_budget_select_the_pods_of_their_model(
    app: Templates,
) -> None:
    """What belongs to a model selects the labels of its pods and of no other's."""
    for name, deployment in of_kind(app, "Deployment").items():
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        port = deployment["spec"]["template"]["spec"]["containers"][0]["ports"][0]
        service = of_kind(app, "Service")[name]["spec"]
        monitor = of_kind(app, "PodMonitor")[name]["spec"]
        budget = of_kind(app, "PodDisruptionBudget")[name]["spec"]
        assert labels["app.kubernetes.io/instance"] == name
        assert service["selector"] == labels
        assert monitor["selector"]["matchLabels"] == labels
        assert budget["selector"]["matchLabels"] == labels
        assert deployment["spec"]["selector"]["matchLabels"] == labels
        assert service["ports"][0]["targetPort"] == port["name"]
        assert monitor["podMetricsEndpoints"][0]["port"] == port["name"]


def test_autoscalers_scale_a_deployment_that_exists(app: Templates) -> None:
    """Each model has one autoscaler, which scales its deployment."""
    deployments = of_kind(app, "Deployment")
    scalers = of_kind(app, "ScaledObject")
    assert scalers.keys() == deployments.keys()
    for name, scaler in scalers.items():
        assert scaler["spec"]["scaleTargetRef"]["name"] == name


def test_pods_use_their_own_service_account(app: Templates) -> None:
    """Each model has an identity of its own, to which its role is bound."""
    accounts = of_kind(app, "ServiceAccount")
    bound = {
        (item["Namespace"], item["ServiceAccount"])
        for item in resources(
            app["Serving"], "AWS::EKS::PodIdentityAssociation"
        ).values()
    }
    used = [pod["serviceAccountName"] for _, pod in pods(app)]
    assert len(used) == len(set(used))
    assert set(used) == accounts.keys()
    assert {("inference", name) for name in used} == bound


def test_pods_satisfy_the_restricted_standard(app: Templates) -> None:
    """The namespace of the models would admit every pod that it is asked to run."""
    namespace = of_kind(app, "Namespace")["inference"]["metadata"]["labels"]
    assert namespace["pod-security.kubernetes.io/enforce"] == "restricted"
    for name, pod in pods(app):
        assert list(not_restricted(pod)) == [], name


BREACHES: dict[str, Callable[[Any], object]] = {
    "host network": lambda pod: pod.update(hostNetwork=True),
    "root allowed": lambda pod: pod["securityContext"].pop("runAsNonRoot"),
    "root": lambda pod: pod["securityContext"].update(runAsUser=0),
    "no seccomp": lambda pod: pod["securityContext"].pop("seccompProfile"),
    "sysctl": lambda pod: pod["securityContext"].update(sysctls=[{"name": "x"}]),
    "host path": lambda pod: pod["volumes"].append({"name": "x", "hostPath": {}}),
    "bare container": lambda pod: pod["containers"][0].pop("securityContext"),
    "init container": lambda pod: pod.update(initContainers=[{"name": "x"}]),
    "privileged": lambda pod: context(pod).update(privileged=True),
    "escalation": lambda pod: context(pod).pop("allowPrivilegeEscalation"),
    "capabilities kept": lambda pod: context(pod).pop("capabilities"),
    "capability": lambda pod: context(pod)["capabilities"].update(add=["SYS_ADMIN"]),
    "unconfined": lambda pod: context(pod).update(
        seccompProfile={"type": "Unconfined"}
    ),
    "host port": lambda pod: pod["containers"][0]["ports"][0].update(hostPort=80),
}


@pytest.mark.parametrize("breach", BREACHES)
def test_breach_of_the_restricted_standard_is_found(
    dev: Templates, breach: str
) -> None:
    """A pod that differs in one point from the restricted standard is found."""
    [(_, pod)] = pods(dev)
    broken = copy.deepcopy(pod)
    BREACHES[breach](broken)
    assert list(not_restricted(broken)) != []


def test_no_rule_has_a_wildcard(app: Templates) -> None:
    """No object lets anyone do everything in the cluster."""
    assert list(wildcards(objects(app))) == []


@pytest.mark.parametrize("field", ["apiGroups", "resources", "verbs"])
def test_wildcard_in_a_rule_is_found(field: str) -> None:
    """A role with a wildcard does not pass."""
    rule = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"], field: ["*"]}
    role = {"kind": "ClusterRole", "metadata": {"name": "all"}, "rules": [rule]}
    assert list(wildcards([role])) == [f"all: {field}"]


def test_binding_to_the_administrator_is_found() -> None:
    """A binding to the role that may do everything does not pass."""
    binding = {
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "all"},
        "roleRef": {"kind": "ClusterRole", "name": "cluster-admin"},
    }
    assert list(wildcards([binding])) == ["all: cluster-admin"]


def deployed(item: Manifest) -> Manifest:
    """Return an object as a deployment makes it, where its form matters."""
    text = re.sub(r"\$\{[^}]*SecurityGroupId[^}]*\}", "sg-0123abc", json.dumps(item))
    found: Manifest = json.loads(text)
    return found


def gpu_pods(app: Templates) -> list[Manifest]:
    """Return the pods that run on GPU nodes, which an import does not."""
    return [
        pod
        for _, pod in pods(app)
        if any(
            "nvidia.com/gpu" in item.get("resources", {}).get("limits", {})
            for item in pod["containers"]
        )
    ]


def pods(app: Templates) -> list[tuple[str, Manifest]]:
    """Return every pod that the app itself defines, by the name of its owner."""
    found = []
    for item in objects(app):
        spec = item.get("spec", {})
        if item["kind"] == "CronJob":
            spec = spec["jobTemplate"]["spec"]
        if item["kind"] == "Pod":
            found.append((item["metadata"]["name"], spec))
        elif "containers" in spec.get("template", {}).get("spec", {}):
            found.append((item["metadata"]["name"], spec["template"]["spec"]))
    assert found
    return found


def tolerates(toleration: Manifest, taint: Manifest) -> bool:
    """Whether a toleration covers a taint."""
    value = toleration.get("operator") == "Exists" or (
        toleration.get("value") == taint["value"]
    )
    effect = toleration.get("effect") in {None, taint["effect"]}
    return toleration.get("key") == taint["key"] and value and effect


def requirement(node: Manifest, key: str) -> list[str]:
    """Return the values that a pool allows for a label."""
    [item] = [item for item in node["requirements"] if item["key"] == key]
    assert item["operator"] == "In"
    return list(item["values"])


def context(pod: Manifest) -> dict[str, Any]:
    """Return the security context of a pod's container."""
    found: dict[str, Any] = pod["containers"][0]["securityContext"]
    return found


def not_restricted(pod: Manifest) -> Iterator[str]:
    """Yield what the Pod Security Standard 'restricted' (v1.35) forbids in a pod."""
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(field):
            yield field
    for volume in pod.get("volumes", ()):
        if not volume.keys() - {"name"} <= RESTRICTED_VOLUMES:
            yield f"volume {volume['name']}"
    shared = pod.get("securityContext", {})
    if shared.get("sysctls"):
        yield "sysctls"
    for group in ("initContainers", "containers", "ephemeralContainers"):
        for container in pod.get(group, ()):
            own = container.get("securityContext", {})
            for problem in _container_breaches(container, own, {**shared, **own}):
                yield f"{container['name']}: {problem}"


def _container_breaches(
    container: Manifest, own: Manifest, effective: Manifest
) -> Iterator[str]:
    capabilities = own.get("capabilities", {})
    if own.get("privileged"):
        yield "privileged"
    if own.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation"
    if capabilities.get("drop") != ["ALL"]:
        yield "capabilities.drop"
    if not set(capabilities.get("add", ())) <= {"NET_BIND_SERVICE"}:
        yield "capabilities.add"
    if own.get("procMount", "Default") != "Default":
        yield "procMount"
    if effective.get("runAsNonRoot") is not True:
        yield "runAsNonRoot"
    if effective.get("runAsUser") == 0:
        yield "runAsUser"
    if effective.get("seccompProfile", {}).get("type") not in {
        "RuntimeDefault",
        "Localhost",
    }:
        yield "seccompProfile"
    if any(port.get("hostPort") for port in container.get("ports", ())):
        yield "hostPort"


def wildcards(items: Iterable[Manifest]) -> Iterator[str]:
    """Yield where a role allows everything of something, or is the one that does."""
    for item in items:
        if item.get("roleRef", {}).get("name") == "cluster-admin":
            yield f"{item['metadata']['name']}: cluster-admin"
        for rule in item.get("rules", ()) if item["kind"].endswith("Role") else ():
            for field in ("apiGroups", "resources", "verbs"):
                if "*" in rule.get(field, ()):
                    yield f"{item['metadata']['name']}: {field}"
