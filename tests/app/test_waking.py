"""What wakes models, and what scales them otherwise: add-ons and who may reach them."""

from dataclasses import replace

from eks_inference.manifests import Manifest
from infra.stages import load
from k8s.network_policy import namespace
from tests.app.conftest import Templates, objects, of_kind, other_choices, synthesize
from tests.app.questions import container


def addons(templates: Templates) -> dict[str, dict[str, object]]:
    """Return chart, version and namespace of the releases of the platform."""
    return {
        item["Properties"]["Release"]: {
            key: item["Properties"].get(key)
            for key in ("Chart", "Version", "Namespace")
        }
        for item in templates["Platform"]["Resources"].values()
        if item["Type"] == "Custom::AWSCDK-EKS-HelmChart"
    }


def policies(templates: Templates) -> dict[tuple[str, str], Manifest]:
    """Return the network policies by namespace and name."""
    return {
        (item["metadata"]["namespace"], item["metadata"]["name"]): item["spec"]
        for item in objects(templates)
        if item["kind"] == "NetworkPolicy"
    }


def blind() -> Templates:
    """Return the default stage, scaled by the OpenTelemetry scaler."""
    return synthesize(replace(load("dev"), signal="otel-scaler"))


def test_http_addon_comes_with_a_model_that_needs_it() -> None:
    """The add-on is installed where a request wakes a model, and nowhere else."""
    assert addons(synthesize(other_choices()))["keda-add-ons-http"] == {
        "Chart": "keda-add-ons-http",
        "Version": "0.15.0",
        "Namespace": "keda",
    }
    assert "keda-add-ons-http" not in addons(synthesize(load("dev")))


def test_requests_pass_the_interceptor() -> None:
    """Clients reach the interceptor, it reaches the models, and its scaler it."""
    found = policies(synthesize(other_choices()))
    clients, own = found["keda", "http-interceptor"]["ingress"]
    labels = [item["namespaceSelector"]["matchLabels"] for item in clients["from"]]
    assert labels == [
        {"kubernetes.io/metadata.name": "inference"},
        {"eks-inference/client": "true"},
    ]
    assert clients["ports"] == [{"protocol": "TCP", "port": 8080}]
    assert own["from"] == [{"podSelector": {}}]
    models = found["inference", "models"]["ingress"][0]["from"]
    keda = namespace("keda")
    assert keda in models
    default = policies(synthesize(load("dev")))
    assert keda not in default["inference", "models"]["ingress"][0]["from"]
    assert ("keda", "http-interceptor") not in default


def test_otel_scaler_comes_with_the_signal() -> None:
    """The add-on and its collector are installed where models are scaled by it."""
    assert addons(blind())["keda-otel-scaler"] == {
        "Chart": "otel-add-on",
        "Version": "v0.1.4",
        "Namespace": "keda",
    }
    assert "keda-otel-scaler" not in addons(synthesize(load("dev")))
    assert policies(blind())["keda", "otel-scaler"]["ingress"] == [
        {
            "from": [{"podSelector": {}}],
            "ports": [
                {"protocol": "TCP", "port": 4317},
                {"protocol": "TCP", "port": 4318},
            ],
        }
    ]
    triggers = of_kind(blind(), "ScaledObject")["mistral-7b"]["spec"]["triggers"]
    assert [item["type"] for item in triggers] == [
        "external",
        "external",
        "external",
        "kubernetes-workload",
    ]


def test_keda_reads_the_queue_of_a_model() -> None:
    """KEDA's role may read the length of the one queue that wakes a model."""
    platform = synthesize(other_choices())["Platform"]
    statements = [
        statement
        for item in platform["Resources"].values()
        if item["Type"] == "AWS::IAM::Policy"
        for statement in item["Properties"]["PolicyDocument"]["Statement"]
        if statement["Action"] == "sqs:GetQueueAttributes"
    ]
    assert [item["Resource"] for item in statements] == [
        "arn:aws:sqs:us-east-1:111122223333:jobs"
    ]


def test_settings_reach_the_model() -> None:
    """Display name and key of the settings are those of the pods."""
    main = container(synthesize(other_choices()), "office-hours")
    assert "--served-model-name=office/hours" in main["args"]
    [key] = [item for item in main["env"] if item["name"] == "VLLM_API_KEY"]
    assert key["valueFrom"]["secretKeyRef"]["name"] == "office-hours-clients"
