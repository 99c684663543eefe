"""One alert: the tape around it, its dossier, and people's verdicts."""

import datetime as dt
from typing import Any

import polars as pl
import streamlit as st

from dashboard import places
from dashboard.components.candles import candle_chart, replay_chart
from dashboard.identity import current
from dashboard.reading.happenings import feed
from dashboard.reading.replay import LONGEST
from dashboard.views import dossier
from dashboard.views.alerts import judge
from dashboard.views.controls import escaped, in_zone, named, sidebar, time_text, zone_of
from dashboard.views.tables import draw_table
from tapewatch.market.instruments import Market
from tapewatch.market.tables.live import ALERT_VERDICTS

_AROUND = dt.timedelta(minutes=45)
_BEFORE, _AFTER = dt.timedelta(minutes=5), dt.timedelta(minutes=5)


def show() -> None:
    """Draw the page of the alert that the link names."""
    st.session_state["page"] = "alert"
    sidebar()
    places.dossiers().warm()
    alert_id = st.query_params.get("id", "")
    found = feed(places.database(), alert_id=alert_id) if alert_id else pl.DataFrame()
    if found.is_empty():
        st.title("One alert")
        st.info("Open an alert from the feed, or from its marker in a chart.")
        st.page_link(st.session_state["pages"]["alerts"], label="Alerts", icon=":material/notifications:")
        return
    _alert(found.row(0, named=True))


def _alert(row: dict[str, Any]) -> None:
    market = Market(row["market"])
    zone = zone_of(market)
    st.title(f"{escaped(row['symbol']) or 'The whole feed'}: {escaped(named(row['kind']))}")
    facts = st.columns(4)
    facts[0].metric(
        "From",
        time_text(row["start_time"], zone).split()[1],
        time_text(row["start_time"], zone).split()[0],
        delta_color="off",
        delta_arrow="off",
    )
    facts[1].metric("Lasted", _lasted(row))
    facts[2].metric("Severity", row["severity"])
    facts[3].metric("Verdict", row["verdict"] or "none")
    st.write(escaped(row["message"]))
    if row["symbol"]:
        start, end = row["start_time"] - _AROUND, (row["end_time"] or row["start_time"]) + _AROUND
        candle_chart(
            market, row["symbol"], start.timestamp(), end.timestamp(), key="alert chart", zone=zone,
            may_export=current().may("export"), view=row["id"],
        )  # fmt: skip
        _replay(market, row, zone)
    # The dossier takes a moment: what a person may do on the page is drawn before it.
    place = st.container()
    _verdicts(row, zone)
    with place:
        dossier.draw_dossier(row, zone)


def _replay(market: Market, row: dict[str, Any], zone: str) -> None:
    """The tape from shortly before the event to shortly after it, second by second."""
    st.subheader("Replay")
    start, end, known = row["start_time"], row["end_time"] or row["start_time"], row["known_time"]
    first, last = start - _BEFORE, min(max(end, known) + _AFTER, start - _BEFORE + LONGEST)
    replay_chart(
        market, row["symbol"], first.timestamp(), last.timestamp(), start_s=start.timestamp(), end_s=end.timestamp(),
        moment_s=min(max(known, first), last).timestamp(), zone=zone, key="replay",
    )  # fmt: skip
    st.caption(
        "Price, bid and ask second by second; the violet line is the moment of the alert, the red strip the event."
    )


def _verdicts(row: dict[str, Any], zone: str) -> None:
    st.subheader("Verdicts")
    person = current()
    given = places.database().read(ALERT_VERDICTS, where={"alert_id": row["id"]})
    if given.height:
        draw_table(
            in_zone(given.select("created_time", "author", "verdict", "note"), zone),
            column_config={"created_time": "When"},
        )
    if not person.may("mark"):
        return
    with st.form("verdict", clear_on_submit=True):
        note = st.text_input("Note", max_chars=500)
        buttons = st.columns([1, 1, 4])
        is_confirmed = buttons[0].form_submit_button("Confirm")
        is_dismissed = buttons[1].form_submit_button("Dismiss")
    if is_confirmed or is_dismissed:
        judge([row["id"]], "confirmed" if is_confirmed else "dismissed", note.strip() or None)
        st.rerun()


def _lasted(row: dict[str, Any]) -> str:
    if row["end_time"] is None:
        return "still lasts"
    seconds = (row["end_time"] - row["start_time"]).total_seconds()
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
