"""Row groups, the index of symbols and dictionaries of a Parquet file."""

from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest

from tapewatch.market.tables.tape import ANOMALIES, EVALUATION, TRADES
from tapewatch.store.lake import parquet_file
from tapewatch.store.lake.parquet_file import DisorderError, Selection, _dictionary, symbol_counts, write_parquet
from tests.support.live_rows import rows_of

GROUP = 10


@pytest.fixture(autouse=True)
def _small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_file, "ROW_GROUP_ROWS", GROUP)


def trades(rows: dict[str, int]) -> pl.DataFrame:
    symbols = [symbol for symbol, count in rows.items() for _ in range(count)]
    numbers = [number for count in rows.values() for number in range(count)]
    frame = pl.DataFrame({"symbol": symbols, "time": numbers, "sequence_number": numbers})
    return TRADES.conform(frame.with_columns(price=1.0, size=1.0, exchange=1, conditions=pl.lit("")))


def groups_of(path: Path) -> list[int]:
    metadata = pq.read_metadata(path)
    return [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]


@pytest.mark.parametrize(
    ("rows", "groups"),
    [
        ({"A": 10, "B": 3}, [10, 3]),
        ({"A": 9, "B": 3, "C": 4}, [12, 4]),
        ({"A": 20, "B": 1}, [20, 1]),
        ({"A": 19, "B": 1}, [19, 1]),
        ({"A": 21, "B": 1}, [20, 2]),
        ({"A": 45}, [20, 20, 5]),
        ({"A": 5, "B": 37, "C": 10, "D": 1}, [20, 20, 12, 1]),
        ({"A": 5, "B": 35, "C": 1}, [20, 20, 1]),
        ({"A": 3}, [3]),
    ],
)
@pytest.mark.parametrize("piece", [1, 4, 100])
def test_row_groups_end_with_a_symbol_however_the_frames_are_cut(
    tmp_path: Path, rows: dict[str, int], groups: list[int], piece: int
) -> None:
    path, frame = tmp_path / "file.parquet", trades(rows)
    assert write_parquet(TRADES, [frame.clear(), *frame.iter_slices(piece)], path) == frame.height
    assert groups_of(path) == groups
    assert symbol_counts(pq.read_metadata(path)) == rows


@pytest.mark.parametrize(
    ("symbols", "groups", "slices"),
    [
        (None, [0, 1, 2], [(0, 26)]),
        (["A"], [0], [(0, 10)]),
        (["B"], [1], [(0, 3)]),
        (["A", "B"], [0, 1], [(0, 10), (10, 3)]),
        (["B", "D"], [1, 2], [(0, 3), (12, 4)]),
        (["D"], [2], [(0, 4)]),
        (["nothing"], [], []),
        ([], [], []),
    ],
)
def test_a_selection_names_the_groups_and_rows_of_symbols(
    tmp_path: Path, symbols: list[str] | None, groups: list[int], slices: list[tuple[int, int]]
) -> None:
    path, frame = tmp_path / "file.parquet", trades({"A": 10, "B": 3, "C": 9, "D": 4})
    write_parquet(TRADES, [frame], path)
    assert groups_of(path) == [10, 12, 4]
    selection = Selection.of(pq.read_metadata(path), symbols)
    assert (selection.groups, selection.slices) == (groups, slices)
    read = pl.DataFrame(pq.ParquetFile(path).read_row_groups(selection.groups))
    wanted = frame if symbols is None else frame.filter(pl.col("symbol").cast(pl.String).is_in(symbols))
    assert selection.cut(read)["sequence_number"].to_list() == wanted["sequence_number"].to_list()


def test_rows_are_in_order_within_and_across_frames(tmp_path: Path) -> None:
    path = tmp_path / "file.parquet"
    later = trades({"A": 3, "B": 2})
    write_parquet(TRADES, [later, trades({"C": 2})], path)
    write_parquet(TRADES, [later.head(2), later.slice(2)], path)
    for frames in (
        [later.head(2), later.head(2)],
        [later.slice(3), later.head(1)],
        [trades({"A": 1, "B": 1, "C": 1}).select(pl.all().reverse())],
        [pl.concat([later, later])],
        [later.with_columns(pl.col("time").reverse())],
    ):
        with pytest.raises(DisorderError, match="rows must be sorted by symbol, time, sequence_number"):
            write_parquet(TRADES, frames, path)


def test_order_is_checked_by_a_time_that_is_the_last_of_the_order(tmp_path: Path) -> None:
    rows = rows_of(ANOMALIES, 4).with_columns(symbol=pl.lit("AAA")).sort("start_time")
    assert rows["start_time"].n_unique() == 4
    rows = ANOMALIES.conform(rows)
    assert write_parquet(ANOMALIES, [rows], tmp_path / "file.parquet") == 4
    for frames in ([rows.reverse()], [rows.slice(1, 1), rows.head(1)]):
        with pytest.raises(DisorderError, match="start_time goes back at AAA"):
            write_parquet(ANOMALIES, frames, tmp_path / "file.parquet")


def test_a_table_without_symbols_has_no_index(tmp_path: Path) -> None:
    path = tmp_path / "file.parquet"
    row = {
        "kind": "all",
        "truth": "source",
        "events": 1,
        "found": 1,
        "recall": 1.0,
        "rule_found": 0,
        "rule_recall": 0.0,
    }
    frame = EVALUATION.conform(pl.DataFrame([row] * (3 * GROUP)))
    assert write_parquet(EVALUATION, [frame], path) == 3 * GROUP
    assert symbol_counts(pq.read_metadata(path)) == {}
    assert Selection.of(pq.read_metadata(path), None).slices == [(0, 3 * GROUP)]
    assert write_parquet(ANOMALIES, [], path) == 0
    assert symbol_counts(pq.read_metadata(path)) == {}


@pytest.mark.parametrize(
    "words",
    [["b", "a", "b", "c"], ["a", None, "b", "b", None, "a"], [None, "z", "z", None, "y"], [None, None], ["a"]],
)
def test_a_dictionary_holds_the_words_of_its_rows_in_order(words: list[str | None]) -> None:
    made = _dictionary(pl.Series(words, dtype=pl.Categorical))
    assert made.to_pylist() == words
    assert made.dictionary.to_pylist() == sorted({word for word in words if word is not None})


def test_each_kind_of_column_is_encoded_and_compressed_in_its_way(tmp_path: Path) -> None:
    """Times and counters as bare deltas, sizes and codes with their bytes split, prices plain, words as a dictionary."""
    path = tmp_path / "file.parquet"
    write_parquet(TRADES, [trades({"A": 10}).with_columns(id=pl.lit("free text"))], path)
    group = pq.read_metadata(path).row_group(0)
    columns = {group.column(at).path_in_schema: group.column(at) for at in range(group.num_columns)}
    for name, encoding, compression in (
        ("time", "DELTA_BINARY_PACKED", "UNCOMPRESSED"),
        ("sequence_number", "DELTA_BINARY_PACKED", "UNCOMPRESSED"),
        ("size", "BYTE_STREAM_SPLIT", "LZ4"),
        ("exchange", "BYTE_STREAM_SPLIT", "LZ4"),
        ("price", "PLAIN", "LZ4"),
        ("symbol", "RLE_DICTIONARY", "LZ4"),
        ("id", "PLAIN", "ZSTD"),
    ):
        assert encoding in columns[name].encodings, name
        assert columns[name].compression == compression, name
    assert "BYTE_STREAM_SPLIT" not in columns["price"].encodings
    assert {name for name, column in columns.items() if column.is_stats_set} == {"symbol", "time", "sequence_number"}
