"""The kernel's arrays as the tables `TRADES` and `QUOTES`: times, codes, venues, sequence numbers, latencies."""

import numpy as np
import numpy.typing as npt
import polars as pl

from tapewatch.emulator.synthetic import book, flow
from tapewatch.emulator.synthetic.activity import prices
from tapewatch.emulator.synthetic.flow import SimulatedFlow
from tapewatch.emulator.synthetic.price_path import PricePath
from tapewatch.emulator.synthetic.randomness import State, exponential, uniform
from tapewatch.emulator.synthetic.universe import Instrument
from tapewatch.market.compiled import njit
from tapewatch.market.instruments import NS_PER_SECOND, Market, Session
from tapewatch.market.tables.tape import QUOTES, SYMBOL, TIME, TRADES

Ints = npt.NDArray[np.int64]

_OFF_EXCHANGE = 4
_TRF_IDS = (201, 202, 203)
_LISTING = {"XNAS": 12, "XNYS": 10, "ARCX": 11}
# The venues of stocks, repeated by their share; off-exchange trades are chosen separately.
_STOCK_VENUES = np.array([12, 12, 12, 11, 11, 10, 19, 19, 8, 8, 21, 7, 18, 2, 15, 20], dtype=np.int16)
# Currencies have the vendor's own exchange number.
_VENUES = {
    Market.STOCKS: _STOCK_VENUES,
    Market.CRYPTO: np.array([1, 1, 1, 1, 23, 23, 2, 6], dtype=np.int16),
    Market.OPTIONS: np.array([302, 312, 312, 316, 309, 323], dtype=np.int16),
    Market.FUTURES: np.array([4], dtype=np.int16),
    Market.FOREX: np.array([48], dtype=np.int16),
}
_CODES = (
    "", "14", "14,41", "41", "37", "14,37", "14,37,41", "37,41",
    "12", "12,14", "12,14,41", "12,41", "12,37", "12,14,37", "12,14,37,41", "12,37,41",
    "2", "10", "52", "53", "25,41", "16", "8,41", "15", "1", "209",
)  # fmt: skip
_CODE = {text: number for number, text in enumerate(_CODES)}
_SELL, _BUY = _CODE["1"], _CODE["2"]
_LATE_PRICED_FIRST = _CODE["2"]
_DERIVATIVELY_PRICED = _CODE["10"]
_AUCTION_FIRST = _CODE["25,41"]
_ROUND_LOT = 100
# Markets that trade whole contracts, and the condition code of their trades.
_IN_CONTRACTS = {Market.OPTIONS: "209", Market.FUTURES: ""}
_SIZE_STEPS = 1_000_000


def trades(
    instrument: Instrument, session: Session, simulated: SimulatedFlow, state: State, numbering: State
) -> pl.DataFrame:
    is_stock, is_whole = instrument.market is Market.STOCKS, instrument.market in _IN_CONTRACTS
    count = simulated.prints.shape[1]
    after, kind = simulated.prints[flow.PRINT_TIME].astype(np.int64), simulated.prints[flow.PRINT_KIND].astype(np.uint8)
    amount = simulated.prints[flow.PRINT_SIZE]
    regular = (session.regular_start - session.extended_start, session.regular_end - session.extended_start)
    codes, venues, size = np.empty(count, np.uint32), np.empty(count, np.int16), np.empty(count)
    lag, trf_lag = np.empty(count, np.int64), np.empty(count, np.int64)
    if is_stock:
        listing = _LISTING[instrument.exchange]
        _fill_stock_trades(
            after, amount, kind, *regular, instrument.size, listing, _STOCK_VENUES, state,
            codes, venues, size, lag, trf_lag,
        )  # fmt: skip
    else:
        side, places = simulated.prints[flow.PRINT_SIDE], _VENUES[instrument.market]
        _fill_crypto_trades(amount, side, instrument.size, places, state, codes, venues, size)
    if is_whole:
        codes[:], size = _CODE[_IN_CONTRACTS[instrument.market]], np.maximum(np.round(size), 1.0)
    time = session.extended_start + after
    columns: dict[str, object] = {
        "time": _times(time),
        "sequence_number": _numbers(instrument, numbering, count),
        "price": simulated.prints[flow.PRINT_PRICE] / float(flow.SUB_TICKS * instrument.ticks),
        "size": size,
        "exchange": venues,
        "conditions": _dictionary(_CODES, codes),
        "id": None if is_whole else pl.Series(np.arange(1, count + 1)).cast(pl.String),
        "participant_time": _times(time - lag) if is_stock else _times(time),
    }
    if is_stock:
        columns |= _reporting(instrument, time, venues, trf_lag)
    return TRADES.conform(pl.DataFrame(columns).with_columns(symbol=pl.lit(instrument.symbol, dtype=SYMBOL)))


