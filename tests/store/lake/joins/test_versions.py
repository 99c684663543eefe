"""Features computed again: a join as of an earlier moment gives what was known then, and plain readers see the newest rows."""

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from upath import UPath

from tapewatch.market.instruments import Market, Partition
from tapewatch.market.tables.tape import MICROSTRUCTURE
from tapewatch.store.durable import Staging
from tapewatch.store.lake.joins.objects import Source
from tapewatch.store.lake.joins.point_in_time import between, join_as_of, latest
from tapewatch.store.lake.lake import Lake
from tapewatch.store.lake.versions import forget, versions_path

DAY = Partition(dt.date(2024, 3, 5), Market.STOCKS)
OPEN = dt.datetime(2024, 3, 5, 14, 30, tzinfo=dt.UTC)
FOREVER = dt.datetime(2200, 1, 1, tzinfo=dt.UTC)
NS = pl.Datetime("ns", "UTC")
Row = tuple[str, int, float | None]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path)


def minutes(*rows: Row) -> pl.DataFrame:
    """Rows (symbol, minute, trade count) of the table; a minute is known at its end."""
    blank = {c.name: 0 for c in MICROSTRUCTURE.columns if not c.is_nullable}
    return MICROSTRUCTURE.conform(
        pl.DataFrame(
            [
                blank
                | {
                    "symbol": symbol,
                    "event_time": OPEN + dt.timedelta(minutes=minute),
                    "known_time": OPEN + dt.timedelta(minutes=minute + 1),
                    "return_bps": value,
                }
                for symbol, minute, value in rows
            ],
            schema_overrides={"return_bps": pl.Float64(), "event_time": NS, "known_time": NS},
        )
    )


def source(lake: Lake) -> Source:
    return Source(lake.root / "features" / "microstructure", ("symbol",))


def joined(lake: Lake, *asked: tuple[str, dt.datetime]) -> list[float | None]:
    rows = pl.DataFrame({"symbol": [s for s, _ in asked], "time": [t for _, t in asked]}).cast({"time": NS})
    return join_as_of(source(lake), rows, {"return_bps": pl.Float64()})["return_bps"].to_list()


def at(minute: float) -> dt.datetime:
    return OPEN + dt.timedelta(minutes=minute)


def newest(lake: Lake) -> list[tuple[str, float | None]]:
    return lake.read(MICROSTRUCTURE, DAY).select(pl.col("symbol").cast(pl.String), "return_bps").rows()


def versions(lake: Lake) -> int:
    path = versions_path(lake.path(MICROSTRUCTURE, DAY))
    return pl.read_parquet(path.read_bytes()).height if path.exists() else 0


def test_a_correction_changes_no_join_before_it_came(lake: Lake) -> None:
    lake.write(MICROSTRUCTURE, DAY, minutes(("A", 0, 1.0), ("A", 1, 2.0), ("B", 0, 5.0)))
    before = dt.datetime.now(dt.UTC)
    lake.write(MICROSTRUCTURE, DAY, minutes(("A", 0, 1.0), ("A", 1, 2.5), ("B", 0, 5.0)))
    corrected = dt.datetime.now(dt.UTC)
    assert newest(lake) == [("A", 1.0), ("A", 2.5), ("B", 5.0)]
    assert lake.partitions(MICROSTRUCTURE) == [DAY]
    assert versions(lake) == 1
    moments = [("A", at(1)), ("A", at(2)), ("A", at(3)), ("A", before), ("A", FOREVER), ("B", FOREVER)]
    assert joined(lake, *moments) == [1.0, 2.0, 2.0, 2.0, 2.5, 5.0]
    # Twice equals once; a second correction, and one back to the first value, keep what was known between them.
    lake.write(MICROSTRUCTURE, DAY, lake.read(MICROSTRUCTURE, DAY))
    assert versions(lake) == 1
    lake.write(MICROSTRUCTURE, DAY, minutes(("A", 0, 1.0), ("A", 1, 2.0), ("B", 0, 5.0)))
    assert joined(lake, ("A", at(2)), ("A", corrected), ("A", FOREVER)) == [2.0, 2.5, 2.0]


def test_latest_and_between_give_the_version_of_their_moment(lake: Lake) -> None:
    lake.write(MICROSTRUCTURE, DAY, minutes(("A", 0, 1.0), ("A", 1, 2.0)))
    before = dt.datetime.now(dt.UTC)
    lake.write(MICROSTRUCTURE, DAY, minutes(("A", 0, 1.5), ("A", 1, 2.0)))
    columns, since = {"return_bps": pl.Float64()}, dt.datetime(2024, 3, 1, tzinfo=dt.UTC)
    table = Source(lake.root / "features" / "microstructure", ("symbol",), ttl=dt.timedelta(days=9))
    assert latest(table, columns, since, at(1))["return_bps"].to_list() == [1.0]
    assert between(table, columns, since, before)["return_bps"].to_list() == [1.0, 2.0]
    now = between(table, columns, since, FOREVER)
    assert now["return_bps"].to_list() == [1.5, 2.0]
    # The correction is known from when it came: so the online store takes it for newer.
    assert now["known_time"][0] > before > now["known_time"][1]


