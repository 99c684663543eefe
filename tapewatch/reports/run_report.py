"""The report of one run as a self-contained page."""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from tapewatch.labels.truth import TRUTH_EVENTS_SCHEMA
from tapewatch.market.instruments import NS_PER_MINUTE, NS_PER_SECOND, Market, Partition, day_of, market_of
from tapewatch.market.tables.derived import INCIDENTS
from tapewatch.reports.charts import candlesticks, reasons_of
from tapewatch.reports.pages import figure_html, render_page, write_page
from tapewatch.reports.pages import seconds as format_seconds
from tapewatch.reports.unseen import found_on_unseen_days, shown

CHARTS = 8
TOP_EVENTS = 20
REASONS = 5
WORDS = 3
NOT_JUDGED = (
    "The detector was not judged: the validation days hold no anomaly, known or put in for the test. "
    "Run over more days, or over symbols with more trades, quotes or bars."
)
#: Initially shown before and after the regular hours.
_MARGIN_NS = 20 * NS_PER_MINUTE


@dataclass(frozen=True)
class RunSummary:
    """The results of a run.

    `steps` are (name, seconds). `truth` (symbol, event_id, kind, start_time, end_time) is None where no anomalies are known.
    `evaluation`, `scan_evaluation` and `comparison` are the tables of these names, about the validation days, `anomalies` and `incidents`
    what the champion of minutes and the scan found on all days, `bars` the `BARS` of every day that may be charted. `model`
    is the model card: names and values. `absent` are the days of which the source held nothing.
    """

    title: str
    source: str
    partitions: Sequence[Partition]
    steps: Sequence[tuple[str, float]]
    bars: pl.DataFrame
    anomalies: pl.DataFrame
    truth: pl.DataFrame | None = None
    evaluation: pl.DataFrame | None = None
    scan_evaluation: pl.DataFrame | None = None
    comparison: pl.DataFrame | None = None
    incidents: pl.DataFrame = field(default_factory=INCIDENTS.empty)
    model: Mapping[str, object] = field(default_factory=dict)
    absent: Sequence[Partition] = ()
    created: dt.datetime = field(default_factory=lambda: dt.datetime.now(dt.UTC))

    @property
    def unseen(self) -> pl.DataFrame:
        """What each detector found on days that it had not seen; see `found_on_unseen_days`."""
        return found_on_unseen_days(self.evaluation, self.scan_evaluation, self.comparison)

    @property
    def is_not_judged(self) -> bool:
        """Whether the evaluation found nothing to judge the detector by."""
        return self.evaluation is not None and self.evaluation.is_empty()


def write_report(summary: RunSummary, path: Path) -> Path:
    return write_page(render(summary), path)


def render(summary: RunSummary) -> str:
    return render_page(
        "run_report.html.j2",
        summary.title,
        summary=summary,
        days=sorted({p.date for p in summary.partitions}),
        markets=sorted({str(p.market) for p in summary.partitions}),
        tiles=_tiles(summary),
        unseen=summary.unseen.to_dicts(),
        detectors=shown(summary.unseen),
        evaluation=_rows(summary.evaluation),
        not_judged=NOT_JUDGED if summary.is_not_judged else "",
        slowest=max((seconds for _, seconds in summary.steps), default=1.0) or 1.0,
        charts=list(_charts(summary)),
        events=list(_events(summary.anomalies)),
        incidents=list(_incidents(summary.incidents)),
    )


def _tiles(summary: RunSummary) -> list[tuple[str, str]]:
    tiles = [
        ("market days", f"{len(summary.partitions)}"),
        ("symbols", f"{summary.bars['symbol'].n_unique()}"),
        ("minute bars", f"{summary.bars.height:,}"),
        ("anomalies found", f"{summary.anomalies.height:,}"),
        ("incidents found", f"{summary.incidents.height:,}"),
    ]
    for row in summary.unseen.filter(pl.col("kind") == "all").to_dicts():
        for name, detector in shown(summary.unseen).items():
            if row["events"] and row[f"{name}_found"] is not None:
                tiles.append((f"{detector}, unseen days", f"{row[f'{name}_found']} of {row['events']}"))
    tiles.append(("wall time", format_seconds(sum(seconds for _, seconds in summary.steps))))
    return tiles


