"""`tapewatch stream`: a collector per market under one supervisor, their logs, and an end that keeps everything."""

import os
import sys
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
from rich.console import Console

from orchestration import home
from orchestration.processes.collectors import EXIT_FINAL, WATCH_VARIABLE, address_of, metrics_port, plan_of
from orchestration.processes.services import Service, ServiceError, check_ports, emulator, environment, on_emulator
from orchestration.processes.status import ENDED, QUICK_DEATHS, WORDS
from orchestration.processes.supervision import StopSignals, Supervisor
from tapewatch.market.instruments import Market, SymbolError, normalise
from tapewatch.settings import Settings
from tapewatch.streaming.collector.lock import CollectorLock
from tapewatch.streaming.collector.metrics import LOOPBACK

_PREFIX = "stream-"
COLLECTOR_PREFIX = "collector-"
#: A collector that lives shorter died quickly; after so many quick deaths it is given up.
_QUICK_S = 5
_LOOK_S = 0.5
_ANSWER_S = 2.0


@dataclass(frozen=True, slots=True)
class Source:
    """Where the streams come from: the settings that lead there, and an emulator to start where nothing else is set."""

    settings: Settings
    text: str
    emulator: Service | None = None


def source_of(settings: Settings, *, speed: str = "1") -> Source:
    """The vendor where a key is set, else an emulator: the one that runs at the emulator's port, or one to be started."""
    if settings.polygon_api_key is not None:
        return Source(settings, settings.polygon_ws_url or settings.polygon_base_url)
    service = emulator(settings, speed=speed)
    tape = f"flat files in {settings.flat_files}" if settings.flat_files else "the synthetic market"
    text = f"no POLYGON_API_KEY is set: {tape}, from the emulator at {service.url}"
    runs = _answers(f"{service.url}/emulator/v1/info")
    return Source(on_emulator(settings, service.url), text, None if runs else service)


def streamable(settings: Settings) -> list[Market]:
    """The markets whose plan has a stream and that have symbols."""
    return [market for market in Market if settings.symbols(market) and plan_of(settings, market).channels]


def stream_services(settings: Settings, markets: Sequence[Market] = (), symbols: str | None = None) -> list[Service]:
    """The collectors of markets, of all that can be streamed by default, and the healer of what they miss.

    Raises:
        ServiceError: nothing can be streamed, or a market has no symbols or no key.
        CollectorError: a market is collected already.
        PlanError: an address is none.
    """
    wanted = _checked(settings, markets or streamable(settings), symbols)
    return [*(_collector(settings, market, symbols) for market in wanted), _healer()]


def watch_variable() -> dict[str, str]:
    """What tells collectors that they belong to one life of a supervisor: their restarts are counted by it."""
    return {WATCH_VARIABLE: uuid.uuid4().hex}


def run(
    settings: Settings, markets: Sequence[Market], console: Console, *, symbols: str | None = None, speed: str = "1"
) -> None:
    """Collect markets until SIGINT or SIGTERM, showing the collectors' logs; everything received is kept at the end.

    Raises:
        ServiceError: nothing is to be streamed, a port is taken, every collector ended for good, or the supervisor was killed.
        CollectorError: a market is collected already.
        PlanError: a plan has no stream, or an address is none.
    """
    source = source_of(settings, speed=speed)
    settings = source.settings
    wanted = list(markets or streamable(settings))
    services = stream_services(settings, wanted, symbols)
    if source.emulator is not None:
        services.insert(0, source.emulator)
    check_ports(services, settings.host)
    home.prepare(settings)
    values = environment(settings) | watch_variable()
    console.print(f"Source: {source.text}", soft_wrap=True, markup=False)
    console.print(
        f"Collecting {', '.join(wanted)}. Press Ctrl-C to stop; `tapewatch status` says how they are.",
        soft_wrap=True,
    )
    name = _PREFIX + "-".join(wanted)
    with StopSignals() as stopping, Supervisor(services, settings.home, values, name=name) as supervisor:
        logs = [LogTail(supervisor.log(service)) for service in services if service is not source.emulator]
        gone: set[str] = set()
        lives: dict[str, int] = {}
        while not stopping.wait(_LOOK_S):
            supervisor.expect_running()
            _say_restarted(supervisor, console, lives)
            _show(logs, console)
            ended = _say_ended(supervisor, console, gone)
            if all(f"{COLLECTOR_PREFIX}{market}" in ended for market in wanted):
                raise ServiceError(f"no collector runs any more: see {supervisor.logs}")
        console.print("Stopping …")
    _show(logs, console)
    console.print("Stopped: what was received is in the spool, and nothing is left running.")


