"""The lake: whole writes, reads by symbol, concurrent writers, any file system."""

import datetime as dt
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from upath import UPath

from tapewatch.market.instruments import Market, Partition
from tapewatch.market.schema import SchemaError
from tapewatch.market.tables.derived import DERIVED
from tapewatch.market.tables.tape import ALL, BARS, EVALUATION, MICROSTRUCTURE, TRADES
from tapewatch.store.lake import parquet_file
from tapewatch.store.lake.lake import Lake, LakeError, MissingPartitionError, ShrinkError
from tapewatch.store.lake.parquet_file import whole_symbol_groups

DAY = Partition(dt.date(2024, 3, 5), Market.STOCKS)
_START = 1_709_650_000_000_000_000


def _trades(counts: dict[str, int], seed: int = 0) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    rows = sum(counts.values())
    return TRADES.conform(
        pl.DataFrame(
            {
                "symbol": [s for s, n in counts.items() for _ in range(n)],
                "time": np.concatenate([_START + np.arange(n) * 1000 for n in counts.values()]),
                "sequence_number": np.concatenate([np.arange(1, n + 1) for n in counts.values()]),
                "price": random.uniform(1, 500, rows).round(2),
                "size": random.uniform(0, 500, rows),
                "exchange": random.integers(1, 20, rows),
                "conditions": random.choice(["", "12", "12,37"], rows),
                "id": [None if i % 7 == 0 else str(i) for i in range(rows)],
            }
        )
    )


def test_a_partition_is_read_as_it_was_written(tmp_path: Path) -> None:
    lake, frame = Lake(tmp_path), _trades({"AAPL": 500, "IBM": 300})
    written = lake.write(TRADES, DAY, frame.sample(fraction=1, shuffle=True, seed=1))
    assert lake.read(TRADES, DAY).equals(frame)
    assert lake.scan(TRADES, DAY).collect_schema() == TRADES.schema
    assert (written.rows, written.bytes) == (800, Path(written.path).stat().st_size)
    assert Path(written.path) == tmp_path / "tape/trades/market=stocks/date=2024-03-05/part.parquet"
    assert lake.rows(TRADES, DAY) == 800
    assert lake.symbols(TRADES, DAY) == {"AAPL": 500, "IBM": 300}


@pytest.mark.parametrize("table", [*ALL, *DERIVED], ids=lambda t: t.name)
def test_every_table_can_be_written_empty(tmp_path: Path, table: object) -> None:
    lake = Lake(tmp_path)
    for frames in (table.empty(), [], [table.empty()]):  # type: ignore[attr-defined]
        lake.write(table, DAY, frames)  # type: ignore[arg-type]
        assert lake.read(table, DAY).schema == table.schema  # type: ignore[arg-type,attr-defined]


def test_equal_rows_give_equal_bytes(tmp_path: Path) -> None:
    frame = _trades({"A": 1000, "B": 10})
    a, b = Lake(tmp_path / "a"), Lake(tmp_path / "b")
    pieces = [frame.slice(i, 7) for i in range(0, frame.height, 7)]
    one, other = a.write(TRADES, DAY, frame), b.write(TRADES, DAY, pieces)
    assert Path(one.path).read_bytes() == Path(other.path).read_bytes()


@pytest.mark.parametrize("root", ["local", "memory"])
def test_symbols_are_read_without_other_row_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: str) -> None:
    monkeypatch.setattr(parquet_file, "ROW_GROUP_ROWS", 50)
    lake = Lake(tmp_path if root == "local" else f"memory://{tmp_path.name}")
    frame = _trades({"A": 10, "AB": 30, "B": 20, "C": 240, "D": 5, "E": 60})
    lake.write(TRADES, DAY, (frame.slice(i, 23) for i in range(0, frame.height, 23)))
    with lake.path(TRADES, DAY).open("rb") as stream:
        metadata = pq.read_metadata(stream)
    sizes = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
    assert max(sizes) <= 100
    for symbol in ("A", "AB", "B", "D"):
        assert len(parquet_file.Selection.of(metadata, [symbol]).groups) == 1
    for symbols in (["A"], ["B", "C"], ["E", "A"], ["none"], [], ["A", "AB", "B", "C", "D", "E"]):
        expected = frame.filter(pl.col("symbol").cast(pl.String).is_in(symbols))
        assert lake.read(TRADES, DAY, symbols=symbols).equals(expected)
        assert lake.read(TRADES, DAY, symbols=symbols, columns=["price"]).equals(expected.select("price"))
    assert lake.read(TRADES, DAY).equals(frame)


