"""The join of the feature store is judged by the look-ahead check, which finds one that counts from the event."""

from functools import partial

import polars as pl
import pytest

import tapewatch.store.lake.joins.lookahead as joins
from tapewatch.lookahead.checks import judge
from tapewatch.lookahead.computation import Tape
from tapewatch.store.lake.joins.lookahead import MINUTES_JOINED
from tests.support.tapes import random_tape, stock_session


def _tape() -> Tape:
    session = stock_session()
    trades, quotes = random_tape(5, trades=500)
    trades = trades.with_columns(id=pl.format("{}", "sequence_number"), participant_time="time")
    return Tape(session, {"trades": trades, "quotes": quotes}, ("AAA", "BBB"), session.day_end)


def test_the_join_uses_no_future_and_one_by_the_event_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    tape = _tape()
    found = judge(MINUTES_JOINED, tape, cuts=2)
    assert found.is_clean, found
    assert found.rows > 100
    monkeypatch.setattr(joins, "join_as_of", partial(joins.join_as_of, as_known=False))
    assert judge(MINUTES_JOINED, tape, cuts=2).check == "cut"
