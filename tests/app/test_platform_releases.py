"""Releases and events of the controllers: Karpenter, KEDA, Prometheus."""

import json
import re
from collections.abc import Mapping
from typing import Any

from eks_inference.signal import IN_CLUSTER_PROMETHEUS
from eks_inference.testing import as_text
from infra.versions import KARPENTER_CHART, KEDA_CHART
from tests.app.conftest import (
    RELEASE_TYPE,
    Templates,
    of_kind,
    only,
    resources,
    statements,
)
from tests.app.questions import exported


def test_karpenter_and_its_crds_are_one_version(templates: Templates) -> None:
    """Both charts of Karpenter have the pinned version, from its own registry."""
    for name in ("karpenter-crd", "karpenter"):
        chart = release(templates, name)
        assert chart["Version"] == KARPENTER_CHART == "1.14.1"
        assert chart["Repository"] == f"oci://public.ecr.aws/karpenter/{name}"
        assert chart["Namespace"] == "kube-system"


def test_crds_of_karpenter_are_upgraded_first(templates: Templates) -> None:
    """Karpenter's CRDs are a release of their own, which Karpenter waits for."""
    found = {
        resource["Properties"]["Release"]: (logical_id, resource.get("DependsOn", []))
        for logical_id, resource in templates["Platform"]["Resources"].items()
        if resource["Type"] == RELEASE_TYPE
    }
    crds, after_nothing_of_ours = found["karpenter-crd"]
    _, needed = found["karpenter"]
    assert crds in needed
    assert not {other for other, _ in found.values()} & set(after_nothing_of_ours)


def test_crds_of_keda_are_upgraded_with_it(templates: Templates) -> None:
    """KEDA's CRDs are templates of its chart, which no value takes out."""
    assert "crds" not in values(release(templates, "keda"))


def test_crds_of_prometheus_are_upgraded_with_it(templates: Templates) -> None:
    """The chart upgrades its CRDs first, though Helm owns them, from pinned images."""
    job = values(release(templates, "kube-prometheus-stack"))["crds"]["upgradeJob"]
    assert job["enabled"] is job["forceConflicts"] is True
    # no other image is chosen: that of kubectl has the version of the control plane
    [(name, image)] = job["image"].items()
    assert name == "busybox"
    assert re.fullmatch(r"\d+\.\d+\.\d+", image["tag"])
    assert image["registry"] == "public.ecr.aws"


def test_karpenter_hears_of_interruptions(templates: Templates) -> None:
    """Karpenter reads the queue that five rules fill, each with its exact event."""
    platform = templates["Platform"]
    [queue] = resources(platform, "AWS::SQS::Queue")
    rules = resources(platform, "AWS::Events::Rule").values()
    events = {
        (*rule["EventPattern"]["source"], *rule["EventPattern"]["detail-type"])
        for rule in rules
    }
    targets = [target["Arn"] for rule in rules for target in rule["Targets"]]
    settings = values(release(templates, "karpenter"))["settings"]
    assert settings["interruptionQueue"] == f"${{{queue}.QueueName}}"
    assert targets == [{"Fn::GetAtt": [queue, "Arn"]}] * 5
    assert events == {
        ("aws.health", "AWS Health Event"),
        ("aws.ec2", "EC2 Spot Instance Interruption Warning"),
        ("aws.ec2", "EC2 Instance Rebalance Recommendation"),
        ("aws.ec2", "EC2 Instance State-change Notification"),
        ("aws.ec2", "EC2 Capacity Reservation Instance Interruption Warning"),
    }


def test_queue_admits_events_of_this_account(templates: Templates) -> None:
    """EventBridge may write to the queue for this account, and nobody without TLS."""
    platform = templates["Platform"]
    [(queue, properties)] = resources(platform, "AWS::SQS::Queue").items()
    policy = only(platform, "AWS::SQS::QueuePolicy")
    insecure, events = statements(policy["PolicyDocument"])
    assert properties["SqsManagedSseEnabled"] is True
    assert policy["Queues"] == [{"Ref": queue}]
    assert insecure["Effect"] == ["Deny"]
    assert insecure["Condition"] == [{"Bool": {"aws:SecureTransport": "false"}}]
    assert events["Effect"] == ["Allow"]
    assert events["Principal"] == [{"Service": "events.amazonaws.com"}]
    assert events["Action"] == ["sqs:SendMessage"]
    account = {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}
    assert events["Condition"] == [{"StringEquals": account}]


def test_karpenter_hands_over_the_node_role_only(templates: Templates) -> None:
    """Karpenter can give instances the nodes' role and no other."""
    [allowed] = [
        statement
        for role in resources(templates["Platform"], "AWS::IAM::Role").values()
        for policy in role.get("Policies", ())
        for statement in statements(policy["PolicyDocument"])
        if "iam:PassRole" in statement["Action"]
    ]
    [profile] = only(templates["Cluster"], "AWS::IAM::InstanceProfile")["Roles"]
    role = exported(templates["Cluster"], [f"{profile['Ref']}.Arn"])
    assert [as_text(item) for item in allowed["Resource"]] == role


def test_keda_is_found_by_its_names(templates: Templates) -> None:
    """KEDA has the pinned version, and its operator the account that has a role."""
    chart = release(templates, "keda")
    assert (chart["Version"], chart["Namespace"]) == (KEDA_CHART, "keda")
    account = values(chart)["serviceAccount"]["operator"]["name"]
    associations = resources(
        templates["Platform"], "AWS::EKS::PodIdentityAssociation"
    ).values()
    assert ("keda", account) in {
        (item["Namespace"], item["ServiceAccount"]) for item in associations
    }


def test_prometheus_is_where_keda_asks(templates: Templates) -> None:
    """Release and namespace of Prometheus make the address of the models' signal."""
    chart = release(templates, "kube-prometheus-stack")
    address = f"http://{chart['Release']}-prometheus.{chart['Namespace']}.svc:9090"
    assert address == IN_CLUSTER_PROMETHEUS
    for scaler in of_kind(templates, "ScaledObject").values():
        for trigger in scaler["spec"]["triggers"]:
            assert trigger["metadata"]["serverAddress"] == address


def test_prometheus_scrapes_every_namespace(templates: Templates) -> None:
    """A monitor needs no label of the release to be found."""
    spec = values(release(templates, "kube-prometheus-stack"))["prometheus"]
    assert spec["prometheusSpec"]["podMonitorSelectorNilUsesHelmValues"] is False


def test_controllers_run_on_the_system_nodes(templates: Templates) -> None:
    """What must run before Karpenter has made a node tolerates the system nodes."""
    tolerated = [{"key": "CriticalAddonsOnly", "operator": "Exists"}]
    keda = values(release(templates, "keda"))
    stack = values(release(templates, "kube-prometheus-stack"))
    operator = stack["prometheusOperator"]
    assert keda["tolerations"] == tolerated
    assert stack["prometheus"]["prometheusSpec"]["tolerations"] == tolerated
    assert operator["tolerations"] == tolerated
    assert operator["admissionWebhooks"]["patch"]["tolerations"] == tolerated
    # the release waits for this job, and the system nodes are the only ones so far
    assert stack["crds"]["upgradeJob"]["tolerations"] == tolerated


def release(templates: Templates, name: str) -> dict[str, Any]:
    """Return the properties of a Helm release."""
    [found] = [
        item
        for item in resources(templates["Platform"], RELEASE_TYPE).values()
        if item["Release"] == name
    ]
    return dict(found)


def values(chart: Mapping[str, Any]) -> Any:
    """Return the values of a release."""
    return json.loads(as_text(chart["Values"]))
