"""Labelled anomalies put into a copy of a real tape, to judge a detector where no source states the truth."""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from tapewatch.labels.injection.distortions import (
    DISTORTIONS,
    QUOTE_KINDS,
    TICK_KINDS,
    TRADE_KINDS,
    Floats,
    Stretch,
    Usual,
)
from tapewatch.labels.truth import TRUTH_EVENTS_SCHEMA
from tapewatch.market.instruments import NS_PER_MINUTE, Session, market_of
from tapewatch.market.tables.tape import QUOTES, TIME, TRADES

_FROM_OPEN_NS = 30 * NS_PER_MINUTE
TO_CLOSE_NS = 15 * NS_PER_MINUTE
#: Pause after an anomaly, for features to settle.
_QUIET_NS = 10 * NS_PER_MINUTE
_LOOK_BACK_MINUTES = 30
_LOOK_BACK_NS = _LOOK_BACK_MINUTES * NS_PER_MINUTE
#: Most decimals of a tick, and the share of prices that must be multiples of it.
_MOST_DECIMALS = 8
_TICK_SHARE = 0.95


@dataclass(frozen=True, slots=True)
class Injected:
    """A distorted tape and the truth about it (columns of `TRUTH_EVENTS_SCHEMA`)."""

    trades: pl.DataFrame
    quotes: pl.DataFrame | None
    truth_events: pl.DataFrame


@dataclass(frozen=True, slots=True)
class Placement:
    """Where an anomaly goes: times in ns UTC, the end excluded."""

    kind: str
    start_ns: int
    end_ns: int


def inject(
    trades: pl.DataFrame,
    quotes: pl.DataFrame | None,
    session: Session,
    *,
    seed: int,
    per_symbol: int = 8,
    kinds: Sequence[str] | None = None,
    through_ns: int | None = None,
) -> Injected:
    """Put up to `per_symbol` anomalies into each symbol's regular session; outside their stretches nothing changes.

    Anomalies lie at least 30 minutes after the open, 15 before the close or the tape's end, and 10 apart; kinds take turns.
    A symbol gets only kinds that its tape can hold: those of trades and quotes, of trades alone or of quotes alone. An
    anomaly for which the tape is too thin (nothing for half an hour) is left out, and so is its truth; so are those for
    which the session is too short. A symbol's tape depends on the seed and on nothing of other symbols.

    Args:
        trades: a TRADES frame of one market's day.
        quotes: a QUOTES frame, or None.
        session: that day's hours.
        seed: of the random choices.
        per_symbol: anomalies wanted in each symbol.
        kinds: keys of `DISTORTIONS`; by default those that suit each symbol's tape.
        through_ns: the tape's end; by default that of the session.

    Returns:
        Frames of the same tables, sorted as those say. Added rows carry sequence numbers above the symbol's highest.

    Raises:
        ValueError: a kind is unknown.
    """
    unknown = sorted(set(kinds or ()) - set(DISTORTIONS))
    if unknown:
        raise ValueError(f"unknown kind(s) {', '.join(unknown)}: choose from {', '.join(DISTORTIONS)}")
    tapes = by_symbol(trades), by_symbol(quotes) if quotes is not None else {}
    last = min(session.regular_end, session.regular_end if through_ns is None else through_ns) - TO_CLOSE_NS
    done = []
    for symbol in sorted(set().union(*tapes)):
        mine = tapes[0].get(symbol, trades.clear()), tapes[1].get(symbol)
        rng = np.random.default_rng([seed, session.date.toordinal(), zlib.crc32(symbol.encode())])
        durations = {kind: DISTORTIONS[kind][1] for kind in _possible(*mine, kinds)}
        placements = placed(session, last, per_symbol, durations, rng)
        done.append(_inject_symbol(symbol, *mine, session, placements, rng))
    all_quotes = [d.quotes for d in done if d.quotes is not None]
    return Injected(
        assembled(TRADES.empty(), [d.trades for d in done], TRADES.sort),
        None if quotes is None else assembled(QUOTES.empty(), all_quotes, QUOTES.sort),
        pl.concat([pl.DataFrame(schema=TRUTH_EVENTS_SCHEMA), *(d.truth_events for d in done)]),
    )


def by_symbol(frame: pl.DataFrame) -> dict[str, pl.DataFrame]:
    return {str(key[0]): part for key, part in frame.partition_by("symbol", as_dict=True).items()}


