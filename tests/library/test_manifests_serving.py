"""Tests of the objects of a served model: identity, pods, service, disruption."""

from typing import Any

import pytest

from eks_inference import Accelerator, Drain, Signal
from eks_inference.drain import TEARDOWN_SECONDS
from eks_inference.manifests import NVIDIA_GPU, Manifest
from eks_inference.manifests.model import serving_manifests
from eks_inference.manifests.serving import (
    PORT,
    Serving,
    deployment,
    pod_disruption_budget,
    pod_monitor,
    service,
    service_account,
    vllm_arguments,
)
from tests.library.conftest import make_model, make_pool, make_serving

DIGEST = "sha256:" + "0123456789abcdef" * 4


def pod(serving: Serving | None = None) -> Manifest:
    """Return the spec of a model's pods."""
    template = deployment(serving or make_serving())["spec"]["template"]
    spec: Manifest = template["spec"]
    return spec


def container(serving: Serving | None = None) -> Manifest:
    """Return the only container of a model's pods."""
    [found] = pod(serving)["containers"]
    only: Manifest = found
    return only


def environment(serving: Serving | None = None) -> dict[str, str]:
    """Return the environment of vLLM."""
    return {item["name"]: item["value"] for item in container(serving)["env"]}


def arguments(serving: Serving | None = None) -> dict[str, str]:
    """Return the flags of vLLM with their values."""
    _, *flags = vllm_arguments(serving or make_serving())
    return dict(flag.split("=", 1) for flag in flags)


def cache_of(serving: Serving) -> tuple[Manifest, Manifest]:
    """Return volume and mount of the compile cache."""
    [volume] = [item for item in pod(serving)["volumes"] if item["name"] == "cache"]
    mounts = container(serving)["volumeMounts"]
    [mount] = [item for item in mounts if item["name"] == "cache"]
    return volume, mount


def test_objects_are_created_in_order() -> None:
    """The identity comes before the pods, and the pods before what scales them."""
    assert [item["kind"] for item in serving_manifests(make_serving())] == [
        "ServiceAccount",
        "Service",
        "PodDisruptionBudget",
        "Deployment",
        "PodMonitor",
        "ScaledObject",
    ]


def test_every_object_carries_name_namespace_and_labels() -> None:
    """All objects of a model share its name, its namespace and its labels."""
    serving = make_serving(model=make_model(name="chat"), namespace="search")
    for item in serving_manifests(serving):
        assert item["metadata"] == {
            "name": "chat",
            "namespace": "search",
            "labels": {
                "app.kubernetes.io/name": "vllm",
                "app.kubernetes.io/instance": "chat",
            },
        }


def test_every_selector_is_the_pods_labels() -> None:
    """Service, budget, deployment, spread and monitor select the model's own pods."""
    serving = make_serving()
    replicas = deployment(serving)["spec"]
    labels = replicas["template"]["metadata"]["labels"]
    [spread] = pod(serving)["topologySpreadConstraints"]
    assert service(serving)["spec"]["selector"] == labels
    for selector in (
        pod_disruption_budget(serving)["spec"]["selector"],
        replicas["selector"],
        pod_monitor(serving)["spec"]["selector"],
        spread["labelSelector"],
    ):
        assert selector == {"matchLabels": labels}


def test_models_do_not_select_each_others_pods() -> None:
    """Two models of one namespace have selectors that the other's pods do not match."""
    one, other = (make_serving(model=make_model(name=name)) for name in ("a", "ab"))
    labels = deployment(other)["spec"]["template"]["metadata"]["labels"]
    selector = service(one)["spec"]["selector"]
    assert not selector.items() <= labels.items()
    assert selector.items() <= service(one)["metadata"]["labels"].items()


def test_pods_use_their_service_account_without_a_token() -> None:
    """The pods run as their own account, which cannot talk to the Kubernetes API."""
    serving = make_serving()
    account = service_account(serving)
    assert pod(serving)["serviceAccountName"] == account["metadata"]["name"]
    assert account["automountServiceAccountToken"] is False
    assert pod(serving)["automountServiceAccountToken"] is False


def test_services_inject_no_variables() -> None:
    """No Service of the namespace reaches vLLM as an environment variable."""
    assert pod()["enableServiceLinks"] is False


def test_service_leads_to_vllm() -> None:
    """The Service's port is the container's, by name."""
    [published] = service(make_serving())["spec"]["ports"]
    [listened] = container()["ports"]
    assert published == {"name": "http", "port": PORT, "targetPort": listened["name"]}
    assert listened["containerPort"] == PORT == 8_000


