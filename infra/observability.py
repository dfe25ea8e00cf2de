"""What is seen of a stage, and who is told: roles, topic, and values of the charts.

Prometheus' own store holds what scaling and a look at yesterday need; what must be kept
goes to Amazon Managed Prometheus. Nothing has a public endpoint: Grafana is reached
with ``kubectl port-forward``, which the cluster's access entries guard, and has no
password.
"""

from typing import Any

from aws_cdk import RemovalPolicy, Stack
from aws_cdk import aws_aps as aps
from aws_cdk import aws_grafana as grafana
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct

from eks_inference import ClusterAlarms, PodIdentityRole
from eks_inference._cluster import AnyCluster
from eks_inference.dashboards import NODE_LABELS_ALLOWED
from eks_inference.manifests import NVIDIA_GPU, Manifest
from infra.settings import Settings
from k8s.monitoring import MONITORING_NAMESPACE

PROMETHEUS_ACCOUNT = "kube-prometheus-stack-prometheus"
ALERTMANAGER_ACCOUNT = "kube-prometheus-stack-alertmanager"
"""Service accounts, as the chart calls them after its release."""

_RETENTION = "2d"
_STORE_GB = 8
"""Two days of a cluster with some hundred pods, scraped every 5 to 30 s. Assumed, not
measured; Prometheus drops its oldest hours when the store is full."""

_KEPT = "vllm:.+|keda_.+|karpenter_.+|operator_.+|kube_.+|DCGM_.+|ALERTS|up"
"""What Amazon Managed Prometheus keeps; it is paid for by the sample."""

_REPEAT = "4h"

_UNPACKER = {
    "registry": "public.ecr.aws",
    "repository": "docker/library/busybox",
    "tag": "1.37.0",
}
"""Image that unpacks the operator's CRDs. The chart's own is ``busybox:latest`` of
Docker Hub: a tag that moves, in a registry that limits anonymous pulls by address."""


