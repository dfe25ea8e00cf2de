"""What runs on the cluster once: Karpenter, KEDA, Prometheus, and their objects."""

from typing import Any, cast

import aws_cdk as cdk
from aws_cdk import aws_eks_v2 as eks
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sqs as sqs
from constructs import Construct, IDependable

from eks_inference import PodIdentityRole
from eks_inference._cluster import apply
from eks_inference.manifests import Manifest
from infra.cluster import SYSTEM_TAINT, ClusterStack
from infra.identity import karpenter_statements
from infra.settings import Settings
from infra.stack import PlatformStack, platform_tags
from infra.versions import KARPENTER_CHART, KEDA_CHART, PROMETHEUS_CHART, SUPPORTED
from k8s.karpenter import system_pool_chart
from k8s.keda import KEDA_NAMESPACE, trigger_authentication_chart
from k8s.monitoring import MONITORING_NAMESPACE, PROMETHEUS_RELEASE
from k8s.platform import platform_chart

_KARPENTER_NAMESPACE = "kube-system"
_KARPENTER = "karpenter"
_KEDA_OPERATOR = "keda-operator"
_ON_SYSTEM_NODES = [{"key": SYSTEM_TAINT, "operator": "Exists"}]
_CRITICAL = "system-cluster-critical"
_CHART_TIMEOUT_MINUTES = 14
"""CDK's handler ends after 15 minutes whatever a chart still waits for."""

_INTERRUPTIONS = {
    "ScheduledChange": ("aws.health", "AWS Health Event"),
    "SpotInterruption": ("aws.ec2", "EC2 Spot Instance Interruption Warning"),
    "Rebalance": ("aws.ec2", "EC2 Instance Rebalance Recommendation"),
    "StateChange": ("aws.ec2", "EC2 Instance State-change Notification"),
    "CapacityReservation": (
        "aws.ec2",
        "EC2 Capacity Reservation Instance Interruption Warning",
    ),
}
"""Events that Karpenter acts on, as its own template (v1.14) names them."""


