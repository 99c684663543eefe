"""Ways in which the future leaks into a feature, each a function of minute rows with a column `value`.

A leak names the horizon that must be found: `row` the next row, `rows` a few, `day` the rest of the day, `instant` the same
instant, `any` where it depends on the tape.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl

from tests.lookahead.minutes import by_symbol

Change = Callable[[pl.DataFrame], pl.DataFrame]


@dataclass(frozen=True)
class Leak:
    """How rows change, and how far that reaches."""

    change: Change
    horizon: str
    columns: tuple[str, ...] = ("value",)
    is_rare: bool = False


value = pl.col("value")
following = value.shift(-1)
MINUTE = pl.col("event_time").dt.minute().cast(pl.Int64)
#: A fixed number below 100 of each row, from its key alone.
DICE = (MINUTE * 37 + pl.col("symbol").replace_strict({"AAA": 11, "BBB": 52, "CCC": 93}, default=7)) % 100


def expression(value: pl.Expr) -> Change:
    """A leak by an expression over each symbol's rows."""
    return lambda rows: rows.with_columns(value.over("symbol").alias("value"))


def arrays(change: Callable[[np.ndarray], np.ndarray]) -> Change:
    """A leak by a function of each symbol's values as an array."""
    return lambda rows: by_symbol(
        rows, lambda part: part.with_columns(pl.Series("value", change(part["value"].fill_null(0.0).to_numpy())))
    )


def rarely(when: pl.Expr) -> Change:
    """The next row's value, but only in some rows."""
    return expression(pl.when(when).then(following).otherwise(value))


def _two_sided(values: np.ndarray) -> np.ndarray:
    forward = _ewma(values)
    return _ewma(forward[::-1])[::-1]


def _ewma(values: np.ndarray) -> np.ndarray:
    out, level = np.empty_like(values), values[0] if values.size else 0.0
    for at, value in enumerate(values):
        level += 0.3 * (value - level)
        out[at] = level
    return out


def _smoothed(values: np.ndarray) -> np.ndarray:
    """Smoothed probabilities of two states (Hamilton's filter, then Kim's backward pass)."""
    stay = np.array([[0.9, 0.1], [0.1, 0.9]])
    moves = np.diff(values, prepend=values[:1])
    scale = np.array([0.5, 2.0]) * 0.02
    density = np.exp(-0.5 * np.clip(moves[:, None] / scale, -6, 6) ** 2) / scale
    ahead = np.empty_like(density)
    state = np.array([0.5, 0.5])
    for at in range(len(values)):
        state = (state @ stay) * density[at]
        ahead[at] = state = state / state.sum()
    smooth = ahead.copy()
    for at in range(len(values) - 2, -1, -1):
        smooth[at] = ahead[at] * (stay @ (smooth[at + 1] / (ahead[at] @ stay)))
    return smooth[:, 1]


