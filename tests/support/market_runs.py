"""Runs jobs of several markets side by side, each in a process of its own: `python -m tests.support.market_runs PLAN`.

PLAN is JSON: `jobs`, one after the other, `days`, the first and last day of each market, and `at_once`, how many markets, by
default all. A job that is not by market runs once, over all of them. The answer is JSON too: what `RunReport` says, by job and market. The processes are forked from one that has
imported everything.
"""

import datetime as dt
import json
import multiprocessing
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor

import orchestration.definitions
import orchestration.runs.on_cluster  # noqa: F401
from orchestration.runs.runs import RunReport, judge, run_days, train
from tapewatch.market.instruments import Market
from tapewatch.settings import Settings

Days = Mapping[str, Sequence[str]]


def _train(settings: Settings, days: Days) -> RunReport:
    first, last = min(first for first, _ in days.values()), max(last for _, last in days.values())
    return train(settings, copies=1, markets=list(days), first=first, last=last)


#: Jobs over all markets.
_WHOLE: Mapping[str, Callable[[Settings, Days], RunReport]] = {
    "train_detectors": _train,
    "judge_strategies": lambda settings, _: judge(settings),
}


def run(job: str, days: Days) -> dict[str, object]:
    """Run a job, of one market or over all, and return the names of its steps and of failed checks."""
    settings = Settings(_env_file=None)
    if job in _WHOLE:
        report = _WHOLE[job](settings, days)
    else:
        ((market, written),) = days.items()
        report = run_days(settings, job, Market(market), *map(dt.date.fromisoformat, written))
    return {"steps": sorted({step.name for step in report.steps}), "failed_checks": report.failed_checks}


def run_all(jobs: Sequence[str], days: Days, at_once: int) -> dict[str, dict[str, object]]:
    """Each job once the one before is over, of `at_once` markets side by side; what was run, by job and market."""
    done: dict[str, dict[str, object]] = {}
    with ProcessPoolExecutor(at_once, multiprocessing.get_context("fork")) as pool:
        for job in jobs:
            parts = {"all": days} if job in _WHOLE else {market: {market: each} for market, each in days.items()}
            running = {name: pool.submit(run, job, part) for name, part in parts.items()}
            done[job] = {name: each.result() for name, each in running.items()}
    return done


if __name__ == "__main__":
    plan = json.loads(sys.argv[1])
    print(json.dumps(run_all(plan["jobs"], plan["days"], plan.get("at_once", len(plan["days"])))))  # noqa: T201
