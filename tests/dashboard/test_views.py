"""Every page runs on a small home, as Streamlit runs it, without a browser; what people wrote is shown as text."""

import datetime as dt
import json
import re
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from streamlit.testing.v1 import AppTest

from dashboard import identity
from dashboard.identity import Identity
from dashboard.reading.depth import book
from dashboard.views import alert, alerts, health, labels, mark, models, settings, trading, watch
from dashboard.views.controls import escaped
from dashboard.views.tables import heading
from tapewatch.accounts.roles import ROLES
from tapewatch.labels.people.human import HumanLabel
from tapewatch.market.instruments import Market
from tapewatch.market.tables.live import ALERT_VERDICTS, LABELS
from tapewatch.market.tables.review import ADJUDICATIONS
from tapewatch.market.tables.stream import ORDER_BOOK
from tapewatch.store.database.database import Database
from tapewatch.store.database.people.human_labels import add_labels
from tapewatch.store.lake.lake import Lake
from tapewatch.trading.engine import Tape
from tapewatch.trading.paper.broker import PaperBroker
from tapewatch.trading.paper.ledger import send, set_risk
from tapewatch.trading.paper.portfolio import portfolio
from tapewatch.trading.paper.protections import Protections, RiskState
from tests.support.paper import ACCOUNT, SETTINGS, recorded_day
from tests.support.watched_home import BURST, DAY, FAR, HOSTILE, INCIDENT, NEAR

ANN = Identity("ann", "manager", ROLES["manager"])
USER = Identity("uma", "user", ROLES["user"])
VIEWER = Identity("vera", "viewer", frozenset({"dashboard"}))
_PATIENCE_S = 180


def run(show: Callable[[], None], person: Identity = ANN, **query: str) -> AppTest:
    """A page's script, run once for a person."""
    identity.establish(lambda _: person)

    def script(show) -> None:  # its source runs elsewhere, without the imports above
        import streamlit as st  # noqa: PLC0415

        pages = ("watch", "alerts", "alert")
        st.session_state["pages"] = {name: st.Page(lambda: None, title=name, url_path=name) for name in pages}
        st.navigation([st.Page(show, title="This", default=True), *st.session_state["pages"].values()]).run()

    page = AppTest.from_function(script, args=(show,), default_timeout=_PATIENCE_S)
    for name, value in query.items():
        page.query_params[name] = value
    return page.run()


def texts(page: AppTest) -> str:
    return "\n".join(
        str(element.value) for kind in (page.markdown, page.caption, page.info, page.error) for element in kind
    )


def assert_headed(page: AppTest) -> None:
    """Every column of every table has a heading in words."""
    for table in page.dataframe:
        columns = json.loads(table.proto.columns)
        assert not [name for name in table.value.columns if not re.match("[^_]+$", columns[name].get("label") or "_")]


def test_a_columns_name_becomes_words_with_its_unit() -> None:
    given = ("lag_s", "return_bps", "events_per_second", "spread_hz", "psr")
    assert [heading(name) for name in given] == ["Lag, s", "Return, bps", "Events per second", "Spread, Hz", "Psr"]


@pytest.mark.long
@pytest.mark.parametrize(
    "show", [watch.show, alerts.show, health.show, models.show, trading.show, mark.show, labels.show, settings.show]
)
def test_every_page_runs(placed: Path, show: Callable[[], None]) -> None:
    page = run(show)
    assert not page.exception
    assert page.title[0].value == show.__module__.rpartition(".")[2].capitalize()
    assert_headed(page)


@pytest.mark.long
def test_a_paper_account_is_shown_with_what_stops_it(placed: Path) -> None:
    tape, sent = recorded_day(5, 30)
    with Database(f"sqlite:///{placed / 'tapewatch.db'}") as database:
        broker = PaperBroker(database, ACCOUNT, SETTINGS, Protections.none())
        ready = Tape.of_bars(tape)
        send(database, ACCOUNT, sent.filter(pl.col("time").dt.epoch("ns") <= ready.last))
        broker.process(ready, ready.last + 1)
        set_risk(database, ACCOUNT, RiskState.HALTED, "<b>wrong</b> prices", "ann")
        equity = portfolio(database).accounts["equity"][0]
    page = run(trading.show)
    assert not page.exception
    assert page.metric[0].value == f"{equity:,.2f}"
    assert "HALTED" in page.error[0].value
    assert "<b>" not in page.error[0].value
    assert {frame.value.shape[1] for frame in page.dataframe} >= {7, 10}
    assert_headed(page)
    assert "No bet yet" in texts(page)


