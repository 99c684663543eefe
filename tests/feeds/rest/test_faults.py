"""The REST source with a faulty server: a clear error, never missing rows, never the key."""

import asyncio
import itertools
import json
import logging
import threading
from collections.abc import Iterator

import polars as pl
import pytest
from starlette.responses import Response

from tapewatch.feeds.errors import (
    CancelledError,
    EntitlementError,
    NotFoundError,
    PageError,
    RateLimitError,
    RestAuthenticationError,
    RestError,
    UnavailableError,
    mask_key,
    scrub,
)
from tapewatch.feeds.plans.table import plan_for
from tapewatch.feeds.rest.source import RestSource
from tapewatch.feeds.rest.transport import Patience, Transport
from tapewatch.feeds.source import SourceError
from tapewatch.market.instruments import Market
from tapewatch.market.tables.tape import DELIVERED_BARS, QUARANTINE
from tests.support.faulty_vendor import KEY, FaultyVendor, faulty_vendor
from tests.support.rest_tapes import CRYPTO, NOW, OPEN, STOCKS, crypto_trades, minute_bars, stock_quotes, stock_trades

# Plans that count calls share one count for each key.
_fresh_keys = (f"{KEY}{number}" for number in itertools.count())
PATIENCE = Patience(attempts=3, first_wait_s=0.01, longest_wait_s=2, connect_timeout_s=60, read_timeout_s=60)


@pytest.fixture(scope="module")
def server() -> Iterator[FaultyVendor]:
    with faulty_vendor() as vendor:
        yield vendor


@pytest.fixture
def vendor(server: FaultyVendor) -> FaultyVendor:
    server.__dict__.update(FaultyVendor(base_url=server.base_url).__dict__)
    server.rows["trades/AAPL"] = stock_trades(25)
    server.rows["bars/AAPL"] = minute_bars(25)
    server.tickers = ["AAPL"]
    return server


def rest(vendor: FaultyVendor, tier: str = "advanced", **kw) -> RestSource:
    settings = {"patience": PATIENCE, "clock": lambda: NOW, "page_limit": 10} | kw
    key = KEY if tier == "advanced" else next(_fresh_keys)
    return RestSource(vendor.base_url, key, dict.fromkeys(Market, tier), **settings)


def trades(vendor: FaultyVendor, **kw) -> pl.DataFrame:
    return pl.concat(rest(vendor, **kw).trades(STOCKS, ["AAPL"]))


def changed(**changes):
    return lambda body: body | changes


def without(name):
    return lambda body: {key: value for key, value in body.items() if key != name}


PAGE_FAULTS = [
    (lambda body: json.dumps(body).encode()[:-40], "bad JSON"),
    (lambda body: b"<html>gateway</html>", "bad JSON"),
    (lambda body: b"[]", "bad JSON"),
    (lambda body: b"\xff\xfe", "bad JSON"),
    (lambda body: b"", "bad JSON"),
    (without("results"), "it has no results"),
    (changed(results=None), "it has no results"),
    (changed(results={"price": 1}), "bad JSON"),
    (changed(status="ERROR", error="something broke"), r"its status is 'ERROR' \(something broke\)"),
    (without("status"), "its status is ''"),
    (changed(ticker="MSFT"), "it holds results for MSFT, and AAPL was requested"),
    (
        changed(next_url="http://192.0.2.7/v3/trades/AAPL?cursor=x"),
        r"its next_url points to another host, 192\.0\.2\.7",
    ),
    (changed(next_url="http://127.0.0.1:1/v3/trades/AAPL?cursor=x"), r"another host, 127\.0\.0\.1:1"),
    (changed(next_url="http://[/v3/trades"), "its next_url is not an address"),
]


@pytest.mark.parametrize(("fault", "message"), PAGE_FAULTS)
@pytest.mark.parametrize("page", [1, 2])
def test_a_broken_page_is_an_error_that_names_it(vendor, fault, message, page):
    vendor.faults[page] = fault
    with pytest.raises(PageError, match=message) as caught:
        trades(vendor)
    said = str(caught.value)
    assert f"/v3/trades/AAPL 2024-05-01, page {page} ({vendor.base_url}/v3/trades/AAPL" in said
    assert "--flat-files" in said
    assert KEY not in said
    assert len(vendor.seen) == page, "nothing is asked after a broken page"


def test_a_next_url_of_another_ticker_is_refused(vendor):
    vendor.faults[1] = changed(next_url=f"{vendor.base_url}/v3/trades/AAPLX?cursor=x")
    with pytest.raises(PageError, match=r"its next_url leaves /v3/trades/AAPL for /v3/trades/AAPLX"):
        trades(vendor)


