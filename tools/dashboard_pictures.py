"""Draws the dashboards from the answers of a real Prometheus, for the documentation.

Grafana draws them otherwise; what is shown here is that each query has an answer, and
what one reads from it: ``PYTHONPATH=. python tools/dashboard_pictures.py FOLDER``.
"""

# ruff: noqa: INP001, TID251 - a script, which starts a server

import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from eks_inference.dashboards import Dashboard, Kind, Panel, dashboards, model_dashboard
from tests.observability import series as made
from tests.observability.grafana import EVERYTHING, filled
from tests.observability.prometheus_server import Prometheus, serve
from tools.svg_panels import FAINT, Box, Drawn, Span, panel_svg, text

WIDTH, ROW, GAP, HEAD = 1_200, 30, 8, 64
SECONDS = 3_600
SPAN = Span(made.NOW - SECONDS, made.NOW, 30)


def main(folder: Path) -> None:
    """Write a picture for each dashboard.

    Args:
        folder: Where to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    chat = model_dashboard(namespace="inference", name="chat", served_name=made.CHAT)
    with (
        tempfile.TemporaryDirectory() as scratch,
        serve(made.cluster(), Path(scratch)) as server,
    ):
        for board in dashboards():
            (folder / f"{board.uid}.svg").write_text(picture(server, board))
        (folder / "model.svg").write_text(picture(server, chat))


def picture(server: Prometheus, board: Dashboard) -> str:
    """Return a dashboard as SVG.

    Args:
        server: Who answers its queries.
        board: The dashboard.
    """
    places = [panel["gridPos"] for panel in board.document()["panels"]]
    height = HEAD + ROW * max(place["y"] + place["h"] for place in places)
    size = f'width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif">',
        f'<rect width="{WIDTH}" height="{height}" fill="#f4f5f7"/>',
        text(GAP, 28, board.title, size=20, weight=600),
        text(GAP, 50, f"{board.description} Made series, one hour.", colour=FAINT),
    ]
    column = WIDTH / 24
    for panel, place in zip(board.panels, places, strict=True):
        box = Box(
            place["x"] * column + GAP / 2,
            place["y"] * ROW + HEAD + GAP / 2,
            place["w"] * column - GAP,
            place["h"] * ROW - GAP,
        )
        parts.append(panel_svg(panel, list(_answers(server, panel)), box, SPAN))
    return "\n".join([*parts, "</svg>", ""])


def _answers(server: Prometheus, panel: Panel) -> Iterator[Drawn]:
    for query in panel.queries:
        asked = filled(panel, query.expression, EVERYTHING, seconds=SECONDS)
        if panel.instant:
            found = server.query(asked, at=made.NOW)
        else:
            found = server.query_range(
                asked, begin=SPAN.begin, end=SPAN.end, step=SPAN.step
            )
        for item in found:
            name = _name(query.legend, item.labels)
            if panel.kind is Kind.TABLE:
                name = f"{item.labels['pod']}|{query.legend}"
            yield Drawn(name, item.points, query.right)


def _name(legend: str, labels: Mapping[str, str]) -> str:
    return re.sub(r"{{(\w+)}}", lambda match: labels.get(match[1], ""), legend)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
