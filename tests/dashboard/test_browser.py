"""The dashboard in headless Chromium: candles appear, an event is marked with two clicks, refined, saved; alerts arrive live."""

import datetime as dt
import itertools
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from dashboard.components.fetch import SERVED, fetch
from tapewatch.market.instruments import Market, Partition
from tapewatch.market.tables.live import LABELS, LIVE_BARS
from tapewatch.store.database.database import Database
from tests.support.browser import browser_page, violations
from tests.support.dashboard import serving
from tests.support.watched_home import BURST, INCIDENT, START, alert, live_bars, write_alerts

pytestmark = pytest.mark.slow
#: Of rising and falling candles.
UP, DOWN = (0x26, 0xA6, 0x9A), (0xEF, 0x53, 0x50)


@pytest.fixture(scope="module")
def place(written_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A dashboard over a home of its own, and that home."""
    for library in SERVED:
        fetch(library)
    home = Path(shutil.copytree(written_home, tmp_path_factory.mktemp("shown") / "home"))
    with serving(home) as address:
        yield address, home


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with browser_page(1280, 900) as opened:
        yield opened


@pytest.fixture
def database(place: tuple[str, Path]) -> Iterator[Database]:
    with Database(f"sqlite:///{place[1] / 'tapewatch.db'}") as opened:
        yield opened


def frame(page: Page) -> Locator:
    """The candles, once they are drawn and their stretch is known."""
    found = page.locator('[data-part="frame"][data-from]').first
    found.wait_for()
    return found


def click_at(page: Page, time: dt.datetime) -> None:
    """Click on the candles at a time."""
    page.mouse.click(*point(page, time))


def drag(page: Page, time: dt.datetime, to: dt.datetime) -> None:
    """Drag what is at a time to another one."""
    page.mouse.move(*point(page, time))
    page.mouse.down()
    page.mouse.move(*point(page, to), steps=5)
    page.mouse.up()


def linked(url: str) -> list[float]:
    """The stretch in an address: from and to, or nothing."""
    return [float(value) for value in re.findall(r"(?:from|to)=(\d+)", url)]


def saved(page: Page, name: str) -> Path:
    """The file that a button of the chart saves."""
    with page.expect_download() as made:
        page.get_by_role("button", name=name, exact=True).click()
    return made.value.path()


def point(page: Page, time: dt.datetime) -> tuple[float, float]:
    """Where a time is on the candles."""
    candles = frame(page)
    first, last, width = (float(candles.get_attribute(f"data-{name}") or "nan") for name in ("from", "to", "width"))
    box = candles.bounding_box()
    assert box is not None
    return box["x"] + (time.timestamp() - first) / (last - first) * width, box["y"] + 120


def test_an_event_is_marked_refined_and_saved(place: tuple[str, Path], page: Page, database: Database) -> None:
    address, _ = place
    page.goto(f"{address}/mark?market=stocks&symbol=AAPL")
    frame(page)
    page.get_by_role("button", name="Show").first.click()  # the nearest to its threshold: the burst
    status = page.locator('[data-part="status"]').first
    view = page.locator('[data-part="range"]').first
    expect(view).to_contain_text("09:40 – 10:43 New York time")
    click_at(page, BURST[0] - dt.timedelta(seconds=40))
    expect(status).to_have_text("now the end")
    click_at(page, BURST[1] + dt.timedelta(seconds=40))
    start = page.get_by_label("Start, UTC")
    expect(start).to_have_value(re.compile("2024-03-05T15:09"))
    drag(page, BURST[0] - dt.timedelta(seconds=40), BURST[0] - dt.timedelta(minutes=5, seconds=30))
    expect(start).to_have_value(re.compile("2024-03-05T15:04"))
    page.get_by_role("button", name="Accept").click()
    expect(page.get_by_role("button", name="Accept")).to_be_visible()
    expect(page.get_by_label("Start, UTC")).to_have_value(re.compile(r"2024-03-05T15:(09:5|10:0)\d"))
    page.get_by_role("textbox", name="Note").fill("<b>found</b> by hand")
    page.get_by_role("textbox", name="Note").press("Tab")
    page.get_by_role("button", name="Save label").click()
    page.get_by_role("button", name="Undo").wait_for()
    (row,) = database.read(LABELS).iter_rows(named=True)
    assert (row["author"], row["symbol"], row["note"]) == ("ann", "AAPL", "<b>found</b> by hand")
    for side, true in (("start_time", BURST[0]), ("end_time", BURST[1])):
        assert abs((row[side] - true).total_seconds()) <= 5
    assert page.locator("b", has_text="found").count() == 0
    assert violations(page) == []


def test_an_event_is_marked_by_a_brush_and_by_keyboard(place: tuple[str, Path], page: Page) -> None:
    page.goto(f"{place[0]}/mark?market=stocks&symbol=MSFT")
    candles = frame(page)
    start, end = page.get_by_label("Start, UTC"), page.get_by_label("End, UTC")
    brush = page.get_by_role("button", name="Brush")
    brush.click()
    expect(brush).to_have_attribute("aria-pressed", "true")
    before = candles.get_attribute("data-from")
    drag(page, START + dt.timedelta(minutes=20), START + dt.timedelta(minutes=5))
    expect(start).to_have_value(re.compile("2024-03-05T15:0[456]"))
    expect(end).to_have_value(re.compile("2024-03-05T15:(19|2[01])"))
    assert candles.get_attribute("data-from") == before, "a brush does not pan"
    brushed = start.input_value()
    candles.focus()
    candles.press("b")
    expect(brush).to_have_attribute("aria-pressed", "false")
    drag(page, START + dt.timedelta(minutes=60), START + dt.timedelta(minutes=48))
    expect(candles).not_to_have_attribute("data-from", before or "")
    assert start.input_value() == brushed, "without the brush a drag pans"
    candles.focus()
    for key in ("Shift+ArrowRight", "Enter", *["Shift+ArrowRight"] * 4, "Enter"):
        candles.press(key)
    expect(start).not_to_have_value(brushed)
    made = [dt.datetime.fromisoformat(box.input_value()) for box in (start, end)]
    assert made[1] - made[0] == dt.timedelta(minutes=4)
    assert violations(page) == []


def test_live_bars_and_alerts_arrive_without_a_reload(place: tuple[str, Path], page: Page, database: Database) -> None:
    now = dt.datetime.now(dt.UTC).replace(second=0, microsecond=0)
    today = Partition(now.date(), Market.STOCKS)
    database.upsert(LIVE_BARS, today, live_bars("MSFT", now - dt.timedelta(minutes=3), [5.0, 6.0]))
    page.goto(f"{place[0]}/?market=stocks&symbol=MSFT")
    candles = frame(page)
    expect(candles).to_have_attribute("data-loaded", "27")  # those of the lake lie before
    database.upsert(LIVE_BARS, today, live_bars("MSFT", now - dt.timedelta(minutes=1), [7.0]))
    expect(candles).to_have_attribute("data-loaded", "28")
    page.goto(f"{place[0]}/alerts")
    page.get_by_text("newest first").wait_for()
    toast, numbers = page.get_by_text("A new alert"), itertools.count()
    while not toast.count():  # one that comes before the page listens is no new one
        moment = {"detected_time": dt.datetime.now(dt.UTC)}
        write_alerts(database, alert(f"live {next(numbers)}", "AAPL", "price_move", 2.0) | moment)
        page.wait_for_timeout(500)
    assert violations(page) == []


def test_the_candles_pan_by_keyboard_and_the_link_restores_the_view(place: tuple[str, Path], page: Page) -> None:
    page.goto(f"{place[0]}/?market=stocks&symbol=AAPL")
    candles = frame(page)
    candles.focus()
    asked: list[float] = []
    for key in ("+", "ArrowLeft"):
        candles.press(key)
        page.wait_for_url(lambda url, former=asked: linked(url) not in ([], former))
        asked = linked(page.url)
        end = dt.datetime.fromtimestamp(asked[1], ZoneInfo("America/New_York"))
        expect(page.get_by_text(f"60 minutes before {end:%Y-%m-%d %H:%M:%S}")).to_be_visible()  # the panels follow
    assert violations(page) == []
    link = page.url
    rows = pl.read_csv(saved(page, "CSV"), try_parse_dates=True)
    assert asked[0] - 60 < rows["time"].min().timestamp() < rows["time"].max().timestamp() < asked[1]
    assert pl.read_parquet(saved(page, "Parquet"))["close"].to_list() == pytest.approx(rows["close"].to_list())
    with Image.open(saved(page, "PNG")) as picture:
        colours = {colour for _, colour in picture.convert("RGB").getcolors(picture.width * picture.height)}
    assert {UP, DOWN} <= colours
    page.goto("about:blank")
    page.goto(link)
    shown = frame(page)
    assert float(shown.get_attribute("data-from") or "nan") == pytest.approx(asked[0], abs=2)
    assert float(shown.get_attribute("data-to") or "nan") == pytest.approx(asked[1], abs=2)


def test_the_page_of_an_alert_draws_the_tape_around_it(place: tuple[str, Path], page: Page) -> None:
    page.goto(f"{place[0]}/alert?id={INCIDENT}")
    page.get_by_text("20 times the usual size").first.wait_for()
    expect(frame(page)).to_have_attribute("data-loaded", "25")
    assert violations(page) == []
    played, clock = page.locator('[data-part="frame"][data-shown]'), page.locator('[data-part="clock"]')
    expect(played).to_have_attribute("data-shown", "300")  # it begins when the alert was raised
    expect(clock).to_contain_text("10:10:00")
    page.get_by_label("Speed").select_option("300")
    page.get_by_role("button", name="Play").click()
    expect(played).to_have_attribute("data-shown", "780")
    expect(page.get_by_role("button", name="Play")).to_be_visible()  # again, at the end
    page.get_by_label("Moment of the replay").fill("420")
    expect(clock).to_contain_text("10:12:00")
    played.focus()
    played.press("ArrowLeft")
    expect(played).to_have_attribute("data-shown", "410")
    played.press("Space")
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    played.press("Space")
    expect(page.get_by_role("button", name="Play")).to_be_visible()


def test_no_other_page_violates_level_a_in_the_dark_either(place: tuple[str, Path], page: Page) -> None:
    page.emulate_media(color_scheme="dark")
    for path in ("?view=grid", "health", "models", "trading", "labels", "settings", "alert"):
        page.goto(f"{place[0]}/{path}")
        page.get_by_role("heading", level=1).wait_for()
        assert violations(page) == [], path