def quotes(
    instrument: Instrument, session: Session, simulated: SimulatedFlow, state: State, numbering: State
) -> pl.DataFrame:
    is_stock, is_whole = instrument.market is Market.STOCKS, instrument.market in _IN_CONTRACTS
    count = simulated.quotes.shape[1]
    venues = np.empty((2, count), np.int16)
    sizes, lag = np.empty((2, count)), np.empty(count, np.int64)
    step = 1.0 / _ROUND_LOT if is_stock else 1.0 if is_whole else float(_SIZE_STEPS)
    _fill_quotes(
        simulated.quotes[book.QUOTE_BID_SIZE :], instrument.depth, step, _VENUES[instrument.market], state,
        venues, sizes, lag,
    )  # fmt: skip
    time = session.extended_start + simulated.quotes[book.QUOTE_TIME].astype(np.int64)
    columns: dict[str, object] = {
        "time": _times(time),
        "sequence_number": _numbers(instrument, numbering, count),
        "bid_price": simulated.quotes[book.QUOTE_BID] / float(instrument.ticks),
        "ask_price": simulated.quotes[book.QUOTE_ASK] / float(instrument.ticks),
        "bid_size": sizes[0],
        "ask_size": sizes[1],
        "bid_exchange": venues[0],
        "ask_exchange": venues[1],
        "conditions": _dictionary(("1" if is_stock else "",), np.zeros(count, np.uint32)),
        "indicators": _dictionary(("",), np.zeros(count, np.uint32)),
        "participant_time": _times(time - lag) if is_stock else _times(time),
    }
    if instrument.market is Market.FOREX:
        # Quotes of currencies have no sizes.
        columns |= dict.fromkeys(("bid_size", "ask_size"), pl.Series([None], dtype=pl.Float64).new_from_index(0, count))
    frame = pl.DataFrame(columns).with_columns(symbol=pl.lit(instrument.symbol, dtype=SYMBOL))
    return QUOTES.conform(frame.with_columns(tape=pl.lit(instrument.tape, dtype=pl.Int8)) if is_stock else frame)


def values(instrument: Instrument, session: Session, day: PricePath) -> pl.DataFrame:
    """An index's value at the end of every second, as trades of size 0 (`TRADES`)."""
    price = np.round(prices(day.log_price[1:]) * instrument.price, 2)
    count = price.size
    return TRADES.conform(
        pl.DataFrame(
            {
                # The last second's value must lie within the session.
                "time": _times(session.extended_start + np.arange(1, count + 1) * NS_PER_SECOND - 1_000_000),
                "sequence_number": np.arange(1, count + 1),
                "price": price,
                "size": np.zeros(count),
                "exchange": np.zeros(count, np.int16),
                "conditions": _dictionary(_CODES, np.zeros(count, np.uint32)),
            }
        ).with_columns(symbol=pl.lit(instrument.symbol, dtype=SYMBOL))
    )


def _numbers(instrument: Instrument, numbering: State, count: int) -> Ints:
    is_numbered = instrument.market is Market.STOCKS or instrument.market in _IN_CONTRACTS
    return _sequence(numbering, count) if is_numbered else np.arange(1, count + 1)


def _times(ns: Ints) -> pl.Series:
    return pl.Series(ns).cast(TIME)


def _dictionary(values: tuple[str, ...], codes: npt.NDArray[np.uint32]) -> pl.Series:
    return pl.Series(values, dtype=pl.String).cast(SYMBOL).gather(pl.Series(codes))


