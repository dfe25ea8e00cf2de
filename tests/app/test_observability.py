"""What is seen, who is told, and that nobody else can look."""

import json
from dataclasses import replace
from typing import Any

import pytest

from eks_inference.dashboards import NODE_LABELS_ALLOWED, dashboards
from eks_inference.testing import as_text
from infra.observability import ALERTMANAGER_ACCOUNT, PROMETHEUS_ACCOUNT
from infra.settings import ObservabilitySettings, Settings
from infra.stages import load
from tests.app.conftest import Templates, objects, resources, synthesize

RELEASE = "Custom::AWSCDK-EKS-HelmChart"
ASSOCIATION = "AWS::EKS::PodIdentityAssociation"


def managed() -> Settings:
    """Return the default stage with everything that AWS manages."""
    return replace(
        load("dev"),
        observability=ObservabilitySettings(
            emails=("on-call@example.com",),
            managed_prometheus=True,
            managed_grafana=True,
        ),
    )


def values(templates: Templates, release: str) -> dict[str, Any]:
    """Return the values of a release of the platform."""
    [found] = [
        item
        for item in resources(templates["Platform"], RELEASE).values()
        if item["Release"] == release
    ]
    parsed: dict[str, Any] = json.loads(as_text(found["Values"]))
    return parsed


def accounts(templates: Templates) -> dict[str, list[dict[str, Any]]]:
    """Return what the roles of service accounts may do, by account."""
    platform = templates["Platform"]
    return {
        item["ServiceAccount"]: [
            statement
            for policy in platform["Resources"][item["RoleArn"]["Fn::GetAtt"][0]][
                "Properties"
            ].get("Policies", ())
            for statement in policy["PolicyDocument"]["Statement"]
        ]
        for item in resources(platform, ASSOCIATION).values()
    }


@pytest.fixture
def stack_values(templates: Templates) -> dict[str, Any]:
    """The values of the kube-prometheus-stack chart of each stage."""
    return values(templates, "kube-prometheus-stack")


def test_nothing_has_a_public_endpoint(templates: Templates) -> None:
    """No service that shows something is a load balancer or an ingress."""
    text = json.dumps([values(templates, name) for name in RELEASES])
    for word in ("LoadBalancer", "NodePort", "ingressClassName"):
        assert word not in text
    grafana = values(templates, "kube-prometheus-stack")["grafana"]
    assert grafana["service"] == {"type": "ClusterIP"}
    assert grafana["ingress"] == {"enabled": False}


RELEASES = ("kube-prometheus-stack", "dcgm-exporter", "keda", "karpenter")


def test_grafana_has_no_password(stack_values: dict[str, Any]) -> None:
    """Whoever may forward the port may look; nobody logs in, and no password exists."""
    grafana = stack_values["grafana"]
    assert "adminPassword" not in grafana
    config = grafana["grafana.ini"]
    assert config["security"] == {"disable_initial_admin_creation": True}
    assert config["auth"] == {"disable_login_form": True}
    assert config["auth.anonymous"] == {"enabled": True, "org_role": "Viewer"}


def test_retention_and_storage_are_stated(stack_values: dict[str, Any]) -> None:
    """Prometheus says how long it keeps, how much, and on what."""
    spec = stack_values["prometheus"]["prometheusSpec"]
    assert (spec["retention"], spec["retentionSize"]) == ("2d", "8GB")
    assert spec["storageSpec"] == {"emptyDir": {"sizeLimit": "10Gi"}}
    assert "remoteWrite" not in spec


def test_alarms_go_to_the_topic(templates: Templates) -> None:
    """Alertmanager publishes to the one topic, by Pod Identity and by nothing else."""
    config = values(templates, "kube-prometheus-stack")["alertmanager"]["config"]
    [receiver] = config["receivers"]
    [sns] = receiver["sns_configs"]
    assert config["route"]["receiver"] == receiver["name"]
    [topic] = resources(templates["Platform"], "AWS::SNS::Topic")
    assert sns["topic_arn"] == f"${{{topic}}}"
    assert sns["sigv4"].keys() == {"region"}
    statements = accounts(templates)[ALERTMANAGER_ACCOUNT]
    assert [item["Action"] for item in statements] == [
        "sns:Publish",
        ["kms:Decrypt", "kms:GenerateDataKey"],
    ]
    assert statements[0]["Resource"] == {"Ref": topic}


def test_critical_alert_silences_its_own_warning_alone(dev: Templates) -> None:
    """A warning is left out where the same alert of the same model is critical."""
    config = values(dev, "kube-prometheus-stack")["alertmanager"]["config"]
    of = ("alertname", "model")
    found = alert_labels(dev)
    found += [{**labels, "model": "another"} for labels in found if "model" in labels]
    pairs = {
        tuple(item.get(key) for item in (source, target) for key in of)
        for source in found
        for target in found
        if inhibits(config["inhibit_rules"], source, target)
    }
    both = ("InferenceBudgetBurn", "InferenceFailures", "InferenceQueue")
    models = ("another", load("dev").models[0].name)
    assert pairs == {(name, model, name, model) for name in both for model in models}


def alert_labels(templates: Templates) -> list[dict[str, str]]:
    """Return the labels of every alert of the rules, as Alertmanager gets them."""
    return [
        {"alertname": rule["alert"], **rule["labels"]}
        for item in objects(templates)
        if item["kind"] == "PrometheusRule"
        for group in item["spec"]["groups"]
        for rule in group["rules"]
    ]


