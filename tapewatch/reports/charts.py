"""Candlestick charts with known anomalies and detections."""

import datetime as dt
import json
from collections.abc import Mapping
from typing import Any

import plotly.graph_objects as go
import polars as pl
from plotly.subplots import make_subplots

from tapewatch.market.instruments import Market, market_of
from tapewatch.market.rarity import level_in_words

TRUTH_COLOUR = "#e0a100"
FOUND_COLOUR = "#c2185b"
INCIDENT_COLOUR = "#3f51b5"
_RISING, _FALLING, _VOLUME = "#2f7f86", "#7d8790", "#b8c4cc"
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif"
_TEXT_COLOUR, _GRID_COLOUR = "#7a858f", "rgba(128, 140, 150, 0.22)"
_TIME_FORMAT = "%Y-%m-%dT%H:%M:%S"


def candlesticks(
    bars: pl.DataFrame,
    truth: pl.DataFrame,
    anomalies: pl.DataFrame,
    incidents: pl.DataFrame,
    *,
    focus: tuple[dt.datetime, dt.datetime],
) -> go.Figure:
    """One symbol's day: minute candles over volume, known anomalies as bands, anomalies above and incidents below the candles.

    A symbol without volume has candles alone; in forex the volume is a number of quotes.

    Args:
        bars: `BARS` of one symbol and day.
        truth: kind, start_time, end_time of that symbol and day; may be empty.
        anomalies: `ANOMALIES` of that symbol and day; may be empty.
        incidents: the same of `INCIDENTS`.
        focus: the span shown at first.
    """
    has_volume = bool((bars["volume"] > 0).any())
    rows = {"rows": 2, "row_heights": [0.78, 0.22]} if has_volume else {"rows": 1}
    figure = make_subplots(cols=1, shared_xaxes=True, vertical_spacing=0.03, **rows)
    _draw_bars(figure, bars, has_volume=has_volume)
    for event in truth.iter_rows(named=True):
        figure.add_vrect(
            x0=event["start_time"].strftime(_TIME_FORMAT),
            x1=event["end_time"].strftime(_TIME_FORMAT),
            fillcolor=TRUTH_COLOUR,
            opacity=0.28,
            line_width=0,
            layer="below",
        )
    if truth.height:
        figure.add_trace(_truth_labels(bars, truth), row=1, col=1)
    if anomalies.height:
        figure.add_trace(_found_marks(bars, anomalies), row=1, col=1)
    if incidents.height:
        figure.add_trace(_incident_marks(bars, incidents), row=1, col=1)
    apply_style(figure, height=430, margin={"l": 64, "r": 16, "t": 16, "b": 36})
    figure.update_layout(showlegend=False, hovermode="closest", xaxis_rangeslider_visible=False)
    figure.update_xaxes(range=[time.strftime(_TIME_FORMAT) for time in focus])
    figure.update_yaxes(title_text="price", row=1, col=1)
    figure.update_xaxes(title_text="UTC", row=2 if has_volume else 1, col=1)
    if has_volume:
        unit = "quotes" if market_of(str(bars["symbol"][0])) is Market.FOREX else "volume"
        figure.update_yaxes(title_text=unit, row=2, col=1, rangemode="tozero", nticks=4)
    return figure


def apply_style(figure: go.Figure, *, height: int, margin: Mapping[str, int]) -> None:
    """Set the size, and the font and colours that all charts share; readable on light and dark pages."""
    figure.update_layout(
        height=height,
        margin=margin,
        font={"family": _FONT, "size": 12, "color": _TEXT_COLOUR},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
    )
    figure.update_xaxes(gridcolor=_GRID_COLOUR, zeroline=False)
    figure.update_yaxes(gridcolor=_GRID_COLOUR, zeroline=False)


def reasons_of(reasons: str) -> list[dict[str, object]]:
    """The reasons of an event from its JSON in `ANOMALIES`: a list of {feature, value, shap_value}, strongest first."""
    return list(json.loads(reasons))