class PlatformReleasesStack(PlatformStack):
    """Controllers of a stage."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        settings: Settings,
        cluster: ClusterStack,
    ) -> None:
        super().__init__(
            scope,
            id,
            settings=settings,
            description="LLM inference: Karpenter, KEDA, Prometheus",
        )
        self._settings = settings
        self._cluster = cluster
        # roles and queue outlive the controllers that use them
        self.add_stack_dependency(cluster)
        namespaces = self._apply(
            "Namespaces", platform_chart(vpc_cidr=settings.network.cidr)
        )
        karpenter = self._karpenter()
        self._apply(
            "SystemPool",
            system_pool_chart(
                cluster_name=settings.cluster_name,
                ami_alias=SUPPORTED[settings.kubernetes_version].ami_alias,
                instance_profile=cluster.node_profile.instance_profile_name,
                security_group_id=cluster.cluster.cluster_security_group_id,
                tags=platform_tags(settings),
            ),
            after=[karpenter],
        )
        keda = self._keda(namespaces)
        self._apply(
            "TriggerAuthentication",
            trigger_authentication_chart(),
            after=[keda, namespaces],
        )
        self._prometheus(namespaces)

    def _apply(
        self, id: str, manifests: list[Manifest], after: list[IDependable] | None = None
    ) -> Construct:
        return apply(
            self,
            id,
            cluster=self._cluster.cluster,
            manifests=manifests,
            after=after or [],
        )

    def _chart(
        self,
        id: str,
        *,
        repository: str,
        chart: str | None = None,
        version: str,
        release: str,
        namespace: str,
        values: dict[str, Any],
        after: list[IDependable],
    ) -> eks.HelmChart:
        helm = eks.HelmChart(
            self,
            id,
            cluster=cast("eks.ICluster", self._cluster.cluster),
            repository=repository,
            chart=chart or release,
            version=version,
            release=release,
            namespace=namespace,
            create_namespace=False,
            values=values,
            # what is defined after it needs its CRDs and webhooks to answer
            wait=True,
            timeout=cdk.Duration.minutes(_CHART_TIMEOUT_MINUTES),
        )
        if after:
            helm.node.add_dependency(*after)
        return helm

    def _karpenter(self) -> eks.HelmChart:
        queue = self.interruptions = self._interruption_queue()
        role = self.karpenter_role = PodIdentityRole(
            self,
            "KarpenterRole",
            cluster=self._cluster.cluster,
            namespace=_KARPENTER_NAMESPACE,
            service_account=_KARPENTER,
            statements=karpenter_statements(
                self,
                cluster_name=self._settings.cluster_name,
                node_role_arn=self._cluster.node_role.role_arn,
                queue_arn=queue.queue_arn,
            ),
        )
        # Helm never upgrades the CRDs of a chart, so they are a release of their own
        crds = self._chart(
            "KarpenterCrds",
            repository="oci://public.ecr.aws/karpenter/karpenter-crd",
            version=KARPENTER_CHART,
            release="karpenter-crd",
            namespace=_KARPENTER_NAMESPACE,
            values={},
            after=[],
        )
        return self._chart(
            "Karpenter",
            repository="oci://public.ecr.aws/karpenter/karpenter",
            version=KARPENTER_CHART,
            release=_KARPENTER,
            namespace=_KARPENTER_NAMESPACE,
            values={
                "settings": {
                    "clusterName": self._settings.cluster_name,
                    "interruptionQueue": queue.queue_name,
                },
                "serviceAccount": {"name": _KARPENTER},
                "controller": {
                    "resources": {
                        "requests": {"cpu": "500m", "memory": "1Gi"},
                        "limits": {"memory": "1Gi"},
                    }
                },
            },
            after=[crds, role],
        )

    def _interruption_queue(self) -> sqs.Queue:
        queue = sqs.Queue(
            self,
            "Interruptions",
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            # an event is worth nothing after the instance is gone
            retention_period=cdk.Duration.minutes(5),
        )
        queue.add_to_resource_policy(
            iam.PolicyStatement(
                principals=[iam.ServicePrincipal("events.amazonaws.com")],
                actions=["sqs:SendMessage"],
                resources=[queue.queue_arn],
                conditions={"StringEquals": {"aws:SourceAccount": self.account}},
            )
        )
        for name, (source, detail_type) in _INTERRUPTIONS.items():
            events.CfnRule(
                self,
                name,
                description=f"{detail_type}, for Karpenter",
                event_pattern={"source": [source], "detail-type": [detail_type]},
                targets=[
                    events.CfnRule.TargetProperty(id="Karpenter", arn=queue.queue_arn)
                ],
            )
        return queue

    def _keda(self, namespaces: IDependable) -> eks.HelmChart:
        # no policy: a trigger that asks AWS grants what it needs to this role
        self.keda_role = PodIdentityRole(
            self,
            "KedaRole",
            cluster=self._cluster.cluster,
            namespace=KEDA_NAMESPACE,
            service_account=_KEDA_OPERATOR,
        )
        return self._chart(
            "Keda",
            repository="https://kedacore.github.io/charts",
            version=KEDA_CHART,
            release="keda",
            namespace=KEDA_NAMESPACE,
            values={
                "operator": {"name": _KEDA_OPERATOR, "replicaCount": 2},
                "serviceAccount": {"operator": {"name": _KEDA_OPERATOR}},
                "podDisruptionBudget": {"operator": {"maxUnavailable": 1}},
                "tolerations": _ON_SYSTEM_NODES,
                "priorityClassName": _CRITICAL,
            },
            after=[namespaces, self.keda_role],
        )

    def _prometheus(self, namespaces: IDependable) -> eks.HelmChart:
        off = {"enabled": False}
        all_namespaces = {
            f"{kind}SelectorNilUsesHelmValues": False
            for kind in ("podMonitor", "serviceMonitor", "rule")
        }
        return self._chart(
            "Prometheus",
            repository="https://prometheus-community.github.io/helm-charts",
            chart="kube-prometheus-stack",
            version=PROMETHEUS_CHART,
            # the release's name is part of the address that KEDA asks
            release=PROMETHEUS_RELEASE,
            namespace=MONITORING_NAMESPACE,
            values={
                "alertmanager": off,
                "grafana": off,
                "defaultRules": {"create": False},
                "kubeStateMetrics": off,
                "nodeExporter": off,
                # EKS runs these where nothing can scrape them
                "kubeControllerManager": off,
                "kubeEtcd": off,
                "kubeProxy": off,
                "kubeScheduler": off,
                "prometheus": {
                    "prometheusSpec": {
                        **all_namespaces,
                        # scaling needs minutes; what is lost with the pod is history
                        "retention": "2d",
                        "resources": {
                            "requests": {"cpu": "200m", "memory": "1Gi"},
                            "limits": {"memory": "2Gi"},
                        },
                        "tolerations": _ON_SYSTEM_NODES,
                        "priorityClassName": _CRITICAL,
                    }
                },
                "prometheusOperator": {
                    "tolerations": _ON_SYSTEM_NODES,
                    # jobs that would otherwise wait for a node for ever
                    "admissionWebhooks": {"patch": {"tolerations": _ON_SYSTEM_NODES}},
                },
            },
            after=[namespaces],
        )
