"""What a live tape must give out at each step, worked out anew from the whole tape by the batch functions."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import polars as pl

from tapewatch.bars.time_bars import time_bars
from tapewatch.features.microstructure import microstructure
from tapewatch.market.instruments import NS_PER_MINUTE, NS_PER_SECOND, Session
from tapewatch.streaming.live.tape import LiveRows, LiveTape
from tests.support.live import Chunk, streamed
from tests.support.tapes import random_tape

_WIDTHS = {"1s": NS_PER_SECOND, "1m": NS_PER_MINUTE}
_ORDER = (pl.col("symbol").cast(pl.String), "time", "sequence_number")
Key = tuple[str, int]


@dataclass
class Expected:
    """Bars and rows as last given out, by symbol and start: values, revision, and whether a bar is withdrawn."""

    session: Session
    bars: dict[str, dict[Key, tuple[tuple, int, bool]]] = field(default_factory=lambda: {"1s": {}, "1m": {}})
    rows: dict[Key, tuple[tuple, int]] = field(default_factory=dict)
    seconds: int = 0
    whole: int = 0

    def step(self, trades: pl.DataFrame, quotes: pl.DataFrame, through: int) -> dict[str, object]:
        """What becomes known when the tape so far is complete up to `through`."""
        day = self.session.day_start
        done, self.seconds = self.seconds, max(self.seconds, through - (through - day) % NS_PER_SECOND)
        self.whole = max(self.whole, through - (through - day) % NS_PER_MINUTE)
        bars, withdrawn = {}, set()
        for clock, ends in (("1s", self.seconds), ("1m", self.whole)):
            complete = trades.filter(pl.col("time").to_physical() < ends)
            built = _by_key(time_bars(complete, self.session, _WIDTHS[clock]), "time")
            bars[clock], gone = self._bars_step(clock, built, done)
            withdrawn |= {(clock, *key) for key in gone}
        rows = _by_key(microstructure(trades, quotes, self.session, through_ns=self.whole), "event_time")
        new_rows = {}
        for key, values in rows.items():
            before = self.rows.get(key)
            if before is None or before[0] != values:
                new_rows[key] = (values, 0 if before is None else before[1] + 1)
        gone_rows = self.rows.keys() - rows.keys()
        self.rows = {key: row for key, row in (self.rows | new_rows).items() if key not in gone_rows}
        return {"bars": bars, "rows": new_rows, "withdrawn_bars": withdrawn, "withdrawn_rows": set(gone_rows)}

    def _bars_step(self, clock: str, built: dict[Key, tuple], done: int) -> tuple[dict[Key, tuple], set[Key]]:
        state, new = self.bars[clock], {}
        for key, values in built.items():
            before = state.get(key)
            if before is None or before[2] or before[0] != values:
                revision = 0 if before is None else before[1] + 1
                state[key] = (values, revision, False)
                end = key[1] + _WIDTHS[clock]
                new[key] = (values, revision, self.seconds if end <= done else end)
        gone = {key for key, (_, _, is_withdrawn) in state.items() if not is_withdrawn and key not in built}
        for key in gone:
            state[key] = (state[key][0], state[key][1] + 1, True)
        return new, gone


def given_out(rows: LiveRows) -> dict[str, object]:
    """The same of what a live tape gave out."""
    bars = {}
    for clock, frame in (("1s", rows.second_bars), ("1m", rows.minute_bars)):
        values = _by_key(frame.drop("clock", "known_time", "source", "revision"), "time")
        known = frame.select("revision", pl.col("known_time").to_physical()).rows()
        assert len(values) == frame.height
        bars[clock] = {key: (value, *more) for (key, value), more in zip(values.items(), known, strict=True)}
    live = _by_key(rows.microstructure.drop("revision"), "event_time")
    assert len(live) == rows.microstructure.height
    revisions = rows.microstructure["revision"].to_list()
    withdrawn = rows.withdrawn_bars.select(
        pl.col("clock", "symbol").cast(pl.String), pl.col("time").to_physical()
    ).rows()
    gone = rows.withdrawn_rows.select(pl.col("symbol").cast(pl.String), pl.col("event_time").to_physical()).rows()
    return {
        "bars": bars,
        "rows": {key: (value, revision) for (key, value), revision in zip(live.items(), revisions, strict=True)},
        "withdrawn_bars": set(withdrawn),
        "withdrawn_rows": set(gone),
    }


def assert_each_step_is_as_expected(
    tape: LiveTape, pieces: Iterable[Chunk], session: Session, lateness_ns: int
) -> None:
    """Push pieces one by one and compare what each step gives out; the tape is complete up to `lateness_ns` before its end."""
    expected, whole = Expected(session, seconds=session.day_start, whole=session.day_start), ([], [])
    for trades, quotes in pieces:
        tape.push(trades, quotes)
        for kept, frame in zip(whole, (trades, quotes), strict=True):
            kept.append(frame)
        through = tape.last_time_ns - lateness_ns
        said = given_out(tape.advance(through))
        if max(expected.seconds, through - through % NS_PER_SECOND) == expected.seconds:
            assert not any(said["bars"].values())
            continue
        wanted = expected.step(*map(_latest, whole), through)
        for name, value in wanted.items():
            assert said[name] == value, f"{name} at {through}"
    assert tape.too_late == 0


def revised_arrivals(seed: int, session: Session, *, delay_s: int, pieces: int) -> list[Chunk]:
    """A random tape in pieces as it may arrive: delayed, and some trades first at another price, time or withdrawn.

    The last symbol joins in the middle of the tape.
    """
    generator = np.random.default_rng(seed)
    frames = streamed(*random_tape(seed, ("A", "B", "C"), trades=120, quotes=160, minutes=45, session=session))
    trades, quotes = (
        frame.filter((pl.col("symbol") != "C") | (pl.col("time").rank("ordinal") > 200)) for frame in frames
    )
    wrong = pl.Series(generator.random(trades.height) < 0.25)
    shift = pl.Series(generator.integers(-40, 40, trades.height) * NS_PER_SECOND)
    first = trades.with_columns(
        price=pl.when(wrong).then(pl.col("price") + generator.integers(-1, 2)).otherwise("price"),
        time=(pl.col("time").to_physical() + pl.when(wrong).then(shift).otherwise(0)).cast(pl.Datetime("ns", "UTC")),
        correction=pl.when(wrong & pl.Series(generator.random(trades.height) < 0.5))
        .then(pl.lit(8, pl.Int8))
        .otherwise("correction"),
    )
    arrivals = []
    for before, after in ((first, trades.filter(wrong)), (quotes, quotes[:0])):
        both = pl.concat([before, after])
        delay = generator.integers(0, delay_s * NS_PER_SECOND, both.height)
        # A correction comes after what it corrects.
        delay[before.height :] += delay_s * NS_PER_SECOND
        arrived = both.with_columns(arrival=both["time"].to_physical() + pl.Series(delay)).sort("arrival")
        arrivals.append(arrived)
    bounds = np.quantile(
        np.concatenate([frame["arrival"].to_numpy() for frame in arrivals]), np.linspace(0, 1, pieces + 1)
    )
    bounds[-1] += 1
    return [
        tuple(
            frame.filter((pl.col("arrival") >= begin) & (pl.col("arrival") < end)).drop("arrival") for frame in arrivals
        )
        for begin, end in pairwise(bounds)
    ]


def _latest(frames: list[pl.DataFrame]) -> pl.DataFrame:
    """The ticks received so far: of two with one number, the later arrival."""
    return pl.concat(frames).unique(("symbol", "sequence_number"), keep="last", maintain_order=True).sort(*_ORDER)


def _by_key(frame: pl.DataFrame, time: str) -> dict[Key, tuple]:
    plain = frame.with_columns(pl.col("symbol").cast(pl.String), pl.col(time).to_physical())
    values = plain.drop("symbol", time).rows()
    return dict(zip(plain.select("symbol", time).rows(), values, strict=True))
