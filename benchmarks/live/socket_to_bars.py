"""Socket to bars at 50,000 events a second, sent by an emulator in another process: the rate received, and events lost.

The collector is the real one: it receives, decodes, detects, builds bars and microstructure rows, and writes the spool and
SQLite. The official client receives the same stream in another run and discards what it parsed. Each side is a process of
its own. The tape ends, so that the events sent and received can be counted exactly.

    python -m benchmarks.live.socket_to_bars [SECONDS]
"""

import argparse
import contextlib
import datetime as dt
import json
import logging
import math
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
from polygon import WebSocketClient

from tapewatch.emulator import DEFAULT_SEED
from tapewatch.emulator.process import running_emulator
from tapewatch.emulator.tape.market_tape import SyntheticTape
from tapewatch.market.instruments import Market, trading_days
from tapewatch.streaming.collector.collector import Collector
from tapewatch.streaming.collector.config import CollectorConfig
from tapewatch.streaming.detection.rules.settings import DetectionConfig

RATE = 50_000
SECONDS = 600
MARKET = Market.STOCKS
_CHANNELS = ("T", "Q")
_MOST_SYMBOLS = 40
_FIRST_DAY, _LAST_DAY = dt.date(2024, 1, 2), dt.date(2024, 6, 28)
_MIB = 1024 * 1024
#: Enough to measure the client's rate.
_CLIENT_SECONDS = 60.0


@contextlib.contextmanager
def stopped_process(process: "subprocess.Popen[str]") -> Iterator[None]:
    """Stop the process after the block."""
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def _tape(events: float) -> tuple[list[str], str]:
    """Symbols and days of the synthetic market with about `events` trades and quotes."""
    tape = SyntheticTape(DEFAULT_SEED)
    days = trading_days(MARKET, _FIRST_DAY, _LAST_DAY)
    of_one = _events(tape, "SYN001", days[0])
    count = max(1, min(_MOST_SYMBOLS, math.ceil(events / of_one)))
    symbols = [f"SYN{number:03d}" for number in range(1, count + 1)]
    total, last = 0, days[0]
    for day in days:
        total, last = total + sum(_events(tape, symbol, day) for symbol in symbols), day
        if total >= events:
            break
    return symbols, f"{days[0]}:{last}"


def _events(tape: SyntheticTape, symbol: str, day: dt.date) -> int:
    return tape.trades(symbol, day).height + tape.quotes(symbol, day).height


def _sent(base_url: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"{base_url}/emulator/v1/stream?market={MARKET}", timeout=30) as answer:  # noqa: S310
        return dict(json.load(answer))


def _watch(base_url: str, received: Callable[[], int], seconds: float) -> dict[str, float]:
    """Rate, CPU and memory until the tape ends, for `seconds` at most."""
    process = psutil.Process()
    while received() == 0:
        time.sleep(0.05)
    began, first = time.monotonic(), received()
    started = sum(process.cpu_times()[:2])
    memory: list[float] = []
    seen, at = first, began
    while time.monotonic() - began < seconds:
        time.sleep(1)
        memory.append(process.memory_info().rss / _MIB)
        now = received()
        if now > seen:
            seen, at = now, time.monotonic()
        elif _sent(base_url)["is_done"]:
            break
    cpu = sum(process.cpu_times()[:2]) - started
    # The first tenth of the run fills buffers and caches.
    settled = memory[len(memory) // 10 :]
    return {
        "rate": (seen - first) / (at - began),
        "seconds": at - began,
        "received": seen,
        "sent": _sent(base_url)["sent"],
        "rss_start": settled[0],
        "rss_end": settled[-1],
        "cpu": cpu / (time.monotonic() - began),
    }


def _ours(base_url: str, subscriptions: list[str], seconds: float) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        config = CollectorConfig(
            market=MARKET,
            url=f"{base_url.replace('http', 'ws', 1)}/{MARKET}",
            key="advanced-benchmark",
            subscriptions=subscriptions,
            spool_root=Path(folder) / "spool",
            run_folder=Path(folder) / "run",
            database_url=f"sqlite:///{folder}/live.db",
            detection=DetectionConfig.load(),
        )
        collector = Collector(config)
        thread = threading.Thread(target=collector.run)
        thread.start()
        while collector.state != "streaming":
            time.sleep(0.05)
        found = _watch(base_url, lambda: collector.status().events, seconds)
        status = collector.status()
        collector.stop()
        thread.join()
        spooled = collector.status().spooled_rows
    return found | {"dropped": status.dropped_frames, "reconnects": status.reconnects, "spooled": spooled}


def _theirs(base_url: str, subscriptions: list[str], seconds: float) -> dict[str, float]:
    logging.disable(logging.CRITICAL)
    received = 0

    def take(messages: list[Any]) -> None:
        nonlocal received
        received += len(messages)

    client = WebSocketClient(
        api_key="advanced-benchmark",  # pragma: allowlist secret
        feed=base_url.removeprefix("http://"),
        market=str(MARKET),
        secure=False,
        subscriptions=subscriptions,
    )
    threading.Thread(target=client.run, args=(take,), daemon=True).start()
    return _watch(base_url, lambda: received, seconds)


def _run(side: str, symbols: list[str], days: str, seconds: float) -> dict[str, float]:
    with running_emulator(speed=f"{RATE}eps", replay=days) as emulator:
        sender = psutil.Process(emulator.pid)
        command = [sys.executable, "-m", "benchmarks.live.socket_to_bars", str(seconds), "--side", side]
        before, began = sum(sender.cpu_times()[:2]), time.monotonic()
        done = subprocess.run(
            [*command, "--url", emulator.base_url, "--symbols", ",".join(symbols)],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        share = (sum(sender.cpu_times()[:2]) - before) / (time.monotonic() - began)
    return json.loads(done.stdout.splitlines()[-1]) | {"sender_cpu": share}


def _print(name: str, found: dict[str, float]) -> None:
    print(
        f"{name:16} {found['rate']:9,.0f} {found['seconds']:8.0f} {found['sent']:12,.0f} {found['received']:12,.0f} "
        f"{found['sent'] - found['received']:6,.0f} {found['rss_start']:9.0f} {found['rss_end']:9.0f} "
        f"{found['cpu']:6.0%} {found['sender_cpu']:6.0%}",
        flush=True,
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seconds", type=float, nargs="?", default=SECONDS)
    for name in ("--side", "--url", "--symbols"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.side:
        subscriptions = [f"{channel}.{symbol}" for channel in _CHANNELS for symbol in given.symbols.split(",")]
        side = _ours if given.side == "ours" else _theirs
        print(json.dumps(side(given.url, subscriptions, given.seconds)))
        return
    print(
        f"{'':16} {'events/s':>9} {'seconds':>8} {'sent':>12} {'received':>12} {'lost':>6} "
        f"{'MiB start':>9} {'MiB end':>9} {'CPU':>6} {'sender':>6}"
    )
    symbols, days = _tape(RATE * given.seconds)
    _print("tapewatch", _run("ours", symbols, days, 3 * given.seconds))
    symbols, days = _tape(RATE * min(given.seconds, _CLIENT_SECONDS))
    _print("official client", _run("theirs", symbols, days, 3 * min(given.seconds, _CLIENT_SECONDS)))


if __name__ == "__main__":
    main()
