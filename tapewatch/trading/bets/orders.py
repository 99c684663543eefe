"""The orders of bets: limits that open them when a signal is known, market orders that close them when their path says so."""

from collections.abc import Callable

import polars as pl

from tapewatch.market.instruments import Session
from tapewatch.market.tables.tape import TIME
from tapewatch.market.tables.trading import ORDERS
from tapewatch.trading.bets.path import path_labels
from tapewatch.trading.bets.rules import BetRules
from tapewatch.trading.sizing import dynamic_limits
from tapewatch.trading.strategies.execution import limit_price

#: From this price up stocks are quoted in cents.
_CENTS_FROM = 1.0
_FINEST = 1e-8
#: A bet's name and what the order is for.
_ORDER_ID = r"^(.*):(open|close\d*)$"
#: States of orders that may still be filled.
GOING_ON = ("waiting", "open")


def names(signals: pl.DataFrame) -> pl.DataFrame:
    """The signals with `bet`, the name of the bet that follows them, unique in an account."""
    parts = pl.col("symbol", "strategy", "partner").cast(pl.String)
    return signals.with_columns(bet=pl.concat_str(parts, pl.col("known_time").to_physical(), separator=":"))


def openings(signals: pl.DataFrame, session: Session, rules: BetRules, lot_of: Callable[[str], float]) -> pl.DataFrame:
    """A limit order for each signal that is bet on, sent when the signal is known.

    The limit lies at `aggression` of the spread around the midquote, and never beyond the signal's own limit, where its edge is
    used up. With `dynamic_limits` a sized bet's limit is the dynamic limit price instead. The quantity is the size's notional, and at most what `participation` of the usual volume takes within the
    order's life.

    Args:
        signals: SIGNALS of the session.
        session: none is opened shortly before its regular end.
        rules: size, limit and life.
        lot_of: the least amount of a symbol; less than one lot is not traded.

    Returns: ORDERS, tagged by strategy.
    """
    last = pl.lit(session.regular_end - rules.closing_ns).cast(TIME)
    size = pl.col("size").abs() if rules.is_sized else pl.lit(1.0)
    wanted = names(signals).filter(
        "is_tradable", size > 0, pl.col("price") > 0, pl.col("known_time") < last, pl.col("exit_minutes").is_finite()
    )
    if wanted.is_empty():
        return ORDERS.empty()
    largest = rules.risk.largest_notional
    room = rules.patience_minutes * largest / pl.col("exit_minutes")
    around = limit_price(pl.col("side"), pl.col("price"), pl.col("spread_bps"), aggression=rules.aggression)
    worst = pl.coalesce("limit_price", around) if rules.is_sized else around
    limit = (
        pl.when(pl.col("side") > 0).then(pl.min_horizontal(around, worst)).otherwise(pl.max_horizontal(around, worst))
    )
    if rules.is_sized and rules.risk.dynamic_limits:
        given = (wanted[name].cast(pl.Float64).to_numpy() for name in ("price", "limit_price", "size"))
        limit = pl.coalesce(pl.Series("dynamic", dynamic_limits(*given)).fill_nan(None), limit)
    lots = (
        wanted["symbol"]
        .cast(pl.String)
        .replace_strict(
            distinct := wanted["symbol"].cast(pl.String).unique().to_list(), [lot_of(name) for name in distinct]
        )
    )
    rows = wanted.with_columns(limit=limit, lot=lots.cast(pl.Float64)).with_columns(
        quantity=(pl.min_horizontal(size * largest, room) / pl.col("price") / pl.col("lot") + 1e-9).floor()
        * pl.col("lot"),
        limit=_on_tick(),
    )
    found = rows.filter(pl.col("quantity") > 0, pl.col("limit") > 0).select(
        pl.col("symbol").cast(pl.String),
        "side",
        "quantity",
        order_id=pl.col("bet") + ":open",
        time="known_time",
        kind=pl.lit("limit"),
        limit_price="limit",
        time_in_force=pl.lit("day"),
        expires_time=pl.col("known_time").dt.offset_by(f"{rules.patience_minutes}m"),
        tag=pl.col("strategy").cast(pl.String),
    )
    return ORDERS.conform(found).sort("time", "order_id")


def _on_tick() -> pl.Expr:
    """The limit on the grid of prices, rounded against the order's interest: stocks in cents from one dollar on."""
    tick = (
        pl.when((pl.col("lot") == 1) & (pl.col("limit") >= _CENTS_FROM))
        .then(0.01)
        .otherwise(pl.when(pl.col("lot") == 1).then(1e-4).otherwise(_FINEST))
    )
    ticks = pl.col("limit") / tick
    return pl.when(pl.col("side") > 0).then((ticks + 1e-6).floor() * tick).otherwise((ticks - 1e-6).ceil() * tick)


