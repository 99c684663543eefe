"""`tapewatch check`: whether this deployment could work, part by part.

Belongs here: quick probes that change nothing but make the data folder. Not here: the quality of data (`assets/checks.py`).
"""

import datetime as dt
import tempfile
from collections.abc import Callable
from dataclasses import dataclass

import httpx
from rich.console import Console
from rich.table import Table
from upath import UPath

from orchestration.services import ServiceError, check_ports, services
from serving.store import StoredBento, StoreError
from tapewatch.feeds.check import check_plans, probe
from tapewatch.feeds.rest import RestSource
from tapewatch.market.instruments import Market
from tapewatch.market.tables import TRADES
from tapewatch.settings import Settings
from tapewatch.store.database import Database, DatabaseError
from tapewatch.store.lake import Lake

_UNAUTHORISED = 401


class _BrokenError(RuntimeError):
    """A part does not work; the message says why and the way out."""


@dataclass(frozen=True)
class _Part:
    name: str
    probe: Callable[[Settings], str]
    #: A warning only: the platform works without it.
    is_optional: bool = False


def run(settings: Settings, console: Console) -> bool:
    """Probe every part, print a table, and tell whether all that must work does."""
    table = Table("", "part", "finding")
    sound = True
    for part in _PARTS:
        try:
            finding, mark = part.probe(settings), "[green]✓[/]"
        except (_BrokenError, DatabaseError, ServiceError, StoreError) as error:
            finding, mark = str(error), "[yellow]![/]" if part.is_optional else "[red]✗[/]"
            sound = sound and part.is_optional
        table.add_row(mark, part.name, finding)
    console.print(table)
    return sound


def show_plans(settings: Settings, console: Console, *, asks: bool) -> bool:
    """What each market's plan may do and cannot, in a table; with `asks` the server is asked too.

    False where the server refuses. Without a key there are no plans to speak of.
    """
    if settings.polygon_api_key is None:
        return True
    symbols = {market: settings.symbols(market) for market in Market}
    tiers = {market: settings.plan(market) for market in Market}
    today = dt.datetime.now(dt.UTC).date()
    table = Table("market", "plan", "may do", "what to know", title="Plans")
    for row in check_plans(tiers, symbols, today=today, uses_flat_files=settings.flat_files is not None):
        table.add_row(row.market, row.tier, row.rights, "\n".join([*row.warnings, row.way_out]).strip())
    console.print(table)
    if not asks:
        return True
    source = RestSource(settings.polygon_base_url, settings.polygon_api_key.get_secret_value(), tiers)
    answers = Table("", "asked for", "answer", "seconds", title="Probe")
    sound = True
    for answer in probe(source, symbols, today=today):
        sound = sound and answer.is_ok
        mark = "[green]✓[/]" if answer.is_ok else "[red]✗[/]"
        answers.add_row(mark, answer.what, answer.detail, f"{answer.elapsed_s:.2f}")
    console.print(answers)
    return sound


def _home(settings: Settings) -> str:
    try:
        settings.home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=settings.home):
            pass
    except OSError as error:
        raise _BrokenError(
            f"{settings.home} cannot be written ({error.strerror}): set TAPEWATCH_HOME to another"
        ) from error
    return str(settings.home.absolute())


def _source(settings: Settings) -> str:
    if settings.flat_files is not None:
        if not UPath(settings.flat_files).exists():
            raise _BrokenError(f"no folder at {settings.flat_files}: set TAPEWATCH_FLAT_FILES to where the files lie")
        return f"flat files in {settings.flat_files}"
    if settings.polygon_api_key is None:
        return "built-in market emulator (POLYGON_API_KEY and TAPEWATCH_FLAT_FILES are not set)"
    key = settings.polygon_api_key.get_secret_value()
    address = f"{settings.polygon_base_url}/v1/marketstatus/now"
    try:
        status = httpx.get(address, headers={"Authorization": f"Bearer {key}"}, timeout=10).status_code
    except (httpx.TransportError, httpx.InvalidURL) as error:
        raise _BrokenError(
            f"{settings.polygon_base_url} cannot be reached ({error}): check POLYGON_BASE_URL"
        ) from error
    if status == _UNAUTHORISED:
        raise _BrokenError(f"{settings.polygon_base_url} does not know this key: check POLYGON_API_KEY")
    if not httpx.codes.is_success(status):
        raise _BrokenError(f"{settings.polygon_base_url} answers {status}")
    return f"{settings.polygon_base_url}, key accepted"


def _lake(settings: Settings) -> str:
    days = Lake(settings.lake_root).partitions(TRADES)
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


_PARTS = (
    _Part("data folder", _home),
    _Part("source", _source),
    _Part("lake", _lake),
    _Part("database", _database),
    _Part("Bento", _bento),
    _Part("ports", _ports, is_optional=True),
)
