"""A run as one page with plots, which needs nothing from the network.

Drawn by plotly: it needs only two small packages besides itself, and its plots can be
zoomed, read point by point and saved as SVG in the page. Bokeh's library is a quarter
of the size, but brings numpy, pandas, Pillow and tornado. The whole library, 4.8 MB, is
in the page, since plotly for Python has no smaller bundle. It is loaded here only, and
is an optional dependency: ``pip install 'eks-inference[report]'``.
"""

import json
from importlib import import_module
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from eks_inference.cli import simulation_texts as texts
from eks_inference.cli.documents import Document
from eks_inference.cli.series import SHARES, percentiles, spent, starts
from eks_inference.simulation.pods import Sample
from eks_inference.simulation.results import Result

_COLOURS = {
    "running": "#4c8ed9",
    "waiting": "#d98324",
    "unsent": "#d64545",
    "wanted": "#8a929c",
    "starting": "#c9a227",
    "ready": "#2f9e63",
    "p50": "#2f9e63",
    "p90": "#d98324",
    "p99": "#d64545",
    "usd": "#8f6fd1",
    "pending": "#8a929c",
    "image": "#4c8ed9",
    "process": "#8f6fd1",
    "weights": "#d98324",
    "compile": "#d64545",
    "capture": "#c9a227",
    "probe": "#2f9e63",
}
"""Colours that can be told apart on white and on black."""

_STAGES = {
    "pending": "waits for a node",
    "image": "image",
    "process": "process",
    "weights": "weights",
    "compile": "compile",
    "capture": "CUDA graphs",
    "probe": "probe",
}
"""The stages of a start, as people read them."""


def report(result: Result, document: Document) -> str:
    """Return a run as HTML: its numbers, and plots of what happened when.

    Args:
        result: What happened.
        document: The run as plain data.
    """
    environment = Environment(
        loader=PackageLoader("eks_inference.cli", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    figures = {
        "load": _load(result),
        "starts": _starts(result),
        "first_token": _times(result, "first_token"),
        "latency": _times(result, "latency"),
        "cost": _cost(result),
    }
    whole = [0, (result.now - result.begin) / 60]
    for figure in figures.values():
        figure["layout"]["xaxis"]["range"] = whole
    return environment.get_template("report.html.j2").render(
        run=document,
        library=import_module("plotly.offline").get_plotlyjs(),
        # a text that closes the script element must not stand in it
        figures=json.dumps(figures, allow_nan=False).replace("<", "\\u003c"),
        setting=texts.setting_rows(document),
        rows=texts.run_rows(document),
        times=texts.time_rows(document),
        note=texts.MODEL_NOTE,
        pods=len(starts(result)),
    )


def _load(result: Result) -> Any:
    """Return the queue and, below on the same axis of time, the replicas."""
    figure = _figure(height=560)
    begin = result.begin
    queue = [item for item in result.queue if item.time >= begin]
    times = [(item.time - begin) / 60 for item in queue]
    for name in ("running", "waiting", "unsent"):
        text = "waiting, no replica yet" if name == "unsent" else name
        _line(
            figure,
            text,
            name,
            x=times,
            y=[getattr(item, name) for item in queue],
            stackgroup="queue",
            # the line of an area without height would hide the one below
            line_width=0,
            yaxis="y2",
        )
    samples = _during(result)
    ticks = [(item.time - begin) / 60 for item in samples]
    counts = {
        "wanted": [item.desired for item in samples],
        "starting": [item.pending + item.starting for item in samples],
        "ready": [item.ready for item in samples],
    }
    for name, values in counts.items():
        _line(figure, name, name, x=ticks, y=values, line_shape="hv")
    figure.update_layout(
        yaxis={"title": "replicas", "domain": [0, 0.4], "rangemode": "tozero"},
        yaxis2={"title": "requests", "domain": [0.48, 1], "rangemode": "tozero"},
        xaxis={"title": "minutes", "anchor": "y"},
    )
    return figure.to_plotly_json()


def _during(result: Result) -> list[Sample]:
    """Return how many replicas there were, from the begin of the trace to the end."""
    begin, samples = result.begin, result.replicas
    at_first = [item for item in samples if item.time <= begin][-1:]
    # where nothing changed, a line still goes from the begin to the end
    inside = [item for item in samples if item.time > begin]
    held = [*at_first, *inside]
    moved = [_at(item, max(begin, item.time)) for item in held]
    return [*moved, _at(held[-1], result.now)]


def _at(item: Sample, time: float) -> Sample:
    return Sample(
        time=time,
        desired=item.desired,
        pending=item.pending,
        starting=item.starting,
        ready=item.ready,
        draining=item.draining,
        nodes=item.nodes,
    )


def _starts(result: Result) -> Any:
    """Return a bar for each pod, with the stages of its start."""
    pods = starts(result)
    figure = _figure(height=min(140 + 18 * len(pods), 2_000))
    for stage, text in _STAGES.items():
        found = [
            (pod, begin / 60, length / 60)
            for pod, stages in pods
            for name, begin, length in stages
            if name == stage and length > 0
        ]
        if found:
            figure.add_bar(
                name=text,
                orientation="h",
                y=[pod for pod, _, _ in found],
                base=[begin for _, begin, _ in found],
                x=[length for _, _, length in found],
                marker_color=_COLOURS[stage],
                customdata=[length * 60 for _, _, length in found],
                hovertemplate="%{y}: %{customdata:.0f} s",
            )
    figure.update_layout(
        barmode="overlay",
        hovermode="closest",
        xaxis={"title": "minutes"},
        yaxis={
            "autorange": "reversed",
            "type": "category",
            "categoryorder": "array",
            "categoryarray": [pod for pod, _ in pods],
        },
    )
    return figure.to_plotly_json()


def _times(result: Result, name: str) -> Any:
    """Return the percentiles of a time for each minute of arrival."""
    figure = _figure()
    rows = percentiles(result)
    for key in SHARES:
        _line(
            figure,
            key,
            key,
            x=[row["time"] / 60 for row in rows],
            y=[row[f"{name}_{key}"] for row in rows],
        )
    figure.update_layout(
        yaxis={"title": "seconds", "type": "log"},
        xaxis={"title": "minute of the arrival"},
    )
    return figure.to_plotly_json()


def _cost(result: Result) -> Any:
    figure = _figure()
    points = spent(result)
    _line(
        figure,
        "USD",
        "usd",
        x=[time / 60 for time, _ in points],
        y=[usd for _, usd in points],
    )
    figure.update_layout(
        showlegend=False,
        yaxis={"title": "USD", "rangemode": "tozero"},
        xaxis={"title": "minutes"},
    )
    return figure.to_plotly_json()


def _figure(height: int = 340) -> Any:
    figure = import_module("plotly.graph_objects").Figure()
    figure.update_layout(
        template="none",
        height=height,
        margin={"l": 60, "r": 20, "t": 10, "b": 45},
        hovermode="x unified",
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom"},
    )
    return figure


def _line(figure: Any, text: str, colour: str, **values: Any) -> None:
    figure.add_scatter(
        name=text,
        mode="lines",
        line_color=_COLOURS[colour],
        hovertemplate="%{y:.4~g}",
        **values,
    )
