"""Panels of a dashboard as plain SVG, without a library for plots."""

# ruff: noqa: INP001 - part of a script

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape

from eks_inference.dashboards import Kind, Panel

COLOURS = (
    *("#2f6fb5", "#c96f1a", "#2f8f5b", "#8a5fc0", "#b83b3b", "#6b7885"),
    *("#b59a1c", "#1f8f9a", "#a34a86"),
)
TEXT, FAINT, GRID = "#20262d", "#68727d", "#e3e7eb"
LINE = 16
"""Height of a line of text, in pixels."""
PADDING = 12
AXIS = 58
"""Room for the numbers of the upright axis."""


Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Drawn:
    """A series: its name in the legend, its points, and whether its axis is right."""

    name: str
    points: tuple[tuple[float, float], ...]
    right: bool = False


@dataclass(frozen=True)
class Span:
    """The time that is shown, and the time between two points."""

    begin: float
    end: float
    step: float


@dataclass(frozen=True)
class Box:
    """A place on the page."""

    x: float
    y: float
    width: float
    height: float


def panel_svg(panel: Panel, series: Sequence[Drawn], box: Box, span: Span) -> str:
    """Return a panel, drawn as its kind.

    Args:
        panel: What is drawn.
        series: Its series.
        box: Where.
        span: When.
    """
    frame = (
        f'<rect x="{box.x}" y="{box.y}" width="{box.width}" height="{box.height}" '
        f'rx="4" fill="#fff" stroke="{GRID}"/>'
    )
    title = text(box.x + PADDING, box.y + 22, panel.title, size=14, weight=600)
    inner = Box(
        box.x + PADDING,
        box.y + 34,
        box.width - 2 * PADDING,
        box.height - 34 - PADDING,
    )
    draw: Mapping[Kind, Callable[[Panel, Sequence[Drawn], Box], str]] = {
        Kind.LINES: partial(_lines, span=span),
        Kind.STATES: partial(_states, span=span),
        Kind.NUMBERS: _numbers,
        Kind.BARS: _bars,
        Kind.TABLE: _table,
    }
    if not series:
        middle = inner.x + inner.width / 2
        nothing = text(middle, inner.y + 40, "no data", anchor="middle", colour=FAINT)
        return frame + title + nothing
    return frame + title + draw[panel.kind](panel, series, inner)


def text(
    x: float,
    y: float,
    value: str,
    *,
    size: int = 12,
    weight: int = 400,
    anchor: str = "start",
    colour: str = TEXT,
) -> str:
    """Return a line of text; ``anchor`` is the end of it that stands at ``x``."""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" font-weight="{weight}" '
        f'text-anchor="{anchor}" fill="{colour}">{escape(value)}</text>'
    )


def number(value: float, unit: str) -> str:
    """Return a value as people read it."""
    if unit == "percentunit":
        return f"{value * 100:.3g} %"
    if unit == "currencyUSD":
        return f"${value:.3g}"
    suffix = {"s": " s", "h": " h", "reqps": "/s"}.get(unit, "")
    if abs(value) >= 10_000:  # noqa: PLR2004 - five digits and more are thousands
        return f"{value / 1_000:.4g}k{suffix}"
    return f"{value:.4g}{suffix}"


def _lines(panel: Panel, series: Sequence[Drawn], box: Box, *, span: Span) -> str:
    legend, rows = _legend(series, box)
    axes = 1 + any(item.right for item in series)
    plot = Box(
        box.x + AXIS,
        box.y,
        box.width - AXIS * axes,
        box.height - LINE * (rows + 1) - 12,
    )
    parts = [_times(plot, span), legend]
    if panel.stacked:
        layers = _stacked(series, span)
        top = _nice(max(value for layer in layers for _, value in layer))
        parts.append(_grid(plot, top, panel.unit))
        # the highest first, so that the lower ones are seen before it
        for index in reversed(range(len(layers))):
            line = " ".join(_place(plot, span, top, point) for point in layers[index])
            ground = (f"{x},{plot.y + plot.height}" for x in (plot.x, _right(plot)))
            first, last = ground
            parts.append(
                f'<polygon points="{first} {line} {last}" '
                f'fill="{COLOURS[index % len(COLOURS)]}"/>'
            )
        return "".join(parts)
    for right in (False, True):
        shown = [
            (index, item) for index, item in enumerate(series) if item.right is right
        ]
        if not shown:
            continue
        top = _nice(max(value for _, item in shown for _, value in item.points))
        parts.append(_grid(plot, top, panel.unit, right=right))
        for index, item in shown:
            parts += _pieces(plot, span, top, item, index)
    return "".join(parts)


