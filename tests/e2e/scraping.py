"""A real Prometheus that scrapes the pod as its PodMonitor says, and is asked by KEDA.

Only rendered queries are asked. Those of the OpenTelemetry add-on are no PromQL; they
say the same in other words, which are translated here.
"""

import json
import re
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from eks_inference.keda_formula import Formula
from eks_inference.manifests import Manifest
from eks_inference.simulation.hpa import external_average_value
from eks_inference.simulation.keda_spec import to_milli
from tests.e2e.pod import HOST, Pod, free_port, kill_group
from tests.observability.prometheus_server import Prometheus, binary

_START_SECONDS = 60
_ADDON_QUERY = re.compile(r"(\w+)\((vllm[:_]\w+)\{([^}]*)\}\)")


@contextmanager
def scraped(pod: Pod, monitor: Manifest, folder: Path) -> Iterator[Prometheus]:
    """Run a Prometheus that scrapes a pod, and wait for its first sample.

    Args:
        pod: The pod.
        monitor: Its PodMonitor.
        folder: A folder for its files.
    """
    configuration = folder / "prometheus.yml"
    configuration.write_text(json.dumps({"scrape_configs": [_job(pod, monitor)]}))
    port = free_port()
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [
                binary("PROMETHEUS"),
                f"--config.file={configuration}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address={HOST}:{port}",
            ],
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    server = Prometheus(f"http://{HOST}:{port}")
    try:
        _await_sample(server)
        yield server
    finally:
        kill_group(process)


def readings(
    server: Prometheus, scaled: Manifest, *, at: float
) -> dict[str, float | None]:
    """Return what KEDA reads for each trigger about vLLM, or None without an answer.

    Args:
        server: Who is asked.
        scaled: The ScaledObject.
        at: Time of the query.
    """
    found: dict[str, float | None] = {}
    for trigger in scaled["spec"]["triggers"]:
        if trigger["type"] == "kubernetes-workload":
            # counted by the API server, which has one pod
            found[trigger["name"]] = 1.0
            continue
        query = vllm_query(trigger)
        if query is None:
            continue
        samples = server.query(query, at=at)
        # KEDA refuses more than one number
        assert len(samples) <= 1, query
        found[trigger["name"]] = samples[0].value if samples else None
    return found


def vllm_query(trigger: Mapping[str, Any]) -> str | None:
    """Return the PromQL of a trigger, or None for one that does not read vLLM."""
    metadata = trigger["metadata"]
    if "vllm:" in metadata.get("query", ""):
        return str(metadata["query"])
    match = _ADDON_QUERY.fullmatch(metadata.get("metricQuery", ""))
    if match is None:
        return None
    aggregate, name, labels = match.groups()
    # the collector renames for a trigger that knows no colon
    name = re.sub("^vllm_", "vllm:", name)
    selector = ",".join(
        '{}="{}"'.format(*label.split("=", 1)) for label in labels.split(",")
    )
    return f"{aggregate}({name}{{{selector}}})"


def replicas(scaled: Manifest, values: Mapping[str, float | None]) -> int:
    """Return what the autoscaler asks for with one replica, before limits and windows.

    Args:
        scaled: The ScaledObject.
        values: What KEDA has read for each trigger.
    """
    spec = scaled["spec"]
    modifiers = spec["advanced"].get("scalingModifiers")
    if modifiers is not None:
        names = [trigger["name"] for trigger in spec["triggers"]]
        value = Formula(modifiers["formula"], triggers=names).evaluate(values)
        return _asked(value, modifiers["target"])
    return max(
        _asked(values[trigger["name"]], trigger["metadata"]["threshold"])
        for trigger in spec["triggers"]
        if trigger["name"] in values
    )


def _asked(value: float | None, target: str) -> int:
    assert value is not None, "a query had no answer"
    return external_average_value(
        current_replicas=1,
        metric_sum_milli=to_milli(value),
        target_milli=to_milli(float(target)),
    ).replicas


def _job(pod: Pod, monitor: Manifest) -> Manifest:
    metadata = monitor["metadata"]
    [endpoint] = monitor["spec"]["podMetricsEndpoints"]
    return {
        # the operator's name for what a PodMonitor selects
        "job_name": f"{metadata['namespace']}/{metadata['name']}",
        "metrics_path": endpoint["path"],
        "scrape_interval": endpoint["interval"],
        "scrape_timeout": endpoint["scrapeTimeout"],
        "static_configs": [
            {
                "targets": [f"{HOST}:{pod.port}"],
                "labels": {
                    "namespace": metadata["namespace"],
                    "pod": f"{metadata['name']}-0",
                    # what the add-on's collector makes of a label of the pod
                    "deployment": metadata["name"],
                },
            }
        ],
    }


def _await_sample(server: Prometheus) -> None:
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end:
        try:
            if any(item.value for item in server.query("up", at=time.time())):
                return
        except OSError:
            pass  # it does not listen yet
        time.sleep(0.2)
    raise RuntimeError("Prometheus has scraped nothing")