def test_a_next_url_in_a_circle_is_refused(vendor):
    vendor.every_fault = changed(next_url=f"{vendor.base_url}/v3/trades/AAPL?cursor=10.0.9.10")
    with pytest.raises(PageError, match="leads to a page already read"):
        trades(vendor)


@pytest.mark.parametrize("page", [1, 2])
@pytest.mark.parametrize("largest", [10, 7])
def test_a_missing_next_url_is_detected(vendor, page, largest):
    vendor.largest_page = largest
    vendor.faults[page] = without("next_url")
    with pytest.raises(PageError, match=r"the last page names no next_url, yet the server has more rows"):
        trades(vendor)


def test_a_missing_next_url_among_rows_of_one_nanosecond_is_detected(vendor):
    for row in vendor.rows["trades/AAPL"]:
        row["sip_timestamp"] = OPEN
    assert trades(vendor).height == 25
    vendor.seen.clear()
    vendor.faults[2] = without("next_url")
    with pytest.raises(PageError, match="more rows"):
        trades(vendor)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (without("results"), "it has no results, though it counts 10"),
        (lambda body: body | {"results": body["results"][:4]}, "it counts 10 results and holds 4"),
        (without("next_url"), "more rows"),
        (changed(ticker="MSFT"), "results for MSFT"),
    ],
)
@pytest.mark.parametrize("tier", ["basic", "advanced"])
def test_bars_are_not_cut_short_either(vendor, fault, message, tier):
    vendor.faults[1] = fault
    with pytest.raises(PageError, match=message):
        pl.concat(rest(vendor, tier).bars(STOCKS, ["AAPL"]))


def test_a_metered_plan_checks_completeness_only_after_a_full_page(vendor):
    vendor.rows["bars/AAPL"] = minute_bars(5)
    assert pl.concat(rest(vendor, "basic").bars(STOCKS, ["AAPL"])).height == 5
    assert len(vendor.seen) == 1


def test_the_key_is_sent_with_every_page_and_in_no_address(vendor):
    vendor.faults[1] = lambda body: body | {"next_url": body["next_url"] + f"&apiKey={KEY}"}
    assert trades(vendor).height == 25
    assert {seen.authorization for seen in vendor.seen} == {f"Bearer {KEY}"}
    assert not any("apiKey" in seen.query or KEY in str(seen.query) for seen in vendor.seen)


@pytest.mark.parametrize("status", [500, 502, 503, 504, 429, 408])
def test_temporary_failures_are_retried(vendor, status):
    vendor.faults = {1: lambda body: Response("busy", status), 3: lambda body: Response("busy", status)}
    assert trades(vendor).height == 25


@pytest.mark.parametrize(("status", "error"), [(500, UnavailableError), (429, RateLimitError)])
def test_retries_end(vendor, status, error):
    vendor.every_fault = lambda body: Response("try later", status)
    with pytest.raises(error, match=rf"answered {status}: try later; gave up after 3 attempt"):
        trades(vendor)
    assert len(vendor.seen) == 3


def test_retry_after_is_honoured(vendor):
    vendor.faults[1] = lambda body: Response("slow down", 429, {"Retry-After": "1"})
    assert trades(vendor).height == 25
    assert vendor.seen[1].at - vendor.seen[0].at >= 1


def test_a_retry_after_longer_than_the_longest_wait_ends_at_once(vendor):
    vendor.faults[1] = lambda body: Response("come back tomorrow", 429, {"Retry-After": "86400"})
    with pytest.raises(RateLimitError, match="POLYGON_TIER_STOCKS") as caught:
        trades(vendor)
    assert caught.value.retry_after_s == 86_400
    assert len(vendor.seen) == 1


@pytest.mark.timeout(120)
def test_a_slow_call_times_out_and_is_retried(vendor):
    class Late(Response):
        async def __call__(self, *connection):
            while len(vendor.seen) == 1:
                await asyncio.sleep(0.01)
            await super().__call__(*connection)

    vendor.faults[1] = lambda body: Late(json.dumps(body))
    hasty = Patience(attempts=50, first_wait_s=0.01, longest_wait_s=2, connect_timeout_s=600, read_timeout_s=0.3)
    assert trades(vendor, patience=hasty).height == 25
    assert vendor.seen[1].query == vendor.seen[0].query


def test_a_truncated_body_is_retried(vendor):
    def cut(body):
        text = json.dumps(body)
        return Response(text[:200], headers={"Content-Length": str(len(text)), "Connection": "close"})

    vendor.faults[1] = cut
    assert trades(vendor).height == 25


def test_an_unreachable_server_is_an_error(vendor):
    nowhere = RestSource("http://127.0.0.1:9", KEY, {Market.STOCKS: "advanced"}, patience=PATIENCE, clock=lambda: NOW)
    with pytest.raises(
        UnavailableError, match=r"cannot be reached at http://127\.0\.0\.1:9/v3/trades/AAPL.*gave up after 3"
    ):
        list(nowhere.trades(STOCKS, ["AAPL"]))