def _reporting(
    instrument: Instrument, time: Ints, venues: npt.NDArray[np.int16], trf_lag: Ints
) -> dict[str, pl.Series | pl.Expr]:
    is_trf = pl.Series(venues == _OFF_EXCHANGE)
    facility = pl.Series(np.array(_TRF_IDS, dtype=np.int16)[time % len(_TRF_IDS)])
    nothing = pl.Series([None])
    return {
        "trf_id": facility.zip_with(is_trf, nothing.cast(pl.Int16).new_from_index(0, len(facility))),
        "trf_time": _times(time - trf_lag).zip_with(is_trf, nothing.cast(TIME).new_from_index(0, len(facility))),
        "tape": pl.Series(np.full(time.size, instrument.tape, dtype=np.int8)),
    }


@njit(cache=True)
def _sequence(state: State, count: int) -> Ints:
    """Ascending numbers with gaps: the tape numbers the messages of all symbols together."""
    out = np.empty(count, np.int64)
    number = 1000 + np.int64(uniform(state) * 4000.0)
    for i in range(count):
        number += 1 + np.int64(exponential(state) * 12.0)
        out[i] = number
    return out


@njit(cache=True)
def _fill_stock_trades(
    time: Ints, amount: npt.NDArray[np.float64], kind: npt.NDArray[np.uint8], opens: int, closes: int, unit: float,
    listing: int, places: npt.NDArray[np.int16], state: State, codes: npt.NDArray[np.uint32],
    venues: npt.NDArray[np.int16], size: npt.NDArray[np.float64], lag: Ints, trf_lag: Ints,
) -> None:  # fmt: skip
    for i in range(time.size):
        what = kind[i]
        is_extended = time[i] < opens or time[i] >= closes
        shares = np.floor(amount[i] * unit)
        # Most orders are round lots; sizes below a lot stay odd.
        size[i] = np.floor(shares / 100.0 + 0.35) * 100.0 if shares >= 65.0 else max(shares, 1.0)
        lag[i] = 150_000 + np.int64(exponential(state) * 250_000.0)
        trf_lag[i] = 60_000
        venues[i] = places[np.int64(uniform(state) * places.size)]
        if what >= flow.AUCTION_OPEN:
            codes[i] = _AUCTION_FIRST + (what - flow.AUCTION_OPEN)
            venues[i] = listing
        elif what == flow.LATE_PRICED:
            venues[i] = _OFF_EXCHANGE
            codes[i] = _LATE_PRICED_FIRST if is_extended or uniform(state) < 0.5 else _LATE_PRICED_FIRST + 2 + (i & 1)
            lag[i] += 5_000_000_000
        else:
            is_sweep = what == flow.SWEEP
            code = (1 + (uniform(state) < 0.85)) if is_sweep else (3 if uniform(state) < 0.06 else 0)
            if size[i] < 100.0:
                code = 4 + code
            codes[i] = code + (8 if is_extended else 0)
            if what == flow.OFF_EXCHANGE:
                venues[i] = _OFF_EXCHANGE
                if not is_extended and uniform(state) < 0.01:
                    codes[i] = _DERIVATIVELY_PRICED
        if venues[i] == _OFF_EXCHANGE:
            lag[i] += np.int64(exponential(state) * 6_000_000.0)
            trf_lag[i] = min(lag[i] - 20_000, 120_000 + np.int64(exponential(state) * 90_000.0))


@njit(cache=True)
def _fill_crypto_trades(
    amount: npt.NDArray[np.float64], side: npt.NDArray[np.float64], unit: float, places: npt.NDArray[np.int16],
    state: State, codes: npt.NDArray[np.uint32], venues: npt.NDArray[np.int16], size: npt.NDArray[np.float64],
) -> None:  # fmt: skip
    for i in range(amount.size):
        codes[i] = _BUY if side[i] > 0 else _SELL
        venues[i] = places[np.int64(uniform(state) * places.size)]
        size[i] = max(np.floor(amount[i] * unit * _SIZE_STEPS), 1.0) / _SIZE_STEPS


@njit(cache=True)
def _fill_quotes(
    amounts: npt.NDArray[np.float64], unit: float, step: float,
    places: npt.NDArray[np.int16], state: State, venues: npt.NDArray[np.int16], sizes: npt.NDArray[np.float64],
    lag: Ints,
) -> None:  # fmt: skip
    for i in range(lag.size):
        for side in range(2):
            sizes[side, i] = max(np.floor(amounts[side, i] * unit * step), 1.0) / step
            venues[side, i] = places[np.int64(uniform(state) * places.size)]
        lag[i] = 120_000 + np.int64(exponential(state) * 180_000.0)
