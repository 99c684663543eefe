"""Every column of every layout against every kind of damage: each line becomes a row or is quarantined, and no other line
changes."""

import csv
import gzip
import io
import random
import zlib
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from tapewatch.feeds.files import columns, parsing
from tapewatch.feeds.files.layouts import LAYOUTS, bind
from tapewatch.feeds.files.source import FlatFileSource
from tapewatch.feeds.source import Load
from tapewatch.market.instruments import Market
from tests.support.flat_days import DAYS, HEADERS, TICKERS, noon, put, row, text

#: Values of one cell, as bytes of the file.
_CELLS = [
    b"", b" ", b"\t", b"\x00", b"0", b"-0", b"-1", b"+5", b"007", b"1.", b".5", b".", b"-", b"-.", b"1e5", b"1E-3", b"1e400",
    b"1e99999", b"-1e300", b"nan", b"inf", b"-inf", b"0x10", b"1_000", b"1,000", b'"1,000"', b'"1.5"', b"9" * 19, b"9" * 20,
    b"9" * 400, b"9223372036854775807", b"9223372036854775808", b"-9223372036854775808", b"127", b"128", b"32768",
    b"0." + b"3" * 40, b"12,37", b'"12,37"', b'"12,,37"', b'"12, 37"', b"12;37", b"[401]", b"<b>x</b>", b"=1+1", b"null",
    b"None", b"true", b"'", b'"', b'""', b'a"b', b'"a""b"', b'"a', b'"a" b', b"\r", b"5\r", b"\xff", b"\xc3\xa9", b"\xe2\x80\xa8",
    b"\xef\xbb\xbf5", b"\xd9\xa1\xd9\xa2", b" 5", b"5 ", b'" 5 "', b"A" * 5_000, b"x\x1by", b"2024-03-05", b"\xf0\x9f\x92\xb0",
]  # fmt: skip
#: Whole lines, from a sound one.
_LINES = [
    lambda line: b"",
    lambda line: b",",
    lambda line: line + b",",
    lambda line: line + b",1,2,3",
    lambda line: line.rsplit(b",", 1)[0],
    lambda line: line.split(b",", 1)[1],
    lambda line: b'"' + line,
    lambda line: line + b'"',
    lambda line: line.replace(b",", b";"),
    lambda line: line.replace(b",", b"\t"),
    lambda line: line + b"\r",
    lambda line: line + b"\r\r",
    lambda line: b"\xef\xbb\xbf" + line,
    lambda line: line[::-1],
    lambda line: line * 3,
    lambda line: b"\x00" * len(line),
    lambda line: line.upper().replace(b"0", b"O"),
    lambda line: b"," * 100_000,
]


def _sound(market: Market, table: str, rows: int) -> list[bytes]:
    day = DAYS[market]
    made = [
        row(day, table, i, ticker=TICKERS[market], sequence_number=i + 1, report_sequence=i, id=f"a{i}")
        for i in range(rows)
    ]
    return text(day, table, made).encode().splitlines()


def _load(root: Path, market: Market, table: str, lines: list[bytes]) -> tuple[pl.DataFrame, Load]:
    path = Path(put(root, DAYS[market], table, ""))
    path.write_bytes(gzip.compress(b"\n".join(lines) + b"\n", 1))
    source = FlatFileSource(str(root))
    date = DAYS[market]
    load = source.day_bars(market, date.date.year) if table == "day_bars" else getattr(source, table)(date)
    schema = LAYOUTS[market, table].table.schema
    return pl.concat([pl.DataFrame(schema=schema), *load]), load


def _check(root: Path, market: Market, table: str, damaged: list[bytes]) -> None:
    """Load sound lines with the damaged ones between them; every line is accounted for, and the sound ones are as alone."""
    sound = _sound(market, table, len(damaged) + 1)
    lines = [sound[0]]
    for good, bad in zip(sound[1:], damaged, strict=False):
        lines += [good, bad]
    frame, load = _load(root, market, table, [*lines, sound[-1]])
    LAYOUTS[market, table].table.check(frame, market)
    assert load.source_rows == frame.height + load.duplicates + load.quarantine.height == 2 * len(damaged) + 1
    refused = load.quarantine
    assert refused["line"].is_unique().all()
    assert (refused["reason"].str.len_chars() > 5).all()
    assert (refused["reason"].str.len_chars() < 400).all()
    assert (refused["raw"].str.len_bytes() < 10_000).all()
    # A damaged line may carry the identity of a sound one, which it then replaces: no more than that.
    whole = [line for line in refused["line"].to_list() if line % 2 == 0 or line == len(lines) + 1]
    assert all("replaced by line" in refused.filter(pl.col("line") == line)["reason"][0] for line in whole)


