"""`tapewatch check`: whether each part of this deployment works, and what its plans allow."""

import datetime as dt
import tempfile
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from upath import UPath

from orchestration.home import HomeError, check_home
from orchestration.processes.guarding import check_access
from orchestration.processes.services import ServiceError, check_ports, services, with_source
from orchestration.runs.backfill import impatient_source
from resources.reachable import expect_listener
from serving.store import StoredBento, StoreError
from tapewatch.feeds.errors import mask_key
from tapewatch.feeds.plans.check import Deployment, PlanRow, check_plans, symbols_of
from tapewatch.feeds.plans.table import MarketPlan
from tapewatch.feeds.probe import ProbeRow, probe, probe_flat_files, probe_stream
from tapewatch.feeds.source import SourceError
from tapewatch.market.instruments import Market
from tapewatch.market.tables.tape import TRADES
from tapewatch.masking import masked
from tapewatch.settings import Settings
from tapewatch.store.database.database import Database, DatabaseError
from tapewatch.store.lake.lake import Lake, LakeError
from tapewatch.streaming.collector.lock import CollectorError, CollectorLock

#: Width of the table of plans with one line per market.
_WIDE = 118
_DELAY_WIDTH = 11


class _BrokenError(RuntimeError):
    """A part does not work; the message names the reason and the way out."""


def check_parts(settings: Settings, console: Console) -> bool:
    """Probe every part and print a table; whether all that are needed work."""
    table = Table("", "part", "finding")
    sound = True
    for name, probe_part in _PARTS.items():
        try:
            finding, mark = probe_part(settings), "[green]✓[/]"
        except (_BrokenError, DatabaseError, HomeError, LakeError, ServiceError, SourceError, StoreError) as error:
            is_optional = probe_part is _ports
            finding, mark = str(error), "[yellow]![/]" if is_optional else "[red]✗[/]"
            sound = sound and is_optional
        table.add_row(mark, name, escape(masked(finding)))
    console.print(table)
    return sound


def show_plans(settings: Settings, console: Console, *, asks: bool) -> bool:
    """Print what each market's plan allows and the faults of the settings; with `asks`, probe the servers too.

    Returns False if a setting cannot work, or a server refuses what the plan should include.
    """
    key = settings.polygon_api_key
    source = f"key {mask_key(key.get_secret_value())}" if key else "no key is set: the built-in emulator grants all"
    today = dt.datetime.now(dt.UTC).date()
    deployment = _deployment(with_source(settings))
    rows = check_plans(deployment, today=today)
    console.print(f"\nPlans ({source})", highlight=False)
    console.print(_plan_table(rows, is_wide=console.width >= _WIDE))
    for row in rows:
        if row.address:
            console.print(
                f"[dim]{row.market} streams from {escape(masked(row.address))}[/]", soft_wrap=True, highlight=False
            )
    for row in rows:
        for fault in row.faults:
            console.print(f"[red]✗[/] {row.market}: {escape(masked(fault))}", soft_wrap=True)
        for warning in row.warnings if key or settings.flat_files else ():
            console.print(f"[yellow]![/] {row.market}: {escape(masked(warning))}", soft_wrap=True)
    is_sound = not any(row.faults for row in rows)
    return _show_probe(settings, deployment, rows, console, today) and is_sound if asks else is_sound


def _plan_table(rows: Sequence[PlanRow], *, is_wide: bool) -> Table:
    """A row per market. On a narrow terminal the rights are three lines of one column."""
    limits = ("market", "plan", "delay", "history from", "calls")
    granted = ("REST", "flat files", "stream")
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for heading in (*limits, *granted) if is_wide else (*limits, "may have"):
        table.add_column(heading, overflow="fold", max_width=_DELAY_WIDTH if heading == "delay" else None)
    for row in rows:
        # The stream's delay is shown only if it differs from that of REST.
        stream = row.channels.removesuffix(f" ({row.recency})")
        rights = (row.rest, row.flat_files, stream)
        lines = "\n".join(f"{name}: {right}" for name, right in zip(granted, rights, strict=True))
        table.add_row(row.market, row.tier, row.recency, row.history_from, row.rate, *(rights if is_wide else (lines,)))
    return table


