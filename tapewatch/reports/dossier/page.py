"""A dossier as a self-contained page, and as text for a terminal."""

import math
from dataclasses import dataclass

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from tapewatch.reports.charts import FOUND_COLOUR, TRUTH_COLOUR, apply_style
from tapewatch.reports.dossier.dossier import Dossier
from tapewatch.reports.dossier.measures import Measure
from tapewatch.reports.dossier.regime import regime_words
from tapewatch.reports.pages import figure_html, render_page

_TIME = "%Y-%m-%dT%H:%M:%S"
_SHOWN = 12
#: Panels below the price: a feature's minutes, by column.
_PANELS = ("quoted_spread_bps", "order_flow_imbalance")


@dataclass(frozen=True, slots=True)
class _Scale:
    """Where the usual range and the value lie on a bar, in percent of its width."""

    left: float
    width: float
    at: float


def dossier_html(dossier: Dossier) -> str:
    """The page."""
    event = dossier.event
    return render_page(
        "dossier/dossier.html.j2",
        f"{event.symbol}: {event.kind.replace('_', ' ')}",
        dossier=dossier,
        event=event,
        regime=regime_words(dossier.regime),
        chart=figure_html(_chart(dossier)) if dossier.bars.height else "",
        rows=[(each, _scale(each)) for each in dossier.measures[:_SHOWN]],
        rest=len(dossier.measures) - _SHOWN,
        has_contributions=any(each.contribution is not None for each in dossier.measures),
        greatest=max((abs(each.contribution or 0.0) for each in dossier.measures), default=0.0) or 1.0,
    )


def dossier_text(dossier: Dossier) -> str:
    """What a terminal shows."""
    event = dossier.event
    lines = [
        f"{event.symbol} ({event.partition.market}), {event.kind.replace('_', ' ')}, {event.start:%Y-%m-%d %H:%M:%S} to "
        f"{event.end:%H:%M:%S} UTC, known at {event.known:%H:%M:%S}, found by {event.model}",
        f"Regime when it began: {regime_words(dossier.regime)}",
        dossier.verdict,
        *(f"  {each['feature']}: was {each['then']}, is {each['now']}" for each in dossier.changed),
        "",
        "Why",
        *(f"  {reason}" for reason in dossier.reasons),
        "",
        "The most similar past events",
        *(
            f"  {row['symbol']} {row['start_time']:%Y-%m-%d %H:%M}, {row['kind'].replace('_', ' ')}, distance {row['distance']:.2f}"
            + (f", a person said: {row['label'].replace('_', ' ')}" if row["label"] else "")
            for row in dossier.neighbours
        ),
        *(["  none is known from before"] if not dossier.neighbours else []),
        "",
        "The data",
        *(
            f"  {name}: {each['rows']:,} rows, sha256 {each['sha256'][:16]}"
            + (f", replaced since; then {each['sha256_then'][:16]}" if name in dossier.revised else "")
            for name, each in dossier.inputs.items()
        ),
        *(
            f"  {each['author']} {each['verdict']} it" + (f": {each['note']}" if each["note"] else "")
            for each in dossier.verdicts
        ),
    ]
    return "\n".join(lines)


def _chart(dossier: Dossier) -> go.Figure:
    bars, event = dossier.bars, dossier.event
    features = dossier.features if dossier.features["quoted_spread_bps"].count() else dossier.features.clear()
    panels = list(_PANELS) if features.height else []
    heights = [0.6, *([0.2] * len(panels))] if panels else [1.0]
    figure = make_subplots(rows=1 + len(panels), cols=1, shared_xaxes=True, vertical_spacing=0.04, row_heights=heights)
    times = bars["time"].dt.strftime(_TIME).to_list()
    prices = {name: bars[name].to_numpy() for name in ("open", "high", "low", "close")}
    figure.add_trace(
        go.Candlestick(x=times, **prices, name="price", increasing_line_width=1, decreasing_line_width=1), row=1, col=1
    )
    for number, name in enumerate(panels, start=2):
        shown = features.sort("event_time")
        figure.add_trace(
            go.Scatter(x=shown["event_time"].dt.strftime(_TIME).to_list(), y=shown[name].to_list(), name=name.replace("_", " "),
                       mode="lines", line={"width": 1.3, "color": TRUTH_COLOUR}),
            row=number, col=1,
        )  # fmt: skip
        figure.update_yaxes(
            title_text="spread, bps" if name == "quoted_spread_bps" else "buy − sell", row=number, col=1, nticks=4
        )
    figure.add_vrect(
        x0=event.first_minute.strftime(_TIME), x1=event.end_minute.strftime(_TIME), fillcolor=FOUND_COLOUR, opacity=0.14,
        line_width=0, layer="below", row="all", col=1,
    )  # fmt: skip
    apply_style(figure, height=260 + 110 * len(panels), margin={"l": 64, "r": 16, "t": 10, "b": 36})
    figure.update_layout(showlegend=False, hovermode="x", xaxis_rangeslider_visible=False)
    figure.update_yaxes(title_text="price", row=1, col=1)
    figure.update_xaxes(title_text="UTC", row=1 + len(panels), col=1)
    return figure


def _scale(measure: Measure) -> _Scale | None:
    """Positions by the inverse hyperbolic sine of distances in widths of the usual range, so that far values fit."""
    value, low, high = measure.value, measure.low, measure.high
    if value is None or low is None or high is None:
        return None
    width = max(high - low, 1e-12, 1e-3 * max(abs(low), abs(high)))
    off = math.asinh(2 * (value - (low + high) / 2) / width)
    edge, reach = math.asinh(1.0), max(abs(off), math.asinh(1.0)) * 1.1
    place = 50 + 50 * off / reach
    return _Scale(50 - 50 * edge / reach, 100 * edge / reach, place)