class Observability(Construct):
    """What AWS owes to the monitoring charts: who is told, and what is kept.

    Args:
        settings: The stage.
        cluster: Its cluster.
        interruption_queue_name: Queue from which Karpenter reads interruptions.
        removal_policy: What becomes of key and workspace with the stack.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        settings: Settings,
        cluster: AnyCluster,
        interruption_queue_name: str,
        removal_policy: RemovalPolicy,
    ) -> None:
        super().__init__(scope, id)
        self._region = Stack.of(self).region
        key = kms.Key(
            self,
            "Key",
            description="Alarms on their way to those who are told",
            enable_key_rotation=True,
            removal_policy=removal_policy,
        )
        key.add_to_resource_policy(
            iam.PolicyStatement(
                sid="AlarmsOfCloudWatch",
                principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
                actions=["kms:Decrypt", "kms:GenerateDataKey"],
                # a key's policy is about that key
                resources=["*"],
                conditions={
                    "StringEquals": {"aws:SourceAccount": Stack.of(self).account}
                },
            )
        )
        self.topic = sns.Topic(self, "Alarms", master_key=key, enforce_ssl=True)
        for email in settings.observability.emails:
            self.topic.add_subscription(subscriptions.EmailSubscription(email))
        self.alertmanager = PodIdentityRole(
            self,
            "AlertmanagerRole",
            cluster=cluster,
            namespace=MONITORING_NAMESPACE,
            service_account=ALERTMANAGER_ACCOUNT,
            statements={"Publish": _publish(self.topic.topic_arn, key.key_arn)},
        )
        ClusterAlarms(
            self,
            "Cluster",
            cluster_name=settings.cluster_name,
            interruption_queue_name=interruption_queue_name,
            alarm_actions=[self.topic.topic_arn],
        )
        self.workspace: aps.CfnWorkspace | None = None
        self.writer: PodIdentityRole | None = None
        if settings.observability.managed_prometheus:
            self.workspace = aps.CfnWorkspace(
                self, "Metrics", alias=settings.cluster_name
            )
            self.workspace.apply_removal_policy(removal_policy)
            self.writer = PodIdentityRole(
                self,
                "PrometheusRole",
                cluster=cluster,
                namespace=MONITORING_NAMESPACE,
                service_account=PROMETHEUS_ACCOUNT,
                statements={
                    "Write": [_allow("aps:RemoteWrite", self.workspace.attr_arn)]
                },
            )
            if settings.observability.managed_grafana:
                _managed_grafana(self, settings, self.workspace.attr_arn)

    @property
    def roles(self) -> list[PodIdentityRole]:
        """Identities that must exist before the pods that use them."""
        return [self.alertmanager, *([self.writer] if self.writer else [])]

    def prometheus_values(self, *, tolerations: list[Manifest]) -> dict[str, Any]:
        """Return the values of the kube-prometheus-stack chart.

        Args:
            tolerations: What lets pods run on the system nodes.
        """
        off = {"enabled": False}
        placed = {
            "tolerations": tolerations,
            "priorityClassName": "system-cluster-critical",
        }
        return {
            # Helm installs the CRDs of a chart and never upgrades them; this job does,
            # before the release, with the kubectl of the control plane's own version
            "crds": {
                "upgradeJob": {
                    "enabled": True,
                    # Helm owns the fields since it installed them
                    "forceConflicts": True,
                    "image": {"busybox": _UNPACKER},
                    "tolerations": tolerations,
                }
            },
            "alertmanager": {
                "alertmanagerSpec": {**placed, **_sized("20m", "64Mi", "128Mi")},
                "config": self._routes(),
            },
            "grafana": _grafana_values(tolerations),
            # those of Kubernetes itself; this platform's stand in PrometheusRules
            "defaultRules": {"create": False},
            "nodeExporter": off,
            "kube-state-metrics": {
                **placed,
                # what a GPU node is and how it was bought, for what it costs
                "metricLabelsAllowlist": [f"nodes=[{','.join(NODE_LABELS_ALLOWED)}]"],
                **_sized("50m", "128Mi", "256Mi"),
            },
            # EKS runs these where nothing can scrape them
            "kubeControllerManager": off,
            "kubeEtcd": off,
            "kubeProxy": off,
            "kubeScheduler": off,
            "prometheus": {
                "prometheusSpec": {
                    **placed,
                    **{
                        f"{kind}SelectorNilUsesHelmValues": False
                        for kind in ("podMonitor", "serviceMonitor", "rule")
                    },
                    # on the pod's disk: scaling needs minutes, and what is lost with
                    # the pod is history, which Amazon Managed Prometheus keeps
                    "retention": _RETENTION,
                    "retentionSize": f"{_STORE_GB}GB",
                    "storageSpec": {"emptyDir": {"sizeLimit": f"{_STORE_GB + 2}Gi"}},
                    **_sized("200m", "1Gi", "2Gi"),
                    **self._remote_write(),
                }
            },
            "prometheusOperator": {
                "tolerations": tolerations,
                # jobs that would otherwise wait for a node for ever
                "admissionWebhooks": {"patch": {"tolerations": tolerations}},
            },
        }

    def _routes(self) -> dict[str, Any]:
        return {
            "route": {
                "receiver": "topic",
                "group_by": ["alertname", "namespace", "model"],
                "group_wait": "30s",
                "group_interval": "5m",
                "repeat_interval": _REPEAT,
            },
            # whoever is paged needs the other warnings: they name the cause
            "inhibit_rules": [
                {
                    "source_matchers": ['severity="critical"'],
                    "target_matchers": ['severity="warning"'],
                    "equal": ["alertname", "namespace", "model"],
                }
            ],
            "receivers": [
                {
                    "name": "topic",
                    "sns_configs": [
                        {
                            "topic_arn": self.topic.topic_arn,
                            "sigv4": {"region": self._region},
                            "subject": "{{ .Status }}: {{ .CommonLabels.alertname }}",
                            "send_resolved": True,
                        }
                    ],
                }
            ],
        }

    def _remote_write(self) -> dict[str, Any]:
        if self.workspace is None:
            return {}
        endpoint = self.workspace.attr_prometheus_endpoint
        return {
            "remoteWrite": [
                {
                    "url": f"{endpoint}api/v1/remote_write",
                    "sigv4": {"region": self._region},
                    "writeRelabelConfigs": [
                        {
                            "sourceLabels": ["__name__"],
                            "regex": _KEPT,
                            "action": "keep",
                        }
                    ],
                }
            ]
        }


def gpu_telemetry_values() -> dict[str, Any]:
    """Return the values of the dcgm-exporter chart, on Bottlerocket's GPU nodes.

    Bottlerocket gives all GPUs of a node to a pod that mounts this path, and not to one
    that asks by an environment variable (its ``visible-devices-as-volume-mounts``).
    """
    path = "/var/run/nvidia-container-devices/all"
    return {
        "nodeSelector": {"karpenter.k8s.aws/instance-gpu-manufacturer": "nvidia"},
        "tolerations": [{"key": NVIDIA_GPU, "operator": "Exists"}],
        "priorityClassName": "system-node-critical",
        "extraHostVolumes": [{"name": "all-gpus", "hostPath": "/dev/null"}],
        "extraVolumeMounts": [{"name": "all-gpus", "mountPath": path}],
        "serviceMonitor": {"enabled": True, "interval": "15s"},
        **_sized("50m", "256Mi", "512Mi"),
    }


def _grafana_values(tolerations: list[Manifest]) -> dict[str, Any]:
    return {
        "tolerations": tolerations,
        "defaultDashboardsEnabled": False,
        "service": {"type": "ClusterIP"},
        "ingress": {"enabled": False},
        # whoever may forward its port may look; nobody may change, and nobody logs in
        "grafana.ini": {
            "auth": {"disable_login_form": True},
            "auth.anonymous": {"enabled": True, "org_role": "Viewer"},
            "security": {"disable_initial_admin_creation": True},
            "analytics": {"reporting_enabled": False, "check_for_updates": False},
        },
        "sidecar": {
            "dashboards": {"enabled": True, "searchNamespace": "ALL"},
            "datasources": {"enabled": True},
        },
        **_sized("50m", "256Mi", "512Mi"),
    }


def _managed_grafana(scope: Construct, settings: Settings, metrics_arn: str) -> None:
    role = iam.Role(
        scope,
        "GrafanaRole",
        assumed_by=iam.ServicePrincipal(
            "grafana.amazonaws.com",
            conditions={"StringEquals": {"aws:SourceAccount": Stack.of(scope).account}},
        ),
        inline_policies={
            "Read": iam.PolicyDocument(
                statements=[
                    iam.PolicyStatement(
                        actions=[
                            "aps:GetLabels",
                            "aps:GetMetricMetadata",
                            "aps:GetSeries",
                            "aps:QueryMetrics",
                        ],
                        resources=[metrics_arn],
                    )
                ]
            )
        },
    )
    grafana.CfnWorkspace(
        scope,
        "Grafana",
        name=settings.cluster_name,
        account_access_type="CURRENT_ACCOUNT",
        authentication_providers=["AWS_SSO"],
        permission_type="CUSTOMER_MANAGED",
        role_arn=role.role_arn,
        data_sources=["PROMETHEUS"],
    )


def _publish(topic_arn: str, key_arn: str) -> list[Manifest]:
    return [
        _allow("sns:Publish", topic_arn),
        _allow(["kms:Decrypt", "kms:GenerateDataKey"], key_arn),
    ]


def _allow(action: str | list[str], resource: str) -> Manifest:
    return {"Effect": "Allow", "Action": action, "Resource": resource}


def _sized(cpu: str, request: str, limit: str) -> dict[str, Any]:
    """Return resources; sizes are assumed to fit a small cluster, not measured."""
    return {
        "resources": {
            "requests": {"cpu": cpu, "memory": request},
            "limits": {"memory": limit},
        }
    }
