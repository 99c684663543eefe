"""What a day's tape holds, measured: fields, completeness, repeats, volatility, volume, correlation, spreads, conditions."""

from collections.abc import Iterable
from dataclasses import dataclass, fields

import polars as pl

from tapewatch.bars.time_bars import minute_bars
from tapewatch.features.aggressor import sides_by_rule
from tapewatch.features.microstructure import microstructure
from tapewatch.features.range_volatility import day_volatility
from tapewatch.market.conditions import STOCK_UPDATE_RULES, in_words, updates
from tapewatch.market.instruments import Market, Partition, Session
from tapewatch.market.live_tables import STREAM_BATCHES
from tapewatch.market.schema import Column, Table
from tapewatch.market.tables import BARS, COVERAGE, DELIVERED_BARS, PROFILE, QUOTES, TRADES, quarantine_of
from tapewatch.store.lake.lake import Lake
from tapewatch.store.lake.tape import symbol_batches

PROFILED = (TRADES, QUOTES, BARS)
#: A minute with this many times the mean volume of the half hour before is listed as a spike.
SPIKE_MULTIPLE = 5.0
SPIKES_A_DAY = 25
_SAME_TRADE = ("symbol", "time", "price", "size", "exchange", "conditions")
_SAME_QUOTE = ("symbol", "time", "bid_price", "ask_price", "bid_size", "ask_size")
_RETURN_GRID = "5m"
_BAR_COLUMNS = ("symbol", "time", "open", "high", "low", "close", "volume")
_COUNTED = (pl.Categorical(), pl.Boolean(), pl.Int8(), pl.Int16())


