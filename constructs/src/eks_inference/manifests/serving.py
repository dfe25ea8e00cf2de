"""The objects of a served model: identity, pods, service, disruption, scraping."""

import re
from dataclasses import dataclass

from eks_inference.drain import Drain
from eks_inference.manifests import (
    APP_INSTANCE,
    APP_NAME,
    DO_NOT_DISRUPT,
    ENDPOINT_LABEL,
    NVIDIA_GPU,
    POOL_LABEL,
    SERVING_APP,
    VLLM_USER,
    Manifest,
)
from eks_inference.manifests.model_import import wait_for_import
from eks_inference.metric import Series
from eks_inference.model import Model
from eks_inference.planning.serving import STREAMER_CHUNK_BYTES, ServingPlan
from eks_inference.scaling import QueueScaling
from eks_inference.secret_key import SecretKey
from eks_inference.signal import Signal

PORT = 8000
"""Port on which vLLM listens by default: API, health and metrics."""

PORT_NAME = "http"

_CACHE = "/cache"
_SCRATCH = "/scratch"
_API_KEY = "VLLM_API_KEY"
_SCALE_DOWN_SECONDS = 300
_BLIND_SCALE_DOWN_SECONDS = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """Everything that the objects of one model are rendered from.

    Args:
        model: What is served.
        plan: What follows from model, scaling and pool.
        scaling: When replicas are added and removed.
        drain: How a replica ends.
        signal: Where the autoscaler reads the queue.
        cache_claim: Claim of a shared compile cache, or None to compile in every start.
        image: Image of vLLM, with tag or digest.
        namespace: Namespace of all objects.
        pool_name: Pool whose nodes the replicas run on.
        region: AWS region of the bucket; may be a CDK token.
        priority_class_name: Priority class of the pods, or None for the cluster's
            default.
        api_key: Secret that clients must send, or None for an open API.
        shared_endpoint: Name of a Service that the model shares with others, or None.
        imported: Whether an import brings the weights, for which the pods wait.
    """

    model: Model
    plan: ServingPlan
    scaling: QueueScaling
    drain: Drain
    signal: Signal
    cache_claim: str | None
    image: str
    namespace: str
    pool_name: str
    region: str
    priority_class_name: str | None
    api_key: SecretKey | None = None
    shared_endpoint: str | None = None
    imported: bool = False

    @property
    def name(self) -> str:
        """Name of every object of the model."""
        return self.model.name

    @property
    def labels(self) -> dict[str, str]:
        """Labels that select the model's pods."""
        return {APP_NAME: SERVING_APP, APP_INSTANCE: self.name}

    @property
    def pod_labels(self) -> dict[str, str]:
        """Labels of the model's pods."""
        if self.shared_endpoint is None:
            return self.labels
        return {**self.labels, ENDPOINT_LABEL: self.shared_endpoint}

    @property
    def series(self) -> Series:
        """Whose metrics the autoscaler reads."""
        return Series(
            namespace=self.namespace,
            name=self.name,
            served_name=self.model.client_name,
        )

    @property
    def scale_down_window_seconds(self) -> int:
        """The autoscaler takes the highest need of this window."""
        if self.scaling.scale_down_window_seconds is not None:
            return self.scaling.scale_down_window_seconds
        # what cannot tell an outage from an idle model must be slow to believe it
        blind = not self.signal.sees_outage
        return _BLIND_SCALE_DOWN_SECONDS if blind else _SCALE_DOWN_SECONDS

    @property
    def metadata(self) -> Manifest:
        """Metadata of every object of the model."""
        return {
            "name": self.name,
            "namespace": self.namespace,
            "labels": self.labels,
        }


