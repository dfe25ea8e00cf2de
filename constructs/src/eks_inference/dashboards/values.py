"""What a dashboard shows, as plain values: panels, and the queries behind them."""

import json
from dataclasses import dataclass
from enum import StrEnum
from importlib import import_module
from typing import Any


class Kind(StrEnum):
    """How a panel shows its series, by the names of Grafana's panels."""

    LINES = "timeseries"
    STATES = "state-timeline"
    NUMBERS = "stat"
    BARS = "bargauge"
    TABLE = "table"


@dataclass(frozen=True, slots=True)
class Query:
    """One PromQL expression.

    Args:
        expression: The expression, with Grafana's variables in it.
        legend: What its series are called; ``{{label}}`` stands for a label's value.
        right: Whether its lines are steps with an axis of their own, on the right: a
            few replicas would be flat beside many requests. Default: no.
    """

    expression: str
    legend: str
    right: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One picture.

    Args:
        title: What it shows.
        answers: The question that it answers, shown when one points at the title.
        queries: Where its series come from.
        kind: How it shows them. Default: lines over time.
        unit: Grafana's name of the unit of the values. Default: a plain number.
        width: Width in columns, of which a dashboard has 24. Default: 12.
        height: Height in rows of 30 pixels. Default: 8.
        stacked: Whether lines add up to a whole. Default: no.
    """

    title: str
    answers: str
    queries: tuple[Query, ...]
    kind: Kind = Kind.LINES
    unit: str = "short"
    width: int = 12
    height: int = 8
    stacked: bool = False

    @property
    def instant(self) -> bool:
        """Whether it shows one moment, the end of the chosen time, and no course."""
        return self.kind in {Kind.NUMBERS, Kind.BARS, Kind.TABLE}


@dataclass(frozen=True, slots=True)
class Variable:
    """What the reader chooses at the top of a dashboard.

    Args:
        name: Name, as the queries have it behind a ``$``.
        label: What the reader sees.
        query: Grafana's query for the values.
        regex: What of a value is taken, as a group. Default: all of it.
    """

    name: str
    label: str
    query: str
    regex: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dashboard:
    """A dashboard of Grafana.

    Args:
        uid: Identity, by which Grafana knows it again; at most 40 characters.
        title: Title.
        description: What it is for.
        panels: Its panels, in the order of reading.
        variables: What the reader chooses, besides the data source.
        hours: The time that it shows when it is opened, in hours. Default: 3.
        tags: Tags, by which Grafana finds it. Default: that of this library.
    """

    uid: str
    title: str
    description: str
    panels: tuple[Panel, ...]
    variables: tuple[Variable, ...] = ()
    hours: int = 3
    tags: tuple[str, ...] = ("eks-inference",)

    @property
    def file_name(self) -> str:
        """Name of its file, which is also its key in a ConfigMap."""
        return f"{self.uid}.json"

    def document(self) -> dict[str, Any]:
        """Return Grafana's JSON model as plain data."""
        # Grafana's SDK is loaded here only: whoever has no dashboards does without
        render = import_module("eks_inference.dashboards.render")
        document: dict[str, Any] = render.rendered(self)
        return document

    def to_json(self) -> str:
        """Return Grafana's JSON model, the same text for the same dashboard."""
        return json.dumps(self.document(), sort_keys=True, separators=(",", ":"))
