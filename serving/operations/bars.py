"""Features from recent tape that a request brings: the same code as of stored days."""

import datetime as dt
from collections.abc import Sequence
from typing import Any, Final

import polars as pl

from serving.contract.messages import BarsRequest
from serving.schemas import RequestError
from tapewatch.market.instruments import NS_PER_MINUTE, Market, Session, day_of, market_of, session_of
from tapewatch.market.tables.tape import BARS, QUOTES, TRADES

_US: Final = pl.Datetime("us", "UTC")


def minutes_of_tape(asked: BarsRequest) -> pl.DataFrame:
    """The last minutes of each symbol as `MICROSTRUCTURE` rows with symbols as text, sorted by symbol and time.

    Raises:
        RequestError: there is no tape, both ticks and bars, more than one market or day, a day without a session, times out of
            order, or no complete minute.
    """
    # The compiled code takes a second to load.
    from tapewatch.features.from_bars import bar_features  # noqa: PLC0415
    from tapewatch.features.microstructure import microstructure  # noqa: PLC0415

    events = [*asked.trades, *asked.quotes, *asked.bars]
    if not events:
        raise RequestError("there is no tape: send trades and quotes, or bars - at `$.trades`")
    if asked.bars and (asked.trades or asked.quotes):
        raise RequestError("send trades and quotes, or bars, not both - at `$.bars`")
    session = _session(events)
    names = sorted({event.symbol for event in events})
    stand_ins = _stand_ins(names, session.market)
    newest = max(event.time for event in events)
    through = _through(asked, newest, session)
    if asked.bars:
        rows = bar_features(_bars(asked.bars, stand_ins), session, through_ns=through)
    else:
        tape = _trades(asked.trades, stand_ins), _quotes(asked.quotes, stand_ins) if asked.quotes else None
        try:
            rows = microstructure(*tape, session, through_ns=through, symbols=list(stand_ins.values()))
        except ValueError as error:
            raise RequestError(f"the tape cannot be read: {error}") from error
    back = {stand_in: name for name, stand_in in stand_ins.items()}
    named = rows.with_columns(pl.col("symbol").cast(pl.String).replace_strict(back, return_dtype=pl.String))
    last = named.sort("symbol", "event_time").group_by("symbol", maintain_order=True).tail(asked.last)
    if last.is_empty():
        raise RequestError("no minute of the tape is complete: send at least one whole minute, or a later `through`")
    return last.select(rows.columns)


def _session(events: Sequence[Any]) -> Session:
    market = market_of(events[0].symbol)
    others = {m for event in events if (m := market_of(event.symbol)) is not market}
    if others:
        raise RequestError(f"symbols of {market} and {min(others)}: send one market a request")
    try:
        days = {day_of(market, event.time) for event in events}
        if len(days) > 1:
            raise RequestError(f"the tape covers {len(days)} days: send one day of {market} a request")
        session = session_of(market, days.pop())
    except (ValueError, OverflowError) as error:
        raise RequestError(str(error)) from error
    if session is None:
        raise RequestError(f"{market} does not trade on {day_of(market, events[0].time)}")
    return session


def _through(asked: BarsRequest, newest: dt.datetime, session: Session) -> int:
    """The end of what is known: by default the start of the newest tick's minute, or the end of the newest bar."""
    given = asked.through
    at = _ns(given or newest)
    if given is None:
        at = at // NS_PER_MINUTE * NS_PER_MINUTE + (NS_PER_MINUTE if asked.bars else 0)
    return min(at, session.day_end)


def _stand_ins(names: Sequence[str], market: Market) -> dict[str, str]:
    """Names of our own in place of the client's, in the same order: Polars keeps categories for the life of the process."""
    return {name: f"{market}{at:05}" for at, name in enumerate(names)}


def _trades(trades: Sequence[Any], names: dict[str, str]) -> pl.DataFrame:
    rows = [
        {
            "symbol": names[trade.symbol],
            "time": trade.time,
            "sequence_number": at,
            "price": trade.price,
            "size": trade.size,
            "exchange": 0,
            "conditions": ",".join(map(str, sorted(trade.conditions))),
        }
        for at, trade in enumerate(trades)
    ]
    return _frame(rows, TRADES)


def _quotes(quotes: Sequence[Any], names: dict[str, str]) -> pl.DataFrame:
    sizes = ("bid_price", "ask_price", "bid_size", "ask_size")
    rows = [
        {"symbol": names[quote.symbol], "time": quote.time, "sequence_number": at}
        | {name: getattr(quote, name) for name in sizes}
        for at, quote in enumerate(quotes)
    ]
    return _frame(rows, QUOTES)


def _bars(bars: Sequence[Any], names: dict[str, str]) -> pl.DataFrame:
    values = ("open", "high", "low", "close", "volume", "vwap", "transactions")
    rows = [
        {"symbol": names[bar.symbol], "time": bar.time, "known_time": bar.time, "source": "request"}
        | {name: getattr(bar, name) for name in values}
        for bar in bars
    ]
    frame = _frame(rows, BARS)
    if frame.select(pl.struct("symbol", "time").is_duplicated().any()).item():
        raise RequestError("a symbol has two bars of one minute - at `$.bars`")
    if frame.select((pl.col("time").dt.epoch("ns") % NS_PER_MINUTE != 0).any()).item():
        raise RequestError("a bar does not start at a whole minute - at `$.bars`")
    return frame


def _frame(rows: list[dict[str, Any]], table: Any) -> pl.DataFrame:
    """Rows of a table, by symbol and time; rows of the same time stay in their order."""
    plain = {
        name: _US if isinstance(dtype, pl.Datetime) else pl.String() if dtype == pl.Categorical() else dtype
        for name, dtype in table.schema.items()
        if not rows or name in rows[0]
    }
    frame = pl.DataFrame(rows, schema=plain).sort("symbol", "time", maintain_order=True)
    return table.conform(frame)


def _ns(time: dt.datetime) -> int:
    return (time - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1) * 1_000
