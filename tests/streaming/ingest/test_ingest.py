"""From spool to lake: no row is lost or doubled, for any batches in any order and any kill."""

import datetime as dt
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapewatch.market.instruments import NS_PER_MINUTE, Market, Partition
from tapewatch.market.schema import Table
from tapewatch.market.tables.stream import STREAM_BARS, STREAM_BATCHES, STREAM_QUOTES, STREAM_TRADES
from tapewatch.market.tables.tape import QUARANTINE, QUOTES, TRADES, quarantine_of
from tapewatch.store.lake.lake import Lake
from tapewatch.store.spool.files import HealedInterval, SpoolFile, highest_numbers, waiting_for
from tapewatch.store.spool.spool import SpoolWriter
from tapewatch.streaming.ingest import ingest as ingest_module
from tapewatch.streaming.ingest.ingest import ingest
from tests.support.streams import as_streamed, trades_at
from tests.support.tapes import DAY, random_tape, stock_session, tape_of

OPEN = stock_session().regular_start
STOCKS = Partition(DAY, Market.STOCKS)
CRYPTO = Partition(DAY, Market.CRYPTO)
FOREX = Partition(DAY, Market.FOREX)
NOW = dt.datetime(2024, 3, 5, 22, tzinfo=dt.UTC)


def spool(root: Path, market: Market, *batches: tuple[Table, pl.DataFrame], producer: str = "collector") -> None:
    with SpoolWriter(root, market, producer) as writer:
        for table, frame in batches:
            writer.add_rows(table, frame)
            writer.flush()


def heal(root: Path, market: Market, table: Table, rows: pl.DataFrame, interval: HealedInterval) -> None:
    with SpoolWriter(root, market, "healer") as writer:
        writer.add_heal(table, rows, interval)


def run(tmp_path: Path, partition: Partition = STOCKS, through: dict[str, int] | None = None) -> pl.DataFrame:
    return ingest(Lake(tmp_path / "lake"), tmp_path / "spool", partition, through, NOW)


def lake_rows(tmp_path: Path, table: Table = TRADES, partition: Partition = STOCKS) -> pl.DataFrame:
    return Lake(tmp_path / "lake").read(table, partition)


def test_a_listing_that_shows_a_later_batch_without_the_one_before_changes_no_order(tmp_path) -> None:
    first = trades_at([OPEN])
    spool(tmp_path / "spool", Market.STOCKS, (STREAM_TRADES, first), (STREAM_TRADES, first.with_columns(price=11.0)))
    listed = []

    def listing(*given: object) -> list[SpoolFile]:
        files = waiting_for(*given)
        listed.append(len(files))
        # The listing had passed the first file's place when it appeared, but not the second's.
        return files[1:] if len(listed) == 1 else files

    with patch.object(ingest_module, "waiting_for", listing):
        run(tmp_path)
        run(tmp_path)
    assert lake_rows(tmp_path)["price"].to_list() == [11.0]
    assert listed[0] == 2


