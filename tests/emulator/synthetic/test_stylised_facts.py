"""The synthetic tape has the stylised facts of real tapes, measured on days without anomalies by independent formulas."""

import datetime as dt
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest

from tapewatch.emulator.synthetic.market import Synthetic
from tapewatch.emulator.synthetic.universe import DEFAULT
from tapewatch.market.instruments import NS_PER_MINUTE, market_of, session_of

DAYS = [dt.date(2024, 3, day) for day in (4, 5, 6, 7, 8)]
STOCKS, CRYPTO = ("AAPL", "MSFT", "TSLA", "VOO"), ("X:BTC-USD", "X:ETH-USD", "X:ADA-USD")
# Codes of trades whose price may be outside the quotes.
OFF_MARKET = ("2", "52", "53", "15", "16")

Floats = npt.NDArray[np.float64]


@dataclass
class Measured:
    """A day without anomalies: `returns` and `spreads_bps` by regular minute, `signs` by trade from the quote rule."""

    returns: Floats
    spreads_bps: Floats
    signs: Floats
    flow: Floats
    volumes: Floats


@lru_cache(maxsize=64)
def measured(symbol: str, date: dt.date) -> Measured:
    day, session = Synthetic(5, has_anomalies=False).day(symbol, date), session_of(market_of(symbol), date)
    assert session is not None
    quotes, trades = day.quotes, day.trades.filter(~pl.col("conditions").cast(pl.String).is_in(OFF_MARKET))
    if market_of(symbol) == "crypto":
        trades = day.trades
    quote_ns, trade_ns = (frame["time"].to_physical().to_numpy() for frame in (quotes, trades))
    bid, ask = quotes["bid_price"].to_numpy(), quotes["ask_price"].to_numpy()
    mid = (bid + ask) / 2
    edges = np.arange(session.regular_start, session.regular_end + 1, NS_PER_MINUTE)
    at = np.searchsorted(quote_ns, edges, side="right") - 1
    signs = np.sign(trades["price"].to_numpy() - mid[np.searchsorted(quote_ns, trade_ns, side="right") - 1])
    minute = (trade_ns - session.regular_start) // NS_PER_MINUTE
    inside = (minute >= 0) & (minute < edges.size - 1) & (signs != 0)
    count = np.bincount(minute[inside], minlength=edges.size - 1)
    flow = np.bincount(minute[inside], weights=signs[inside], minlength=edges.size - 1) / np.maximum(count, 1)
    within = (minute >= 0) & (minute < edges.size - 1)
    volumes = np.bincount(minute[within], weights=trades["size"].to_numpy()[within], minlength=edges.size - 1)
    return Measured(np.diff(np.log(mid[at])), ((ask - bid) / mid * 1e4)[at[1:]], signs[signs != 0], flow, volumes)


def autocorrelation(series: Floats, lag: int) -> float:
    centred = series - series.mean()
    return float((centred[lag:] * centred[:-lag]).mean() / (centred**2).mean())


def mean_of(symbol: str, measure) -> float:
    return float(np.mean([measure(measured(symbol, day)) for day in DAYS]))


@pytest.mark.parametrize("symbol", [*STOCKS, *CRYPTO])
def test_volatility_is_autocorrelated_and_returns_are_not(symbol: str) -> None:
    assert mean_of(symbol, lambda m: autocorrelation(np.abs(m.returns), 1)) > 0.08
    assert mean_of(symbol, lambda m: autocorrelation(np.abs(m.returns), 5)) > 0.04
    assert abs(mean_of(symbol, lambda m: autocorrelation(m.returns, 1))) < 0.08


@pytest.mark.parametrize("symbol", [*STOCKS, *CRYPTO])
def test_returns_have_fat_tails(symbol: str) -> None:
    assert mean_of(symbol, lambda m: (m.returns**4).mean() / (m.returns**2).mean() ** 2) > 3.5


@pytest.mark.parametrize("symbol", [*STOCKS, *CRYPTO])
def test_order_flow_persists_and_moves_the_price(symbol: str) -> None:
    assert mean_of(symbol, lambda m: autocorrelation(m.signs, 1)) > 0.2
    assert mean_of(symbol, lambda m: autocorrelation(m.signs, 10)) > 0.05
    assert mean_of(symbol, lambda m: np.corrcoef(m.flow, m.returns)[0, 1]) > 0.1


@pytest.mark.parametrize("symbol", [*STOCKS, *CRYPTO])
def test_the_spread_widens_with_volatility(symbol: str) -> None:
    assert mean_of(symbol, lambda m: np.corrcoef(m.spreads_bps, np.abs(m.returns))[0, 1]) > 0.05


@pytest.mark.parametrize("group", [STOCKS, CRYPTO])
def test_symbols_share_factors(group: tuple[str, ...]) -> None:
    returns = np.array([np.concatenate([measured(symbol, day).returns for day in DAYS]) for symbol in group])
    correlations = np.corrcoef(returns)[np.triu_indices(len(group), 1)]
    assert correlations.min() > 0.1
    assert correlations.max() < 0.95