def test_forbidden_names_plan_market_and_setting_and_is_not_retried(vendor):
    vendor.every_fault = lambda body: Response('{"status":"NOT_AUTHORIZED","message":"upgrade"}', 403)
    with pytest.raises(EntitlementError, match=r"stocks: .*POLYGON_TIER_STOCKS is 'advanced'.*flat-files.*upgrade"):
        trades(vendor)
    assert len(vendor.seen) == 1


def test_not_authorised_with_status_200_is_the_same(vendor):
    vendor.every_fault = changed(status="NOT_AUTHORIZED", message="upgrade")
    with pytest.raises(EntitlementError, match="POLYGON_TIER_STOCKS"):
        trades(vendor)


def test_a_wrong_key_is_reported_without_the_key(vendor):
    vendor.every_fault = lambda body: Response(json.dumps({"status": "ERROR", "error": f"Unknown API Key {KEY}"}), 401)
    with pytest.raises(RestAuthenticationError, match="POLYGON_API_KEY") as caught:
        trades(vendor)
    assert KEY not in str(caught.value)
    assert mask_key(KEY) in str(caught.value)
    assert len(vendor.seen) == 1


@pytest.mark.parametrize(("status", "error"), [(400, RestError), (404, NotFoundError), (302, RestError)])
def test_other_refusals_are_errors_at_once(vendor, status, error):
    vendor.every_fault = lambda body: Response("no", status, {"Location": f"{vendor.base_url}/elsewhere"})
    with pytest.raises(error, match=f"answered {status}: no"):
        trades(vendor)
    assert len(vendor.seen) == 1


def test_the_key_shows_in_no_log_error_or_repr(vendor, caplog):
    caplog.set_level(logging.DEBUG)
    vendor.faults[1] = lambda body: Response(KEY, 500)
    vendor.faults[3] = lambda body: Response(f"<{KEY}>", 400)
    source = rest(vendor)
    with pytest.raises(SourceError) as caught:
        list(source.trades(STOCKS, ["AAPL"]))
    told = caplog.text + repr(source) + str(caught.value) + repr(caught.value) + repr(caught.value.__cause__)
    assert KEY not in told
    assert repr(Transport(vendor.base_url, KEY)) == f"Transport({vendor.base_url!r}, key='…89')"


def test_masking():
    assert [mask_key(None), mask_key(""), mask_key("short"), mask_key(KEY)] == ["(not set)", "(not set)", "…", "…89"]
    assert scrub(f"?apiKey=abc&x=1 {KEY}", KEY) == "?apiKey=***&x=1 ***"


@pytest.mark.parametrize("address", ["", "api.polygon.io", "ftp://api.polygon.io", "http://", "http://user@host"])
def test_an_invalid_address_is_refused(address):
    with pytest.raises(SourceError, match="POLYGON_BASE_URL"):
        RestSource(address, KEY, {})


def test_impossible_rows_are_quarantined_and_the_rest_is_kept(vendor):
    rows = vendor.rows["trades/AAPL"] = stock_trades(25, ties=False)
    rows[3]["price"] = 0
    rows[4]["price"] = "12.5"
    rows[5].pop("price")
    rows[12]["size"] = -1
    rows[13]["exchange"] = 10**9
    rows[14]["sequence_number"] = "fourteen"
    rows[15].pop("sequence_number")  # a row without a number is numbered by its position
    load = rest(vendor).trades(STOCKS, ["AAPL"])
    frame = pl.concat(load)
    assert frame["id"].to_list() == [str(i) for i in range(25) if i not in (3, 4, 5, 12, 13, 14)]
    assert load.source_rows == 25 == frame.height + load.quarantine.height
    QUARANTINE.check(load.quarantine)
    assert load.quarantine.select("source", "line").rows() == [
        (f"/v3/trades/AAPL 2024-05-01 page {1 + row // 10}", 1 + row % 10) for row in (3, 4, 5, 12, 13, 14)
    ]
    reasons = load.quarantine["reason"].to_list()
    for reason, word in zip(
        reasons, ["price is 0.0", "price", "price", "size is -1.0", "exchange", "sequence_number"], strict=True
    ):
        assert word in reason
    assert [json.loads(raw)["id"] for raw in load.quarantine["raw"]] == ["3", "4", "5", "12", "13", "14"]


