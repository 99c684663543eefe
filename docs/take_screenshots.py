"""Takes the screenshots of README and tutorial, from the data of `tapewatch demo` and of the tutorial's stream.

.venv/bin/tapewatch demo && .venv/bin/tapewatch profile && .venv/bin/python -m docs.take_screenshots

For the drift on the page of models the job `measure_drift` must have run over the demo's days.
"""

import datetime as dt
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
import pyotp
from playwright.sync_api import Page, sync_playwright

from orchestration.home import environment, prepare
from orchestration.processes.services import free_port
from tapewatch.accounts.sealing import Seal, key_file
from tapewatch.accounts.totp import enrol, new_secret
from tapewatch.labels.people.human import HumanLabel
from tapewatch.market.instruments import Market
from tapewatch.settings import Settings
from tapewatch.store.database.database import Database
from tapewatch.store.database.people.human_labels import add_labels, remove_labels
from tests.support.login import PASSWORD, add_person, dashboard

IMAGES = Path(__file__).parent / "images"
CHECKOUT = Path(__file__).resolve().parent.parent
_QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync", "--no-first-run"]
_TIMEOUT_S = 90
_DAY = "2024-06-07"


def main() -> None:
    """Start the webserver over the demo's data, take the screenshots, stop it."""
    settings = Settings()
    profiles = sorted((settings.home / "reports").glob("profile-*.html"), key=lambda path: path.stat().st_mtime)
    settings = settings.model_copy(update={"home": settings.home / "demo"})
    prepare(settings)
    port = free_port(settings.host)
    command = [sys.executable, "-m", "dagster_webserver", "-w", "workspace.yaml", "-h", settings.host, "-p", str(port)]
    server = subprocess.Popen(command, cwd=CHECKOUT, env=os.environ | environment(settings))
    address = f"http://{settings.host}:{port}"
    try:
        _wait_for(f"{address}/server_info")
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=_chromium(), args=_QUIET)
            page = browser.new_page(viewport={"width": 1500, "height": 900})
            _dagster(page, address)
            _report(page, max((settings.home / "reports").glob("*.html")))
            if profiles:
                _profile(page, profiles[-1])
            _dashboard(page, settings)
            _login(browser.new_page(viewport={"width": 1280, "height": 620}))
            browser.close()
    finally:
        server.terminate()
        server.wait()


def _dagster(page: Page, address: str) -> None:
    page.goto(f"{address}/assets/features/microstructure?view=partitions&partition={_DAY}%7Cstocks")
    page.get_by_text("Show Markdown").first.click(timeout=_TIMEOUT_S * 1000)
    page.wait_for_timeout(3000)
    page.screenshot(path=IMAGES / "asset.png")
    # Wide, so that the whole graph fits with its groups open.
    page.set_viewport_size({"width": 2600, "height": 2300})
    page.goto(f"{address}/asset-groups")
    page.get_by_text("detections").first.wait_for(timeout=_TIMEOUT_S * 1000)
    for group in ("features", "labels", "models", "explanations", "detections", "serving", "tape", "reports"):
        node = page.locator("svg").get_by_text(group, exact=True)
        if node.count():
            node.first.click(force=True)
            page.wait_for_timeout(1500)
            # A double click on the empty canvas fits the graph into it.
            page.mouse.dblclick(600, 2250)
            page.wait_for_timeout(1500)
    page.mouse.dblclick(600, 2250)
    page.wait_for_timeout(3000)
    page.screenshot(path=IMAGES / "lineage.png", clip={"x": 540, "y": 110, "width": 2000, "height": 1930})


def _report(page: Page, path: Path) -> None:
    page.set_viewport_size({"width": 1500, "height": 900})
    page.goto(path.as_uri())
    page.wait_for_timeout(3000)
    page.screenshot(path=IMAGES / "report.png")
    chart = page.locator(".js-plotly-plot").first
    chart.scroll_into_view_if_needed()
    page.wait_for_timeout(1500)
    chart.screenshot(path=IMAGES / "candles.png")


def _profile(page: Page, path: Path) -> None:
    page.set_viewport_size({"width": 1500, "height": 900})
    page.goto(path.as_uri())
    page.wait_for_timeout(3000)
    page.screenshot(path=IMAGES / "profile.png")


def _dashboard(page: Page, settings: Settings) -> None:
    """The dashboard over the demo's data, served for one person who is logged in."""
    port = free_port(settings.host)
    command = [sys.executable, "-m", "tests.support.dashboard", str(port)]
    server = subprocess.Popen(command, cwd=CHECKOUT, env=os.environ | {"TAPEWATCH_HOME": str(settings.home)})
    address = f"http://127.0.0.1:{port}"
    candles = page.locator('[data-part="frame"][data-from]').first
    page.set_viewport_size({"width": 1280, "height": 900})
    try:
        _wait_for(f"{address}/_stcore/health")
        for name, path, height in (("watch", "?market=stocks&symbol=TSLA", 1000), ("grid", "?view=grid", 900)):
            page.set_viewport_size({"width": 1280, "height": height})
            page.goto(f"{address}/{path}")
            candles.wait_for(timeout=_TIMEOUT_S * 1000)
            page.wait_for_timeout(4000)
            page.screenshot(path=IMAGES / f"dashboard_{name}.png")
        _one_alert(page, address)
        _mark(page, address)
        _models(page, address)
        _labels(page, address, settings)
    finally:
        server.terminate()
        server.wait()