def test_pods_keep_the_restricted_standard() -> None:
    """Pods run unprivileged, as Kubernetes' restricted standard demands."""
    assert pod()["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 2000,
        "runAsGroup": 0,
        "fsGroup": 0,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert container()["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod())
    shared = pod(make_serving(cache_claim="kernels"))
    assert [sorted(item) for item in shared["volumes"]] == [
        ["emptyDir", "name"],
        ["emptyDir", "name"],
        ["name", "persistentVolumeClaim"],
    ]


def test_every_volume_is_mounted_once() -> None:
    """Volumes and mounts name the same things, shared memory for vLLM among them."""
    mounts = {item["name"]: item["mountPath"] for item in container()["volumeMounts"]}
    assert mounts.keys() == {item["name"] for item in pod()["volumes"]}
    assert mounts["shm"] == "/dev/shm"
    [memory] = [item for item in pod()["volumes"] if item["name"] == "shm"]
    assert memory["emptyDir"] == {"medium": "Memory", "sizeLimit": "2Gi"}


@pytest.mark.parametrize(
    ("probe", "budget"),
    [("startupProbe", 900), ("readinessProbe", 15), ("livenessProbe", 60)],
)
def test_probes_ask_for_health_alone(probe: str, budget: int) -> None:
    """All probes ask /health, with the time that each may take before it fails."""
    found = container()[probe]
    assert found["httpGet"] == {"path": "/health", "port": "http"}
    assert found["periodSeconds"] * found["failureThreshold"] == budget
    assert found["timeoutSeconds"] <= found["periodSeconds"]
    assert "initialDelaySeconds" not in found


def test_a_slow_start_is_not_a_failed_rollout() -> None:
    """The rollout waits longer than a start may take."""
    serving = make_serving()
    deadline = deployment(serving)["spec"]["progressDeadlineSeconds"]
    assert deadline > serving.plan.startup_budget_seconds


def test_grace_covers_every_phase_of_the_drain() -> None:
    """Kubernetes waits for pre-stop, shutdown and teardown, each stated once."""
    serving = make_serving(drain=Drain(pre_stop_seconds=7, shutdown_timeout_seconds=50))
    command = container(serving)["lifecycle"]["preStop"]["exec"]["command"]
    assert command == ["sleep", "7"]
    assert arguments(serving)["--shutdown-timeout"] == "50"
    grace = pod(serving)["terminationGracePeriodSeconds"]
    assert grace == 7 + 50 + TEARDOWN_SECONDS


def test_vllm_gets_sigterm_itself() -> None:
    """The command is vLLM without a shell before it, and the model comes first."""
    assert container()["command"] == ["vllm", "serve"]
    assert container()["args"] == vllm_arguments(make_serving())
    assert container()["args"][0] == "s3://weights/models/mistral/"


def test_flags_state_the_models_limits() -> None:
    """Every limit of the model reaches vLLM as it was stated."""
    model = make_model(
        max_model_len=4_096, max_num_seqs=48, gpus=4, gpu_memory_utilization=0.85
    )
    pool = make_pool(gpus_per_node=4, max_gpus=40)
    assert arguments(make_serving(model=model, pool=pool)) == {
        "--served-model-name": "mistral",
        "--load-format": "runai_streamer",
        "--model-loader-extra-config": '{"concurrency":16}',
        "--max-model-len": "4096",
        "--max-num-seqs": "48",
        "--gpu-memory-utilization": "0.85",
        "--tensor-parallel-size": "4",
        "--shutdown-timeout": "90",
    }


def test_half_precision_on_t4_only() -> None:
    """A pool with T4 gets --dtype=half; others leave the choice to vLLM."""
    old = make_serving(pool=make_pool(accelerators=(Accelerator.T4,)))
    assert arguments(old)["--dtype"] == "half"
    assert "--dtype" not in arguments()


def test_resources_are_the_models() -> None:
    """GPUs and memory are request and limit alike; CPU has no limit that throttles."""
    model = make_model(gpus=4, cpu=40, memory_gib=160)
    serving = make_serving(model=model, pool=make_pool(gpus_per_node=4, max_gpus=40))
    assert container(serving)["resources"] == {
        "requests": {"cpu": "40", "memory": "160Gi", NVIDIA_GPU: "4"},
        "limits": {"memory": "160Gi", NVIDIA_GPU: "4"},
    }


def test_number_of_replicas_belongs_to_the_autoscaler() -> None:
    """The deployment states no number, and never has fewer replicas in a rollout."""
    spec = deployment(make_serving())["spec"]
    assert "replicas" not in spec
    assert spec["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}


def test_budget_lets_a_single_replica_move() -> None:
    """At most one replica is disrupted at a time, and a single one can be."""
    spec = pod_disruption_budget(make_serving())["spec"]
    assert spec["maxUnavailable"] == 1
    assert "minAvailable" not in spec


def test_environment_keeps_vllm_on_its_own_volumes() -> None:
    """Region, streamer and folders are stated; nothing is fetched from elsewhere."""
    serving = make_serving(region="eu-west-1")
    found = environment(serving)
    assert found["AWS_REGION"] == "eu-west-1"
    limit = serving.plan.streamer_memory_bytes
    assert found["RUNAI_STREAMER_MEMORY_LIMIT"] == str(limit)
    assert found["HF_HUB_OFFLINE"] == found["VLLM_NO_USAGE_STATS"] == "1"
    mounts = {item["mountPath"] for item in container()["volumeMounts"]}
    for name in (
        "VLLM_CACHE_ROOT",
        "VLLM_ASSETS_CACHE",
        "HOME",
        "XDG_CACHE_HOME",
        "XDG_CONFIG_HOME",
    ):
        assert any(f"{found[name]}/".startswith(f"{path}/") for path in mounts), name
    assert container()["workingDir"] in mounts


def test_assets_stay_on_the_node() -> None:
    """What vLLM downloads lies outside the shared cache, below the scratch volume."""
    found = environment(make_serving(cache_claim="kernels"))
    assert found["VLLM_CACHE_ROOT"] == "/cache/vllm"
    assert found["VLLM_ASSETS_CACHE"].startswith("/scratch/")


def test_cache_ends_with_the_pod_when_it_is_off() -> None:
    """Without a shared cache the volume is empty at every start."""
    volume, mount = cache_of(make_serving())
    assert volume == {"name": "cache", "emptyDir": {}}
    assert mount == {"name": "cache", "mountPath": "/cache"}


@pytest.mark.parametrize(
    ("image", "directory"),
    [
        ("registry.example.com/team/vllm:0.31.0", "team-vllm-0.31.0"),
        ("registry.example.com:5000/vllm:0.31.0", "vllm-0.31.0"),
        (f"registry.example.com/vllm@{DIGEST}", f"vllm-{DIGEST.replace(':', '-')}"),
        (
            f"registry.example.com/vllm:0.31.0@{DIGEST}",
            f"vllm-0.31.0-{DIGEST.replace(':', '-')}",
        ),
    ],
)
def test_shared_cache_is_kept_apart(image: str, directory: str) -> None:
    """A pod sees one directory of the volume: that of its model, GPUs and image."""
    volume, mount = cache_of(make_serving(cache_claim="kernels", image=image))
    assert volume == {
        "name": "cache",
        "persistentVolumeClaim": {"claimName": "kernels"},
    }
    assert mount == {
        "name": "cache",
        "mountPath": "/cache",
        "subPath": f"mistral/a10g-l4/{directory}",
    }


@pytest.mark.parametrize("interval", [2, 5, 60])
def test_scrape_ends_before_the_next(interval: int) -> None:
    """A scrape times out before the next one begins."""
    signal = Signal.prometheus(scrape_interval_seconds=interval)
    [endpoint] = pod_monitor(make_serving(signal=signal))["spec"]["podMetricsEndpoints"]
    assert endpoint["interval"] == f"{interval}s"
    assert endpoint["scrapeTimeout"] == f"{interval - 1}s"
    assert (endpoint["port"], endpoint["path"]) == ("http", "/metrics")


def test_scrape_every_second_has_a_timeout() -> None:
    """The shortest interval has a timeout too, which Prometheus allows to be equal."""
    signal = Signal.prometheus(scrape_interval_seconds=1)
    [endpoint] = pod_monitor(make_serving(signal=signal))["spec"]["podMetricsEndpoints"]
    assert endpoint["scrapeTimeout"] == "1s"


@pytest.mark.parametrize(
    ("given", "field"), [(None, {}), ("serving", {"priorityClassName": "serving"})]
)
def test_priority_class_is_stated_where_it_is_given(
    given: str | None, field: dict[str, Any]
) -> None:
    """Without a priority class the cluster's default applies."""
    spec = pod(make_serving(priority_class_name=given))
    assert {key: spec[key] for key in spec if key.startswith("priority")} == field


def test_zones_are_preferred_and_not_required() -> None:
    """Replicas spread over zones, but a zone without capacity stops no replica."""
    [spread] = pod()["topologySpreadConstraints"]
    assert spread["topologyKey"] == "topology.kubernetes.io/zone"
    assert spread["whenUnsatisfiable"] == "ScheduleAnyway"
