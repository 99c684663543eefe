"""Alerts are listed and streamed, and people's verdicts on them are recorded."""

import asyncio
import datetime as dt
import json

import httpx
import pytest

from serving.app import application
from tapewatch.accounts.keys import create_key
from tapewatch.market.tables.live import ALERT_VERDICTS, ALERTS
from tests.serving.operations.conftest import AT, DAY, MINUTE, Served, an_alert, write_findings

PATIENCE_S = 180


def kinds(served: Served, query: str = "") -> list[str]:
    found = served.client.get(f"/alerts{query}").raise_for_status().json()
    return [each["kind"] for each in found["alerts"]]


@pytest.mark.long
def test_alerts_are_listed_newest_first_by_what_is_asked(served: Served) -> None:
    assert kinds(served) == []
    write_findings(served.database)
    assert kinds(served) == ["volume_spike", "spread_blowout", "price_jump"]
    assert kinds(served, "?symbol=AAPL") == ["spread_blowout", "price_jump"]
    assert kinds(served, "?kind=volume_spike") == ["volume_spike"]
    assert kinds(served, "?level=warning") == ["price_jump"]
    assert kinds(served, "?level=critical") == []
    assert kinds(served, "?one_in_hours=100") == ["volume_spike", "spread_blowout"]
    assert kinds(served, "?one_in_hours=140") == ["volume_spike"]
    assert kinds(served, "?one_in_hours=200") == []
    assert kinds(served, "?source=anomaly") == ["volume_spike"]
    assert kinds(served, "?market=crypto") == []
    assert kinds(served, f"?start={(AT + 5 * MINUTE).isoformat()}&end={(AT + 15 * MINUTE).isoformat()}") == [
        "spread_blowout"
    ]
    (anomaly,) = served.client.get("/alerts?source=anomaly").json()["alerts"]
    assert (anomaly["level"], anomaly["one_in_hours"]) == ("1 in 150 h", 150.0)
    cut = served.client.get("/alerts?limit=2").json()
    assert (len(cut["alerts"]), cut["is_cut"]) == (2, True)
    incident = cut["alerts"][1]
    assert (incident["level"], incident["message"]) == ("1 in 137 h", "spread 6.5 times the usual")


def test_an_anomaly_without_a_level_is_listed_but_not_as_rare(served: Served) -> None:
    write_findings(served.database, hours=None)
    (anomaly,) = served.client.get("/alerts?source=anomaly").json()["alerts"]
    assert "level" not in anomaly
    assert "one_in_hours" not in anomaly
    assert kinds(served, "?source=anomaly&one_in_hours=0") == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("symbl=AAPL", "symbl"),
        ("level=high", "level"),
        ("market=mars", "market"),
        ("start=yesterday", "start"),
        ("start=2024-06-03T14:00:00", "start"),
        ("start=2024-06-03T14:00:00Z&end=2024-06-03T14:00:00Z", "end"),
        ("limit=0", "limit"),
        ("limit=1.5", "limit"),
        ("limit=nan", "limit"),
        ("one_in_hours=-1", "one_in_hours"),
        ("symbol=", "symbol"),
        ("kind=%00", "kind"),
        ("source=rumour", "source"),
    ],
)
def test_a_wrong_parameter_is_named(served: Served, query: str, field: str) -> None:
    answer = served.client.get(f"/alerts?{query}")
    assert (answer.status_code, answer.json()["field"]) == (422, field)


def test_a_verdict_is_recorded_under_the_name_of_the_key(served: Served) -> None:
    write_findings(served.database)
    alert = served.client.get("/alerts?source=alert").json()["alerts"][0]["id"]
    said = {"alert_id": alert, "verdict": "dismissed", "note": "a late print"}
    assert served.client.post("/feedback", json=said).json()["author"] == "local"
    _, key = create_key(served.database, "desk", ["feedback"], actor="ada")
    served.deployment.read_keys()
    answer = served.client.post("/feedback", json=said | {"verdict": "confirmed"}, headers={"x-api-key": key})
    assert answer.raise_for_status().json()["author"] == "desk"
    kept = served.database.read(ALERT_VERDICTS).sort("author")
    assert kept.select("author", "verdict", "note").rows() == [
        ("desk", "confirmed", "a late print"),
        ("local", "dismissed", "a late print"),
    ]