def test_on_an_fsspec_file_system() -> None:
    lake, frame = Lake("memory://lake-test"), _trades({"AAPL": 100})
    written = lake.write(TRADES, DAY, frame)
    assert written.path.startswith("memory://")
    assert lake.read(TRADES, DAY).equals(frame)
    assert lake.scan(TRADES, DAY).select(pl.len()).collect().item() == 100
    assert lake.partitions(TRADES) == [DAY]
    with pytest.raises(ShrinkError):
        lake.write(TRADES, DAY, frame.head(3))


def test_tables_without_partition_or_symbol(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    frame = EVALUATION.conform(
        pl.DataFrame(
            {
                "kind": ["all"],
                "truth": ["source"],
                "events": [3],
                "found": [2],
                "recall": [2 / 3],
                "rule_found": [1],
                "rule_recall": [1 / 3],
            }
        )
    )
    lake.write(EVALUATION, None, frame)
    assert lake.read(EVALUATION).equals(frame)


def test_partitions_and_missing_ones(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    days = [Partition(dt.date(2024, 3, d), m) for d in (4, 5) for m in (Market.STOCKS, Market.CRYPTO)]
    for day in reversed(days):
        lake.write(TRADES, day, _trades({"A": 1}))
    assert lake.partitions(TRADES) == sorted(days)
    assert lake.partitions(TRADES, Market.CRYPTO) == [d for d in days if d.market is Market.CRYPTO]
    assert not lake.exists(BARS, DAY)
    for ask in (lake.read, lake.rows, lake.symbols, lake.scan):
        with pytest.raises(MissingPartitionError, match=r"no tape/bars for 2024-03-05\|stocks"):
            ask(BARS, DAY)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ([_trades({"B": 3}), _trades({"A": 3})], "A comes after B"),
        ([_trades({"B": 3, "A": 3})], "A comes after B"),
        ([_trades({"A": 3}).reverse()], "time goes back at A"),
        ([_trades({"A": 3}), _trades({"A": 3})], "time goes back at A"),
        ([_trades({"A": 2, "B": 2}), _trades({"C": 2, "B": 1})], "B comes after C"),
    ],
)
def test_rows_out_of_order_are_refused(tmp_path: Path, frames: list[pl.DataFrame], message: str) -> None:
    with pytest.raises(LakeError, match=rf"tape/trades for 2024-03-05\|stocks: {message}.*sorted by symbol, time"):
        Lake(tmp_path).write(TRADES, DAY, frames)
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]


def test_a_frame_that_does_not_fit_leaves_the_partition(tmp_path: Path) -> None:
    lake, frame = Lake(tmp_path), _trades({"A": 100})
    lake.write(TRADES, DAY, frame)
    with pytest.raises(SchemaError, match="price"):
        lake.write(TRADES, DAY, [frame, frame.with_columns(price=pl.lit(-1.0))])
    with pytest.raises(SchemaError, match="missing column"):
        lake.write(TRADES, DAY, frame.drop("price"))
    assert lake.read(TRADES, DAY).equals(frame)


def test_a_source_that_fails_half_way_leaves_the_partition(tmp_path: Path) -> None:
    lake, frame = Lake(tmp_path), _trades({"A": 100})
    lake.write(TRADES, DAY, frame)

    def breaks() -> Iterator[pl.DataFrame]:
        yield frame
        raise ConnectionError("the line is dead")

    with pytest.raises(ConnectionError):
        lake.write(TRADES, DAY, breaks())
    assert lake.read(TRADES, DAY).equals(frame)
    assert len([p for p in tmp_path.rglob("*") if p.is_file()]) == 1


