"""Bins of a whole day."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import polars as pl

from tapewatch.features.bins.kernel import pass_bins
from tapewatch.features.bins.records import BIN, BIN_NS, NEVER, fresh_states
from tapewatch.features.sums import flat_quotes, spans
from tapewatch.market.arrays import Array, flat_trades, session_bounds
from tapewatch.market.conditions import AUCTION_CODES, STOCK_UPDATE_RULES, Updates, has_any_code
from tapewatch.market.instruments import Market, Session
from tapewatch.market.prices import floor_of
from tapewatch.market.tables.derived import BINS_5S
from tapewatch.market.tables.tape import QUOTES, SYMBOL, TIME


def bins_5s(
    trades: pl.DataFrame,
    quotes: pl.DataFrame | None,
    session: Session,
    *,
    symbols: Sequence[str] | None = None,
    rules: Mapping[int, Updates] = STOCK_UPDATE_RULES,
) -> pl.DataFrame:
    """`BINS_5S` rows of whole symbols: the regular session's bins that hold a tick, and each symbol's first bin.

    A bin without a row is silent: its counts are 0, and what stood at the end of the row before still stands. Auction
    prints, withdrawn trades and trades that enter no volume are left out. A bin depends on nothing at or after its
    `known_time`, nor on another symbol.

    Args:
        trades: `TRADES` rows, sorted as the table says.
        quotes: `QUOTES` rows, likewise.
        session: the day they belong to.
        symbols: the symbols of the rows; by default those on the tape.
        rules: condition code to allowed fields, for stocks.

    Raises:
        ValueError: symbols are out of order.
    """
    trade_symbols, flat_t = flat_trades(trades, session, rules)
    quote_symbols, flat_q = flat_quotes(QUOTES.empty() if quotes is None else quotes)
    names = tuple(sorted({*trade_symbols, *quote_symbols} if symbols is None else set(symbols)))
    rows = spans(names, (trade_symbols, flat_t.offsets), (quote_symbols, flat_q.offsets))
    hours, floor = session_bounds(session), floor_of(session.market)
    states_sides = session.market is Market.CRYPTO
    is_auction = auction_lists(trades["conditions"], session.market)
    most = (session.regular_end - session.regular_start) // BIN_NS

    def passed(at: int) -> Array:
        span, state = rows[at], fresh_states(1)[0]
        ticks = span.last_trade - span.first_trade + span.last_quote - span.first_quote
        out = np.empty(min(most, ticks + 1), dtype=BIN)
        end = hours.day_end
        return out[: pass_bins(flat_t, is_auction, flat_q, span, hours, floor, states_sides, state, end, out)]

    with ThreadPoolExecutor(min(pl.thread_pool_size(), max(1, len(rows)))) as pool:
        pieces = list(pool.map(passed, range(len(rows))))
    records = np.concatenate(pieces) if pieces else np.empty(0, dtype=BIN)
    names_column = pl.Series(names, dtype=SYMBOL)
    return bin_rows(names_column, np.repeat(np.arange(len(names)), [len(piece) for piece in pieces]), records)


def bin_rows(names: pl.Series, symbol: Array, records: Array) -> pl.DataFrame:
    """`BINS_5S` rows of `BIN` records, whose symbols `symbol` gives as positions in `names`."""
    start, last_tick = records["start"], records["last_tick"]
    columns = {
        "symbol": names[symbol],
        "event_time": pl.Series(start).cast(TIME),
        "known_time": pl.Series(start + BIN_NS).cast(TIME),
        **{name: np.ascontiguousarray(records[name]) for name in BIN.names or () if name not in ("start", "last_tick")},
        "last_tick": pl.Series(last_tick).replace(NEVER, None).cast(TIME),
    }
    frame = pl.DataFrame(columns).with_columns(pl.col(pl.Float64).fill_nan(None))
    return BINS_5S.conform(frame)


def auction_lists(conditions: pl.Series, market: Market) -> Array:
    """Which condition lists, by physical code, hold an auction code; none outside stocks."""
    distinct = conditions.unique().drop_nulls()
    codes = distinct.to_physical().to_numpy()
    marked = np.zeros(int(codes.max()) + 1 if codes.size else 1, dtype=np.bool_)
    if market is Market.STOCKS:
        marked[codes] = has_any_code(distinct.cast(pl.String).to_list(), AUCTION_CODES)
    return marked