def _pieces(
    plot: Box, span: Span, top: float, item: Drawn, index: int
) -> Iterator[str]:
    """Draw a line in pieces: where there is no point, there is no line."""
    pieces: list[list[tuple[float, float]]] = []
    for point in item.points:
        if not pieces or point[0] - pieces[-1][-1][0] > 1.5 * span.step:
            pieces.append([])
        if item.right and pieces[-1]:
            pieces[-1].append((point[0], pieces[-1][-1][1]))
        pieces[-1].append(point)
    colour = COLOURS[index % len(COLOURS)]
    dash = ' stroke-dasharray="6 3"' if index % 2 else ""
    for piece in pieces:
        line = " ".join(_place(plot, span, top, point) for point in piece)
        yield (
            f'<polyline points="{line}" fill="none" stroke="{colour}" '
            f'stroke-width="2"{dash}/>'
        )


def _place(plot: Box, span: Span, top: float, point: tuple[float, float]) -> str:
    time, value = point
    x = plot.x + plot.width * (time - span.begin) / (span.end - span.begin)
    y = plot.y + plot.height * (1 - value / top)
    return f"{x:.1f},{y:.1f}"


def _right(plot: Box) -> float:
    return plot.x + plot.width


def _stacked(series: Sequence[Drawn], span: Span) -> list[Points]:
    """Return each series on top of those before it; a missing point is nothing."""
    steps = round((span.end - span.begin) / span.step)
    times = [span.begin + index * span.step for index in range(steps + 1)]
    height = dict.fromkeys(times, 0.0)
    layers: list[Points] = []
    for item in series:
        values = dict(item.points)
        for time in times:
            height[time] += values.get(time, 0.0)
        layers.append(list(height.items()))
    return layers