def bets_of(signals: pl.DataFrame, orders: pl.DataFrame, fills: pl.DataFrame) -> pl.DataFrame:
    """The bets of an account, from what it decided, sent and traded.

    Args:
        signals: SIGNALS that it decided on.
        orders: the orders that it sent for them: order_id, quantity, expires_time and state.
        fills: FILLS of these orders.

    Returns:
        The signals with an opening order, with bet, quantity (ordered), expires_time, filled, entry_price (mean), fill_time (of the
        last opening fill), closing (amount that is closed or about to be), attempts (closing orders so far), closed, exit_price
        (mean) and fee_cents of all; null where nothing was filled or closed.
    """
    traded = fills.group_by("order_id").agg(
        filled=pl.col("quantity").sum(),
        value=(pl.col("price") * pl.col("quantity")).sum(),
        fill_time=pl.col("time").max(),
        fee=pl.col("fee_cents").sum(),
    )
    bet, role = (pl.col("order_id").str.extract(_ORDER_ID, part) for part in (1, 2))
    sent = (
        orders.select("order_id", "quantity", "expires_time", "state", bet=bet, role=role)
        .drop_nulls("bet")
        .join(traded, on="order_id", how="left")
    )
    is_opening = pl.col("role") == "open"
    opened = sent.filter(is_opening).select(
        "bet", "quantity", "expires_time", "filled", "fill_time", "fee", entry_price=pl.col("value") / pl.col("filled")
    )
    done = pl.col("filled").fill_null(0.0)
    closed = (
        sent.filter(~is_opening)
        .group_by("bet")
        .agg(
            closing=pl.when(pl.col("state").is_in(GOING_ON)).then("quantity").otherwise(done).sum(),
            attempts=pl.len(),
            closed=done.sum(),
            exit_price=pl.col("value").sum() / done.sum(),
            exit_fee=pl.col("fee").sum(),
        )
    )
    found = names(signals).join(opened, on="bet").join(closed, on="bet", how="left")
    return found.with_columns(fee_cents=pl.sum_horizontal("fee", "exit_fee")).drop("fee", "exit_fee")


def closings(bets: pl.DataFrame, bars: pl.DataFrame, session: Session, rules: BetRules, now: int) -> pl.DataFrame:
    """Market orders for the bets that are to be closed at `now`: a barrier was met, or their session is about to end or over.

    Args:
        bets: `bets_of` an account.
        bars: minute bars of the session that were known at `now`.
        session: the day.
        rules: when the session's bets are closed.
        now: end of a minute (ns UTC).

    Returns:
        ORDERS of what the opening orders traded, once these have ended. What the session does not fill waits for the next one; what
        was refused or cancelled is sent anew.
    """
    at = pl.lit(now).cast(TIME)
    is_settled = (pl.col("filled") >= pl.col("quantity")) | (pl.col("expires_time") <= at)
    left = pl.col("filled") - pl.col("closing").fill_null(0.0)
    held = bets.filter(is_settled, left > 0)
    if held.is_empty():
        return ORDERS.empty()
    if now < session.regular_end - rules.closing_ns:
        met = path_labels(held, bars, session, through_ns=now).filter(pl.col("known_time") <= at)["bet"]
        is_old = pl.col("known_time") < pl.lit(session.day_start).cast(TIME)
        held = held.filter(is_old | pl.col("bet").is_in(met.implode()))
    return closing_orders(held, now)


def closing_orders(bets: pl.DataFrame, now: int) -> pl.DataFrame:
    """ORDERS for what is left of bets of `bets_of`, sent at `now` (ns UTC)."""
    left = pl.col("filled") - pl.col("closing").fill_null(0.0)
    attempts = pl.col("attempts").fill_null(0)
    suffix = pl.when(attempts > 0).then(pl.format(":close{}", attempts + 1)).otherwise(pl.lit(":close"))
    return ORDERS.conform(
        bets.select(
            pl.col("symbol").cast(pl.String),
            -pl.col("side"),
            order_id=pl.col("bet") + suffix,
            time=pl.lit(now).cast(TIME),
            quantity=left,
            kind=pl.lit("market"),
            time_in_force=pl.lit("gtc"),
            tag=pl.col("strategy").cast(pl.String),
        )
    ).sort("order_id")
