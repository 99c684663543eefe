"""Keys, plans, call rates and addresses: each refusal has the vendor's status and body."""

import datetime as dt
from pathlib import Path

import httpx
import pytest

from tapewatch.emulator.synthetic.market import Synthetic
from tapewatch.emulator.tape.market_tape import SyntheticTape
from tapewatch.emulator.vendor.gate import Gate, tier_of
from tapewatch.feeds.plans.table import PLANS_FILE, TapeTable
from tapewatch.market.instruments import NS_PER_MINUTE, Market
from tests.support import ask
from tests.support.emulator import Clock, serving

BARS = "/v2/aggs/ticker/VOO/range/1/minute/2024-03-05/2024-03-05"
SEED = 4


def get(url: str, path: str, key: str | None = "k", **params: str) -> httpx.Response:
    headers = {"Authorization": f"Bearer {key}"} if key is not None else {}
    return ask.get(url + path, params=params or None, headers=headers, timeout=60)


def test_keys() -> None:
    with serving(SyntheticTape(SEED), key="the-one") as url:
        assert get(url, BARS, "the-one").status_code == 200
        assert get(url, BARS, None, apiKey="the-one").status_code == 200  # pragma: allowlist secret
        for answer in (get(url, BARS, "another"), get(url, BARS, None), get(url, BARS, None, apiKey="")):
            assert answer.status_code == 401
            body = answer.json()
            assert body["status"] == "ERROR"
            assert body["error"] in {"Unknown API Key", "API Key was not provided"}
            assert len(body["request_id"]) == 32


def test_any_key_is_accepted_by_default_but_an_empty_one_is_not() -> None:
    with serving(SyntheticTape(SEED)) as url:
        assert get(url, BARS, "whatever").status_code == 200
        assert get(url, BARS, None).status_code == 401
        assert get(url, BARS, None, apiKey=" ").status_code == 401


def test_the_next_page_s_address_has_no_key_and_needs_one() -> None:
    with serving(SyntheticTape(SEED)) as url:
        body = get(url, "/v3/trades/VOO", "secret-key", timestamp="2024-03-05", limit="10").json()
        assert body["next_url"].startswith(f"{url}/v3/trades/VOO?cursor=")
        assert "secret-key" not in body["next_url"]
        assert get(body["next_url"], "", None).status_code == 401
        assert len(get(body["next_url"], "", "secret-key").json()["results"]) == 10


@pytest.mark.parametrize(
    ("key", "tier"),
    [("basic", "basic"), ("starter-7", "starter"), ("developer-x-y", "developer"), ("Basic-1", "basic"),
     ("advanced-1", "advanced"), ("basically", "advanced"), ("pk_123", "advanced")],
)  # fmt: skip
def test_a_key_names_its_plan(key: str, tier: str) -> None:
    assert tier_of(key) == tier


@pytest.mark.parametrize(
    ("key", "bars", "trades", "quotes"),
    [("basic-1", 200, 403, 403), ("starter-1", 200, 403, 403), ("developer-1", 200, 200, 403), ("any", 200, 200, 200)],
)
def test_plans_grant_tables(key: str, bars: int, trades: int, quotes: int) -> None:
    with serving(SyntheticTape(SEED)) as url:
        got = [get(url, path, key, timestamp="2024-03-05") for path in (BARS, "/v3/trades/VOO", "/v3/quotes/VOO")]
    assert [answer.status_code for answer in got] == [bars, trades, quotes]
    for answer in got:
        if answer.status_code == 403:
            body = answer.json()
            assert body["status"] == "NOT_AUTHORIZED"
            assert "upgrade your plan" in body["message"]


def test_a_plan_with_crypto_trades_includes_crypto_quotes() -> None:
    with serving(SyntheticTape(SEED)) as url:
        assert get(url, "/v3/quotes/X:BTCUSD", "starter-1", timestamp="2024-03-05").json()["results"]
        assert get(url, "/v3/quotes/X:BTCUSD", "basic-1", timestamp="2024-03-05").status_code == 403