@dataclass(frozen=True)
class TapeProfile:
    """Measures of one or more market days; every frame starts with `date` and `market`.

    - `columns`: table, column, type, unit, meaning, rows, nulls, distinct (estimated where many), minimum, maximum, common
    - `coverage`: the `COVERAGE` rows
    - `repeats`: table, symbol, rows, repeated (equal in all but number and id), and of quotes crossed, locked, one_sided
    - `refused`: table, reason, rows: what lies in quarantine
    - `volatility`: symbol, the `ESTIMATORS`, realised (5 s, of trades), each in percent of the price over regular hours; of a
      market without trades and bars, and so the returns, of the midpoint of bid and ask
    - `half_hours`: symbol, time, volume, trades, quotes, spread_bps (median of minutes), by half hour of the whole day
    - `spikes`: symbol, time, volume, multiple
    - `returns`: symbol, time, return_bps on a grid of five minutes
    - `spreads`: symbol, quoted and effective spread of regular minutes: median, 5th and 95th percentile, in bps
    - `delivered`: table, batches, rows, added, revised, repeated: what the stream brought, by its ledger
    - `revisions`: symbol, bars, revised (changed since they were first written), compared (both built and delivered), and of
      these those of equal volume, `volume_equal`, and of equal prices, `price_equal`
    - `conditions`: conditions, trades, volume, allows (which fields of a bar), quoted (trades of symbols with quotes), and of the
      trades that rules sign: buys and sells by the quote rule, `stated_agrees` and `stated` (crypto's codes), `tick_agrees` and `tick` (the tick rule)
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
    """Several days side by side."""
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
    batches = symbol_batches(lake, partition, all_columns=True) if has_ticks else iter(())
    ticks = [_measure(trades, quotes, session) for trades, quotes in batches]
    bars = _bars(lake, partition)
    frames = {
        "columns": pl.concat(_columns(lake, table, partition) for table in PROFILED if lake.exists(table, partition)),
        "coverage": lake.read(COVERAGE, partition) if lake.exists(COVERAGE, partition) else COVERAGE.empty(),
        "refused": _refused(lake, partition),
        "delivered": _delivered(lake, partition),
        "revisions": _revisions(lake, partition),
        **{
            name: pl.concat([each[name] for each in ticks], how="diagonal") if ticks else pl.DataFrame()
            for name in _TICK_FRAMES
        },
    }
    realised = frames["volatility"]
    frames["volatility"] = day_volatility(_regular(bars, session))
    if realised.width:
        frames["volatility"] = frames["volatility"].join(realised, on="symbol", how="left")
    frames["returns"] = _grid_returns(bars)
    if frames["conditions"].width:
        frames["conditions"] = (
            frames["conditions"].group_by("conditions", "allows").sum().sort("trades", descending=True)
        )
    frames["spikes"] = (
        frames["spikes"].sort("multiple", descending=True).head(SPIKES_A_DAY)
        if frames["spikes"].width
        else pl.DataFrame()
    )
    if not has_ticks:
        frames["half_hours"] = _bar_half_hours(bars)
    return TapeProfile(**{name: _placed(frame, partition) for name, frame in frames.items()})


_TICK_FRAMES = ("repeats", "volatility", "half_hours", "spikes", "spreads", "conditions")


def _measure(trades: pl.DataFrame, quotes: pl.DataFrame, session: Session) -> dict[str, pl.DataFrame]:
    """What a batch of whole symbols shows."""
    minutes = microstructure(trades, quotes, session).with_columns(pl.col("symbol").cast(pl.String))
    regular = minutes.filter("is_regular")
    return {
        "repeats": _repeats(trades, quotes),
        "volatility": regular.group_by("symbol", maintain_order=True).agg(
            realised=pl.when(pl.col("realised_volatility_bps").count() > 0).then(
                (pl.col("realised_volatility_bps") ** 2).sum().sqrt() / 100
            )
        ),
        "half_hours": minutes.group_by("symbol", time=pl.col("event_time").dt.truncate("30m"), maintain_order=True).agg(
            volume=pl.col("volume").sum(),
            trades=pl.col("trade_count").sum(),
            quotes=pl.col("quote_count").sum(),
            spread_bps=pl.col("quoted_spread_bps").median(),
        ),
        "spikes": regular.filter(pl.col("volume_ratio") >= SPIKE_MULTIPLE).select(
            "symbol", time="event_time", volume="volume", multiple="volume_ratio"
        ),
        "spreads": regular.group_by("symbol", maintain_order=True).agg(
            pl.col(f"{kind}_spread_bps").quantile(share, "linear").alias(f"{kind}_{name}")
            for kind in ("quoted", "effective")
            for name, share in (("p05", 0.05), ("median", 0.5), ("p95", 0.95))
        ),
        "conditions": _conditions(trades, quotes, session),
    }


def _repeats(trades: pl.DataFrame, quotes: pl.DataFrame) -> pl.DataFrame:
    bid, ask = pl.col("bid_price"), pl.col("ask_price")
    has_both = (bid > 0) & (ask > 0)
    quoted = {
        "crossed": (has_both & (bid > ask)).sum(),
        "locked": (has_both & (bid == ask)).sum(),
        "one_sided": (~has_both).sum(),
    }
    parts = []
    for table, frame, same, extra in ((TRADES, trades, _SAME_TRADE, {}), (QUOTES, quotes, _SAME_QUOTE, quoted)):
        counts = frame.group_by(pl.col("symbol").cast(pl.String), maintain_order=True).agg(
            rows=pl.len(), repeated=pl.len() - pl.struct(same[1:]).n_unique(), **extra
        )
        parts.append(counts.select(pl.lit(table.name).alias("table"), pl.all()))
    return pl.concat(parts, how="diagonal")


def _conditions(trades: pl.DataFrame, quotes: pl.DataFrame, session: Session) -> pl.DataFrame:
    """Counts by condition list, and how the ways to sign a trade agree on it."""
    stated, by_quote, by_tick = sides_by_rule(trades, quotes, session, STOCK_UPDATE_RULES)
    quote, codes, tick = pl.col("quote"), pl.col("codes"), pl.col("tick_side")
    quoted = quotes["symbol"].cast(pl.String).unique()
    counted = (
        trades.select("conditions", "size", is_quoted=pl.col("symbol").cast(pl.String).is_in(quoted.implode()))
        .with_columns(quote=pl.Series(by_quote), codes=pl.Series(stated), tick_side=pl.Series(by_tick))
        .group_by(pl.col("conditions").cast(pl.String))
        .agg(
            trades=pl.len(),
            volume=pl.col("size").sum(),
            quoted=pl.col("is_quoted").sum(),
            buys=(quote > 0).sum(),
            sells=(quote < 0).sum(),
            stated=((codes != 0) & (quote != 0)).sum(),
            stated_agrees=((codes != 0) & (codes == quote)).sum(),
            tick=((tick != 0) & (quote != 0)).sum(),
            tick_agrees=((tick != 0) & (tick == quote)).sum(),
        )
    )
    rules = STOCK_UPDATE_RULES if session.market is Market.STOCKS else {}
    allows = pl.col("conditions").map_elements(
        lambda codes: in_words(updates(codes, rules, is_extended=False)), pl.String
    )
    return counted.with_columns(allows=allows)


def _columns(lake: Lake, table: Table, partition: Partition) -> pl.DataFrame:
    """One row a column: how full it is and what it ranges over, as text where types differ."""
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
    # Few values are counted, many estimated: an exact count of a day's prices would hold them all.
    given = value.drop_nulls()
    yield "distinct", given.n_unique() if column.dtype in _COUNTED else given.approx_n_unique()
    yield "minimum", value.min()
    yield "maximum", value.max()


def _text(value: object) -> str:
    return "" if value is None else f"{value:,.10g}" if isinstance(value, float) else str(value)


def _refused(lake: Lake, partition: Partition) -> pl.DataFrame:
    """Quarantined rows by reason; figures in a reason are blotted out, so that equal reasons count together."""
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
    """The day's minute bars; where the lake has none, built from the trades, and where there are none either, of midpoints."""
    if lake.exists(BARS, partition):
        return lake.read(BARS, partition, columns=list(_BAR_COLUMNS))
    built = [
        minute_bars(trades, partition.session) if lake.exists(TRADES, partition) else _midpoint_bars(quotes)
        for trades, quotes in symbol_batches(lake, partition)
    ]
    return pl.concat([DELIVERED_BARS.empty(), *built]).select(_BAR_COLUMNS)


def _midpoint_bars(quotes: pl.DataFrame) -> pl.DataFrame:
    """Minute bars (`DELIVERED_BARS`, volume 0) of the midpoint, from quotes that have both sides and are not crossed."""
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
    """Log returns between the last closes of neighbouring grid steps; none across a step without a bar."""
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
