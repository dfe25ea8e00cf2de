"""A real vLLM under the rendered command, environment, probes and shutdown."""

import json
import math
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from eks_inference.manifests import Manifest
from eks_inference.metric_names import RUNNING, WAITING
from eks_inference.planning.kernels import DEFAULT_VLLM_VERSION
from eks_inference.simulation.hpa_controller import Observation
from eks_inference.simulation.keda import Keda
from eks_inference.simulation.scenario import read_scaled_object
from tests.e2e.clients import Answer, Crowd, Order, ask
from tests.e2e.conftest import Summary
from tests.e2e.contract import CONTRACT, Family, families, query_problems
from tests.e2e.live import (
    MOST_REPLICAS,
    SEQUENCES,
    Site,
    live_queries,
    live_scaled_objects,
    live_serving,
    objects,
    site,
)
from tests.e2e.pod import KEY, Pod, get
from tests.e2e.replacements import without
from tests.e2e.scraping import readings, replicas, scraped, vllm_query
from tests.observability.prometheus_server import Prometheus

QUEUED = 6
"""Requests in the burst above what is computed at once."""

TOKENS = 1_000
"""Length of an answer that is still on its way when the pod must end."""

_SETTLE_SECONDS = 60
_HANG_SECONDS = 20
"""Longest silence of a stream before a client of the negative control gives up."""


@dataclass(frozen=True)
class Drained:
    """What a pod's end did to its clients.

    Args:
        in_flight: Requests whose clients had no whole answer yet at SIGTERM.
        held: Requests that vLLM itself had not finished yet, just before.
        answers: All answers, those before included.
        lost: The ones that are not whole.
        seconds: From SIGTERM to the end of the process, or None if it did not end.
        within_grace: Whether all of it took no longer than the grace period.
    """

    in_flight: int
    held: int
    answers: list[Answer]
    lost: list[Answer]
    seconds: float | None
    within_grace: bool


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A bucket with a model."""
    with site(tmp_path_factory.mktemp("site")) as found:
        yield found


@pytest.fixture(scope="module")
def rendered() -> dict[str, Manifest]:
    """The objects of the model that is served."""
    return objects(live_serving())


@pytest.fixture(scope="module")
def pod(place: Site, rendered: dict[str, Manifest], summary: Summary) -> Iterator[Pod]:
    """A pod that has passed its start-up probe."""
    with place.running("pod", rendered["Deployment"]) as found:
        summary["started in"] = f"{found.start_seconds:.1f} s"
        yield found


@pytest.fixture(scope="module")
def prometheus(
    pod: Pod, rendered: dict[str, Manifest], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    """A Prometheus that scrapes the pod."""
    folder = tmp_path_factory.mktemp("prometheus")
    with scraped(pod, rendered["PodMonitor"], folder) as server:
        yield server


@pytest.fixture(scope="module")
def page(pod: Pod) -> dict[str, Family]:
    """What the pod shows at /metrics after one request."""
    assert ask(order(pod, tokens=4)).error is None
    return families(get(pod.port, "/metrics")[1])


def order(pod: Pod, *, tokens: int = TOKENS, timeout: float | None = None) -> Order:
    """Return what a client asks of a pod."""
    name = live_serving().model.client_name
    return Order(pod.port, name, tokens, timeout or pod.grace)


def test_the_release_is_the_one_of_the_image(pod: Pod) -> None:
    """What runs here is the release that the library's image holds."""
    assert json.loads(get(pod.port, "/version")[1])["version"].startswith(
        DEFAULT_VLLM_VERSION
    )


def test_changes_are_all_that_differs(pod: Pod, summary: Summary) -> None:
    """Apart from the table, the process runs as the container is rendered."""
    changed = {row[1] for row in pod.command.table}
    for item in pod.container["args"]:
        assert item in pod.command.argv
    for item in pod.container["env"]:
        if item["name"] not in changed:
            value = pod.command.environment[item["name"]]
            assert value == item["value"] or item["value"].startswith(
                ("/cache", "/scr")
            )
    for part, name, before, here, reason in pod.command.table:
        summary[f"changed, {part} {name}"] = f"{before} -> {here}: {reason}"


def test_weights_come_from_the_bucket_with_the_pods_own_role(
    pod: Pod, place: Site
) -> None:
    """The streamer reads s3:// with credentials of the Pod Identity agent."""
    assert place.agent.asked
    assert all(place.agent.asked)
    assert "Runai Model Streamer" in pod.log.read_text()
    status, text = get(pod.port, "/v1/models", key=KEY)
    assert (status, json.loads(text)["data"][0]["root"]) == (
        200,
        live_serving().model.uri,
    )


def test_probes_need_no_key_and_the_api_does(pod: Pod) -> None:
    """With an API key every rendered probe passes, and the models are not listed."""
    for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert pod.probe(kind).passes()
    assert get(pod.port, "/v1/models")[0] == 401
    assert get(pod.port, "/v1/models", key="another")[0] == 401


def test_page_has_every_metric_that_is_asked_for(
    page: dict[str, Family], summary: Summary
) -> None:
    """Every metric of every rendered query is there, with its labels."""
    queries = live_queries()
    assert [item for query in queries for item in query_problems(query, page)] == []
    assert query_problems("sum(vllm:num_requests_queued)", page) != []
    names = {name for query in queries for name in page if name in query}
    summary["metrics of queries"] = ", ".join(sorted(names))


def test_contract_is_what_the_server_shows(
    page: dict[str, Family], summary: Summary
) -> None:
    """The recorded contract has the metrics of this very page, types and labels too."""
    assert {name: CONTRACT["metrics"].get(name) for name in page} == page
    summary["metrics of the contract"] = str(len(page))