def _one_alert(page: Page, address: str) -> None:
    page.goto(f"{address}/?market=stocks&symbol=GOOGL")
    page.goto(f"{address}/alerts?market=stocks&severity=critical&symbol=GOOGL")
    table = page.locator('[data-testid="stDataFrame"]')
    table.wait_for(timeout=_TIMEOUT_S * 1000)
    page.wait_for_timeout(2000)
    table.click(position={"x": 16, "y": 52})
    page.get_by_role("link", name="Open").last.click(timeout=_TIMEOUT_S * 1000)
    page.locator('[data-part="frame"][data-from]').wait_for(timeout=_TIMEOUT_S * 1000)
    page.get_by_text("The exact data").wait_for(timeout=_TIMEOUT_S * 1000)
    _whole(page, "dashboard_alert.png")


def _whole(page: Page, name: str) -> None:
    """A screenshot of the whole page: Streamlit scrolls within it, so that the window is made as high."""
    main = page.locator('[data-testid="stMain"]')
    for _ in range(2):  # charts that come into view make it higher
        page.set_viewport_size({"width": 1280, "height": int(main.evaluate("it => it.scrollHeight"))})
        page.wait_for_timeout(6000)
    page.screenshot(path=IMAGES / name)
    page.set_viewport_size({"width": 1280, "height": 900})


def _models(page: Page, address: str) -> None:
    page.goto(f"{address}/models")
    page.get_by_text("History of versions").wait_for(timeout=_TIMEOUT_S * 1000)
    _whole(page, "dashboard_models.png")


def _labels(page: Page, address: str, settings: Settings) -> None:
    """Two people's labels that differ, made for the picture and removed again."""
    start = dt.datetime(2024, 6, 3, 18, 20, tzinfo=dt.UTC)
    labels = [
        HumanLabel(
            Market.STOCKS, "AAPL", start + dt.timedelta(minutes=at), start + dt.timedelta(minutes=13), kind, author, 0.9
        )
        for author, kind, at in (("ann", "volume_spike", 0), ("ben", "pump_and_dump", 2))
    ]
    with Database(settings.database) as database:
        add_labels(database, labels, actor="docs", source="the screenshot")
        page.goto(f"{address}/labels")
        page.get_by_role("button", name="Decide").wait_for(timeout=_TIMEOUT_S * 1000)
        _whole(page, "dashboard_labels.png")
        remove_labels(database, [label.label_id for label in labels], actor="docs")


def _mark(page: Page, address: str) -> None:
    page.goto(f"{address}/mark?market=stocks&symbol=TSLA")
    candles = page.locator('[data-part="frame"][data-from]').first
    candles.wait_for(timeout=_TIMEOUT_S * 1000)
    page.wait_for_timeout(2000)
    box = candles.bounding_box() or {"x": 0.0, "y": 0.0, "width": 0.0}
    for share in (0.165, 0.215):
        page.mouse.click(box["x"] + share * box["width"], box["y"] + 200)
        page.wait_for_timeout(600)
    page.get_by_role("button", name="Accept").wait_for(timeout=_TIMEOUT_S * 1000)
    page.wait_for_timeout(2500)
    page.screenshot(path=IMAGES / "dashboard_mark.png")


def _login(page: Page) -> None:
    """The second factor at the login: of an account that is made for the picture, in a home of its own."""
    page.set_default_timeout(_TIMEOUT_S * 1000)
    with tempfile.TemporaryDirectory() as home, dashboard(Path(home)) as running:
        add_person(running.database, "ada", "user")
        secret = new_secret()
        seal, code = Seal.of_file(key_file(running.settings.home)), pyotp.TOTP(secret).now()
        enrol(running.database, seal, "ada", secret, code, actor="docs")
        page.goto(running.url)
        page.get_by_label("Name").fill("ada")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Log in").click()
        page.get_by_label("Code").fill("123456")
        page.screenshot(path=IMAGES / "dashboard_login.png")


def _chromium() -> str:
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    raise SystemExit("no Chromium: run `make system`")


def _wait_for(url: str) -> None:
    deadline = time.monotonic() + _TIMEOUT_S
    while time.monotonic() < deadline:
        try:
            if httpx.get(url).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.5)
    raise SystemExit(f"{url} did not answer within {_TIMEOUT_S} s")


if __name__ == "__main__":
    main()
