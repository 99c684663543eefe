"""Bars of other clocks than time, and of futures joined together, day after day."""

from collections.abc import Iterator

import dagster as dg
import polars as pl
from pydantic import BaseModel, Field

from assets.shared import look_ahead
from assets.shared.about import about_days
from assets.shared.checks import Check, Checked, commit_days
from assets.shared.config import config_of, plain
from assets.tape.loading import warn
from resources.lake import LakeTable
from tapewatch.bars.continuous import Holding, holdings
from tapewatch.bars.continuous import continuous_bars as build_continuous
from tapewatch.bars.information.build import InformationBars
from tapewatch.bars.information.clocks import Clock, Thresholds
from tapewatch.lookahead.catalogue import continuous_with
from tapewatch.lookahead.catalogue import information_bars as computed_bars
from tapewatch.lookahead.computation import Computation
from tapewatch.market.instruments import Market, Partition
from tapewatch.market.tables.derived import CONTINUOUS_BARS, INFORMATION_BARS, INFORMATION_STATES
from tapewatch.store.lake.lake import Lake
from tapewatch.store.lake.tape import has_ticks, symbol_batches

_CHECKS = (Check(look_ahead.no_look_ahead),)
#: Days after which a contract that has no bar is no longer held.
_CARRIED_DAYS = 10


class InformationConfig(BaseModel):
    """The clocks, and the number of trades that a bar is meant to hold."""

    clocks: list[str] = [str(clock) for clock in Clock]
    trades: int = Field(500, ge=1)


@dg.asset(
    **about_days(INFORMATION_BARS, "numba", checks=_CHECKS),
    ins={"trades": dg.AssetIn(["tape", "trades"])},
    deps=[["tape", "stream_batches"]],
    config_schema=plain(InformationConfig),
)
def information_bars(context: dg.AssetExecutionContext, trades: LakeTable) -> Checked:
    """Tick, volume and dollar bars, and their imbalance and run bars; unfinished bars are carried from the day before."""
    config = config_of(context, InformationConfig)
    lake, thresholds = trades.lake, Thresholds(trades=config.trades)

    def frames(partition: Partition) -> Iterator[pl.DataFrame]:
        saved = _states_before(lake, partition)
        if not has_ticks(lake, partition):
            yield INFORMATION_BARS.empty()
        states: list[pl.DataFrame] = []
        for day, _ in symbol_batches(lake, partition) if has_ticks(lake, partition) else ():
            clocks = [InformationBars(Clock(clock), thresholds) for clock in config.clocks]
            for clock in clocks:
                clock.load(saved.join(day.select("symbol").unique(), on="symbol", how="semi"))
            yield pl.concat(clock.add(day, partition.session) for clock in clocks).sort(
                pl.col("symbol").cast(pl.String), pl.col("clock").cast(pl.String), "number"
            )
            states += [clock.save() for clock in clocks]
        traded = pl.concat([INFORMATION_STATES.empty(), *states])
        # A symbol without trades today keeps its unfinished bar.
        kept = saved.join(traded.select("symbol", "clock"), on=["symbol", "clock"], how="anti")
        order = [pl.col("symbol").cast(pl.String), pl.col("clock").cast(pl.String)]
        lake.write(INFORMATION_STATES, partition, pl.concat([traded, kept]).sort(order), allow_shrink=True)

    def computation(partition: Partition) -> Computation:
        clocks = [Clock(clock) for clock in config.clocks]
        return computed_bars(clocks, thresholds, _states_before(lake, partition))

    yield from commit_days(context, INFORMATION_BARS, lake, frames, _CHECKS, computation=computation)


@dg.asset(**about_days(CONTINUOUS_BARS, checks=_CHECKS), ins={"bars": dg.AssetIn(["tape", "bars"])})
def continuous_bars(context: dg.AssetExecutionContext, bars: LakeTable) -> Checked:
    """Bars of the futures contracts that are held, rolled by the volume of the day before; other markets have none."""
    lake = bars.lake

    def held(partition: Partition) -> dict[str, Holding]:
        earlier = [day for day in bars.partitions() if day.market == partition.market and day.date < partition.date]
        if not earlier:
            return {}
        # A thin contract may be without a bar for some days.
        states = [CONTINUOUS_BARS.empty(), *(lake.read(CONTINUOUS_BARS, day) for day in _built(lake, partition))]
        return holdings(bars.read(earlier[-1]), pl.concat(states), partition.date.year)

    def rows(partition: Partition) -> pl.DataFrame | None:
        if partition.market is not Market.FUTURES:
            return None
        found = held(partition)
        if not found:
            warn(context, f"{partition}: no earlier day has bars, which decide what is held")
        return build_continuous(bars.read(partition), found)

    def computation(partition: Partition) -> Computation:
        return continuous_with(held(partition))

    yield from commit_days(context, CONTINUOUS_BARS, lake, rows, _CHECKS, computation=computation)


def _built(lake: Lake, partition: Partition) -> list[Partition]:
    """The newest earlier days with continuous bars."""
    days = [day for day in lake.partitions(CONTINUOUS_BARS, partition.market) if day.date < partition.date]
    return days[-_CARRIED_DAYS:]


def _states_before(lake: Lake, partition: Partition) -> pl.DataFrame:
    """The states at the end of the last day before `partition` that the lake holds; empty before the first."""
    earlier = [day for day in lake.partitions(INFORMATION_STATES, partition.market) if day.date < partition.date]
    return lake.read(INFORMATION_STATES, earlier[-1]) if earlier else INFORMATION_STATES.empty()
