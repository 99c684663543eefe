"""Tapes that leave features undefined: nulls by the catalogue's policy, no error, no infinity; and no look-ahead."""

import polars as pl
import pytest

from tapewatch.bars.time_bars import minute_bars
from tapewatch.features.catalog import DEFINITIONS
from tapewatch.features.families.indicators import indicators
from tapewatch.features.families.rows import microstructure_more
from tapewatch.market.instruments import NS_PER_MINUTE, NS_PER_SECOND, Market, Session
from tapewatch.market.tables.features import INDICATORS, MICROSTRUCTURE_MORE
from tapewatch.market.tables.tape import QUOTES, TRADES
from tests.support.hard_tapes import FUTURES, STEPS, STOCKS, TAPES, around, every, hard_tape
from tests.support.tapes import random_tape, tape_of

NEEDS_QUOTES = {each.name for each in DEFINITIONS if each.inputs == "quotes" and each.table == MICROSTRUCTURE_MORE}


def computed(trades: pl.DataFrame, quotes: pl.DataFrame | None, session: Session) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows of both tables, which hold no NaN and no infinity."""
    more, found = microstructure_more(trades, quotes, session), indicators(bars_of(trades, session), session)
    MICROSTRUCTURE_MORE.check(more, session.market)
    INDICATORS.check(found, session.market)
    return more, found


def bars_of(trades: pl.DataFrame, session: Session) -> pl.DataFrame:
    return minute_bars(trades, session).with_columns(known_time=pl.col("time") + pl.duration(minutes=1))


@pytest.mark.parametrize("name", TAPES)
def test_a_hard_tape_gives_nulls_and_no_infinity(name: str) -> None:
    computed(*hard_tape(name))


@pytest.mark.parametrize("market", [Market.STOCKS, Market.FUTURES])
def test_a_day_of_nan_is_a_day_of_nulls(market: Market) -> None:
    session = STOCKS if market is Market.STOCKS else FUTURES
    trades, quotes = tape_of(every(10, 50 + STEPS), around(every(10, 50 + STEPS)), session=session)
    nan = pl.lit(float("nan"))
    more, _ = computed(
        trades.with_columns(price=nan, size=nan),
        quotes.with_columns(bid_price=nan, ask_price=nan, bid_size=nan, ask_size=nan),
        session,
    )
    known = {"signed_volume", "signed_count", "quote_to_trade_5m", "ofi_depth_1m"}
    assert all(more[name].is_null().all() for name in more.columns[3:] if name not in known)
    bars = bars_of(trades, session).with_columns(open=nan, high=nan, low=nan, close=nan, volume=nan, vwap=nan)
    found = indicators(bars, session)
    INDICATORS.check(found, market)
    assert all(found[name].is_null().all() for name in found.columns[3:])


def test_bars_of_nan_are_passed_over() -> None:
    bars = bars_of(tape_of(every(10, 50 + STEPS))[0], STOCKS)
    hole = pl.int_range(pl.len()).is_between(60, 69)
    prices = [pl.when(hole).then(float("nan")).otherwise(pl.col(name)).alias(name) for name in ("high", "close")]
    found = indicators(bars.with_columns(prices), STOCKS)
    INDICATORS.check(found, Market.STOCKS)
    assert (
        found[60:70].select(pl.all().exclude("symbol", "event_time", "known_time").is_null().all()).row(0)
        == (True,) * 24
    )
    assert found.filter(~hole).equals(indicators(bars.filter(~hole), STOCKS))


def test_without_quotes_features_of_trades_stand() -> None:
    more, _ = computed(*tape_of(*TAPES["without quotes"][:2]), STOCKS)
    late = more.row(150, named=True)
    assert all(late[name] is None for name in NEEDS_QUOTES)
    of_trades = {each.name for each in DEFINITIONS if each.inputs == "trades" and each.table == MICROSTRUCTURE_MORE}
    assert all(late[name] is not None for name in of_trades)


def test_a_constant_price_has_no_oscillators() -> None:
    more, found = computed(*tape_of(*TAPES["constant price"][:2]), STOCKS)
    late = found.row(150, named=True)
    undefined = {"rsi_14", "bollinger_position", "stochastic_k", "stochastic_d", "plus_di_14", "minus_di_14", "adx_14", "cusum_break", "sadf"}  # fmt: skip
    assert {name for name, value in late.items() if value is None} == undefined
    assert (late["macd_bps"], late["atr_14_bps"], late["obv"], late["shannon_entropy"]) == (0, 0, 0, 0)
    assert more.row(150, named=True)["yang_zhang_bps"] == 0


def test_prices_below_zero_keep_what_divides_by_no_price() -> None:
    more, found = computed(*tape_of(*TAPES["prices below zero"][:2], session=FUTURES), FUTURES)
    start = FUTURES.regular_start + 150 * NS_PER_MINUTE
    late = {
        **more.filter(pl.col("event_time").dt.timestamp("ns") == start).row(0, named=True),
        **found.filter(pl.col("event_time").dt.timestamp("ns") == start).row(0, named=True),
    }
    for name in ("imbalance_5m", "ofi_depth_5m", "micro_price", "depth", "bulk_imbalance", "rsi_14", "adx_14", "obv", "stochastic_k"):  # fmt: skip
        assert late[name] is not None, name
    for name in ("yang_zhang_bps", "micro_price_bps", "corwin_schultz_bps", "macd_bps", "vwap_distance_bps", "sadf"):
        assert late[name] is None, name


def test_a_halt_is_no_bar_and_its_minutes_are_silent() -> None:
    more, found = computed(*tape_of(*TAPES["halt"][:2]), STOCKS)
    halted = more.row(120, named=True)
    assert (halted["signed_volume"], halted["imbalance_25m"], halted["yang_zhang_bps"]) == (0, None, 0)
    assert found.height == 100


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("seconds", [-500, 63, 1800, 4000.5])
def test_cutting_the_future_off_changes_nothing_known_before(seed: int, seconds: float) -> None:
    trades, quotes = random_tape(seed)
    cut = STOCKS.regular_start + round(seconds * NS_PER_SECOND)
    more, found = computed(trades, quotes, STOCKS)
    is_past = pl.col("time").dt.timestamp("ns") < cut
    alone = microstructure_more(
        trades.filter(is_past), quotes.filter(is_past), STOCKS, through_ns=cut, symbols=["AAA", "BBB"]
    )
    is_known = pl.col("known_time").dt.timestamp("ns") <= cut
    assert alone.equals(more.filter(is_known))
    bars = bars_of(trades, STOCKS)
    assert indicators(bars.filter(is_known), STOCKS).equals(found.filter(is_known))


def test_symbols_do_not_depend_on_one_another() -> None:
    trades, quotes = random_tape(3, ("A", "B", "C"))
    more, found = computed(trades, quotes, STOCKS)
    assert MICROSTRUCTURE_MORE.duplicates(more) == INDICATORS.duplicates(found) == 0
    name = pl.col("symbol").cast(pl.String)
    apart = [computed(*(each.filter(name == symbol) for each in (trades, quotes)), STOCKS) for symbol in "ABC"]
    assert pl.concat(each for each, _ in apart).equals(more)
    assert pl.concat(each for _, each in apart).equals(found)


def test_no_rows_give_no_rows() -> None:
    assert microstructure_more(TRADES.empty(), QUOTES.empty(), STOCKS).equals(MICROSTRUCTURE_MORE.empty())
    assert indicators(bars_of(TRADES.empty(), STOCKS), STOCKS).equals(INDICATORS.empty())
