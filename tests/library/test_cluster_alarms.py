"""Tests of the alarms of CloudWatch."""

from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk.assertions import Template

from eks_inference import ClusterAlarms

TOPIC = "arn:aws:sns:eu-central-1:111122223333:on-call"


@pytest.fixture
def stack() -> cdk.Stack:
    """An empty stack of an app that this test alone synthesizes."""
    return cdk.Stack(cdk.App(analytics_reporting=False), "Stack")


def alarms(stack: cdk.Stack, **values: Any) -> dict[str, dict[str, Any]]:
    """Return the properties of the alarms, by what their description begins with."""
    ClusterAlarms(stack, "Alarms", cluster_name="platform", **values)
    found = Template.from_stack(stack).find_resources("AWS::CloudWatch::Alarm")
    return {
        properties["AlarmDescription"].split(maxsplit=2)[1]: properties
        for properties in (item["Properties"] for item in found.values())
    }


def test_control_plane_and_queue_are_watched(stack: cdk.Stack) -> None:
    """The API server, what cannot be scheduled and the queue have an alarm each."""
    found = alarms(stack, interruption_queue_name="interruptions")
    assert found.keys() == {"API", "could", "does"}
    pending, unread = found["could"], found["does"]
    assert (pending["Namespace"], pending["MetricName"]) == (
        "AWS/EKS",
        "scheduler_pending_pods_UNSCHEDULABLE",
    )
    assert pending["Dimensions"] == [{"Name": "ClusterName", "Value": "platform"}]
    # half an hour of nothing but pending pods
    assert pending["Period"] * pending["EvaluationPeriods"] == 1_800
    assert (pending["Statistic"], pending["Threshold"]) == ("Minimum", 0)
    assert (unread["Namespace"], unread["MetricName"]) == (
        "AWS/SQS",
        "ApproximateAgeOfOldestMessage",
    )
    assert unread["Dimensions"] == [{"Name": "QueueName", "Value": "interruptions"}]


def test_failures_are_a_share_that_no_request_makes_zero(stack: cdk.Stack) -> None:
    """The share of failed requests divides by one where there was none."""
    metrics = alarms(stack)["API"]["Metrics"]
    [share] = [item for item in metrics if "Expression" in item]
    assert share["Expression"] == "failed / IF(all > 0, all, 1)"
    names = {
        item["Id"]: item["MetricStat"]["Metric"]["MetricName"]
        for item in metrics
        if "MetricStat" in item
    }
    assert names == {
        "failed": "apiserver_request_total_5XX",
        "all": "apiserver_request_total",
    }
    assert [item["Id"] for item in metrics if item.get("ReturnData", True)] == ["share"]


def test_begin_and_end_are_told(stack: cdk.Stack) -> None:
    """Whoever is told of an alarm is told of its end, and silence is no alarm."""
    for alarm in alarms(stack, alarm_actions=[TOPIC]).values():
        assert alarm["AlarmActions"] == alarm["OKActions"] == [TOPIC]
        assert alarm["TreatMissingData"] == "notBreaching"


def test_without_a_queue_there_is_no_alarm_for_it(stack: cdk.Stack) -> None:
    """A cluster without Karpenter's queue has the alarms of its control plane."""
    assert alarms(stack).keys() == {"API", "could"}


def test_alarms_can_be_reached(stack: cdk.Stack) -> None:
    """The alarms are there to be changed, in their order."""
    made = ClusterAlarms(stack, "Alarms", cluster_name="platform")
    assert [item.node.id for item in made.alarms] == [
        "ApiServerFailures",
        "PodsPending",
    ]
