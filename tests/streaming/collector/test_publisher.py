"""Live features are pushed newest first of each symbol, in order; a store that is away costs nothing but the older ones."""

import threading

import polars as pl

from tapewatch.market.schema import Table
from tapewatch.market.tables.features import INDICATORS
from tapewatch.market.tables.tape import MICROSTRUCTURE
from tapewatch.streaming.collector.publisher import Publisher


def rows_of(*rows: tuple[str, int, float]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=["symbol", "event_time", "value"], orient="row")


def test_the_newest_row_of_each_symbol_is_pushed_and_corrections_follow() -> None:
    pushed: list[pl.DataFrame] = []
    publisher = Publisher(lambda _, rows: pushed.append(rows))
    publisher.put(MICROSTRUCTURE, rows_of(("A", 1, 10.0), ("A", 2, 20.0), ("B", 1, 30.0)))
    publisher.put(MICROSTRUCTURE, rows_of(("A", 2, 21.0)))
    publisher.put(MICROSTRUCTURE, rows_of())
    publisher.start()
    publisher.close(60)
    assert [frame.sort("symbol").rows() for frame in pushed] == [[("A", 2, 21.0), ("B", 1, 30.0)]]
    assert publisher.rows_pushed == 2


def test_each_table_keeps_its_own_newest_rows() -> None:
    pushed: list[tuple[str, pl.DataFrame]] = []
    publisher = Publisher(lambda table, rows: pushed.append((table.name, rows)))
    for at in (1, 2):
        publisher.put(MICROSTRUCTURE, rows_of(("A", at, 10.0)))
        publisher.put(INDICATORS, rows_of(("A", at, 20.0)))
    publisher.start()
    publisher.close(60)
    assert [(name, rows.rows()) for name, rows in pushed] == [
        ("microstructure", [("A", 2, 10.0)]),
        ("indicators", [("A", 2, 20.0)]),
    ]


def test_rows_wait_while_the_store_is_away_and_newer_ones_replace_them() -> None:
    is_tried, comes_back = threading.Event(), threading.Event()
    is_pushed = threading.Event()
    pushed: list[pl.DataFrame] = []

    def push(_: Table, rows: pl.DataFrame) -> None:
        if not comes_back.is_set():
            is_tried.set()
            comes_back.wait(180)
            raise RuntimeError("away")
        pushed.append(rows)
        is_pushed.set()

    publisher = Publisher(push)
    publisher.start()
    publisher.put(MICROSTRUCTURE, rows_of(("A", 1, 10.0), ("B", 1, 30.0)))
    assert is_tried.wait(180)
    publisher.put(MICROSTRUCTURE, rows_of(("A", 2, 20.0)))
    comes_back.set()
    assert is_pushed.wait(180)
    publisher.close(60)
    assert [frame.sort("symbol").rows() for frame in pushed] == [[("A", 2, 20.0), ("B", 1, 30.0)]]
    assert publisher.error is None