@pytest.mark.parametrize("symbol", STOCKS)
def test_a_stock_trades_most_near_open_and_close(symbol: str) -> None:
    volumes = np.mean([measured(symbol, day).volumes for day in DAYS], axis=0)
    opening, noon, closing = volumes[1:31].mean(), volumes[150:240].mean(), volumes[-30:].mean()
    assert opening > 1.5 * noon
    assert closing > 1.5 * noon


def test_extended_hours_have_little_activity() -> None:
    session = session_of(market_of("AAPL"), DAYS[0])
    assert session is not None
    ns = Synthetic(5, has_anomalies=False).day("AAPL", DAYS[0]).trades["time"].to_physical().to_numpy()
    outside = ((ns < session.regular_start) | (ns >= session.regular_end)).mean()
    assert 0.005 < outside < 0.08


def test_crypto_is_quiet_at_night_in_europe_and_america() -> None:
    by_hour = np.zeros(24)
    for day in DAYS:
        hours = Synthetic(5, has_anomalies=False).day("X:BTC-USD", day).trades["time"].dt.hour().to_numpy()
        by_hour += np.bincount(hours, minlength=24)
    assert by_hour[13:20].mean() > 1.4 * by_hour[1:7].mean()


@pytest.mark.parametrize(
    "symbol", ["AAPL", "GOOGL", "MSFT", "TSLA", "VOO", *(name for name in DEFAULT if name.startswith("X:")), "SYN123"]
)
def test_quotes_are_never_crossed_and_lie_on_ticks(symbol: str) -> None:
    quotes = Synthetic(5).day(symbol, DAYS[0]).quotes
    ticks = 100 if symbol == "SYN123" else DEFAULT[symbol].ticks
    assert (quotes["ask_price"] > quotes["bid_price"]).all()
    for side in ("bid_price", "ask_price"):
        prices = quotes[side].to_numpy()
        assert np.array_equal(prices, np.round(prices * ticks) / ticks)
    assert (quotes["bid_size"] > 0).all()


@pytest.mark.parametrize("symbol", ["AAPL", "X:SOL-USD", "SYN123"])
def test_trades_print_within_the_quotes(symbol: str) -> None:
    day = Synthetic(5).day(symbol, DAYS[0])
    off = pl.col("conditions").cast(pl.String).is_in(OFF_MARKET) & pl.lit(not symbol.startswith("X:"))
    joined = day.trades.filter(~off).join_asof(
        day.quotes.select("time", "bid_price", "ask_price"), on="time", strategy="backward"
    )
    assert joined["bid_price"].null_count() == 0
    assert joined.select((pl.col("price") >= pl.col("bid_price")).all()).item()
    assert joined.select((pl.col("price") <= pl.col("ask_price")).all()).item()


def test_crypto_codes_name_the_aggressor() -> None:
    day = Synthetic(5).day("X:ETH-USD", DAYS[0])
    joined = day.trades.join_asof(day.quotes.select("time", "bid_price", "ask_price"), on="time", strategy="backward")
    code = pl.col("conditions").cast(pl.String)
    assert joined.filter(code == "2").select((pl.col("price") == pl.col("ask_price")).all()).item()
    assert joined.filter(code == "1").select((pl.col("price") == pl.col("bid_price")).all()).item()
    assert joined.filter(~code.is_in(["1", "2"])).is_empty()


def test_condition_codes_match_venue_and_hours() -> None:
    trades = Synthetic(5).day("AAPL", DAYS[0]).trades
    session = session_of(market_of("AAPL"), DAYS[0])
    assert session is not None
    codes = pl.col("conditions").cast(pl.String).str.split(",")
    ns = pl.col("time").dt.epoch("ns")
    is_extended = (ns < session.regular_start) | (ns >= session.regular_end + 1_000_000_000)
    is_plain = ~pl.col("conditions").cast(pl.String).is_in(OFF_MARKET)
    assert trades.filter(is_extended & is_plain).select(codes.list.contains("12").all()).item()
    assert not trades.filter(~is_extended).select(codes.list.contains("12").any()).item()
    assert trades.filter(codes.list.contains("37")).select((pl.col("size") < 100).all()).item()
    assert trades.filter(codes.list.contains("14")).height > 0.2 * trades.height
    for code in ("2", "10", "52", "53"):
        assert 0 < trades.filter(codes.list.contains(code)).height < 0.01 * trades.height
    for code in ("25", "16", "8", "15"):
        assert trades.filter(codes.list.contains(code)).height == 1
    assert trades.filter(pl.col("trf_id").is_not_null()).select((pl.col("exchange") == 4).all()).item()
    assert (trades["participant_time"] < trades["time"]).all()
