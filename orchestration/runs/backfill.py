"""The plan of `tapewatch backfill`: days and symbols, what the lake holds already, and the cost of the rest."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.markup import escape

from orchestration.errors import RunError
from orchestration.processes.collectors import plan_of
from orchestration.runs.times import in_words
from resources.reachable import expect_listener
from tapewatch.feeds.errors import CertificateError, RestAuthenticationError, RestError
from tapewatch.feeds.files.source import FlatFileSource
from tapewatch.feeds.plans.table import MarketPlan, TapeTable, clamp_range
from tapewatch.feeds.rest.estimate import DAYS_OF_TICKS, Estimate, Sample, default_range, estimate
from tapewatch.feeds.rest.source import RestSource
from tapewatch.feeds.rest.transport import Patience
from tapewatch.market.instruments import Market, Partition, day_of, trading_days
from tapewatch.market.schema import Table
from tapewatch.market.tables.tape import BARS, QUOTES, TRADES, quarantine_of
from tapewatch.market.tickers import SymbolError, normalise
from tapewatch.settings import Settings, variable_of
from tapewatch.store.lake.lake import Lake

_TABLES: dict[TapeTable, Table] = {TapeTable.BARS: BARS, TapeTable.TRADES: TRADES, TapeTable.QUOTES: QUOTES}

#: Checks and estimates are not worth waiting for.
_PATIENCE = Patience(attempts=1, connect_timeout_s=5, read_timeout_s=20)


@dataclass(frozen=True, slots=True)
class BackfillPlan:
    """The days and symbols of one backfill, notes on how they were chosen, and their cost over REST."""

    market: Market
    first: dt.date
    last: dt.date
    symbols: tuple[str, ...]
    days: tuple[dt.date, ...]
    days_kept: int
    estimate: Estimate | None
    notes: tuple[str, ...]


def with_symbols(settings: Settings, market: Market, written: str | None) -> Settings:
    """`settings` with the symbols of `market` that the command line names, in any spelling.

    Raises:
        RunError: one is misspelt or belongs to another market, or the source is flat files, which are loaded whole.
    """
    if written is None:
        return settings
    if settings.flat_files is not None:
        raise RunError("--symbols needs REST: a day of flat files is loaded whole, so leave it out")
    symbols = parse_symbols(written, market)
    if not symbols:
        raise RunError("--symbols names none: separate them by commas, AAPL,MSFT")
    return settings.with_markets(market, symbols=symbols)


def parse_symbols(written: str, market: Market) -> tuple[str, ...]:
    """The symbols of a comma-separated text, each once. Raises a RunError if one is misspelt or of another market."""
    try:
        return tuple(dict.fromkeys(normalise(part, market) for part in written.split(",") if part.strip()))
    except SymbolError as error:
        raise RunError(str(error)) from error


def plan_backfill(
    settings: Settings,
    market: Market,
    first: dt.date | None,
    last: dt.date | None,
    *,
    keep_existing: bool = True,
    now: dt.datetime | None = None,
    samples: bool = True,
) -> BackfillPlan:
    """Days, symbols and cost of a backfill of one market.

    Args:
        first, last: as given by the user; the plan chooses what is left out.
        keep_existing: do not fetch days again that are in the lake.
        samples: spend one call per table of ticks on the estimate, if the plan does not count calls.

    Raises:
        RunError: the range is reversed or has no trading day, symbols are missing, or fetching would remove some.
        SourceError: the plan includes none of the days.
    """
    if first and last and last < first:
        raise RunError(f"the range ends before it begins: {first} to {last}")
    today = day_of(market, now or dt.datetime.now(dt.UTC))
    if first and first > today:
        raise RunError(f"{first} lies in the future, today is {today}: leave --from out for the most recent days")
    if settings.flat_files is not None:
        return _from_files(settings, settings.flat_files, market, first, last, keep_existing=keep_existing)
    plan = plan_of(settings, market)
    symbols = _symbols(settings, market)
    days, notes = _chosen(plan, first, last, today)
    lake = Lake(settings.lake_root)
    missing = {
        tape: _missing(lake, _TABLES[tape], market, days, keep_existing) for tape in TapeTable if plan.grants(tape)
    }
    notes += _about_others(lake, market, days, symbols, keep_existing=keep_existing)
    kept = [day for day in days if all(day not in absent for absent in missing.values())]
    measured = _samples(settings, plan, missing, symbols) if samples else []
    return BackfillPlan(
        market,
        days[0],
        days[-1],
        symbols,
        tuple(days),
        len(kept),
        estimate(plan, missing, len(symbols), measured),
        tuple(notes),
    )


def _chosen(
    plan: MarketPlan, first: dt.date | None, last: dt.date | None, today: dt.date
) -> tuple[list[dt.date], list[str]]:
    """The trading days of a range that the plan includes, and notes on how they were chosen."""
    notes = []
    if first is None:
        chosen = default_range(plan, today, last=last)
        first, last = chosen.first, chosen.last
        notes.append(f"{first} to {last}: {chosen.reason}")
    elif last is None:
        last = max(first, min(plan.last_day(today), today - dt.timedelta(days=1)))
        notes.append(f"{first} to {last}: up to the last finished day")
    clamped = clamp_range(plan, first, last, today=today)
    notes += [clamped.message] if clamped.message else []
    days = _trading(plan.market, clamped.first, clamped.last)
    if today in days:
        notes.append(f"{today} is not over: fetch it again later with --force")
    return days, notes


def check_vendor(settings: Settings, plan: BackfillPlan) -> None:
    """Check that the vendor can be reached and accepts the key, before a run that would take long to fail.

    Nothing is checked if all days are in the lake or come from files. The key is not checked if the plan counts calls: the
    run's first call does that.

    Raises:
        UnavailableError: nothing listens at POLYGON_BASE_URL.
        RestAuthenticationError: the key is not accepted.
        CertificateError: the vendor's certificate is not trusted.
    """
    if settings.flat_files is not None or settings.polygon_api_key is None or plan.days_kept == len(plan.days):
        return
    expect_listener(settings.polygon_base_url)
    if plan_of(settings, plan.market).is_metered:
        return
    try:
        impatient_source(settings, settings.polygon_api_key.get_secret_value()).reference.market_status()
    except (RestAuthenticationError, CertificateError):
        raise
    except RestError:
        return  # it may be temporary: the run tries again


def show(console: Console, plan: BackfillPlan) -> None:
    """Print the plan: days, symbols, calls and time."""
    for note in plan.notes:
        console.print(f"[yellow]·[/] {escape(note)}", soft_wrap=True)
    kept = f", {plan.days_kept} of them in the lake already" if plan.days_kept else ""
    symbols = ", ".join(plan.symbols[:8]) + (f" and {len(plan.symbols) - 8} more" if len(plan.symbols) > 8 else "")
    console.print(
        f"[bold]{plan.market}[/] {plan.first} to {plan.last}: {_count(len(plan.days), 'trading day')}{kept}; {symbols or 'all symbols'}",
        soft_wrap=True,
    )
    if plan.estimate is None:
        console.print("From flat files: no calls", soft_wrap=True)
        return
    tables = ", ".join(f"{table.tape} {_count(table.days, 'day')}" for table in plan.estimate.tables)
    console.print(
        f"Estimate: about {_count(plan.estimate.calls, 'call')} ({tables}), {in_words(plan.estimate.seconds)}",
        soft_wrap=True,
    )
    for assumption in plan.estimate.assumptions:
        console.print(f"  [dim]assumes {assumption}[/]", soft_wrap=True)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def how_to_continue(settings: Settings, plan: BackfillPlan, *, is_forced: bool) -> str:
    """What a stopped backfill has loaded, and the command that continues it."""
    lake = Lake(settings.lake_root)
    there = {
        tape: len(plan.days) - len(_missing(lake, table, plan.market, plan.days, keep_existing=True))
        for tape, table in _TABLES.items()
    }
    held = ", ".join(f"{tape} of {days}" for tape, days in there.items() if days) or "none"
    command = f"tapewatch backfill --market {plan.market} --from {plan.first} --to {plan.last}"
    command += f" --symbols {','.join(plan.symbols)}" if plan.symbols else ""
    again = "the same command without --force" if is_forced else "the same command"
    return f"Stopped. Of {len(plan.days)} days the lake holds {held}, each of them whole; {again} goes on from there: {command}"


def _symbols(settings: Settings, market: Market) -> tuple[str, ...]:
    variable = variable_of("markets", market, "symbols")
    if not settings.symbols(market):
        raise RunError(f"no symbols of {market}: name them with --symbols, or set {variable}, comma-separated")
    try:
        return tuple(dict.fromkeys(normalise(symbol, market) for symbol in settings.symbols(market)))
    except SymbolError as error:
        raise RunError(f"{variable}: {error}") from error


def _trading(market: Market, first: dt.date, last: dt.date) -> list[dt.date]:
    days = trading_days(market, first, last)
    if not days:
        span = f"{first:%A} {first}" + (f" to {last:%A} {last}" if last > first else "")
        raise RunError(f"{market} has no trading day in {span}: choose a range in which the market is open")
    return days


def _missing(lake: Lake, table: Table, market: Market, days: Sequence[dt.date], keep_existing: bool) -> list[dt.date]:
    """The days of a table that are not loaded completely; a load writes the quarantine last."""

    def is_there(day: dt.date) -> bool:
        partition = Partition(day, market)
        return lake.exists(table, partition) and lake.exists(quarantine_of(table), partition)

    return [day for day in days if not (keep_existing and is_there(day))]


def _about_others(
    lake: Lake, market: Market, days: Sequence[dt.date], symbols: Sequence[str], *, keep_existing: bool
) -> list[str]:
    """A day is kept or replaced whole: note the symbols that kept days lack, and refuse to drop others."""
    held: set[str] = set()
    lacking: dict[str, int] = {}
    for day in days:
        partition = Partition(day, market)
        if not lake.exists(BARS, partition):
            continue
        there = set(lake.symbols(BARS, partition))
        held |= there
        for symbol in set(symbols) - there:
            lacking[symbol] = lacking.get(symbol, 0) + 1
    if keep_existing:
        return [
            f"{symbol} is not in {count} of the days that are kept: fetch them again with --force, naming all symbols"
            for symbol, count in sorted(lacking.items())
        ]
    lost = sorted(held - set(symbols))
    if lost:
        raise RunError(
            f"fetching these days again would drop {', '.join(lost[:8])} from the lake: name all symbols in --symbols"
        )
    return []


def _samples(
    settings: Settings, plan: MarketPlan, missing: dict[TapeTable, list[dt.date]], symbols: Sequence[str]
) -> list[Sample]:
    if plan.is_metered or settings.polygon_api_key is None:
        return []
    source = impatient_source(settings, settings.polygon_api_key.get_secret_value())
    found = []
    for tape in (TapeTable.TRADES, TapeTable.QUOTES):
        if missing.get(tape):
            try:
                found.append(source.sample(tape, Partition(missing[tape][-1], plan.market), symbols[0]))
            except RestError:
                return []  # the run will report the error; an estimate is no reason to stop
    return found


def impatient_source(settings: Settings, key: str) -> RestSource:
    """The vendor's REST API, with one attempt per call."""
    tiers = {market: settings.plan(market) for market in Market}
    return RestSource(settings.polygon_base_url, key, tiers, plans_file=settings.plans_file, patience=_PATIENCE)


def _from_files(
    settings: Settings, root: str, market: Market, first: dt.date | None, last: dt.date | None, *, keep_existing: bool
) -> BackfillPlan:
    notes = []
    FlatFileSource(root).expect_market(market)
    if first is None or last is None:
        held = sorted({day for days in FlatFileSource(root).available(market).values() for day in days})
        wanted = [day for day in held if (not first or day >= first) and (not last or day <= last)]
        if not wanted:
            raise RunError(f"{root} holds no files of {market} in that range: choose another with --from and --to")
        last = last or wanted[-1]
        first = first or wanted[-DAYS_OF_TICKS:][0]
        notes.append(f"{first} to {last}: the newest days in {root}")
    days = _trading(market, first, last)
    lake = Lake(settings.lake_root)
    absent = {day for table in _TABLES.values() for day in _missing(lake, table, market, days, keep_existing)}
    return BackfillPlan(market, first, last, (), tuple(days), len(days) - len(absent), None, tuple(notes))
