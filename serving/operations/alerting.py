"""`/alerts`, `/alerts/stream` and `/feedback`."""

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any, Final

import msgspec
from starlette.responses import Response, StreamingResponse

from serving.contract.messages import Alert, Alerts, Feedback, FeedbackAnswer
from serving.http.operation import Call, operation, respond
from serving.http.problems import Problem
from serving.metrics import STREAMS
from serving.operations.alerts import LEVELS, Wanted, new_alerts, read_alerts
from serving.schemas import RequestError
from tapewatch.market.instruments import Market
from tapewatch.store.database.engine import DatabaseError
from tapewatch.store.database.people.verdicts import VerdictError, give_verdict
from tapewatch.tracing import traceparent_of

_LONGEST_LIST: Final = 1_000
_MOST_STREAMS: Final = 64
#: How often the database is read, how often a silent stream says that it lives, and when it ends for the client to resume.
_POLL_S, _SILENT_S, _STREAM_S = 1.0, 15.0, 600.0
#: Alerts may be committed a little later than one that was detected after them.
_OVERLAP: Final = dt.timedelta(seconds=10)
_MOST_AT_ONCE: Final = 500
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_feedback = msgspec.json.Decoder(Feedback)
_encode = msgspec.json.Encoder().encode
_PARAMETERS: Final = frozenset({"start", "end", "market", "symbol", "kind", "level", "one_in_hours", "source", "limit"})


@operation()
async def alerts(call: Call) -> Response:
    """Alerts, incidents and anomalies by time, symbol, kind and level."""
    wanted = _wanted(call.request.query_params)
    # One more says whether there are more.
    more = replace(wanted, limit=wanted.limit + 1)
    found = await asyncio.to_thread(read_alerts, call.deployment.database, more)
    call.rows = len(found)
    found = [_traced(call, each) for each in found]
    return respond(Alerts(found[: wanted.limit], len(found) > wanted.limit, call.request_id))


@operation()
async def alert_stream(call: Call) -> Response:
    """New alerts of the live rules as server-sent events; `Last-Event-ID` resumes after an event."""
    headers, query = call.request.headers, call.request.query_params
    given = headers.get("last-event-id") or query.get("last_event_id")
    position = _position(given) if given else (dt.datetime.now(dt.UTC), "")
    market, symbol = _market(query.get("market")), query.get("symbol")
    database = call.deployment.database
    if call.deployment.streams >= _MOST_STREAMS:
        raise Problem(
            503, "busy", f"{_MOST_STREAMS} streams are open", way_out="close one", headers={"Retry-After": "5"}
        )
    events = _events(call, database, position, market, symbol)
    return StreamingResponse(events, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})


@operation("feedback")
async def feedback(call: Call) -> Response:
    """Confirm or dismiss an alert or incident; the caller is the author."""
    try:
        said: Feedback = _feedback.decode(await call.body())
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RequestError(str(error)) from error
    author = call.caller.name
    call.note = {"alert_id": said.alert_id, "verdict": said.verdict}
    try:
        await asyncio.to_thread(
            give_verdict, call.deployment.database, said.alert_id, verdict=said.verdict, author=author, note=said.note
        )
    except VerdictError as error:
        raise Problem(
            404, "no-alert", str(error), field="alert_id", way_out="GET /alerts lists the ids of alerts and incidents"
        ) from error
    return respond(FeedbackAnswer(said.alert_id, said.verdict, author, call.request_id))


async def _events(
    call: Call, database: Any, position: tuple[dt.datetime, str], market: Market | None, symbol: str | None
) -> AsyncIterator[bytes]:
    deployment, loop = call.deployment, asyncio.get_running_loop()
    began = spoke = loop.time()
    sent: dict[str, dt.datetime] = {}
    after = position
    deployment.streams += 1
    STREAMS.set(deployment.streams)
    try:
        yield b"retry: 1000\n\n"
        while loop.time() - began < _STREAM_S and not deployment.is_stopping.is_set():
            try:
                since = max(position[0], after[0] - _OVERLAP)
                found = await asyncio.to_thread(lambda: list(new_alerts(database, since, _MOST_AT_ONCE)))  # noqa: B023
            except DatabaseError as error:
                deployment.log.write("error", request_id=call.request_id, reason=str(error))
                found = []
            for time, alert in found:
                place = (time, alert.id)
                if alert.id in sent or place <= position:
                    continue
                sent[alert.id], after = time, max(after, place)
                if market in (None, alert.market) and symbol in (None, alert.symbol):
                    yield _event(place, _traced(call, alert))
                    spoke = loop.time()
            sent = {name: time for name, time in sent.items() if time >= after[0] - 2 * _OVERLAP}
            if loop.time() - spoke > _SILENT_S:
                yield b": still here\n\n"
                spoke = loop.time()
            if len(found) < _MOST_AT_ONCE:
                await asyncio.sleep(_POLL_S)
    finally:
        deployment.streams -= 1
        STREAMS.set(deployment.streams)