def test_a_source_that_fails_while_rows_are_written_waits_for_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    is_writing, is_closed = threading.Event(), threading.Event()

    class Slow(pq.ParquetWriter):
        def write_table(self, *arguments: object, **options: object) -> None:
            steps.append("write")
            is_writing.set()
            is_closed.wait(0.5)
            steps.append("written")

        def close(self) -> None:
            steps.append("close")
            is_closed.set()

        def __del__(self) -> None:
            super().close()

    def breaks() -> Iterator[pl.DataFrame]:
        yield _trades({"A": 100})
        is_writing.wait()
        raise ConnectionError("the line is dead")

    monkeypatch.setattr(parquet_file, "ROW_GROUP_ROWS", 50)
    monkeypatch.setattr(pq, "ParquetWriter", Slow)
    with pytest.raises(ConnectionError):
        Lake(tmp_path).write(TRADES, DAY, breaks())
    assert steps == ["write", "written", "close"]


def test_a_far_smaller_replacement_needs_allow_shrink(tmp_path: Path) -> None:
    lake, frame = Lake(tmp_path), _trades({"A": 100})
    lake.write(TRADES, DAY, frame)
    with pytest.raises(ShrinkError, match="100 rows; refusing to replace them by 49"):
        lake.write(TRADES, DAY, frame.head(49))
    assert lake.rows(TRADES, DAY) == 100
    lake.write(TRADES, DAY, frame.head(50))
    lake.write(TRADES, DAY, frame.head(1), allow_shrink=True)
    assert lake.rows(TRADES, DAY) == 1