@pytest.mark.parametrize(("market", "table"), HEADERS)
def test_every_column_s_cell_lands_or_is_quarantined(tmp_path: Path, market: Market, table: str) -> None:
    width = HEADERS[market, table].count(",") + 1
    sound = _sound(market, table, 2 * width * len(_CELLS) + 2)
    # The lines of the second half, so that no damaged row is the copy of a sound one.
    lines = iter(sound[width * len(_CELLS) + 2 :])
    damaged = []
    for at in range(width):
        for cell in _CELLS:
            fields = next(lines).split(b",")
            fields[at] = cell
            damaged.append(b",".join(fields))
    _check(tmp_path, market, table, damaged)


@pytest.mark.parametrize(("market", "table"), HEADERS)
def test_a_line_lands_or_is_quarantined(tmp_path: Path, market: Market, table: str) -> None:
    sound = _sound(market, table, 2 * len(_LINES) + 2)
    _check(tmp_path, market, table, [change(sound[len(_LINES) + 2 + i]) for i, change in enumerate(_LINES)])


@pytest.mark.parametrize(("market", "table"), HEADERS)
def test_random_bytes_are_accounted_for(tmp_path: Path, market: Market, table: str) -> None:
    chance = random.Random(zlib.crc32(f"{market} {table}".encode()))  # noqa: S311 - a seed, so that failures repeat
    sound = _sound(market, table, 402)
    damaged = []
    for line in sound[202:]:
        changed = bytearray(line)
        for _ in range(chance.randint(1, 4)):
            kind, place = chance.randrange(3), chance.randrange(len(changed))
            byte = chance.choice([chance.randrange(256), *b',"\r0-.eE'])
            if kind == 0:
                changed[place] = byte
            elif kind == 1:
                changed.insert(place, byte)
            elif len(changed) > 1:
                del changed[place]
        damaged.append(bytes(changed).replace(b"\n", b"?"))
    _check(tmp_path, market, table, damaged)


@pytest.mark.parametrize(("market", "table"), HEADERS)
def test_the_scanner_reads_what_the_careful_parser_reads(market: Market, table: str) -> None:
    header = HEADERS[market, table].split(",")
    binding = bind(LAYOUTS[market, table], header, "file")
    sound = _sound(market, table, 3)[1]
    lines = [change(sound) + b"\n" for change in _LINES]
    for at in range(len(header)):
        for cell in _CELLS:
            fields = sound.split(b",")
            fields[at] = cell
            lines.append(b",".join(fields).replace(b"\n", b"?") + b"\n")
    block = b"".join(lines)
    plain = pl.concat(frame for frame, _, _ in columns.scan_lines(binding, memoryview(block), 0))
    assert plain.height > len(header)
    numbers = plain[columns.LINE].to_numpy()
    careful, bad = parsing._parse_carefully(binding, [lines[i] for i in numbers], numbers)
    assert bad == []
    texts = {pl.Categorical: pl.String}
    assert_frame_equal(plain.cast(texts), careful.cast(dict(plain.schema)).cast(texts))  # type: ignore[arg-type]


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_byte_order_mark_and_line_ends(tmp_path: Path, ending: str, mark: bytes) -> None:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator=ending)
    writer.writerows(csv.reader(line.decode() for line in _sound(Market.STOCKS, "trades", 50)))
    frame, load = _load(tmp_path, Market.STOCKS, "trades", (mark + out.getvalue().encode()).split(b"\n")[:-1])
    assert (frame.height, load.quarantine.height) == (50, 0)
    assert frame["time"].to_physical().to_list() == [noon(DAYS[Market.STOCKS], i) for i in range(50)]
