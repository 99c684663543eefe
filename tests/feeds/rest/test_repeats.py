"""Sizes with a fraction, rows without a number, trades that share one, and pages that overlap."""

import json
from collections.abc import Iterator
from typing import Any

import polars as pl
import pytest

from tapewatch.feeds.rest.source import RestSource
from tapewatch.feeds.rest.transport import Patience
from tapewatch.feeds.source import Load
from tapewatch.market.instruments import Market, Partition
from tapewatch.market.tables.tape import TRADES
from tests.support.faulty_vendor import KEY, FaultyVendor, faulty_vendor
from tests.support.rest_tapes import (
    CRYPTO,
    DAY,
    NOW,
    OPEN,
    STOCKS,
    crypto_trades,
    minute_bars,
    stock_quotes,
    stock_trades,
)

OPTIONS, FUTURES, FOREX = (Partition(DAY, market) for market in (Market.OPTIONS, Market.FUTURES, Market.FOREX))
OPTION, CONTRACT = "O:SPY240621C00500000", "ESM4"
_PATIENCE = Patience(attempts=2, first_wait_s=0.01, longest_wait_s=0.1, connect_timeout_s=60, read_timeout_s=60)


@pytest.fixture(scope="module")
def server() -> Iterator[FaultyVendor]:
    with faulty_vendor() as vendor:
        yield vendor


@pytest.fixture
def vendor(server: FaultyVendor) -> FaultyVendor:
    server.__dict__.update(FaultyVendor(base_url=server.base_url).__dict__)
    server.tickers = [CONTRACT]
    return server


def fetched(
    vendor: FaultyVendor,
    partition: Partition,
    symbol: str,
    rows: list[dict[str, Any]],
    table: str = "trades",
    **kw: int,
) -> tuple[pl.DataFrame, Load]:
    vendor.rows[f"{table}/{symbol}"] = rows
    rest = RestSource(
        vendor.base_url,
        KEY,
        dict.fromkeys(Market, "advanced"),
        patience=_PATIENCE,
        clock=lambda: NOW,
        **{"page_limit": 50} | kw,
    )
    load = getattr(rest, table)(partition, [symbol])
    return pl.concat(load), load


def test_the_size_with_its_fraction_counts(vendor):
    rows = stock_trades(8, ties=False)
    exact = ["100.0", "0.25", "1.75", 3.5, None, "0.1", "lots", "-1"]
    for row, size in zip(rows, exact, strict=True):
        row |= {"decimal_size": size, "size": 7}
    rows[1]["size"], rows[3]["size"] = 0, None
    frame, load = fetched(vendor, STOCKS, "AAPL", rows)
    TRADES.check(frame)
    assert frame["size"].to_list() == [100.0, 0.25, 1.75, 3.5, 7.0, 0.1]
    assert load.quarantine["reason"].to_list() == [
        "size: the row states no finite number", "size is -1.0; it must be 0 or more"
    ]  # fmt: skip
    assert json.loads(load.quarantine["raw"][0])["decimal_size"] == "lots"


def test_futures_may_state_fractions_too(vendor):
    rows = [{"timestamp": OPEN + i, "price": 5.0, "size": 1, "decimal_size": f"{i}.5"} for i in range(3)]
    assert fetched(vendor, FUTURES, CONTRACT, rows)[0]["size"].to_list() == [0.5, 1.5, 2.5]


