"""What was known at a time, against a search through all rows; corrections change nothing before they arrive."""

import datetime as dt
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from upath import UPath

from tapewatch.store.lake.joins.objects import Source, UnknownColumnError
from tapewatch.store.lake.joins.point_in_time import between, join_as_of, latest

START = dt.datetime(2024, 3, 4, tzinfo=dt.UTC)
COLUMNS = {"value": pl.Float64(), "count": pl.Int64()}
TIME = pl.Datetime("ns", "UTC")
MINUTE_NS = 60 * 10**9


def write(folder: Path, table: pl.DataFrame, group_rows: int = 7, *, is_sorted: bool = True) -> None:
    """The rows as the lake lays them out, by the date of their event, in small row groups."""
    for (date,), part in table.group_by(pl.col("event_time").dt.date()):
        target = folder / "market=stocks" / f"date={date}" / "part.parquet"
        target.parent.mkdir(parents=True, exist_ok=True)
        rows = part.sort("symbol", "event_time") if is_sorted else part.sample(fraction=1, shuffle=True, seed=1)
        rows.write_parquet(target, row_group_size=group_rows)


def rows_of(*rows: tuple[str, float, float, float]) -> pl.DataFrame:
    """Rows (symbol, minute of the event, minute in which it was known, value)."""
    return pl.DataFrame(
        {
            "symbol": [row[0] for row in rows],
            "event_time": [START + dt.timedelta(minutes=row[1]) for row in rows],
            "known_time": [START + dt.timedelta(minutes=row[2]) for row in rows],
            "value": [row[3] for row in rows],
            "count": [round(row[3]) for row in rows],
        }
    ).cast({"event_time": TIME, "known_time": TIME, "symbol": pl.Categorical})


def asked(*rows: tuple[str, float]) -> pl.DataFrame:
    return pl.DataFrame(
        {"symbol": [row[0] for row in rows], "time": [START + dt.timedelta(minutes=row[1]) for row in rows]}
    ).cast({"time": TIME})


def random_rows(seed: int) -> pl.DataFrame:
    """Three symbols over five days; every tenth row is corrected up to a day later, some rows are known late."""
    rng = np.random.default_rng(seed)
    minutes = np.sort(rng.choice(5 * 1440, 300, replace=False)).tolist()
    rows = []
    for minute in minutes:
        symbol = "ABC"[rng.integers(3)]
        known = minute + (1 if rng.random() < 0.8 else int(rng.integers(2, 300)))
        rows.append((symbol, minute, known, float(rng.normal())))
        if rng.random() < 0.1:
            rows.append((symbol, minute, known + int(rng.integers(1, 1440)), float(rng.normal())))
    return rows_of(*rows)


def searched(rows: pl.DataFrame, time: dt.datetime, symbol: str, ttl: dt.timedelta) -> float | None:
    """The definition: of the rows known by then the one of the latest event, of its versions the one known last."""
    seen = rows.filter(pl.col("symbol").cast(pl.String) == symbol, pl.col("known_time") <= time)
    seen = seen.sort("event_time", "known_time").tail(1).filter(pl.col("event_time") >= time - ttl)
    return seen["value"][0] if seen.height else None


@pytest.mark.parametrize(("seed", "kind"), [(0, "corrected"), (1, "corrected"), (2, "in order"), (3, "shuffled")])
def test_the_join_finds_what_a_search_through_all_rows_finds(tmp_path: Path, seed: int, kind: str) -> None:
    rows, ttl = random_rows(seed), dt.timedelta(hours=9)
    if kind == "in order":
        rows = rows.sort("known_time").unique(["symbol", "event_time"], keep="first", maintain_order=True)
        rows = rows.with_columns(known_time=pl.col("event_time") + dt.timedelta(minutes=1))
    write(tmp_path, rows, is_sorted=kind != "shuffled")
    rng = np.random.default_rng(seed)
    wanted = asked(*(("ABCX"[rng.integers(4)], float(rng.integers(-100, 6 * 1440))) for _ in range(400)))
    found = join_as_of(Source(UPath(tmp_path), ("symbol",), ttl=ttl), wanted, COLUMNS)
    expected = [searched(rows, row["time"], row["symbol"], ttl) for row in wanted.to_dicts()]
    assert found["value"].to_list() == expected
    assert 100 < found["value"].null_count() < 350
    assert found.schema == pl.Schema(COLUMNS)


def test_an_object_store_gives_the_same(tmp_path: Path) -> None:
    rows = random_rows(6)
    write(tmp_path, rows)
    there = UPath("memory://") / tmp_path.name
    for path in tmp_path.glob("market=*/date=*/part.parquet"):
        target = there / path.relative_to(tmp_path).as_posix()
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    wanted = asked(*((symbol, float(minute)) for symbol in "ABC" for minute in range(0, 7200, 90)))
    here, far = (join_as_of(Source(folder, ("symbol",)), wanted, COLUMNS) for folder in (UPath(tmp_path), there))
    assert here["value"].drop_nulls().len() > 200
    assert far.equals(here)


