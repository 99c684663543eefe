"""`tapewatch check`: what the plans allow, settings that cannot work, and the probes of the servers."""

import datetime as dt
import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import Response
from websockets.sync.server import ServerConnection, serve

from tapewatch.feeds.plans.check import Deployment, PlanRow, check_plans
from tapewatch.feeds.plans.table import TIERS, PlanError, plan_for
from tapewatch.feeds.probe import probe, probe_flat_files, probe_stream
from tapewatch.feeds.rest.source import RestSource
from tapewatch.feeds.rest.transport import Patience
from tapewatch.market.instruments import Market
from tests.support.faulty_vendor import KEY, FaultyVendor, faulty_vendor
from tests.support.rest_tapes import DAY, NOW, minute_bars, stock_quotes, stock_trades

SYMBOLS = {Market.STOCKS: ("AAPL", "MSFT"), Market.CRYPTO: ("X:BTC-USD",)}
VENDOR = "https://api.polygon.io"
PATIENCE = Patience(attempts=2, first_wait_s=0.01, longest_wait_s=0.1, connect_timeout_s=60, read_timeout_s=60)
TOMORROW = DAY + dt.timedelta(days=1)


@pytest.fixture
def vendor() -> Iterator[FaultyVendor]:
    with faulty_vendor() as server:
        server.rows = {"bars/AAPL": minute_bars(3), "trades/AAPL": stock_trades(3), "quotes/AAPL": stock_quotes(3)}
        server.status = {"market": "open", "serverTime": "2024-05-01T10:00:00-04:00", "exchanges": {"nyse": "open"}}
        yield server


def asked(vendor: FaultyVendor, tier: str) -> RestSource:
    return RestSource(vendor.base_url, f"{KEY}-{tier}", {Market.STOCKS: tier}, patience=PATIENCE, clock=lambda: NOW)


def row(tier: str, market: Market = Market.STOCKS, symbols: Sequence[str] = ("AAPL", "MSFT"), **kw: Any) -> PlanRow:
    deployment = Deployment({market: tier}, {market: symbols}, VENDOR, **kw)
    return check_plans(deployment, today=DAY)[0]


def test_a_row_shows_what_the_plan_allows():
    starter = row("starter")
    assert (starter.rate, starter.history_from, starter.recency) == ("no limit", "2019-05-01", "15 minutes late")
    assert (starter.rest, starter.flat_files) == ("bars", "bars")
    assert starter.channels == "AM (15 minutes late)"
    assert starter.address == "wss://delayed.polygon.io/stocks"
    advanced = row("advanced")
    assert advanced.channels == "AM, A, T, Q, LULD, NOI (in real time)"
    assert advanced.address == "wss://socket.polygon.io/stocks"


def test_warnings_name_the_limits_of_the_plan_and_the_way_out():
    warnings = row("basic").warnings
    assert [warning.split(":")[0] for warning in warnings] == [
        "no trades", "no quotes", "a day can be loaded only once it is over", "5 calls a minute", "no stream",
    ]  # fmt: skip
    assert "POLYGON_TIER_STOCKS" in warnings[0]
    assert "POLYGON_TIER_STOCKS" in warnings[-1]


def test_larger_plans_have_fewer_warnings():
    counts = [len(row(tier).warnings) for tier in TIERS]
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] == 0


def test_a_market_without_symbols_gets_a_warning_only_for_a_paid_plan():
    assert row("basic", Market.OPTIONS, ()).warnings == ()
    for market in (Market.OPTIONS, Market.FUTURES):
        assert f"TAPEWATCH_SYMBOLS_{market.upper()}" in row("developer", market, ()).warnings[0]


def test_flat_files_get_a_warning_if_the_plan_has_more_tables_over_rest():
    assert row("basic", flat_files="/files").warnings == (
        "no stream: `tapewatch stream stocks` needs a paid plan, set POLYGON_TIER_STOCKS to the plan you bought",
    )
    (warning,) = row("advanced", Market.FUTURES, ["ESM4"], flat_files="/files").warnings
    assert "has trades and quotes over REST and not as flat files" in warning
    assert "TAPEWATCH_FLAT_FILES" in warning


