"""The dashboards themselves: their form, their size, and what they cost to import."""

import copy
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from eks_inference.dashboards import (
    Dashboard,
    Kind,
    config_maps,
    dashboards,
    model_dashboard,
)
from tests.library.conftest import refusal
from tests.observability.grafana import EVERYTHING, problems
from tests.schemas import crds
from tests.schemas.manifests import problems as manifest_problems

MODEL = model_dashboard(
    namespace="inference", name="chat", served_name="mistral-7b-instruct"
)
BOARDS = (*dashboards(), MODEL)
each_board = pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.title)

ROOT = Path(__file__).parents[2]
GONE = object()

# where a value is put (GONE: taken away), the value, a part of the complaint expected
BROKEN: list[tuple[str, Any, str]] = [
    ("titel", "x", "'titel' was unexpected"),
    ("schemaVersion", GONE, "'schemaVersion' is a required property"),
    ("refresh", 30, "30 is not of type 'string'"),
    ("graphTooltip", 7, "7 is not one of"),
    ("templating.list.0.type", "table", "'table' is not one of"),
    ("templating.list.1.multiple", True, "'multiple' was unexpected"),
    ("panels.0.gridPos.width", 3, "'width' was unexpected"),
    ("panels.0.alert", {}, "'alert' was unexpected"),
    ("panels.0.type", "graph", "unknown type 'graph'"),
    ("panels.0.options.legends", {}, "'legends' was unexpected"),
    ("panels.0.options.legend.displayMode", "bottom", "'bottom' is not one of"),
    ("panels.0.options.tooltip", GONE, "'tooltip' is a required property"),
    ("panels.0.fieldConfig.defaults.units", "s", "'units' was unexpected"),
    ("panels.0.fieldConfig.defaults.custom.fill", 3, "'fill' was unexpected"),
    ("panels.0.targets.0.expression", "up", "'expression' was unexpected"),
    ("panels.0.targets.0.expr", GONE, "'expr' is a required property"),
]


def broken(document: Mapping[str, Any], path: str, value: Any) -> dict[str, Any]:
    """Return a copy of a dashboard with one value changed."""
    changed: dict[str, Any] = copy.deepcopy(dict(document))
    *steps, last = (int(step) if step.isdigit() else step for step in path.split("."))
    place: Any = changed
    for step in steps:
        place = place[step]
    if value is GONE:
        del place[last]
    else:
        place[last] = value
    return changed


def holds(larger: Any, smaller: Any) -> bool:
    """Say whether a value has everything of another; it may have more."""
    if isinstance(smaller, dict):
        return isinstance(larger, dict) and all(
            key in larger and holds(larger[key], value)
            for key, value in smaller.items()
        )
    if isinstance(smaller, list):
        return len(larger) == len(smaller) and all(map(holds, larger, smaller))
    return bool(larger == smaller)


def python(code: str, **variables: str) -> str:
    """Return what a program prints in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **variables},
    )
    return done.stdout.strip()


@each_board
def test_grafana_allows_it(board: Dashboard) -> None:
    """Grafana's own types allow every field of every dashboard."""
    assert problems(board.document()) == []


@pytest.mark.parametrize(("path", "value", "complaint"), BROKEN)
def test_check_refuses_what_grafana_does_not_know(
    path: str, value: Any, complaint: str
) -> None:
    """The check against Grafana's types can fail."""
    found = problems(broken(dashboards()[0].document(), path, value))
    assert any(complaint in text for text in found), found


@each_board
def test_sdk_reads_what_it_has_written(board: Dashboard) -> None:
    """The SDK of the pinned version reads each dashboard back without a loss."""
    from grafana_foundation_sdk.cog.encoder import JSONEncoder  # noqa: PLC0415
    from grafana_foundation_sdk.cog.plugins import (  # noqa: PLC0415
        register_default_plugins,
    )
    from grafana_foundation_sdk.models import dashboard  # noqa: PLC0415

    register_default_plugins()
    document = board.document()
    again = dashboard.Dashboard.from_json(copy.deepcopy(document))
    read = json.loads(json.dumps(again, cls=JSONEncoder))
    # it adds what its own defaults are
    assert holds(read, document)


