"""The distortions of one symbol's tape that make injected anomalies."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import polars as pl

from tapewatch.market.conditions import CRYPTO_BUY_SIDE, CRYPTO_SELL_SIDE
from tapewatch.market.instruments import NS_PER_MINUTE, Market
from tapewatch.market.tables.tape import SYMBOL, TIME

Floats = npt.NDArray[np.float64]
Times = npt.NDArray[np.int64]

#: Volume of a spike and of one-sided flow, as multiples of the usual volume. Five times the usual occurs naturally about once
#: a symbol and day.
SPIKE_VOLUME = (8.0, 20.0)
FLOW_VOLUME = (2.0, 5.0)
#: A jump's height in volatilities of a minute, and its least height in basis points and in ticks.
JUMP_VOLATILITIES = (8.0, 16.0)
JUMP_FLOOR_BPS = 20.0
JUMP_FLOOR_TICKS = 3
#: A blown-out spread as a multiple of the usual one.
BLOWOUT_MULTIPLE = (5.0, 12.0)
#: Quotes of a stuffed stretch as a multiple of its own.
STUFFING_MULTIPLE = (15.0, 25.0)
_FEWEST_TRADES = 3
#: A symbol with fewer quotes a minute is silent by nature.
_FEWEST_QUOTES_A_MINUTE = 3.0


@dataclass(frozen=True, slots=True)
class Usual:
    """The usual values of a symbol shortly before a stretch. `sizes` are a sample to draw from, without the largest blocks."""

    market: Market
    tick: float
    minute_volatility: float
    spread: float
    trades_per_minute: float
    volume_per_minute: float
    sizes: Floats


@dataclass(frozen=True, slots=True)
class Stretch:
    """Trades and quotes of one symbol from `start_ns` (included) to `end_ns` (excluded), in time order.

    `quotes` is None for a symbol without quotes, and `trades` has no row for one without trades. `standing_quote` is the
    quote in force at the start, `standing_price` the last trade's price before it, without trades the quote's midpoint. Rows
    that a distortion adds have a null sequence number.
    """

    trades: pl.DataFrame
    quotes: pl.DataFrame | None
    start_ns: int
    end_ns: int
    standing_quote: pl.DataFrame | None
    standing_price: float

    @property
    def minutes(self) -> float:
        """Length in minutes."""
        return (self.end_ns - self.start_ns) / NS_PER_MINUTE

    def elapsed(self, frame: pl.DataFrame) -> Floats:
        """Elapsed share of the stretch at each row, 0 to 1."""
        times = frame["time"].dt.epoch("ns").to_numpy()
        return np.asarray((times - self.start_ns) / (self.end_ns - self.start_ns), dtype=np.float64)

    def touch(self, times: Times) -> tuple[Floats, Floats]:
        """Bid and offer in force at `times`; without quotes, both are the last trade's price."""
        if self.quotes is None or self.standing_quote is None:
            known = np.append(self.standing_price, self.trades["price"].to_numpy())
            at = np.searchsorted(self.trades["time"].dt.epoch("ns").to_numpy(), times, side="right")
            return known[at], known[at]
        standing = pl.concat([self.standing_quote, self.quotes]).filter(
            (pl.col("bid_price") > 0) & (pl.col("ask_price") > 0)
        )
        since = standing["time"].dt.epoch("ns").to_numpy()
        at = np.maximum(np.searchsorted(since, times, side="right") - 1, 0)
        return standing["bid_price"].to_numpy()[at], standing["ask_price"].to_numpy()[at]


Distortion = Callable[[Stretch, Usual, np.random.Generator], Stretch | None]


def volume_spike(stretch: Stretch, usual: Usual, rng: np.random.Generator) -> Stretch | None:
    """Many more and larger trades, on both sides, at the quotes in force. None without a trade to copy."""
    added = _added_trades(stretch, usual, rng, multiple=rng.uniform(*SPIKE_VOLUME) - 1.0)
    if added is None:
        return None
    return replace(stretch, trades=pl.concat([stretch.trades, added]))


def price_jump(stretch: Stretch, usual: Usual, rng: np.random.Generator) -> Stretch | None:
    """Prices jump, stay, and come back by the end; quotes move with them, by whole ticks. None below three of either."""
    quotes = 0 if stretch.quotes is None else stretch.quotes.height
    if max(stretch.trades.height, quotes) < _FEWEST_TRADES:
        return None
    height = rng.choice([-1.0, 1.0]) * max(
        rng.uniform(*JUMP_VOLATILITIES) * usual.minute_volatility,
        JUMP_FLOOR_BPS / 1e4,
        JUMP_FLOOR_TICKS * usual.tick / stretch.standing_price,
    )

    def shift(frame: pl.DataFrame) -> Floats:
        envelope = np.interp(stretch.elapsed(frame), [0.0, 0.1, 0.5, 1.0], [0.0, 1.0, 1.0, 0.0])
        return _in_ticks(stretch.standing_price * np.expm1(height * envelope), usual.tick)

    return _repriced(stretch, shift(stretch.trades), shift, shift)