def assembled(empty: pl.DataFrame, parts: Sequence[pl.DataFrame], sort: Sequence[str]) -> pl.DataFrame:
    by_name = sorted((part for part in parts if part.height), key=lambda part: str(part["symbol"][0]))
    return pl.concat([empty, *(part.sort(sort[1:]) for part in by_name)])


def _possible(trades: pl.DataFrame, quotes: pl.DataFrame | None, kinds: Sequence[str] | None) -> list[str]:
    suited = TRADE_KINDS if quotes is None else TICK_KINDS if trades.height else QUOTE_KINDS
    return [kind for kind in suited if kinds is None or kind in kinds]


def _inject_symbol(
    symbol: str,
    trades: pl.DataFrame,
    quotes: pl.DataFrame | None,
    session: Session,
    placements: Sequence[Placement],
    rng: np.random.Generator,
) -> Injected:
    tick = tick_of(trades["price"] if quotes is None or trades.height else quotes["bid_price"])
    stretches: list[Stretch] = []
    truth: list[dict[str, object]] = []
    for placement in placements:
        original = _stretch(trades, quotes, placement)
        usual = _usual(trades, quotes, placement.start_ns, tick)
        distorted = None
        if original is not None and usual is not None:
            distorted = DISTORTIONS[placement.kind][0](original, usual, rng)
        if distorted is None:
            continue
        stretches.append(distorted)
        event = {"symbol": symbol, "event_id": f"{symbol}-{session.date}-{len(truth):02d}", "kind": placement.kind}
        truth.append({**event, "start_time": placement.start_ns, "end_time": placement.end_ns})
    return Injected(
        spliced(trades, [(s.start_ns, s.end_ns, s.trades) for s in stretches]),
        None
        if quotes is None
        else spliced(quotes, [(s.start_ns, s.end_ns, s.quotes) for s in stretches if s.quotes is not None]),
        pl.DataFrame(truth, schema=TRUTH_EVENTS_SCHEMA),
    )


