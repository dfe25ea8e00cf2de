"""Every query of every dashboard and every scaler, asked of a real Prometheus."""

import csv
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from eks_inference import QueueScaling
from eks_inference.dashboards import Dashboard, Panel, dashboards, model_dashboard
from eks_inference.dashboards.cost import dollars_per_hour, node_hours, nodes
from eks_inference.dashboards.scope import Scope
from eks_inference.manifests.scaling import scaled_object
from eks_inference.manifests.serving import Serving
from tests.library.conftest import WINDOW, make_model, make_serving, recorded_data
from tests.observability import series as made
from tests.observability.grafana import EVERYTHING, expressions, filled
from tests.observability.prometheus_server import (
    Prometheus,
    QueryError,
    Sample,
    binary,
    serve,
)

CHAT = model_dashboard(namespace="inference", name="chat", served_name=made.CHAT)
CODE = model_dashboard(namespace="inference", name="code", served_name=made.CODE)
BOARDS = (*dashboards(), CHAT)
PANELS = [(board, panel) for board in BOARDS for panel in board.panels]
each_panel = pytest.mark.parametrize(
    ("board", "panel"), PANELS, ids=[f"{b.uid}: {p.title}" for b, p in PANELS]
)
VLLM_NAME = re.compile(r"vllm:\w+")
HOUR = 3_600


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A server with everything that a cluster reports."""
    with serve(made.cluster(), tmp_path_factory.mktemp("prometheus")) as server:
        yield server


@pytest.fixture(scope="module")
def silent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A server of the same cluster, to which no pod of a model reports."""
    series = made.without(made.cluster(), "vllm:")
    with serve(series, tmp_path_factory.mktemp("silent")) as server:
        yield server


def answers(
    server: Prometheus,
    panel: Panel,
    expression: str,
    *,
    seconds: int = HOUR,
    **chosen: str,
) -> list[Sample]:
    """Return what Grafana would draw of a query for the time before ``NOW``."""
    text = filled(panel, expression, {**EVERYTHING, **chosen}, seconds=seconds)
    if panel.instant:
        return server.query(text, at=made.NOW)
    begin = made.NOW - seconds
    return server.query_range(text, begin=begin, end=made.NOW, step=30)


def vllm_names(board: Dashboard) -> set[str]:
    """Return the names of vLLM's metrics that a dashboard asks for."""
    return {name for _, text in expressions(board) for name in VLLM_NAME.findall(text)}


def chat_serving(**changes: object) -> Serving:
    """Return the model whose pods report as ``chat``."""
    model = make_model(name="chat", served_name=made.CHAT)
    return make_serving(model=model, **changes)  # type: ignore[arg-type]


def trigger_queries(serving: Serving) -> dict[str, str]:
    """Return the queries that KEDA asks, by the name of the trigger."""
    return {
        trigger["name"]: trigger["metadata"]["query"]
        for trigger in scaled_object(serving)["spec"]["triggers"]
        if trigger["type"] == "prometheus"
    }


@each_panel
def test_every_query_has_data(
    prometheus: Prometheus, board: Dashboard, panel: Panel
) -> None:
    """Each query of each panel is accepted and finds series of numbers."""
    assert panel in board.panels
    for query in panel.queries:
        found = answers(prometheus, panel, query.expression)
        assert found, query.expression
        values = [value for item in found for _, value in item.points]
        assert all(value == value for value in values), query.expression  # noqa: PLR0124


@each_panel
def test_legends_have_their_labels(
    prometheus: Prometheus, board: Dashboard, panel: Panel
) -> None:
    """Each label in a legend is one that the answer has, and tells its series apart."""
    assert panel in board.panels
    for query in panel.queries:
        labels = re.findall(r"{{(\w+)}}", query.legend)
        found = answers(prometheus, panel, query.expression)
        drawn = [
            tuple(item.labels.get(label, "") for label in labels) for item in found
        ]
        assert all(all(values) for values in drawn), query.legend
        if panel.kind != "table":
            assert len(set(drawn)) == len(drawn), query.legend


