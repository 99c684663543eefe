"""The real pages behind the login: what a role reaches, and the whole way: log in, a live anomaly of the emulator rings, it is marked with refined edges, saved, and trains."""

import datetime as dt
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo

import dagster as dg
import polars as pl
import pytest
from playwright.sync_api import Page, expect
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import ClientConnection

from assets.features.by_minute import microstructure
from assets.labels.further_labels import human_labels
from assets.labels.labels import barrier_labels, training_set, truth_labels
from assets.tape.ticks import bars, quotes, trades
from dashboard.components.fetch import SERVED, fetch
from dashboard.reading import marking
from resources.lake import LakeIOManager, LakeResource
from resources.stores import DatabaseResource, SpoolResource
from resources.tape_source import TapeSourceResource
from tapewatch.bars.time_bars import minute_bars
from tapewatch.emulator import DEFAULT_SEED
from tapewatch.emulator.process import running_emulator
from tapewatch.emulator.tape.market_tape import SyntheticTape
from tapewatch.features.microstructure import microstructure as features_of
from tapewatch.labels.barriers.barriers import triple_barrier
from tapewatch.market.instruments import Partition
from tapewatch.market.tables.live import LABELS
from tapewatch.market.tables.tape import BARRIER_LABELS, MICROSTRUCTURE, QUOTES, TRADES, TRAINING_SET
from tapewatch.store.lake.lake import Lake
from tapewatch.streaming.ingest.ingest import ingest
from tests.dashboard.access.test_server import cookie_of, opened
from tests.dashboard.test_browser import click_at, frame
from tests.support.browser import browser_page
from tests.support.login import PASSWORD, Dashboard, add_person, dashboard
from tests.support.replays import Home, collect_all

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
DAY = Partition.parse("2024-03-05|stocks")
SYMBOL, KIND = "AAPL", "pump_and_dump"
MARGIN = dt.timedelta(seconds=90)


class Watched(Home):
    """The home of a collector and of the dashboard."""

    @property
    def database(self) -> str:
        return f"sqlite:///{self.root / 'tapewatch.db'}"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    for library in SERVED:
        fetch(library)
    with dashboard(tmp_path_factory.mktemp("home")) as started:
        yield started


def test_no_role_reaches_the_pages_of_another_through_the_websocket(running: Dashboard) -> None:
    add_person(running.database, "vic", "viewer")
    add_person(running.database, "mia", "manager")
    with opened(running, cookie_of(running, "mia")) as stream:
        pages = _run(stream).navigation
        assert {"mark", "labels", "settings"} < pages.keys()
        assert "Classes of labels" in _run(stream, pages["settings"]).text
    with opened(running, cookie_of(running, "vic")) as stream:
        assert not {"mark", "labels", "settings"} & _run(stream).navigation.keys()
        for name, text in (("settings", "Classes of labels"), ("mark", "Save label"), ("labels", "Labels")):
            assert text not in _run(stream, pages[name]).text


@dataclass(frozen=True)
class Shown:
    """What a run of the script sent: its text, and the offered pages' identities by their addresses."""

    text: str
    navigation: dict[str, str]


def _run(stream: ClientConnection, page: str = "") -> Shown:
    message = BackMsg()
    message.rerun_script.page_script_hash = page
    stream.send(message.SerializeToString())
    texts, navigation = [], {}
    while True:
        answer = ForwardMsg()
        answer.ParseFromString(stream.recv(timeout=180))
        texts.append(str(answer))
        for each in answer.navigation.app_pages:
            navigation[each.url_pathname] = each.page_script_hash
        if answer.WhichOneof("type") == "script_finished":
            return Shown("\n".join(texts), navigation)


def test_from_the_login_to_the_training_set(running: Dashboard) -> None:
    home = running.settings.home
    with (
        browser_page(1280, 900) as page,
        running_emulator(speed="max", replay=str(DAY.date)) as emulator,
        ThreadPoolExecutor(1) as pool,
    ):
        _log_in(page, running)
        page.goto(f"{running.url}/alerts")
        page.get_by_text("0 alerts and incidents").wait_for()
        collected = pool.submit(collect_all, emulator, DAY.market, Watched(home), (SYMBOL,))
        expect(page.get_by_text("A new alert").first).to_be_visible()
        collected.result()
        lake = _write_tape(home)
        row = _mark(page, running)
        said = _trained(lake, running)
    assert said["human_kind"].unique().to_list() == [KIND]
    minute = dt.timedelta(minutes=1)
    covered = pl.col("event_time").is_between(row["start_time"] - minute, row["end_time"], closed="none")
    assert said.filter(covered).height == said.height > 0