def test_cluster_has_four() -> None:
    """A cluster has a dashboard for each question, in the order of asking."""
    assert [board.uid for board in dashboards()] == [
        "eks-inference-scaling",
        "eks-inference-latency",
        "eks-inference-cost",
        "eks-inference-cold-start",
    ]


@each_board
def test_identity(board: Dashboard) -> None:
    """An identity is one that Grafana and Kubernetes allow, and names the file."""
    assert re.fullmatch(r"[a-z][a-z0-9-]{,39}", board.uid)
    assert board.file_name == f"{board.uid}.json"
    assert board.document()["uid"] == board.uid


@each_board
def test_panels_do_not_overlap(board: Dashboard) -> None:
    """Every panel has a place of its own within the 24 columns."""
    places = [panel["gridPos"] for panel in board.document()["panels"]]
    assert all(0 <= place["x"] <= 24 - place["w"] for place in places)
    for one, other in combinations(places, 2):
        assert (
            one["x"] + one["w"] <= other["x"]
            or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"]
            or other["y"] + other["h"] <= one["y"]
        )


@each_board
def test_panels_say_what_they_answer(board: Dashboard) -> None:
    """Each panel has a name of its own, a question, and queries with names."""
    titles = [panel.title for panel in board.panels]
    assert len(set(titles)) == len(titles)
    for panel, drawn in zip(board.panels, board.document()["panels"], strict=True):
        assert "?" in panel.answers
        assert drawn["description"] == panel.answers
        assert len(drawn["targets"]) == len(panel.queries) > 0
        assert all(query.legend for query in panel.queries)


@each_board
def test_queries_fit_the_panel(board: Dashboard) -> None:
    """A panel that shows one moment asks for one moment only."""
    for panel, drawn in zip(board.panels, board.document()["panels"], strict=True):
        for query, target in zip(panel.queries, drawn["targets"], strict=True):
            assert target["expr"] == query.expression
            assert target["instant"] is panel.instant
            assert target["range"] is not panel.instant
            assert (target.get("format") == "table") is (panel.kind is Kind.TABLE)


@each_board
def test_source_is_chosen_by_the_reader(board: Dashboard) -> None:
    """The reader chooses the data source, and each panel asks that one."""
    document = board.document()
    assert document["templating"]["list"][0]["type"] == "datasource"
    source = {"type": "prometheus", "uid": "${datasource}"}
    assert all(panel["datasource"] == source for panel in document["panels"])


@each_board
def test_all_is_everything(board: Dashboard) -> None:
    """A reader who has chosen nothing sees everything: 'All' is what the tests ask."""
    _, *chosen = board.document()["templating"]["list"]
    assert [item["name"] for item in chosen] == [item.name for item in board.variables]
    for variable in chosen:
        assert variable["allValue"] == EVERYTHING[variable["name"]]
        assert variable["current"]["value"] == "$__all"


def test_replicas_have_an_axis_of_their_own() -> None:
    """Replicas are steps on the right: a few would be flat beside many requests."""
    right = {
        "custom.axisPlacement": "right",
        "custom.lineInterpolation": "stepAfter",
    }
    for board in (dashboards()[0], MODEL):
        queue = board.document()["panels"][0]
        assert {
            override["matcher"]["options"]: {
                item["id"]: item["value"] for item in override["properties"]
            }
            for override in queue["fieldConfig"]["overrides"]
        } == {"C": right, "D": right}


def test_same_text_in_every_process() -> None:
    """The JSON does not depend on the order in which a process hashes."""
    code = (
        "from eks_inference.dashboards import *;"
        "print(*(item.to_json() for item in dashboards()))"
    )
    texts = {python(code, PYTHONHASHSEED=seed) for seed in ("1", "2")}
    assert texts == {" ".join(item.to_json() for item in dashboards())}


def test_json_is_the_document() -> None:
    """The text is the document, without a blank that costs room."""
    assert json.loads(MODEL.to_json()) == MODEL.document()
    assert len(MODEL.to_json()) <= len(json.dumps(MODEL.document()))


@pytest.mark.parametrize("length", [8, 40])
def test_model_dashboard_is_small(length: int) -> None:
    """A model's dashboard is below 12 KB, since each model of a template has one."""
    board = model_dashboard(
        namespace="n" * length, name="m" * length, served_name="s" * length
    )
    assert len(board.to_json().encode()) < 12 * 1024


