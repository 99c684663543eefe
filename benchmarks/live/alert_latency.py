"""Time from a frame's arrival to the committed row of its alert, at 10,000 events a second with injected volume spikes.

A sender in another process uses the vendor's protocol over loopback. It sends current trades and quotes of 500 crypto pairs,
and ten times a second a volume spike in one of them. The collector is the real one, with spool, live bars and database.
Latency is measured from the first frame of the batch that raised the alert.

    python -m benchmarks.live.alert_latency [SECONDS]
"""

import argparse
import asyncio
import contextlib
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from benchmarks.live.socket_to_bars import stopped_process
from tapewatch.market.instruments import Market
from tapewatch.market.tables.live import ALERTS
from tapewatch.store.database.database import Database
from tapewatch.streaming.collector.collector import Collector
from tapewatch.streaming.collector.config import CollectorConfig
from tapewatch.streaming.collector.metrics import CollectorStatus
from tapewatch.streaming.detection.rules.settings import DetectionConfig
from tests.support.postgres import postgres

RATE = 10_000
SECONDS = 60
SPIKES_A_SECOND = 10
_SYMBOLS = 500
_FRAME = 20
_WARM_MINUTES = 20
_VOLUME_A_MINUTE = 600.0
_SPIKE_TRADES = 12
_WARM_TRADES = 12
_QUIET_CHECKS = 50


def _pair(index: int) -> str:
    return f"S{index:03d}-USD"


class _Tape:
    """Made-up events: each pair is traded and quoted in turn and has the same volume in every minute."""

    def __init__(self) -> None:
        self._number = 0

    def trade(self, index: int, ms: int, size: float) -> dict[str, object]:
        self._number += 1
        n = self._number
        price = 100 + (n * 7919 % 11 - 5) / 1000
        pair, side = _pair(index), 1 + (n * 104_729 >> 4) % 2
        return {"ev": "XT", "pair": pair, "p": price, "t": ms, "s": size, "c": [side], "i": str(n), "x": 1, "r": ms}

    def quote(self, index: int, ms: int) -> dict[str, object]:
        return {"ev": "XQ", "pair": _pair(index), "bp": 99.99, "bs": 1, "ap": 100.01, "as": 1, "t": ms, "x": 1, "r": ms}

    def warm(self, now_ms: int) -> Iterator[list[dict[str, object]]]:
        """The previous minutes, each with all its volume within one second, so that few bars are written."""
        for minute in range(_WARM_MINUTES, 0, -1):
            for n in range(_WARM_TRADES):
                ms = now_ms // 60_000 * 60_000 - minute * 60_000 + n
                yield [self.trade(i, ms, _VOLUME_A_MINUTE / _WARM_TRADES) for i in range(_SYMBOLS)]

    def frame(self, first: int) -> list[dict[str, object]]:
        """The next events, alternately trades and quotes, at the present time."""
        ms = time.time_ns() // 1_000_000
        size = _VOLUME_A_MINUTE / (60 * RATE / 2 / _SYMBOLS)
        events = []
        for n in range(first, first + _FRAME):
            index = n // 2 % _SYMBOLS
            events.append(self.quote(index, ms) if n % 2 else self.trade(index, ms, size))
        return events

    def spike(self, index: int) -> list[dict[str, object]]:
        ms = time.time_ns() // 1_000_000
        return [self.trade(index, ms, 20 * _VOLUME_A_MINUTE / _SPIKE_TRADES) for _ in range(_SPIKE_TRADES)]


async def _converse(connection: ServerConnection) -> None:
    """The vendor's side of one connection."""

    async def say(status: str, message: str) -> None:
        await connection.send(msgspec.json.encode([{"ev": "status", "status": status, "message": message}]))

    await say("connected", "Connected Successfully")
    await connection.recv()
    await say("auth_success", "authenticated")
    for _ in range(2):
        asked = msgspec.json.decode(await connection.recv())["params"]
        await say("success", f"subscribed to: {asked}")
    tape = _Tape()
    for events in tape.warm(time.time_ns() // 1_000_000):
        await connection.send(msgspec.json.encode(events))
    # Wait until the other side has processed the past.
    await asyncio.to_thread(sys.stdin.readline)
    began, sent, spiked = time.perf_counter(), 0, 0
    while True:
        passed = time.perf_counter() - began
        while sent < passed * RATE:
            await connection.send(msgspec.json.encode(tape.frame(sent)))
            sent += _FRAME
        if passed > 3 and spiked < min(_SYMBOLS, (passed - 3) * SPIKES_A_SECOND):
            await connection.send(msgspec.json.encode(tape.spike(spiked * 7 % _SYMBOLS)))
            spiked += 1
        await asyncio.sleep(0.001)


async def _serve() -> None:
    async def handler(connection: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            await _converse(connection)

    async with serve(handler, "127.0.0.1", 0, compression=None) as server:
        sys.stdout.write(f"{next(iter(server.sockets)).getsockname()[1]}\n")
        sys.stdout.flush()
        await server.serve_forever()


def _wait_until_processed(collector: Collector) -> None:
    """Wait until the past has been received and written to the database for ten seconds."""
    checks = 0
    while checks < _QUIET_CHECKS:
        time.sleep(0.2)
        if collector.state != "streaming":
            continue
        status = collector.status()
        is_quiet = status.events >= _WARM_MINUTES * _WARM_TRADES * _SYMBOLS and not status.database_waiting_rows
        checks = checks + 1 if is_quiet else 0


def measure(database_url: str, seconds: float) -> tuple[CollectorStatus, float, int]:
    """The collector's status after `seconds` at the rate, the rate received, and the alert rows in the database."""
    command = [sys.executable, "-m", "benchmarks.live.alert_latency", "--serve"]
    sender = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with stopped_process(sender), tempfile.TemporaryDirectory() as folder:
        port = int(sender.stdout.readline()) if sender.stdout else 0
        config = CollectorConfig(
            market=Market.CRYPTO,
            url=f"ws://127.0.0.1:{port}/crypto",
            key="none",
            subscriptions=["XT.*", "XQ.*"],
            spool_root=Path(folder) / "spool",
            run_folder=Path(folder) / "run",
            database_url=database_url.format(folder=folder),
            detection=DetectionConfig.load(),
        )
        collector = Collector(config)
        thread = threading.Thread(target=collector.run)
        thread.start()
        _wait_until_processed(collector)
        if sender.stdin:
            sender.stdin.write("go\n")
            sender.stdin.flush()
        began, first = time.monotonic(), collector.status().events
        time.sleep(seconds)
        status = collector.status()
        rate = (status.events - first) / (time.monotonic() - began)
        collector.stop()
        thread.join()
        with Database(config.database_url) as database:
            rows = database.read(ALERTS, where={"rule": "volume_spike"}).height
    return status, rate, rows


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seconds", type=float, nargs="?", default=SECONDS)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        asyncio.run(_serve())
        return
    print(f"{'frame to committed row':24} {'events/s':>9} {'alerts':>7} {'rows':>6} {'p50 ms':>8} {'p99 ms':>8}")
    with tempfile.TemporaryDirectory() as folder, postgres(Path(folder)) as url:
        for name, address in (("SQLite", "sqlite:///{folder}/live.db"), ("PostgreSQL", url)):
            status, rate, rows = measure(address, given.seconds)
            p50, p99 = status.alert_latency_p50_ms or 0.0, status.alert_latency_p99_ms or 0.0
            print(f"{name:24} {rate:9,.0f} {status.alerts:7,} {rows:6,} {p50:8.1f} {p99:8.1f}", flush=True)


if __name__ == "__main__":
    main()