@pytest.mark.parametrize(
    ("chosen", "jobs"),
    [
        ("chat", {"inference/chat"}),
        ("(chat|code)", {"inference/chat", "inference/code"}),
        ("sleeper", set()),
        # the beginning of a name is not the name
        ("cha", set()),
    ],
)
def test_choice_of_a_model(prometheus: Prometheus, chosen: str, jobs: set[str]) -> None:
    """A chosen model shows its own series and no other's."""
    names = {"deployment": "", "scaledObject": "", "pod": "-[^-]+-[^-]+"}
    found = set()
    for board in dashboards():
        for panel, text in expressions(board):
            for item in answers(prometheus, panel, text, model=chosen):
                found |= {item.labels[key] for key in ("job",) if key in item.labels}
                for key, ending in names.items():
                    if key in item.labels:
                        assert re.fullmatch(chosen + ending, item.labels[key])
    assert found == jobs


def test_choice_of_a_pool(prometheus: Prometheus) -> None:
    """A pool without nodes costs nothing, and the system's nodes are in no pool."""
    assert prometheus.query(f"sum({dollars_per_hour('other')})", at=made.NOW) == []
    found = prometheus.query(nodes("gpu"), at=made.NOW)
    assert {item.labels["node"] for item in found} == {
        node.name for node in made.GPU_NODES
    }


def test_choices_are_found(prometheus: Prometheus) -> None:
    """The reader can choose every model and pool, also a model without a replica."""
    choices = {
        variable.name: variable
        for board in dashboards()
        for variable in board.variables
    }
    found = {}
    for name, variable in choices.items():
        query = filled(PANELS[0][1], variable.query, EVERYTHING, seconds=HOUR)
        match = re.fullmatch(r"label_values\((.+), (\w+)\)", query)
        assert match is not None
        values = prometheus.label_values(
            match[2], match[1], begin=made.BEGIN, end=made.END
        )
        pattern = re.compile(variable.regex.strip("/") or "(.+)")
        found[name] = [pattern.sub(r"\1", value) for value in values]
    assert found == {
        "namespace": ["inference"],
        "model": ["chat", "code", "sleeper"],
        "pool": ["gpu"],
    }


def test_queue_of_the_pods_is_added_up(prometheus: Prometheus) -> None:
    """Load is the sum over the replicas, on one axis with their number."""
    queries = CHAT.panels[0].queries
    values = [prometheus.one(query.expression, at=made.NOW) for query in queries]
    # 20 + 12 + 6 run, 4 wait, one replica more is wanted than the three that are ready
    assert values == [38, 4, 4, 3]


def test_served_name_is_quoted(prometheus: Prometheus) -> None:
    """A name with quotes selects the model that has it, and cannot break the query."""
    first = CODE.panels[0].queries[0].expression
    assert prometheus.one(first, at=made.NOW) == 0
    other = Scope("inference", "code", 'code "quoted" v2')
    assert (
        prometheus.query(f"vllm:num_requests_running{{{other.series}}}", at=made.NOW)
        == []
    )


def test_restart_is_not_a_step_back(prometheus: Prometheus) -> None:
    """A process that begins again counts on: no rate falls below zero or jumps."""
    (panel,) = (item for item in CHAT.panels if item.title == "Tokens per second")
    series = prometheus.query(
        'vllm:generation_tokens_total{pod=~".+bbbbb"}[1h]', at=made.NOW
    )
    counted = [value for _, value in series[0].points]
    assert counted != sorted(counted)
    for query in panel.queries:
        for item in answers(prometheus, panel, query.expression):
            assert all(0 < value <= 2_401 for _, value in item.points)


def test_cost_is_what_one_reckons_by_hand(prometheus: Prometheus) -> None:
    """Dollars per hour, per request and per million tokens agree with paper."""
    (board,) = (item for item in dashboards() if item.uid.endswith("cost"))
    now, spent = (
        answers(prometheus, board.panels[0], query.expression)[0].value
        for query in board.panels[0].queries
    )
    # now: two spot nodes at 0.60 and one on-demand node at 5.75
    assert now == pytest.approx(0.60 + 5.75 + 0.60)
    # in the hour: two nodes all the time, and one that came half an hour ago
    assert spent == pytest.approx(0.60 + 5.75 + 0.60 / 2)
    per_request, per_million, per_million_generated = (
        answers(prometheus, board.panels[1], query.expression)[0].value
        for query in board.panels[1].queries
    )
    # 2 requests per second: two pods for an hour, of which one loses what it counted
    # between its last scrape and its restart, 15 s; one for 1,650 s, one for 3,540 s
    seconds = 3_600 + (3_600 - 15) + 1_650 + 3_540
    assert per_request == pytest.approx(6.65 / (2 * seconds))
    assert per_million == pytest.approx(6.65 / ((800 + 300) * seconds / 1e6))
    assert per_million_generated == pytest.approx(6.65 / (300 * seconds / 1e6))


