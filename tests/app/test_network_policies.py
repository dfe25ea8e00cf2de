"""Who may talk to whom in the namespaces of the platform."""

import pytest

from eks_inference.manifests import Manifest
from infra.stages import load
from tests.app.conftest import Templates, objects, of_kind, stage_templates
from tests.app.questions import container


def test_namespaces_refuse_what_nobody_allows(templates: Templates) -> None:
    """Each namespace of ours denies by default, the models' in both directions."""
    denied = {
        item["metadata"]["namespace"]: item["spec"]
        for item in policies(templates)
        if item["metadata"]["name"] == "default-deny"
    }
    both = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    incoming = {"podSelector": {}, "policyTypes": ["Ingress"]}
    assert denied == {
        "inference": both,
        "keda": incoming,
        "monitoring": incoming,
        "gpu-telemetry": incoming,
    }


def test_models_reach_names_credentials_and_storage(templates: Templates) -> None:
    """A model's pod asks for names, for its credentials, and HTTPS; nothing else."""
    names, credentials, storage = models_policy(templates)["egress"]
    [dns] = names["to"]
    assert dns == {
        "namespaceSelector": {
            "matchLabels": {"kubernetes.io/metadata.name": "kube-system"}
        },
        "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
    }
    assert names["ports"] == [
        {"protocol": "UDP", "port": 53},
        {"protocol": "TCP", "port": 53},
    ]
    assert credentials == {
        "to": [{"ipBlock": {"cidr": "169.254.170.23/32"}}],
        "ports": [{"protocol": "TCP", "port": 80}],
    }
    assert storage == {
        "to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}],
        "ports": [{"protocol": "TCP", "port": 443}],
    }


def test_models_answer_clients_and_prometheus(templates: Templates) -> None:
    """Labelled namespaces, the own one and Prometheus reach the models' port."""
    [rule] = models_policy(templates)["ingress"]
    [port] = rule["ports"]
    sources = [
        next(iter(item["namespaceSelector"]["matchLabels"].items()))
        for item in rule["from"]
        if "namespaceSelector" in item
    ]
    main = container(templates, "mistral-7b")
    assert port == {"protocol": "TCP", "port": main["ports"][0]["containerPort"]}
    assert {"podSelector": {}} in rule["from"]
    assert sources == [
        ("eks-inference/client", "true"),
        ("kubernetes.io/metadata.name", "monitoring"),
    ]


def test_models_policy_covers_their_pods(templates: Templates) -> None:
    """The policy of the models selects the label that each of their pods has."""
    selected = models_policy(templates)["podSelector"]["matchLabels"]
    labels = of_kind(templates, "Deployment")["mistral-7b"]["spec"]["template"]
    assert selected.items() <= labels["metadata"]["labels"].items()
    assert selected


@pytest.mark.parametrize(
    ("namespace", "name", "port"),
    [
        ("keda", "metrics-api", 6443),
        ("keda", "webhooks", 9443),
        ("monitoring", "operator", 10250),
    ],
)
def test_control_plane_reaches_the_webhooks(
    stage: str, namespace: str, name: str, port: int
) -> None:
    """The API server, which is no pod, reaches what it must call from the VPC."""
    [spec] = [
        item["spec"]
        for item in policies(stage_templates(stage))
        if item["metadata"] == {"name": name, "namespace": namespace}
    ]
    [rule] = spec["ingress"]
    assert {"ipBlock": {"cidr": load(stage).network.cidr}} in rule["from"]
    assert rule["ports"] == [{"protocol": "TCP", "port": port}]


def policies(templates: Templates) -> list[Manifest]:
    """Return every network policy."""
    return [item for item in objects(templates) if item["kind"] == "NetworkPolicy"]


def models_policy(templates: Templates) -> Manifest:
    """Return the network policy of the models."""
    found: Manifest
    [found] = [
        item["spec"]
        for item in policies(templates)
        if item["metadata"] == {"name": "models", "namespace": "inference"}
    ]
    return found
