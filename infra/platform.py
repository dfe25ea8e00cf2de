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
from eks_inference.manifests.alert_rules_cluster import cluster_rule
from eks_inference.manifests.otel_scaler import OTEL_SCALER_RELEASE, otel_scaler_values
from eks_inference.node_drain import node_drain, node_drain_log
from eks_inference.signal import OtelScalerSignal
from infra.cluster import SYSTEM_TAINT, ClusterStack
from infra.identity import karpenter_statements
from infra.observability import Observability, gpu_telemetry_values
from infra.settings import SIGNALS, Settings
from infra.stack import PlatformStack, platform_tags
from infra.versions import (
    DCGM_EXPORTER_CHART,
    KARPENTER_CHART,
    KEDA_CHART,
    KEDA_HTTP_CHART,
    OTEL_SCALER_CHART,
    PROMETHEUS_CHART,
    SUPPORTED,
)
from k8s.karpenter import SYSTEM_POOL, system_pool_chart
from k8s.keda import KEDA_NAMESPACE
from k8s.monitoring import (
    GPU_TELEMETRY_NAMESPACE,
    MONITORING_NAMESPACE,
    PROMETHEUS_RELEASE,
    monitoring_chart,
)
from k8s.platform import platform_chart
from k8s.vllm import INFERENCE_NAMESPACE

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
            "Namespaces",
            platform_chart(
                vpc_cidr=settings.network.cidr,
                http_addon=any(model.on_request for model in settings.models),
                otel_scaler=settings.signal == "otel-scaler",
            ),
        )
        queue = self.interruptions = self._interruption_queue()
        self.observability = Observability(
            self,
            "Observability",
            settings=settings,
            cluster=cluster.cluster,
            interruption_queue_name=queue.queue_name,
            removal_policy=self.removal_policy,
        )
        # first: the charts after it bring monitors, whose CRDs it has
        prometheus = self._prometheus(namespaces)
        self._gpu_telemetry(prometheus)
        self._apply(
            "Monitoring",
            monitoring_chart(
                rules=[cluster_rule(namespace=MONITORING_NAMESPACE)],
                shown=settings.observability.dashboards,
            ),
            after=[prometheus],
        )
        self._system_pool(after=self._karpenter(prometheus))
        keda = self._keda(prometheus)
        if any(model.on_request for model in settings.models):
            self._http_addon(keda)
        signal = SIGNALS[settings.signal]
        if isinstance(signal, OtelScalerSignal):
            self._otel_scaler(signal, keda)

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

    def _karpenter(self, prometheus: IDependable) -> eks.HelmChart:
        queue = self.interruptions
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
                "serviceMonitor": {"enabled": True},
                "controller": {
                    "resources": {
                        "requests": {"cpu": "500m", "memory": "1Gi"},
                        "limits": {"memory": "1Gi"},
                    }
                },
            },
            after=[crds, role, prometheus],
        )

    def _system_pool(self, after: IDependable) -> None:
        cluster = self._cluster
        profile = cluster.node_profile.instance_profile_name
        group = cluster.cluster.cluster_security_group_id
        drain = node_drain(
            self,
            "SystemPoolDrain",
            cluster_name=cluster.cluster.cluster_name,
            node_pool=SYSTEM_POOL,
            needs=[profile, group],
        )
        drain.node.add_dependency(after)
        node_drain_log(self).apply_removal_policy(self.removal_policy)
        self._apply(
            "SystemPool",
            system_pool_chart(
                cluster_name=self._settings.cluster_name,
                ami_alias=SUPPORTED[self._settings.kubernetes_version].ami_alias,
                instance_profile=profile,
                security_group_id=group,
                tags=platform_tags(self._settings),
            ),
            after=[drain],
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

    def _keda(self, prometheus: IDependable) -> eks.HelmChart:
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
                "prometheus": {
                    "operator": {
                        "enabled": True,
                        "podMonitor": {"enabled": True, "interval": "15s"},
                    }
                },
            },
            after=[prometheus, self.keda_role],
        )

    def _http_addon(self, keda: IDependable) -> eks.HelmChart:
        return self._chart(
            "KedaHttp",
            repository="https://kedacore.github.io/charts",
            version=KEDA_HTTP_CHART,
            # the library asks for Services of this release's names
            release="keda-add-ons-http",
            namespace=KEDA_NAMESPACE,
            values={
                "interceptor": {
                    # one can go with its zone; the chart's own limit of 64Mi is less
                    # than a few held prompts need (sizes assumed, not measured)
                    "replicas": {"min": 2, "max": 10},
                    "resources": {
                        "requests": {"cpu": "100m", "memory": "128Mi"},
                        "limits": {"memory": "512Mi"},
                    },
                    "tolerations": _ON_SYSTEM_NODES,
                },
                "scaler": {"replicas": 2, "tolerations": _ON_SYSTEM_NODES},
                "operator": {"tolerations": _ON_SYSTEM_NODES},
            },
            after=[keda],
        )

    def _otel_scaler(
        self, signal: OtelScalerSignal, keda: IDependable
    ) -> eks.HelmChart:
        return self._chart(
            "OtelScaler",
            repository="oci://ghcr.io/kedify/charts/otel-add-on",
            chart="otel-add-on",
            version=OTEL_SCALER_CHART,
            release=OTEL_SCALER_RELEASE,
            namespace=KEDA_NAMESPACE,
            values=otel_scaler_values(signal, namespaces=[INFERENCE_NAMESPACE]),
            after=[keda],
        )

    def _prometheus(self, namespaces: IDependable) -> eks.HelmChart:
        return self._chart(
            "Prometheus",
            repository="https://prometheus-community.github.io/helm-charts",
            chart="kube-prometheus-stack",
            version=PROMETHEUS_CHART,
            # the release's name is part of the address that KEDA asks
            release=PROMETHEUS_RELEASE,
            namespace=MONITORING_NAMESPACE,
            values=self.observability.prometheus_values(tolerations=_ON_SYSTEM_NODES),
            after=[namespaces, *self.observability.roles],
        )

    def _gpu_telemetry(self, prometheus: IDependable) -> eks.HelmChart:
        return self._chart(
            "GpuTelemetry",
            repository="https://nvidia.github.io/dcgm-exporter/helm-charts",
            version=DCGM_EXPORTER_CHART,
            release="dcgm-exporter",
            namespace=GPU_TELEMETRY_NAMESPACE,
            values=gpu_telemetry_values(),
            after=[prometheus],
        )
