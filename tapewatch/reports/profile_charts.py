"""The charts of a profile, for light and dark pages."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
import polars as pl

from tapewatch.features.range_volatility import ESTIMATORS
from tapewatch.reports.charts import apply_style

_COLOURS = ("#2f8f97", "#c4524b", "#e0a100", "#6b80c2", "#7a9a4f", "#a06cab", "#c77b30", "#7d8a96")
_TEAL, _RED, _YELLOW, _GREY = "#2f8f97", "#c4524b", "#e0a100", "#aab6bf"
_MINUTE_COLOURS = {"received": _TEAL, "healed": _YELLOW, "silent": _GREY, "missing": _RED}
_MOST_CORRELATED = 30
_MOST_CONDITIONS = 15
_FEWEST_RETURNS = 10
_WIDE_RANGE = 20.0
_METHOD_NAMES = {
    "parkinson": "Parkinson",
    "garman_klass": "Garman-Klass",
    "rogers_satchell": "Rogers-Satchell",
    "realised": "realised, 5 s",
}


def coverage_chart(coverage: pl.DataFrame) -> go.Figure | None:
    """Minutes by coverage, one bar per symbol, over all days."""
    if not coverage.height:
        return None
    totals = coverage.group_by("symbol").agg(pl.col(f"{name}_minutes").sum() for name in _MINUTE_COLOURS).sort("symbol")
    figure = _figure("", height=max(200, 110 + 26 * totals.height))
    for name, colour in _MINUTE_COLOURS.items():
        minutes = totals[f"{name}_minutes"].to_list()
        bar = go.Bar(y=totals["symbol"].to_list(), x=minutes, orientation="h", name=name, marker_color=colour)
        figure.add_trace(bar)
    figure.update_layout(barmode="stack", yaxis_autorange="reversed", legend_traceorder="normal")
    figure.update_xaxes(title_text="regular minutes")
    return figure


def volatility_chart(volatility: pl.DataFrame) -> go.Figure | None:
    """Volatility by symbol and method, mean of the days."""
    if not volatility.height:
        return None
    means = volatility.group_by("symbol").agg(pl.col(methods_of(volatility)).mean()).sort("symbol")
    figure = _figure("volatility of a day, %")
    for name, colour in zip(methods_of(volatility), _COLOURS, strict=False):
        bar = go.Bar(x=means["symbol"].to_list(), y=means[name].to_list(), name=method_name(name), marker_color=colour)
        figure.add_trace(bar)
    figure.update_layout(barmode="group")
    return figure


def methods_of(volatility: pl.DataFrame) -> list[str]:
    """The methods that gave any volatility."""
    held = (name for name in (*ESTIMATORS, "realised") if name in volatility.columns)
    return [name for name in held if volatility[name].count()]


def method_name(name: str) -> str:
    return _METHOD_NAMES.get(name, name.replace("_", " "))


def half_hour_chart(half_hours: pl.DataFrame, symbols: Sequence[str], measure: str, label: str) -> go.Figure | None:
    """A line per symbol over the day's half hours: median of the days for a spread, else mean share of the day's total, %."""
    if measure not in half_hours.columns or not half_hours[measure].sum():
        return None
    is_spread = measure == "spread_bps"
    value = pl.col(measure) if is_spread else 100 * pl.col(measure) / pl.col(measure).sum().over("date", "symbol")
    # Sorted by the market's day, which may end after midnight UTC.
    since_start = pl.col("time") - pl.col("time").min().over("date")
    by_time = half_hours.with_columns(
        value.fill_nan(None).alias("value"), clock=pl.col("time").dt.strftime("%H:%M"), since_start=since_start
    )
    middle = pl.col("value").median() if is_spread else pl.col("value").mean()
    lines = by_time.group_by("symbol", "clock").agg(middle, pl.col("since_start").median()).drop_nulls("value")
    lines = lines.sort("since_start", "clock")
    clocks = lines["clock"].unique(maintain_order=True).to_list()
    figure = _figure(label)
    for symbol, colour in zip(symbols, _COLOURS, strict=False):
        line = lines.filter(pl.col("symbol") == symbol)
        x, y = line["clock"].to_list(), line["value"].to_list()
        figure.add_trace(go.Scatter(x=x, y=y, name=symbol, mode="lines", line={"color": colour, "width": 2}))
    figure.update_layout(showlegend=True)
    figure.update_xaxes(title_text="half hour from, UTC", categoryorder="array", categoryarray=clocks, nticks=16)
    figure.update_yaxes(rangemode="tozero")
    values = lines["value"].filter(lines["value"] > 0)
    if is_spread and values.len() and float(values.max()) > _WIDE_RANGE * float(values.min()):  # type: ignore[arg-type]
        figure.update_yaxes(type="log", minor_showgrid=False, dtick="D2")
    return figure


def correlation_chart(returns: pl.DataFrame) -> go.Figure | None:
    """Correlations of five-minute returns, over the steps that both symbols have."""
    if not returns.height:
        return None
    wide = returns.pivot("symbol", index=["date", "time"], values="return_bps", aggregate_function="first")
    symbols = sorted(wide.columns[2:])[:_MOST_CORRELATED]
    if len(symbols) < 2:
        return None
    table = wide.sort("date", "time").select(symbols).to_numpy()
    pairs = [[_correlation(table[:, a], table[:, b]) for b in range(len(symbols))] for a in range(len(symbols))]
    figure = _figure("", height=max(300, 120 + 28 * len(symbols)))
    figure.add_trace(
        go.Heatmap(
            z=np.array(pairs), x=symbols, y=symbols, zmin=-1, zmax=1, texttemplate="%{z:.2f}",
            colorscale=[[0, _RED], [0.5, "#f6f8f9"], [1, _TEAL]],
        )
    )  # fmt: skip
    figure.update_yaxes(autorange="reversed")
    return figure


def _correlation(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> float:
    both = np.isfinite(a) & np.isfinite(b)
    if both.sum() < _FEWEST_RETURNS or a[both].std() == 0 or b[both].std() == 0:
        return float("nan")
    return float(np.corrcoef(a[both], b[both])[0, 1])


def sides_chart(conditions: pl.DataFrame) -> go.Figure | None:
    """Aggressor sides by the quote rule, for each list of conditions."""
    if not conditions.width or not (conditions["buys"].sum() or conditions["sells"].sum()):
        return None
    merged = conditions.group_by("conditions").agg(pl.col("quoted", "buys", "sells").sum())
    top = merged.filter(pl.col("quoted") > 0).sort("quoted", descending=True).head(_MOST_CONDITIONS)
    unsigned = (top["quoted"] - top["buys"] - top["sells"]).to_list()
    names = [name or "none" for name in top["conditions"]]
    figure = _figure("trades of quoted symbols, %")
    for label, counts, colour in (
        ("above the midpoint: buyer", top["buys"].to_list(), _TEAL),
        ("neither", unsigned, _GREY),
        ("below: seller", top["sells"].to_list(), _RED),
    ):
        shares = [100 * count / max(total, 1) for count, total in zip(counts, top["quoted"].to_list(), strict=True)]
        figure.add_trace(go.Bar(x=names, y=shares, name=label, marker_color=colour))
    figure.update_layout(barmode="stack", legend_traceorder="normal")
    figure.update_xaxes(type="category", title_text="condition codes")
    return figure


def _figure(label: str, *, height: int = 340) -> go.Figure:
    figure = go.Figure()
    apply_style(figure, height=height, margin={"l": 8, "r": 16, "t": 40, "b": 40})
    figure.update_layout(legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0})
    figure.update_xaxes(automargin=True)
    figure.update_yaxes(automargin=True, title_text=label)
    return figure
