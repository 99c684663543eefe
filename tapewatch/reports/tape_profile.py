"""Measures of a day's tape: fields, completeness, repeats, volatility, volume, returns, spreads and conditions."""

from collections.abc import Iterable
from dataclasses import dataclass, fields

import polars as pl

from tapewatch.bars.time_bars import minute_bars
from tapewatch.features.range_volatility import day_volatility
from tapewatch.market.instruments import Partition, Session
from tapewatch.market.schema import Column, Table
from tapewatch.market.tables.derived import PROFILE
from tapewatch.market.tables.stream import STREAM_BATCHES
from tapewatch.market.tables.tape import BARS, COVERAGE, DELIVERED_BARS, QUOTES, TRADES, quarantine_of
from tapewatch.reports.tick_profile import profile_ticks
from tapewatch.store.lake.lake import Lake
from tapewatch.store.lake.tape import symbol_batches

PROFILED = (TRADES, QUOTES, BARS)
_RETURN_GRID = "5m"
_BAR_COLUMNS = ("symbol", "time", "open", "high", "low", "close", "volume")
_COUNTED = (pl.Categorical(), pl.Boolean(), pl.Int8(), pl.Int16())


@dataclass(frozen=True)
class TapeProfile:
    """Measures of one or more market days; every frame starts with `date` and `market`.

    - `columns`: table, column, type, unit, meaning, rows, nulls, distinct (estimated where many), minimum, maximum
    - `coverage`: the `COVERAGE` rows
    - `repeats`: table, symbol, rows, repeated (equal except for number and id); for quotes also crossed, locked, one_sided
    - `refused`: table, reason, rows in quarantine
    - `volatility`: symbol, the `ESTIMATORS`, realised (5 s, of trades), each in percent of the price over regular hours; from
      midpoints in a market without trades and bars, as the returns
    - `half_hours`: symbol, time, volume, trades, quotes, spread_bps (median of minutes), by half hour of the whole day
    - `spikes`: symbol, time, volume, multiple
    - `returns`: symbol, time, return_bps of five minutes
    - `spreads`: symbol, quoted and effective spread of regular minutes: median, 5th and 95th percentile, in bps
    - `delivered`: table, batches, rows, added, revised, repeated: rows of the stream, from `STREAM_BATCHES`
    - `revisions`: symbol, bars, revised (changed since they were first written), compared (both built and delivered),
      volume_equal and price_equal (of the compared bars)
    - `conditions`: conditions, allows (fields of a bar), trades, volume, quoted (trades of symbols with quotes), buys and sells
      by the quote rule; trades that also have a side by crypto's codes (`stated`) or the tick rule (`tick`), and how many of
      them agree with the quote rule (`stated_agrees`, `tick_agrees`)
    """

    columns: pl.DataFrame
    coverage: pl.DataFrame
    repeats: pl.DataFrame
    refused: pl.DataFrame
    volatility: pl.DataFrame
    half_hours: pl.DataFrame
    spikes: pl.DataFrame
    returns: pl.DataFrame
    spreads: pl.DataFrame
    delivered: pl.DataFrame
    revisions: pl.DataFrame
    conditions: pl.DataFrame


def profile_days(days: Iterable[TapeProfile]) -> TapeProfile:
    """Several days in one profile."""
    parts = list(days)
    return TapeProfile(
        *(pl.concat((getattr(part, each.name) for part in parts), how="diagonal") for each in fields(TapeProfile))
    )


def profile_day(lake: Lake, partition: Partition) -> TapeProfile:
    """Measure one market day of the lake, a few symbols in memory at a time.

    Raises:
        MissingPartitionError: the day has neither trades nor quotes nor bars.
    """
    session = partition.session
    if not any(lake.exists(table, partition) for table in PROFILED):
        lake.scan(TRADES, partition)
    has_ticks = lake.exists(TRADES, partition) or lake.exists(QUOTES, partition)
    ticks = profile_ticks(symbol_batches(lake, partition, all_columns=True) if has_ticks else (), session)
    bars = _bars(lake, partition)
    volatility = day_volatility(_regular(bars, session))
    if ticks["volatility"].width:
        volatility = volatility.join(ticks["volatility"], on="symbol", how="left")
    frames = ticks | {
        "columns": pl.concat(_columns(lake, table, partition) for table in PROFILED if lake.exists(table, partition)),
        "coverage": lake.read(COVERAGE, partition) if lake.exists(COVERAGE, partition) else COVERAGE.empty(),
        "refused": _refused(lake, partition),
        "delivered": _delivered(lake, partition),
        "revisions": _revisions(lake, partition),
        "returns": _grid_returns(bars),
        "volatility": volatility,
    }
    if not has_ticks:
        frames["half_hours"] = _bar_half_hours(bars)
    return TapeProfile(**{name: _placed(frame, partition) for name, frame in frames.items()})


def _columns(lake: Lake, table: Table, partition: Partition) -> pl.DataFrame:
    """One row per column: counts, and the range as text."""
    rows = lake.scan(table, partition)
    measured = rows.select(
        pl.len().alias("rows"),
        *(each.alias(f"{column.name}:{what}") for column in table.columns for what, each in _measures(column)),
    ).collect(engine="streaming")
    found = measured.row(0, named=True)
    return pl.DataFrame(
        [
            {
                "table": table.name,
                "column": column.name,
                "type": "timestamp" if column.dtype.is_temporal() else str(column.dtype).lower(),
                "unit": column.unit,
                "meaning": column.description,
                "rows": found["rows"],
                **{what: found[f"{column.name}:{what}"] for what in ("nulls", "distinct")},
                **{what: _text(found[f"{column.name}:{what}"]) for what in ("minimum", "maximum")},
            }
            for column in table.columns
        ],
        infer_schema_length=None,
    )


