"""Broken files and broken rows: each gets a clear error or a place in quarantine, and the rest of the day loads."""

import gzip
from collections import deque
from pathlib import Path

import fsspec
import numpy as np
import polars as pl
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from tapewatch.feeds.files import reader
from tapewatch.feeds.files.blocks import read_blocks
from tapewatch.feeds.files.source import FlatFileSource
from tapewatch.feeds.source import SourceError
from tapewatch.market.instruments import Partition
from tapewatch.market.tables.tape import QUARANTINE
from tests.support.flat_days import HEADERS, OPTIONS, STOCKS, noon, put, row, text

_TRADES = HEADERS[STOCKS.market, "trades"]


def _sound(table: str, n: int = 4) -> list[dict[str, object]]:
    return [row(STOCKS, table, (60 if n < 100 else 1) * i, sequence_number=i + 1) for i in range(n)]


def _broken(table: str, **values: object) -> dict[str, object]:
    return row(STOCKS, table, 90, **{"sequence_number": 99, **values})


@pytest.mark.parametrize(
    ("table", "values", "reason"),
    [
        ("trades", {"price": 0}, "price: 0.0 is no finite number above zero"),
        ("trades", {"price": "-3.5"}, "price: -3.5 is no finite number above zero"),
        ("trades", {"price": "nan"}, "price: NaN is no finite number above zero"),
        ("trades", {"price": "1e400"}, "price: inf is no finite number above zero"),
        ("trades", {"price": "12.3.4"}, "price: '12.3.4' is not a number"),
        ("trades", {"price": ""}, "price:  is empty"),
        ("trades", {"size": "-1"}, "size: -1.0 is no finite number from zero up"),
        ("trades", {"size": "many"}, "size: 'many' is not a number"),
        ("trades", {"ticker": ""}, "ticker:  is empty"),
        ("trades", {"exchange": 70_000}, "exchange: '70000' is not a whole number in range"),
        ("trades", {"sequence_number": "4.5"}, "sequence_number: '4.5' is not a whole number in range"),
        ("trades", {"sip_timestamp": ""}, "sip_timestamp:  is empty"),
        ("trades", {"sip_timestamp": "9" * 25}, "sip_timestamp"),
        ("trades", {"sip_timestamp": noon(STOCKS, 86_400)}, "lies after the day ends, 2024-03-06T05:00:00Z"),
        ("trades", {"sip_timestamp": noon(STOCKS, -86_400)}, "lies before the day begins, 2024-03-05T05:00:00Z"),
        ("quotes", {"bid_price": "-0.01"}, "bid_price: -0.01 is no finite number from zero up"),
        ("quotes", {"ask_size": "-1"}, "ask_size: -1.0 is no finite number from zero up"),
        ("bars", {"high": 8.5}, "high: 8.5 lies below low"),
        ("bars", {"open": 0, "low": 0}, "open: 0.0 is no finite number above zero"),
        ("bars", {"close": 12}, "close: 12.0 lies outside low and high"),
    ],
)
def test_a_broken_row_is_quarantined_whole(tmp_path: Path, table: str, values: dict[str, object], reason: str) -> None:
    rows = _sound(table)
    path = put(tmp_path, STOCKS, table, [*rows[:2], _broken(table, **values), *rows[2:]])
    load = getattr(FlatFileSource(str(tmp_path)), table)(STOCKS)
    frame = pl.concat(load)
    assert frame["time"].to_physical().to_list() == [noon(STOCKS, 60 * i) for i in range(4)]
    QUARANTINE.check(load.quarantine)
    (refused,) = load.quarantine.to_dicts()
    assert (refused["source"], refused["line"]) == (path, 4)
    assert reason in refused["reason"]
    with gzip.open(path, "rt") as stream:
        assert refused["raw"] == stream.read().splitlines()[3]
    assert load.source_rows == 5


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("AAPL,,0,11,1", "5 fields, expected 13"),
        ("", "0 fields, expected 13"),
        ("x," * 20, "21 fields, expected 13"),
        ('AAPL,"12,37,0,11', "quoting is broken"),
        ("AAPL,,0,11,7,1,1,1,1", "9 fields, expected 13"),
    ],
)
def test_a_malformed_line_is_quarantined(tmp_path: Path, line: str, reason: str) -> None:
    rows = _sound("trades")
    put(tmp_path, STOCKS, "trades", [rows[0], line, *rows[1:]])
    load = FlatFileSource(str(tmp_path)).trades(STOCKS)
    assert pl.concat(load).height == 4
    (refused,) = load.quarantine.to_dicts()
    assert (refused["line"], refused["raw"]) == (3, line)
    assert reason in refused["reason"]


