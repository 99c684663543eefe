"""Order and keys: a file in any order becomes the table's order, each key once."""

from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tapewatch.feeds.files.source import FlatFileSource
from tapewatch.feeds.source import Load
from tapewatch.market.tables.tape import TRADES
from tests.support.flat_days import CRYPTO, FOREX, OPTIONS, STOCKS, put, row

#: In memory throughout, and through the spool on disk from the first block on.
_ROOM = {"memory": 10**9, "disk": 0}


def _load(root: Path, table: str = "trades", room: str = "memory") -> tuple[pl.DataFrame, Load]:
    source = FlatFileSource(str(root), block_bytes=5000, memory_bytes=_ROOM[room])
    load = getattr(source, table)(STOCKS)
    frame = pl.concat(load)
    assert load.source_rows == frame.height + load.duplicates + load.quarantine.height
    return frame, load


def _day() -> list[dict[str, object]]:
    return [
        row(STOCKS, "trades", i, ticker=t, sequence_number=i + 1, id=i) for t in ("A", "BRK.B", "Z") for i in range(120)
    ]


@pytest.mark.parametrize("room", _ROOM)
def test_rows_in_any_order_become_the_same_day(tmp_path: Path, room: str) -> None:
    rows = _day()
    put(tmp_path / "straight", STOCKS, "trades", rows)
    straight, _ = _load(tmp_path / "straight", room=room)
    rows.sort(key=lambda r: (int(str(r["id"])) * 7919 % 120, str(r["ticker"])[::-1]))
    put(tmp_path / "shuffled", STOCKS, "trades", rows)
    by_time = sorted(rows, key=lambda r: (r["sip_timestamp"], r["ticker"]))
    put(tmp_path / "by_time", STOCKS, "trades", by_time)
    assert straight.equals(
        straight.with_columns(pl.col("symbol").cast(pl.String))
        .sort("symbol", "time")
        .cast({"symbol": pl.Categorical()})
    )
    for name in ("shuffled", "by_time"):
        frame, load = _load(tmp_path / name, room=room)
        assert frame.equals(straight)
        assert load.duplicates == 0


@pytest.mark.parametrize("room", _ROOM)
def test_an_exact_repeat_of_a_key_is_dropped_and_counted(tmp_path: Path, room: str) -> None:
    rows = _day()
    put(tmp_path, STOCKS, "trades", [*rows, rows[5], rows[130], rows[5]])
    frame, load = _load(tmp_path, room=room)
    assert (frame.height, load.duplicates, load.quarantine.height) == (len(rows), 3, 0)


@pytest.mark.parametrize("room", _ROOM)
def test_of_different_rows_with_one_key_the_later_stays(tmp_path: Path, room: str) -> None:
    rows = _day()
    put(tmp_path, STOCKS, "trades", [*rows, {**rows[5], "price": 77.7}])
    frame, load = _load(tmp_path, room=room)
    assert frame.height == len(rows)
    assert frame.filter(pl.col("sequence_number") == 6)["price"].to_list() == [77.7, 100.5, 100.5]
    (refused,) = load.quarantine.to_dicts()
    assert refused["line"] == 7
    assert refused["reason"].startswith(f"symbol/sequence_number/exchange/id: replaced by line {len(rows) + 2},")
    assert refused["raw"].split(",")[7] == "6"


@pytest.mark.parametrize("room", _ROOM)
def test_a_corrected_trade_stays_and_its_correction_record_is_quarantined(tmp_path: Path, room: str) -> None:
    rows = _day()
    rows[5] |= {"correction": 1}
    record = {**rows[5], "correction": 12, "sip_timestamp": rows[9]["sip_timestamp"]}
    put(tmp_path, STOCKS, "trades", [*rows[:10], record, *rows[10:]])
    frame, load = _load(tmp_path, room=room)
    assert frame.height == len(rows)
    assert frame.filter(pl.col("sequence_number") == 6)["correction"].to_list()[0] == 1
    (refused,) = load.quarantine.to_dicts()
    assert (refused["line"], refused["reason"].split(",")[0]) == (
        12,
        "symbol/sequence_number/exchange/id: replaced by line 7",
    )


