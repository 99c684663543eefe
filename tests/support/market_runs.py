"""Runs `build_features` of several markets side by side, each in a process of its own: `python -m tests.support.market_runs DAYS`.

DAYS is JSON, the first and last day of each market; the answer is JSON too, what `RunReport` says of each. The processes are
forked from one that has imported everything.
"""

import datetime as dt
import json
import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor

import orchestration.definitions
import orchestration.runs.on_cluster  # noqa: F401
from orchestration.runs.runs import run_days
from tapewatch.market.instruments import Market
from tapewatch.settings import Settings


def build(market: str, first: str, last: str) -> dict[str, object]:
    """Run it, and return the names of its steps and of failed checks."""
    settings = Settings(_env_file=None)
    days = (dt.date.fromisoformat(first), dt.date.fromisoformat(last))
    report = run_days(settings, "build_features", Market(market), *days)
    return {"steps": sorted({step.name for step in report.steps}), "failed_checks": report.failed_checks}


if __name__ == "__main__":
    wanted = json.loads(sys.argv[1])
    with ProcessPoolExecutor(len(wanted), multiprocessing.get_context("fork")) as pool:
        running = {market: pool.submit(build, market, *days) for market, days in wanted.items()}
        print(json.dumps({market: run.result() for market, run in running.items()}))  # noqa: T201