def test_a_short_line_without_a_last_column_is_not_mistaken_for_a_row(tmp_path: Path) -> None:
    rows = [row(STOCKS, "trades", i, sequence_number=i + 1, trf_timestamp="") for i in range(100)]
    lines = text(STOCKS, "trades", rows).splitlines()
    lines[50] = lines[50].removesuffix(",")
    put(tmp_path, STOCKS, "trades", "\n".join(lines))
    load = FlatFileSource(str(tmp_path)).trades(STOCKS)
    assert pl.concat(load).height == 99
    assert load.quarantine["line"].to_list() == [51]


def test_invalid_utf_8_is_quarantined(tmp_path: Path) -> None:
    content = text(STOCKS, "trades", _sound("trades")).encode() + b"AA\xffL,,0\n"
    path = Path(put(tmp_path, STOCKS, "trades", []))
    path.write_bytes(gzip.compress(content))
    load = FlatFileSource(str(tmp_path)).trades(STOCKS)
    assert pl.concat(load).height == 4
    assert load.quarantine["reason"].to_list() == ["not UTF-8 text: byte 0xff at position 2"]


def test_a_time_in_the_future(tmp_path: Path) -> None:
    put(tmp_path, STOCKS, "trades", _sound("trades"))
    load = FlatFileSource(str(tmp_path), clock=lambda: noon(STOCKS, 100)).trades(STOCKS)
    assert pl.concat(load).height == 2
    assert load.quarantine["line"].to_list() == [4, 5]
    assert load.quarantine["reason"].str.ends_with("lies in the future").all()


def test_many_faults_among_many_rows_keep_their_lines(tmp_path: Path) -> None:
    rows: list[dict[str, object] | str] = list(_sound("trades", 3000))
    broken = {7: "x", 8: "y,z", 1500: "q" * 50, 2999: ",,,"}
    for at, line in broken.items():
        rows[at] = line
    rows[100] = _broken("trades", price=0)
    put(tmp_path, STOCKS, "trades", rows)
    load = FlatFileSource(str(tmp_path), block_bytes=10_000).trades(STOCKS)
    assert pl.concat(load).height == 2995
    assert load.quarantine["line"].sort().to_list() == sorted(at + 2 for at in (*broken, 100))
    assert load.source_rows == 3000


@pytest.mark.parametrize("share", [0.2, 0.5, 0.99])
def test_a_truncated_gzip_reports_the_position(tmp_path: Path, share: float) -> None:
    path = Path(put(tmp_path, STOCKS, "trades", _sound("trades", 2000)))
    packed = path.read_bytes()
    path.write_bytes(packed[: int(len(packed) * share)])
    with pytest.raises(
        SourceError, match=rf"2024-03-05\.csv\.gz is truncated.*byte {int(len(packed) * share):,} .*unpacked"
    ):
        list(FlatFileSource(str(tmp_path)).trades(STOCKS))