def test_times_outside_the_day_or_in_the_future_are_quarantined(vendor):
    good, early, late, none = stock_trades(4, ties=False)
    early["sip_timestamp"] = OPEN - 86_400 * 10**9
    late["sip_timestamp"] = OPEN + 400 * 86_400 * 10**9
    for name in ("sip_timestamp", "participant_timestamp"):
        none.pop(name)
    vendor.faults[1] = changed(results=[good, early, late, none])
    vendor.rows["trades/AAPL"] = [good]
    load = rest(vendor).trades(STOCKS, ["AAPL"])
    assert pl.concat(load).height == 1
    assert [reason.split(" ", 1)[0] for reason in load.quarantine["reason"]] == ["time", "time", "time:"]


def test_bars_that_contradict_themselves_are_quarantined(vendor):
    rows = minute_bars(6)
    rows[0]["h"] = 99.9
    rows[1]["l"] = 100.1
    rows[2]["o"] = 0
    rows[3]["v"] = -5
    vendor.rows["bars/AAPL"] = rows
    load = rest(vendor).bars(STOCKS, ["AAPL"])
    frame = pl.concat(load)
    DELIVERED_BARS.check(frame)
    assert frame.height == 2
    assert [reason.split(" ")[0] for reason in load.quarantine["reason"]] == ["high", "low", "open", "volume"]


def test_repeats_are_dropped_and_contradictions_quarantined(vendor):
    rows = stock_trades(8, ties=False)
    other = rows[7] | {"sequence_number": rows[6]["sequence_number"], "id": rows[6]["id"]}
    vendor.rows["trades/AAPL"] = [*rows[:7], rows[2], rows[2], other]
    load = rest(vendor, page_limit=3).trades(STOCKS, ["AAPL"])
    frame = pl.concat(load)
    assert frame["sequence_number"].to_list() == [row["sequence_number"] for row in rows[:7]]
    assert (load.source_rows, load.duplicates, load.quarantine.height) == (10, 2, 1)
    assert frame["price"][-1] == other["price"], "the later copy stays"


def test_a_corrected_trade_stays_and_its_correction_record_is_quarantined(vendor):
    rows = stock_trades(6, ties=False)
    later = {"sip_timestamp": rows[5]["sip_timestamp"] + 10}
    rows[1] |= {"correction": 8}
    rows[2] |= {"correction": 1}
    vendor.rows["trades/AAPL"] = [*rows, rows[1] | later | {"correction": 10}, rows[2] | later | {"correction": 12}]
    load = rest(vendor).trades(STOCKS, ["AAPL"])
    frame = pl.concat(load)
    assert frame["correction"].to_list() == [0, 8, 1, 0, 0, 0]
    assert frame["time"].is_sorted()
    assert (load.source_rows, load.duplicates, load.quarantine.height) == (8, 0, 2)
    assert all(reason.startswith("a correction record, not a trade") for reason in load.quarantine["reason"])


def test_the_next_url_of_a_pair_may_have_either_spelling(vendor):
    vendor.rows["trades/X:BTC-USD"] = vendor.rows["trades/X:BTCUSD"] = crypto_trades(12)
    vendor.faults[1] = lambda body: body | {"next_url": body["next_url"].replace("X:BTC-USD", "X:BTCUSD")}
    load = rest(vendor, page_limit=5).trades(CRYPTO, ["X:BTC-USD"])
    assert sum(frame.height for frame in load) == 12


def test_numbers_follow_the_rows_that_are_kept(vendor):
    rows = crypto_trades(10)
    rows[4]["price"] = 0
    vendor.rows["trades/X:BTC-USD"] = rows
    frame = pl.concat(rest(vendor).trades(CRYPTO, ["X:BTC-USD"]))
    assert frame["sequence_number"].to_list() == list(range(1, 10))


def test_an_empty_page_with_a_next_url_is_followed(vendor):
    everything = vendor.rows["quotes/AAPL"] = stock_quotes(12)
    vendor.faults[2] = changed(results=[])
    vendor.faults[3] = changed(results=everything[10:])
    vendor.largest_page = 5
    load = rest(vendor).quotes(STOCKS, ["AAPL"])
    assert sum(frame.height for frame in load) == 7 == load.source_rows


def test_the_rate_limit_of_a_key_is_shared_by_all_its_sources(vendor):
    vendor.rows["bars/AAPL"] = minute_bars(2)
    key = next(_fresh_keys)
    for _ in range(5):
        source = RestSource(vendor.base_url, key, {Market.STOCKS: "basic"}, patience=PATIENCE, clock=lambda: NOW)
        list(source.bars(STOCKS, ["AAPL"]))
    given_up = threading.Event()
    threading.Timer(0.3, given_up.set).start()
    with pytest.raises(CancelledError):
        Transport(vendor.base_url, key).get("/anything", plan_for("stocks", "basic"), cancelled=given_up)
    assert len(vendor.seen) == 5, "the sixth call of the minute waits"
