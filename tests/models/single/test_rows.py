"""Reading a CSV of times and values row by row."""

import math

import pytest

from models.single.rows import Columns, RowError, blocks, read, time_of

LINES = ["timestamp,value\n", "2024-01-01,1\n", "\n", "2024-01-02,\n"]


@pytest.mark.parametrize(
    ("cell", "seconds"),
    [
        ("2024-01-01T00:00:00", 1_704_067_200.0),
        ("2024-01-01 00:00:00.250000", 1_704_067_200.25),
        ("2024-01-01T01:00:00+01:00", 1_704_067_200.0),
        ("2024-01-01T00:00:00Z", 1_704_067_200.0),
        ("2024-01-01", 1_704_067_200.0),
        ("1704067200", 1_704_067_200.0),
        ("1704067200000", 1_704_067_200.0),
        ("1704067200000000", 1_704_067_200.0),
        ("1704067200000000000", 1_704_067_200.0),
        (" 17 ", 17.0),
        ("-3.5", -3.5),
    ],
)
def test_times_in_every_spelling(cell: str, seconds: float) -> None:
    assert time_of(cell) == pytest.approx(seconds, abs=1e-6)


def test_blank_lines_are_no_rows_and_empty_cells_are_missing_values() -> None:
    first, second = read(LINES, "a.csv", Columns())
    assert (first.stamp, first.cell, first.value) == ("2024-01-01", "1", 1.0)
    assert math.isnan(second.value)


def test_columns_are_found_by_name_behind_a_byte_order_mark() -> None:
    lines = ["\ufeffprice,other,at\n", "1.5,x,3\n"]
    (row,) = read(lines, "a.csv", Columns("at", "price"))
    assert (row.time, row.value) == (3.0, 1.5)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], r"a.csv, line 1: no column 'timestamp' \(there is: nothing\)"),
        (["time,value\n"], r"no column 'timestamp' \(there is: time, value\)"),
        ([*LINES, "2024-01-03,abc\n"], "a.csv, line 5: 'abc' is no number"),
        ([*LINES, "soon,1\n"], "a.csv, line 5: 'soon' is no time"),
        ([*LINES, ",1\n"], "a.csv, line 5: '' is no time"),
        ([*LINES, "inf,1\n"], "a.csv, line 5: 'inf' is no time"),
        ([*LINES, "2024-01-03\n"], "a.csv, line 5: 1 cells, and the header has more"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_line(lines: list[str], message: str) -> None:
    with pytest.raises(RowError, match=message):
        list(read(lines, "a.csv", Columns()))


def test_rows_before_one_that_cannot_be_read_are_kept() -> None:
    found = blocks(read([*LINES, "2024-01-03,abc\n"], "a.csv", Columns()), 1000)
    assert len(next(found)) == 2
    with pytest.raises(RowError):
        next(found)
