"""The catalogue defines every feature, and values do not depend on more than the declared warm-up."""

import dataclasses
import datetime as dt

import numpy as np
import polars as pl
import pytest

from tapewatch.bars.time_bars import minute_bars
from tapewatch.emulator.synthetic.market import Synthetic
from tapewatch.features.catalog import DEFINITIONS
from tapewatch.features.cross_asset.correlations import STEP, correlations
from tapewatch.features.cross_asset.rows import cross_asset
from tapewatch.features.definitions.definition import Definition
from tapewatch.features.definitions.seasonality import left_out
from tapewatch.features.families.indicators import indicators
from tapewatch.features.families.rows import more_rows
from tapewatch.features.families.trade_sizes import trade_sizes
from tapewatch.features.microstructure import minute_rows
from tapewatch.features.regimes.blocks import MINUTES
from tapewatch.features.regimes.hidden_markov import RegimeModel, Scale
from tapewatch.features.regimes.rows import regimes
from tapewatch.features.seasonality.measures import MEASURES, with_more
from tapewatch.features.seasonality.model import SeasonalModel
from tapewatch.features.seasonality.rows import seasonality
from tapewatch.features.sums import minute_sums
from tapewatch.market.conditions import STOCK_UPDATE_RULES
from tapewatch.market.instruments import Market, Partition
from tapewatch.market.tables.features import (
    CORRELATIONS,
    CROSS_ASSET,
    INDICATORS,
    MICROSTRUCTURE_MORE,
    REGIMES,
    SEASONALITY,
)
from tapewatch.market.tables.tape import MICROSTRUCTURE
from tests.support.panels import bars_of_market

KEYS = {"symbol", "other", "event_time", "known_time", "is_regular", "session_minute"}
DAY = Partition(dt.date(2024, 6, 4), Market.STOCKS)
#: Rows at which the shorter tapes begin.
STARTS = range(90, 170, 13)
#: Features that are 0, or an extreme that is seldom the oldest: a shorter warm-up shows in none of a few starts.
SAME_BEFORE = {"abdi_ranaldo_bps", "drawdown_bps", "roll_spread_bps"}


@pytest.mark.parametrize(
    "table",
    [MICROSTRUCTURE, MICROSTRUCTURE_MORE, INDICATORS, CROSS_ASSET, CORRELATIONS, REGIMES, SEASONALITY],
    ids=lambda table: table.name,
)
def test_every_feature_is_defined_once_and_completely(table) -> None:
    own = [each for each in DEFINITIONS if each.table == table]
    assert [each.name for each in own] == [name for name in table.schema if name not in KEYS]
    for each in own:
        assert each.version >= 1
        assert all((each.window, each.inputs, each.source, each.nulls, each.description))
        assert (each.nulls == "never") <= (not table.by_name[each.name].is_nullable or each.name in NEVER_NULL)


def test_every_feature_has_a_deviation_from_the_time_of_day_or_a_reason() -> None:
    measured = {each.name for each in MEASURES}
    assert measured <= {each.name for each in DEFINITIONS} | {"net_volume"}
    for each in DEFINITIONS:
        assert (each.name in measured) is (left_out(each) is None), each.name


NEVER_NULL = {"signed_volume", "signed_count", "obv", "volatility_bps"}


@pytest.fixture(scope="module")
def whole_and_later() -> dict[str, tuple[pl.DataFrame, dict[int, pl.DataFrame]]]:
    """By table: a symbol's regular rows from the whole day, and those from minutes or bars that begin later."""
    session, tape = DAY.session, Synthetic(4).day("VOO", DAY.date)
    sums = minute_sums(tape.trades, tape.quotes, session, STOCK_UPDATE_RULES, through_ns=session.day_end)
    regular = (sums.minute >= 0) & (sums.minute < session.regular_minutes)
    sums = dataclasses.replace(sums, symbol=sums.symbol[regular], records=sums.records[regular])
    sizes = trade_sizes(tape.trades, sums, STOCK_UPDATE_RULES)
    bars = minute_bars(tape.trades, session).with_columns(known_time=pl.col("time") + pl.duration(minutes=1))
    time = pl.col("time").dt.timestamp("ns")
    bars = bars.filter((time >= session.regular_start) & (time < session.regular_end))

    def later(start: int):
        return dataclasses.replace(sums, symbol=sums.symbol[start:], records=sums.records[start:])

    def more(start: int) -> pl.DataFrame:
        return more_rows(later(start), {name: column[start:] for name, column in sizes.items()})

    crypto = Partition(DAY.date, Market.CRYPTO).session
    market, pairs = bars_of_market(session, 5, session.regular_minutes), bars_of_market(crypto, 2, 1440)
    scales = dict.fromkeys(("S0", "S1"), Scale(1.6, 0.3, 1.5, 1.8))
    model = RegimeModel(
        np.array([-1.0, 0.0, 1.0]), 0.5, np.full(3, 1 / 3), np.full((3, 3), 0.1) + 0.7 * np.eye(3), scales
    )

    def since(frame: pl.DataFrame, first: int) -> pl.DataFrame:
        return frame.filter(pl.int_range(pl.len()).over("symbol") >= first)

    def among_others(start: int) -> pl.DataFrame:
        return cross_asset(since(market, start), session).filter(pl.col("symbol") == "S1")

    def matrix(start: int) -> pl.DataFrame:
        return correlations(since(pairs, start * STEP), crypto).filter(pl.col("symbol") == "S1")

    def states(start: int) -> pl.DataFrame:
        rows = regimes(since(pairs, start * MINUTES), crypto, model, through_ns=crypto.day_end)
        rows = rows.filter(pl.col("symbol") == "S1")
        # The first block has no return for its first minute, and so no row.
        return pl.concat([rows.clear(n=1), rows])

    def both(start: int) -> pl.DataFrame:
        return with_more(minute_rows(later(start)).lazy(), more(start).lazy()).collect()

    usual = SeasonalModel.fit([both(0).lazy()])

    computed = {
        MICROSTRUCTURE.name: lambda start: minute_rows(later(start)),
        MICROSTRUCTURE_MORE.name: more,
        INDICATORS.name: lambda start: indicators(bars[start:], session),
        CROSS_ASSET.name: among_others,
        CORRELATIONS.name: matrix,
        REGIMES.name: states,
        SEASONALITY.name: lambda start: seasonality(both(start), usual),
    }
    return {name: (rows_from(0), {s: rows_from(s) for s in STARTS}) for name, rows_from in computed.items()}


@pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda each: each.name)
def test_a_value_depends_on_its_warm_up_alone(whole_and_later, definition: Definition) -> None:
    whole, later = whole_and_later[definition.table.name]
    assert whole[definition.name].is_not_null().any()
    if definition.warm_up is None:
        return
    before = []
    for start, rows in later.items():
        expected, found = whole[definition.name][start:], rows[definition.name]
        warm = definition.warm_up - 1
        assert found[warm:].equals(expected[warm:]), start
        assert expected[warm:].is_not_null().any()
        before.append(warm > 0 and found[warm - 1 : warm].equals(expected[warm - 1 : warm]))
    if definition.warm_up > 1 and definition.name not in SAME_BEFORE:
        assert not all(before), "the warm-up is shorter than declared"