def test_damage_inside_a_gzip(tmp_path: Path) -> None:
    path = Path(put(tmp_path, STOCKS, "trades", _sound("trades", 2000)))
    packed = bytearray(path.read_bytes())
    packed[len(packed) // 2] ^= 0xFF
    path.write_bytes(packed)
    with pytest.raises(SourceError, match=r"2024-03-05\.csv\.gz is damaged"):
        list(FlatFileSource(str(tmp_path)).trades(STOCKS))


@pytest.mark.parametrize("content", [b"", b"\n"])
def test_an_empty_file(tmp_path: Path, content: bytes) -> None:
    path = Path(put(tmp_path, STOCKS, "trades", [], ".csv"))
    path.write_bytes(content)
    with pytest.raises(SourceError, match="empty: not even a header"):
        list(FlatFileSource(str(tmp_path)).trades(STOCKS))


def test_a_file_named_gz_that_is_not_gzip(tmp_path: Path) -> None:
    path = Path(put(tmp_path, STOCKS, "trades", []))
    path.write_text(text(STOCKS, "trades", _sound("trades")))
    with pytest.raises(SourceError, match="damaged"):
        list(FlatFileSource(str(tmp_path)).trades(STOCKS))


def test_a_header_without_rows_is_an_empty_day(tmp_path: Path) -> None:
    put(tmp_path, STOCKS, "trades", [])
    load = FlatFileSource(str(tmp_path)).trades(STOCKS)
    assert sum(frame.height for frame in load) == load.source_rows == 0


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    put(tmp_path, STOCKS, "trades", _TRADES.replace(",price", "").replace(",sip_timestamp", "") + "\n")
    with pytest.raises(SourceError, match=r"2024-03-05\.csv\.gz: the header lacks price, sip_timestamp"):
        list(FlatFileSource(str(tmp_path)).trades(STOCKS))


def test_a_doubled_column_is_named(tmp_path: Path) -> None:
    put(tmp_path, STOCKS, "trades", _TRADES + ",price\n")
    with pytest.raises(SourceError, match="price twice"):
        list(FlatFileSource(str(tmp_path)).trades(STOCKS))


def test_too_many_refused_rows_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "QUARANTINE_LIMIT", 50)
    put(tmp_path, STOCKS, "trades", [row(STOCKS, "trades", 86_400 + i, sequence_number=i) for i in range(60)])
    with pytest.raises(SourceError, match=r"more than 50 rows refused.*first, line 2: sip_timestamp"):
        list(FlatFileSource(str(tmp_path)).trades(STOCKS))


@pytest.mark.timeout(60)
def test_errors_of_the_file_system_reach_the_reader() -> None:
    class Lost(MemoryFileSystem):
        def _open(self, path: str, mode: str = "rb", **options: object) -> object:
            # Clients of object stores have their own errors.
            raise RuntimeError("the payload is not complete")

    with pytest.raises(RuntimeError, match="not complete"):
        list(read_blocks(Lost(), "/a.csv"))


@pytest.mark.parametrize("block_bytes", [40, 100, 4096])
@pytest.mark.parametrize("held", [1, 2, 3])
def test_blocks_are_the_file_whatever_their_size(tmp_path: Path, block_bytes: int, held: int) -> None:
    random = np.random.default_rng(block_bytes)
    lines = [random.bytes(n).hex().encode() + b"\n" for n in random.integers(0, 90, 2000)]
    content = b"".join(lines) + b"no newline at the end"
    members = gzip.compress(content[:9000]) + gzip.compress(content[9000:]) + bytes(512)
    for name, packed in (("a.csv.gz", members), ("a.csv", content)):
        (tmp_path / name).write_bytes(packed)
        in_hand: deque[memoryview] = deque()
        read = b""
        for block in read_blocks(fsspec.filesystem("file"), str(tmp_path / name), block_bytes, held):
            assert bytes(block[-1:]) == b"\n"
            in_hand.append(block)
            if len(in_hand) == held:
                read += bytes(in_hand.popleft())
        assert read + b"".join(map(bytes, in_hand)) == content + b"\n"


_MEGABYTE = 2**20


def _bomb(root: Path, *parts: bytes, repeat: int) -> Path:
    """A packed file of the header and `repeat` times the parts, tiny however long."""
    path = Path(put(root, STOCKS, "trades", ""))
    packed = [gzip.compress(part) for part in parts]
    path.write_bytes(gzip.compress(f"{_TRADES}\n".encode()) + b"".join(packed) * repeat)
    return path


