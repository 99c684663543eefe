"""Grafana's dashboards, from code: `python -m deployment.observability.boards` writes the files of `dashboards`.

A panel is its title, its unit and its queries, each under the legend of its lines.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from grafana_foundation_sdk.builders.common import VizLegendOptions
from grafana_foundation_sdk.builders.dashboard import Dashboard, DatasourceVariable, QueryVariable
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.builders.timeseries import Panel as TimeSeries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import LegendDisplayMode, LegendPlacement
from grafana_foundation_sdk.models.dashboard import DataSourceRef, VariableRefresh

FOLDER: Final = Path(__file__).parent / "dashboards"
_SOURCE: Final = DataSourceRef(type_val="prometheus", uid="${datasource}")
_WIDTH, _HEIGHT = 12, 8
_REQUEST_SECONDS: Final = "sum by (le) (rate(tapewatch_scoring_request_seconds_bucket[5m]))"
_DASHBOARD_SECONDS: Final = "sum by (le, part) (rate(tapewatch_dashboard_request_seconds_bucket[5m]))"
_ALERT_SECONDS: Final = 'sum by (le, market) (rate(tapewatch_alert_latency_seconds_bucket{market=~"$market"}[15m]))'


@dataclass(frozen=True)
class Panel:
    """A graph over time; `queries` are by legend."""

    title: str
    unit: str
    queries: Mapping[str, str]


@dataclass(frozen=True)
class Board:
    """A dashboard; with `by_market` its reader chooses the markets."""

    title: str
    panels: Sequence[Panel]
    by_market: bool = False


def _of(metric: str) -> str:
    return f'{metric}{{market=~"$market"}}'


def _grown(metric: str, over: str) -> str:
    return f"increase({_of(metric)}[{over}])"


BOARDS: Final = {
    "collectors": Board(
        "Tapewatch: collectors",
        [
            Panel("Events a second", "cps", {"{{market}}": _of("tapewatch_events_per_second")}),
            Panel("Behind the tape", "s", {"{{market}}": _of("tapewatch_lag_seconds")}),
            Panel("Bytes waiting to be decoded", "bytes", {"{{market}}": _of("tapewatch_queue_bytes")}),
            Panel(
                "Dropped and refused",
                "short",
                {
                    "{{market}} frames dropped": _grown("tapewatch_dropped_frames_total", "5m"),
                    "{{market}} rows refused": _grown("tapewatch_refused_rows_total", "5m"),
                },
            ),
            Panel("Open alerts", "short", {"{{market}}": _of("tapewatch_open_alerts")}),
            Panel("From frame to alert, 99 %", "s", {"{{market}}": f"histogram_quantile(0.99, {_ALERT_SECONDS})"}),
            Panel(
                "Open gaps and reconnects",
                "short",
                {
                    "{{market}} gaps": _of("tapewatch_open_gaps"),
                    "{{market}} reconnects an hour": _grown("tapewatch_reconnects_total", "1h"),
                },
            ),
            Panel(
                "Rows that wait",
                "short",
                {
                    "{{market}} for the disk": _of("tapewatch_spool_waiting_rows"),
                    "{{market}} for the database": _of("tapewatch_database_waiting_rows"),
                },
            ),
        ],
        by_market=True,
    ),
    "dashboard": Board(
        "Tapewatch: dashboard",
        [
            Panel(
                "Requests a second",
                "reqps",
                {"{{part}} {{status}}": "sum by (part, status) (rate(tapewatch_dashboard_requests_total[5m]))"},
            ),
            Panel(
                "Time to an answer, 99 %",
                "s",
                {"{{part}}": f"histogram_quantile(0.99, {_DASHBOARD_SECONDS})"},
            ),
            Panel("Open pages and streams", "short", {"{{kind}}": "tapewatch_dashboard_open"}),
            Panel("Memory", "bytes", {"{{instance}}": 'process_resident_memory_bytes{job="dashboard"}'}),
        ],
    ),
    "runs": Board(
        "Tapewatch: runs",
        [
            Panel("Runs of the last 24 hours", "short", {"{{job}} {{status}}": "tapewatch_runs"}),
            Panel(
                "Runs now",
                "short",
                {"under way": "tapewatch_runs_under_way", "waiting": "tapewatch_runs_waiting"},
            ),
            Panel("Time of the last run", "s", {"{{job}}": "tapewatch_run_seconds"}),
            Panel("Since the last success", "s", {"{{job}}": "time() - tapewatch_job_last_success_timestamp_seconds"}),
            Panel("Last run failed", "bool", {"{{job}}": "tapewatch_job_last_failed"}),
        ],
    ),
    "scoring": Board(
        "Tapewatch: scoring",
        [
            Panel(
                "Requests a second",
                "reqps",
                {"{{status}}": "sum by (status) (rate(tapewatch_scoring_requests_total[5m]))"},
            ),
            Panel(
                "Time of a request",
                "s",
                {
                    "half": f"histogram_quantile(0.5, {_REQUEST_SECONDS})",
                    "99 %": f"histogram_quantile(0.99, {_REQUEST_SECONDS})",
                },
            ),
            Panel(
                "Rows a second by verdict",
                "rowsps",
                {"{{verdict}}": "sum by (verdict) (rate(tapewatch_scoring_rows_total[5m]))"},
            ),
            Panel("Memory", "bytes", {"{{instance}}": 'process_resident_memory_bytes{job="scoring"}'}),
        ],
    ),
}


def made(name: str) -> str:
    """The JSON of a dashboard, as Grafana imports it."""
    board = BOARDS[name]
    builder = (
        Dashboard(board.title)
        .uid(f"tapewatch-{name}")
        .tags(["tapewatch"])
        .timezone("utc")
        .refresh("30s")
        .time("now-6h", "now")
        .editable()
        .with_variable(DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
    )
    if board.by_market:
        wanted: dict[str, object] = {"query": "label_values(tapewatch_uptime_seconds, market)", "refId": "market"}
        markets = QueryVariable("market").label("Market").datasource(_SOURCE).query(wanted)
        markets = markets.refresh(VariableRefresh.ON_TIME_RANGE_CHANGED).multi(True).include_all(True).all_value(".*")
        builder = builder.with_variable(markets)
    for number, panel in enumerate(board.panels, 1):
        builder = builder.with_panel(_graph(panel).id(number))
    return json.dumps(builder.build(), cls=JSONEncoder, indent=2, sort_keys=True) + "\n"


def _graph(panel: Panel) -> TimeSeries:
    legend = VizLegendOptions().show_legend(True).display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM)
    graph = TimeSeries().title(panel.title).unit(panel.unit).min(0).legend(legend)
    graph = graph.datasource(_SOURCE).span(_WIDTH).height(_HEIGHT)
    for letter, (words, query) in zip("ABCD", panel.queries.items(), strict=False):
        graph = graph.with_target(Dataquery().expr(query).legend_format(words).ref_id(letter).datasource(_SOURCE))
    return graph


if __name__ == "__main__":
    for name in BOARDS:
        (FOLDER / f"{name}.json").write_text(made(name), encoding="utf-8")