def test_of_concurrent_writers_one_wins_whole_and_readers_see_whole(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    versions = [_trades({"A": 4000, "B": 500}, seed) for seed in range(4)]
    lake.write(TRADES, DAY, versions[0])
    failures: list[BaseException] = []

    def write(frame: pl.DataFrame) -> None:
        try:
            for _ in range(8):
                lake.write(TRADES, DAY, [frame.slice(i, 1500) for i in range(0, frame.height, 1500)])
        except LakeError as error:
            failures.append(error)

    writers = [threading.Thread(target=write, args=(frame,)) for frame in versions]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        seen = lake.read(TRADES, DAY)
        assert any(seen.equals(version) for version in versions)
    assert not failures
    assert len([p for p in tmp_path.rglob("*") if p.is_file()]) == 1


def _child(code: str, *arguments: object) -> subprocess.Popen[str]:
    script = (
        "import sys\nfrom tests.store.lake.test_lake import *\nfrom tests.store.lake.test_lake import _trades\n" + code
    )
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        cwd=Path(__file__).parents[3], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


@pytest.mark.long
def test_a_full_disk_is_a_clear_error_and_leaves_the_partition(tmp_path: Path) -> None:
    # The kernel refuses bytes beyond the limit as it does on a full disk, root or not.
    lake, frame = Lake(tmp_path), _trades({"A": 200})
    lake.write(TRADES, DAY, frame)
    child = _child(
        "import resource, signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))\n"
        "try:\n    Lake(sys.argv[1]).write(TRADES, DAY, _trades({'A': 300_000}))\n"
        "except LakeError as error:\n    print(error)\n",
        tmp_path,
    )
    said = child.communicate(timeout=400)[0]
    assert "cannot write tape/trades for 2024-03-05|stocks to" in said
    assert "date=2024-03-05/part.parquet" in said
    assert "the partition stays as it was" in said
    assert lake.read(TRADES, DAY).equals(frame)
    assert len([p for p in tmp_path.rglob("*") if p.is_file()]) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system takes root")
def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", tmp_path], check=False).returncode:
        pytest.skip("this root may not mount")
    try:
        lake, frame = Lake(tmp_path), _trades({"A": 200})
        lake.write(TRADES, DAY, frame)
        with pytest.raises(
            LakeError, match=r"cannot write tape/trades for 2024-03-05\|stocks.*No space left on device"
        ):
            lake.write(TRADES, DAY, _trades({"A": 300_000}))
        assert lake.read(TRADES, DAY).equals(frame)
        assert len([p for p in tmp_path.rglob("*") if p.is_file()]) == 1
    finally:
        subprocess.run(["umount", tmp_path], check=True)


@pytest.mark.long
def test_a_killed_write_leaves_the_partition_and_the_next_write_removes_its_file(tmp_path: Path) -> None:
    lake, frame = Lake(tmp_path), _trades({"A": 200})
    lake.write(TRADES, DAY, frame)
    child = _child(
        "def endless():\n    for i in range(10**6):\n        yield _trades({f'S{i:06}': 150_000})\n        print('block', flush=True)\n"
        "Lake(sys.argv[1]).write(TRADES, DAY, endless())\n",
        tmp_path,
    )
    assert child.stdout is not None
    with child.stdout:
        for _ in range(3):
            assert child.stdout.readline() == "block\n"
        child.send_signal(signal.SIGKILL)
        child.wait(240)
    (stale,) = tmp_path.rglob("*.tmp")
    assert stale.stat().st_size > 0
    assert lake.read(TRADES, DAY).equals(frame)
    assert lake.partitions(TRADES) == [DAY]
    lake.write(TRADES, DAY, frame)
    assert not list(tmp_path.rglob("*.tmp"))


def test_the_staged_file_of_a_running_writer_is_not_removed(tmp_path: Path) -> None:
    lake, frame = Lake(tmp_path), _trades({"A": 150_000, "B": 10})

    def interrupted() -> Iterator[pl.DataFrame]:
        yield frame.head(150_000)
        yield frame.tail(10)
        Lake(tmp_path).write(TRADES, DAY, frame)

    lake.write(TRADES, DAY, interrupted())
    assert lake.read(TRADES, DAY).equals(frame)


@pytest.mark.long
def test_memory_does_not_grow_with_the_partition(tmp_path: Path) -> None:
    code = (
        "from tests.support.peak_memory import peak_mb\n"
        "frames = (_trades({f'S{i:03}': 20_000}) for i in range(int(sys.argv[2])))\n"
        "Lake(sys.argv[1]).write(TRADES, DAY, frames)\n"
        "print(peak_mb())\n"
    )
    small, large = (int(_child(code, tmp_path / str(n), n).communicate(timeout=300)[0]) for n in (20, 120))
    assert large < small + 120, f"{small} MB for 20 frames, {large} MB for 120"


def test_random_numbers_survive_every_encoding(tmp_path: Path) -> None:
    random = np.random.default_rng(5)
    columns = {}
    for column in MICROSTRUCTURE.columns:
        if column.dtype.is_float():
            lowest = 0 if column.is_price else -1e6
            low, high = lowest if column.minimum is None else column.minimum, column.maximum or 1e6
            values = random.uniform(low, high, 500)
            columns[column.name] = pl.Series(np.where(random.random(500) < 0.3, np.nan, values)).fill_nan(
                None if column.is_nullable else 0
            )
        elif column.dtype.is_integer():
            columns[column.name] = pl.Series(random.integers(0, 2**31 - 1, 500))
        elif column.dtype.is_temporal():
            columns[column.name] = pl.Series(_START + random.integers(0, 10**13, 500))
        else:
            columns[column.name] = pl.Series(["A"] * 500 if column.name == "symbol" else [True, False] * 250)
    frame = MICROSTRUCTURE.conform(pl.DataFrame(columns)).sort("event_time")
    lake = Lake(UPath(tmp_path))
    lake.write(MICROSTRUCTURE, DAY, frame)
    assert lake.read(MICROSTRUCTURE, DAY).equals(frame)


def test_whole_symbol_groups() -> None:
    groups = whole_symbol_groups([{"A": 5, "B": 5, "D": 50}, {"A": 1, "C": 3}], 12)
    assert list(groups) == [["A", "B"], ["C"], ["D"]]
    assert list(whole_symbol_groups([{}], 12)) == []
    filled = {"A": 5, "B": 7, "C": 5, "D": 7, "E": 1}
    assert list(whole_symbol_groups([filled], 12)) == [["A", "B"], ["C", "D"], ["E"]], "a group is filled to the limit"
    assert list(whole_symbol_groups([{"A": 6, "B": 7}], 12)) == [["A"], ["B"]], "and not beyond"


def test_a_column_added_later_is_null_in_older_objects(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    frame = _trades({"AAPL": 5})
    lake.write(TRADES, DAY, frame)
    path = str(lake.path(TRADES, DAY))
    pl.read_parquet(path).drop("tape").write_parquet(path)
    assert lake.read(TRADES, DAY).equals(frame.with_columns(tape=pl.lit(None, pl.Int8)))