def service_account(serving: Serving) -> Manifest:
    """Return the identity of the pods; Pod Identity binds a role to it by name."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": serving.metadata,
        # the pods talk to S3 and never to the Kubernetes API
        "automountServiceAccountToken": False,
    }


def service(serving: Serving) -> Manifest:
    """Return the address under which clients in the cluster reach the model."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": serving.metadata,
        "spec": {
            "selector": serving.labels,
            "ports": [{"name": PORT_NAME, "port": PORT, "targetPort": PORT_NAME}],
        },
    }


def pod_disruption_budget(serving: Serving) -> Manifest:
    """Return the bound on voluntary disruption: one replica at a time.

    ``minAvailable: 1`` would block every drain of a model with one replica.
    """
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": serving.metadata,
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": serving.labels}},
    }


def deployment(serving: Serving) -> Manifest:
    """Return the replicas; their number belongs to the autoscaler and is not stated."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": serving.metadata,
        "spec": {
            "selector": {"matchLabels": serving.labels},
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
            },
            # a start that loads, compiles and captures must not count as stuck
            "progressDeadlineSeconds": 2 * serving.plan.startup_budget_seconds,
            "template": {
                "metadata": {
                    "labels": serving.pod_labels,
                    "annotations": {
                        # while it starts, a consolidation would throw the start away;
                        # Karpenter counts from the start of the pod (since 1.12)
                        DO_NOT_DISRUPT: f"{serving.plan.startup_budget_seconds}s"
                    },
                },
                "spec": _pod(serving),
            },
        },
    }


def _pod(serving: Serving) -> Manifest:
    pod: Manifest = {
        "serviceAccountName": serving.name,
        "automountServiceAccountToken": False,
        # a Service called vllm would otherwise set VLLM_PORT in every pod
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": serving.drain.grace_period_seconds,
        "nodeSelector": {POOL_LABEL: serving.pool_name},
        "tolerations": [
            {"key": NVIDIA_GPU, "operator": "Exists", "effect": "NoSchedule"}
        ],
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "topology.kubernetes.io/zone",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": serving.labels},
            }
        ],
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": VLLM_USER,
            "runAsGroup": 0,
            "fsGroup": 0,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(serving)],
        "volumes": [
            {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "2Gi"}},
            {"name": "scratch", "emptyDir": {}},
            {"name": "cache", **_cache_volume(serving.cache_claim)},
        ],
    }
    if serving.imported:
        pod["initContainers"] = [
            wait_for_import(
                image=serving.image,
                region=serving.region,
                bucket=serving.model.bucket.bucket_name,
                prefix=serving.model.prefix,
            )
        ]
    if serving.priority_class_name is not None:
        pod["priorityClassName"] = serving.priority_class_name
    return pod


def pod_monitor(serving: Serving) -> Manifest:
    """Return what makes Prometheus scrape the pods as often as scaling needs."""
    interval = serving.signal.scrape_interval_seconds
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PodMonitor",
        "metadata": serving.metadata,
        "spec": {
            "selector": {"matchLabels": serving.labels},
            "podMetricsEndpoints": [
                {
                    "port": PORT_NAME,
                    "path": "/metrics",
                    "interval": f"{interval}s",
                    # a pod that does not answer in time must not delay the next scrape
                    "scrapeTimeout": f"{max(1, interval - 1)}s",
                }
            ],
        },
    }


def _container(serving: Serving) -> Manifest:
    plan, sizing = serving.plan, serving.plan.sizing
    gpus = str(sizing.gpus)
    memory = f"{sizing.memory_gib}Gi"
    return {
        "name": "vllm",
        "image": serving.image,
        # the entry point of some images starts vLLM as a child that never gets SIGTERM
        "command": ["vllm", "serve"],
        # vLLM looks for models below it first, and must be allowed to
        "workingDir": _SCRATCH,
        "args": vllm_arguments(serving),
        "env": [
            {"name": name, "value": value}
            for name, value in _environment(serving).items()
        ]
        + _secret_environment(serving.api_key),
        "ports": [{"name": PORT_NAME, "containerPort": PORT}],
        "resources": {
            "requests": {
                "cpu": str(sizing.cpu),
                "memory": memory,
                NVIDIA_GPU: gpus,
            },
            "limits": {"memory": memory, NVIDIA_GPU: gpus},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
        "lifecycle": {
            "preStop": {
                "exec": {"command": ["sleep", str(serving.drain.pre_stop_seconds)]}
            }
        },
        # /health alone: vLLM listens when the model is loaded, and /v1/models would
        # answer 401 as soon as an API key is set
        "startupProbe": _probe(plan.probe_period_seconds, 3, plan.startup_failures),
        "readinessProbe": _probe(plan.probe_period_seconds, 3, 3),
        "livenessProbe": _probe(15, 5, 4),
        "volumeMounts": [
            {"name": "shm", "mountPath": "/dev/shm"},  # noqa: S108 - vLLM's, not ours
            {"name": "scratch", "mountPath": _SCRATCH},
            {"name": "cache", "mountPath": _CACHE, **_cache_directory(serving)},
        ],
    }


def vllm_arguments(serving: Serving) -> list[str]:
    """Return the arguments of ``vllm serve``.

    The quantization is left out: vLLM reads it from the model's ``config.json``.
    """
    model, plan = serving.model, serving.plan
    arguments = [
        model.uri,
        f"--served-model-name={model.client_name}",
        "--load-format=runai_streamer",
        f'--model-loader-extra-config={{"concurrency":{plan.streamer_concurrency}}}',
        f"--max-model-len={plan.sizing.max_model_len}",
        f"--max-num-seqs={plan.sizing.max_num_seqs}",
        f"--gpu-memory-utilization={model.gpu_memory_utilization}",
        f"--tensor-parallel-size={plan.sizing.gpus}",
        f"--shutdown-timeout={serving.drain.shutdown_timeout_seconds}",
    ]
    if plan.dtype is not None:
        arguments.append(f"--dtype={plan.dtype}")
    return arguments


def _environment(serving: Serving) -> dict[str, str]:
    return {
        "AWS_REGION": serving.region,
        "RUNAI_STREAMER_MEMORY_LIMIT": str(serving.plan.streamer_memory_bytes),
        "RUNAI_STREAMER_CHUNK_BYTESIZE": str(STREAMER_CHUNK_BYTES),
        "VLLM_CACHE_ROOT": f"{_CACHE}/vllm",
        # on the node, and the same path on every pod: it enters the cache's hash
        "VLLM_ASSETS_CACHE": f"{_SCRATCH}/assets",
        # the user has no home directory of its own in every image
        "HOME": _SCRATCH,
        "USER": "vllm",
        "XDG_CACHE_HOME": f"{_SCRATCH}/cache",
        "XDG_CONFIG_HOME": f"{_SCRATCH}/config",
        # weights and configuration come from the bucket and from nowhere else
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
    }


def _secret_environment(key: SecretKey | None) -> list[Manifest]:
    if key is None:
        return []
    # read by the kubelet: the key is in no template, manifest or command line
    source = {"secretKeyRef": {"name": key.secret_name, "key": key.key}}
    return [{"name": _API_KEY, "valueFrom": source}]


def _probe(period: int, timeout: int, failures: int) -> Manifest:
    return {
        "httpGet": {"path": "/health", "port": PORT_NAME},
        "periodSeconds": period,
        "timeoutSeconds": timeout,
        "failureThreshold": failures,
    }


def _cache_volume(claim: str | None) -> Manifest:
    if claim is None:
        return {"emptyDir": {}}
    return {"persistentVolumeClaim": {"claimName": claim}}


def _cache_directory(serving: Serving) -> Manifest:
    # compiled kernels are code: a pod must not be able to write another model's
    if serving.cache_claim is None:
        return {}
    image = re.sub(r"[/:@]", "-", serving.image.split("/", 1)[-1])
    return {"subPath": f"{serving.plan.cache_key}/{image}"}
