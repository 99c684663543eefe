"""The checks of a committed partition: a function each, whose name and first paragraph are the check's name and description."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import polars as pl

from tapewatch.bars.time_bars import bar_agreement, minute_bars
from tapewatch.features.aggressor import agreement_by_exchange
from tapewatch.market.conditions import INTERMARKET_SWEEP
from tapewatch.market.instruments import Market, Partition
from tapewatch.market.prices import is_no_price, is_two_sided
from tapewatch.market.schema import Table
from tapewatch.market.tables.tape import BARS, COVERAGE, DELIVERED_BARS, QUOTES, TRADES
from tapewatch.store.lake.lake import Lake
from tapewatch.store.lake.parquet_file import whole_symbol_groups
from tapewatch.store.lake.tape import symbol_batches

#: Whether the partition passes, and the facts about it.
CheckVerdict = tuple[bool, dict[str, Any]]
_ROWS_AT_ONCE = 4_000_000
_LEAST_VOLUME_AGREEMENT = 0.95


def schema(table: Table, lake: Lake, partition: Partition) -> CheckVerdict:
    """Columns, types, nulls and ranges match the table's definition."""
    problems = {fault for frame in _groups(lake, table, partition) for fault in table.problems(frame, partition.market)}
    return not problems, {"problems": sorted(problems)}


def keys_unique(table: Table, lake: Lake, partition: Partition) -> CheckVerdict:
    """No two rows share a key."""
    repeated = sum(table.duplicates(frame) for frame in _groups(lake, table, partition))
    return repeated == 0, {"repeated": repeated}


def inside_session(table: Table, lake: Lake, partition: Partition) -> CheckVerdict:
    """Every row lies within its market day; rows outside its hours are counted."""
    session, time = partition.session, pl.col("time").dt.timestamp("ns")
    rows = lake.scan(table, partition).select(
        outside_day=(~time.is_between(session.day_start, session.day_end, "left")).sum(),
        outside_hours=(~time.is_between(session.extended_start, session.extended_end, "left")).sum(),
    )
    facts = rows.collect().row(0, named=True)
    return facts["outside_day"] == 0, facts


def prices_and_sizes(_: Table, lake: Lake, partition: Partition) -> CheckVerdict:
    """Every trade has a price, and none a negative size."""
    bad = lake.scan(TRADES, partition).select(
        no_price=is_no_price("price", partition.market).sum(), negative_size=(pl.col("size") < 0).sum()
    )
    facts = bad.collect().row(0, named=True)
    return not any(facts.values()), facts


def crossed(_: Table, lake: Lake, partition: Partition) -> CheckVerdict:
    """At most 5 % of the quotes are crossed; crossed and locked quotes are counted."""
    facts = (
        lake.scan(QUOTES, partition)
        .filter(is_two_sided(partition.market))
        .select(
            quotes=pl.len(),
            crossed=(pl.col("bid_price") > pl.col("ask_price")).sum(),
            locked=(pl.col("bid_price") == pl.col("ask_price")).sum(),
        )
        .collect()
        .row(0, named=True)
    )
    return facts["crossed"] <= 0.05 * facts["quotes"], facts