def _deployment(settings: Settings) -> Deployment:
    return Deployment(
        tiers={market: settings.plan(market) for market in Market},
        symbols={market: settings.symbols(market) for market in Market},
        rest_url=settings.polygon_base_url,
        plans_file=settings.plans_file,
        flat_files=settings.flat_files,
        ws_url=settings.polygon_ws_url,
        ws_urls={market: settings.markets[market].stream_url for market in Market},
    )


def _show_probe(
    settings: Settings, deployment: Deployment, rows: Sequence[PlanRow], console: Console, today: dt.date
) -> bool:
    answers = Table("", "request", "answer", "seconds", title="Probe")
    sound = True
    for answer in _probes(settings, deployment, rows, today):
        sound = sound and answer.is_ok
        mark = "[yellow]![/]" if answer.is_odd else "[green]✓[/]" if answer.is_ok else "[red]✗[/]"
        answers.add_row(mark, escape(masked(answer.what)), escape(masked(answer.detail)), f"{answer.elapsed_s:.2f}")
    console.print(answers)
    return sound


def _probes(settings: Settings, deployment: Deployment, rows: Sequence[PlanRow], today: dt.date) -> Iterator[ProbeRow]:
    watched = {market: symbols_of(deployment, market)[0] for market in Market}
    if settings.flat_files is not None:
        for market in (market for market in Market if watched[market]):
            yield probe_flat_files(settings.flat_files, market)
    if settings.polygon_api_key is None:
        yield ProbeRow("REST and streams", True, "not probed: POLYGON_API_KEY is not set", 0.0, is_odd=True)
        return
    key = settings.polygon_api_key.get_secret_value()
    source = impatient_source(settings, key)
    answers = probe(source, watched, today=today)
    first = next(answers)
    yield first
    if not first.is_ok:
        return
    yield from answers
    for row in rows:
        plan = source.plan(row.market)
        if plan.channels and watched[row.market] and row.address and not row.faults:
            yield _probe_stream(settings, plan, row.address, key, watched[row.market][0])


def _probe_stream(settings: Settings, plan: MarketPlan, address: str, key: str, symbol: str) -> ProbeRow:
    """Not probed while a collector of this deployment uses the key's one connection of the market."""
    try:
        CollectorLock(settings.home / "run", plan.market).check()
    except CollectorError:
        return ProbeRow(f"stream {address}", True, "not probed: a collector uses the key's one connection", 0.0)
    return probe_stream(plan, address, key, symbol)


def _home(settings: Settings) -> str:
    try:
        settings.home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=settings.home):
            pass
    except OSError as error:
        raise _BrokenError(
            f"{settings.home} cannot be written ({error.strerror}): set TAPEWATCH_HOME to another"
        ) from error
    check_home(settings)
    return str(settings.home.absolute())


def _source(settings: Settings) -> str:
    if settings.flat_files is not None:
        if not UPath(settings.flat_files).exists():
            raise _BrokenError(
                f"no folder at {settings.flat_files}: set TAPEWATCH_FLAT_FILES to the folder of the files"
            )
        return f"flat files in {settings.flat_files}"
    if settings.polygon_api_key is None:
        return "built-in market emulator (POLYGON_API_KEY and TAPEWATCH_FLAT_FILES are not set)"
    expect_listener(settings.polygon_base_url)
    impatient_source(settings, settings.polygon_api_key.get_secret_value()).reference.market_status()
    return f"{settings.polygon_base_url}, key accepted"


def _lake(settings: Settings) -> str:
    lake = Lake(settings.lake_root)
    lake.check_layout()
    days = lake.partitions(TRADES)
    return f"{len(days)} market days of trades, {days[0]} to {days[-1]}" if days else "empty: `tapewatch backfill`"


def _database(settings: Settings) -> str:
    with Database(settings.database) as database:
        return f"{database.url.render_as_string(hide_password=True)}, {database.anomalies().height:,} anomalies"


def _bento(settings: Settings) -> str:
    bento = StoredBento.latest(settings.bento_home)
    return f"{bento.tag} of {bento.model_name} {bento.model_version}" if bento else "none yet: `tapewatch run`"


def _ports(settings: Settings) -> str:
    check_ports(services(settings), settings.host)
    return "free for `tapewatch up`"


#: The parts by name. A failure of `_ports` is a warning only.
_PARTS = {
    "data folder": _home,
    "source": _source,
    "lake": _lake,
    "database": _database,
    "Bento": _bento,
    "access": check_access,
    "ports": _ports,
}