@pytest.mark.long
def test_a_link_chooses_market_symbol_and_view(placed: Path) -> None:
    page = run(watch.show, symbol="MSFT", view="symbol")
    assert [box.value for box in page.selectbox][:3] == ["symbol", Market.STOCKS, "MSFT"]
    assert page.query_params.get("zone") is None
    assert run(watch.show, symbol="MSFT", zone="UTC").query_params["zone"] == "UTC"
    assert not run(watch.show, view="grid").exception
    assert run(watch.show, symbol="<script>", market="nowhere").selectbox[2].value == "AAPL"


@pytest.mark.long
def test_an_alert_is_judged_with_a_note(placed: Path) -> None:
    page = run(alert.show, id=INCIDENT)
    assert not page.exception
    assert "20 times the usual size" in texts(page)
    page.text_input[0].set_value("seen it")
    page.button[0].click().run()
    with Database(f"sqlite:///{placed / 'tapewatch.db'}") as database:
        given = database.read(ALERT_VERDICTS)
    assert given.select("alert_id", "author", "verdict", "note").rows() == [(INCIDENT, "ann", "confirmed", "seen it")]


@pytest.mark.long
def test_markup_of_vendors_and_people_is_shown_as_text(placed: Path) -> None:
    page = run(alert.show, id=FAR)
    assert escaped(f"MSFT: {HOSTILE}") in texts(page)
    assert HOSTILE not in texts(page)
    assert escaped("a_b <i>") == r"a\_b \<i\>"


@pytest.mark.long
def test_a_label_is_typed_saved_and_taken_back(placed: Path) -> None:
    page = run(mark.show)
    page.text_input(key="start text").set_value(f"{BURST[0]:%Y-%m-%dT%H:%M:%S}")
    page.text_input(key="end text").set_value(f"{BURST[1]:%Y-%m-%dT%H:%M:%S}")
    page.button(key="propose").click().run()
    page.button(key="accept").click().run()
    page.selectbox(key="mark kind").set_value("volume_spike")
    page.text_input(key="mark text").set_value("heavy")
    page.button(key="save").click().run()
    assert not page.exception
    with Database(f"sqlite:///{placed / 'tapewatch.db'}") as database:
        (saved,) = (HumanLabel.of_row(row) for row in database.read(LABELS).iter_rows(named=True))
        assert (saved.author, saved.kind, saved.note) == ("ann", "volume_spike", "heavy")
        assert abs((saved.start - BURST[0]).total_seconds()) <= 5
        assert not run(labels.show).exception
        page.button(key="undo").click().run()
        assert database.read(LABELS).is_empty()


@pytest.mark.long
def test_bad_times_are_refused_with_the_way_out(placed: Path) -> None:
    page = run(mark.show)
    page.text_input(key="start text").set_value("<b>noon</b>")
    page.button(key="save").click().run()
    assert not page.exception
    assert "is no time" in page.error[0].value
    assert "<b>" not in page.error[0].value.replace(r"\<b\>", "")


def test_a_link_restores_marks_window_kinds_and_stretch(placed: Path) -> None:
    page = run(watch.show, symbol="AAPL", marked="alert,label,nothing", window="120")
    assert [pills.value for pills in page.get("button_group")][:2] == [["alert", "label"], 120]
    assert (page.query_params["marked"], page.query_params["window"]) == ("alert,label", "120")
    plain = run(watch.show, symbol="AAPL", marked="alert,incident,anomaly,label,truth", window="<b>")
    assert not plain.exception
    assert "marked" not in plain.query_params
    assert "window" not in plain.query_params
    feed = run(alerts.show, kinds="price_move")
    assert feed.dataframe[0].value["kind"].tolist() == ["price move"]


def test_the_book_behind_the_best_prices_is_shown_where_the_tape_has_one(placed: Path) -> None:
    assert "the tape holds no book" in texts(run(watch.show, symbol="AAPL"))
    lake, time = Lake(placed / "lake"), BURST[0]
    row = {
        "symbol": "AAPL", "time": time, "exchange": 1, "bids": "[[99.0, 2.0], [98.5, 3.0]]", "asks": "[[99.5, 1.0], [100.0, 4.0]]",
        "received_time": time,
    }  # fmt: skip
    lake.write(ORDER_BOOK, DAY, ORDER_BOOK.conform(pl.DataFrame([row])))
    day = dt.timedelta(days=1)
    seen, levels = book(lake, DAY.market, "AAPL", time - day, time + day) or (None, pl.DataFrame())
    assert seen == time
    assert levels.rows() == [
        ("bid", 99.0, 2.0, 2.0), ("bid", 98.5, 3.0, 5.0), ("ask", 99.5, 1.0, 1.0), ("ask", 100.0, 4.0, 5.0)
    ]  # fmt: skip
    assert book(lake, DAY.market, "AAPL", time - day, time) is None
    assert "Depth behind the best prices at" in texts(run(watch.show, symbol="AAPL"))


