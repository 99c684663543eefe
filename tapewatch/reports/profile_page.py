"""The page that describes the content of the tape."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import polars as pl

from tapewatch.features.range_volatility import ESTIMATORS
from tapewatch.market.conditions import CRYPTO_CONDITION_NAMES, STOCK_CONDITION_NAMES, parse
from tapewatch.market.instruments import Market
from tapewatch.reports import profile_charts as charts
from tapewatch.reports.pages import figure_html, render_page
from tapewatch.reports.tape_profile import TapeProfile
from tapewatch.reports.tick_profile import SPIKE_MULTIPLE

_MOST_SYMBOLS = 8
_MOST_CONDITIONS = 15
_MOST_SPIKES = 20
_REALISED = "Andersen and Bollerslev (1998), last prices on a grid of five seconds"
#: Names of types for people, by the type's first letter.
_TYPES = {"f": "number", "i": "whole number", "b": "yes or no", "c": "word", "s": "text", "t": "time, UTC"}


def render_profile(profile: TapeProfile, *, title: str) -> str:
    days = profile.columns["date"].unique().sort().to_list()
    busiest = _busiest(profile)
    # Quotes show the activity of a market without trades.
    activity = next((m for m in ("volume", "quotes") if _total(profile.half_hours, m)), "volume")
    figures = {
        "coverage": charts.coverage_chart(profile.coverage),
        "volatility": charts.volatility_chart(profile.volatility),
        "activity": charts.half_hour_chart(profile.half_hours, busiest, activity, f"share of the day's {activity}, %"),
        "spread": charts.half_hour_chart(profile.half_hours, busiest, "spread_bps", "quoted spread, bps"),
        "correlation": charts.correlation_chart(profile.returns),
        "sides": charts.sides_chart(profile.conditions),
    }
    frames = ((name, rows_of, getattr(profile, name)) for name, rows_of in _ROWS.items())
    rows = {name: rows_of(frame) if frame.width else [] for name, rows_of, frame in frames}
    return render_page(
        "profile_page.html.j2",
        title,
        days=days,
        markets=profile.columns["market"].unique().sort().to_list(),
        tiles=_tiles(profile, days),
        tables=tables_of(profile),
        activity=activity,
        **rows,
        methods={charts.method_name(m): ESTIMATORS.get(m, _REALISED) for m in charts.methods_of(profile.volatility)},
        is_midpoint=set(profile.columns["table"]) == {"quotes"},
        spike_multiple=SPIKE_MULTIPLE,
        has_codes=bool(_total(profile.conditions, "stated")),
        chart={name: figure_html(figure) if figure else "" for name, figure in figures.items()},
    )


def _total(frame: pl.DataFrame, column: str) -> float:
    return float(frame[column].sum()) if column in frame.columns else 0.0


def _tiles(profile: TapeProfile, days: Sequence[Any]) -> list[tuple[str, str]]:
    by_day = profile.columns.group_by("date", "table").agg(pl.col("rows").first())
    counts = dict(by_day.group_by("table").agg(pl.col("rows").sum()).iter_rows())
    symbols = profile.coverage["symbol"].n_unique() if profile.coverage.height else 0
    tiles = [("days", f"{len(days)}"), ("symbols", f"{symbols}")]
    tiles += [(table, f"{counts[table]:,}") for table in ("trades", "quotes", "bars") if table in counts]
    return [*tiles, ("in quarantine", f"{_total(profile.refused, 'rows'):,.0f}")]


def _busiest(profile: TapeProfile) -> list[str]:
    measure = next((m for m in ("trades", "volume", "quotes") if _total(profile.half_hours, m)), None)
    if measure is None:
        return []
    totals = profile.half_hours.group_by("symbol").agg(pl.col(measure).sum()).sort(measure, descending=True)
    return sorted(totals["symbol"].head(_MOST_SYMBOLS).to_list())


def _coverage(frame: pl.DataFrame) -> list[dict[str, Any]]:
    minutes = [f"{name}_minutes" for name in ("expected", "received", "healed", "silent", "missing")]
    return (
        frame.group_by("symbol")
        .agg(
            pl.col(*minutes, "open_gaps").sum(),
            pl.col("longest_gap_minutes").max(),
            days=pl.len(),
            complete=pl.col("is_complete").sum(),
        )
        .sort("symbol")
        .to_dicts()
    )


def tables_of(profile: TapeProfile) -> list[dict[str, Any]]:
    """Each table with its fields: share filled, distinct values, and the range over all days."""
    tables = []
    for (table,), rows in profile.columns.group_by("table", maintain_order=True):
        fields = [_field(days) for _, days in rows.group_by("column", maintain_order=True)]
        tables.append({"name": table, "fields": fields})
    return tables


def _field(days: pl.DataFrame) -> dict[str, Any]:
    first = days.row(0, named=True)
    rows, nulls = int(days["rows"].sum()), int(days["nulls"].sum())
    lowest = sorted((text for text in days["minimum"] if text), key=_rank)
    highest = sorted((text for text in days["maximum"] if text), key=_rank)
    return {
        "name": first["column"],
        "type": _TYPES.get(first["type"][0], first["type"]),
        "unit": first["unit"],
        "meaning": first["meaning"],
        "filled": 100 * (1 - nulls / max(rows, 1)),
        "distinct": int(days["distinct"].max() or 0),  # type: ignore[arg-type]
        "minimum": _shown(lowest[0]) if lowest else "",
        "maximum": _shown(highest[-1]) if highest else "",
    }


def _rank(text: str) -> tuple[float, str]:
    """Sort key: numbers by size, other texts alphabetically."""
    try:
        return float(text.replace(",", "")), ""
    except ValueError:
        return 0.0, text


def _shown(text: str) -> str:
    return text.removesuffix("+00:00").removesuffix("000")


def _refused(frame: pl.DataFrame) -> list[dict[str, Any]]:
    merged = frame.group_by("table", "reason").agg(pl.col("rows").sum())
    return merged.sort("rows", "reason", descending=[True, False]).to_dicts()


def _repeats(frame: pl.DataFrame) -> list[dict[str, Any]]:
    counted = ("rows", "repeated", "crossed", "locked", "one_sided")
    merged = frame.group_by("table", "symbol", maintain_order=True).agg(pl.col(*counted).sum())
    is_quote = pl.col("table") == "quotes"
    share = {name: 100 * pl.col(name) / pl.col("rows") for name in counted[1:]}
    return merged.with_columns(
        repeated_share=share["repeated"],
        **{f"{name}_share": pl.when(is_quote).then(share[name]) for name in counted[2:]},
    ).to_dicts()


def _revisions(frame: pl.DataFrame) -> list[dict[str, Any]]:
    counts = ("bars", "revised", "compared", "volume_equal", "price_equal")
    merged = frame.group_by("symbol").agg(pl.col(*counts).sum()).sort("symbol")
    compared = pl.when(pl.col("compared") > 0).then("compared")
    shares = {name: 100 * pl.col(name) / compared for name in counts[3:]}
    return merged.with_columns(**shares).to_dicts()


def _spikes(frame: pl.DataFrame) -> list[dict[str, Any]]:
    return frame.sort("multiple", descending=True).head(_MOST_SPIKES).to_dicts()


def _spreads(frame: pl.DataFrame) -> list[dict[str, Any]]:
    merged = frame.group_by("symbol", maintain_order=True).agg(pl.selectors.float().median())
    return merged.drop_nulls("quoted_median").to_dicts()


def _conditions(frame: pl.DataFrame) -> list[dict[str, Any]]:
    counts = ("trades", "volume", "buys", "sells", "stated", "stated_agrees", "tick", "tick_agrees")
    groups = frame.group_by("market", "conditions", "allows")
    merged = groups.agg(pl.col(*counts).sum()).sort("trades", "conditions", descending=[True, False])
    share = {name: 100 * pl.col(f"{name}_agrees") / pl.col(name) for name in ("stated", "tick")}
    rows = (
        merged.head(_MOST_CONDITIONS)
        .with_columns(
            share=100 * pl.col("trades") / merged["trades"].sum(),
            buying=100 * pl.col("buys") / (pl.col("buys") + pl.col("sells")),
            stated_share=share["stated"],
            tick_share=share["tick"],
        )
        .fill_nan(None)
        .to_dicts()
    )
    return [row | {"names": _condition_names(row["market"], row["conditions"])} for row in rows]


def _condition_names(market: str, conditions: str) -> str:
    if not conditions:
        return "regular sale" if market == Market.STOCKS else ""
    named = {Market.STOCKS: STOCK_CONDITION_NAMES, Market.CRYPTO: CRYPTO_CONDITION_NAMES}.get(Market(market), {})
    return ", ".join(named.get(code, "unknown code") for code in parse(conditions))


def _delivered(frame: pl.DataFrame) -> list[dict[str, Any]]:
    counts = pl.col("batches", "rows", "added", "revised", "repeated").sum()
    return frame.group_by("table").agg(counts).sort("table").to_dicts()


#: The rows of each table on the page, from the frame of that name.
_ROWS: Mapping[str, Callable[[pl.DataFrame], list[dict[str, Any]]]] = {
    "coverage": _coverage,
    "refused": _refused,
    "repeats": _repeats,
    "revisions": _revisions,
    "spikes": _spikes,
    "spreads": _spreads,
    "conditions": _conditions,
    "delivered": _delivered,
}