def test_rows_that_go_and_come_are_seen_from_then_on(lake: Lake) -> None:
    lake.write(MICROSTRUCTURE, DAY, minutes(("A", 0, 1.0), ("A", 2, 3.0)))
    # Minute 1 comes late; minute 2 goes.
    lake.write(MICROSTRUCTURE, DAY, minutes(("A", 0, 1.0), ("A", 1, 2.0)))
    assert joined(lake, ("A", at(1)), ("A", at(2)), ("A", at(3)), ("A", FOREVER)) == [1.0, 1.0, 3.0, 2.0]
    # Another symbol and a stretch that is new are no corrections.
    lake.write(MICROSTRUCTURE, DAY, minutes(("A", 0, 1.0), ("A", 1, 2.0), ("A", 9, 4.0), ("B", 0, 7.0)))
    assert joined(lake, ("A", at(10)), ("B", at(1))) == [4.0, 7.0]


def test_the_last_minutes_of_a_growing_day_were_not_whole(lake: Lake) -> None:
    lake.write(MICROSTRUCTURE, DAY, minutes(("A", 0, 1.0), ("A", 7, 2.0), ("A", 8, 3.0)))
    lake.write(MICROSTRUCTURE, DAY, minutes(("A", 0, 1.5), ("A", 7, 2.5), ("A", 8, 3.5), ("A", 9, 4.0)))
    assert joined(lake, ("A", at(1)), ("A", at(8)), ("A", at(9)), ("A", at(10))) == [1.0, 2.5, 3.5, 4.0]


@pytest.mark.parametrize("value", [None, -0.0, 1e-320])
def test_bits_count_not_values(lake: Lake, value: float | None) -> None:
    lake.write(MICROSTRUCTURE, DAY, minutes(("A", 0, 0.0)))
    lake.write(MICROSTRUCTURE, DAY, minutes(("A", 0, value)))
    first, last = joined(lake, ("A", at(1)), ("A", FOREVER))
    assert str(first) == "0.0"
    assert str(last) == str(value)


def test_a_write_that_is_killed_loses_nothing(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    lake.write(MICROSTRUCTURE, DAY, minutes(("A", 0, 1.0), ("A", 1, 2.0)))
    corrected = minutes(("A", 0, 1.5), ("A", 1, 2.0))
    swap_in: Callable[[Staging], int] = Staging.swap_in

    def killed_before_the_rows(self: Staging) -> int:
        if "versions" not in str(self._target):
            raise KeyboardInterrupt
        return swap_in(self)

    monkeypatch.setattr(Staging, "swap_in", killed_before_the_rows)
    with pytest.raises(KeyboardInterrupt):
        lake.write(MICROSTRUCTURE, DAY, corrected)
    monkeypatch.undo()
    assert newest(lake) == [("A", 1.0), ("A", 2.0)]
    killed = dt.datetime.now(dt.UTC)
    assert joined(lake, ("A", at(1)), ("A", at(2)), ("A", killed)) == [1.0, 2.0, 2.0]
    lake.write(MICROSTRUCTURE, DAY, corrected)
    assert joined(lake, ("A", at(1)), ("A", at(2)), ("A", FOREVER)) == [1.0, 2.0, 2.0]
    lake.write(MICROSTRUCTURE, DAY, minutes(("A", 0, 1.5)), allow_shrink=True)
    assert joined(lake, ("A", at(1)), ("A", at(2)), ("A", FOREVER)) == [1.0, 2.0, 1.5]


def test_versions_that_are_forgotten_leave_the_newest_rows(lake: Lake) -> None:
    lake.write(MICROSTRUCTURE, DAY, minutes(("A", 0, 1.0)))
    lake.write(MICROSTRUCTURE, DAY, minutes(("A", 0, 1.5)))
    assert joined(lake, ("A", at(1))) == [1.0]
    assert forget(lake.path(MICROSTRUCTURE, DAY))
    assert joined(lake, ("A", at(1))) == [1.5]
    assert not forget(lake.path(MICROSTRUCTURE, DAY))


def test_an_object_of_other_columns_is_another_definition(lake: Lake) -> None:
    lake.write(MICROSTRUCTURE, DAY, minutes(("A", 0, 1.0)))
    lake.write(MICROSTRUCTURE, DAY, minutes(("A", 0, 1.5)))
    path = Path(str(lake.path(MICROSTRUCTURE, DAY)))
    pl.read_parquet(path, hive_partitioning=False).drop(MICROSTRUCTURE.columns[-1].name).write_parquet(path)
    lake.write(MICROSTRUCTURE, DAY, minutes(("A", 0, 2.0)))
    assert versions(lake) == 0
    assert joined(lake, ("A", at(1))) == [2.0]


def test_versions_of_an_object_store_are_those_of_a_disk(tmp_path: Path) -> None:
    lakes = Lake(tmp_path), Lake(UPath(f"memory://{tmp_path.name}"))
    for lake in lakes:
        lake.write(MICROSTRUCTURE, DAY, minutes(("A", 0, 1.0), ("B", 3, 2.0)))
        lake.write(MICROSTRUCTURE, DAY, minutes(("A", 0, 1.5), ("B", 3, 2.0)))
        assert joined(lake, ("A", at(1)), ("A", FOREVER), ("B", at(5))) == [1.0, 1.5, 2.0]
