"""Leaks that lie in how a tape is read: late news, equal times, bounds of bins, what is known of the day beforehand."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from tapewatch.bars.information.clocks import Clock, Thresholds
from tapewatch.lookahead.catalogue import MINUTE_BARS, information_bars
from tapewatch.lookahead.computation import Computation, Input, Tape
from tapewatch.market.instruments import NS_PER_MINUTE
from tapewatch.market.tables.tape import BARS, QUOTES, TIME, TRADES
from tests.lookahead.minutes import feature, minutes, of_minutes, small_tape
from tests.support.tapes import tape_of

FUTURE = ("cut", "perturb")
OWN_TRADE = (Input(TRADES, is_inclusive=True), Input(QUOTES))
TRADE = ("symbol", "sequence_number", "id")


def tied_tape() -> Tape:
    """Trades and quotes at the same whole seconds, several of them at once."""
    rng = np.random.default_rng(3)
    trades, quotes = tape_of(
        [(second // 2, 50 + rng.normal(), 100.0 * rng.integers(1, 9)) for second in range(400)],
        [(second, 49 + rng.normal() / 9, 51 + rng.normal() / 9) for second in range(200)],
    )
    trades = trades.with_columns(id=pl.col("sequence_number").cast(pl.String), participant_time="time")
    return replace(small_tape(), frames={"trades": trades, "quotes": quotes}, symbols=("AAA",))


@dataclass(frozen=True)
class TapeLeak:
    """A leak, the checks that may find it, and whether its horizon is the same instant."""

    computation: Computation
    checks: tuple[str, ...] = FUTURE
    is_instant: bool = False
    tape: Callable[[], Tape] = small_tape


def _corrected(tape: Tape) -> pl.DataFrame:
    """Trades take the price of a later record of their correction."""
    trades = tape[TRADES]
    records = (
        trades.filter(pl.col("correction") == 12).select("symbol", "id", corrected="price").unique(["symbol", "id"])
    )
    joined = trades.filter(pl.col("correction").fill_null(0) != 12).join(
        records, on=["symbol", "id"], how="left", maintain_order="left"
    )
    mended = joined.with_columns(price=pl.coalesce("corrected", "price")).drop("corrected")
    return of_minutes(mended, tape[QUOTES])


def _by_trade_time(tape: Tape) -> pl.DataFrame:
    """Late reports are counted in the minute in which they were made."""
    timed = tape[TRADES].with_columns(made=pl.coalesce("participant_time", "time")).sort("symbol", "made")
    return of_minutes(timed, tape[QUOTES], "made")


def _withdrawn_by_record(tape: Tape) -> pl.DataFrame:
    """A trade counts for nothing if a later record speaks of it."""
    trades = tape[TRADES]
    records = trades.filter(pl.col("correction") >= 10).select("symbol", "id")
    kept = trades.filter(pl.col("correction").fill_null(0) < 10).join(
        records, on=["symbol", "id"], how="anti", maintain_order="left"
    )
    return of_minutes(kept, tape[QUOTES])


def _valued(value: Callable[[Tape], pl.Expr]) -> Callable[[Tape], pl.DataFrame]:
    return lambda tape: minutes(tape).with_columns(value=value(tape))


def _shifted(known: pl.Expr) -> Callable[[Tape], pl.DataFrame]:
    return lambda tape: minutes(tape).with_columns(known_time=known)


def _closed_both(tape: Tape) -> pl.DataFrame:
    """A minute's bin also holds the ticks of its very end."""
    bound = NS_PER_MINUTE
    ends = tape[TRADES].filter(pl.col("time").to_physical() % bound == 0)
    before = ends.with_columns((pl.col("time").to_physical() - 1).cast(TIME).alias("time"))
    return of_minutes(pl.concat([tape[TRADES], before]).sort("symbol", "time"), tape[QUOTES])


def _quote_at(strategy: str, *, exact: bool = True) -> Callable[[Tape], pl.DataFrame]:
    """The bid beside each minute's end."""

    def rows(tape: Tape) -> pl.DataFrame:
        quotes = tape[QUOTES].select(pl.col("symbol").cast(pl.String), "time", "bid_price")
        return minutes(tape).sort("known_time").join_asof(
            quotes.sort("time"), left_on="known_time", right_on="time", by="symbol", strategy=strategy,
            allow_exact_matches=exact, check_sortedness=False,
        ).sort("symbol", "event_time").drop("time", strict=False)  # fmt: skip

    return rows


def trades_with_quotes(*, exact: bool) -> Callable[[Tape], pl.DataFrame]:
    """A row for each trade with the bid before it; of its own instant too if `exact`."""

    def rows(tape: Tape) -> pl.DataFrame:
        quotes = tape[QUOTES].select(pl.col("symbol").cast(pl.String), "time", "bid_price")
        trades = tape[TRADES].select(pl.col("symbol").cast(pl.String), "time", "sequence_number", "id", "price")
        joined = trades.sort("time", maintain_order=True).join_asof(
            quotes.sort("time", maintain_order=True),
            on="time",
            by="symbol",
            allow_exact_matches=exact,
            check_sortedness=False,
        )
        return joined.sort("symbol", "time", "sequence_number").with_columns(known_time="time").drop("time")

    return rows


def of_trades(value: pl.Expr) -> Callable[[Tape], pl.DataFrame]:
    """A row for each trade with a value over its symbol's trades."""

    def rows(tape: Tape) -> pl.DataFrame:
        named = tape[TRADES].with_columns(pl.col("symbol").cast(pl.String))
        return named.select("symbol", "sequence_number", "id", known_time="time", value=value.over("symbol"))

    return rows


