"""How all dashboards look: one size of panel, one data source to choose, Korean titles with English beside them.

Panels are `graph` (over time), `number` (now) and `grid` (a table of what holds now). Units are Grafana's own ids: s, ms,
reqps, percentunit, bytes, short.
"""

from dataclasses import dataclass

from grafana_foundation_sdk.builders import common, prometheus, stat, table, timeseries
from grafana_foundation_sdk.builders import dashboard as grafana
from grafana_foundation_sdk.models import common as shapes
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SOURCE = models.DataSourceRef(type_val="prometheus", uid="${source}")
# Every query looks at the window that the page shows, and no less than four scrapes.
RATE = "$__rate_interval"
Panel = timeseries.Panel | stat.Panel | table.Panel


@dataclass(frozen=True)
class Row:
    """A heading, and the panels below it."""

    title: str
    panels: tuple[Panel, ...]


def graph(title: str, unit: str, *queries: tuple[str, str], note: str = "", stacked: bool = False) -> timeseries.Panel:
    """Lines over time; `queries` are (PromQL, legend)."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(note)
        .unit(unit)
        .datasource(SOURCE)
        .span(8)
        .height(8)
        .min(0)
        .fill_opacity(10)
        .line_width(1)
        .show_points(shapes.VisibilityMode.NEVER)
        .legend(
            common.VizLegendOptions()
            .display_mode(shapes.LegendDisplayMode.LIST)
            .placement(shapes.LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .tooltip(common.VizTooltipOptions().mode(shapes.TooltipDisplayMode.MULTI))
    )
    if stacked:
        panel = panel.stacking(common.StackingConfig().mode(shapes.StackingMode.NORMAL))
    for number, (query, legend) in enumerate(queries):
        panel = panel.with_target(_target(query, legend, number))
    return panel


def number(title: str, unit: str, query: str, *, warn: float | None = None, alarm: float | None = None) -> stat.Panel:
    """One figure now; yellow from `warn`, red from `alarm` (below them where alarm < warn)."""
    steps = [models.Threshold(value=None, color="green")]
    if warn is not None and alarm is not None:
        steps = [
            models.Threshold(value=None, color="green" if alarm > warn else "red"),
            *(
                [models.Threshold(value=warn, color="yellow"), models.Threshold(value=alarm, color="red")]
                if alarm > warn
                else [models.Threshold(value=alarm, color="yellow"), models.Threshold(value=warn, color="green")]
            ),
        ]
    return (
        stat.Panel()
        .title(title)
        .unit(unit)
        .datasource(SOURCE)
        .span(4)
        .height(4)
        .thresholds(grafana.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps))
        .graph_mode(shapes.BigValueGraphMode.AREA)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
        .with_target(_target(query, "", 0))
    )


def grid(title: str, query: str, note: str = "") -> table.Panel:
    """A table of the series that there are now, with their labels."""
    target = _target(query, "", 0).format(PromQueryFormat.TABLE).instant()
    panel = table.Panel().title(title).description(note).datasource(SOURCE).span(12).height(8)
    return panel.show_header(True).with_target(target)


def page(uid: str, title: str, *rows: Row) -> models.Dashboard:
    """A dashboard of these rows."""
    built = (
        grafana.Dashboard(title)
        .uid(f"smartfit-{uid}")
        .tags(["smartfit"])
        .timezone("browser")
        .refresh("30s")
        .time("now-6h", "now")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .readonly()
        .with_variable(grafana.DatasourceVariable("source").label("Prometheus").type("prometheus"))
        .link(
            grafana.DashboardLink("Smart Fitness")
            .type(models.DashboardLinkType.DASHBOARDS)
            .tags(["smartfit"])
            .as_dropdown(True)
            .keep_time(True)
        )
    )
    for row in rows:
        built = built.with_row(grafana.Row(row.title))
        for panel in row.panels:
            built = built.with_panel(panel)
    return built.build()


def _target(query: str, legend: str, number: int) -> prometheus.Dataquery:
    return prometheus.Dataquery().expr(query).legend_format(legend).ref_id(chr(ord("A") + number))