def test_model_dashboard_has_no_variable_but_the_source() -> None:
    """A model's dashboard shows the model at once: there is nothing to choose."""
    assert [item["name"] for item in MODEL.document()["templating"]["list"]] == [
        "datasource"
    ]
    assert "$model" not in MODEL.to_json()


def test_models_do_not_share_an_identity() -> None:
    """Two models have two dashboards, also where their names run together."""
    names = [("a", "bc"), ("ab", "c"), ("a" * 63, "b"), ("a" * 63, "c")]
    boards = [
        model_dashboard(namespace=space, name=name, served_name="x")
        for space, name in names
    ]
    assert len({board.uid for board in boards}) == len(names)
    assert len({board.title for board in boards}) == len(names)


def test_model_names_are_checked() -> None:
    """All bad names of a model's dashboard are named at once."""
    message = refusal(
        lambda: model_dashboard(namespace="In", name=None, served_name="")  # type: ignore[arg-type]
    )
    label = "must be a DNS label of at most 63 characters (a-z, 0-9 and '-', starting "
    assert message == (
        f"dashboard: 'namespace' {label}with a letter), got 'In'\n"
        f"dashboard: 'name' {label}with a letter), got None\n"
        "dashboard: 'served_name' must be a text that is not empty, got ''"
    )


def test_config_maps_are_what_the_sidecar_reads() -> None:
    """Each dashboard is a ConfigMap with the sidecar's label and one file."""
    maps = config_maps(BOARDS, namespace="monitoring")
    assert len(maps) == len(BOARDS)
    for board, found in zip(BOARDS, maps, strict=True):
        assert found["metadata"] == {
            "name": board.uid,
            "namespace": "monitoring",
            "labels": {"grafana_dashboard": "1"},
        }
        assert found["data"] == {board.file_name: board.to_json()}
        problems = manifest_problems(
            found, kubernetes_version="1.35", crds=crds.CrdSchemas("none", {})
        )
        assert problems == []


def test_config_maps_are_checked() -> None:
    """A bad namespace and a dashboard that stands twice are both named."""
    message = refusal(lambda: config_maps([MODEL, MODEL], namespace="x_y"))
    assert "dashboards: 'namespace' must be a DNS label" in message
    assert f"must not name anything twice, got {MODEL.uid!r}" in message


def test_sdk_is_loaded_for_rendering_only() -> None:
    """Importing the library and its dashboards loads neither Grafana's SDK nor CDK."""
    make = "from eks_inference.dashboards import dashboards; boards = dashboards();"
    loaded = (
        "import sys; print(sorted({'grafana_foundation_sdk', 'aws_cdk', 'jsii'} "
        "& set(sys.modules)))"
    )
    assert python(f"import eks_inference; {make} {loaded}") == "[]"
    rendered = python(f"{make} boards[0].to_json(); {loaded}")
    assert rendered == "['grafana_foundation_sdk']"


def test_command_writes_the_files(tmp_path: Path) -> None:
    """The command writes each dashboard as a file, the same in every run."""
    folder = tmp_path / "deep" / "dashboards"
    command = [sys.executable, "-m", "eks_inference.dashboards", str(folder)]
    subprocess.run(command, check=True)
    first = {path.name: path.read_text() for path in folder.iterdir()}
    subprocess.run(command, check=True)
    assert {path.name: path.read_text() for path in folder.iterdir()} == first
    assert {name: json.loads(text) for name, text in first.items()} == {
        board.file_name: board.document() for board in dashboards()
    }


@pytest.mark.parametrize("arguments", [[], ["--help"], ["a", "b"]])
def test_command_explains_itself(arguments: list[str]) -> None:
    """The command needs one folder, and says so."""
    done = subprocess.run(
        [sys.executable, "-m", "eks_inference.dashboards", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == "usage: python -m eks_inference.dashboards FOLDER\n"


@each_board
def test_page_has_every_panel(board: Dashboard) -> None:
    """The documentation names each panel and what it answers, in the panel's words."""
    page = (ROOT / "docs" / "dashboards.md").read_text()
    for panel in board.panels:
        assert f"| {panel.title} | {panel.answers} |" in page