def test_node_without_a_price_is_left_out(prometheus: Prometheus) -> None:
    """Each node has the price of its own type, way of buying and zone."""
    found = prometheus.query(dollars_per_hour("gpu"), at=made.NOW)
    prices = {item.labels["node"]: item.value for item in found}
    assert prices == {
        node.name: made.PRICES[node.instance_type, node.capacity_type, node.zone]
        for node in made.GPU_NODES
    }


def test_hours_of_nodes_that_are_gone_count(prometheus: Prometheus) -> None:
    """A node counts for as long as it was there."""
    text = node_hours(f"count({nodes('gpu')})").replace("$__range", f"{HOUR}s")
    assert prometheus.one(text, at=made.NOW) == pytest.approx(1 + 1 + 0.5)


def test_idle_share(prometheus: Prometheus) -> None:
    """Idle is what no running pod holds; a job that has ended holds nothing."""
    (board,) = (item for item in dashboards() if item.uid.endswith("cost"))
    panel = board.panels[-1]
    shares = [
        answers(prometheus, panel, query.expression)[0].value for query in panel.queries
    ]
    # 4 of 6 GPUs have a pod; 1 of 4 replicas has no request; 3 of 6 GPUs run at 80 %
    assert shares == pytest.approx([2 / 6, 1 / 4, 1 - 3 * 0.8 / 6])


@pytest.mark.parametrize(
    ("hours", "expected"),
    [
        (1, {"chat-6f7d-ccccc": [120, 45, 105, 270]}),
        # one has started again meanwhile, which is no cold start
        (
            2,
            {
                "chat-6f7d-aaaaa": [60, 40, 100, 200],
                "chat-6f7d-bbbbb": [10, 40, 110, 160],
                "chat-6f7d-ccccc": [120, 45, 105, 270],
            },
        ),
    ],
)
def test_phases_of_a_start(
    prometheus: Prometheus, hours: int, expected: dict[str, list[float]]
) -> None:
    """The phases of each start in the chosen time are the differences of its times."""
    panel = CHAT.panels[-1]
    assert panel.title == "Starts in the chosen time"
    found: dict[str, list[float]] = {}
    for query in panel.queries:
        seconds = hours * HOUR
        for item in answers(prometheus, panel, query.expression, seconds=seconds):
            found.setdefault(item.labels["pod"], []).append(item.value)
    assert found == expected
    assert all(sum(phases) == whole for *phases, whole in found.values())


def test_percentiles(prometheus: Prometheus) -> None:
    """A percentile is that of its name, within the bucket that holds it."""
    panel = CODE.panels[1]
    assert panel.title == "Time to the first token"
    # nine of ten requests wait at most 0.1 s, the tenth 0.25 to 0.5 s
    assert {
        query.legend: answers(prometheus, panel, query.expression)[0].value
        for query in panel.queries
    } == {
        "{{job}} P50": pytest.approx(0.05 + 0.05 * 0.5 / 0.9),
        "{{job}} P95": pytest.approx(0.25 + 0.25 * 0.5),
        "{{job}} P99": pytest.approx(0.25 + 0.25 * 0.9),
    }


@each_panel
def test_absent_source_is_no_zero(
    silent: Prometheus, board: Dashboard, panel: Panel
) -> None:
    """Where no pod reports, a panel of vLLM's is empty: nothing is not zero."""
    assert panel in board.panels
    for query in panel.queries:
        found = answers(silent, panel, query.expression)
        assert bool(found) is not bool(VLLM_NAME.search(query.expression))


@pytest.mark.parametrize(
    ("scaling", "expected"),
    [
        (QueueScaling(), {"running": 38, "waiting": 4}),
        # one query holds the formula where something else may wake the model
        (
            QueueScaling(min_replicas=0, activation=WINDOW, waiting_weight=7),
            {"queue": 38 + 7 * 4},
        ),
    ],
)
def test_triggers_of_keda(
    prometheus: Prometheus,
    silent: Prometheus,
    scaling: QueueScaling,
    expected: dict[str, float],
) -> None:
    """Each trigger gets one number, and an error where no pod reports."""
    queries = trigger_queries(chat_serving(scaling=scaling))
    found = {
        name: prometheus.one(query, at=made.NOW) for name, query in queries.items()
    }
    assert found == expected
    # KEDA takes an empty answer for an error ("ignoreNullValues": "false")
    assert all(silent.query(query, at=made.NOW) == [] for query in queries.values())