def test_trades_of_options_numbered_0_are_kept_and_numbered_by_position(vendor):
    rows = [
        {"exchange": 302, "price": 5.0, "size": 1 + i // 2, "sequence_number": number, "sip_timestamp": OPEN + i}
        for i, number in enumerate((0, 0, 0, 811, 812))
    ]
    rows.insert(0, rows[0])
    frame, load = fetched(vendor, OPTIONS, OPTION, rows)
    assert frame["sequence_number"].to_list() == [1, 2, 3, 4, 5, 6]
    assert frame["size"].sum() == 10
    assert (load.duplicates, load.quarantine.height, load.notices) == (0, 0, [])


def test_a_stock_s_trades_numbered_0_keep_out_of_the_tape_s_numbers(vendor):
    rows = stock_trades(6, ties=False)
    for at in (1, 2, 5):
        rows[at]["sequence_number"] = 0
    frame, load = fetched(vendor, STOCKS, "AAPL", rows)
    assert frame["id"].to_list() == [row["id"] for row in rows]
    assert frame["sequence_number"].to_list() == [3, -3, -2, 33, 43, -1]
    assert TRADES.duplicates(frame) == load.duplicates == load.quarantine.height == 0


def test_trades_without_the_field_are_kept_like_those_with_a_number_0(vendor):
    rows = stock_trades(3, ties=False)
    del rows[0]["sequence_number"]
    rows[2]["sequence_number"] = None
    frame, load = fetched(vendor, STOCKS, "AAPL", rows)
    assert frame["sequence_number"].to_list() == [-2, rows[1]["sequence_number"], -1]
    assert load.duplicates == load.quarantine.height == 0


@pytest.mark.parametrize("name", ["0", ""])
def test_crypto_trades_whose_id_is_none_all_stay(vendor, name):
    rows = crypto_trades(5)
    frame, load = fetched(vendor, CRYPTO, "X:BTC-USD", [row | {"id": name} for row in rows])
    assert frame["price"].to_list() == [row["price"] for row in rows]
    assert load.duplicates == load.quarantine.height == 0


def test_futures_trades_whose_report_sequence_is_0_all_stay(vendor):
    row = {"timestamp": OPEN, "price": 5100.25, "size": 2, "sequence_number": 40, "report_sequence": 0}
    frame, load = fetched(vendor, FUTURES, CONTRACT, [row, row | {"price": 5100.5}, row | {"price": 5100.75}])
    assert (frame.height, load.duplicates, load.quarantine.height) == (3, 0, 0)


def test_different_trades_may_share_a_number_and_a_correction_record_may_not(vendor):
    first, *_ = stock_trades(1)
    others = [first | {"exchange": 5}, first | {"id": "77"}, first | {"id": None}, first | {"id": None, "exchange": 5}]
    record = first | {"correction": 10, "id": "99", "sip_timestamp": first["sip_timestamp"] + 9}
    frame, load = fetched(vendor, STOCKS, "AAPL", [record, first, *others, first | {"price": 77.0}])
    TRADES.check(frame)
    assert TRADES.duplicates(frame) == 0
    assert frame.select("exchange", "id").rows() == [(4, None), (4, "0"), (4, "77"), (5, None), (5, "0")]
    assert frame.filter(pl.col("id") == "0")["price"].to_list() == [77.0, first["price"]]
    assert [reason.split(":")[0].split(",")[0] for reason in load.quarantine["reason"]] == [
        "a correction record", "replaced by a later row"
    ]  # fmt: skip


def test_option_trades_that_share_a_number_stay_unless_they_agree_in_everything(vendor):
    row = {"exchange": 302, "price": 5.0, "size": 1, "sequence_number": 9, "sip_timestamp": OPEN}
    frame, load = fetched(vendor, OPTIONS, OPTION, [row, row | {"exchange": 303}, row | {"price": 5.1}, row])
    assert frame.height == 3
    assert frame["sequence_number"].to_list() == [1, 2, 3]
    assert (load.duplicates, load.quarantine.height) == (1, 0)


def test_futures_trades_of_one_packet_are_told_apart_by_their_report_sequence(vendor):
    row = {"timestamp": OPEN, "price": 5100.25, "size": 2, "sequence_number": 40}
    rows = [row | {"report_sequence": n} for n in (7, 8, 8)] + [
        row | {"timestamp": OPEN + 5, "sequence_number": 41}
    ] * 2
    frame, load = fetched(vendor, FUTURES, CONTRACT, rows)
    assert frame["size"].sum() == 8
    assert frame["sequence_number"].to_list() == [1, 2, 3, 4]
    assert load.duplicates == 1


@pytest.mark.parametrize("by", [1, 3, 10])
@pytest.mark.parametrize("kind", ["crypto", "options", "stocks", "bars", "quotes"])
def test_rows_with_which_a_page_begins_again_are_one(vendor, kind, by):
    rows, partition, symbol, table = {
        "crypto": ([row | {"id": None} for row in crypto_trades(40)], CRYPTO, "X:BTC-USD", "trades"),
        "options": (
            [{"exchange": 302, "price": 5.0, "size": 1, "sip_timestamp": OPEN + i // 3} for i in range(40)],
            OPTIONS, OPTION, "trades",
        ),
        "stocks": (stock_trades(40), STOCKS, "AAPL", "trades"),
        "bars": (minute_bars(40), STOCKS, "AAPL", "bars"),
        "quotes": (stock_quotes(40), STOCKS, "AAPL", "quotes"),
    }[kind]  # fmt: skip
    clean, _ = fetched(vendor, partition, symbol, rows, table)
    vendor.__dict__.update(seen=[], faults={})
    sent = [rows[at : at + 15] for at in range(0, 40, 15)]
    for number, page in enumerate(sent[:2], start=2):
        vendor.faults[number] = lambda body, page=page: body | {
            "results": page[-by:] + body["results"], "resultsCount": by + len(body["results"])
        }  # fmt: skip
    frame, load = fetched(vendor, partition, symbol, rows, table, page_limit=15)
    assert frame.equals(clean)
    assert load.duplicates == load.source_rows - 40 == 2 * by
    (notice,) = load.notices
    assert f"{2 * by} row(s) at the end of a page came again at the beginning of the next" in notice


def test_equal_rows_within_a_page_stay(vendor):
    row = {"exchange": 302, "price": 5.0, "size": 1, "sip_timestamp": OPEN}
    frame, load = fetched(vendor, OPTIONS, OPTION, [row] * 7)
    assert (frame.height, load.duplicates, load.notices) == (7, 0, [])