@pytest.mark.parametrize("room", _ROOM)
def test_different_trades_may_share_a_number_and_a_correction_record_may_not(tmp_path: Path, room: str) -> None:
    rows = _day()
    others = [{**rows[5], "exchange": 19}, {**rows[5], "id": "x"}, {**rows[5], "id": ""}]
    record = {**rows[5], "id": "y", "correction": 10}
    put(tmp_path, STOCKS, "trades", [*rows, *others, record, others[1], {**others[2], "size": 0.25}])
    frame, load = _load(tmp_path, room=room)
    assert TRADES.duplicates(frame) == 0
    shared = frame.filter((pl.col("symbol") == "A") & (pl.col("sequence_number") == 6))
    assert shared.select("exchange", "id", "size").rows() == [
        (11, None, 0.25),
        (11, "5", 100),
        (11, "x", 100),
        (19, "5", 100),
    ]
    assert (load.duplicates, load.quarantine.height) == (1, 2)


@pytest.mark.parametrize("room", _ROOM)
def test_rows_numbered_0_are_kept_below_the_tape_s_numbers(tmp_path: Path, room: str) -> None:
    rows = _day()
    for at in (0, 7, 8, 119, 130):
        rows[at] |= {"sequence_number": 0, "id": ""}
    put(tmp_path, STOCKS, "trades", [*rows[:8], rows[7], *rows[8:]])
    frame, load = _load(tmp_path, room=room)
    assert (load.duplicates, load.quarantine.height, TRADES.duplicates(frame)) == (0, 0, 0)
    numbers = frame.filter(pl.col("symbol") == "A")["sequence_number"].to_list()
    assert numbers[:11] == [-5, 2, 3, 4, 5, 6, 7, -4, -3, -2, 10]
    assert (numbers[-1], len(numbers)) == (-1, 121)
    assert frame["time"].to_list()[:121] == sorted(frame["time"].to_list()[:121])


def test_rows_with_equal_content_are_all_kept(tmp_path: Path) -> None:
    put(tmp_path, STOCKS, "trades", [row(STOCKS, "trades", 0, sequence_number=i + 1) for i in range(50)])
    frame, load = _load(tmp_path)
    assert (frame.height, load.duplicates) == (50, 0)


def test_a_key_repeated_at_another_time_is_found_in_a_file_in_order(tmp_path: Path) -> None:
    put(
        tmp_path, STOCKS, "trades", [row(STOCKS, "trades", i, sequence_number=n) for i, n in enumerate((1, 2, 2, 3, 1))]
    )
    frame, load = _load(tmp_path)
    assert sorted(frame["sequence_number"]) == [1, 2, 3]
    assert load.quarantine["line"].to_list() == [2, 3]


def test_a_bar_delivered_again_replaces_the_earlier(tmp_path: Path) -> None:
    bars = [row(STOCKS, "bars", 60 * i) for i in range(3)]
    put(tmp_path, STOCKS, "bars", [*bars, {**bars[1], "volume": 2000}])
    frame, load = _load(tmp_path, "bars")
    assert frame["volume"].to_list() == [1000, 2000, 1000]
    assert load.quarantine["line"].to_list() == [3]


