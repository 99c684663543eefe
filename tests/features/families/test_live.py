"""The live pass leaves the sums of the batch, so that the same code gives the same rows from both."""

import numpy as np
import pytest

from tapewatch.features.families.rows import more_rows
from tapewatch.features.families.trade_sizes import trade_sizes
from tapewatch.features.records import MINUTE
from tapewatch.features.sums import minute_sums
from tapewatch.market.conditions import STOCK_UPDATE_RULES
from tapewatch.streaming.live.tape import LiveTape
from tests.support.live import chunks, fed, streamed
from tests.support.tapes import random_tape, stock_session

SESSION = stock_session()
DAY_MINUTES = 24 * 60


@pytest.mark.long
@pytest.mark.parametrize(("seed", "size", "part_ticks"), [(1, 7, 5), (2, 301, 1000)])
def test_minutes_summed_live_give_the_rows_of_the_batch(seed: int, size: int, part_ticks: int) -> None:
    trades, quotes = random_tape(seed)
    tape = LiveTape(SESSION, symbols=("AAA", "BBB"), horizon_minutes=DAY_MINUTES, part_ticks=part_ticks)
    fed(tape, chunks(*streamed(trades, quotes), size))
    live = tape.sums()
    batch = minute_sums(trades, quotes, SESSION, STOCK_UPDATE_RULES, through_ns=SESSION.day_end)
    for name in MINUTE.names or ():
        np.testing.assert_array_equal(live[name], batch[name], err_msg=name)
    sizes = trade_sizes(trades, batch, STOCK_UPDATE_RULES)
    assert more_rows(live, trade_sizes(trades, live, STOCK_UPDATE_RULES)).equals(more_rows(batch, sizes))
