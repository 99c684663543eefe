"""From an alert's commit to the browser: the bell on every page, and the list, which Streamlit refreshes by itself.

Run: python -m benchmarks.services.alert_to_page [--alerts N] [--speed N]. A headless Chromium is logged in to the dashboard as `tapewatch up` starts it. Alerts
are committed to its database as collectors commit them, at random moments; the clock stops when the page shows them. The peer of the bell, which comes
as a server-sent event, is the list beside it: a fragment of Streamlit's that reads again every five seconds.

Then a collector follows a day of the emulator's stocks, over a thousand times as fast as the market, and raises its own alerts of the anomalies in it:
of each, the time from the commit until the bell shows it.
"""

import argparse
import datetime as dt
import random
import sqlite3
import tempfile
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from itertools import count
from pathlib import Path

import numpy as np
import polars as pl
from playwright.sync_api import Locator, Page
from playwright.sync_api import TimeoutError as NotShownError

from dashboard.components.fetch import SERVED, fetch
from tapewatch.emulator.process import running_emulator
from tapewatch.market.instruments import Partition
from tapewatch.market.tables.live import ALERTS
from tapewatch.store.database.database import Database
from tapewatch.streaming.collector.metrics import CollectorStatus
from tests.support.browser import browser_page
from tests.support.login import PASSWORD, Dashboard, add_person, dashboard
from tests.support.replays import Home, collect_all

_NAME = "ada"
_LONGEST_PAUSE_S = 4.0
_DAY = Partition.parse("2024-03-05|stocks")
#: Notes when the page first shows each message of a new alert, in seconds since 1970.
_NOTE_TOASTS = """() => {
  globalThis.shown = new Map();
  new MutationObserver(() => {
    for (const toast of document.querySelectorAll('[data-testid="stToast"]')) {
      const message = toast.innerText.split("A new alert: ")[1]?.split("\\n")[0].trim();
      if (message && !shown.has(message)) shown.set(message, Date.now() / 1e3);
    }
  }).observe(document.body, { childList: true, subtree: true, characterData: true });
}"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--alerts", type=int, default=15)
    parser.add_argument("--speed", default="1500", help="of the emulator")
    given = parser.parse_args()
    for library in SERVED:
        fetch(library)
    with (
        tempfile.TemporaryDirectory() as folder,
        dashboard(Path(folder)) as running,
        browser_page(1280, 900) as page,
    ):
        add_person(running.database, _NAME, "user")
        page.goto(running.url)
        page.get_by_label("Name").fill(_NAME)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Log in").click()
        page.get_by_text(f"Logged in as {_NAME}").wait_for()
        page.goto(f"{running.url}/alerts")
        page.get_by_text("0 alerts and incidents").wait_for()
        chance = random.Random(1)  # noqa: S311 - pauses
        first = _first_rung(running.database, page) + 1
        taken = np.array(
            [_shown(running.database, page, number, chance) for number in range(first, first + given.alerts)]
        )
        live = _of_the_emulator(running, page, given.speed)
    print(f"{given.alerts} alerts, seconds from the commit   half     95 %    worst")
    _print("the bell", taken[:, 0])
    _print("the list, refreshed every 5 s", taken[:, 1])
    _print(f"the bell, {live.size} alerts of the tape", live)


def _print(name: str, taken: np.ndarray) -> None:
    half, most, worst = np.percentile(taken, [50, 95, 100])
    print(f"{name:32}{half:8.2f} {most:8.2f} {worst:8.2f}")


def _first_rung(database: Database, page: Page) -> int:
    """How many alerts it took until the page showed the message of one: a page that has just opened does not listen yet."""
    for number in count(1):
        _raise(database, number)
        try:
            _bell(page, number).wait_for(timeout=5_000)
        except NotShownError:
            continue
        break
    return number


def _shown(database: Database, page: Page, number: int, chance: random.Random) -> tuple[float, float]:
    """Seconds until the bell shows an alert, and until the list counts it."""
    time.sleep(chance.uniform(0.5, _LONGEST_PAUSE_S))
    _raise(database, number)
    start = time.perf_counter()
    _bell(page, number).wait_for(timeout=60_000)
    rung = time.perf_counter() - start
    page.get_by_text(f"{number} alerts and incidents").wait_for(timeout=60_000)
    return rung, time.perf_counter() - start


def _raise(database: Database, number: int) -> None:
    """Commit an alert, as collectors do."""
    now = dt.datetime.now(dt.UTC)
    row = {
        **{"alert_id": f"crypto:price_jump:{number}", "symbol": "X:BTC-USD", "rule": "price_jump"},
        **{"severity": "warning", "start_time": now, "end_time": None, "detected_time": now, "value": 35.0},
        **{"baseline": 5.0, "multiple": 7.0, "peak": 35.0, "observations": 1, "message": _message(number)},
    }
    frame = ALERTS.conform(pl.DataFrame([row], schema_overrides={"end_time": pl.Datetime("us", "UTC")}))
    database.upsert(ALERTS, Partition.parse(f"{now.date()}|crypto"), frame)


def _message(number: int) -> str:
    return f"benchmark {number}: moved 35 basis points"


def _bell(page: Page, number: int) -> Locator:
    """The bell's message of an alert; the list holds the same words."""
    return page.get_by_test_id("stToast").get_by_text(_message(number)).first


class _Streamed(Home):
    """The home of the dashboard and of a collector."""

    @property
    def database(self) -> str:
        return f"sqlite:///{self.root / 'tapewatch.db'}"


def _of_the_emulator(running: Dashboard, page: Page, speed: str) -> np.ndarray:
    """Seconds from the commit of each alert that a collector raises until the bell shows it."""
    page.goto(f"{running.url}/alerts")
    page.get_by_text("alerts and incidents").wait_for()
    page.evaluate(_NOTE_TOASTS)
    path = running.settings.home / "tapewatch.db"
    with running_emulator(speed=speed, replay=str(_DAY.date)) as emulator, ThreadPoolExecutor(1) as pool:
        collected = pool.submit(collect_all, emulator, _DAY.market, _Streamed(path.parent), timeout_s=3_600.0)
        committed = _commits(path, page, collected)
        collected.result()
    page.wait_for_timeout(5_000)
    shown: dict[str, float] = page.evaluate("() => Object.fromEntries(shown)")
    taken = [shown[message] - time_ for message, time_ in committed.items() if message in shown]
    missed = len(committed) - len(taken)
    print(f"{len(committed)} alerts of the tape, of {missed} no message of its own: another came with it")
    return np.array(taken)


def _commits(path: Path, page: Page, collected: Future[CollectorStatus]) -> dict[str, float]:
    """When another process's or thread's commit brought each new alert, by its message: seconds since 1970, to 10 ms."""
    found: dict[str, float] = {}
    with closing(sqlite3.connect(path)) as database:
        known = {row[0] for row in database.execute("SELECT alert_id FROM alerts")}
        version = -1
        while not collected.done():
            page.wait_for_timeout(10)
            now, (newer,) = time.time(), database.execute("PRAGMA data_version").fetchone()
            if newer == version:
                continue
            version = newer
            for alert_id, message in database.execute("SELECT alert_id, message FROM alerts").fetchall():
                if alert_id not in known:
                    known.add(alert_id)
                    found[message] = now
    return found


if __name__ == "__main__":
    main()