def test_burst_waits_and_asks_for_replicas(
    pod: Pod, prometheus: Prometheus, rendered: dict[str, Manifest], summary: Summary
) -> None:
    """What does not run waits, and every signal asks for the replicas that it needs."""
    crowd = Crowd(order(pod, tokens=300), SEQUENCES + QUEUED)
    crowd.start()
    try:
        at = _settled(prometheus, rendered["ScaledObject"])
        asked = {
            name: replicas(scaled, readings(prometheus, scaled, at=at))
            for name, scaled in live_scaled_objects().items()
            if any(vllm_query(item) for item in scaled["spec"]["triggers"])
        }
        values = readings(prometheus, rendered["ScaledObject"], at=at)
    finally:
        crowd.last_orders()
        crowd.wait()
    serving = live_serving()
    load = SEQUENCES + serving.scaling.waiting_weight * QUEUED
    need = math.ceil(load / serving.plan.scaling_target)
    assert need < MOST_REPLICAS
    assert asked == dict.fromkeys(asked, need)
    assert len(asked) == len(live_scaled_objects())
    first_step = 1 + serving.scaling.scale_up_pods
    assert _next_replicas(rendered["ScaledObject"], values) == min(need, first_step)
    assert crowd.lost == []
    summary["replicas for 4 running and 6 waiting"] = f"{need}, {len(asked)} ways"


def test_probes_hold_under_load(pod: Pod) -> None:
    """While more requests wait than run, no probe fails so often that the pod ends."""
    crowd = Crowd(order(pod, tokens=300), SEQUENCES + QUEUED)
    crowd.start()
    _await_full(pod)
    for watch in pod.watches.values():
        watch.await_next()
    crowd.last_orders()
    crowd.wait()
    for kind, watch in pod.watches.items():
        assert watch.longest < watch.probe.threshold, kind
    assert crowd.lost == []


def test_end_of_a_pod_loses_nothing(pod: Pod, summary: Summary) -> None:
    """After preStop and SIGTERM all streams end whole, and the pod within its grace."""
    result = drained(pod, timeout=pod.grace)
    assert result.in_flight == SEQUENCES + 2
    assert result.held
    assert result.lost == []
    assert result.within_grace
    summary["drained in"] = f"{result.seconds:.1f} s after SIGTERM"
    summary["unfinished at SIGTERM"] = f"{result.held}, of which 4 or fewer ran"
    summary["requests lost"] = f"{len(result.lost)} of {len(result.answers)}"


def test_without_the_shutdown_timeout_requests_are_lost(
    place: Site, rendered: dict[str, Manifest], summary: Summary
) -> None:
    """The same end without the rendered --shutdown-timeout fails the same check."""
    deployment = json.loads(json.dumps(rendered["Deployment"]))
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    container.update(without(container, "--shutdown-timeout"))
    with place.running("impatient", deployment) as pod:
        result = drained(pod, timeout=_HANG_SECONDS)
    assert result.held
    assert result.lost != []
    summary["requests lost without --shutdown-timeout"] = (
        f"{len(result.lost)} of {len(result.answers)}: {result.lost[0]}"
    )


def drained(pod: Pod, *, timeout: float) -> Drained:
    """End a pod as Kubernetes does, under clients that go on until it has left.

    Args:
        pod: The pod.
        timeout: Longest silence of a stream that a client bears, in seconds.
    """
    crowd = Crowd(order(pod, timeout=timeout), SEQUENCES + 2)
    crowd.start()
    _await_full(pod)
    begin = time.monotonic()
    pod.pre_stop()
    answered = crowd.last_orders()
    # what was sent at the last moment has arrived
    time.sleep(0.5)
    for watch in pod.watches.values():
        watch.stop()
    held = sum(requests(pod))
    told = time.monotonic()
    pod.terminate()
    ended = pod.ends_within(pod.grace - (told - begin))
    seconds = time.monotonic() - told if ended else None
    crowd.wait()
    return Drained(
        in_flight=len(crowd.answers) - answered,
        held=held,
        answers=crowd.answers,
        lost=crowd.lost,
        seconds=seconds,
        within_grace=ended,
    )


def requests(pod: Pod) -> list[int]:
    """Return how many requests run and wait, as the pod shows it."""
    page = get(pod.port, "/metrics")[1]
    return [
        int(float(value))
        for name in (RUNNING, WAITING)
        for value in re.findall(rf"^{name}{{.*}} (\S+)$", page, re.MULTILINE)
    ]


def _await_full(pod: Pod) -> None:
    """Wait until the pod computes as much as it can: its first answer takes a while."""
    end = time.monotonic() + _SETTLE_SECONDS
    while requests(pod)[0] < SEQUENCES:
        assert time.monotonic() < end, "the pod is never full"
        time.sleep(0.2)


def _settled(prometheus: Prometheus, scaled: Manifest) -> float:
    """Wait for a scrape in which all of the burst runs or waits; return its time."""
    end = time.monotonic() + _SETTLE_SECONDS
    while time.monotonic() < end:
        at = time.time()
        seen = readings(prometheus, scaled, at=at)
        if sorted(value or 0 for value in seen.values()) == [SEQUENCES, QUEUED]:
            return at
        time.sleep(0.5)
    raise AssertionError(f"never {SEQUENCES} running and {QUEUED} waiting: {seen}")


def _next_replicas(scaled: Manifest, values: dict[str, float | None]) -> int:
    """Return what the autoscaler sets in its next sync, limits and speed included."""
    read = read_scaled_object(scaled)
    external = Keda(read).metric(values, replicas=1, ready_pods=1)
    return read.autoscaler().sync(0, Observation(replicas=1, external=external))