def _charts(summary: RunSummary) -> Iterable[dict[str, str]]:
    """One chart for each of the symbol-days with the highest scores."""
    truth = summary.truth if summary.truth is not None else pl.DataFrame(schema=TRUTH_EVENTS_SCHEMA)
    for symbol, partition in _best_days(summary):
        session, date = partition.session, partition.date
        bounds = [_time(session.day_start), _time(session.day_end)]
        bars = _within(summary.bars, symbol, "time", bounds)
        if not bars.height:
            continue
        known = _within(truth, symbol, "start_time", bounds)
        found = _within(summary.anomalies, symbol, "start_time", bounds)
        incidents = _within(summary.incidents, symbol, "start_time", bounds)
        hours = [_time(ns) for ns in (session.regular_start - _MARGIN_NS, session.regular_end + _MARGIN_NS)]
        figure = candlesticks(bars, known, found, incidents, focus=(hours[0], hours[1]))
        yield {
            "title": f"{symbol}, {date:%A} {date}",
            "caption": f"known: {known.height}; anomalies: {found.height}; incidents: {incidents.height}",
            "html": figure_html(figure),
        }


def _time(ns: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(ns // NS_PER_SECOND, dt.UTC)


def _best_days(summary: RunSummary) -> list[tuple[str, Partition]]:
    ranked = summary.anomalies.sort("score", descending=True).select(pl.col("symbol").cast(pl.String), "start_time")
    best: dict[tuple[str, Partition], None] = {}
    for symbol, time in ranked.iter_rows():
        held = [day for day in summary.partitions if _may_hold(day, symbol, time)]
        if held:
            best[symbol, held[0]] = None
        if len(best) == CHARTS:
            break
    return list(best)


def _may_hold(day: Partition, symbol: str, time: dt.datetime) -> bool:
    # Futures look like stocks.
    markets = {market_of(symbol), Market.FUTURES} if market_of(symbol) is Market.STOCKS else {market_of(symbol)}
    return day.market in markets and day_of(day.market, time) == day.date


def _within(frame: pl.DataFrame, symbol: str, column: str, bounds: Sequence[dt.datetime]) -> pl.DataFrame:
    is_symbol = pl.col("symbol").cast(pl.String) == symbol
    return frame.filter(is_symbol & (pl.col(column) >= bounds[0]) & (pl.col(column) < bounds[1]))


def _events(anomalies: pl.DataFrame) -> Iterable[dict[str, Any]]:
    """The events with the highest scores; the bars of their reasons are relative to the strongest reason."""
    for event in anomalies.sort("score", descending=True).head(TOP_EVENTS).iter_rows(named=True):
        reasons: list[dict[str, Any]] = reasons_of(event["reasons"])[:REASONS]
        largest = max((abs(reason["shap_value"]) for reason in reasons), default=0.0) or 1.0
        yield event | {"reasons": [reason | {"width": 100 * abs(reason["shap_value"]) / largest} for reason in reasons]}


def _incidents(incidents: pl.DataFrame) -> Iterable[dict[str, Any]]:
    """The rarest incidents, each with its reasons in words."""
    for incident in incidents.sort("surprise", descending=True).head(TOP_EVENTS).iter_rows(named=True):
        words = [str(reason["words"]) for reason in reasons_of(incident["reasons"])[:WORDS]]
        yield incident | {"reasons": words, "seconds": (incident["end_time"] - incident["start_time"]).total_seconds()}


def _rows(frame: pl.DataFrame | None) -> list[dict[str, Any]]:
    """The rows of a table by kind, the total last."""
    return [] if frame is None else sorted(frame.to_dicts(), key=lambda row: str(row["kind"]) == "all")
