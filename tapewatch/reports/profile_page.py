"""The page from which a newcomer learns what the tape holds. Belongs here: figures and tables made of a `TapeProfile`."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
import polars as pl

from tapewatch.features.range_volatility import ESTIMATORS
from tapewatch.reports.pages import render_page
from tapewatch.reports.tape_profile import SPIKE_MULTIPLE, TapeProfile

_COLOURS = ("#2f7f86", "#b5423c", "#e0a100", "#5b6ea8", "#7a9a4f", "#8d5a97", "#c77b30", "#5f6c78")
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif"
_MOST_SYMBOLS = 8
_MOST_CORRELATED = 30
_MOST_CONDITIONS = 15
_FEWEST_RETURNS = 10


def render_profile(profile: TapeProfile, *, title: str) -> str:
    """The page as HTML, self-contained."""
    days = profile.columns["date"].unique().sort().to_list()
    busiest = _busiest(profile)
    return render_page(
        "profile_page.html.j2",
        title,
        days=days,
        markets=profile.columns["market"].unique().sort().to_list(),
        tiles=_tiles(profile, days),
        fields=_fields(profile),
        coverage=_rows(profile.coverage),
        repeats=_repeats(profile),
        refused=_rows(profile.refused),
        delivered=_delivered(profile),
        estimators=ESTIMATORS,
        spike_multiple=SPIKE_MULTIPLE,
        spikes=_rows(profile.spikes.sort("multiple", descending=True).head(20)) if profile.spikes.width else [],
        spreads=_spreads(profile),
        conditions=_conditions(profile),
        has_codes=bool(profile.conditions.width) and bool(profile.conditions["stated"].sum()),
        chart={
            name: _html(figure)
            for name, figure in {
                "coverage": _coverage_chart(profile.coverage),
                "volatility": _volatility_chart(profile.volatility),
                "volume": _half_hour_chart(profile.half_hours, busiest, "volume", "share of the day's volume, %"),
                "spread": _half_hour_chart(profile.half_hours, busiest, "spread_bps", "quoted spread, bps"),
                "correlation": _correlation_chart(profile.returns),
                "sides": _sides_chart(profile.conditions),
            }.items()
        },
    )


def _html(figure: go.Figure | None) -> str:
    return (
        "" if figure is None else figure.to_html(full_html=False, include_plotlyjs=False, config={"displaylogo": False})
    )


def _tiles(profile: TapeProfile, days: Sequence[Any]) -> list[tuple[str, str]]:
    rows = (
        profile.columns.group_by("date", "table")
        .agg(pl.col("rows").first())
        .group_by("table")
        .agg(pl.col("rows").sum())
    )
    counts = dict(rows.iter_rows())
    tiles = [
        ("days", f"{len(days)}"),
        ("symbols", f"{profile.coverage['symbol'].n_unique() if profile.coverage.height else 0}"),
    ]
    tiles += [(table, f"{counts[table]:,}") for table in ("trades", "quotes", "bars") if table in counts]
    refused = int(profile.refused["rows"].sum()) if profile.refused.width else 0
    return [*tiles, ("in quarantine", f"{refused:,}")]


def _busiest(profile: TapeProfile) -> list[str]:
    if not profile.half_hours.width:
        return []
    measure = "trades" if "trades" in profile.half_hours.columns else "volume"
    totals = profile.half_hours.group_by("symbol").agg(pl.col(measure).sum()).sort(measure, descending=True)
    return sorted(totals["symbol"].head(_MOST_SYMBOLS).to_list())


def _fields(profile: TapeProfile) -> list[dict[str, Any]]:
    """One row a column over all days; the range is told by the day with the widest text only where there is one day."""
    merged = profile.columns.group_by("table", "column", maintain_order=True).agg(
        pl.col("type", "unit", "meaning").first(),
        pl.col("rows", "nulls").sum(),
        pl.col("distinct").max(),
        pl.col("minimum").first(),
        pl.col("maximum").last(),
    )
    return merged.with_columns(filled=100 * (1 - pl.col("nulls") / pl.max_horizontal("rows", pl.lit(1)))).to_dicts()


def _repeats(profile: TapeProfile) -> list[dict[str, Any]]:
    if not profile.repeats.width:
        return []
    counted = ("rows", "repeated", "crossed", "locked", "one_sided")
    merged = profile.repeats.group_by("table", "symbol", maintain_order=True).agg(pl.col(*counted).sum())
    is_quote = pl.col("table") == "quotes"
    return merged.with_columns(
        *(pl.when(is_quote).then(name).alias(name) for name in counted[2:]),
        share=100 * pl.col("repeated") / pl.col("rows"),
    ).to_dicts()


def _spreads(profile: TapeProfile) -> list[dict[str, Any]]:
    if not profile.spreads.width:
        return []
    return (
        profile.spreads.group_by("symbol", maintain_order=True)
        .agg(pl.selectors.float().median())
        .drop_nulls("quoted_median")
        .to_dicts()
    )


def _conditions(profile: TapeProfile) -> list[dict[str, Any]]:
    if not profile.conditions.width:
        return []
    counts = ("trades", "volume", "buys", "sells", "stated", "stated_agrees", "tick", "tick_agrees")
    merged = (
        profile.conditions.group_by("conditions", "allows").agg(pl.col(*counts).sum()).sort("trades", descending=True)
    )
    share = {name: 100 * pl.col(f"{name}_agrees") / pl.col(name) for name in ("stated", "tick")}
    total = merged["trades"].sum()
    return (
        merged.head(_MOST_CONDITIONS)
        .with_columns(
            share=100 * pl.col("trades") / total,
            buying=100 * pl.col("buys") / (pl.col("buys") + pl.col("sells")),
            stated_share=share["stated"],
            tick_share=share["tick"],
        )
        .fill_nan(None)
        .to_dicts()
    )


def _delivered(profile: TapeProfile) -> list[dict[str, Any]]:
    if not profile.delivered.width:
        return []
    counts = pl.col("batches", "rows", "added", "revised", "repeated").sum()
    return profile.delivered.group_by("table").agg(counts).sort("table").to_dicts()


def _rows(frame: pl.DataFrame) -> list[dict[str, Any]]:
    return frame.to_dicts() if frame.width else []


def _coverage_chart(coverage: pl.DataFrame) -> go.Figure | None:
    """Minutes by what became of them, a bar a symbol, over all days."""
    if not coverage.height:
        return None
    names = [name for name in ("received", "healed", "silent", "missing") if f"{name}_minutes" in coverage.columns]
    totals = coverage.group_by("symbol").agg(pl.col(f"{name}_minutes").sum() for name in names).sort("symbol")
    colours = {"received": "#2f7f86", "healed": "#e0a100", "silent": "#b8c4cc", "missing": "#b5423c"}
    figure = _figure("regular minutes", height=max(220, 60 + 24 * totals.height))
    for name in names:
        figure.add_trace(
            go.Bar(
                y=totals["symbol"].to_list(),
                x=totals[f"{name}_minutes"].to_list(),
                orientation="h",
                name=name,
                marker_color=colours[name],
            )
        )
    figure.update_layout(barmode="stack", yaxis_autorange="reversed")
    figure.update_xaxes(title_text="regular minutes")
    figure.update_yaxes(title_text="")
    return figure


def _volatility_chart(volatility: pl.DataFrame) -> go.Figure | None:
    if not volatility.height:
        return None
    methods = [name for name in (*ESTIMATORS, "realised") if name in volatility.columns]
    means = volatility.group_by("symbol").agg(pl.col(methods).mean()).sort("symbol")
    figure = _figure("volatility of a day, %")
    for name, colour in zip(methods, _COLOURS, strict=False):
        label = "realised, 5 s" if name == "realised" else name.replace("_", " ")
        figure.add_trace(go.Bar(x=means["symbol"].to_list(), y=means[name].to_list(), name=label, marker_color=colour))
    figure.update_layout(barmode="group")
    return figure


def _half_hour_chart(half_hours: pl.DataFrame, symbols: Sequence[str], measure: str, label: str) -> go.Figure | None:
    """A line for each of the busiest symbols over the day's half hours, the mean (volume) or median (spread) of the days."""
    if measure not in half_hours.columns or not half_hours[measure].drop_nulls().len():
        return None
    value = pl.col(measure)
    if measure == "volume":
        value = 100 * value / value.sum().over("date", "symbol")
    by_time = half_hours.with_columns(value.alias("value"), clock=pl.col("time").dt.strftime("%H:%M"))
    mean = pl.col("value").mean() if measure == "volume" else pl.col("value").median()
    lines = by_time.group_by("symbol", "clock").agg(mean).drop_nulls("value").sort("clock")
    clocks = lines["clock"].unique().sort().to_list()
    figure = _figure(label)
    for symbol, colour in zip(symbols, _COLOURS, strict=False):
        line = lines.filter(pl.col("symbol") == symbol)
        figure.add_trace(
            go.Scatter(
                x=line["clock"].to_list(),
                y=line["value"].to_list(),
                name=symbol,
                mode="lines",
                line={"color": colour, "width": 2},
            )
        )
    figure.update_xaxes(title_text="half hour from, UTC", categoryorder="array", categoryarray=clocks)
    if measure == "spread_bps":
        figure.update_yaxes(type="log", dtick=1)
    return figure


