"""`tapewatch up`: every service under one supervisor."""

import datetime as dt
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table

from assets.shared.partitions import FIRST_DAY
from orchestration import home
from orchestration.processes.dashboard import describe_transport, introduce_admin
from orchestration.processes.parts.preflight import expect_sound
from orchestration.processes.services import (
    Service,
    check_ports,
    environment,
    missing_packages,
    services,
    with_source,
)
from orchestration.processes.streaming import stream_services, trader
from orchestration.processes.supervision import NAME, Supervisor, claimed, processes, socket_path, stop_signals
from serving.store import StoredBento
from tapewatch.feeds.files.source import FlatFileSource
from tapewatch.market.instruments import Market
from tapewatch.market.tables.tape import BARS, QUOTES, TRADES
from tapewatch.masking import masked
from tapewatch.settings import Settings
from tapewatch.store.lake.lake import Lake
from tapewatch.store.spool.files import waiting
from tapewatch.streaming.stop import Stop

#: A first start compiles bytecode and migrates two databases on a busy machine.
START_TIMEOUT_S = 240
_WATCH_SECONDS = 2
#: Days before today that a new home lists.
_SHOWN_DAYS = 30


def run_platform(settings: Settings, console: Console, *, streams: bool = False) -> None:
    """Start everything, print the addresses once all work, and stop everything at SIGINT or SIGTERM.

    With `streams`, the collectors of all markets that can be streamed run too, and the healer; and the paper trader if it is set.

    Raises:
        ServiceError: it runs already, others could reach the services without a token, a port is taken, a service does not
            start, or the supervisor was killed. What was started is stopped.
    """
    expect_sound(settings)
    with stop_signals() as stopping, claimed(settings.home, NAME, "tapewatch up"):
        settings = settings.model_copy(update={"partitions_start": first_partition(settings)})
        # Before the source is set: with a key there is no emulator.
        wanted = services(settings)
        settings = with_source(settings)
        if streams:
            wanted += stream_services(settings)
        elif settings.paper_trading:
            wanted.append(trader())
        check_ports(wanted, settings.host)
        home.expect_databases(settings, mlflow=True)
        if missing := missing_packages():
            console.print(f"Not started: {missing}", style="yellow", soft_wrap=True, markup=False)
        else:
            introduce_admin(settings, console)
            describe_transport(settings, console)
        # Creates Dagster's databases: two services that did so at the same moment would fail.
        with home.instance(settings) as opened:
            if not processes(socket_path(settings.home, NAME)):
                home.end_lost_runs(opened)
            home.introduce_stream(opened)
        with Supervisor(wanted, settings.home, environment(settings)) as supervisor:
            notes = _wait_for_all(supervisor, settings, console, stopping)
            if not stopping.is_set():
                console.print(address_table(wanted, notes))
                console.print(f"Data: {settings.home.absolute()}", soft_wrap=True, markup=False)
                console.print(
                    f"Logs: {supervisor.logs}. Press Ctrl-C to stop everything.", soft_wrap=True, markup=False
                )
            while not stopping.wait(_WATCH_SECONDS):
                supervisor.expect_running()
            console.print("Stopping …")
    console.print("Stopped: nothing is left running.")


def first_partition(settings: Settings) -> dt.date:
    """The first day that Dagster lists: as set, or the first day in the lake, the spool or the flat files, or 30 days ago.

    Raises:
        SourceError: the folder of flat files cannot be read.
    """
    if settings.partitions_start is not None:
        return settings.partitions_start
    lake = Lake(settings.lake_root)
    days = {partition.date for table in (TRADES, QUOTES, BARS) for partition in lake.partitions(table)}
    days |= {partition.date for partition in waiting(settings.spool_root)}
    if settings.flat_files is not None:
        source = FlatFileSource(settings.flat_files)
        days |= {day for market in Market for of_table in source.available(market).values() for day in of_table}
    known = [day for day in days if day >= dt.date.fromisoformat(FIRST_DAY)]
    return min([*known, dt.datetime.now(dt.UTC).date() - dt.timedelta(days=_SHOWN_DAYS)])


def _wait_for_all(supervisor: Supervisor, settings: Settings, console: Console, stopping: Stop) -> dict[str, str]:
    """Wait for each service in turn; the notes, by name, on those that wait for something themselves."""
    notes = {}
    with console.status("Starting …") as status:
        for service in supervisor.services:
            status.update(f"Waiting for {service.title} …")
            is_ready = supervisor.wait_until_healthy(
                service,
                timeout_s=START_TIMEOUT_S,
                stopping=stopping,
                excused=lambda service=service: service.needs_bento and StoredBento.latest(settings.bento_home) is None,  # type: ignore[misc]
                complain=lambda text: console.print(masked(text), style="yellow", soft_wrap=True, markup=False),
            )
            if stopping.is_set():
                break
            if not is_ready:
                notes[service.name] = "waits for the first Bento: materialize serving/anomaly_bento or `tapewatch run`"
            console.print(f"[green]✓[/] {service.title}" if is_ready else f"[yellow]…[/] {service.title}")
    return notes


def address_table(wanted: Sequence[Service], notes: Mapping[str, str]) -> Table:
    """The address of each service, and its note."""
    table = Table(title="Tapewatch is up", title_justify="left")
    table.add_column("service", overflow="fold")
    # An address on two lines can be neither clicked nor copied.
    table.add_column("address", no_wrap=True)
    table.add_column("", overflow="fold")
    for service in wanted:
        table.add_row(service.title, service.url or "-", notes.get(service.name, ""))
    return table
