"""Rows of further measures that a live tape gives, and those of the batch."""

import numpy as np
import polars as pl
import pytest

from tapewatch.features.definitions.families import FAMILIES
from tapewatch.features.families.rows import LOOK_BACK, microstructure_more
from tapewatch.market.instruments import NS_PER_SECOND
from tapewatch.market.tables.features import MICROSTRUCTURE_MORE
from tapewatch.streaming.live.families import LiveFamilies
from tapewatch.streaming.live.tape import LiveTape
from tests.support.live import chunks, fed, last_of, streamed
from tests.support.tapes import random_tape, stock_session

SESSION = stock_session()
MORE = (MICROSTRUCTURE_MORE,)


def test_no_feature_looks_back_farther_than_minutes_are_kept() -> None:
    assert max(each.warm_up or 0 for each in FAMILIES) == LOOK_BACK - 1


@pytest.mark.long
@pytest.mark.parametrize(("seed", "size", "part_ticks", "late_s"), [(1, 7, 5, 0), (2, 301, 1000, 0), (3, 90, 50, 600)])
def test_minutes_summed_live_give_the_rows_of_the_batch(seed: int, size: int, part_ticks: int, late_s: int) -> None:
    trades, quotes = random_tape(seed, minutes=150)
    some_trades, some_quotes = streamed(trades, quotes)
    delay = np.random.default_rng(seed).integers(0, late_s * NS_PER_SECOND + 1, some_trades.height)
    arrived = np.argsort(some_trades["time"].to_physical().to_numpy() + delay, kind="stable")
    tape = LiveTape(SESSION, part_ticks=part_ticks, families=LiveFamilies(SESSION, MORE))
    pieces = list(chunks(some_trades, some_quotes, size))
    if late_s:
        late = some_trades[arrived]
        each = -(-late.height // len(pieces))
        pieces = [(late[at * each : (at + 1) * each], own) for at, (_, own) in enumerate(pieces)]
    outputs = fed(tape, pieces)
    assert tape.too_late == 0
    found = last_of(MICROSTRUCTURE_MORE, [rows.changes for rows in outputs]).sort("symbol", "event_time")
    expected = microstructure_more(trades, quotes, SESSION).with_columns(pl.col("symbol").cast(pl.String))
    assert expected.height > 300
    assert found.equals(expected.sort("symbol", "event_time"))
