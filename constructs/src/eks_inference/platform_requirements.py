"""What a cluster must run before pools and models can work on it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from constructs import Construct

from eks_inference.guardrails import path_of, place
from eks_inference.manifests import Manifest
from eks_inference.rules import ModelFacts

_CHECKER = "eks-inference-requirements"


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """One thing that a cluster must have.

    Args:
        name: What it is.
        reason: What needs it.
        resource: Object whose existence shows that it is there, as kubectl names it:
            ``crd/nodepools.karpenter.sh``.
        namespace: Namespace of that object, or empty for one without.
    """

    name: str
    reason: str
    resource: str
    namespace: str = ""

    @property
    def command(self) -> str:
        """Command that fails where the requirement is not met."""
        place = f" --namespace {self.namespace}" if self.namespace else ""
        return f"kubectl get {self.resource}{place}"


class PlatformRequirements:
    """What the pools and models below a construct need of their cluster.

    Ask when everything has been defined.

    Args:
        requirements: The requirements, each once.

    Example:
        ```python
        QueueScaledModel(stack, "Chat", pool=pool, model=model)
        print(PlatformRequirements.of(stack).markdown())
        ```
    """

    def __init__(self, requirements: Iterable[Requirement]) -> None:
        self._requirements = tuple(dict.fromkeys(requirements))

    @classmethod
    def of(cls, scope: Construct) -> "PlatformRequirements":
        """Return what everything below a construct needs."""
        report, path = place(scope)
        below = path_of(path, "")
        needed: list[Requirement] = []
        if any(f"{pool.path}/".startswith(below) for pool in report.pools):
            needed += _for_pools()
        for model in report.models:
            if f"{model.path}/".startswith(below):
                needed += _for_model(model)
        return cls(needed)

    @property
    def requirements(self) -> Sequence[Requirement]:
        """The requirements, each once."""
        return self._requirements

    def markdown(self) -> str:
        """Return a table for a hand-over or a runbook."""
        rows = [
            f"| {item.name} | {item.reason} | `{item.command}` |"
            for item in self._requirements
        ]
        return "\n".join(["| needs | for | check |", "|---|---|---|", *rows]) + "\n"

    def manifests(self, *, image: str, namespace: str = "default") -> list[Manifest]:
        """Return a Job that fails until the cluster meets every requirement.

        Args:
            image: Image with ``sh`` and ``kubectl``, pinned.
            namespace: Namespace of the job. Default: ``default``.
        """
        metadata = {"name": _CHECKER, "namespace": namespace}
        script = " && ".join(item.command for item in self._requirements) or "true"
        return [
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata},
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "ClusterRole",
                "metadata": {"name": _CHECKER},
                "rules": [_readable(item) for item in self._requirements],
            },
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "ClusterRoleBinding",
                "metadata": {"name": _CHECKER},
                "roleRef": {
                    "apiGroup": "rbac.authorization.k8s.io",
                    "kind": "ClusterRole",
                    "name": _CHECKER,
                },
                "subjects": [{"kind": "ServiceAccount", **metadata}],
            },
            {
                "apiVersion": "batch/v1",
                "kind": "Job",
                "metadata": metadata,
                "spec": {
                    "backoffLimit": 6,
                    "template": {
                        "spec": {
                            "serviceAccountName": _CHECKER,
                            "restartPolicy": "Never",
                            "securityContext": {
                                "runAsNonRoot": True,
                                "runAsUser": 65534,
                                "seccompProfile": {"type": "RuntimeDefault"},
                            },
                            "containers": [
                                {
                                    "name": "check",
                                    "image": image,
                                    "command": ["sh", "-c", script],
                                    "resources": {
                                        "requests": {"cpu": "50m", "memory": "64Mi"},
                                        "limits": {"memory": "128Mi"},
                                    },
                                    "securityContext": {
                                        "allowPrivilegeEscalation": False,
                                        "capabilities": {"drop": ["ALL"]},
                                    },
                                }
                            ],
                        }
                    },
                },
            },
        ]


_RESOURCES = {
    "crd": ("apiextensions.k8s.io", "customresourcedefinitions"),
    "namespace": ("", "namespaces"),
    "priorityclass": ("scheduling.k8s.io", "priorityclasses"),
    "persistentvolumeclaim": ("", "persistentvolumeclaims"),
    "daemonset": ("apps", "daemonsets"),
    "service": ("", "services"),
}


def _readable(item: Requirement) -> Manifest:
    kind, name = item.resource.split("/")
    group, plural = _RESOURCES[kind]
    return {
        "apiGroups": [group],
        "resources": [plural],
        "resourceNames": [name],
        "verbs": ["get"],
    }


def _for_triggers(model: ModelFacts) -> list[Requirement]:
    needed = []
    for trigger in model.triggers:
        if trigger["type"] in ("external", "kedify-otel"):
            service, space = trigger["metadata"]["scalerAddress"].split(".")[:2]
            build = "Kedify's KEDA and its" if trigger["type"] != "external" else "the"
            needed.append(
                Requirement(
                    name=f"{build} OpenTelemetry scaler",
                    reason="the metric that replicas are scaled on",
                    resource=f"service/{service}",
                    namespace=space,
                )
            )
        if "kube_deployment_" in trigger["metadata"].get("query", ""):
            needed.append(
                Requirement(
                    name="kube-state-metrics",
                    reason="the proof that a model has no replica",
                    resource="service/kube-prometheus-stack-kube-state-metrics",
                    namespace="monitoring",
                )
            )
    return needed


def _for_pools() -> list[Requirement]:
    return [
        Requirement(
            name="Karpenter",
            reason="nodes for pending pods",
            resource="crd/nodepools.karpenter.sh",
        ),
        Requirement(
            name="Karpenter's AWS provider",
            reason="how such nodes are made",
            resource="crd/ec2nodeclasses.karpenter.k8s.aws",
        ),
    ]


def _for_model(model: ModelFacts) -> list[Requirement]:
    namespace = model.manifests["Deployment"]["metadata"]["namespace"]
    needed = [
        Requirement(
            name="KEDA",
            reason="replicas by queue length",
            resource="crd/scaledobjects.keda.sh",
        ),
        *(
            [
                Requirement(
                    name="Prometheus operator",
                    reason="the metrics of the replicas, and the model's alerts",
                    resource="crd/podmonitors.monitoring.coreos.com",
                )
            ]
            if "PodMonitor" in model.manifests
            else []
        ),
        Requirement(
            name="EKS Pod Identity agent",
            reason="credentials for reading weights",
            resource="daemonset/eks-pod-identity-agent",
            namespace="kube-system",
        ),
        Requirement(
            name=f"namespace {namespace}",
            reason="the objects of the models",
            resource=f"namespace/{namespace}",
        ),
    ]
    needed += _for_triggers(model)
    if "InterceptorRoute" in model.manifests:
        needed.append(
            Requirement(
                name="KEDA's HTTP add-on",
                reason="requests that wake a model",
                resource="crd/interceptorroutes.http.keda.sh",
            )
        )
    priority = model.pod.get("priorityClassName")
    if priority is not None:
        needed.append(
            Requirement(
                name=f"priority class {priority}",
                reason="pods that name it",
                resource=f"priorityclass/{priority}",
            )
        )
    needed += [
        Requirement(
            name=f"claim {volume['persistentVolumeClaim']['claimName']}",
            reason="the shared compile cache",
            resource="persistentvolumeclaim/"
            + volume["persistentVolumeClaim"]["claimName"],
            namespace=namespace,
        )
        for volume in model.pod["volumes"]
        if "persistentVolumeClaim" in volume
    ]
    return needed
