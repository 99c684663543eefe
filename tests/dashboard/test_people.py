"""The real pages behind the login, in a browser: what each person has kept, hears and may take away."""

import datetime as dt
import itertools
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from dashboard.components.fetch import SERVED, fetch
from tapewatch.accounts.preferences import Preferences, preferences_of
from tests.dashboard.access.conftest import until
from tests.dashboard.test_browser import frame
from tests.support.browser import browser_page, violations
from tests.support.login import PASSWORD, Dashboard, add_person, dashboard
from tests.support.watched_home import alert, write_alerts

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
#: Notes the largest sample of what a page sends to the loudspeakers.
_EAR = """
const connect = AudioNode.prototype.connect;
AudioNode.prototype.connect = function (target, ...rest) {
  if (target instanceof AudioDestinationNode) {
    const ear = target.context.createAnalyser();
    const samples = new Float32Array(ear.fftSize);
    connect.call(this, ear);
    setInterval(() => {
      ear.getFloatTimeDomainData(samples);
      window.loudest = Math.max(window.loudest ?? 0, ...samples.map(Math.abs));
    }, 5);
  }
  return connect.call(this, target, ...rest);
};
"""


@pytest.fixture(scope="module")
def running(written_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    for library in SERVED:
        fetch(library)
    home = Path(shutil.copytree(written_home, tmp_path_factory.mktemp("people") / "home"))
    with dashboard(home) as started:
        add_person(started.database, "uma", "user")
        add_person(started.database, "vera", "viewer")
        yield started


@pytest.fixture
def page() -> Iterator[Page]:
    with browser_page(1280, 900) as opened:
        opened.add_init_script(_EAR)
        yield opened


def log_in(page: Page, running: Dashboard, name: str) -> None:
    page.goto(running.url)
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_text(f"Logged in as {name}")).to_be_visible()


def expect_theme(page: Page, *, is_dark: bool) -> None:
    """Of the page, and of the candles, which follow it."""
    app, candles = page.locator(".stApp"), frame(page)
    channels = "app => getComputedStyle(app).backgroundColor.match(/\\d+/g).map(Number)"
    corners = """frame => [...frame.querySelectorAll("canvas")].map(
        canvas => [...canvas.getContext("2d").getImageData(3, 3, 1, 1).data.slice(0, 3)])"""
    until(lambda: (max(app.evaluate(channels)) < 100) == is_dark)
    until(lambda: app.evaluate(channels) in candles.evaluate(corners))


def test_a_theme_is_followed_at_once_and_kept_for_the_person(running: Dashboard, page: Page) -> None:
    log_in(page, running, "uma")
    expect_theme(page, is_dark=False)
    page.get_by_text("Dark", exact=True).click()
    expect_theme(page, is_dark=True)
    until(lambda: preferences_of(running.database, "uma") == Preferences("dark"))
    page.goto(f"{running.url}/access/account")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    assert violations(page) == []
    page.get_by_label("Name").fill("nightly")
    page.get_by_role("button", name="Make a token").click()
    expect(page.locator("code")).to_contain_text("tapewatch_")
    assert violations(page) == []
    page.goto(f"{running.url}/access/password")
    page.get_by_label("New password again").wait_for()
    assert violations(page) == []
    page.goto(f"{running.url}/access/account")
    page.get_by_role("button", name="Log out").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "light")
    log_in(page, running, "uma")
    expect_theme(page, is_dark=True)


def test_a_new_alert_sounds_until_the_person_mutes_it(running: Dashboard, page: Page) -> None:
    log_in(page, running, "vera")
    numbers = itertools.count()

    def raise_alert() -> None:
        name = f"stocks:price_move:AAPL:{next(numbers)}"
        moment = {"detected_time": dt.datetime.now(dt.UTC)}
        write_alerts(running.database, alert(name, "AAPL", "price_move", 2.0, name) | moment)

    bell = page.locator('[data-part="bell"]')
    bell.wait_for(state="attached")
    page.get_by_role("heading", level=1).click()
    # An alert before the page listens is no new one, and a busy machine may miss the short sound: then comes another.
    while not page.evaluate("window.loudest > 0.05"):
        raise_alert()
        page.wait_for_timeout(1000)
    expect(bell).to_have_attribute("data-rung", re.compile("stocks:price_move:AAPL:"))
    page.get_by_text("Mute new alerts").click()
    until(lambda: preferences_of(running.database, "vera") == Preferences(is_muted=True))
    page.reload()
    expect(page.get_by_role("switch", name="Mute new alerts")).to_be_checked()
    page.get_by_role("heading", level=1).click()
    toast = page.get_by_text("A new alert")
    while not toast.count():
        raise_alert()
        page.wait_for_timeout(500)
    assert page.evaluate("window.loudest ?? 0") == 0
    assert bell.get_attribute("data-rung") is None


def test_who_may_not_export_gets_tables_that_offer_no_file(running: Dashboard, page: Page) -> None:
    log_in(page, running, "vera")
    for path, text in (("alerts", "What was seen"), ("health", "Streams")):
        page.goto(f"{running.url}/{path}")
        page.get_by_text(text).first.wait_for()
        assert page.locator('[data-testid="stDataFrame"], [data-testid="stDownloadButton"]').count() == 0
    page.goto(f"{running.url}/alerts")
    assert violations(page) == []
    address = page.get_by_role("link", name="open").first.get_attribute("href")
    page.goto(f"{running.url}{address}")
    expect(page.get_by_role("heading", level=1)).to_contain_text("AAPL")