def _low_pass(values: np.ndarray) -> np.ndarray:
    spectrum = np.fft.rfft(values)
    spectrum[len(spectrum) // 4 :] = 0
    return np.fft.irfft(spectrum, len(values))


def _local_line(values: np.ndarray) -> np.ndarray:
    padded = np.pad(values, 2, mode="edge")
    return np.array([np.polyfit(range(5), padded[at : at + 5], 1)[1] for at in range(len(values))])


def _residual(values: np.ndarray) -> np.ndarray:
    at = np.arange(len(values))
    return values - np.polyval(np.polyfit(at, values, 1), at) if len(values) > 2 else values


def _component(rows: pl.DataFrame) -> pl.DataFrame:
    """The first principal component of the features, fitted on all rows."""
    matrix = rows.select("price", "volume", "value").fill_null(0.0).to_numpy().astype(float)
    centred = matrix - matrix.mean(axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    return rows.with_columns(pl.Series("value", centred @ axes[0]))


def _global_scaler(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.with_columns(value=(value - value.min()) / (value.max() - value.min()))


def _sorted_by_future(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.with_columns(key=following.over("symbol")).sort("key").drop("key")


def _dtype(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.with_columns(value.cast(pl.Float32)) if rows.height > 70 else rows


def _order(rows: pl.DataFrame) -> pl.DataFrame:
    return by_symbol(rows, lambda part: part.reverse() if part.height % 2 else part)


def _other_symbol(rows: pl.DataFrame) -> pl.DataFrame:
    """A symbol's value plus the next one of another symbol."""
    before = (pl.col("event_time") - pl.duration(minutes=1)).cast(rows.schema["event_time"])
    other = rows.filter(pl.col("symbol") == "AAA").select(before, ahead=value.cast(pl.Float64))
    joined = rows.join(other, on="event_time", how="left", maintain_order="left")
    return joined.with_columns(value=value + pl.col("ahead")).drop("ahead")


def _remaining(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.with_columns(value=(pl.len() - pl.int_range(pl.len())).over("symbol").cast(pl.Float64))


def _blocks(rows: pl.DataFrame) -> pl.DataFrame:
    block = pl.col("event_time").dt.truncate("5m")
    return rows.with_columns(value=value.mean().over("symbol", block))


def _target_mean(rows: pl.DataFrame) -> pl.DataFrame:
    """The mean label so far, of labels that are known three rows later."""
    label = (value.shift(-3) > value).cast(pl.Float64)
    return rows.with_columns(value=(label.cum_sum() / pl.int_range(1, pl.len() + 1)).over("symbol"))


def _rows(keep: pl.Expr) -> Change:
    return lambda rows: rows.filter(keep.over("symbol").fill_null(value=True))


LEAKS: dict[str, Leak] = {
    "shift by one": Leak(expression(following), "row"),
    "shift by five": Leak(expression(value.shift(-5)), "rows"),
    "shift by twenty": Leak(expression(value.shift(-20)), "rows"),
    "difference to the next": Leak(expression(value.shift(-1) - value), "row"),
    "return over the next ten": Leak(expression((value.shift(-10) / value).log()), "rows"),
    "centred mean": Leak(expression(value.rolling_mean(5, min_samples=1, center=True)), "rows"),
    "centred median": Leak(expression(value.rolling_median(7, min_samples=1, center=True)), "rows"),
    "window that starts now": Leak(expression(value.reverse().rolling_sum(3, min_samples=1).reverse()), "rows"),
    "normalised by the day": Leak(expression((value - value.mean()) / value.std()), "day"),
    "global scaler": Leak(_global_scaler, "day"),
    "less the day's median": Leak(expression(value - value.median()), "day"),
    "rank over the day": Leak(expression(value.rank()), "day"),
    "share of the day's total": Leak(expression(value / value.sum()), "day"),
    "over the day's high": Leak(expression(value / value.max()), "any"),
    "is the day's high": Leak(expression((value == value.max()).cast(pl.Float64)), "any"),
    "threshold from the day": Leak(expression((value > value.quantile(0.8)).cast(pl.Float64)), "any"),
    "clipped at the day's quantiles": Leak(expression(value.clip(value.quantile(0.1), value.quantile(0.9))), "any"),
    "nulls filled backwards": Leak(expression(pl.when(DICE % 4 > 0).then(value).backward_fill()), "any"),
    "one null filled backwards": Leak(expression(pl.when(DICE % 4 > 0).then(value).backward_fill(limit=1)), "row"),
    "nulls interpolated": Leak(expression(pl.when(DICE % 4 > 0).then(value).interpolate()), "any"),
    "nulls filled with the day's mean": Leak(
        expression(pl.when(DICE % 4 > 0).then(value).fill_null(pl.when(DICE % 4 > 0).then(value).mean())), "day"
    ),
    "sorted by the future": Leak(_sorted_by_future, "any", ("order",)),
    "component fitted on the day": Leak(_component, "day"),
    "regression fitted on the day": Leak(arrays(_residual), "day"),
    "line between first and last": Leak(
        expression(value - value.first() - (value.last() - value.first()) * 0.5), "day"
    ),
    "two-sided filter": Leak(arrays(_two_sided), "any"),
    "smoothed regime": Leak(arrays(_smoothed), "any"),
    "low-pass by Fourier": Leak(arrays(_low_pass), "day"),
    "local line": Leak(arrays(_local_line), "rows"),
    "summed from the end": Leak(expression(value.reverse().cum_sum().reverse()), "day"),
    "mean label so far": Leak(_target_mean, "rows"),
    "mean of the block": Leak(_blocks, "any"),
    "another symbol's next": Leak(_other_symbol, "row"),
    "rows that remain": Leak(_remaining, "day"),
    "in one symbol": Leak(rarely(pl.col("symbol") == "CCC"), "row", is_rare=True),
    "in one minute": Leak(rarely(MINUTE == 37), "row", is_rare=True),
    "at the close": Leak(rarely(pl.col("event_time").dt.time() >= pl.time(14, 52)), "row", is_rare=True),
    "at the open": Leak(rarely(pl.col("event_time").dt.time() < pl.time(14, 17)), "row", is_rare=True),
    "in one row of a hundred": Leak(rarely(DICE == 22), "row", is_rare=True),
    "a billionth": Leak(expression(value * (1 + 1e-9 * (value.shift(-1) - value).sign())), "row"),
    "in nulls": Leak(expression(pl.when(value.shift(-1).fill_null(0.0) <= value).then(value)), "row"),
    "in the existence of rows": Leak(_rows(value.shift(-1) >= value), "row", ("rows",)),
    "last of equal values": Leak(
        lambda rows: rows.unique(["symbol", "value"], keep="last", maintain_order=True), "any", ("rows",)
    ),
    "in the type": Leak(_dtype, "any", ("schema",)),
    "in the order": Leak(_order, "any", ("order",)),
}