def placed(
    session: Session, last_ns: int, count: int, durations: Mapping[str, tuple[float, float]], rng: np.random.Generator
) -> list[Placement]:
    """One anomaly in each of `count` equal slots up to `last_ns`, or of as many as fit; kinds in turn, in random order.

    Args:
        durations: shortest and longest duration of each kind, in minutes.
    """
    if not durations:
        return []
    first = session.regular_start + _FROM_OPEN_NS
    longest = max(int(most * NS_PER_MINUTE) for _, most in durations.values())
    count = min(count, max((last_ns - first) // (longest + _QUIET_NS), 0))
    slot = (last_ns - first) // max(count, 1)
    kinds = list(durations)
    turns = [kind for _ in range(-(-count // len(kinds))) for kind in rng.permutation(kinds)][:count]
    found = []
    for i, kind in enumerate(turns):
        length = int(rng.uniform(*durations[kind]) * NS_PER_MINUTE)
        start = first + i * slot + int(rng.integers(0, slot - length - _QUIET_NS + 1))
        found.append(Placement(str(kind), start, start + length))
    return found


def between(frame: pl.DataFrame, start_ns: int, end_ns: int) -> pl.DataFrame:
    """Rows of a frame in time order with start <= time < end."""
    times = frame["time"].dt.epoch("ns")
    begin, end = times.search_sorted(start_ns), times.search_sorted(end_ns)
    return frame.slice(begin, end - begin)


def _stretch(trades: pl.DataFrame, quotes: pl.DataFrame | None, placement: Placement) -> Stretch | None:
    """The rows within a placement, and the quote and price in force at its start.

    None before the symbol's first trade or quote, in the half hour after a quote's last, and where a price is zero or below: anomalies are relative to the price.
    """
    start, end = placement.start_ns, placement.end_ns
    before = between(trades, 0, start).tail(1)
    standing = None
    if quotes is not None:
        two_sided = (pl.col("bid_price") > 0) & (pl.col("ask_price") > 0)
        standing = between(quotes, start - _LOOK_BACK_NS, start).filter(two_sided).tail(1)
    if (trades.height and before.is_empty()) or (standing is not None and standing.is_empty()):
        return None
    in_trades, in_quotes = between(trades, start, end), None if quotes is None else between(quotes, start, end)
    quoted = [] if in_quotes is None or standing is None else [in_quotes, standing]
    is_relative = not any((rows["price"] <= 0).any() for rows in (before, in_trades))
    # The price of an empty side is 0.
    is_relative &= not any((rows[side] < 0).any() for rows in quoted for side in ("bid_price", "ask_price"))
    if not is_relative:
        return None
    price = before["price"] if standing is None or trades.height else _mid(standing)
    return Stretch(in_trades, in_quotes, start, end, standing, float(price[0]))


def _mid(quotes: pl.DataFrame) -> pl.Series:
    return (quotes["bid_price"] + quotes["ask_price"]) / 2


def _usual(trades: pl.DataFrame, quotes: pl.DataFrame | None, start_ns: int, tick: float) -> Usual | None:
    """The usual values in the half hour before a stretch; None without trades, or without quotes if there are no trades."""
    if quotes is not None and trades.is_empty():
        return _usual_quotes(quotes, start_ns, tick)
    recent = between(trades, start_ns - _LOOK_BACK_NS, start_ns).filter(
        (pl.col("price") > 0) & (pl.col("size") > 0) & (pl.col("correction").fill_null(0) <= 1)
    )
    if recent.is_empty():
        return None
    spread = tick
    if quotes is not None:
        spread = _usual_spread(between(quotes, start_ns - _LOOK_BACK_NS, start_ns), tick)
    sizes: Floats = recent["size"].to_numpy()
    return Usual(
        market=market_of(str(trades["symbol"][0])),
        tick=tick,
        minute_volatility=minute_volatility(recent),
        spread=spread,
        trades_per_minute=recent.height / _LOOK_BACK_MINUTES,
        volume_per_minute=float(sizes.sum()) / _LOOK_BACK_MINUTES,
        sizes=np.minimum(sizes, np.quantile(sizes, 0.95, method="lower")),
    )


def _usual_quotes(quotes: pl.DataFrame, start_ns: int, tick: float) -> Usual | None:
    """The same for a symbol without trades."""
    two_sided = (pl.col("bid_price") > 0) & (pl.col("ask_price") > 0)
    recent = between(quotes, start_ns - _LOOK_BACK_NS, start_ns).filter(two_sided)
    if recent.is_empty():
        return None
    return Usual(
        market=market_of(str(quotes["symbol"][0])),
        tick=tick,
        minute_volatility=minute_volatility(recent.with_columns(price=_mid(recent))),
        spread=_usual_spread(recent, tick),
        trades_per_minute=0.0,
        volume_per_minute=0.0,
        sizes=np.empty(0),
    )


def _usual_spread(quotes: pl.DataFrame, tick: float) -> float:
    spreads = quotes["ask_price"].to_numpy() - quotes["bid_price"].to_numpy()
    return max(float(np.median(spreads)), tick) if spreads.size else tick


def minute_volatility(prices: pl.DataFrame) -> float:
    """A robust standard deviation of minute returns (log) from rows with `time` and `price`; 0 below two minutes.

    A single wild minute must not set the height of a jump.
    """
    closes = prices.group_by(pl.col("time").dt.truncate("1m"), maintain_order=True).agg(pl.col("price").last())
    moves = np.abs(np.diff(np.log(closes["price"].to_numpy())))
    return 1.4826 * float(np.median(moves)) if moves.size else 0.0


def tick_of(price: pl.Series) -> float:
    """The largest power of ten of which nearly all prices are multiples."""
    prices = price.to_numpy()
    for decimals in range(_MOST_DECIMALS):
        fits = np.isclose(prices, np.round(prices, decimals), rtol=0, atol=1e-9)
        if fits.mean() >= _TICK_SHARE:
            return float(10.0**-decimals)
    return float(10.0**-_MOST_DECIMALS)


def spliced(frame: pl.DataFrame, stretches: Sequence[tuple[int, int, pl.DataFrame]]) -> pl.DataFrame:
    """`frame` with each stretch of time replaced; new rows are numbered on from the highest number, in time order."""
    pieces: list[pl.DataFrame] = []
    at = 0
    for start, end, rows in stretches:
        pieces += [between(frame, at, start), rows.sort("time", maintain_order=True)]
        at = end
    pieces.append(frame.filter(pl.col("time") >= pl.lit(at).cast(TIME)))
    whole = pl.concat(pieces)
    is_new = pl.col("sequence_number").is_null()
    highest = frame["sequence_number"].max()
    return whole.with_columns(
        sequence_number=pl.when(is_new).then(is_new.cum_sum() + highest).otherwise("sequence_number").cast(pl.Int64)
    )