def _log_in(page: Page, running: Dashboard) -> None:
    add_person(running.database, "ada", "user")
    page.goto(running.url)
    page.get_by_label("Name").fill("ada")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_text("Logged in as ada, user")).to_be_visible()


def _write_tape(home: Path) -> Lake:
    """What the jobs of the day write: the streamed tape, features and barrier labels."""
    lake = Lake(home / "lake")
    ingest(lake, home / "spool", DAY, None, dt.datetime.now(dt.UTC))
    traded, quoted = lake.read(TRADES, DAY), lake.read(QUOTES, DAY)
    lake.write(MICROSTRUCTURE, DAY, features_of(traded, quoted, DAY.session))
    lake.write(BARRIER_LABELS, DAY, triple_barrier(minute_bars(traded, DAY.session), session=DAY.session))
    return lake


def _mark(page: Page, running: Dashboard) -> dict[str, dt.datetime]:
    """Open the alert of the anomaly from the queue, mark generously, accept the edges that the tape proposes, and save."""
    (truth,) = SyntheticTape(DEFAULT_SEED).truth(SYMBOL, DAY.date).filter(kind=KIND).iter_rows(named=True)
    queue = marking.queue(running.database, "ada").with_row_index("at")
    alert = queue.filter(pl.col("start_time").is_between(truth["start_time"], truth["end_time"])).row(0, named=True)
    page.goto(f"{running.url}/mark?market=stocks&symbol={SYMBOL}")
    frame(page)
    page.get_by_role("button", name="Show").nth(alert["at"]).click()
    shown_from = (alert["start_time"] - dt.timedelta(minutes=30)).astimezone(ZoneInfo("America/New_York"))
    expect(page.locator('[data-part="range"]').first).to_contain_text(f"{shown_from:%H:%M} – ")
    start, end = truth["start_time"] - MARGIN, truth["end_time"] + MARGIN
    click_at(page, start)
    expect(page.locator('[data-part="status"]').first).to_have_text("now the end")
    click_at(page, end)
    accept = page.get_by_role("button", name="Accept")
    accept.wait_for()
    rough = page.get_by_label("Start, UTC").input_value()
    accept.click()
    expect(page.get_by_label("Start, UTC")).not_to_have_value(rough)
    page.get_by_role("combobox", name="Class").click()
    page.get_by_role("option", name="pump and dump").click()
    page.get_by_role("button", name="Save label").click()
    page.get_by_role("button", name="Undo").wait_for()
    (row,) = running.database.read(LABELS).iter_rows(named=True)
    assert (row["author"], row["symbol"], row["kind"]) == ("ada", SYMBOL, KIND)
    common = min(row["end_time"], truth["end_time"]) - max(row["start_time"], truth["start_time"])
    whole = max(row["end_time"], truth["end_time"]) - min(row["start_time"], truth["start_time"])
    assert common / whole > 0.5
    return row


def _trained(lake: Lake, running: Dashboard) -> pl.DataFrame:
    """The rows of the training set of which somebody said something, after the labels were collected."""
    store = LakeResource(root=str(lake.root))
    resources = {
        "lake": store,
        "lake_io": LakeIOManager(lake=store),
        "database": DatabaseResource(url=running.settings.database),
        "spool": SpoolResource(root=str(running.settings.home / "spool")),
        "tape_source": TapeSourceResource(base_url="http://127.0.0.1:9"),
    }
    assets = [trades, quotes, bars, microstructure, barrier_labels, truth_labels, human_labels, training_set]
    done = dg.materialize(assets, selection=[human_labels, training_set], resources=resources, partition_key=str(DAY))
    assert done.success
    return lake.read(TRAINING_SET, DAY).filter(pl.col("human_kind").is_not_null())