def spread_blowout(stretch: Stretch, usual: Usual, rng: np.random.Generator) -> Stretch | None:
    """Bid and offer move far apart and return; trades stay at the touch, so further out. None without quotes."""
    if stretch.quotes is None or stretch.standing_quote is None:
        return None
    half = (rng.uniform(*BLOWOUT_MULTIPLE) - 1.0) / 2.0 * max(usual.spread, usual.tick)

    def widening(frame: pl.DataFrame) -> Floats:
        envelope = np.interp(stretch.elapsed(frame), [0.0, 0.8, 1.0], [1.0, 1.0, 0.0])
        return np.maximum(_in_ticks(half * envelope, usual.tick), 0.0)

    bid, ask = stretch.touch(stretch.trades["time"].dt.epoch("ns").to_numpy())
    side = np.sign(np.round(stretch.trades["price"].to_numpy() - (bid + ask) / 2, 9))
    return _repriced(stretch, side * widening(stretch.trades), lambda f: -widening(f), widening)


def one_sided_flow(stretch: Stretch, usual: Usual, rng: np.random.Generator) -> Stretch | None:
    """Every trade hits the same side, and there are more trades. None without a trade to copy.

    With quotes, trades lie on the offer (or the bid). Without, prices never fall (or rise), so the tick rule finds one side
    only. Crypto trades state the side in their conditions.
    """
    added = _added_trades(stretch, usual, rng, multiple=rng.uniform(*FLOW_VOLUME) - 1.0)
    if added is None:
        return None
    side = int(rng.choice([-1, 1]))
    trades = pl.concat([stretch.trades, added]).sort("time", maintain_order=True)
    if stretch.quotes is not None:
        bid, ask = stretch.touch(trades["time"].dt.epoch("ns").to_numpy())
        price = ask if side > 0 else bid
    else:
        start = stretch.standing_price + side * usual.tick
        best = np.maximum if side > 0 else np.minimum
        price = best(best.accumulate(trades["price"].to_numpy()), start)
    trades = trades.with_columns(price=pl.Series(price))
    if usual.market is Market.CRYPTO:
        code = CRYPTO_BUY_SIDE if side > 0 else CRYPTO_SELL_SIDE
        trades = trades.with_columns(conditions=pl.lit(str(code)).cast(SYMBOL))
    return replace(stretch, trades=trades)


def quote_stuffing(stretch: Stretch, _: Usual, rng: np.random.Generator) -> Stretch | None:
    """Many more quotes, each a copy of the one in force. None where quotes are few."""
    quotes = stretch.quotes
    if quotes is None or stretch.standing_quote is None or quotes.height < _FEWEST_QUOTES_A_MINUTE * stretch.minutes:
        return None
    times = np.sort(
        rng.integers(stretch.start_ns, stretch.end_ns, int(rng.uniform(*STUFFING_MULTIPLE) * quotes.height))
    )
    standing = pl.concat([stretch.standing_quote, quotes])
    since = standing["time"].dt.epoch("ns").to_numpy()
    at = pl.Series(times).cast(TIME)
    copies = standing[np.maximum(np.searchsorted(since, times, side="right") - 1, 0)].with_columns(
        time=at,
        sequence_number=pl.lit(None, dtype=pl.Int64),
        participant_time=pl.when(pl.col("participant_time").is_not_null()).then(at),
    )
    return replace(stretch, quotes=pl.concat([quotes, copies]))


def feed_outage(stretch: Stretch, _: Usual, __: np.random.Generator) -> Stretch | None:
    """Nothing comes. None where little comes anyway."""
    quotes = stretch.quotes
    if quotes is None or quotes.height < _FEWEST_QUOTES_A_MINUTE * stretch.minutes:
        return None
    return replace(stretch, trades=stretch.trades.clear(), quotes=quotes.clear())


#: Kind of anomaly to its distortion and its shortest and longest duration in minutes.
DISTORTIONS: dict[str, tuple[Distortion, tuple[float, float]]] = {
    "volume_spike": (volume_spike, (1.0, 3.0)),
    "price_jump": (price_jump, (1.5, 3.0)),
    "spread_blowout": (spread_blowout, (2.0, 5.0)),
    "one_sided_flow": (one_sided_flow, (3.0, 6.0)),
    "quote_stuffing": (quote_stuffing, (2.0, 4.0)),
    "feed_outage": (feed_outage, (5.0, 6.0)),
}
#: What can be put into a tape of trades and quotes, of trades alone and of quotes alone.
TICK_KINDS = ("volume_spike", "price_jump", "spread_blowout", "one_sided_flow")
TRADE_KINDS = ("volume_spike", "price_jump", "one_sided_flow")
QUOTE_KINDS = ("price_jump", "spread_blowout", "quote_stuffing", "feed_outage")