@pytest.mark.parametrize(
    ("market", "symbols", "fault"),
    [
        (Market.CRYPTO, ("BTCXYZ", "X:ETH-USD"), "'BTCXYZ' ends in no known quote currency"),
        (Market.STOCKS, ("X:BTC-USD",), "put it into TAPEWATCH_SYMBOLS_CRYPTO"),
        (Market.STOCKS, ("ESM4",), "put it into TAPEWATCH_SYMBOLS_FUTURES"),
        (Market.OPTIONS, ("SPY",), "write it as O:SPY251219C00650000"),
    ],
)
def test_invalid_symbols_are_faults(market, symbols, fault):
    (found,) = row("advanced", market, symbols).faults
    assert f"TAPEWATCH_SYMBOLS_{market.upper()}" in found
    assert fault in found


def test_every_spelling_of_the_vendor_is_accepted():
    assert row("advanced", Market.CRYPTO, ("BTC-USD", "X:BTCUSD", "X:BTC-USD")).faults == ()


def test_an_address_that_cannot_work_is_a_fault():
    (fault,) = row("advanced", ws_urls={Market.STOCKS: "https://socket.polygon.io"}).faults
    assert fault.startswith("POLYGON_WS_URL_STOCKS is not a WebSocket address")
    (fault,) = row("advanced", ws_url="socket.polygon.io").faults
    assert fault.startswith("POLYGON_WS_URL is no")
    (fault,) = row("basic", ws_urls={Market.STOCKS: "wss://socket.polygon.io"}).faults
    assert "the plan 'basic' has no stream of stocks" in fault


def test_too_many_option_contracts_for_a_connection_get_a_warning():
    contracts = [f"O:SPY251219C{strike:08d}" for strike in range(1001)]
    (warning,) = row("advanced", Market.OPTIONS, contracts).warnings
    assert warning.startswith("channel Q takes 1,000 symbols a connection, and 1,001 are set")


def test_an_unknown_tier_is_an_error():
    with pytest.raises(PlanError, match="POLYGON_TIER_STOCKS"):
        row("gold")


def test_the_probe_requests_the_tables_of_the_plan(vendor):
    rows = list(probe(asked(vendor, "advanced"), {Market.STOCKS: ("AAPL",)}, today=TOMORROW))
    assert [row.what for row in rows] == [
        "server and key",
        *(f"{t} of AAPL on 2024-05-01" for t in ("bars", "trades", "quotes")),
        "condition codes of stocks",
    ]
    assert all(row.is_ok and not row.is_odd for row in rows)


def test_update_rules_that_differ_from_those_in_use_are_reported(vendor):
    def condition(code: int, kind: str = "trade", **rules: bool) -> dict[str, Any]:
        return {"id": code, "data_types": [kind], "update_rules": {"consolidated": rules}}

    price = {"updates_high_low": True, "updates_open_close": True}
    vendor.conditions = [
        condition(2, updates_high_low=False, updates_open_close=False, updates_volume=True),
        condition(16, "bbo", **price),  # a quote's code 16 is another
        condition(29, **price, updates_volume=True),
        condition(77, **price, updates_volume=False),
        {"id": 41, "data_types": ["trade"]},
    ]
    *_, row = probe(asked(vendor, "advanced"), {Market.STOCKS: ("AAPL",)}, today=TOMORROW)
    assert (row.is_ok, row.is_odd) == (True, True)
    assert "code 29 (Seller) allows open and close, high and low, volume and is read as volume; code 77" in row.detail


def test_a_metered_plan_is_probed_with_two_calls(vendor):
    rows = list(probe(asked(vendor, "basic"), {Market.STOCKS: ("AAPL",)}, today=TOMORROW))
    assert [row.is_ok for row in rows] == [True, True]
    assert len(vendor.seen) == 2