@pytest.mark.parametrize("room", _ROOM)
def test_crypto_trades_are_ordered_numbered_and_identified_by_exchange_and_id(tmp_path: Path, room: str) -> None:
    def trade(at: float, exchange: int, name: str, ticker: str = "X:BTC-USD", price: float = 5) -> dict[str, object]:
        return row(CRYPTO, "trades", at, ticker=ticker, exchange=exchange, id=name, price=price)

    rows = [
        trade(2, 1, "b"), trade(1, 2, "a"), trade(1, 1, "z"), trade(1, 1, "c"), trade(2, 1, "b"),
        trade(3, 6, ""), trade(3, 6, ""), trade(0, 1, "c", "X:ETH-USD"), trade(9, 1, "c", price=6),
        trade(4, 6, "0"), trade(5, 6, "0"),
    ]  # fmt: skip
    put(tmp_path, CRYPTO, "trades", rows)
    load = FlatFileSource(str(tmp_path), memory_bytes=_ROOM[room]).trades(CRYPTO)
    frame = pl.concat(load)
    assert frame["id"].to_list() == ["z", "a", "b", None, None, "0", "0", "c", "c"]
    assert frame["sequence_number"].to_list() == [1, 2, 3, 4, 5, 6, 7, 8, 1]
    assert load.duplicates == 1
    assert load.quarantine["line"].to_list() == [5]


@pytest.mark.parametrize("room", _ROOM)
def test_an_empty_number_is_none(tmp_path: Path, room: str) -> None:
    numbers = [5, "", 0, 6]
    put(tmp_path, STOCKS, "trades", [row(STOCKS, "trades", i, sequence_number=n) for i, n in enumerate(numbers)])
    load = FlatFileSource(str(tmp_path), memory_bytes=_ROOM[room]).trades(STOCKS)
    assert pl.concat(load)["sequence_number"].to_list() == [5, -2, -1, 6]
    assert load.quarantine.is_empty()


def test_quotes_without_numbers_are_never_taken_for_repeats(tmp_path: Path) -> None:
    rows = [row(FOREX, "quotes", i // 2, ticker="C:EUR-USD") for i in range(10)]
    rows.insert(0, row(FOREX, "quotes", 99, ticker="C:EUR-USD"))
    put(tmp_path, FOREX, "quotes", rows)
    load = FlatFileSource(str(tmp_path)).quotes(FOREX)
    frame = pl.concat(load)
    assert frame["sequence_number"].to_list() == list(range(1, 12))
    assert frame["time"].is_sorted()
    assert load.duplicates == 0


def test_option_trades_are_ordered_by_time_then_exchange(tmp_path: Path) -> None:
    rows = [row(OPTIONS, "trades", at, ticker="O:A", exchange=x) for at, x in ((0, 5), (0, 3), (1, 1), (0, 3))]
    put(tmp_path, OPTIONS, "trades", rows)
    frame = pl.concat(FlatFileSource(str(tmp_path)).trades(OPTIONS))
    assert frame["exchange"].to_list() == [3, 3, 5, 1]
    assert frame["sequence_number"].to_list() == [1, 2, 3, 4]


_ROWS = st.lists(
    st.tuples(st.sampled_from("ABC"), st.integers(0, 5), st.integers(1, 6), st.integers(1, 3)), min_size=1, max_size=40
)


@pytest.mark.slow
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_ROWS)
def test_any_day_equals_a_plain_implementation(tmp_path: Path, given_rows: list[tuple[str, int, int, int]]) -> None:
    put(
        tmp_path,
        STOCKS,
        "trades",
        [row(STOCKS, "trades", at, ticker=t, sequence_number=n, price=p) for t, at, n, p in given_rows],
    )
    frame, load = _load(tmp_path)
    last = {(t, n): (at, p) for t, at, n, p in given_rows}
    expected = sorted((t, at, n, p) for (t, n), (at, p) in last.items())
    start = frame["time"].min()
    assert start is not None
    found = frame.select(pl.col("symbol").cast(pl.String), "sequence_number", "price").rows()
    assert found == [(t, n, p) for t, at, n, p in expected]
    assert TRADES.duplicates(frame) == 0
    exact = sum(1 for t, at, n, p in given_rows if last[t, n] == (at, p)) - len(last)
    assert load.duplicates == exact