def _draw_bars(figure: go.Figure, bars: pl.DataFrame, *, has_volume: bool) -> None:
    times = bars["time"].dt.strftime(_TIME_FORMAT).to_list()
    figure.add_trace(
        go.Candlestick(
            x=times,
            **{name: bars[name].to_numpy() for name in ("open", "high", "low", "close")},
            increasing={"line": {"color": _RISING, "width": 1}, "fillcolor": _RISING},
            decreasing={"line": {"color": _FALLING, "width": 1}, "fillcolor": _FALLING},
            name="price",
        ),
        row=1,
        col=1,
    )
    if not has_volume:
        return
    volume = go.Bar(x=times, y=bars["volume"].to_numpy(), marker_color=_VOLUME, marker_line_width=0, name="volume")
    figure.add_trace(volume, row=2, col=1)


def _truth_labels(bars: pl.DataFrame, truth: pl.DataFrame) -> go.Scatter:
    """The kinds of the known anomalies as text below their bands."""
    low, high = _price_range(bars)
    return go.Scatter(
        x=truth["start_time"].dt.strftime(_TIME_FORMAT).to_list(),
        # In three lanes, since names are wider than the distance between neighbours.
        y=[low - (0.04 + 0.05 * (position % 3)) * (high - low) for position in range(truth.height)],
        mode="text",
        text=[str(kind).replace("_", " ") for kind in truth["kind"]],
        textposition="middle right",
        textfont={"size": 11, "color": "#b98500"},
        hoverinfo="skip",
    )


def _found_marks(bars: pl.DataFrame, anomalies: pl.DataFrame) -> go.Scatter:
    low, high = _price_range(bars)
    tops = [_top(bars, row["start_time"], row["end_time"], high) for row in anomalies.iter_rows(named=True)]
    return go.Scatter(
        x=anomalies["start_time"].dt.strftime(_TIME_FORMAT).to_list(),
        y=[top + 0.05 * (high - low) for top in tops],
        mode="markers",
        marker={"symbol": "triangle-down", "size": 11, "color": FOUND_COLOUR, "line": {"width": 1, "color": "#ffffff"}},
        text=[_hover(row) for row in anomalies.iter_rows(named=True)],
        hoverinfo="text",
    )


def _incident_marks(bars: pl.DataFrame, incidents: pl.DataFrame) -> go.Scatter:
    low, high = _price_range(bars)
    # Known at this minute: below its candle.
    minutes = incidents["known_time"].dt.truncate("1m")
    lows = [_low(bars, minute, low) for minute in minutes]
    return go.Scatter(
        x=incidents["known_time"].dt.strftime(_TIME_FORMAT).to_list(),
        y=[bottom - 0.03 * (high - low) for bottom in lows],
        mode="markers",
        marker={
            "symbol": "triangle-up",
            "size": 11,
            "color": INCIDENT_COLOUR,
            "line": {"width": 1, "color": "#ffffff"},
        },
        text=[_incident_hover(row) for row in incidents.iter_rows(named=True)],
        hoverinfo="text",
    )


def _low(bars: pl.DataFrame, minute: dt.datetime, otherwise: float) -> float:
    """The lowest price of a minute; `otherwise` where it has no bar."""
    lows = bars.filter(pl.col("time") == minute)["low"]
    return float(lows.to_numpy().min()) if lows.len() else otherwise


def _incident_hover(incident: dict[str, Any]) -> str:
    words = "<br>".join(str(reason["words"]) for reason in reasons_of(str(incident["reasons"]))[:5])
    return f"<b>{str(incident['kind']).replace('_', ' ')}</b>, {level_in_words(incident['hours'])}<br>{words}"


def _top(bars: pl.DataFrame, start: dt.datetime, end: dt.datetime, otherwise: float) -> float:
    """The highest price of a span; `otherwise` where it has no bar, as in an outage."""
    highs = bars.filter((pl.col("time") >= start) & (pl.col("time") < end))["high"]
    return float(highs.to_numpy().max()) if highs.len() else otherwise


def _hover(event: dict[str, Any]) -> str:
    reasons = "<br>".join(
        f"{reason['feature']} {reason['shap_value']:+.3f}" for reason in reasons_of(str(event["reasons"]))[:5]
    )
    kind = str(event["kind"]).replace("_", " ")
    facts = [level_in_words(event["hours"]), f"score {event['score']:.3f}", f"{event['minutes']} min"]
    return f"<b>{kind}</b>, {', '.join(filter(None, facts))}<br>{reasons}"


def _price_range(bars: pl.DataFrame) -> tuple[float, float]:
    low, high = bars.select(pl.col("low").min(), pl.col("high").max()).row(0)
    return float(low), float(high)