def test_basic_has_five_calls_a_minute() -> None:
    clock = Clock()
    with serving(SyntheticTape(SEED), clock=clock) as url:
        first = [get(url, "/v3/reference/exchanges", "basic-a").status_code for _ in range(5)]
        clock.ns += 20_000_000_000
        refused = get(url, "/v3/reference/exchanges", "basic-a")
        assert first == [200] * 5
        assert refused.status_code == 429
        assert refused.headers["Retry-After"] == "40"
        assert "maximum requests per minute" in refused.json()["error"]
        assert get(url, "/v3/reference/exchanges", "basic-b").status_code == 200
        assert get(url, "/v3/reference/exchanges", "unmetered").status_code == 200
        clock.ns += 41_000_000_000
        assert get(url, "/v3/reference/exchanges", "basic-a").status_code == 200


def test_history_and_recency_depend_on_the_plan() -> None:
    with serving(SyntheticTape(SEED)) as url:
        old = "/v2/aggs/ticker/VOO/range/1/day/2019-01-02/2019-01-04"
        assert get(url, old, "developer-1").json()["resultsCount"] == 3
        assert get(url, old, "basic-1").status_code == 403
        assert "timeframe" in get(url, old, "basic-2").json()["message"]
        assert get(url, old, "any").json()["resultsCount"] == 3
        today = "/v2/aggs/ticker/VOO/range/1/minute/2024-03-08/2024-03-08"
        assert get(url, today, "basic-3").status_code == 403
        now = int(dt.datetime(2024, 3, 8, 20, tzinfo=dt.UTC).timestamp()) * 1000
        delayed, live = (get(url, today, key).json()["results"][-1]["t"] for key in ("starter-2", "any"))
        assert now - 17 * 60_000 <= delayed < now - 15 * 60_000
        assert now - 2 * 60_000 <= live < now
        both = get(url, "/v2/aggs/ticker/VOO/range/1/day/2021-01-04/2024-03-05", "basic-4", limit="2").json()
        first = dt.datetime.fromtimestamp(both["results"][0]["t"] / 1000, dt.UTC).date()
        assert first == dt.date(2022, 3, 8)


def test_a_stream_has_the_plan_s_delay(tmp_path: Path) -> None:
    gate = Gate()
    minutes = {key: gate.stream_delay_ns(key, Market.STOCKS) // NS_PER_MINUTE for key in ("starter-1", "any")}
    assert minutes == {"starter-1": 15, "any": 0}
    assert gate.stream_delay_ns("starter-1", Market.FUTURES) == 10 * NS_PER_MINUTE
    head, advanced = PLANS_FILE.read_text("utf-8").split("[stocks.advanced]\n", 1)
    edited = tmp_path / "plans.toml"
    edited.write_text(f'{head}[stocks.advanced]\nstream_recency = "delayed_15m"\n{advanced}', "utf-8")
    late = Gate(clock=Clock(), plans=edited)
    assert late.stream_delay_ns("any", Market.STOCKS) == 15 * NS_PER_MINUTE
    assert late.window("any", Market.STOCKS, TapeTable.TRADES, None, None) == (None, late.now), "REST is in real time"


@pytest.mark.parametrize("path", ["/", "/v9/nothing", "/v3/trades", "/v2/aggs/grouped/locale/us/market/otc/2024-03-05"])
def test_an_unknown_address(path: str) -> None:
    with serving(SyntheticTape(SEED)) as url:
        answer = get(url, path)
    assert answer.status_code == 404
    assert answer.json()["status"] == "NOT_FOUND"


def test_truth_and_info_need_no_key() -> None:
    with serving(SyntheticTape(SEED)) as url:
        assert get(url, "/emulator/v1/info", None).json()["source"] == "synthetic"
        rows = get(url, "/emulator/v1/truth", None, ticker="X:BTCUSD", date="2024-03-05").json()["results"]
        truth = Synthetic(SEED).day("X:BTC-USD", dt.date(2024, 3, 5)).truth
        assert [row["event_id"] for row in rows] == truth["event_id"].to_list()
        assert [row["start_ns"] for row in rows] == truth["start_time"].to_physical().to_list()
        assert [row["end_ns"] for row in rows] == truth["end_time"].to_physical().to_list()
        assert {row["ticker"] for row in rows} == {"X:BTCUSD"}
        assert get(url, "/emulator/v1/truth", None, ticker="VOO", date="2124-03-06").json()["results"] == []
        assert get(url, "/emulator/v1/truth", None, ticker="VOO", date="soon").status_code == 400
        assert get(url, "/emulator/v1/truth", None, date="2024-03-05").status_code == 400