def _traced(call: Call, alert: Alert) -> Alert:
    """The alert with the header of its trace, if the platform makes traces; collectors trace the alerts that they raise."""
    is_traced = bool(call.deployment.otlp_endpoint) and alert.source == "alert"
    return msgspec.structs.replace(alert, traceparent=traceparent_of(alert.id)) if is_traced else alert


def _event(place: tuple[dt.datetime, str], alert: Alert) -> bytes:
    micros = (place[0] - _EPOCH) // dt.timedelta(microseconds=1)
    return f"id: {micros}/{place[1]}\nevent: alert\ndata: ".encode() + _encode(alert) + b"\n\n"


def _position(given: str) -> tuple[dt.datetime, str]:
    micros, _, alert_id = given.partition("/")
    try:
        return _EPOCH + dt.timedelta(microseconds=int(micros)), alert_id
    except (ValueError, OverflowError) as error:
        raise Problem(
            422,
            "invalid",
            f"Last-Event-ID {given[:80]!r} is none of this stream's",
            field="Last-Event-ID",
            way_out="send back an event's `id` as it came, or none",
        ) from error


def _wanted(query: Mapping[str, str]) -> Wanted:
    unknown = [name for name in query if name not in _PARAMETERS]
    if unknown:
        raise _wrong(unknown[0], "is no parameter", f"use {', '.join(sorted(_PARAMETERS))}")
    level, source = query.get("level"), query.get("source")
    if level is not None and level not in LEVELS:
        raise _wrong("level", f"is {level[:80]!r}", f"give {', '.join(LEVELS)}")
    if source not in (None, "alert", "incident", "anomaly"):
        raise _wrong("source", f"is {str(source)[:80]!r}", "give alert, incident or anomaly")
    start, end = _time(query, "start"), _time(query, "end")
    if start and end and end <= start:
        raise _wrong("end", "is not after start", "give a later end")
    return Wanted(
        start,
        end,
        _market(query.get("market")),
        _text(query, "symbol"),
        _text(query, "kind"),
        level,
        _number(query, "one_in_hours", 0.0, 1e9),
        source,  # type: ignore[arg-type]
        int(_number(query, "limit", 1, _LONGEST_LIST) or 100),
    )


def _market(given: str | None) -> Market | None:
    if given is None:
        return None
    try:
        return Market(given)
    except ValueError as error:
        raise _wrong("market", f"is {given[:80]!r}", f"give {', '.join(Market)}") from error


def _text(query: Mapping[str, str], name: str) -> str | None:
    given = query.get(name)
    if given is not None and (not 1 <= len(given) <= 64 or not given.isprintable()):
        raise _wrong(name, "is empty, too long or not printable", "give 1 to 64 characters")
    return given


def _time(query: Mapping[str, str], name: str) -> dt.datetime | None:
    given = query.get(name)
    if given is None:
        return None
    try:
        # In a query `+` is a space.
        time = msgspec.convert(given.replace(" ", "+"), dt.datetime)
    except msgspec.ValidationError as error:
        raise _wrong(name, f"is {given[:80]!r}", "give a time such as 2024-06-03T14:25:00Z") from error
    if time.tzinfo is None:
        raise _wrong(name, "has no time zone", "give UTC, such as 2024-06-03T14:25:00Z")
    if not 1900 <= time.year <= 2200:
        raise _wrong(name, "lies outside 1900 to 2200", "give another time")
    return time.astimezone(dt.UTC)


def _number(query: Mapping[str, str], name: str, least: float, most: float) -> float | None:
    given = query.get(name)
    if given is None:
        return None
    try:
        value = float(given)
    except ValueError:
        value = float("nan")
    if not least <= value <= most or (name == "limit" and value != int(value)):
        raise _wrong(name, f"is {given[:80]!r}", f"give a number from {least:g} to {most:g}")
    return value


def _wrong(name: str, what: str, way_out: str) -> Problem:
    return Problem(422, "invalid", f"{name} {what}", field=name, way_out=way_out)
