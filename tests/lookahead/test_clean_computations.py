"""Tricky computations that use nothing of the future are not reported."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from tapewatch.lookahead.checks import judge
from tapewatch.lookahead.computation import Computation, Later, Tape, ns_of
from tapewatch.market.instruments import NS_PER_MINUTE
from tests.lookahead.leaks import DICE, expression, value
from tests.lookahead.minutes import feature, minutes, small_tape
from tests.lookahead.tape_leaks import OWN_TRADE, TRADE, _quote_at, of_trades, tied_tape, trades_with_quotes
from tests.lookahead.test_planted_leaks import changed

HOUR = pl.col("event_time").dt.hour()


def _filtered(rows: pl.DataFrame) -> pl.DataFrame:
    """Probability of a state by a forward filter alone."""
    stay, parts = np.array([[0.9, 0.1], [0.1, 0.9]]), []
    for part in rows.partition_by("symbol", maintain_order=True):
        state, out = np.array([0.5, 0.5]), []
        for move in part["value"].diff().fill_null(0.0):
            state = (state @ stay) * np.exp(-np.abs(move) / np.array([0.01, 0.05]))
            state = state / max(state.sum(), 1e-300)
            out.append(state[1])
        parts.append(part.with_columns(pl.Series("value", out)))
    return pl.concat(parts) if parts else rows


def _drawn(rows: pl.DataFrame) -> pl.DataFrame:
    """Random numbers in each symbol's order, from a seed that its name gives."""
    parts = [
        part.with_columns(pl.Series("value", np.random.default_rng(ord(name[0])).normal(size=part.height)))
        for (name,), part in rows.partition_by("symbol", as_dict=True, maintain_order=True).items()
    ]
    return pl.concat(parts) if parts else rows


def _convolved(rows: pl.DataFrame) -> pl.DataFrame:
    """A trailing mean by Fourier transform: its rounding depends on the length of the series."""
    parts = []
    for part in rows.partition_by("symbol", maintain_order=True):
        size = 2 * part.height + 8
        product = np.fft.rfft(part["value"].to_numpy(), size) * np.fft.rfft(np.full(4, 0.25), size)
        parts.append(part.with_columns(pl.Series("value", np.fft.irfft(product, size)[: part.height])))
    return pl.concat(parts) if parts else rows


def _online_component(rows: pl.DataFrame) -> pl.DataFrame:
    """Deviation from the mean of all rows known earlier, of all symbols."""
    known = rows.group_by("known_time").agg(total=value.sum(), rows=pl.len()).sort("known_time")
    before = known.with_columns(pl.col("total", "rows").cum_sum().shift(1))
    return rows.join(before, on="known_time", how="left", maintain_order="left").with_columns(
        value=value - pl.col("total") / pl.col("rows")
    )


def _finished_blocks(rows: pl.DataFrame) -> pl.DataFrame:
    """The mean of the last five-minute block that is over."""
    block = pl.col("event_time").dt.truncate("5m")
    means = rows.group_by(
        "symbol", (block + pl.duration(minutes=5)).cast(rows.schema["event_time"]).alias("block")
    ).agg(mean=value.mean())
    return (
        rows.with_columns(block=block)
        .join(means, on=["symbol", "block"], how="left", maintain_order="left")
        .with_columns(value=pl.col("mean"))
        .drop("block", "mean")
    )


