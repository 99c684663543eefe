"""Faults of messages, put into a channel's rows before they are encoded.

`every` and `count` are counted for each symbol, channel and day separately. The affected messages depend on the fault's
seed and not on the other subscriptions. If a fault delays or falsifies a trade beyond its minute, the minute's bar is sent
twice: as known at the minute's end, and corrected.
"""

import datetime as dt
import enum
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from tapewatch.bars.time_bars import minute_bars
from tapewatch.emulator.faults import Fault
from tapewatch.emulator.stream import channels
from tapewatch.emulator.stream.channels import MINUTE_CHANNELS, QUOTE_CHANNELS, TRADE_CHANNELS, Day
from tapewatch.emulator.synthetic.randomness import stream
from tapewatch.market.instruments import NS_PER_MINUTE, Market
from tapewatch.market.tables.tape import TIME, TRADES

_NS_PER_MS = 1_000_000
_WRONG_BY = 1.01
_TICKS = TRADE_CHANNELS | QUOTE_CHANNELS
# Faults that can make the first bar of a minute wrong.
_CHANGES_BARS = frozenset({"late_correction", "out_of_order", "burst"})
_DELAYING = frozenset({"duplicate", "out_of_order", "late_correction"})
_TRADES = {Market.STOCKS: "T", Market.OPTIONS: "T", Market.FUTURES: "T", Market.CRYPTO: "XT"}

Mask = npt.NDArray[np.bool_]


class MessageFault(enum.IntEnum):
    NONE = 0
    UNKNOWN_EVENT = 1
    UNKNOWN_FIELD = 2
    DUPLICATE = 3
    OUT_OF_ORDER = 4
    LATE_CORRECTION = 5
    BURST = 6
    CLOCK_SKEW = 7


def rows(day: Day, channel: str, faults: Sequence[Fault]) -> pl.DataFrame:
    """A channel's rows as `channels.rows` builds them, with the channel's faults put in; `_fault` is the `MessageFault`."""
    made = channels.rows(day, channel)
    if not faults or made.is_empty():
        return made
    if channel in MINUTE_CHANNELS and day.session.market in _TRADES:
        made = _first_and_corrected_bars(day, made, _of_channel(faults, _TRADES[day.session.market]))
    return _with_faults(made, _of_channel(faults, channel), day.session.date, channel)


def longest_delay_ns(faults: Sequence[Fault]) -> int:
    """How long after its release a message may be sent (again) at most; bursts apart, which end with their day."""
    return max((fault.delay_ms * _NS_PER_MS for fault in faults if fault.kind in _DELAYING), default=0)


def _of_channel(faults: Sequence[Fault], channel: str) -> list[Fault]:
    where = {"late_correction": TRADE_CHANNELS, "clock_skew": _TICKS}
    return [
        fault
        for fault in faults
        if fault.channel in (None, channel) and channel in where.get(fault.kind, frozenset({channel}))
    ]


def _with_faults(made: pl.DataFrame, faults: Sequence[Fault], date: dt.date, channel: str) -> pl.DataFrame:
    made = made.with_columns(pl.lit(0, dtype=pl.Int8).alias("_fault"))
    for fault in faults:
        kind = MessageFault[fault.kind.upper()]
        mask = _chosen(made, fault, (fault.seed, fault.kind, channel, date))
        if mask.any():
            made = _APPLIED[kind](made, mask, fault, pl.lit(int(kind), dtype=pl.Int8).alias("_fault"))
    return made.sort("_release", maintain_order=True)


def _chosen(made: pl.DataFrame, fault: Fault, key: tuple[object, ...]) -> Mask:
    """The rows that a fault affects, except rows that already have a fault."""
    number = made.select(pl.int_range(pl.len()).over("symbol")).to_series().to_numpy()
    if fault.every is not None:
        mask = number % fault.every == fault.every - 1
    else:
        symbols = made["symbol"].cast(pl.String)
        seeds = {symbol: int(stream(*key, symbol)[0]) for symbol in symbols.unique()}
        salt = symbols.replace_strict(seeds, return_dtype=pl.UInt64).to_numpy()
        mask = _uniform(number.astype(np.uint64), salt) < (fault.probability or 0.0)
    mask = np.asarray(mask & (made["_fault"].to_numpy() == 0), dtype=np.bool_)
    if fault.count is not None:
        marked = made.select("symbol").with_columns(pl.Series("_mask", mask))
        so_far = marked.select(pl.col("_mask").cast(pl.Int64).cum_sum().over("symbol")).to_series().to_numpy()
        mask &= so_far <= fault.count
    return mask


