"""Features of every symbol, minute by minute."""

import datetime as dt
from collections.abc import Iterator

import dagster as dg
import polars as pl

from assets.shared import look_ahead
from assets.shared.about import about_days
from assets.shared.checks import Check, Checked, commit_days
from assets.tape.loading import warn
from resources.lake import LakeTable
from tapewatch.features.families.indicators import indicators as indicator_rows
from tapewatch.features.families.rows import microstructure_more as more_rows
from tapewatch.features.from_bars import bar_features
from tapewatch.features.microstructure import microstructure as minute_rows
from tapewatch.market.instruments import NS_PER_MINUTE, NS_PER_SECOND, Partition
from tapewatch.market.tables.features import INDICATORS, MICROSTRUCTURE_MORE
from tapewatch.market.tables.tape import BARS, MICROSTRUCTURE
from tapewatch.store.lake.parquet_file import whole_symbol_groups
from tapewatch.store.lake.tape import has_ticks, symbol_batches, tape_end

#: A thin market may be silent for some minutes before its close.
_EARLY_NS = 10 * NS_PER_MINUTE

_CHECKS = (Check(look_ahead.no_look_ahead),)

_BARS_AT_ONCE = 500_000


@dg.asset(
    **about_days(MICROSTRUCTURE, "numba", checks=_CHECKS, is_day_by_day=True),
    ins={"trades": dg.AssetIn(["tape", "trades"])},
    deps=[["tape", "quotes"], ["tape", "bars"], ["tape", "stream_batches"]],
)
def microstructure(context: dg.AssetExecutionContext, trades: LakeTable) -> Checked:
    """Order flow, liquidity and volatility of every symbol and minute up to the tape's end; from bars where it has no ticks."""
    lake = trades.lake

    def frames(partition: Partition) -> Iterator[pl.DataFrame]:
        session, through = partition.session, tape_end(lake, partition)
        if through < session.regular_end - _EARLY_NS:
            end = dt.datetime.fromtimestamp(through // NS_PER_SECOND, dt.UTC)
            warn(context, f"the tape of {partition} ends early, at {end:%H:%M} UTC: later minutes have no features")
        if has_ticks(lake, partition):
            # A few symbols in memory at a time.
            return (minute_rows(*tape, session, through_ns=through) for tape in symbol_batches(lake, partition))
        bars = lake.read(BARS, partition) if lake.exists(BARS, partition) else BARS.empty()
        return iter([bar_features(bars, session, through_ns=through)])

    yield from commit_days(context, MICROSTRUCTURE, lake, frames, _CHECKS)


@dg.asset(
    **about_days(MICROSTRUCTURE_MORE, "numba", checks=_CHECKS, is_day_by_day=True),
    ins={"trades": dg.AssetIn(["tape", "trades"])},
    deps=[["tape", "quotes"], ["tape", "stream_batches"]],
)
def microstructure_more(context: dg.AssetExecutionContext, trades: LakeTable) -> Checked:
    """Further measures of order flow, liquidity and volatility, a few symbols in memory at a time."""

    def frames(partition: Partition) -> Iterator[pl.DataFrame]:
        if not has_ticks(trades.lake, partition):
            return iter([MICROSTRUCTURE_MORE.empty()])
        through = tape_end(trades.lake, partition)
        batches = symbol_batches(trades.lake, partition)
        return (more_rows(*tape, partition.session, through_ns=through) for tape in batches)

    yield from commit_days(context, MICROSTRUCTURE_MORE, trades.lake, frames, _CHECKS)


@dg.asset(
    **about_days(INDICATORS, "numba", checks=_CHECKS, is_day_by_day=True), ins={"bars": dg.AssetIn(["tape", "bars"])}
)
def indicators(context: dg.AssetExecutionContext, bars: LakeTable) -> Checked:
    """Indicators of every symbol's minute bars, a few symbols in memory at a time."""

    def frames(partition: Partition) -> Iterator[pl.DataFrame]:
        if not bars.exists(partition):
            return iter([INDICATORS.empty()])
        groups = whole_symbol_groups([bars.lake.symbols(BARS, partition)], _BARS_AT_ONCE)
        return (indicator_rows(bars.lake.read(BARS, partition, symbols=each), partition.session) for each in groups)

    yield from commit_days(context, INDICATORS, bars.lake, frames, _CHECKS)