@pytest.mark.parametrize(
    ("change", "status", "field"),
    [
        ({"alert_id": "stocks:nothing"}, 404, "alert_id"),
        ({"alert_id": "stocks:incident:AAPL:never"}, 404, "alert_id"),
        ({"verdict": "maybe"}, 422, "verdict"),
        ({"note": "x" * 3_000}, 422, "note"),
    ],
)
def test_feedback_that_cannot_be_recorded_is_refused(
    served: Served, change: dict[str, str], status: int, field: str
) -> None:
    write_findings(served.database)
    answer = served.client.post("/feedback", json={"alert_id": "x", "verdict": "confirmed"} | change)
    assert (answer.status_code, answer.json()["field"]) == (status, field)
    assert served.database.read(ALERT_VERDICTS).is_empty()


def test_a_stream_gives_new_alerts_once_and_resumes_after_the_last_one(served: Served) -> None:
    now = dt.datetime.now(dt.UTC)
    served.database.upsert(ALERTS, DAY, an_alert("old", detected=now - dt.timedelta(days=1)))

    def write(name: str, seconds: int, symbol: str = "AAPL") -> None:
        served.database.upsert(ALERTS, DAY, an_alert(name, detected=now + dt.timedelta(seconds=seconds), symbol=symbol))

    async def run() -> None:
        for name, seconds, symbol in (("1", 1, "AAPL"), ("2", 2, "MSFT"), ("3", 3, "AAPL"), ("4", 4, "AAPL")):
            write(name, seconds, symbol)
        every = await received(served, {"last-event-id": f"{int(now.timestamp() * 1e6)}/"}, 4)
        assert [event["data"]["id"][-1] for event in every] == ["1", "2", "3", "4"]
        rest = await received(served, {"last-event-id": every[1]["id"]}, 2)
        assert [event["data"]["id"][-1] for event in rest] == ["3", "4"]
        of_one = await received(served, {"last-event-id": every[0]["id"]}, 2, "?symbol=AAPL")
        assert [event["data"]["id"][-1] for event in of_one] == ["3", "4"]
        assert served.deployment.streams == 0

    asyncio.run(run())


def test_a_stream_without_a_position_gives_what_comes_from_now_on(served: Served) -> None:
    served.database.upsert(ALERTS, DAY, an_alert("old", detected=dt.datetime.now(dt.UTC) - MINUTE))

    async def run() -> None:
        async with asyncio.timeout(PATIENCE_S):
            waiting = asyncio.create_task(received(served, {}, 1))
            while served.deployment.streams == 0:
                await asyncio.sleep(0.01)
            served.database.upsert(ALERTS, DAY, an_alert("new", detected=dt.datetime.now(dt.UTC)))
            (event,) = await waiting
            assert event["data"]["id"].endswith("new")

    asyncio.run(run())


def test_a_foreign_position_is_refused(served: Served) -> None:
    answer = served.client.get("/alerts/stream", headers={"last-event-id": "seven"})
    assert (answer.status_code, answer.json()["field"]) == (422, "Last-Event-ID")


async def received(served: Served, headers: dict[str, str], count: int, query: str = "") -> list[dict[str, object]]:
    """The first events of a stream, which is closed after them."""
    events: list[dict[str, object]] = []
    queue: asyncio.Queue[bytes] = asyncio.Queue()
    closed = asyncio.Event()
    scope = {
        **{"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http"},
        **{"path": "/alerts/stream", "raw_path": b"/alerts/stream", "query_string": query.lstrip("?").encode()},
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        **{"client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80)},
    }

    async def receive() -> dict[str, object]:
        await closed.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, object]) -> None:
        if message["type"] == "http.response.body":
            await queue.put(message["body"])

    async with asyncio.timeout(PATIENCE_S):
        task = asyncio.create_task(application(served.deployment)(scope, receive, send))
        while len(events) < count:
            text = (await queue.get()).decode()
            fields = dict(
                line.split(": ", 1) for line in text.splitlines() if ": " in line and not line.startswith(":")
            )
            if "data" in fields:
                events.append({"id": fields["id"], "data": json.loads(fields["data"])})
        closed.set()
        await task
    return events


def test_without_a_database_the_way_out_is_named(served: Served) -> None:
    served.deployment.database_url = f"sqlite:///{served.deployment.home / 'nothing.db'}"
    served.deployment._database = None
    answer = served.client.get("/alerts")
    assert answer.status_code == 503
    assert "tapewatch up" in answer.json()["way_out"]
    assert not (served.deployment.home / "nothing.db").exists()
    served.deployment.database_url = str(served.database.url)
    assert httpx.codes.is_success(served.client.get("/alerts").status_code)