def _correlation_chart(returns: pl.DataFrame) -> go.Figure | None:
    """Correlations of five-minute returns over the steps that both symbols have."""
    if not returns.height:
        return None
    wide = returns.pivot("symbol", index=["date", "time"], values="return_bps", aggregate_function="first").sort(
        "date", "time"
    )
    symbols = sorted(wide.columns[2:])[:_MOST_CORRELATED]
    if len(symbols) < 2:
        return None
    table = wide.select(symbols).to_numpy()
    matrix = np.array(
        [[_correlation(table[:, a], table[:, b]) for b in range(len(symbols))] for a in range(len(symbols))]
    )
    figure = _figure("", height=max(320, 120 + 28 * len(symbols)))
    figure.add_trace(
        go.Heatmap(
            z=matrix, x=symbols, y=symbols, zmin=-1, zmax=1, texttemplate="%{z:.2f}",
            colorscale=[[0, "#b5423c"], [0.5, "#f6f8f9"], [1, "#2f7f86"]],
        )
    )  # fmt: skip
    figure.update_yaxes(autorange="reversed", title_text="")
    return figure


def _correlation(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> float:
    both = np.isfinite(a) & np.isfinite(b)
    if both.sum() < _FEWEST_RETURNS or a[both].std() == 0 or b[both].std() == 0:
        return float("nan")
    return float(np.corrcoef(a[both], b[both])[0, 1])


def _sides_chart(conditions: pl.DataFrame) -> go.Figure | None:
    """What the quote rule says of the trades under each condition list."""
    if not conditions.width or not (conditions["buys"].sum() or conditions["sells"].sum()):
        return None
    merged = conditions.group_by("conditions").agg(pl.col("quoted", "buys", "sells").sum())
    top = merged.filter(pl.col("quoted") > 0).sort("quoted", descending=True).head(_MOST_CONDITIONS)
    unsigned = (top["quoted"] - top["buys"] - top["sells"]).to_list()
    names = [name or "none" for name in top["conditions"]]
    figure = _figure("trades of quoted symbols, %")
    for label, counts, colour in (
        ("above the midpoint: buyer", top["buys"].to_list(), "#2f7f86"),
        ("at it, no quote, or no price of its moment", unsigned, "#d5dce1"),
        ("below: seller", top["sells"].to_list(), "#b5423c"),
    ):
        shares = [100 * count / max(total, 1) for count, total in zip(counts, top["quoted"].to_list(), strict=True)]
        figure.add_trace(go.Bar(x=names, y=shares, name=label, marker_color=colour))
    figure.update_layout(barmode="stack")
    figure.update_xaxes(type="category", title_text="condition codes")
    return figure


def _figure(label: str, *, height: int = 340) -> go.Figure:
    figure = go.Figure()
    figure.update_layout(
        height=height,
        margin={"l": 64, "r": 16, "t": 32, "b": 40},
        font={"family": _FONT, "size": 12, "color": "#24292f"},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="#ffffff",
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0},
    )
    figure.update_xaxes(gridcolor="#eef1f3", zeroline=False, automargin=True)
    figure.update_yaxes(gridcolor="#eef1f3", zeroline=False, automargin=True, title_text=label)
    return figure
