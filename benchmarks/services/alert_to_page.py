"""From an alert's commit to the browser: the bell on every page, and the list, which Streamlit refreshes by itself.

Run: python -m benchmarks.services.alert_to_page [--alerts N]. A headless Chromium is logged in to the dashboard as `tapewatch up` starts it. Alerts
are committed to its database as collectors commit them, at random moments; the clock stops when the page shows them. The peer of the bell, which comes
as a server-sent event, is the list beside it: a fragment of Streamlit's that reads again every five seconds.
"""

import argparse
import datetime as dt
import random
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl
from playwright.sync_api import Page

from dashboard.components.fetch import SERVED, fetch
from tapewatch.market.instruments import Partition
from tapewatch.market.tables.live import ALERTS
from tapewatch.store.database.database import Database
from tests.support.browser import browser_page
from tests.support.login import PASSWORD, add_person, dashboard

_NAME = "ada"
_LONGEST_PAUSE_S = 4.0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--alerts", type=int, default=30)
    count = parser.parse_args().alerts
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
        taken = np.array([_shown(running.database, page, number, chance) for number in range(1, count + 1)])
    print(f"{count} alerts, seconds from the commit   half     95 %    worst")
    for name, column in zip(("the bell", "the list, refreshed every 5 s"), taken.T, strict=True):
        half, most, worst = np.percentile(column, [50, 95, 100])
        print(f"{name:32}{half:8.2f} {most:8.2f} {worst:8.2f}")


def _shown(database: Database, page: Page, number: int, chance: random.Random) -> tuple[float, float]:
    """Seconds until the bell shows an alert, and until the list counts it."""
    time.sleep(chance.uniform(0.5, _LONGEST_PAUSE_S))
    now, message = dt.datetime.now(dt.UTC), f"benchmark {number}: moved 35 basis points"
    row = {
        **{"alert_id": f"crypto:price_jump:{number}", "symbol": "X:BTC-USD", "rule": "price_jump"},
        **{"severity": "warning", "start_time": now, "end_time": None, "detected_time": now, "value": 35.0},
        **{"baseline": 5.0, "multiple": 7.0, "peak": 35.0, "observations": 1, "message": message},
    }
    frame = ALERTS.conform(pl.DataFrame([row], schema_overrides={"end_time": pl.Datetime("us", "UTC")}))
    database.upsert(ALERTS, Partition.parse(f"{now.date()}|crypto"), frame)
    start = time.perf_counter()
    page.get_by_text(message).first.wait_for(timeout=60_000)
    rung = time.perf_counter() - start
    page.get_by_text(f"{number} alerts and incidents").or_(page.get_by_text(f"{number} alert and incident")).wait_for(
        timeout=60_000
    )
    return rung, time.perf_counter() - start


if __name__ == "__main__":
    main()
