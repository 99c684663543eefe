"""Properties of every tape: no look-ahead, independent symbols, agreement with independent implementations."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.tape import microstructure_pandas, microstructure_polars
from benchmarks.tape.microstructure import disagreements, share_symbols, to_pandas
from tapewatch.features.microstructure import microstructure
from tapewatch.market.instruments import NS_PER_SECOND, Session
from tapewatch.market.tables.tape import MICROSTRUCTURE
from tests.support.recorded import TICK_DAYS, recorded_quotes, recorded_trades
from tests.support.tapes import random_tape, stock_session

SESSION = stock_session()
FEW = settings(max_examples=8, deadline=None)
TAPES = st.integers(0, 10_000)


def judged(trades: pl.DataFrame, quotes: pl.DataFrame, session: Session) -> dict[str, int]:
    """Disagreements with pandas."""
    pandas_trades, pandas_quotes = to_pandas(trades), to_pandas(quotes)
    share_symbols(pandas_trades, pandas_quotes)
    peer = microstructure_pandas.microstructure(pandas_trades, pandas_quotes, session)
    return disagreements(microstructure(trades, quotes, session), peer)


@pytest.mark.long
@FEW
@given(TAPES)
def test_pandas_gives_the_same_for_random_tapes(seed) -> None:
    assert judged(*random_tape(seed), SESSION) == {}


@FEW
@given(TAPES)
def test_polars_gives_the_same_for_random_tapes(seed) -> None:
    trades, quotes = random_tape(seed)
    peer = to_pandas(microstructure_polars.microstructure(trades, quotes, SESSION))
    assert disagreements(microstructure(trades, quotes, SESSION), peer) == {}


@FEW
@given(TAPES, st.integers(-15 * 60, 80 * 60))
def test_cutting_the_future_off_changes_nothing_known_before(seed, seconds) -> None:
    trades, quotes = random_tape(seed)
    assert_no_look_ahead(trades, quotes, SESSION, SESSION.regular_start + seconds * NS_PER_SECOND)


def assert_no_look_ahead(trades: pl.DataFrame, quotes: pl.DataFrame, session: Session, cut: int) -> None:
    whole = microstructure(trades, quotes, session)
    symbols = whole["symbol"].cast(pl.String).unique().to_list()
    is_past = pl.col("time").to_physical() < cut
    alone = microstructure(trades.filter(is_past), quotes.filter(is_past), session, through_ns=cut, symbols=symbols)
    assert alone.equals(whole.filter(pl.col("known_time").to_physical() <= cut))


@FEW
@given(TAPES)
def test_symbols_do_not_depend_on_one_another(seed) -> None:
    trades, quotes = random_tape(seed, ("A", "B", "C"))
    together = microstructure(trades, quotes, SESSION)
    MICROSTRUCTURE.check(together)
    assert MICROSTRUCTURE.duplicates(together) == 0
    name = pl.col("symbol").cast(pl.String)
    groups = (["A"], ["B", "C"])
    apart = [microstructure(trades.filter(name.is_in(g)), quotes.filter(name.is_in(g)), SESSION) for g in groups]
    assert pl.concat(apart).equals(together)


def test_chunks_and_columns_that_are_not_needed_do_not_matter() -> None:
    trades, quotes = random_tape(seed=2)
    pieces = pl.concat([trades.slice(offset, 37) for offset in range(0, trades.height, 37)], rechunk=False)
    assert pieces.n_chunks() > 1
    bare = quotes.select("symbol", "time", "bid_price", "ask_price", "bid_size", "ask_size")
    assert microstructure(pieces, bare, SESSION).equals(microstructure(trades, quotes, SESSION))


@pytest.fixture(scope="module")
def recorded(market_data) -> tuple[pl.DataFrame, pl.DataFrame, Session]:
    day = TICK_DAYS[0]
    return recorded_trades(market_data, day), recorded_quotes(market_data, day), stock_session(day)


@pytest.mark.long
@pytest.mark.real_tape
def test_pandas_gives_the_same_for_a_recorded_day(recorded) -> None:
    assert judged(*recorded) == {}


@pytest.mark.real_tape
@pytest.mark.parametrize("minutes", [-200, 0, 7.5, 31, 199.999, 389, 395])
def test_cutting_a_recorded_day_changes_nothing_known_before(recorded, minutes) -> None:
    session = recorded[2]
    assert_no_look_ahead(*recorded, session.regular_start + round(minutes * 60 * NS_PER_SECOND))