def _legend(series: Sequence[Drawn], box: Box) -> tuple[str, int]:
    """Return the names, and how many rows they take."""
    column = max(len(item.name) for item in series) * 6.4 + 26
    columns = max(1, int(box.width // column))
    rows = math.ceil(len(series) / columns)
    parts = []
    for index, item in enumerate(series):
        x = box.x + index % columns * column
        y = box.y + box.height - LINE * (rows - 1 - index // columns)
        colour = COLOURS[index % len(COLOURS)]
        parts.append(
            f'<rect x="{x:.1f}" y="{y - 8:.1f}" width="12" height="6" fill="{colour}"/>'
        )
        parts.append(text(x + 17, y, item.name, size=11))
    return "".join(parts), rows


def _grid(plot: Box, top: float, unit: str, *, right: bool = False) -> str:
    parts = []
    x, anchor = (_right(plot) + 6, "start") if right else (plot.x - 6, "end")
    for step in range(5):
        y = plot.y + plot.height * (1 - step / 4)
        parts.append(
            f'<line x1="{plot.x}" x2="{_right(plot)}" y1="{y:.1f}" y2="{y:.1f}" '
            f'stroke="{GRID}"/>'
        )
        label = number(top * step / 4, unit)
        parts.append(text(x, y + 4, label, size=11, anchor=anchor, colour=FAINT))
    return "".join(parts)


def _times(plot: Box, span: Span) -> str:
    parts = []
    minutes = (span.end - span.begin) / 60
    for step in range(5):
        x = plot.x + plot.width * step / 4
        anchor = ("start", "middle", "middle", "middle", "end")[step]
        label = f"{minutes * step / 4:.0f} min"
        y = plot.y + plot.height + 15
        parts.append(text(x, y, label, size=11, anchor=anchor, colour=FAINT))
    return "".join(parts)


def _states(_panel: Panel, series: Sequence[Drawn], box: Box, *, span: Span) -> str:
    room = max(len(item.name) for item in series) * 6.4 + 10
    height = min(22.0, box.height / len(series))
    width = box.width - room
    parts = []
    for index, item in enumerate(series):
        y = box.y + height * index
        parts.append(text(box.x, y + height / 2 + 4, item.name, size=11))
        for begin, end, value in _runs(item.points, span):
            x = box.x + room + width * (begin - span.begin) / (span.end - span.begin)
            long = width * (end - begin) / (span.end - span.begin)
            parts.append(
                f'<rect x="{x:.1f}" y="{y + 2:.1f}" width="{long:.1f}" '
                f'height="{height - 4:.1f}" fill="{COLOURS[0] if value else GRID}"/>'
            )
    return "".join(parts)


def _runs(points: Points, span: Span) -> Iterator[tuple[float, float, float]]:
    """Return how long each value stood: begin, end, value."""
    begin, value = points[0]
    for time, next_value in points[1:]:
        if next_value != value:
            yield begin, time, value
            begin, value = time, next_value
    yield begin, min(points[-1][0] + span.step, span.end), value


def _numbers(panel: Panel, series: Sequence[Drawn], box: Box) -> str:
    width = box.width / len(series)
    parts = []
    for index, item in enumerate(series):
        middle = box.x + width * (index + 0.5)
        value = number(item.points[-1][1], panel.unit)
        y = box.y + 44
        parts.append(text(middle, y, value, size=28, weight=600, anchor="middle"))
        name = text(middle, y + 26, item.name, size=11, anchor="middle", colour=FAINT)
        parts.append(name)
    return "".join(parts)


def _bars(panel: Panel, series: Sequence[Drawn], box: Box) -> str:
    room = max(len(item.name) for item in series) * 6.4 + 10
    top = max(item.points[-1][1] for item in series) or 1.0
    height = min(26.0, box.height / len(series))
    parts = []
    for index, item in enumerate(series):
        value, y = item.points[-1][1], box.y + height * index
        length = max(1.0, (box.width - room - 70) * value / top)
        colour = COLOURS[index % len(COLOURS)]
        middle = y + height / 2 + 4
        parts.append(text(box.x, middle, item.name, size=11))
        parts.append(
            f'<rect x="{box.x + room:.1f}" y="{y + 4:.1f}" width="{length:.1f}" '
            f'height="{height - 8:.1f}" fill="{colour}"/>'
        )
        label = number(value, panel.unit)
        parts.append(text(box.x + room + length + 6, middle, label, size=11))
    return "".join(parts)


def _table(panel: Panel, series: Sequence[Drawn], box: Box) -> str:
    """Draw a row for each set of labels; a name is ``row|column``."""
    rows = list(dict.fromkeys(item.name.split("|")[0] for item in series))
    columns = [query.legend for query in panel.queries]
    cells = {item.name: item.points[-1][1] for item in series}
    width = box.width / (len(columns) + 1)
    parts = [
        text(box.x + width * (index + 1), box.y + 14, name, weight=600)
        for index, name in enumerate(columns)
    ]
    for line, row in enumerate(rows, start=1):
        y = box.y + 14 + 24 * line
        parts.append(text(box.x, y, row))
        for index, column in enumerate(columns, start=1):
            value = cells.get(f"{row}|{column}")
            label = "" if value is None else number(value, panel.unit)
            parts.append(text(box.x + width * index, y, label))
    return "".join(parts)


def _nice(value: float) -> float:
    """Return the next round number, for the top of an axis."""
    if value <= 0:
        return 1.0
    size = 10.0 ** math.floor(math.log10(value))
    return next(size * step for step in (1, 2, 4, 5, 8, 10) if size * step >= value)