def _uniform(number: npt.NDArray[np.uint64], salt: npt.NDArray[np.uint64]) -> npt.NDArray[np.float64]:
    """Numbers in [0, 1) hashed from a row's number and its symbol's salt (splitmix64)."""
    z = salt + (number + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(((z ^ (z >> np.uint64(31))) >> np.uint64(11)) * (1.0 / (1 << 53)), dtype=np.float64)


def _later(milliseconds: int) -> pl.Expr:
    return (pl.col("_release").dt.epoch("ns") + milliseconds * _NS_PER_MS).cast(TIME).alias("_release")


def _where(made: pl.DataFrame, mask: Mask, *values: pl.Expr) -> pl.DataFrame:
    names = [value.meta.output_name() for value in values]
    return made.with_columns(
        pl.when(pl.Series(mask)).then(value).otherwise(pl.col(name)).alias(name)
        for name, value in zip(names, values, strict=True)
    )


def _repeated(made: pl.DataFrame, mask: Mask, fault: Fault, flag: pl.Expr) -> pl.DataFrame:
    return pl.concat([made, made.filter(mask).with_columns(_later(fault.delay_ms), flag)])


def _delayed(made: pl.DataFrame, mask: Mask, fault: Fault, flag: pl.Expr) -> pl.DataFrame:
    return _where(made, mask, _later(fault.delay_ms), flag)


def _corrected(made: pl.DataFrame, mask: Mask, fault: Fault, flag: pl.Expr) -> pl.DataFrame:
    right = made.filter(mask).with_columns(_later(fault.delay_ms))
    wrong = _where(made, mask, (pl.col("price") * _WRONG_BY).round(8), pl.col("size") + 1.0, flag)
    return pl.concat([wrong, right])


def _held(made: pl.DataFrame, mask: Mask, fault: Fault, flag: pl.Expr) -> pl.DataFrame:
    release = made["_release"].to_physical().to_numpy()
    starts, hold = np.sort(release[mask]), fault.hold_ms * _NS_PER_MS
    before = starts[np.maximum(np.searchsorted(starts, release, side="right") - 1, 0)]
    is_held = (release >= before) & (release < before + hold)
    until = pl.Series(before + hold).cast(TIME)
    return _where(made, is_held, pl.lit(until).alias("_release"), flag)


def _skewed(made: pl.DataFrame, mask: Mask, fault: Fault, flag: pl.Expr) -> pl.DataFrame:
    time = (pl.col("time").dt.epoch("ns") + fault.skew_ms * _NS_PER_MS).cast(TIME).alias("time")
    return _where(made, mask, time, flag)


_Change = Callable[[pl.DataFrame, Mask, Fault, pl.Expr], pl.DataFrame]
_APPLIED: Mapping[MessageFault, _Change] = {
    MessageFault.UNKNOWN_EVENT: lambda made, mask, _, flag: pl.concat([made, made.filter(mask).with_columns(flag)]),
    MessageFault.UNKNOWN_FIELD: lambda made, mask, _, flag: _where(made, mask, flag),
    MessageFault.DUPLICATE: _repeated,
    MessageFault.OUT_OF_ORDER: _delayed,
    MessageFault.LATE_CORRECTION: _corrected,
    MessageFault.BURST: _held,
    MessageFault.CLOCK_SKEW: _skewed,
}


def _first_and_corrected_bars(day: Day, final: pl.DataFrame, faults: Sequence[Fault]) -> pl.DataFrame:
    """Minute bars built from the trades sent by the minute's end, and corrected bars when the late trades arrive."""
    delaying = [fault for fault in faults if fault.kind in _CHANGES_BARS]
    truth = day.rows(day.trades)
    if not delaying or truth.is_empty():
        return final
    numbered = channels.at_once(truth.with_row_index("_row")).sort("_release", maintain_order=True)
    sent = _with_faults(numbered, delaying, day.session.date, _TRADES[day.session.market])
    end = (pl.col("time").dt.epoch("ns") // NS_PER_MINUTE + 1) * NS_PER_MINUTE
    is_late = pl.col("_release").dt.epoch("ns") > end
    known = sent.filter(~is_late).unique("_row", keep="last", maintain_order=True)
    first = minute_bars(_in_table_order(known), day.session)
    last_late = (
        sent.filter(is_late)
        .group_by("symbol", (end - NS_PER_MINUTE).cast(TIME).alias("time"))
        .agg(pl.col("_release").max())
    )
    again = final.drop("_release").join(last_late, on=["symbol", "time"], how="inner").select(final.columns)
    as_known = channels.bars(day, first, is_minute=True).select(final.columns)
    as_known = as_known.join(last_late.select("symbol", "time"), on=["symbol", "time"], how="semi")
    on_time = final.join(last_late, on=["symbol", "time"], how="anti")
    return pl.concat([on_time, as_known, again]).sort("_release", maintain_order=True)


def _in_table_order(trades: pl.DataFrame) -> pl.DataFrame:
    return TRADES.conform(trades.sort("_row")) if not trades.is_empty() else TRADES.empty()