def _buckets(tape: Tape) -> pl.DataFrame:
    """The number of the volume bucket, a fiftieth of the day's volume, at each minute's end."""
    total = pl.col("volume").sum().over("symbol")
    return minutes(tape).with_columns(value=(pl.col("volume").cum_sum().over("symbol") * 50 / total).floor())


def _own_thresholds(tape: Tape) -> pl.DataFrame:
    """Volume bars whose threshold is a twentieth of the day's volume."""
    totals = tape[TRADES].group_by(pl.col("symbol").cast(pl.String)).agg(pl.col("size").sum())
    fixed = {symbol: size / 20 for symbol, size in totals.iter_rows() if size > 0}
    return information_bars((Clock.VOLUME,), Thresholds(fixed=fixed)).rows(tape)


def bar_tape() -> Tape:
    """Minute bars of the small tape."""
    rows = minutes(small_tape())
    price = pl.col("price")
    bars = rows.select(
        "symbol",
        "known_time",
        "volume",
        time="event_time",
        open=price,
        high=price,
        low=price,
        close=price,
        source=pl.lit("trades"),
    )
    return replace(small_tape(), frames={"bars": BARS.conform(bars)})


def _bar_rows(value: pl.Expr) -> Callable[[Tape], pl.DataFrame]:
    def rows(tape: Tape) -> pl.DataFrame:
        named = tape[BARS].with_columns(pl.col("symbol").cast(pl.String))
        known = pl.col("time") + pl.duration(minutes=1)
        return named.select("symbol", event_time="time", known_time=known.cast(TIME), value=value.over("symbol"))

    return rows


def _label(tape: Tape) -> pl.DataFrame:
    """A label of the next five minutes beside its features, which says nothing of when it is known."""
    ahead = (pl.col("price").shift(-5) > pl.col("price")).over("symbol")
    return minutes(tape).with_columns(label=ahead)


def _before(tape: Tape) -> pl.Expr:
    last = tape[TRADES]["time"].max()
    return (pl.lit(last) - pl.col("known_time")).dt.total_seconds()


BARRED = pl.col("close").shift(-1)
TAPE_LEAKS: dict[str, TapeLeak] = {
    "late correction at the trade's time": TapeLeak(feature("corrected", _corrected), ("delay",)),
    "withdrawal at the trade's time": TapeLeak(feature("withdrawn", _withdrawn_by_record), ("delay",)),
    "late report at the trade's time": TapeLeak(feature("by trade time", _by_trade_time), ("delay", *FUTURE)),
    "symbols of the day": TapeLeak(
        feature("universe", _valued(lambda tape: pl.lit(tape[TRADES]["symbol"].n_unique()))), FUTURE
    ),
    "time to the last trade": TapeLeak(feature("session end", _valued(_before))),
    "has ended early": TapeLeak(
        feature("early", _valued(lambda tape: pl.lit(tape[QUOTES]["time"].max()) < pl.col("known_time").max()))
    ),
    "ticks of the day": TapeLeak(feature("ticks", _valued(lambda tape: pl.col("count") / tape[TRADES].height))),
    "known at its start": TapeLeak(feature("label side", _shifted(pl.col("event_time")))),
    "known a second early": TapeLeak(feature("early", _shifted(pl.col("known_time") - pl.duration(seconds=1)))),
    "known before it began": TapeLeak(
        feature("before", _shifted(pl.col("event_time") - pl.duration(seconds=1))), ("known_time",)
    ),
    "without a known time": TapeLeak(
        feature("null", _shifted(pl.when(pl.col("event_time").dt.minute() != 30).then("known_time"))), ("known_time",)
    ),
    "bin closed at both ends": TapeLeak(feature("both ends", _closed_both), FUTURE, is_instant=True),
    "quote of the very end": TapeLeak(feature("quote", _quote_at("backward")), FUTURE, is_instant=True),
    "quote of the next tick": TapeLeak(feature("forward", _quote_at("forward"))),
    "nearest quote": TapeLeak(feature("nearest", _quote_at("nearest"))),
    "trade and quote of one instant": TapeLeak(
        Computation("equal times", OWN_TRADE, trades_with_quotes(exact=True), key=TRADE), FUTURE, is_instant=True, tape=tied_tape
    ),
    "next trade of one instant": TapeLeak(
        Computation("next of its instant", OWN_TRADE, of_trades(pl.col("price").last().over("time")), key=TRADE),
        ("ties",), is_instant=True, tape=tied_tape,
    ),
    "number of trades of one instant": TapeLeak(
        Computation("size of its instant", OWN_TRADE, of_trades(pl.len().over("time")), key=TRADE),
        ("ties",), is_instant=True, tape=tied_tape,
    ),
    "next trade": TapeLeak(Computation("next trade", OWN_TRADE, of_trades(pl.col("price").shift(-1)), key=TRADE), ("cut",)),
    "bucket by the day's volume": TapeLeak(feature("vpin", _buckets)),
    "threshold by the day's volume": TapeLeak(replace(information_bars(), name="own thresholds", rows=_own_thresholds)),
    "next bar": TapeLeak(Computation("bars", MINUTE_BARS, _bar_rows(BARRED)), FUTURE, tape=bar_tape),
    "bar of the day's high": TapeLeak(
        Computation("bars", MINUTE_BARS, _bar_rows(pl.col("high").max())), FUTURE, tape=bar_tape
    ),
    "label among the features": TapeLeak(feature("label", _label)),
}  # fmt: skip
