"""Tests the real endpoints (REST, stream, flat files) against the configured plans, one result row per test.

A key allows one connection per cluster, so callers probe a stream only while no collector of theirs is connected.
"""

import asyncio
import datetime as dt
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from tapewatch.feeds.errors import scrub
from tapewatch.feeds.files.source import FlatFileSource
from tapewatch.feeds.plans.table import MarketPlan, TapeTable
from tapewatch.feeds.rest.reference import rule_differences
from tapewatch.feeds.rest.source import RestSource
from tapewatch.feeds.source import SourceError
from tapewatch.feeds.stream.channels import StreamReply, message, replies_in, subscriptions
from tapewatch.feeds.stream.policy import expect_asked_server
from tapewatch.feeds.stream.tls import trusted_by
from tapewatch.market.instruments import Market, Partition, session_of
from tapewatch.network import is_loopback

_LOOK_BACK_DAYS: Final = 10
_PATIENCE_S: Final = 10.0
_CROWDED: Final = "max_connections"
_POLICY_VIOLATION: Final = 1008
_SAME_RULES: Final = "the vendor's rules are those that bars are built by"
# At DEBUG the library logs what it sends, including the key.
_quiet_log = logging.getLogger(f"{__name__}.library")
_quiet_log.setLevel(logging.WARNING)


@dataclass(frozen=True, slots=True)
class ProbeRow:
    """One test and its result; `is_odd` marks a passed test whose detail the user should read."""

    what: str
    is_ok: bool
    detail: str
    elapsed_s: float
    is_odd: bool = False


def probe(source: RestSource, symbols: Mapping[Market, Sequence[str]], *, today: dt.date) -> Iterator[ProbeRow]:
    """Test the REST status, then each market's last full day, one row per call; stop if the server does not answer.

    Requests only tables that the plan grants, and only bars from a plan that counts calls. If the plan has stock trades,
    compares the vendor's update rules with those that bars are built by.
    """
    status = _tried("server and key", lambda: f"{len(source.reference.market_status())} markets and exchanges report")
    yield status
    if not status.is_ok:
        return
    for market, watched in symbols.items():
        plan, day = source.plan(market), _last_full_day(market, today)
        if not watched or day is None:
            continue
        for tape in TapeTable:
            if plan.grants(tape) and (tape is TapeTable.BARS or not plan.is_metered):
                yield _tried(
                    f"{tape} of {watched[0]} on {day}",
                    partial(_found, source, tape, Partition(day, market), watched[0]),
                )
        if market is Market.STOCKS and plan.grants(TapeTable.TRADES):
            rules = _tried("condition codes of stocks", partial(_rules, source))
            yield replace(rules, is_odd=rules.is_ok and rules.detail != _SAME_RULES)


def probe_stream(plan: MarketPlan, address: str, key: str, symbol: str, *, patience_s: float = _PATIENCE_S) -> ProbeRow:
    """Connect to a market's stream, authenticate, subscribe to the plan's last channel of one symbol, and disconnect."""
    return _tried(f"stream {address}", partial(_subscribed, plan, address, key, symbol, patience_s))


def probe_flat_files(root: str, market: Market) -> ProbeRow:
    """The newest day of each of a market's tables in a folder or bucket."""
    return _tried(f"flat files of {market}", partial(_newest_files, root, market))


def _tried(what: str, ask: Callable[[], str]) -> ProbeRow:
    start = time.perf_counter()
    try:
        detail, is_ok = ask(), True
    except (SourceError, OSError) as error:
        detail, is_ok = str(error), False
    return ProbeRow(what, is_ok, detail, time.perf_counter() - start)


def _rules(source: RestSource) -> str:
    differences = rule_differences(source.reference.update_rules(Market.STOCKS))
    if not differences:
        return _SAME_RULES
    return f"the vendor's rules are not those that bars are built by: code {'; code '.join(differences)}"


def _found(source: RestSource, tape: TapeTable, partition: Partition, symbol: str) -> str:
    if not source.has_rows(tape, partition, symbol):
        raise SourceError(f"no {tape} for {symbol} on {partition.date}: check the symbol's spelling (AAPL, X:BTC-USD)")
    return "granted"


def _last_full_day(market: Market, today: dt.date) -> dt.date | None:
    days = (today - dt.timedelta(days=back) for back in range(1, _LOOK_BACK_DAYS))
    return next((day for day in days if session_of(market, day)), None)


def _subscribed(plan: MarketPlan, address: str, key: str, symbol: str, patience_s: float) -> str:
    wanted = subscriptions(plan, [symbol], [plan.channels[-1]])[0]
    setting = f"POLYGON_WS_URL_{plan.market.upper()}"
    try:
        asyncio.run(_converse(address, key, wanted, patience_s))
    except _InUseError:
        return "in use: another connection of this key is open, and only one is allowed"
    except ConnectionClosed as error:
        if error.rcvd is not None and error.rcvd.code == _POLICY_VIOLATION:
            return "in use, or refused by policy (close code 1008): one connection a key and cluster"
        raise SourceError(f"the server closed the connection: {scrub(str(error), key)}; try again") from error
    except TimeoutError as error:
        raise SourceError(f"no answer within {patience_s:g} s: check {setting}") from error
    except (OSError, WebSocketException) as error:
        raise SourceError(f"cannot be reached ({scrub(str(error), key)}): check {setting}") from error
    return f"subscribed to {wanted}"


async def _converse(address: str, key: str, wanted: str, patience_s: float) -> None:
    """Connect, authenticate, subscribe. In one thread: OpenSSL's connections are not safe for a reader beside a writer."""
    options: dict[str, Any] = {"open_timeout": patience_s, "close_timeout": patience_s, "logger": _quiet_log}
    options["proxy"] = None if is_loopback(urlsplit(address).hostname or "") else True
    async with connect(address, ssl=trusted_by(address), **options) as connection:
        expect_asked_server(address, connection.protocol.uri)
        await _await_status(connection, key, {"connected"}, patience_s)
        await connection.send(message("auth", key))
        await _await_status(connection, key, {"auth_success"}, patience_s)
        await connection.send(message("subscribe", wanted))
        await _await_status(connection, key, {"success"}, patience_s)


class _InUseError(Exception):
    """Another connection of the key holds the cluster."""


async def _await_status(connection: ClientConnection, key: str, wanted: set[str], patience_s: float) -> None:
    """Read until the server sends one of the `wanted` statuses; other events are ignored."""
    async with asyncio.timeout(patience_s):
        while True:
            for reply in replies_in(await connection.recv(decode=False)):
                if reply.status in wanted:
                    return
                _expect_no_refusal(reply, key)


def _expect_no_refusal(reply: StreamReply, key: str) -> None:
    if reply.status == _CROWDED:
        raise _InUseError
    if reply.status == "auth_failed":
        raise SourceError(f"the key is not accepted: set POLYGON_API_KEY. {scrub(reply.message, key)}")
    if reply.status not in ("connected", "auth_success", "success"):
        raise SourceError(
            f"{reply.status}: {scrub(reply.message, key)}; the plan may be smaller than its POLYGON_TIER setting"
        )


def _newest_files(root: str, market: Market) -> str:
    held = FlatFileSource(root).available(market)
    if not held:
        raise SourceError(f"no files of {market} in {root}: expected a folder {' or '.join(market.flat_file_folders)}")
    return ", ".join(f"{table} to {max(days)}" for table, days in held.items())