class LogTail:
    """Lines of a log as they come, from now on, through its rotations."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._inode, self._offset = self._place()

    def lines(self) -> Iterator[str]:
        """What was written since the last call, whole lines only."""
        try:
            stream = self._path.open("rb")
        except FileNotFoundError:  # not there yet, or just being rotated
            return
        with stream:
            found = os.fstat(stream.fileno())
            if found.st_ino != self._inode or found.st_size < self._offset:
                self._inode, self._offset = found.st_ino, 0
            stream.seek(self._offset)
            text = stream.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._offset += len(whole)
        yield from whole.decode(errors="replace").splitlines()

    def _place(self) -> tuple[int, int]:
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return 0, 0
        return found.st_ino, found.st_size


def _checked(settings: Settings, markets: Sequence[Market], symbols: str | None) -> list[Market]:
    """The markets, once each of them is known to be able to stream."""
    if not markets:
        raise ServiceError(
            "no market can be streamed: set POLYGON_TIER_<MARKET> to a plan with a stream, and TAPEWATCH_SYMBOLS_<MARKET>"
        )
    if settings.polygon_api_key is None:
        raise ServiceError("flat files are no stream: set POLYGON_API_KEY, or replay them with `tapewatch stream`")
    for market in markets:
        address_of(settings, plan_of(settings, market))
        if symbols is None and not settings.symbols(market):
            raise ServiceError(
                f"no symbols of {market} are set: name them with --symbols, or set TAPEWATCH_SYMBOLS_{market.upper()}"
            )
        written = settings.symbols(market) if symbols is None else symbols.split(",")
        try:
            for symbol in written:
                if symbol not in ("", "*"):
                    normalise(symbol, market)
        except SymbolError as error:
            told = str(error).partition(": use --market")[0]
            raise ServiceError(
                f"{told}: write symbols of {market} alone, in --symbols or TAPEWATCH_SYMBOLS_{market.upper()}"
            ) from error
        CollectorLock(settings.home / "run", market).check()
    return list(markets)


def _collector(settings: Settings, market: Market, symbols: str | None) -> Service:
    port = metrics_port(settings, market)
    command = [sys.executable, "-m", "orchestration.processes.collector", str(market)]
    command += ["--symbols", symbols] if symbols else []
    return Service(
        name=f"{COLLECTOR_PREFIX}{market}",
        title=f"Collector of {market}",
        command=tuple(command),
        url=f"http://{LOOPBACK}:{port}/status",
        port=port,
        setting="TAPEWATCH_PORT_METRICS",
        health=f"http://{LOOPBACK}:{port}/status",
        start_seconds=_QUICK_S,
        start_retries=QUICK_DEATHS,
        final_exit_codes=(EXIT_FINAL,),
    )


def _healer() -> Service:
    return Service(
        name="healer",
        title="Healer of gaps",
        command=(sys.executable, "-m", "orchestration.processes.healer"),
        final_exit_codes=(EXIT_FINAL,),
        # It cannot start while the database is away, and waits for it however long that lasts.
        start_retries=10_000,
    )


def _say_ended(supervisor: Supervisor, console: Console, gone: set[str]) -> set[str]:
    known = supervisor.all_states()
    for service in supervisor.services:
        state = known.get(service.name, "")
        if state in ENDED and service.name not in gone:
            gone.add(service.name)
            market = service.name.removeprefix(COLLECTOR_PREFIX)
            again = "" if market == service.name else f", mend it, then `tapewatch stream {market}`"
            console.print(
                f"{service.title}: {WORDS[state]}; see {supervisor.log(service)}{again}", style="red", soft_wrap=True
            )
    return gone


def _say_restarted(supervisor: Supervisor, console: Console, lives: dict[str, int]) -> None:
    """A line for each process that died and was started again since the last look; `lives` are the pids seen last."""
    for name, pid in supervisor.all_pids().items():
        if lives.get(name, pid) != pid:
            console.print(f"{name} died and was started again: process {pid}", style="yellow", soft_wrap=True)
        lives[name] = pid


def _show(logs: Sequence[LogTail], console: Console) -> None:
    for log in logs:
        for line in log.lines():
            console.print(line, markup=False, highlight=False, soft_wrap=True)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=_ANSWER_S).is_success
    except (httpx.HTTPError, httpx.InvalidURL):
        return False