CLEAN: dict[str, Callable[[pl.DataFrame], pl.DataFrame]] = {
    "as it is": lambda rows: rows,
    "lagged by one": expression(value.shift(1)),
    "lagged by the warm-up": expression(value.shift(12)),
    "expanding mean": expression(value.cum_sum() / pl.int_range(1, pl.len() + 1)),
    "expanding high": expression(value.cum_max()),
    "drawdown": expression(value / value.cum_max() - 1),
    "exponential mean": expression(value.ewm_mean(alpha=0.1, adjust=False)),
    "adjusted exponential mean": expression(value.ewm_mean(half_life=3.0)),
    "trailing mean": expression(value.rolling_mean(5)),
    "trailing quantile": expression(value.rolling_quantile(0.8, window_size=9, min_samples=2)),
    "over its lagged level": expression(value / value.shift(3).rolling_mean(8, min_samples=1)),
    "expanding deviation": expression((value - value.shift(1).cum_sum()) / value.cum_max()),
    "filled forwards": expression(pl.when(DICE % 4 > 0).then(value).forward_fill()),
    "first of the day": expression(value.first()),
    "hash of the symbol": expression(pl.col("symbol").hash(seed=1) % 97),
    "hash of the row": expression((value * 1e6).cast(pl.Int64).hash(seed=2) % 1009),
    "drawn by name": _drawn,
    "rank among symbols": lambda rows: rows.with_columns(value=value.rank().over("event_time")),
    "less the market": lambda rows: rows.with_columns(value=value - value.mean().over("event_time")),
    "less all before": _online_component,
    "block that is over": _finished_blocks,
    "filtered regime": _filtered,
    "by Fourier, causal": _convolved,
    "table of hours": expression(value * HOUR.replace_strict({14: 1.5, 15: 0.5}, default=1.0)),
    "rows that rose": lambda rows: rows.filter((value > value.shift(1)).over("symbol").fill_null(value=True)),
    "first of equal values": lambda rows: rows.unique(["symbol", "value"], keep="first", maintain_order=True),
    "newest first": lambda rows: rows.sort("event_time", "symbol", descending=True),
    "null at random": expression(pl.when(DICE % 3 > 0).then(value)),
}


@pytest.mark.parametrize("change", CLEAN.values(), ids=list(CLEAN))
def test_what_is_clean_is_not_reported(change: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
    found = judge(changed(change, "price"), small_tape(), cuts=10)
    assert found.is_clean, found


def _to_the_close(tape: Tape) -> pl.DataFrame:
    """Time to the close by the calendar."""
    close = pl.lit(tape.session.regular_end)
    return minutes(tape).with_columns(value=close - ns_of("known_time"))


def _of_universe(tape: Tape) -> pl.DataFrame:
    """The number of symbols that the task names."""
    return minutes(tape).with_columns(value=pl.lit(len(tape.symbols)))


def _labelled(tape: Tape) -> pl.DataFrame:
    """A label of the next five rows, known with the last of them."""
    ahead = (pl.col("price").shift(-5) > pl.col("price")).over("symbol")
    return minutes(tape).with_columns(label=ahead, label_time=pl.col("known_time").shift(-5).over("symbol"))


_LABEL = Later(("label", "label_time"), ns_of("label_time"))
OF_THE_TAPE: dict[str, tuple[Computation, Callable[[], Tape]]] = {
    "time to the close": (feature("close", _to_the_close), small_tape),
    "named universe": (feature("universe", _of_universe), small_tape),
    "quote before the end": (feature("quote", _quote_at("backward", exact=False)), small_tape),
    "quote before the trade": (Computation("quote", OWN_TRADE, trades_with_quotes(exact=False), key=TRADE), tied_tape),
    "its own trade": (Computation("trades", OWN_TRADE, of_trades(pl.col("size").cum_sum()), key=TRADE), tied_tape),
    "label with its time": (feature("label", _labelled, later=(_LABEL,)), small_tape),
    "trailing mean, started anywhere": (
        replace(changed(expression(value.rolling_mean(5)), "price"), warm_up_ns=8 * NS_PER_MINUTE),
        small_tape,
    ),
}


@pytest.mark.parametrize(("computation", "tape"), OF_THE_TAPE.values(), ids=list(OF_THE_TAPE))
def test_a_clean_reading_of_the_tape_is_not_reported(computation: Computation, tape: Callable[[], Tape]) -> None:
    found = judge(computation, tape(), cuts=10)
    assert found.is_clean, found
    assert found.note.startswith("start not moved") is (computation.warm_up_ns is None)