def _in_ticks(amount: Floats, tick: float) -> Floats:
    return np.asarray(np.round(np.round(amount / tick) * tick, 10), dtype=np.float64)


def _repriced(
    stretch: Stretch,
    trade_shift: Floats,
    bid_shift: Callable[[pl.DataFrame], Floats],
    ask_shift: Callable[[pl.DataFrame], Floats],
) -> Stretch:
    trades = stretch.trades.with_columns(price=_shifted(stretch.trades["price"], trade_shift))
    if stretch.quotes is None:
        return replace(stretch, trades=trades)
    quotes = _with_bounds(stretch)
    moved = quotes.with_columns(
        bid_price=_shifted(quotes["bid_price"], bid_shift(quotes)),
        ask_price=_shifted(quotes["ask_price"], ask_shift(quotes)),
    )
    return replace(stretch, trades=trades, quotes=moved)


def _with_bounds(stretch: Stretch) -> pl.DataFrame:
    """The quotes, with the standing quote repeated at the first instant and the last one at the last.

    So the distortion spans the stretch even if the symbol is rarely quoted.
    """
    if stretch.quotes is None or stretch.standing_quote is None:
        raise ValueError("a stretch without quotes has no quotes to bound")
    last = stretch.quotes.tail(1) if stretch.quotes.height else stretch.standing_quote
    first = _restated(stretch.standing_quote, stretch.start_ns)
    return pl.concat([first, stretch.quotes, _restated(last, stretch.end_ns - 1)])


def _restated(quote: pl.DataFrame, at_ns: int) -> pl.DataFrame:
    at = pl.lit(at_ns).cast(TIME)
    return quote.with_columns(
        time=at,
        sequence_number=pl.lit(None, dtype=pl.Int64),
        participant_time=pl.when(pl.col("participant_time").is_not_null()).then(at),
    )


def _shifted(price: pl.Series, shift: Floats) -> pl.Series:
    """`price` + `shift`, never at or below zero; an empty side (price 0) stays empty."""
    before = price.to_numpy()
    after = np.round(before + shift, 10)
    return pl.Series(np.where((before > 0) & (after > 0), after, before))


def _added_trades(stretch: Stretch, usual: Usual, rng: np.random.Generator, multiple: float) -> pl.DataFrame | None:
    """Regular trades worth `multiple` times the usual volume, `multiple` / 2 times the usual number."""
    if not stretch.trades.height or not usual.sizes.size:
        return None
    count = max(round(usual.trades_per_minute * stretch.minutes * multiple / 2), _FEWEST_TRADES)
    times = np.sort(rng.integers(stretch.start_ns, stretch.end_ns, count))
    bid, ask = stretch.touch(times)
    is_buy = rng.integers(0, 2, count).astype(np.bool_)
    pattern = stretch.trades[rng.integers(0, stretch.trades.height, count)]
    at = pl.Series(times).cast(TIME)
    sides = [str(CRYPTO_BUY_SIDE if buy else CRYPTO_SELL_SIDE) for buy in is_buy]
    return pattern.with_columns(
        time=at,
        sequence_number=pl.lit(None, dtype=pl.Int64),
        price=pl.Series(np.where(is_buy, ask, bid)),
        size=pl.Series(_sizes(usual, rng, count, multiple * usual.volume_per_minute * stretch.minutes)),
        conditions=(pl.Series(sides) if usual.market is Market.CRYPTO else pl.lit("")).cast(SYMBOL),
        id=pl.lit(None, dtype=pl.String),
        correction=pl.when(pl.col("correction").is_not_null()).then(0).cast(pl.Int8),
        participant_time=pl.when(pl.col("participant_time").is_not_null()).then(at),
        trf_id=pl.lit(None, dtype=pl.Int16),
        trf_time=pl.lit(None, dtype=TIME),
    )


def _sizes(usual: Usual, rng: np.random.Generator, count: int, volume: float) -> Floats:
    """`count` of the symbol's own sizes, scaled to about `volume`; whole numbers if the symbol trades in whole units."""
    drawn = rng.choice(usual.sizes, count)
    scaled = drawn * (volume / drawn.sum())
    is_whole = bool(np.all(usual.sizes == np.round(usual.sizes)))
    return np.asarray(np.maximum(np.round(scaled), 1.0) if is_whole else np.round(scaled, 8), dtype=np.float64)
