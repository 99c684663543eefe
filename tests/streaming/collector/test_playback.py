"""A collector restarted within the day continues as if it had never stopped."""

import datetime as dt
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import numpy as np
import polars as pl
import pytest

from tapewatch.features.seasonality.model import SeasonalModel
from tapewatch.feeds.stream.decode.decoder import StreamBatch
from tapewatch.market.instruments import NS_PER_MINUTE, Market, Partition
from tapewatch.market.schema import Table
from tapewatch.market.tables.features import LIVE_FAMILIES, MARKET_MICROSTRUCTURE
from tapewatch.market.tables.live import LIVE_BARS, LIVE_MICROSTRUCTURE
from tapewatch.market.tables.tape import QUOTES, TRADES
from tapewatch.store.lake.lake import Lake
from tapewatch.store.spool.files import waiting_for
from tapewatch.store.spool.spool import SpoolWriter
from tapewatch.streaming.ingest.ingest import ingest
from tapewatch.streaming.live import playback
from tapewatch.streaming.live.families import LiveFamilies
from tapewatch.streaming.live.tape import LiveRows, LiveTape
from tests.support.families import minutes_of
from tests.support.live import streamed
from tests.support.tapes import random_tape, stock_session

SESSION = stock_session()
PARTITION = Partition(SESSION.date, Market.STOCKS)
SYMBOLS = ("A", "B", "C")


def cut(frame: pl.DataFrame, at_ns: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    is_before = pl.col("time").to_physical() <= at_ns
    return frame.filter(is_before), frame.filter(~is_before)


def last_rows(rows: list[pl.DataFrame], key: tuple[str, ...], start_ns: int) -> pl.DataFrame:
    """The last revision of every row that starts at a time or later."""
    time = "event_time" if "event_time" in key else "time"
    whole = pl.concat(rows).unique(key, keep="last", maintain_order=True)
    return whole.filter(pl.col(time).to_physical() >= start_ns).drop("revision", "known_time", strict=False).sort(key)


@pytest.mark.parametrize(("kept_share", "merged_share"), [(0.37, 0.0), (0.5, 0.6), (0.83, 1.0)])
def test_a_resumed_day_continues_as_if_never_interrupted(
    tmp_path: Path, kept_share: float, merged_share: float
) -> None:
    trades, quotes = streamed(*random_tape(5, SYMBOLS, trades=400, quotes=600, minutes=90, session=SESSION))
    times = np.sort(np.concatenate([trades["time"].to_physical().to_numpy(), quotes["time"].to_physical().to_numpy()]))
    kept = int(times.size * kept_share)
    left_at, merged_at = int(times[kept]), int(times[int(kept * merged_share)])
    (early_trades, late_trades), (early_quotes, late_quotes) = cut(trades, left_at), cut(quotes, left_at)
    lake = Lake(tmp_path / "lake")
    with SpoolWriter(tmp_path / "spool", Market.STOCKS, "collector") as spool:
        for part in range(2):
            pieces = [cut(frame, merged_at)[part] for frame in (early_trades, early_quotes)]
            spool.add(StreamBatch(trades=pieces[0], quotes=pieces[1]))
            spool.flush()
            if part == 0 and merged_share:
                ingest(lake, tmp_path / "spool", PARTITION, None, dt.datetime.now(dt.UTC))
                assert lake.exists(TRADES, PARTITION)
                assert lake.exists(QUOTES, PARTITION)

    seasons = SeasonalModel.fit([minutes_of(*random_tape(6, SYMBOLS, session=SESSION), SESSION)])
    models = {"seasonal_model": lambda: seasons}
    whole = LiveTape(SESSION, families=LiveFamilies(SESSION, **models))
    families = LiveFamilies(SESSION, **models)
    resumed = playback.resumed_tape(SESSION, left_at, tmp_path / "spool", lake, families=families)
    whole.push(early_trades, early_quotes)
    first = whole.advance(left_at)
    closed = {}
    for tape in (whole, resumed):
        tape.push(late_trades, late_quotes)
        closed[tape] = tape.close()
    emit_from = (left_at - 20 * NS_PER_MINUTE) // NS_PER_MINUTE * NS_PER_MINUTE
    for name, table in (
        ("minute_bars", LIVE_BARS),
        ("second_bars", LIVE_BARS),
        ("microstructure", LIVE_MICROSTRUCTURE),
        ("market_minutes", MARKET_MICROSTRUCTURE),
    ):
        expected = last_rows([getattr(first, name), getattr(closed[whole], name)], table.key, emit_from)
        again = last_rows([getattr(closed[resumed], name)], table.key, 0)
        assert expected.height
        assert again.equals(expected), name
    for table in LIVE_FAMILIES:
        expected = last_rows(changed(table, first, closed[whole]), table.key, emit_from)
        again = last_rows(changed(table, closed[resumed]), table.key, 0)
        assert expected.height
        assert again.equals(expected), table.name


def changed(table: Table, *emitted: LiveRows) -> list[pl.DataFrame]:
    return [change.rows for rows in emitted for change in rows.changes if change.table is table]


def test_a_day_beyond_the_bound_starts_afresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trades, quotes = streamed(*random_tape(5, SYMBOLS, trades=40, quotes=60, minutes=30, session=SESSION))
    with SpoolWriter(tmp_path, Market.STOCKS, "collector") as spool:
        spool.add(StreamBatch(trades=trades, quotes=quotes))
    monkeypatch.setattr(playback, "MOST_ROWS", 10)
    left_at = SESSION.regular_start + 10 * NS_PER_MINUTE + 1
    tape = playback.resumed_tape(SESSION, left_at, tmp_path, None)
    assert tape.last_time_ns == 0
    tape.push(trades, quotes)
    rows = tape.close().microstructure
    assert rows["event_time"].to_physical().min() == SESSION.regular_start + 11 * NS_PER_MINUTE


def test_a_batch_that_is_merged_while_the_spool_is_listed_hides_no_other(tmp_path: Path) -> None:
    trades, quotes = streamed(*random_tape(5, SYMBOLS, trades=40, quotes=60, minutes=30, session=SESSION))
    with SpoolWriter(tmp_path, Market.STOCKS, "collector") as spool:
        for place in range(5):
            spool.add(StreamBatch(trades=trades[place::5], quotes=quotes[:0]))
            spool.flush()
    before = waiting_for(tmp_path, PARTITION)
    listed = os.scandir

    @contextmanager
    def merged_meanwhile(folder: Path) -> Iterator[Iterator[os.DirEntry[str]]]:
        with listed(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
        Path(found[0].path).unlink()
        yield iter(found)

    with patch("os.scandir", merged_meanwhile):
        assert waiting_for(tmp_path, PARTITION) == before[1:]