@pytest.mark.long
@pytest.mark.parametrize(
    ("part", "reason"),
    [
        (b"0" * _MEGABYTE, r"line 2: a line is longer than 1,048,576 bytes, so it is no flat file"),
        (bytes(_MEGABYTE), r"line 2: a line is longer than 1,048,576 bytes"),
        (b"," * _MEGABYTE, r"line 2: a line is longer than 1,048,576 bytes"),
        (b"\n" * _MEGABYTE, r"more than 2,000 rows refused.*first, line 2: 0 fields, expected 13"),
        (b"0\n" * (_MEGABYTE // 2), r"more than 2,000 rows refused.*first, line 2: 1 fields, expected 13"),
    ],
    ids=["zeros", "NULs", "commas", "blank lines", "short lines"],
)
def test_a_packed_file_of_gigabytes_of_nothing_is_refused_early(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: bytes, reason: str
) -> None:
    monkeypatch.setattr(reader, "QUARANTINE_LIMIT", 2_000)
    path = _bomb(tmp_path, part, repeat=2_000)
    assert path.stat().st_size < 10 * _MEGABYTE
    with pytest.raises(SourceError, match=reason) as raised:
        list(FlatFileSource(str(tmp_path)).trades(STOCKS))
    assert str(path) in str(raised.value)


def test_an_endless_line_is_named_by_its_number(tmp_path: Path) -> None:
    path = Path(put(tmp_path, STOCKS, "trades", _sound("trades", 70)))
    path.write_bytes(path.read_bytes() + gzip.compress(b"1" * 3 * _MEGABYTE) * 4)
    with pytest.raises(SourceError, match=r"line 72: a line is longer"):
        list(FlatFileSource(str(tmp_path), block_bytes=1000).trades(STOCKS))


def test_a_long_line_is_quarantined_with_its_beginning(tmp_path: Path) -> None:
    rows = _sound("trades")
    put(tmp_path, STOCKS, "trades", [rows[0], "x" * 200_000, *rows[1:]])
    load = FlatFileSource(str(tmp_path)).trades(STOCKS)
    assert pl.concat(load).height == 4
    (refused,) = load.quarantine.to_dicts()
    assert (refused["line"], refused["reason"]) == (3, "a line of 200,001 bytes; 65,536 are the most")
    assert len(refused["raw"]) < 2_100


def test_members_one_after_another_and_one_cut_short(tmp_path: Path) -> None:
    lines = text(STOCKS, "trades", _sound("trades", 3000)).encode()
    members = [gzip.compress(lines[start : start + 50_000]) for start in range(0, len(lines), 50_000)]
    path = Path(put(tmp_path, STOCKS, "trades", ""))
    path.write_bytes(b"".join(members))
    assert pl.concat(FlatFileSource(str(tmp_path)).trades(STOCKS)).height == 3000
    whole = b"".join(members[:2])
    for cut in (5, 20, len(members[2]) // 2, len(members[2]) - 4):
        path.write_bytes(whole + members[2][:cut])
        with pytest.raises(SourceError, match=r"2024-03-05\.csv\.gz is (truncated|damaged)"):
            list(FlatFileSource(str(tmp_path)).trades(STOCKS))
    path.write_bytes(whole + members[2] + b"not gzip at all")
    with pytest.raises(SourceError, match="is damaged"):
        list(FlatFileSource(str(tmp_path)).trades(STOCKS))


@pytest.mark.parametrize("market", [STOCKS, OPTIONS])
@pytest.mark.parametrize("conditions", ["<b>x</b>", "12;37", "12,,37", "1e3", "-1"])
def test_one_bad_list_of_conditions_among_many_rows(tmp_path: Path, market: Partition, conditions: str) -> None:
    rows = [row(market, "trades", i / 10, conditions="12,37", sequence_number=i + 1) for i in range(3000)]
    rows[1234]["conditions"] = conditions
    put(tmp_path, market, "trades", rows)
    load = FlatFileSource(str(tmp_path), block_bytes=20_000).trades(market)
    assert pl.concat(load).height == 2999
    (refused,) = load.quarantine.to_dicts()
    assert refused["line"] == 1236
    assert refused["reason"] == f'conditions: {conditions} is no list of codes such as "12,37"'
