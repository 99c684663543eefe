"""Marking: two clicks on the chart, tightened edges, a class; and the queue of what to judge next."""

import datetime as dt
from typing import Any

import streamlit as st

from dashboard import places
from dashboard.components.candles import candle_chart
from dashboard.identity import Identity, current, require
from dashboard.reading import marking
from dashboard.views.alerts import judge
from dashboard.views.controls import (
    await_bars,
    escaped,
    is_utc,
    link_stretch,
    listed,
    market_and_symbol,
    named,
    sidebar,
    stretch_of_link,
    time_of,
    time_text,
    zone_of,
)
from tapewatch.labels.kinds import KINDS
from tapewatch.labels.people.edges import Edge
from tapewatch.labels.people.human import HumanLabel, LabelError
from tapewatch.labels.people.human import time_of as parse_time
from tapewatch.market.instruments import NS_PER_SECOND, Market
from tapewatch.store.database.database import DatabaseError
from tapewatch.store.database.people.label_classes import offered
from tapewatch.store.labelling import edges

_AROUND = dt.timedelta(minutes=30)
_SOURCES = ("alert", "incident", "anomaly", "label")


def show() -> None:
    """Draw the page."""
    st.session_state["page"] = "mark"
    person = require("mark")
    sidebar()
    st.title("Mark")
    # A choice from the queue moves the symbol's boxes, which a script may only do before it draws them.
    if chosen := st.session_state.pop("mark next", None):
        st.session_state["choice market mark"], st.session_state["choice symbol mark"] = (
            chosen["market"],
            chosen["symbol"],
        )
        st.session_state["mark view"] = chosen
    if not listed():
        await_bars()
        return
    market, symbol = market_and_symbol(*st.columns(2))
    left, right = st.columns([3, 1.25])
    with left:
        _chart(market, symbol)
    with right:
        _form(market, symbol, person)
    queue, own = st.tabs(["What to judge next", "Your labels"])
    with queue:
        _queue(person)
    with own:
        _own(person)


@st.fragment
def _chart(market: Market, symbol: str) -> None:
    # As a fragment, since a report of the view then waits for the run that takes a mark in; a run of the whole page would end that run.
    view = st.session_state.get("mark view")
    if view and (view["market"], view["symbol"]) == (market, symbol):
        start, end, name = view["start"], view["end"], view["id"]
    else:
        whole = tuple(ns / NS_PER_SECOND for ns in places.histories().extent(market, symbol, 1))
        start, end = stretch_of_link("mark") or whole
        name = f"{market} {symbol}"
    mark = st.session_state.get("mark")
    shown: dict[str, Any] = {}
    if mark and mark["place"] == (market, symbol):
        shown = {"start": mark["start"].timestamp(), "end": mark["end"].timestamp(), "edges": mark["edges"]}
    st.caption(
        "Click where it starts and where it ends, or drag over it with Shift or *Brush*; drag an edge to move it. With the keyboard: Shift "
        "and arrows, then Enter; or type the times."
    )
    found = candle_chart(
        market, symbol, start, end, key="mark chart", zone=zone_of(market), sources=_SOURCES, mark=shown or {"start": None},
        may_export=current().may("export"), view=name, version=st.session_state.get("labels version", 0),
    )  # fmt: skip
    link_stretch(found)
    if (dragged := found.get("dragged")) and mark:
        for name in ("start", "end"):
            mark[name] = time_of(dragged[name]).replace(microsecond=0)
        _fill(start=mark["start"], end=mark["end"])
        st.rerun()
    if made := found.get("mark"):
        _begin(market, symbol, time_of(made["start"]), time_of(made["end"]))
        st.rerun()


def _begin(market: Market, symbol: str, start: dt.datetime, end: dt.datetime) -> None:
    """Open a mark for editing, with the edges that the refinement proposes."""
    start, end = (time.replace(microsecond=0) for time in (start, end))
    draft = HumanLabel(market, symbol, start, max(end, start + dt.timedelta(seconds=1)), KINDS[0], "")
    mark: dict[str, Any] = {
        "place": (market, symbol),
        "start": draft.start,
        "end": draft.end,
        "edges": [],
        "refined": None,
    }
    try:
        refined = edges(places.lake(), draft)
    except (LabelError, ValueError) as error:
        st.session_state["mark note"] = str(error)
    else:
        found = [edge for edge in (refined.start, refined.end) if edge is not None]
        mark["refined"] = refined
        mark["edges"] = [{"time": e.time_ns / NS_PER_SECOND, "uncertainty_s": e.uncertainty_s} for e in found]
    st.session_state["mark"] = mark
    _fill(start=mark["start"], end=mark["end"])


def _fill(**times: dt.datetime | None) -> None:
    """Have the form show the times `start` and `end`, or one of them. It gets them when it is drawn: earlier, values that the browser
    sent before could replace them."""
    texts = {f"{name} text": "" if time is None else f"{time:%Y-%m-%dT%H:%M:%S}" for name, time in times.items()}
    st.session_state["times"] = texts