def aggressor_agreement(_: Table, lake: Lake, partition: Partition) -> CheckVerdict:
    """Share of trades whose aggressor, by the vendor's codes or the tick rule, agrees with the quotes.

    Fails if crypto's codes agree in less than half of the trades, over all exchanges or, beyond chance, on one of them: their
    documented meaning would then be inverted. An exchange's share is the mean of those of its purchases and its sales, since
    prices that lie apart from the other exchanges' would make all its trades look alike.
    """
    batches = [agreement_by_exchange(*tape, partition.session) for tape in symbol_batches(lake, partition)]
    found = pl.concat([agreement_by_exchange(TRADES.empty(), None, partition.session), *batches])
    sides = found.group_by("exchange", "side").agg(pl.col("compared", "agreeing").sum())
    exchanges = sides.group_by("exchange").agg(
        pl.col("compared").sum(), share=(pl.col("agreeing") / pl.col("compared")).mean()
    )
    compared, agreeing = int(sides["compared"].sum()), int(sides["agreeing"].sum())
    # Three standard deviations of a share that is one half by chance.
    chance = 0.5 - 1.5 / pl.col("compared").sqrt()
    reversed_ = exchanges.filter(pl.col("share") < chance).sort("exchange")
    facts: dict[str, Any] = {
        "compared": compared,
        "agreeing": agreeing,
        "share": agreeing / compared if compared else None,
    }
    if partition.market is not Market.CRYPTO:
        return True, facts
    facts["reversed"] = [
        f"exchange {exchange}: the sides of {share:.1%} of {count:,} trades agree with the quotes"
        for exchange, count, share in reversed_.select("exchange", "compared", "share").iter_rows()
    ]
    return not (reversed_.height or agreeing < compared / 2), facts


def ohlc_consistent(_: Table, lake: Lake, partition: Partition) -> CheckVerdict:
    """In every bar the low is the lowest and the high the highest price, and the low is a price."""
    body_low, body_high = pl.min_horizontal("open", "close"), pl.max_horizontal("open", "close")
    wrong = (pl.col("low") > body_low) | (pl.col("high") < body_high) | is_no_price("low", partition.market)
    count = int(lake.scan(BARS, partition).select(wrong.sum()).collect().item() or 0)
    return count == 0, {"inconsistent": count}


def agree_with_delivered(_: Table, lake: Lake, partition: Partition) -> CheckVerdict:
    """Share of minutes whose bar, built from trades, equals the vendor's own, with and without intermarket sweeps.

    Fails if too few volumes agree; prices agree only as far as the vendor follows its published rules. Some vendors leave
    sweeps out in regular hours.
    """
    bars = lake.read(BARS, partition)
    delivered = DELIVERED_BARS.conform(
        bars.filter(pl.col("delivered_close").is_not_null()).select(
            "symbol", "time", **{name: f"delivered_{name}" for name in ("open", "high", "low", "close", "volume")}
        )
    )
    built = DELIVERED_BARS.conform(bars.filter(pl.col("source") == "trades"))
    found = bar_agreement(built, delivered, partition.session)
    if not found.built or not found.delivered:
        return True, asdict(found)
    swept = (
        minute_bars(trades, partition.session, exclude_price_codes=(INTERMARKET_SWEEP,))
        for trades, _ in symbol_batches(lake, partition)
    )
    without_sweeps = bar_agreement(pl.concat(swept), delivered, partition.session)
    facts = {
        **asdict(found),
        "volume_share": found.volume_share,
        "regular_price_share": found.regular_price_share,
        "regular_price_share_without_sweeps": without_sweeps.regular_price_share,
    }
    return found.volume_share >= _LEAST_VOLUME_AGREEMENT, facts


def gaps(_: Table, lake: Lake, partition: Partition) -> CheckVerdict:
    """No symbol lacks more than a tenth of its regular minutes."""
    rows = lake.read(COVERAGE, partition)
    thin = rows.filter(pl.col("missing_minutes") + pl.col("silent_minutes") > 0.1 * pl.col("expected_minutes"))
    facts = {"missing": "missing_minutes", "silent": "silent_minutes", "longest_gap": "longest_gap_minutes"}
    return thin.is_empty(), {
        row["symbol"]: {fact: row[column] for fact, column in facts.items()} for row in thin.iter_rows(named=True)
    }


def _groups(lake: Lake, table: Table, partition: Partition) -> Iterator[pl.DataFrame]:
    """The partition, a few symbols at a time, or at once if its footer has no counts of them."""
    counts = lake.symbols(table, partition)
    for symbols in whole_symbol_groups([counts], _ROWS_AT_ONCE) if counts else [None]:
        yield lake.read(table, partition, symbols=symbols)