def test_who_may_not_export_is_offered_no_file_of_any_table(placed: Path) -> None:
    for show, query in (
        (alerts.show, {}),
        (alert.show, {"id": NEAR}),
        (health.show, {}),
        (models.show, {}),
        (trading.show, {}),
    ):
        page = run(show, VIEWER, **query)
        assert not page.exception
        assert not page.dataframe
        assert not page.get("download_button")
    feed = run(alerts.show, VIEWER).table[0].value
    assert sorted(feed["Symbol"]) == ["AAPL", "AAPL", "MSFT"]
    assert sum(escaped(HOSTILE) in text for text in feed["What was seen"]) == 1
    assert all(link.startswith("[open](/alert?id=") for link in feed.iloc[:, -1])


SQL = "'; DROP TABLE labels; -- \" OR 1=1"


def test_sql_in_the_fields_of_the_pages_is_kept_as_text(placed: Path) -> None:
    with Database(f"sqlite:///{placed / 'tapewatch.db'}") as database:
        page = run(alert.show, id=INCIDENT)
        page.text_input[0].set_value(SQL)
        page.button[0].click().run()
        page = run(settings.show)
        for box in page.text_input:
            box.set_value(SQL)
        page.button[0].click().run()
        assert page.error[0].value
        page = run(mark.show)
        for key, value in (("start text", BURST[0]), ("end text", BURST[1])):
            page.text_input(key=key).set_value(f"{value:%Y-%m-%dT%H:%M:%S}")
        page.text_input(key="mark text").set_value(SQL)
        page.button(key="save").click().run()
        assert not page.exception
        other = HumanLabel(Market.STOCKS, "AAPL", *BURST, "normal", "ben")
        add_labels(database, [other], actor="ben", source="test")
        page = run(labels.show)
        next(box for box in page.text_input if box.label == "Why").set_value(SQL)
        next(button for button in page.button if button.label == "Decide").click().run()
        assert not page.exception
        for table in (ALERT_VERDICTS, LABELS, ADJUDICATIONS):
            assert SQL in database.read(table)["note"].to_list(), table.name
        for show in (watch.show, alerts.show, alert.show):
            names = ("market", "symbol", "id", "from", "to", "severity", "since", "kinds", "window")
            assert not run(show, **dict.fromkeys(names, SQL)).exception
        assert database.read(LABELS).height == 2


@pytest.mark.long
def test_who_may_not_mark_gets_no_way_to(placed: Path) -> None:
    assert "does not allow this page" in texts(run(mark.show, VIEWER))
    assert "does not allow this page" in texts(run(labels.show, VIEWER))
    assert not run(alert.show, VIEWER, id=INCIDENT).button


@pytest.mark.long
def test_a_class_is_added_by_managers_alone_and_offered_at_once(placed: Path) -> None:
    page = run(settings.show)
    page.text_input[0].set_value("Layered book")
    page.text_input[1].set_value("=put in <b>")
    page.button[0].click().run()
    assert not page.exception
    assert "layered book" in page.dataframe[0].value["class"].tolist()
    assert "layered book" in run(mark.show).selectbox(key="mark kind").options
    refused = run(settings.show, USER)
    assert not refused.dataframe
    assert "needs the permission" in texts(refused)


@pytest.mark.long
def test_a_manager_decides_where_labels_differ(placed: Path) -> None:
    with Database(f"sqlite:///{placed / 'tapewatch.db'}") as database:
        for author, kind in (("ann", "volume_spike"), ("ben", "normal")):
            add_labels(database, [HumanLabel(Market.STOCKS, "AAPL", *BURST, kind, author)], actor=author, source="test")
        seen = run(labels.show, USER)
        assert "1 to decide; managers do." in texts(seen)
        assert not [button for button in seen.button if button.label == "Decide"]
        page = run(labels.show)
        next(box for box in page.text_input if box.label == "Why").set_value("halted")
        next(button for button in page.button if button.label == "Decide").click().run()
        assert not page.exception
        (decision,) = database.read(ADJUDICATIONS).iter_rows(named=True)
        assert (decision["author"], decision["kind"], decision["note"]) == ("ann", "volume_spike", "halted")
        assert database.read(LABELS).height == 2
    assert "all were decided" in texts(page)
