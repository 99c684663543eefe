"""`tapewatch demo`: the whole platform once on the built-in market."""

import datetime as dt
import shlex
import time
from collections.abc import Sequence
from pathlib import Path

import polars as pl
from rich.console import Console
from rich.markup import escape

from orchestration.home import check_home
from orchestration.processes.services import free_port, on_emulator
from orchestration.runs import outcome
from orchestration.runs.detectors.scoring import anomaly_rows, ask, request_body, served, strongest, verdict_table
from orchestration.runs.lineage import backtest_signals, materialize, terminable
from orchestration.runs.runs import RunReport, StepTiming
from serving.schemas import Answer
from tapewatch.emulator.process import running_emulator
from tapewatch.market.instruments import Market, Partition, trading_days
from tapewatch.market.tables.tape import ANOMALIES
from tapewatch.settings import Settings
from tapewatch.store.lake.lake import Lake

#: A Monday, fixed, so that a seed always gives the same demo.
FIRST_DAY = dt.date(2024, 6, 3)
MARKETS = (Market.STOCKS, Market.CRYPTO)
#: A copy of a day takes two seconds to make: fewer than a training makes by default.
_COPIES = 2
_LONGEST = dt.timedelta(days=365)


def run_demo(settings: Settings, console: Console, *, days: int, seed: int) -> Path:
    """Run the graph over `days` sessions of the emulator and score one anomaly over HTTP; returns the report's path.

    Raises:
        RunError, ServiceError, ScoringError: a part failed; what was started is stopped.
    """
    check_home(settings)
    first, last = FIRST_DAY, trading_days(Market.STOCKS, FIRST_DAY, FIRST_DAY + _LONGEST)[days - 1]
    source = f"synthetic market, seed {seed}"
    console.print(
        f"[bold]Tapewatch demo[/]: {source}, {first} to {last}, data in {escape(str(settings.home.absolute()))}"
    )
    with terminable(), running_emulator(seed=seed) as emulator:
        settings = on_emulator(settings, emulator.base_url)
        partitions, report = materialize(
            settings, MARKETS, first, last, console, command="tapewatch demo", copies=_COPIES
        )
        sheet, judged = backtest_signals(settings, MARKETS, first, last, console, command="tapewatch demo")
        report += judged
        began = time.perf_counter()
        _show_answer(console, *_score_over_http(settings, partitions))
        report += RunReport([StepTiming("serving/first_verdict", time.perf_counter() - began)])
    path = outcome.present(settings, console, partitions, report, title="Tapewatch demo", source=source)
    console.print(f"Tear sheet of the strategies: {sheet}", soft_wrap=True, markup=False)
    home = shlex.quote(str(settings.home.absolute()))
    console.print(
        f"See it in Dagster and on the dashboard: TAPEWATCH_HOME={home} tapewatch up", soft_wrap=True, markup=False
    )
    return path


def _score_over_http(settings: Settings, partitions: Sequence[Partition]) -> tuple[Answer, str]:
    """Score the minutes of the run's strongest anomaly with the served Bento."""
    lake = Lake(settings.lake_root)
    found = pl.concat(lake.read(ANOMALIES, partition) for partition in partitions).sort("score", descending=True)
    body = request_body(anomaly_rows(settings, found.row(0, named=True) if found.height else None))
    # Chosen at the last moment: the run's own connections take ports too.
    with served(settings.model_copy(update={"port_scoring": free_port(settings.host)})) as service:
        return ask(settings, body, url=service.url)


def _show_answer(console: Console, answer: Answer, address: str) -> None:
    console.print(f"POST {address}/score", soft_wrap=True)
    console.print(verdict_table(answer, strongest(answer)))
