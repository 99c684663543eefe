"""Runs the whole graph over a range of days, from the tape to the anomalies, with its progress on the terminal."""

import datetime as dt
import signal
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from rich.console import Console
from upath import UPath

from orchestration.errors import RunError
from orchestration.home import check_home
from orchestration.processes.services import EMULATOR_SEED, on_emulator
from orchestration.runs.markets import Outcomes, in_short
from orchestration.runs.progress import shown
from resources.interrupts import handling
from tapewatch.emulator.process import running_emulator
from tapewatch.feeds.files.source import FlatFileSource
from tapewatch.market.instruments import Market, Partition, trading_days
from tapewatch.market.tables.signals import WALK_FORWARD
from tapewatch.masking import masked
from tapewatch.settings import Settings
from tapewatch.store.lake.lake import Lake

if TYPE_CHECKING:
    from orchestration.runs.runs import RunReport


def terminable() -> AbstractContextManager[None]:
    """Treat SIGTERM as Ctrl-C. By default it would end this process at once and leave its child processes running."""
    return handling(signal.default_int_handler, signal.SIGTERM)


@contextmanager
def sourced(settings: Settings, console: Console, *, seed: int = EMULATOR_SEED) -> Iterator[tuple[Settings, str]]:
    """`settings` with a source of the tape, and its name. Without a key or flat files, an emulator runs meanwhile."""
    check_home(settings)
    if settings.flat_files is not None:
        yield settings, masked(f"flat files in {settings.flat_files}")
    elif settings.polygon_api_key is not None:
        yield settings, masked(settings.polygon_base_url)
    else:
        console.print(
            f"Neither POLYGON_API_KEY nor flat files are set: the source is the [bold]synthetic[/] market, seed {seed}."
        )
        with terminable(), running_emulator(seed=seed) as emulator:
            yield _with_its_symbols(on_emulator(settings, emulator.base_url)), f"synthetic market, seed {seed}"


def _with_its_symbols(settings: Settings) -> Settings:
    """`settings` with the synthetic market's own symbols in each market that has none set."""
    from tapewatch.emulator.synthetic.universe import listed  # noqa: PLC0415 - compiled code, which few commands need

    for market in Market:
        settings = settings.with_markets(market, symbols=settings.symbols(market) or tuple(listed(market)))
    return settings


def fetch(
    settings: Settings,
    market: Market,
    first: dt.date,
    last: dt.date,
    console: Console,
    *,
    keep_existing: bool,
    job: str = "backfill_tape",
    config: dict[str, Any] | None = None,
    command: str = "tapewatch",
) -> "RunReport":
    """Run a partitioned job of one market over a range, with a line of progress per step.

    Raises:
        RunError: a step failed, or the range is reversed or has no trading day.
        SourceError: the folder of the flat files is not there, or holds no folder of the market.
    """
    if last < first:
        raise RunError(f"the range ends before it begins: {first} to {last}")
    if settings.flat_files is not None:
        # Days that the lake holds are kept, so that a wrong folder would pass unseen.
        FlatFileSource(settings.flat_files).expect_market(market)
    days = len(trading_days(market, first, last))
    with console.status("Starting …"):
        from orchestration.runs.runs import run_days  # noqa: PLC0415 - Dagster and the models take seconds to import
    with shown(console, Lake(settings.lake_root), market, days) as listen:
        return run_days(
            settings,
            job,
            market,
            first,
            last,
            keep_existing=keep_existing,
            config=config,
            progress=listen,
            command=command,
        )


def materialize(
    settings: Settings,
    markets: Sequence[Market],
    first: dt.date,
    last: dt.date,
    console: Console,
    *,
    keep_existing: bool = False,
    outcomes: Outcomes | None = None,
    command: str = "tapewatch",
    copies: int | None = None,
) -> tuple[list[Partition], "RunReport"]:
    """Tape, features and labels of each market, one detector trained on all of them, its Bento, and the anomalies.

    With `outcomes`, a market that cannot run is recorded there, and the others go on without it. Without, its error is
    raised. `copies` is as for `train`.

    Returns: the days of the markets that finished, and a report of all steps that ran.

    Raises:
        RunError: a step failed, or a market has no trading day.
    """
    import skops.io  # noqa: F401, PLC0415 - looks through every module imported before: a second faster ahead of Dagster

    from orchestration.runs.runs import RunReport, train  # noqa: PLC0415

    report, reports = RunReport(), dict.fromkeys(markets, RunReport())
    known = outcomes or Outcomes(markets)

    def each(job: str, *, keep: bool) -> None:
        nonlocal report
        for market in known.left:
            with known.of(market) if outcomes else nullcontext():
                ran = fetch(settings, market, first, last, console, keep_existing=keep, job=job, command=command)
                report, reports[market] = report + ran, reports[market] + ran

    each("update_day", keep=keep_existing)
    if known.left:
        names = [market.value for market in known.left]
        with shown(console, Lake(settings.lake_root), None, 1) as listen:
            report += train(
                settings,
                progress=listen,
                command=command,
                copies=copies,
                markets=names,
                first=str(first),
                last=str(last),
            )
        each("detect_anomalies", keep=False)
    days = {market: trading_days(market, first, last) for market in known.left}
    known.done.update({market: in_short(reports[market], len(days[market])) for market in days})
    return [Partition(day, market) for market in days for day in days[market]], report


def backtest_signals(
    settings: Settings,
    markets: Sequence[Market],
    first: dt.date,
    last: dt.date,
    console: Console,
    *,
    command: str = "tapewatch",
) -> tuple[UPath, "RunReport"]:
    """Signals and outcomes of days that are in the lake, and the strategies judged on them: the tear sheet, and a report.

    Raises:
        RunError: a step failed, or a market has no trading day.
    """
    from orchestration.runs.runs import RunReport, judge  # noqa: PLC0415 - as above

    report, lake = RunReport(), Lake(settings.lake_root)
    for market in markets:
        report += fetch(
            settings, market, first, last, console, keep_existing=False, job="backtest_signals", command=command
        )
    with shown(console, lake, None, 1) as listen:
        report += judge(settings, progress=listen, command=command)
    return lake.page(WALK_FORWARD), report
