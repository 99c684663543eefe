"""Bars of other clocks than time, day after day."""

from collections.abc import Iterator

import dagster as dg
import polars as pl
from pydantic import BaseModel, Field

from assets import judgements
from assets.about import about_days
from assets.checks import Check, Checked, commit_days
from assets.config import config_of, plain
from resources.lake import LakeTable
from tapewatch.bars.information.build import InformationBars
from tapewatch.bars.information.clocks import Clock, Thresholds
from tapewatch.lookahead.catalogue import information_bars as computed_bars
from tapewatch.lookahead.computation import Computation
from tapewatch.market.derived_tables import INFORMATION_BARS, INFORMATION_STATES
from tapewatch.market.instruments import Partition
from tapewatch.store.lake.lake import Lake
from tapewatch.store.lake.tape import has_ticks, symbol_batches

_CHECKS = (Check(judgements.no_look_ahead),)


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


def _states_before(lake: Lake, partition: Partition) -> pl.DataFrame:
    """The states at the end of the last day before `partition` that the lake holds; empty before the first."""
    earlier = [day for day in lake.partitions(INFORMATION_STATES, partition.market) if day.date < partition.date]
    return lake.read(INFORMATION_STATES, earlier[-1]) if earlier else INFORMATION_STATES.empty()