def test_a_correction_is_seen_from_its_arrival_and_changes_no_earlier_join(tmp_path: Path) -> None:
    first, corrected = ("A", 0, 1, 10.0), ("A", 0, 45, 11.0)
    source = Source(UPath(tmp_path), ("symbol",), ttl=dt.timedelta(days=1))
    wanted = asked(("A", 0.5), ("A", 1), ("A", 44.9), ("A", 45), ("A", 90))
    write(tmp_path, rows_of(first))
    assert join_as_of(source, wanted, COLUMNS)["value"].to_list() == [None, 10, 10, 10, 10]
    write(tmp_path, rows_of(first, corrected))
    assert join_as_of(source, wanted, COLUMNS)["value"].to_list() == [None, 10, 10, 11, 11]
    # Joined by the event's time it would be seen three quarters of an hour early.
    assert join_as_of(source, wanted, COLUMNS, as_known=False)["value"].to_list() == [11] * 5


@pytest.mark.parametrize("minute", [900, 2500, 5000])
def test_whatever_becomes_known_later_changes_no_join(tmp_path: Path, minute: int) -> None:
    rows, moment = random_rows(4), START + dt.timedelta(minutes=minute)
    known = rows.filter(pl.col("known_time") <= moment)
    others = random_rows(5).filter(pl.col("known_time") > moment).with_columns(pl.col("value") + 100)
    wanted = asked(*((symbol, float(at)) for symbol in "ABC" for at in range(0, minute + 1, 50)))
    found = []
    for number, table in enumerate((known, rows, pl.concat([known, others]))):
        write(tmp_path / str(number), table)
        source = Source(UPath(tmp_path / str(number)), ("symbol",), ttl=dt.timedelta(hours=20))
        found.append(join_as_of(source, wanted, COLUMNS))
    assert found[0]["value"].drop_nulls().len() > 10
    assert found[1].equals(found[0])
    assert found[2].equals(found[0])


def test_a_late_correction_of_an_earlier_minute_does_not_replace_the_latest(tmp_path: Path) -> None:
    write(tmp_path, rows_of(("A", 0, 1, 10.0), ("A", 5, 6, 20.0), ("A", 0, 7, 11.0)))
    source = Source(UPath(tmp_path), ("symbol",))
    assert join_as_of(source, asked(("A", 6), ("A", 8)), COLUMNS)["value"].to_list() == [20, 20]


def test_latest_and_between_count_from_when_rows_were_known(tmp_path: Path) -> None:
    write(tmp_path, rows_of(("A", 0, 1, 10.0), ("A", 5, 30, 20.0), ("B", 6, 7, 30.0), ("B", 6, 40, 31.0)))
    source = Source(UPath(tmp_path), ("symbol",), ttl=dt.timedelta(days=1))

    def minutes(first: float, last: float) -> tuple[dt.datetime, dt.datetime]:
        return START + dt.timedelta(minutes=first), START + dt.timedelta(minutes=last)

    assert latest(source, COLUMNS, *minutes(0, 29)).select("symbol", "value").rows() == [("A", 10), ("B", 30)]
    assert latest(source, COLUMNS, *minutes(29, 60)).select("symbol", "value").rows() == [("A", 20), ("B", 31)]
    assert between(source, COLUMNS, *minutes(1, 40))["value"].to_list() == [10, 20, 30, 31]
    assert latest(source, COLUMNS, *minutes(50, 60)).is_empty()
    # Without a key every row is there too, as Feast's monitoring asks for them.
    assert between(Source(UPath(tmp_path), ()), COLUMNS, *minutes(1, 40))["value"].to_list() == [10, 20, 30, 31]


def test_an_unknown_column_is_named_and_a_column_that_came_later_is_null(tmp_path: Path) -> None:
    write(tmp_path, rows_of(("A", 0, 1, 10.0)).drop("count"))
    source = Source(UPath(tmp_path), ("symbol",))
    with pytest.raises(UnknownColumnError, match="has no column count"):
        join_as_of(source, asked(("A", 5)), COLUMNS)
    write(tmp_path, rows_of(("A", 1440, 1441, 20.0)))
    assert join_as_of(source, asked(("A", 5), ("A", 2000)), COLUMNS)["count"].to_list() == [None, 20]


def test_an_empty_table_and_no_rows_give_nulls(tmp_path: Path) -> None:
    source = Source(UPath(tmp_path / "none"), ("symbol",))
    assert join_as_of(source, asked(("A", 5)), COLUMNS).rows() == [(None, None)]
    assert join_as_of(source, asked(), COLUMNS).schema == pl.Schema(COLUMNS)
    assert latest(source, COLUMNS, START, START).is_empty()