def _form(market: Market, symbol: str, person: Identity) -> None:
    mark = st.session_state.get("mark")
    if mark and mark["place"] != (market, symbol):
        mark = None
    if note := st.session_state.pop("mark note", None):
        st.warning(escaped(note))
    if mark and mark["refined"] is not None:
        _proposal(mark)
    for name, text in st.session_state.get("times", {}).items():
        st.session_state[name] = text
    st.text_input("Start, UTC", key="start text", placeholder="2024-06-03T14:31:00")
    st.text_input("End, UTC", key="end text", placeholder="2024-06-03T14:35:00")
    st.session_state["times"] = {}
    st.button("Propose edges for these times", key="propose", on_click=_propose, args=(market, symbol))
    kind = st.selectbox("Class", offered(places.database()), format_func=named, key="mark kind")
    confidence = st.slider("Confidence", 0.0, 1.0, 0.9, 0.05, key="mark confidence")
    said = st.text_input("Note", key="mark text", max_chars=500)
    if st.button("Save label", type="primary", key="save"):
        _guarded(
            lambda: _save(HumanLabel(market, symbol, *_typed(), kind, person.name, confidence, said.strip() or None))
        )
    if last := st.session_state.get("last label"):
        st.success(escaped(f"Saved: {last}"))
        if st.button("Undo", key="undo"):
            _guarded(lambda: _undo(last, person))


def _proposal(mark: dict[str, Any]) -> None:
    refined = mark["refined"]
    if refined.start is None and refined.end is None:
        st.info("The tape shows no change near these edges: they stay as they are.")
        return
    texts = [_edge_text(edge) for edge in (refined.start, refined.end)]
    st.markdown(f"The tape changes, in UTC, at  \n**{texts[0]}**  \n**{texts[1]}**")
    columns = st.columns(2)
    columns[0].button("Accept", key="accept", on_click=_accept, args=(mark,), help="take these edges")
    columns[1].button("Discard", key="discard", on_click=_discard, help="drop the mark")


def _edge_text(edge: Edge | None) -> str:
    if edge is None:
        return "no change"
    return f"{time_text(time_of(edge.time_ns / NS_PER_SECOND), 'UTC').split()[1]} ± {edge.uncertainty_s:.0f} s"


def _accept(mark: dict[str, Any]) -> None:
    refined = mark["refined"]
    proposed = {"start": refined.start, "end": refined.end}
    found = {name: time_of(edge.time_ns / NS_PER_SECOND) for name, edge in proposed.items() if edge is not None}
    mark.update(found)
    _fill(**found)


def _discard() -> None:
    st.session_state.pop("mark", None)
    _fill(start=None, end=None)


def _propose(market: Market, symbol: str) -> None:
    try:
        _begin(market, symbol, *_typed())
    except LabelError as error:
        st.session_state["mark note"] = str(error)


def _typed() -> tuple[dt.datetime, dt.datetime]:
    return parse_time(st.session_state["start text"].strip()), parse_time(st.session_state["end text"].strip())


def _save(label: HumanLabel) -> None:
    is_new = marking.save(places.lake(), places.database(), label)
    st.session_state["last label"] = label
    st.session_state["labels version"] = st.session_state.get("labels version", 0) + 1
    st.session_state.pop("mark", None)
    st.toast("Saved" if is_new else "It was there already")
    st.rerun()


def _undo(label: HumanLabel, person: Identity) -> None:
    marking.take_back(places.database(), label.label_id, person.name)
    del st.session_state["last label"]
    st.session_state["labels version"] = st.session_state.get("labels version", 0) + 1
    st.toast("Taken back")
    st.rerun()


def _guarded(action: Any) -> None:
    try:
        action()
    except (LabelError, DatabaseError) as error:
        st.error(escaped(str(error)))


def _queue(person: Identity) -> None:
    rows = marking.queue(places.database(), person.name)
    if rows.is_empty():
        st.caption("Every alert and incident has a verdict or a label of yours.")
        return
    st.caption(
        "Alerts and incidents without a verdict, nearest to their threshold first: there the detectors are least sure. "
        + ("Times in UTC." if is_utc() else "Times in each market's own zone.")
    )
    for position, row in enumerate(rows.head(12).iter_rows(named=True)):
        zone = zone_of(Market(row["market"]))
        columns = st.columns([2, 4, 3], vertical_alignment="center")
        columns[0].write(f"{escaped(row['symbol'])}  \n{time_text(row['start_time'], zone)}")
        columns[1].write(escaped(row["message"].removeprefix(f"{row['symbol']}: ")))
        with columns[2].container(horizontal=True):
            st.button("Show", key=f"show {position}", on_click=_show_in_chart, args=(row,))
            st.button("Confirm", key=f"confirm {position}", on_click=judge, args=([row["id"]], "confirmed"))
            st.button("Dismiss", key=f"dismiss {position}", on_click=judge, args=([row["id"]], "dismissed"))


def _show_in_chart(row: dict[str, Any]) -> None:
    end = row["end_time"] or row["start_time"]
    st.session_state["mark next"] = {
        "market": Market(row["market"]), "symbol": row["symbol"], "id": row["id"],
        "start": (row["start_time"] - _AROUND).timestamp(), "end": (end + _AROUND).timestamp(),
    }  # fmt: skip


def _own(person: Identity) -> None:
    rows = marking.own_labels(places.database(), person.name)
    if rows.is_empty():
        st.caption("You have made no label yet.")
    for row in rows.head(20).iter_rows(named=True):
        label = HumanLabel.of_row(row)
        columns = st.columns([6, 3, 1], vertical_alignment="center")
        columns[0].write(escaped(str(label)))
        columns[1].write(escaped(label.note or ""))
        if columns[2].button("Remove", key=f"remove {label.label_id}"):
            _guarded(lambda label=label: _remove(label, person))


def _remove(label: HumanLabel, person: Identity) -> None:
    marking.take_back(places.database(), label.label_id, person.name)
    if st.session_state.get("last label") == label:
        del st.session_state["last label"]
    st.session_state["labels version"] = st.session_state.get("labels version", 0) + 1
    st.rerun()