def test_a_plan_set_too_high_is_reported(vendor):
    vendor.faults[3] = lambda body: Response('{"status":"NOT_AUTHORIZED"}', 403)
    rows = list(probe(asked(vendor, "developer"), {Market.STOCKS: ("AAPL",)}, today=TOMORROW))
    assert [row.is_ok for row in rows] == [True, True, False, True]
    assert "POLYGON_TIER_STOCKS" in rows[2].detail


def test_a_symbol_without_rows_fails_the_probe(vendor):
    rows = list(probe(asked(vendor, "starter"), {Market.STOCKS: ("AAPLL",)}, today=TOMORROW))
    assert [row.is_ok for row in rows] == [True, False]


def test_a_wrong_key_ends_the_probe_and_is_not_shown(vendor):
    vendor.every_fault = lambda body: Response(json.dumps({"error": f"Unknown API Key {KEY}-starter"}), 401)
    (row,) = probe(asked(vendor, "starter"), SYMBOLS, today=TOMORROW)
    assert not row.is_ok
    assert "POLYGON_API_KEY" in row.detail
    assert KEY not in row.detail


@contextmanager
def stream(*answers: list[dict[str, str]], heard: list[str], close: int | None = None) -> Iterator[str]:
    """A server that sends its first answer at once and another for each message, then may close the connection."""

    def converse(connection: ServerConnection) -> None:
        for number, answer in enumerate(answers):
            if number:
                heard.append(str(connection.recv()))
            connection.send(json.dumps(answer))
        if close is not None:
            connection.close(close)
        for _ in connection:
            pass

    with serve(converse, "127.0.0.1", 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}/crypto"
        server.shutdown()


def said(status: str, message: str = "") -> list[dict[str, str]]:
    return [{"ev": "status", "status": status, "message": message}]


GREETING, WELCOME = said("connected"), said("auth_success")
TICK = [{"ev": "XT", "pair": "BTC-USD"}]


def streamed(address: str, patience_s: float = 60) -> Any:
    return probe_stream(plan_for("crypto", "advanced"), address, KEY, "X:BTC-USD", patience_s=patience_s)


def test_the_stream_probe_subscribes_to_one_channel_of_one_symbol():
    heard: list[str] = []
    subscribed = said("success", "subscribed to: XL2.BTC-USD")
    with stream(GREETING, WELCOME, TICK + subscribed, heard=heard) as address:
        row = streamed(address)
    assert row.is_ok
    assert row.detail == "subscribed to XL2.BTC-USD"
    assert [json.loads(words)["action"] for words in heard] == ["auth", "subscribe"]


@pytest.mark.parametrize(
    ("answers", "close", "is_ok", "detail"),
    [
        ((GREETING, said("auth_failed", f"unknown key {KEY}")), None, False, "the key is not accepted"),
        ((GREETING, WELCOME, said("error", "not authorized")), None, False, "POLYGON_TIER"),
        ((GREETING, said("max_connections")), 1008, True, "in use"),
        ((GREETING,), 1008, True, "in use"),
        ((GREETING,), 1011, False, "closed the connection"),
        ((GREETING, WELCOME), None, False, "no answer within"),
    ],
)
def test_a_refusal_of_the_stream_is_reported_without_the_key(answers, close, is_ok, detail):
    with stream(*answers, heard=[], close=close) as address:
        row = streamed(address, 1 if detail == "no answer within" else 60)
    assert row.is_ok is is_ok
    assert detail in row.detail
    assert KEY not in row.detail


def test_an_unreachable_stream_names_the_setting():
    row = streamed("ws://127.0.0.1:1/crypto")
    assert not row.is_ok
    assert "POLYGON_WS_URL_CRYPTO" in row.detail


def test_the_flat_file_probe_reports_the_newest_day(tmp_path: Path):
    folder = tmp_path / "us_stocks_sip" / "trades_v1" / "2024" / "05"
    folder.mkdir(parents=True)
    (folder / "2024-05-01.csv.gz").touch()
    assert probe_flat_files(str(tmp_path), Market.STOCKS).detail == "trades to 2024-05-01"
    missing = probe_flat_files(str(tmp_path), Market.CRYPTO)
    assert not missing.is_ok
    assert "global_crypto" in missing.detail
