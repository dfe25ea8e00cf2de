"""Alarms of CloudWatch for what Prometheus cannot see: control plane and queue."""

from collections.abc import Sequence
from typing import Any

from aws_cdk import aws_cloudwatch as cloudwatch
from constructs import Construct

from eks_inference._check import Problems

_PERIOD_SECONDS = 300

_FAILED_SHARE = 0.05
"""Share of requests that the API server fails. A healthy one fails next to none; a
controller that loops on an error moves it by less. Assumed, not measured."""

_PENDING_PERIODS = 6
"""Half an hour: longer than any cold start that has been measured (docs/cold-start.md),
so that what is pending then waits for something that does not come."""

_AGE_SECONDS = 60
"""Age of the oldest interruption that Karpenter has not read. It reads all the time,
and of a spot notice of two minutes half is gone then."""


class ClusterAlarms(Construct):
    """Alarms on a cluster's control plane, and on the queue that Karpenter reads.

    For who watches CloudWatch, and for what Prometheus in the cluster is no witness of:
    an API server that fails takes the scrapes with it. EKS publishes the metrics for
    every cluster from version 1.28 on, each minute and without a price (Amazon EKS user
    guide, *Monitor cluster data with Amazon CloudWatch*).

    * ``ApiServerFailures``: more than 5 % of the API server's answers are 5xx, for a
      quarter of an hour.
    * ``PodsPending``: pods could not be scheduled for half an hour.
    * ``InterruptionsUnread``: an interruption is older than a minute, so that nodes end
      without a drain.

    Args:
        cluster_name: Name of the cluster; may be a token.
        interruption_queue_name: Name of the SQS queue that Karpenter reads; may be a
            token. Default: none, and no alarm for it.
        alarm_actions: ARNs of what is told, such as SNS topics; may be tokens. They are
            told of the end of an alarm too. Default: nobody.

    Raises:
        ConfigurationError: Values break rules; all of them are named, and nothing was
            defined.

    Example:
        ```python
        ClusterAlarms(
            stack,
            "Alarms",
            cluster_name="platform",
            interruption_queue_name="platform-interruptions",
            alarm_actions=["arn:aws:sns:eu-central-1:111122223333:on-call"],
        )
        ```
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        cluster_name: str,
        interruption_queue_name: str | None = None,
        alarm_actions: Sequence[str] = (),
    ) -> None:
        with Problems(f"alarms {id!r}") as problems:
            problems.text("cluster_name", cluster_name)
            if interruption_queue_name is not None:
                problems.text("interruption_queue_name", interruption_queue_name)
            if problems.sequence("alarm_actions", alarm_actions):
                for arn in alarm_actions:
                    problems.matches(
                        "alarm_actions",
                        arn,
                        r"arn:\S+|\S*\$\{Token\[\S+\]\}\S*",
                        rule="ARNs",
                        repair="for example that of an SNS topic",
                    )
        super().__init__(scope, id)
        self._alarms = [
            cloudwatch.CfnAlarm(
                self,
                name,
                alarm_actions=list(alarm_actions),
                ok_actions=list(alarm_actions),
                **properties,
            )
            for name, properties in [
                *_of_cluster(cluster_name),
                *_of_queue(interruption_queue_name),
            ]
        ]

    @property
    def alarms(self) -> Sequence[cloudwatch.CfnAlarm]:
        """The alarms, to change or to add to a dashboard."""
        return tuple(self._alarms)


def _of_cluster(cluster_name: str) -> list[tuple[str, dict[str, Any]]]:
    dimensions = [{"name": "ClusterName", "value": cluster_name}]
    return [
        _alarm(
            "ApiServerFailures",
            "The API server fails more than 5 % of its requests",
            periods=3,
            threshold=_FAILED_SHARE,
            metrics=_failed_share(dimensions),
        ),
        _alarm(
            "PodsPending",
            "Pods could not be scheduled for half an hour",
            periods=_PENDING_PERIODS,
            threshold=0,
            namespace="AWS/EKS",
            metric_name="scheduler_pending_pods_UNSCHEDULABLE",
            dimensions=dimensions,
            period=_PERIOD_SECONDS,
            statistic="Minimum",
        ),
    ]


def _of_queue(queue_name: str | None) -> list[tuple[str, dict[str, Any]]]:
    if queue_name is None:
        return []
    return [
        _alarm(
            "InterruptionsUnread",
            "Karpenter does not read what EC2 says of interruptions",
            periods=3,
            threshold=_AGE_SECONDS,
            namespace="AWS/SQS",
            metric_name="ApproximateAgeOfOldestMessage",
            dimensions=[{"name": "QueueName", "value": queue_name}],
            period=60,
            statistic="Maximum",
        )
    ]


def _failed_share(dimensions: list[dict[str, str]]) -> list[dict[str, Any]]:
    def sum_of(id: str, name: str) -> dict[str, Any]:
        return {
            "id": id,
            "returnData": False,
            "metricStat": {
                "metric": {
                    "namespace": "AWS/EKS",
                    "metricName": name,
                    "dimensions": dimensions,
                },
                "period": _PERIOD_SECONDS,
                "stat": "Sum",
            },
        }

    return [
        {"id": "share", "expression": "failed / IF(all > 0, all, 1)"},
        sum_of("failed", "apiserver_request_total_5XX"),
        sum_of("all", "apiserver_request_total"),
    ]


def _alarm(
    name: str, description: str, *, periods: int, threshold: float, **metric: Any
) -> tuple[str, dict[str, Any]]:
    return name, {
        "alarm_description": description,
        "comparison_operator": "GreaterThanThreshold",
        "evaluation_periods": periods,
        "threshold": threshold,
        # a metric that is not published says nothing of what it measures
        "treat_missing_data": "notBreaching",
        **metric,
    }