@pytest.mark.parametrize("seed", [1, 2])
def test_a_streamed_day_becomes_the_day_however_it_was_cut_repeated_and_shuffled(tmp_path, seed) -> None:
    trades, quotes = random_tape(seed, trades=200, quotes=300)
    dice = np.random.default_rng(seed)
    streams = [(STREAM_TRADES, as_streamed(trades)), (STREAM_QUOTES, as_streamed(quotes, STREAM_QUOTES))]
    batches = []
    for table, frame in streams:
        shuffled = frame.sample(fraction=1, shuffle=True, seed=seed)
        at = 0
        while at < shuffled.height:
            begin, end = max(0, at - int(dice.integers(10))), at + int(dice.integers(1, 61))
            batches.append((table, shuffled[begin:end]))
            at = end
        batches.append((table, frame.sample(20, seed=seed)))
    for part in (batches[: len(batches) // 2], batches[len(batches) // 2 :]):
        spool(tmp_path / "spool", Market.STOCKS, *part)
        run(tmp_path)
    for table, frame in ((TRADES, trades), (QUOTES, quotes)):
        expected = frame.with_columns(pl.col("time").dt.truncate("1ms"))
        key = ["symbol", "sequence_number"]
        assert lake_rows(tmp_path, table).sort(key).equals(expected.sort(key))
    assert not waiting_for(tmp_path / "spool", STOCKS)


def test_through_leaves_later_batches_and_the_ledger_counts(tmp_path) -> None:
    rows = trades_at(range(OPEN, OPEN + 10))
    spool(tmp_path / "spool", Market.STOCKS, (STREAM_TRADES, rows), (STREAM_TRADES, rows[5:]))
    files = waiting_for(tmp_path / "spool", STOCKS)
    spool(tmp_path / "spool", Market.STOCKS, (STREAM_TRADES, trades_at([OPEN + 50], first_number=99)))
    merged = run(tmp_path, through=highest_numbers(files))
    assert merged.select("rows", "added", "revised", "repeated").rows() == [(10, 10, 0, 0), (5, 0, 0, 5)]
    assert len(waiting_for(tmp_path / "spool", STOCKS)) == 1
    run(tmp_path)
    ledger = lake_rows(tmp_path, STREAM_BATCHES)
    assert ledger["batch"].is_unique().all()
    assert (ledger.height, ledger["rows"].sum(), lake_rows(tmp_path).height) == (3, 16, 11)
    STREAM_BATCHES.check(ledger)
    assert run(tmp_path).is_empty()


def test_a_correction_replaces_and_what_it_replaced_is_in_quarantine(tmp_path) -> None:
    first = trades_at([OPEN, OPEN + 1], price=10)
    spool(
        tmp_path / "spool", Market.STOCKS, (STREAM_TRADES, first), (STREAM_TRADES, first[:1].with_columns(price=11.0))
    )
    merged = run(tmp_path)
    spool(tmp_path / "spool", Market.STOCKS, (STREAM_TRADES, first[:1].with_columns(price=12.0)))
    run(tmp_path)
    assert lake_rows(tmp_path)["price"].to_list() == [12.0, 10.0]
    assert merged["revised"].to_list() == [0, 1]
    kept = lake_rows(tmp_path, quarantine_of(STREAM_TRADES))
    assert [("10.0" in raw, "11.0" in raw) for raw in kept["raw"]] == [(True, False), (False, True)]
    assert set(kept["reason"]) == {"trades: superseded by a later revision"}


def test_rows_that_break_a_rule_are_kept_in_quarantine(tmp_path) -> None:
    exchangeless = trades_at([OPEN]).with_columns(exchange=pl.lit(None, pl.Int16))
    rows = pl.concat([exchangeless, trades_at([OPEN + 1], price=0.0), trades_at([OPEN + 2])])
    spool(tmp_path / "spool", Market.STOCKS, (STREAM_TRADES, rows))
    merged = run(tmp_path)
    assert merged.select("rows", "added").rows() == [(3, 1)]
    reasons = lake_rows(tmp_path, quarantine_of(STREAM_TRADES))["reason"].to_list()
    assert reasons == ["exchange: the row states none", "price is no finite number above zero"]


def test_what_rest_delivered_outranks_the_stream_whichever_came_first(tmp_path) -> None:
    exact, _ = tape_of([(0.123456, 10, 1), (1.5, 11, 1), (2, 12, 1)])
    rest = STREAM_TRADES.conform(exact.with_columns(received_time="time"))
    streamed = as_streamed(exact)
    interval = HealedInterval("AAA", OPEN, OPEN + NS_PER_MINUTE)
    heal(tmp_path / "spool", Market.STOCKS, STREAM_TRADES, rest[:2], interval)
    spool(tmp_path / "spool", Market.STOCKS, (STREAM_TRADES, streamed))
    run(tmp_path)
    expected = pl.concat([exact[:2], TRADES.conform(streamed)[2:]])
    assert lake_rows(tmp_path).equals(expected)
    spool(tmp_path / "spool", Market.STOCKS, (STREAM_TRADES, streamed))
    run(tmp_path)
    assert lake_rows(tmp_path).equals(expected)
    Lake(tmp_path / "lake").write(TRADES, STOCKS, exact)
    Lake(tmp_path / "lake").write(quarantine_of(TRADES), STOCKS, QUARANTINE.empty())
    late = trades_at([OPEN + NS_PER_MINUTE], first_number=77)
    for _ in range(2):
        spool(tmp_path / "spool", Market.STOCKS, (STREAM_TRADES, pl.concat([streamed, late])))
        run(tmp_path)
        assert lake_rows(tmp_path).equals(pl.concat([exact, TRADES.conform(late)]))


def test_crypto_trades_are_identified_by_exchange_and_id_and_numbered_by_position(tmp_path) -> None:
    start = CRYPTO.session.day_start
    rows = trades_at([start + 5, start + 3, start + 9], symbol="X:BTC-USD").with_columns(
        sequence_number=pl.lit(None, pl.Int64)
    )
    for part in (rows[:1], rows, rows[2:]):
        spool(tmp_path / "spool", Market.CRYPTO, (STREAM_TRADES, part))
        run(tmp_path, CRYPTO)
    found = lake_rows(tmp_path, TRADES, CRYPTO)
    assert found.select("id", "sequence_number").rows() == [("2", 1), ("1", 2), ("3", 3)]


def fx_quotes(seconds: list[float]) -> pl.DataFrame:
    _, quotes = tape_of(quotes=[(s, 1, 2) for s in seconds], session=FOREX.session, symbol="C:EUR-USD")
    quotes = quotes.with_columns(bid_size=pl.lit(None, pl.Float64), ask_size=pl.lit(None, pl.Float64))
    return as_streamed(quotes, STREAM_QUOTES).with_columns(sequence_number=pl.lit(None, pl.Int64))


def test_rows_without_identity_are_kept_as_often_as_they_arrived_but_not_again(tmp_path) -> None:
    for _ in range(2):
        spool(tmp_path / "spool", Market.FOREX, (STREAM_QUOTES, fx_quotes([1, 1, 2])))
        run(tmp_path, FOREX)
        assert lake_rows(tmp_path, QUOTES, FOREX)["sequence_number"].to_list() == [1, 2, 3]
    spool(tmp_path / "spool", Market.FOREX, (STREAM_QUOTES, fx_quotes([1, 1, 1, 3])))
    run(tmp_path, FOREX)
    assert lake_rows(tmp_path, QUOTES, FOREX).height == 5


def test_a_heal_of_rows_without_identity_replaces_its_interval_whole(tmp_path) -> None:
    start = FOREX.session.regular_start
    spool(tmp_path / "spool", Market.FOREX, (STREAM_QUOTES, fx_quotes([1, 2, 3, 10])))
    run(tmp_path, FOREX)
    exact = fx_quotes([2, 2.5, 3]).with_columns(pl.col("time") + pl.duration(nanoseconds=7001))
    interval = HealedInterval("C:EUR-USD", start + 2 * 10**9, start + 4 * 10**9)
    for _ in range(2):
        heal(tmp_path / "spool", Market.FOREX, STREAM_QUOTES, exact, interval)
        heal(tmp_path / "spool", Market.FOREX, STREAM_QUOTES, exact, interval)
        spool(tmp_path / "spool", Market.FOREX, (STREAM_QUOTES, fx_quotes([2, 3])))
        run(tmp_path, FOREX)
        found = lake_rows(tmp_path, QUOTES, FOREX)
        assert found.height == 5
        assert found["time"][1:4].equals(exact["time"])


def test_a_rebroadcast_bar_replaces_the_earlier(tmp_path) -> None:
    bar = {"symbol": "AAA", "time": OPEN, "clock": "1m", "open": 1.0, "high": 1.0, "low": 1.0, "close": 1.0}
    first = STREAM_BARS.conform(pl.DataFrame([{**bar, "volume": 5.0, "received_time": OPEN + 60 * 10**9}]))
    later = first.with_columns(volume=7.0)
    spool(tmp_path / "spool", Market.STOCKS, (STREAM_BARS, first), (STREAM_BARS, later))
    run(tmp_path)
    assert lake_rows(tmp_path, STREAM_BARS)["volume"].to_list() == [7.0]


def test_a_damaged_file_costs_only_its_own_rows(tmp_path) -> None:
    spool(tmp_path / "spool", Market.STOCKS, (STREAM_TRADES, trades_at([OPEN])), (STREAM_TRADES, trades_at([OPEN + 1])))
    first, _ = waiting_for(tmp_path / "spool", STOCKS)
    Path(first.path).write_bytes(b"ARROW1 and then nothing")
    assert run(tmp_path)["added"].to_list() == [1]
    assert Path(f"{first.path}.damaged").exists()
    assert not waiting_for(tmp_path / "spool", STOCKS)


def test_a_large_partition_is_merged_a_few_symbols_at_a_time(tmp_path, monkeypatch) -> None:
    rows = pl.concat([trades_at(range(OPEN, OPEN + 50), symbol=symbol) for symbol in ("AAA", "BBB", "CCC")])
    monkeypatch.setattr("tapewatch.streaming.ingest.ingest._ROWS_AT_ONCE", 60)
    for part in (rows.filter(pl.col("symbol") != "BBB"), rows.filter(pl.col("symbol") == "BBB"), rows):
        spool(tmp_path / "spool", Market.STOCKS, (STREAM_TRADES, part.sample(fraction=1, shuffle=True)))
        run(tmp_path)
    assert lake_rows(tmp_path).equals(TRADES.conform(rows))


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(
    st.lists(
        st.lists(st.tuples(st.integers(1, 12), st.sampled_from([10.0, 11.0])), min_size=1, max_size=6),
        min_size=1,
        max_size=5,
    ),
    st.data(),
)
def test_twice_equals_once_and_any_grouping_gives_the_same_rows(tmp_path_factory, batches, data) -> None:
    frames = [pl.concat(trades_at([OPEN + n], first_number=n, price=p) for n, p in rows) for rows in batches]
    cut = data.draw(st.integers(0, len(frames)))
    results = []
    for groups in ([frames], [frames[:cut], frames[cut:]]):
        folder = tmp_path_factory.mktemp("ingest")
        for group in groups:
            spool(folder / "spool", Market.STOCKS, *((STREAM_TRADES, frame) for frame in group))
            again = folder / "again"
            shutil.copytree(folder / "spool", again)
            run(folder)
            shutil.rmtree(folder / "spool")
            shutil.move(again, folder / "spool")
            run(folder)
        results.append(lake_rows(folder))
    latest = {number: price for rows in batches for number, price in rows}
    assert dict(results[0].select("sequence_number", "price").iter_rows()) == latest
    assert results[0].equals(results[1])


#: Kills itself after the given seconds of processor time.
_INGEST = """
import signal, sys, datetime as dt, pathlib
from tapewatch.market.instruments import Partition
from tapewatch.store.lake.lake import Lake
from tapewatch.streaming import ingest as ingest_module
from tapewatch.streaming.ingest.ingest import ingest
home = pathlib.Path(sys.argv[1])
signal.setitimer(signal.ITIMER_PROF, float(sys.argv[3]))
ingest(Lake(home / "lake"), home / "spool", Partition.parse(sys.argv[2]), None, dt.datetime.now(dt.UTC))
"""


@pytest.mark.slow
def test_killed_at_any_moment_and_run_again_the_lake_is_the_same(tmp_path) -> None:
    dice = np.random.default_rng(5)
    truth, _ = random_tape(9, ("AAA", "BBB", "CCC"), trades=4000, quotes=1)
    streamed = as_streamed(truth)
    quotes = fx_quotes([second / 10 for second in range(2800)])
    kills = 0
    pieces = [streamed.slice(at, 500) for at in range(0, streamed.height, 500)]
    for round_, piece in enumerate([*pieces[:6], pl.concat(pieces)]):
        spool(tmp_path / "spool", Market.STOCKS, (STREAM_TRADES, piece))
        spool(tmp_path / "spool", Market.FOREX, (STREAM_QUOTES, quotes[round_ * 400 : round_ * 400 + 400]))
        partition = FOREX if round_ % 2 else STOCKS
        process = subprocess.run(
            [sys.executable, "-c", _INGEST, str(tmp_path), str(partition), str(dice.random() * 0.25)],
            check=False,
            env={**os.environ, "POLARS_MAX_THREADS": "1"},
        )
        assert process.returncode in (0, -signal.SIGPROF)
        kills += process.returncode != 0
    for partition in (STOCKS, FOREX):
        run(tmp_path, partition)
    key = ["symbol", "sequence_number"]
    expected = truth.with_columns(pl.col("time").dt.truncate("1ms")).sort(key)
    assert lake_rows(tmp_path).sort(key).equals(expected)
    assert lake_rows(tmp_path, QUOTES, FOREX)["time"].equals(quotes["time"])
    assert kills
