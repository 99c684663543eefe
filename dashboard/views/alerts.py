"""The feed of alerts and incidents: filters and verdicts."""

import datetime as dt

import polars as pl
import streamlit as st

from dashboard import places
from dashboard.identity import Identity, current, require
from dashboard.reading.export import exported
from dashboard.reading.happenings import SEVERITIES, feed
from dashboard.views.controls import (
    choice,
    escaped,
    in_zone,
    is_utc,
    listed,
    named,
    refresh_s,
    several,
    sidebar,
    zone_of,
)
from dashboard.views.tables import draw_table
from tapewatch.market.tables.live import VERDICTS
from tapewatch.store.database.database import DatabaseError
from tapewatch.store.database.people.verdicts import VerdictError, give_verdict

_SINCE = {"Everything": None, "Last hour": 1, "Last day": 24, "Last week": 168, "Last month": 720}
_SHOWN = ("start_time", "lasted", "symbol", "kind", "severity", "source", "verdict", "message")
#: Streamlit breaks lines in rows of more than 64 pixels. The width is what a window of 1,280 pixels leaves beside the other columns.
_ROW_PX, _TABLE_PX, _SEEN_PX = 66, 570, 275
_SECONDS = (pl.col("end_time") - pl.col("start_time")).dt.total_seconds()
_LASTED = (
    pl.when(_SECONDS < 120)
    .then(pl.format("{} s", _SECONDS))
    .otherwise(pl.format("{} min", (_SECONDS / 60).round().cast(pl.Int64)))
    .fill_null("still lasts")
)
#: Without symbol and kind, which have columns of their own.
_SEEN = (
    pl.col("message")
    .str.strip_prefix(pl.col("symbol") + ": ")
    .str.replace_all("_", " ")
    .str.strip_prefix(pl.col("kind").str.replace_all("_", " ") + ", ")
)
_HEADINGS = {
    "start_time": "From", "lasted": "Lasted", "source": "Found by", "message": st.column_config.Column("What was seen", width=_SEEN_PX),
}  # fmt: skip


def show() -> None:
    """Draw the page."""
    st.session_state["page"] = "alerts"
    sidebar()
    places.dossiers().warm()
    st.title("Alerts")
    filters = st.columns(5)
    with filters[0]:
        since = choice("since", list(_SINCE), "Everything", "Since")
    with filters[1]:
        market = choice("market", ["all", *listed()], "all", "Market")
    with filters[2]:
        symbol = choice("symbol", ["all", *_symbols(market)], "all", "Symbol")
    with filters[3]:
        severity = choice("severity", ["all", *SEVERITIES], "all", "At least", format_func=named)
    with filters[4]:
        verdict = choice("verdict", ["all", "none", *VERDICTS], "all", "Verdict")
    st.fragment(_feed, run_every=refresh_s())(since, market, symbol, severity, verdict, current())


def _symbols(market: str) -> list[str]:
    return sorted({symbol for m, symbols in listed().items() if market in ("all", m) for symbol in symbols})


def _feed(since: str, market: str, symbol: str, severity: str, verdict: str, person: Identity) -> None:
    hours = _SINCE[since]
    rows = feed(
        places.database(),
        start=None if hours is None else dt.datetime.now(dt.UTC) - dt.timedelta(hours=hours),
        market=None if market == "all" else market,
        symbol=None if symbol == "all" else symbol,
    )
    if severity != "all":
        rows = rows.filter(pl.col("severity").is_in(SEVERITIES[SEVERITIES.index(severity) :]))
    if verdict != "all":
        rows = rows.filter(pl.col("verdict").is_null() if verdict == "none" else pl.col("verdict") == verdict)
    kinds = sorted(set(rows["kind"]))
    chosen = several("kinds", kinds, (), "Kinds", format_func=named)
    if chosen:
        rows = rows.filter(pl.col("kind").is_in(chosen))
    zone = "UTC" if is_utc() or market == "all" else zone_of(market)
    st.caption(f"{rows.height:,} alerts and incidents, newest first; times in {zone}")
    shown = in_zone(rows.with_columns(lasted=_LASTED).select(_SHOWN), zone).with_columns(
        pl.col("kind").str.replace_all("_", " "),
        _SEEN,
        pl.col("verdict").fill_null(""),
    )
    # Who cannot choose rows gets a link in each.
    if not person.may("export"):
        shown = shown.with_columns(open=pl.format("/alert?id={}", rows["id"]))
    else:
        # Three lines of a row. The page of an alert has all of it.
        shown = shown.with_columns(pl.col("message").str.replace(r"^(.{60,95})\s.+$", "${1} …"))
    positions = draw_table(
        shown, key="feed", height=_TABLE_PX, row_height=_ROW_PX, on_select="rerun", selection_mode="multi-row",
        column_config=_HEADINGS | {"open": st.column_config.LinkColumn("", display_text="open")},
    )  # fmt: skip
    _actions(rows[[position for position in positions if position < rows.height]], person)
    if person.may("export"):
        st.download_button("Save as CSV", exported(rows, "csv"), "alerts.csv", on_click="ignore")


def _actions(rows: pl.DataFrame, person: Identity) -> None:
    if rows.is_empty():
        if person.may("mark"):
            st.caption("Choose rows to open, confirm or dismiss them.")
        return
    buttons = st.columns([1, 1, 4])
    if person.may("mark"):
        for column, verdict, label in ((buttons[0], "confirmed", "Confirm"), (buttons[1], "dismissed", "Dismiss")):
            if column.button(f"{label} {rows.height}", key=verdict):
                judge(rows["id"].to_list(), verdict)
                st.rerun(scope="fragment")
    if rows.height == 1:
        buttons[2].page_link(
            st.session_state["pages"]["alert"],
            label="Open",
            query_params={"id": rows["id"][0]},
            icon=":material/search:",
        )


def judge(ids: list[str], verdict: str, note: str | None = None) -> None:
    """Record the person's verdict on alerts; says so if it cannot be recorded. Needs the permission `mark` at this moment."""
    person = require("mark")
    try:
        for alert_id in ids:
            give_verdict(places.database(), alert_id, verdict=verdict, author=person.name, note=note)
    except (VerdictError, DatabaseError) as error:
        st.error(escaped(str(error)))
    else:
        st.toast(f"{len(ids)} {verdict}")
