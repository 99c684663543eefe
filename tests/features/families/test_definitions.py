"""The catalogue defines every feature, and values do not depend on more than the declared warm-up."""

import dataclasses
import datetime as dt

import polars as pl
import pytest

from tapewatch.bars.time_bars import minute_bars
from tapewatch.emulator.synthetic.market import Synthetic
from tapewatch.features.catalog import DEFINITIONS
from tapewatch.features.definitions.definition import Definition
from tapewatch.features.families.indicators import indicators
from tapewatch.features.families.rows import more_rows
from tapewatch.features.families.trade_sizes import trade_sizes
from tapewatch.features.microstructure import minute_rows
from tapewatch.features.sums import minute_sums
from tapewatch.market.conditions import STOCK_UPDATE_RULES
from tapewatch.market.feature_tables import INDICATORS, MICROSTRUCTURE_MORE
from tapewatch.market.instruments import Market, Partition
from tapewatch.market.tables import MICROSTRUCTURE

KEYS = {"symbol", "event_time", "known_time", "is_regular", "session_minute"}
DAY = Partition(dt.date(2024, 6, 4), Market.STOCKS)
#: Rows at which the shorter tapes begin.
STARTS = range(90, 170, 13)
#: Features that are 0, or an extreme that is seldom the oldest: a shorter warm-up shows in none of a few starts.
SAME_BEFORE = {"abdi_ranaldo_bps", "drawdown_bps", "roll_spread_bps"}


@pytest.mark.parametrize("table", [MICROSTRUCTURE, MICROSTRUCTURE_MORE, INDICATORS], ids=lambda table: table.name)
def test_every_feature_is_defined_once_and_completely(table) -> None:
    own = [each for each in DEFINITIONS if each.table == table]
    assert [each.name for each in own] == [name for name in table.schema if name not in KEYS]
    for each in own:
        assert each.version >= 1
        assert all((each.window, each.inputs, each.source, each.nulls, each.description))
        assert (each.nulls == "never") <= (not table.by_name[each.name].is_nullable or each.name in NEVER_NULL)


NEVER_NULL = {"signed_volume", "signed_count", "obv"}


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

    computed = {
        MICROSTRUCTURE.name: lambda start: minute_rows(later(start)),
        MICROSTRUCTURE_MORE.name: more,
        INDICATORS.name: lambda start: indicators(bars[start:], session),
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