def test_renamed_metric_is_not_asked_for(prometheus: Prometheus) -> None:
    """The old name of the cache's use is in no query, so an old vLLM shows nothing."""
    old = prometheus.query(made.OLD_CACHE_USAGE, at=made.NOW)
    assert [item.labels["job"] for item in old] == ["inference/code"]
    assert not any(made.OLD_CACHE_USAGE in vllm_names(board) for board in BOARDS)
    cache = next(panel for panel in CODE.panels if panel.title.startswith("KV cache"))
    assert answers(prometheus, cache, cache.queries[0].expression) == []


def exported() -> set[str]:
    """Return the names of the series on the recorded page of the pinned vLLM."""
    page = recorded_data("vllm_metrics.prom").read_text()
    return set(re.findall(r"^(vllm:\w+)", page, re.MULTILINE))


def test_pinned_vllm_exports_what_is_asked_for() -> None:
    """Each name of vLLM's in a dashboard is on the page of a real vLLM."""
    known = exported()
    for board in BOARDS:
        assert vllm_names(board) - known == set()


def test_unknown_name_is_found(prometheus: Prometheus) -> None:
    """A query with a name that vLLM does not export has no data, which is seen."""
    known = exported()
    for panel, text in expressions(CHAT):
        for name in VLLM_NAME.findall(text):
            wrong = re.sub(rf"{name}\b", f"{name}_typo", text)
            assert set(VLLM_NAME.findall(wrong)) - known
            assert answers(prometheus, panel, wrong) == []


def test_recorded_page_answers(tmp_path: Path) -> None:
    """The names, labels and buckets of a real vLLM answer every query of vLLM's."""
    page = recorded_data("vllm_metrics.prom").read_text()
    labels = {"namespace": "inference", "job": "inference/tiny"}
    series = [
        made.Series(
            match["name"],
            {
                **dict(re.findall(r'(\w+)="([^"]*)"', match["labels"])),
                **labels,
                "pod": pod,
            },
            # a page that is repeated, with counters that grow
            made.linear(float(match["value"]), float(match["value"]) / 60),
        )
        for match in re.finditer(
            r"^(?P<name>vllm:\w+)\{(?P<labels>.*)\} (?P<value>\S+)$", page, re.MULTILINE
        )
        for pod in ("tiny-1-a", "tiny-1-b")
    ]
    tiny = model_dashboard(namespace="inference", name="tiny", served_name="tiny")
    with serve(series, tmp_path) as server:
        for board in (*dashboards(), tiny):
            for panel, text in expressions(board):
                foreign = set(re.findall(r"\b(?:kube|keda|karpenter|DCGM)_\w+", text))
                if VLLM_NAME.search(text) and not foreign:
                    assert answers(server, panel, text), text


def test_recorded_queue_is_read_as_it_was(tmp_path: Path) -> None:
    """A trigger reads the queue of a real vLLM under bursts, as it was recorded."""
    with recorded_data("vllm_queue_trace.csv").open() as file:
        rows = list(csv.DictReader(file))
    at = {round(float(row["t_s"]) // made.STEP): row for row in rows}
    labels = made.PODS[0].labels
    names = ("num_requests_running", "num_requests_waiting")
    series = [
        made.Series(
            f"vllm:{name}",
            labels,
            made.steps({index: float(row[name]) for index, row in at.items()}),
            end=max(at) * made.STEP,
        )
        for name in names
    ]
    running, waiting = trigger_queries(chat_serving()).values()
    with serve(series, tmp_path) as server:
        for index, row in at.items():
            when = made.BEGIN + index * made.STEP
            assert server.one(running, at=when) == float(row[names[0]])
            assert server.one(waiting, at=when) == float(row[names[1]])
    assert max(float(row[names[1]]) for row in at.values()) > 0


def test_wrong_query_is_an_error(prometheus: Prometheus) -> None:
    """The server is a real one: it refuses what is no PromQL."""
    with pytest.raises(QueryError, match="parse error"):
        prometheus.query("sum(up", at=made.NOW)


def test_missing_program_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the program the tests fail, with what to do, and are not skipped."""
    monkeypatch.setenv("PROMETHEUS", "no-such-program")
    with pytest.raises(RuntimeError, match="'make servers' puts it into"):
        binary("PROMETHEUS")
