"""Other futures of a tape: none, a made-up one, and one whose rows speak of the past."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from tapewatch.lookahead.computation import Input, Tape, ns_of
from tapewatch.market.instruments import NS_PER_MINUTE
from tapewatch.market.tables.tape import TIME

#: Rows that are made up for each table, besides those that are changed.
INVENTED = 24
_DROPPED = 0.3
_WIDER = {"bid_price": -0.01, "ask_price": 0.01}
_CANCELLED, _CORRECTION_RECORD = 8, 12
#: Numbers and codes that are no amounts.
_LABELS = ("sequence_number", "exchange", "bid_exchange", "ask_exchange", "tape", "trf_id", "correction", "revision")


def without_future(tape: Tape, inputs: Sequence[Input], at: int) -> Tape:
    """The tape as it was at `at`."""
    return tape.with_frames({i.table.name: tape[i.table].filter(i.is_past(at)) for i in inputs}, through_ns=at)


def from_start(tape: Tape, inputs: Sequence[Input], at: int) -> Tape:
    """The tape without the rows whose time is before `at`."""
    kept = {i.table.name: tape[i.table].filter(ns_of(i.time) >= at) for i in inputs}
    return tape.with_frames(kept)


def other_future(tape: Tape, inputs: Sequence[Input], at: int, seed: int) -> Tape:
    """The tape with another future: rows are gone, others have other prices, sizes, counts and conditions, and new ones
    appear: at `at` itself where that is the future, until the day's end, and of symbols that had no row before."""
    rng = np.random.default_rng([seed, at])
    return tape.with_frames({i.table.name: _other_rows(tape, i, at, rng) for i in inputs})


def late_news(tape: Tape, inputs: Sequence[Input], at: int, seed: int, *, about: int | None = None) -> Tape:
    """The tape with rows after `at` that speak of the time before `about` (by default `at`).

    Some trades were made (`participant_time`, `trf_time`) up to an hour before they were published, and records correct
    earlier trades by their `id`, at another price. The place of a row is the time at which it was published.
    """
    rng = np.random.default_rng([seed, at, 1])
    frames = {}
    for each in inputs:
        frame = tape[each.table]
        if "participant_time" in each.table.by_name and each.lag_ns == 0:
            frames[each.table.name] = _with_news(frame, each, at, at if about is None else about, rng)
    return tape.with_frames(frames)


def _other_rows(tape: Tape, each: Input, at: int, rng: np.random.Generator) -> pl.DataFrame:
    frame, past = tape[each.table], each.is_past(at)
    before, after = frame.filter(past), frame.filter(~past)
    kept = after.filter(pl.Series(rng.random(after.height) >= _DROPPED)) if after.height else after
    changed = _garbled(kept, each, rng)
    rows = pl.concat([before, changed, _garbled(_invented(tape, each, frame, at, rng), each, rng)])
    if each.lag_ns:
        rows = rows.unique(list(each.table.key), keep="first", maintain_order=True)
    return sort_by(rows, each)


def _invented(tape: Tape, each: Input, frame: pl.DataFrame, at: int, rng: np.random.Generator) -> pl.DataFrame:
    """Rows like those of the tape, at other times of the future and of any symbol."""
    end = tape.session.day_end
    first = at + (1 if each.is_inclusive else 0) - each.lag_ns
    width = each.lag_ns or 1
    first += -(first - tape.session.day_start) % width
    if not frame.height or first + width > end:
        return frame.clear()
    places = (end - first) // width
    # Half of them soon, within two minutes or ten rows, so that a short reach meets them too.
    soon = min(places, max(2 * NS_PER_MINUTE // width, 10))
    times = np.sort(np.concatenate([rng.integers(0, soon, INVENTED // 2), rng.integers(0, places, INVENTED // 2)]))
    times[: len(tape.symbols)] = 0
    symbols = np.resize(np.array(tape.symbols), INVENTED)
    like = frame[rng.integers(0, frame.height, INVENTED)]
    names = [each.time, *(("sequence_number",) if "sequence_number" in frame.columns else ())]
    numbers = {"sequence_number": pl.Series(10**12 + np.arange(INVENTED))}
    return like.with_columns(
        pl.Series("symbol", symbols).cast(frame.schema["symbol"]),
        pl.Series(each.time, first + times * width).cast(TIME),
        *(numbers[name].alias(name) for name in names[1:]),
    )


def _garbled(rows: pl.DataFrame, each: Input, rng: np.random.Generator) -> pl.DataFrame:
    """Rows with other prices (one factor a row), amounts, conditions and marks."""
    if not rows.height:
        return rows
    columns = each.table.by_name
    price_factor = pl.Series(np.exp(rng.normal(0.0, 0.2, rows.height)))
    changed: list[pl.Series] = []
    for name, dtype in rows.schema.items():
        if name in columns and columns[name].is_price:
            # Quotes become wider, and bars stay in order.
            wider = _WIDER.get(name, 0.0) * np.abs(rng.normal(0.0, 1.0, rows.height))
            changed.append((rows[name] * price_factor * pl.Series(1.0 + wider)).alias(name))
        elif dtype == pl.Float64 or (dtype.is_integer() and name not in _LABELS):
            amounts = rows[name].cast(pl.Float64) * pl.Series(np.exp(rng.normal(0.0, 1.5, rows.height)))
            changed.append(amounts.ceil().cast(dtype).alias(name))
        elif name == "conditions":
            changed.append(rows[name][rng.permutation(rows.height)])
        elif name == "correction":
            marks = np.where(rng.random(rows.height) < 0.1, _CANCELLED, 0)
            changed.append(pl.Series(name, marks, dtype=dtype))
    return rows.with_columns(changed)


def _with_news(frame: pl.DataFrame, each: Input, at: int, about: int, rng: np.random.Generator) -> pl.DataFrame:
    is_past = frame.select(each.is_past(at)).to_series()
    before, after = frame.filter(is_past), frame.filter(~is_past)
    if not after.height or not before.height:
        return frame
    late = pl.Series(rng.random(after.height) < 0.2)
    late[0] = True
    made = pl.Series(about - 1 - rng.integers(0, 60 * NS_PER_MINUTE, after.height)).cast(TIME)
    times = [name for name in ("participant_time", "trf_time") if name in frame.columns]
    told = after.with_columns(pl.when(late).then(made).otherwise(pl.col(name)).alias(name) for name in times)
    pieces = [before, told]
    if {"correction", "id"} <= set(frame.columns):
        pieces.append(_records(before.filter(pl.col("id").is_not_null()), after, each, rng))
    return sort_by(pl.concat(pieces), each)


def _records(before: pl.DataFrame, after: pl.DataFrame, each: Input, rng: np.random.Generator) -> pl.DataFrame:
    """Records, published with rows of the future, that correct trades of the past."""
    if not before.height:
        return before
    count = min(INVENTED, before.height)
    about = before[rng.permutation(before.height)[:count]]
    when = after[each.time][np.sort(rng.integers(0, after.height, count))]
    return about.with_columns(
        when.alias(each.time),
        pl.col("price") * 1.5,
        pl.col("size") * 3,
        pl.lit(_CORRECTION_RECORD, pl.Int8).alias("correction"),
        pl.Series("sequence_number", 2 * 10**12 + np.arange(count)),
    )


def sort_by(rows: pl.DataFrame, each: Input) -> pl.DataFrame:
    """Rows in the order of their table."""
    order = [pl.col(name).cast(pl.String) if name == "symbol" else pl.col(name) for name in each.table.sort]
    return rows.sort([key for key, name in zip(order, each.table.sort, strict=True) if name in rows.columns])
