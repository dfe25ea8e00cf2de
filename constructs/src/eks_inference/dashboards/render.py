"""Dashboards as Grafana's JSON model, made by Grafana's own SDK.

Only ``Dashboard.document`` imports this module, since the SDK takes time to load.
"""

import json
from string import ascii_uppercase
from typing import TYPE_CHECKING, Any

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    dashboard,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from eks_inference.dashboards.values import Dashboard, Kind, Panel, Variable

if TYPE_CHECKING:
    from collections.abc import Callable

_SOURCE = "datasource"
_ALL = ".+"
"""What stands in a query for 'All': everything that has the label."""

_STEPS_ON_THE_RIGHT = [
    models.DynamicConfigValue(
        id_val="custom.axisPlacement", value=common_models.AxisPlacement.RIGHT
    ),
    models.DynamicConfigValue(
        id_val="custom.lineInterpolation",
        value=common_models.LineInterpolation.STEP_AFTER,
    ),
]


def rendered(board: Dashboard) -> dict[str, Any]:
    """Return a dashboard as Grafana's JSON model.

    Args:
        board: The dashboard.
    """
    builder = (
        dashboard.Dashboard(board.title)
        .uid(board.uid)
        .description(board.description)
        .tags(list(board.tags))
        .time(f"now-{board.hours}h", "now")
        .refresh("30s")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .with_variable(
            dashboard.DatasourceVariable(_SOURCE)
            .label("Data source")
            .type("prometheus")
        )
    )
    for variable in board.variables:
        builder.with_variable(_variable(variable))
    for number, panel in enumerate(board.panels, start=1):
        builder.with_panel(_panel(panel).id(number))
    document: dict[str, Any] = json.loads(json.dumps(builder.build(), cls=JSONEncoder))
    for variable in document["templating"]["list"]:
        # the SDK writes them for each variable, Grafana knows them of intervals only
        for field in ("auto", "auto_count", "auto_min"):
            del variable[field]
    for panel in document["panels"]:
        # newer versions of Grafana keep a footer with the columns; ours have none
        panel["options"].pop("footer", None)
    return document


def _source() -> models.DataSourceRef:
    return models.DataSourceRef(type_val="prometheus", uid=f"${{{_SOURCE}}}")


def _variable(variable: Variable) -> dashboard.QueryVariable:
    return (
        dashboard.QueryVariable(variable.name)
        .label(variable.label)
        .datasource(_source())
        .query(variable.query)
        .regex(variable.regex)
        .multi(multi=True)
        .include_all(include_all=True)
        .all_value(_ALL)
        .current(models.VariableOption(selected=True, text="All", value="$__all"))
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
    )


def _panel(panel: Panel) -> Any:
    make: dict[Kind, Callable[[Panel], Any]] = {
        Kind.LINES: _lines,
        Kind.STATES: _states,
        Kind.NUMBERS: _numbers,
        Kind.BARS: _bars,
        Kind.TABLE: _table,
    }
    builder = (
        make[panel.kind](panel)
        .title(panel.title)
        .description(panel.answers)
        .datasource(_source())
        .unit(panel.unit)
        .span(panel.width)
        .height(panel.height)
    )
    for letter, query in zip(ascii_uppercase, panel.queries, strict=False):
        target = prometheus.Dataquery().ref_id(letter).expr(query.expression)
        target.legend_format(query.legend)
        if panel.instant:
            target.instant()
        else:
            target.range()
        if panel.kind is Kind.TABLE:
            target.format(PromQueryFormat.TABLE)
        if query.right:
            builder.override_by_query(letter, _STEPS_ON_THE_RIGHT)
        builder.with_target(target)
    return builder


def _lines(panel: Panel) -> timeseries.Panel:
    builder = (
        timeseries.Panel()
        .min(0)
        .fill_opacity(30 if panel.stacked else 0)
        .show_points(common_models.VisibilityMode.NEVER)
        .legend(
            common.VizLegendOptions()
            .display_mode(common_models.LegendDisplayMode.LIST)
            .placement(common_models.LegendPlacement.BOTTOM)
            .show_legend(show_legend=True)
        )
        .tooltip(
            common.VizTooltipOptions().mode(common_models.TooltipDisplayMode.MULTI)
        )
    )
    if panel.stacked:
        normal = common_models.StackingMode.NORMAL
        builder.stacking(common.StackingConfig().mode(normal))
    return builder


def _states(_panel: Panel) -> statetimeline.Panel:
    colours = models.FieldColorModeId.THRESHOLDS
    return (
        statetimeline.Panel()
        .merge_values(merge_values=True)
        .show_value(common_models.VisibilityMode.NEVER)
        .color_scheme(dashboard.FieldColor().mode(colours))
        .thresholds(_thresholds())
    )


def _thresholds() -> dashboard.ThresholdsConfig:
    return (
        dashboard.ThresholdsConfig()
        .mode(models.ThresholdsMode.ABSOLUTE)
        .steps(
            [
                models.Threshold(value=None, color="text"),
                models.Threshold(value=1, color="blue"),
            ]
        )
    )


def _numbers(_panel: Panel) -> stat.Panel:
    return stat.Panel().graph_mode(common_models.BigValueGraphMode.NONE)


def _bars(_panel: Panel) -> bargauge.Panel:
    return (
        bargauge.Panel()
        .min(0)
        .orientation(common_models.VizOrientation.HORIZONTAL)
        .display_mode(common_models.BarGaugeDisplayMode.BASIC)
        .value_mode(common_models.BarGaugeValueMode.TEXT)
    )


def _table(panel: Panel) -> table.Panel:
    # one row for each set of labels, one column for each query
    names = {
        f"Value #{letter}": query.legend
        for letter, query in zip(ascii_uppercase, panel.queries, strict=False)
    }
    return (
        table.Panel()
        .show_header(show_header=True)
        .frame_index(0)
        .with_transformation(models.DataTransformerConfig(id_val="merge", options={}))
        .with_transformation(
            models.DataTransformerConfig(
                id_val="organize",
                options={"excludeByName": {"Time": True}, "renameByName": names},
            )
        )
    )