def inhibits(
    rules: list[dict[str, Any]], source: dict[str, str], target: dict[str, str]
) -> bool:
    """Return whether Alertmanager leaves out one alert for another.

    A label that is missing is one without a value (prometheus.io, Alertmanager,
    configuration, inhibit_rule).
    """

    def matches(matchers: list[str], labels: dict[str, str]) -> bool:
        pairs = [matcher.split("=", 1) for matcher in matchers]
        return all(labels.get(name) == value.strip('"') for name, value in pairs)

    return any(
        matches(rule["source_matchers"], source)
        and matches(rule["target_matchers"], target)
        and all(source.get(name, "") == target.get(name, "") for name in rule["equal"])
        for rule in rules
    )


def test_topic_is_encrypted_and_takes_cloudwatchs_alarms(dev: Templates) -> None:
    """The topic has a key of ours, which CloudWatch may use for our alarms."""
    platform = dev["Platform"]
    [topic] = resources(platform, "AWS::SNS::Topic").values()
    [(key_id, key)] = resources(platform, "AWS::KMS::Key").items()
    assert topic["KmsMasterKeyId"] == {"Fn::GetAtt": [key_id, "Arn"]}
    assert key["EnableKeyRotation"] is True
    [allowed] = [
        item
        for item in key["KeyPolicy"]["Statement"]
        if item["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
    ]
    assert allowed["Condition"] == {
        "StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}
    }
    alarms = resources(platform, "AWS::CloudWatch::Alarm").values()
    assert len(alarms) == 3
    for alarm in alarms:
        [action] = alarm["AlarmActions"]
        assert action["Ref"] in resources(platform, "AWS::SNS::Topic")


def test_addresses_are_subscribed() -> None:
    """Each address of the settings gets what the topic gets."""
    found = resources(synthesize(managed())["Platform"], "AWS::SNS::Subscription")
    assert [(item["Protocol"], item["Endpoint"]) for item in found.values()] == [
        ("email", "on-call@example.com")
    ]
    assert not resources(synthesize(load("dev"))["Platform"], "AWS::SNS::Subscription")


def test_metrics_can_be_kept_by_aws() -> None:
    """Prometheus writes to the workspace, and its role may do that and nothing else."""
    templates = synthesize(managed())
    [workspace] = resources(templates["Platform"], "AWS::APS::Workspace")
    spec = values(templates, "kube-prometheus-stack")["prometheus"]["prometheusSpec"]
    [target] = spec["remoteWrite"]
    assert target["url"] == f"${{{workspace}.PrometheusEndpoint}}api/v1/remote_write"
    [relabelling] = target["writeRelabelConfigs"]
    assert relabelling["action"] == "keep"
    assert "vllm:.+" in relabelling["regex"].split("|")
    [statement] = accounts(templates)[PROMETHEUS_ACCOUNT]
    assert statement["Action"] == "aps:RemoteWrite"
    assert statement["Resource"] == {"Fn::GetAtt": [workspace, "Arn"]}


def test_grafana_of_aws_reads_the_workspace() -> None:
    """Amazon Managed Grafana may query the one workspace, for users of one account."""
    platform = synthesize(managed())["Platform"]
    [grafana] = resources(platform, "AWS::Grafana::Workspace").values()
    role = platform["Resources"][grafana["RoleArn"]["Fn::GetAtt"][0]]["Properties"]
    [policy] = role["Policies"]
    [statement] = policy["PolicyDocument"]["Statement"]
    [workspace] = resources(platform, "AWS::APS::Workspace")
    assert statement["Resource"] == {"Fn::GetAtt": [workspace, "Arn"]}
    assert all(action.startswith("aps:") for action in statement["Action"])
    assert grafana["AccountAccessType"] == "CURRENT_ACCOUNT"


def test_dashboards_are_installed(dev: Templates) -> None:
    """Each dashboard is in a ConfigMap that Grafana's sidecar finds."""
    found = {
        name: item["metadata"]["labels"]
        for item in objects(dev)
        if item["kind"] == "ConfigMap"
        for name in item["data"]
    }
    assert found.keys() == {item.file_name for item in dashboards()}
    assert set(map(str, found.values())) == {"{'grafana_dashboard': '1'}"}
    without = replace(
        load("dev"), observability=ObservabilitySettings(dashboards=False)
    )
    kinds = {item["kind"] for item in objects(synthesize(without))}
    assert "ConfigMap" not in kinds


def test_what_dashboards_ask_for_is_scraped(templates: Templates) -> None:
    """Nodes' labels, KEDA, Karpenter and GPUs are scraped as the queries need them."""
    state = values(templates, "kube-prometheus-stack")["kube-state-metrics"]
    [labels] = state["metricLabelsAllowlist"]
    assert labels == f"nodes=[{','.join(NODE_LABELS_ALLOWED)}]"
    keda = values(templates, "keda")["prometheus"]["operator"]
    assert keda["enabled"] is keda["podMonitor"]["enabled"] is True
    assert values(templates, "karpenter")["serviceMonitor"] == {"enabled": True}
    gpus = values(templates, "dcgm-exporter")
    assert gpus["serviceMonitor"]["enabled"] is True
    spec = values(templates, "kube-prometheus-stack")["prometheus"]["prometheusSpec"]
    for kind in ("podMonitor", "serviceMonitor", "rule"):
        assert spec[f"{kind}SelectorNilUsesHelmValues"] is False


def test_gpus_are_measured_on_gpu_nodes_alone(dev: Templates) -> None:
    """The exporter tolerates the taint, selects GPU nodes, and sees all GPUs."""
    gpus = values(dev, "dcgm-exporter")
    assert gpus["nodeSelector"] == {
        "karpenter.k8s.aws/instance-gpu-manufacturer": "nvidia"
    }
    assert gpus["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists"}]
    [mount] = gpus["extraVolumeMounts"]
    assert mount["mountPath"] == "/var/run/nvidia-container-devices/all"
    [volume] = gpus["extraHostVolumes"]
    assert volume["name"] == mount["name"]
