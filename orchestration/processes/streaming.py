"""`tapewatch stream`: a collector per market and the healer under one supervisor, with their logs on the terminal."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from orchestration import home
from orchestration.processes.collectors import (
    EXIT_FINAL,
    QUICK_DEATHS,
    QUICK_S,
    address_of,
    collector_name,
    metrics_port,
    plan_of,
    way_on,
)
from orchestration.processes.services import (
    Service,
    ServiceError,
    check_ports,
    emulator,
    emulator_info,
    emulator_to_start,
    environment,
    on_emulator,
    played,
)
from orchestration.processes.status import ENDED, WORDS
from orchestration.processes.supervision import Supervisor, claimed, stop_signals
from tapewatch.market.instruments import Market
from tapewatch.market.tickers import SymbolError, normalise
from tapewatch.masking import masked
from tapewatch.settings import Settings, variable_of
from tapewatch.store.spool.files import waiting
from tapewatch.streaming.collector.keeper import NOT_SPOOLED
from tapewatch.streaming.collector.lock import CollectorLock
from tapewatch.streaming.collector.metrics import LOOPBACK

_LOOK_S = 0.5
_TRADER = "orchestration.processes.trader"


@dataclass(frozen=True, slots=True)
class StreamSource:
    """Where the streams come from: settings with its address, and the emulator to start, if any."""

    settings: Settings
    text: str
    emulator: Service | None = None


def source_of(settings: Settings, *, speed: str | None = "1") -> StreamSource:
    """The vendor if a key is set; else the emulator, which is to be started unless it runs.

    Raises:
        ServiceError: as `emulator_to_start`.
    """
    if settings.polygon_api_key is not None:
        return StreamSource(settings, masked(settings.polygon_ws_url or settings.polygon_base_url))
    started = emulator_to_start(settings, speed=speed)
    tape = f"flat files in {masked(settings.flat_files)}" if settings.flat_files else "the synthetic market"
    pointed = streaming_settings(settings)
    text = f"no POLYGON_API_KEY is set: {tape}, from the emulator at {pointed.polygon_base_url}"
    info = None if started else emulator_info(emulator(settings))
    if info is not None:
        text += f", which runs already, {played(info)}"
    return StreamSource(pointed, text, started)


def streaming_settings(settings: Settings) -> Settings:
    """`settings` with a source of streams: as they are if they have a key, else with the emulator."""
    return settings if settings.polygon_api_key is not None else on_emulator(settings, emulator(settings).url)


def streamable(settings: Settings) -> list[Market]:
    """The markets whose plan has a stream and that have symbols."""
    return [market for market in Market if settings.symbols(market) and plan_of(settings, market).channels]


def stream_services(settings: Settings, markets: Sequence[Market] = (), symbols: str | None = None) -> list[Service]:
    """The collectors of `markets` (by default of all that can be streamed), the healer of their gaps, and the trader if it is set.

    Raises:
        ServiceError: nothing can be streamed, or a market has no symbols or no key.
        CollectorError: a market is collected already.
        PlanError: a plan has no stream, or an address is none.
    """
    wanted = markets or streamable(settings)
    if not wanted:
        raise ServiceError(
            "no market can be streamed: set POLYGON_TIER_<MARKET> to a plan with a stream, and TAPEWATCH_SYMBOLS_<MARKET>"
        )
    if settings.polygon_api_key is None:
        raise ServiceError("flat files are no stream: set POLYGON_API_KEY, or replay them with `tapewatch stream`")
    for market in wanted:
        address_of(settings, plan_of(settings, market))
        _check_symbols(market, settings.symbols(market) if symbols is None else symbols.split(","))
        CollectorLock(settings.home / "run", market).check()
    trading = [trader()] if settings.paper_trading else []
    return [*(collector(settings, market, symbols) for market in wanted), healer(), *trading]


def stream_markets(
    settings: Settings,
    markets: Sequence[Market],
    console: Console,
    *,
    symbols: str | None = None,
    speed: str | None = None,
) -> None:
    """Collect markets until SIGINT or SIGTERM and show the collectors' logs; everything received is kept at the end.

    Raises:
        ServiceError: as `stream_services`, or a port is taken, every collector ended for good, the supervisor was killed.
        CollectorError, PlanError: as `stream_services`.
    """
    source = source_of(settings, speed=speed)
    settings = source.settings
    wanted = list(markets or streamable(settings))
    collecting = stream_services(settings, wanted, symbols)
    started = [source.emulator, *collecting] if source.emulator is not None else collecting
    check_ports(started, settings.host)
    home.prepare(settings)
    console.print(f"Source: {source.text}", soft_wrap=True, markup=False)
    console.print(
        f"Collecting {', '.join(wanted)}. Press Ctrl-C to stop; `tapewatch status` shows their state.", soft_wrap=True
    )
    name = f"stream-{'-'.join(wanted)}"
    with (
        stop_signals() as stopping,
        claimed(settings.home, name, "tapewatch stream"),
        Supervisor(started, settings.home, environment(settings), name=name) as supervisor,
    ):
        logs = [LogTail(supervisor.log(service)) for service in collecting]
        pids: dict[str, int] = {}
        ended: set[str] = set()
        while not stopping.wait(_LOOK_S):
            supervisor.expect_running()
            _show_changes(supervisor, console, pids, ended)
            _show(logs, console)
            if ended.issuperset(map(collector_name, wanted)):
                raise ServiceError(f"no collector runs any more: see {supervisor.logs}")
        console.print("Stopping …")
    if not _show(logs, console):
        console.print("Stopped: what was received is in the spool, and nothing is left running.")
    else:
        console.print("Stopped: not everything that was received is in the spool, see above.", style="red")
    if any(waiting(settings.spool_root)):
        console.print("`tapewatch ingest` merges it into the lake; `tapewatch up` does so by itself.")


class LogTail:
    """The lines that a log gets from now on, through its rotations."""

    def __init__(self, path: Path) -> None:
        self._path, self._inode, self._offset = path, 0, 0
        with suppress(FileNotFoundError):
            found = path.stat()
            self._inode, self._offset = found.st_ino, found.st_size

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


def _check_symbols(market: Market, written: Sequence[str]) -> None:
    variable = variable_of("markets", market, "symbols")
    if not written:
        raise ServiceError(f"no symbols of {market} are set: name them with --symbols, or set {variable}")
    try:
        for symbol in written:
            if symbol not in ("", "*"):
                normalise(symbol, market)
    except SymbolError as error:
        reason = str(error).partition(": use --market")[0]
        raise ServiceError(f"{reason}: write symbols of {market} alone, in --symbols or {variable}") from error


def collector(settings: Settings, market: Market, symbols: str | None = None) -> Service:
    """The collector of a market, of the symbols that are set unless others are named."""
    port = metrics_port(settings, market)
    url = f"http://{LOOPBACK}:{port}/status"
    command = (sys.executable, "-m", "orchestration.processes.collector", str(market))
    return Service(
        collector_name(market),
        f"Collector of {market}",
        (*command, "--symbols", symbols) if symbols else command,
        url,
        port,
        "TAPEWATCH_PORT_METRICS",
        health=url,
        start_seconds=QUICK_S,
        start_retries=QUICK_DEATHS,
        final_exit_codes=(EXIT_FINAL,),
    )


def healer() -> Service:
    """What fills the gaps that collectors leave."""
    return Service(
        "healer",
        "Healer of gaps",
        (sys.executable, "-m", "orchestration.processes.healer"),
        final_exit_codes=(EXIT_FINAL,),
        # It cannot start while the database is away, however long that lasts.
        start_retries=10_000,
    )


def trader() -> Service:
    """What trades paper money on alerts, if that is set."""
    return replace(healer(), name="paper-trader", title="Paper trader", command=(sys.executable, "-m", _TRADER))


def _show_changes(supervisor: Supervisor, console: Console, pids: dict[str, int], ended: set[str]) -> None:
    """A line for each process that died and was started again, or ended for good, since the last look."""
    found = supervisor.processes()
    for service in supervisor.services:
        if service.name not in found:
            continue
        state, pid = found[service.name]
        if pid and pids.get(service.name, pid) != pid:
            console.print(f"{service.name} died and was started again: process {pid}", style="yellow", soft_wrap=True)
        pids[service.name] = pid or pids.get(service.name, 0)
        if state in ENDED and service.name not in ended:
            ended.add(service.name)
            market = next((m for m in Market if collector_name(m) == service.name), None)
            log = supervisor.log(service)
            hint = way_on(market, log) if market else f"see {log}"
            console.print(f"{service.title}: {WORDS[state]}; {hint}", style="red", soft_wrap=True)


def _show(logs: Sequence[LogTail], console: Console) -> bool:
    """Print the new lines; returns whether one says that rows were not spooled."""
    lacks = False
    for log in logs:
        for line in log.lines():
            console.print(line, markup=False, highlight=False, soft_wrap=True)
            lacks |= NOT_SPOOLED in line
    return lacks
