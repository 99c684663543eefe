"""One alert: the tape around it, what speaks for it, and people's verdicts."""

import datetime as dt
from typing import Any

import polars as pl
import streamlit as st

from dashboard import places
from dashboard.components.candles import candle_chart
from dashboard.identity import current
from dashboard.reading.features import against_normal
from dashboard.reading.happenings import feed, reasons
from dashboard.views.alerts import judge
from dashboard.views.controls import escaped, in_zone, named, sidebar, time_text, zone_of
from tapewatch.market.instruments import Market
from tapewatch.market.live_tables import ALERT_VERDICTS

_AROUND = dt.timedelta(minutes=45)


def show() -> None:
    """Draw the page of the alert that the link names."""
    st.session_state["page"] = "alert"
    sidebar()
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
        _dossier(row, market)
    _verdicts(row, zone)


def _dossier(row: dict[str, Any], market: Market) -> None:
    """Why there is an alert: the detector's reasons, and what was unusual."""
    left, right = st.columns([2, 3])
    with left:
        _reasons(row)
    with right:
        _features(row, market)
    st.caption("The dossier, with the score made again from the lake and the nearest past events:")
    st.code(f"tapewatch explain '{row['id']}' --html dossier.html", language=None)


def _reasons(row: dict[str, Any]) -> None:
    st.subheader("What speaks for it")
    said = reasons(places.database(), row)
    if not said:
        st.caption("No detector gave reasons at this time; the message above holds what the rule measured.")
    for reason in said:
        if "words" in reason:
            st.markdown(f"- **{escaped(named(str(reason['kind'])))}**: {escaped(str(reason['words']))}")
        else:
            value = "no value" if reason["value"] is None else f"{reason['value']:,.4g}"
            st.markdown(
                f"- **{escaped(named(str(reason['feature'])))}** is {value}: {reason['shap_value']:+.2f} to the score"
            )


def _features(row: dict[str, Any], market: Market) -> None:
    st.subheader("Features against the day")
    rows = against_normal(places.lake(), places.database(), market, row["symbol"], row["start_time"], row["end_time"])
    if rows.is_empty():
        st.caption("The lake holds no features of this time.")
        return
    st.dataframe(
        rows.with_columns(pl.col("feature").str.replace_all("_", " ")),
        hide_index=True,
        column_config={
            "feature": "Feature",
            "value": st.column_config.NumberColumn("Most extreme", format="%.4g"),
            "low": st.column_config.NumberColumn(
                "Usual from", format="%.4g", help="5th percentile of the day's minutes"
            ),
            "median": st.column_config.NumberColumn("Median", format="%.4g"),
            "high": st.column_config.NumberColumn("to", format="%.4g", help="95th percentile"),
            "beyond": st.column_config.NumberColumn(
                "Beyond", format="%.1f", help="distance from the usual range, in its widths"
            ),
        },
    )


def _verdicts(row: dict[str, Any], zone: str) -> None:
    st.subheader("Verdicts")
    person = current()
    given = places.database().read(ALERT_VERDICTS, where={"alert_id": row["id"]})
    if given.height:
        st.dataframe(in_zone(given.select("created_time", "author", "verdict", "note"), zone), hide_index=True)
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
