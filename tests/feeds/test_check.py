"""What `tapewatch check` knows: rights, warnings with a way out, and what the server says to each question."""

import datetime as dt
import json
from collections.abc import Iterator

import pytest
from starlette.responses import Response

from tapewatch.feeds.check import check_plans, probe
from tapewatch.feeds.plans import TIERS, PlanError
from tapewatch.feeds.rest import RestSource
from tapewatch.feeds.rest_transport import Patience
from tapewatch.market.instruments import Market
from tests.support.faulty_vendor import KEY, FaultyVendor, faulty_vendor
from tests.support.rest_tapes import DAY, NOW, minute_bars, stock_quotes, stock_trades

SYMBOLS = {Market.STOCKS: ("AAPL", "MSFT"), Market.CRYPTO: ("X:BTC-USD",)}
PATIENCE = Patience(attempts=2, first_wait_s=0.01, longest_wait_s=0.1, connect_timeout_s=1, read_timeout_s=1)
TOMORROW = DAY + dt.timedelta(days=1)


@pytest.fixture
def vendor() -> Iterator[FaultyVendor]:
    with faulty_vendor() as server:
        server.rows = {"bars/AAPL": minute_bars(3), "trades/AAPL": stock_trades(3), "quotes/AAPL": stock_quotes(3)}
        server.status = {"market": "open", "serverTime": "2024-05-01T10:00:00-04:00", "exchanges": {"nyse": "open"}}
        yield server


def asked(vendor: FaultyVendor, tier: str) -> RestSource:
    return RestSource(vendor.base_url, f"{KEY}-{tier}", {Market.STOCKS: tier}, patience=PATIENCE, clock=lambda: NOW)


def test_a_market_is_told_its_rights_and_what_they_keep_it_from():
    stocks, crypto, forex = check_plans(
        {Market.STOCKS: "basic", Market.CRYPTO: "advanced", Market.FOREX: "basic"}, SYMBOLS, today=DAY
    )
    assert (
        stocks.rights == "bars from 2022-05-01, after the day's end; 5 calls a minute; flat files: none; stream: none"
    )
    assert [warning.split(":")[0] for warning in stocks.warnings] == [
        "no trades", "no quotes", "a day can be loaded only once it is over", "5 calls a minute", "no streaming"
    ]  # fmt: skip
    assert stocks.way_out == "set POLYGON_TIER_STOCKS to the plan you bought, or use --flat-files"
    assert crypto.warnings == forex.warnings == ()
    assert crypto.way_out == ""


def test_warnings_shrink_as_plans_grow():
    counts = [len(check_plans({Market.STOCKS: tier}, SYMBOLS, today=DAY)[0].warnings) for tier in TIERS]
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] == 0


def test_flat_files_need_no_plan():
    (row,) = check_plans({Market.STOCKS: "basic"}, SYMBOLS, today=DAY, uses_flat_files=True)
    assert row.warnings == ()


def test_a_symbol_of_another_market_is_pointed_out():
    (row,) = check_plans({Market.CRYPTO: "advanced"}, {Market.CRYPTO: ("BTCUSD", "X:ETH-USD")}, today=DAY)
    assert row.warnings[0].startswith("BTCUSD: not spelt as crypto")


def test_an_unknown_tier_is_an_error():
    with pytest.raises(PlanError, match="POLYGON_TIER_STOCKS"):
        check_plans({Market.STOCKS: "gold"}, SYMBOLS, today=DAY)


def test_the_server_is_asked_for_what_the_plan_grants(vendor):
    rows = list(probe(asked(vendor, "advanced"), {Market.STOCKS: ("AAPL",)}, today=TOMORROW))
    assert [row.what for row in rows] == [
        "server and key",
        *(f"{t} of AAPL on 2024-05-01" for t in ("bars", "trades", "quotes")),
    ]
    assert all(row.is_ok for row in rows)


def test_a_metered_plan_is_probed_with_two_calls(vendor):
    rows = list(probe(asked(vendor, "basic"), {Market.STOCKS: ("AAPL",)}, today=TOMORROW))
    assert [row.is_ok for row in rows] == [True, True]
    assert len(vendor.seen) == 2


def test_a_plan_that_promises_too_much_is_found_out(vendor):
    vendor.faults[3] = lambda body: Response('{"status":"NOT_AUTHORIZED"}', 403)
    rows = list(probe(asked(vendor, "developer"), {Market.STOCKS: ("AAPL",)}, today=TOMORROW))
    assert [row.is_ok for row in rows] == [True, True, False]
    assert "POLYGON_TIER_STOCKS" in rows[-1].detail


def test_a_symbol_without_rows_is_no_success(vendor):
    rows = list(probe(asked(vendor, "starter"), {Market.STOCKS: ("AAPLL",)}, today=TOMORROW))
    assert [row.is_ok for row in rows] == [True, False]


def test_a_wrong_key_ends_the_probe_and_stays_hidden(vendor):
    vendor.every_fault = lambda body: Response(json.dumps({"error": f"Unknown API Key {KEY}-starter"}), 401)
    (row,) = probe(asked(vendor, "starter"), SYMBOLS, today=TOMORROW)
    assert not row.is_ok
    assert "POLYGON_API_KEY" in row.detail
    assert KEY not in row.detail
