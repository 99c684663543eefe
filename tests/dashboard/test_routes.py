"""The chart's routes: candles as Arrow, exports, assets, permissions, bad requests; live events and their resumption."""

import datetime as dt
import io
import json
from pathlib import Path
from typing import Any

import anyio
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from starlette.applications import Starlette
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Receive, Scope, Send

from dashboard import identity, places
from dashboard.identity import Identity
from dashboard.live.events import Events
from dashboard.live.routes import ROUTES
from tapewatch.market.instruments import Market, Partition
from tapewatch.market.tables.live import LIVE_BARS
from tapewatch.store.database.database import Database
from tests.support.watched_home import BURST, NEAR, START, alert, live_bars, write_alerts

_SPAN = {"from": START.timestamp(), "to": START.timestamp() + 1_500}
_ASKED: dict[str, Any] = {"market": "stocks", "symbol": "AAPL", "most": 300, **_SPAN}


def client(*permissions: str) -> TestClient:
    """A browser of a person with these permissions; of nobody without any."""
    person = Identity("ann", "user", frozenset(permissions))

    def logged_in(app: ASGIApp) -> ASGIApp:
        async def called(scope: Scope, receive: Receive, send: Send) -> None:
            await app({**scope, **({identity.SCOPE: person} if permissions else {})}, receive, send)

        return called

    return TestClient(logged_in(Starlette(routes=ROUTES)))


def test_candles_come_as_arrow_with_what_happened(placed: Path) -> None:
    reply = client("dashboard").get("/tape/candles", params=_ASKED)
    table = pa.ipc.open_stream(reply.content).read_all()
    metadata = {key.decode(): value.decode() for key, value in table.schema.metadata.items()}
    assert table.num_rows == 25
    assert metadata["minutes"] == "1"
    assert int(metadata["first"]) == START.timestamp()
    found = {mark["source"]: mark for mark in client("dashboard").get("/tape/marks", params=_ASKED).json()}
    assert set(found) == {"alert", "incident"}
    assert found["alert"]["start_time"] == BURST[0].timestamp()


def test_what_is_seen_is_exported_with_the_permission_alone(placed: Path) -> None:
    both = client("dashboard", "export")
    rows = pl.read_csv(io.StringIO(both.get("/tape/export/candles.csv", params=_ASKED).text), try_parse_dates=True)
    again = pl.read_parquet(io.BytesIO(both.get("/tape/export/candles.parquet", params=_ASKED).content))
    assert rows.height == again.height == 25
    assert set(rows["symbol"]) == {"AAPL"}
    assert rows["close"].to_list() == pytest.approx(again["close"].to_list())
    assert client("dashboard").get("/tape/export/candles.csv", params=_ASKED).status_code == 403
    assert both.get("/tape/export/candles.exe", params=_ASKED).status_code == 404


@pytest.mark.parametrize(
    "path", ["/tape/candles", "/tape/marks", "/tape/export/candles.csv", "/tape/events", "/tape/assets/candles.mjs"]
)
def test_nobody_reads_without_a_login(placed: Path, path: str) -> None:
    assert client().get(path, params=_ASKED).status_code == 401
    assert client("mark").get(path, params=_ASKED).status_code == 403


@pytest.mark.parametrize("name", ["..%2Ffetch.py", "__init__.py", "..", "%2Fetc%2Fpasswd", "candles.mjs.map"])
def test_only_the_charts_own_files_are_served(placed: Path, name: str) -> None:
    assert client("dashboard").get("/tape/assets/candles.mjs").status_code == 200
    assert client("dashboard").get(f"/tape/assets/{name}").status_code == 404


@pytest.mark.long
@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    some.dictionaries(some.sampled_from(["market", "symbol", "from", "to", "most"]), some.text(max_size=12), min_size=1)
)
def test_no_request_is_a_server_error(placed: Path, asked: dict[str, str]) -> None:
    for path in ("/tape/candles", "/tape/marks"):
        assert client("dashboard").get(path, params=_ASKED | asked).status_code in (200, 400)


def parsed(events: list[str]) -> list[tuple[str, str, dict[str, Any]]]:
    """(id, event, data) of each event."""
    found = []
    for event in events:
        fields = dict(line.split(": ", 1) for line in event.strip().splitlines())
        found.append((fields["id"], fields["event"], json.loads(fields["data"])))
    return found


def test_new_bars_and_alerts_are_sent_once_and_changes_again(database: Database) -> None:
    now = dt.datetime.now(dt.UTC).replace(second=0, microsecond=0)
    today = Partition(now.date(), Market.STOCKS)
    database.upsert(LIVE_BARS, today, live_bars("AAPL", now - dt.timedelta(minutes=9), [1.0, 2.0]))
    reader = Events(database)
    assert reader.new() == []  # what was there is in the chart already
    database.upsert(LIVE_BARS, today, live_bars("AAPL", now, [3.0]))
    late = alert("late", "AAPL", "price_move", 2.0) | {"detected_time": now, "end_time": None}
    write_alerts(database, late)
    found = parsed(reader.new())
    assert [(name, said.get("close"), said.get("is_open")) for _, name, said in found] == [
        ("bar", 3.0, None),
        ("alert", None, True),
    ]
    assert reader.new() == []
    database.upsert(LIVE_BARS, today, live_bars("AAPL", now, [4.0], revision=1))
    write_alerts(database, late | {"end_time": BURST[1]})
    again = parsed(reader.new())
    assert [(said.get("close"), said.get("is_new")) for _, _, said in again] == [(4.0, None), (None, False)]


def test_a_reader_that_comes_back_gets_what_it_missed(database: Database) -> None:
    now = dt.datetime.now(dt.UTC).replace(second=0, microsecond=0)
    today = Partition(now.date(), Market.STOCKS)
    database.upsert(LIVE_BARS, today, live_bars("AAPL", now - dt.timedelta(minutes=9), [1.0]))
    reader = Events(database)
    reader.new()
    database.upsert(LIVE_BARS, today, live_bars("AAPL", now - dt.timedelta(minutes=5), [2.0]))
    (last_id, _, _), *_ = parsed(reader.new())
    database.upsert(LIVE_BARS, today, live_bars("AAPL", now, [3.0]))
    write_alerts(database, alert("missed", "AAPL", "price_move", 2.0) | {"detected_time": now})
    missed = parsed(Events(database, last_id).new())
    assert {said.get("close") or said["alert_id"] for _, _, said in missed} >= {3.0, "missed"}
    assert NEAR not in {said.get("alert_id") for _, _, said in missed}
    assert Events(database, "no id of ours").new() == []


def test_events_are_a_stream_that_ends_with_its_reader(placed: Path) -> None:
    async def collect() -> list[str]:
        rounds = iter([False, False, True])

        async def gone() -> bool:
            return next(rounds)

        source = Events(places.database())
        source.new()
        write_alerts(
            places.database(), alert("new", "AAPL", "price_move", 2.0) | {"detected_time": dt.datetime.now(dt.UTC)}
        )
        return [event async for event in source.stream(gone)]

    sent = anyio.run(collect)
    assert sent[0].startswith("retry: ")
    assert parsed(sent[1:])[0][2]["alert_id"] == "new"