def _measures(column: Column) -> Iterable[tuple[str, pl.Expr]]:
    value = pl.col(column.name)
    if column.dtype == pl.Categorical():
        value = value.cast(pl.String)
    yield "nulls", value.null_count()
    # Counted exactly where few are possible, else estimated: an exact count of prices would keep them all in memory.
    given = value.drop_nulls()
    yield "distinct", given.n_unique() if column.dtype in _COUNTED else given.approx_n_unique()
    yield "minimum", value.min()
    yield "maximum", value.max()


def _text(value: object) -> str:
    return "" if value is None else f"{value:,.10g}" if isinstance(value, float) else str(value)


def _refused(lake: Lake, partition: Partition) -> pl.DataFrame:
    """Quarantined rows by reason; numbers in a reason are replaced, so that equal reasons count together."""
    kind = pl.col("reason").str.replace_all(r"\d+(\.\d+)?", "…")
    parts = [
        lake.scan(quarantine_of(table), partition)
        .group_by(reason=kind)
        .agg(rows=pl.len())
        .select(pl.lit(table.name).alias("table"), "reason", "rows")
        .collect()
        for table in PROFILED
        if lake.exists(quarantine_of(table), partition)
    ]
    return pl.concat(parts).sort("rows", descending=True) if parts else pl.DataFrame()


def _delivered(lake: Lake, partition: Partition) -> pl.DataFrame:
    if not lake.exists(STREAM_BATCHES, partition):
        return pl.DataFrame()
    counts = pl.col("rows", "added", "revised", "repeated").sum()
    batches = (
        lake.scan(STREAM_BATCHES, partition)
        .group_by(pl.col("table").cast(pl.String))
        .agg(pl.len().alias("batches"), counts)
    )
    return batches.sort("table").collect()


def _revisions(lake: Lake, partition: Partition) -> pl.DataFrame:
    if not lake.exists(BARS, partition):
        return pl.DataFrame()
    counted = (
        lake.scan(BARS, partition)
        .group_by(pl.col("symbol").cast(pl.String))
        .agg(
            bars=pl.len(),
            revised=(pl.col("revision") > 0).sum(),
            compared=pl.col("is_volume_equal").count(),
            volume_equal=pl.col("is_volume_equal").sum(),
            price_equal=pl.col("is_price_equal").sum(),
        )
    )
    return counted.sort("symbol").collect()


def _bars(lake: Lake, partition: Partition) -> pl.DataFrame:
    """The day's minute bars from the lake; without them built from the trades, or without trades from midpoints."""
    if lake.exists(BARS, partition):
        return lake.read(BARS, partition, columns=list(_BAR_COLUMNS))
    built = [
        minute_bars(trades, partition.session) if lake.exists(TRADES, partition) else _midpoint_bars(quotes)
        for trades, quotes in symbol_batches(lake, partition)
    ]
    return pl.concat([DELIVERED_BARS.empty(), *built]).select(_BAR_COLUMNS)


def _midpoint_bars(quotes: pl.DataFrame) -> pl.DataFrame:
    """Minute bars (`DELIVERED_BARS`, volume 0) of the midpoint, from two-sided quotes that are not crossed."""
    bid, ask = pl.col("bid_price"), pl.col("ask_price")
    middle = (bid + ask) / 2
    bars = (
        quotes.filter((bid > 0) & (ask >= bid))
        .group_by("symbol", pl.col("time").dt.truncate("1m"), maintain_order=True)
        .agg(open=middle.first(), high=middle.max(), low=middle.min(), close=middle.last())
    )
    return DELIVERED_BARS.conform(bars.with_columns(volume=0.0))


def _regular(bars: pl.DataFrame, session: Session) -> pl.DataFrame:
    at = pl.col("time").to_physical()
    return bars.filter((at >= session.regular_start) & (at < session.regular_end)).with_columns(
        pl.col("symbol").cast(pl.String)
    )


def _grid_returns(bars: pl.DataFrame) -> pl.DataFrame:
    """Log returns, bps, between the last closes of neighbouring grid steps; none across a step without a bar."""
    closes = (
        bars.filter(pl.col("close") > 0)
        .sort(pl.col("symbol").cast(pl.String), "time")
        .group_by(pl.col("symbol").cast(pl.String), pl.col("time").dt.truncate(_RETURN_GRID), maintain_order=True)
        .agg(close=pl.col("close").last())
    )
    step = pl.col("time").diff().over("symbol") == pl.duration(minutes=5)
    move = 1e4 * pl.col("close").log().diff().over("symbol")
    return closes.select("symbol", "time", return_bps=pl.when(step).then(move)).drop_nulls()


def _bar_half_hours(bars: pl.DataFrame) -> pl.DataFrame:
    return bars.group_by(
        pl.col("symbol").cast(pl.String), time=pl.col("time").dt.truncate("30m"), maintain_order=True
    ).agg(volume=pl.col("volume").sum())


def _placed(frame: pl.DataFrame, partition: Partition) -> pl.DataFrame:
    if not frame.width:
        return frame
    columns = [pl.col("symbol").cast(pl.String)] if "symbol" in frame.columns else []
    return frame.with_columns(*columns).select(
        pl.lit(partition.date).alias("date"), pl.lit(str(partition.market)).alias("market"), pl.all()
    )


def field_rows(profile: TapeProfile) -> pl.DataFrame:
    """The `columns` of one day as `PROFILE` rows."""
    return PROFILE.conform(profile.columns)
