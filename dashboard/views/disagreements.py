"""Where people's labels of the same stretch differ: a manager decides, and every mark stays in the history."""

import json

import polars as pl
import streamlit as st

from dashboard import places
from dashboard.identity import Identity, require
from dashboard.views.controls import escaped, in_zone, named
from dashboard.views.tables import draw_table
from tapewatch.labels.people.adjudication import Group
from tapewatch.labels.people.human import HumanLabel, LabelError, time_of
from tapewatch.market.tables.review import ADJUDICATIONS
from tapewatch.store.database.database import DatabaseError
from tapewatch.store.database.people.adjudications import adjudicate, open_disagreements
from tapewatch.store.database.people.label_classes import offered

_MOST = 10


def draw_disagreements(person: Identity) -> None:
    """Draw the open ones, for those who may decide with a form, and what was decided."""
    st.subheader("Where people disagree")
    groups = open_disagreements(places.database())
    if not groups:
        st.caption("No labels of the same stretch differ, or all were decided.")
    elif not person.may("settings"):
        st.caption(f"{len(groups):,} to decide; managers do.")
    for group in groups[:_MOST]:
        with st.container(border=True):
            _group(group, may_decide=person.may("settings"))
    if len(groups) > _MOST:
        st.caption(f"The first {_MOST} of {len(groups):,}.")
    _decided()


def _group(group: Group, *, may_decide: bool) -> None:
    first, last = min(label.start for label in group), max(label.end for label in group)
    st.markdown(escaped(f"{group[0].symbol}, {group[0].market}: {first:%Y-%m-%d %H:%M:%S} to {last:%H:%M:%S} UTC"))
    draw_table(
        [
            {
                "author": label.author, "class": named(label.kind), "from": f"{label.start:%H:%M:%S}",
                "to": f"{label.end:%H:%M:%S}", "confidence": label.confidence, "note": label.note or "",
            }
            for label in group
        ],
    )  # fmt: skip
    if not may_decide:
        return
    key = "-".join(label.label_id for label in group)
    with st.form(f"decide {key}"):
        columns = st.columns([2, 2, 2, 3, 1], vertical_alignment="bottom")
        kinds = offered(places.database())
        at = kinds.index(group[0].kind) if group[0].kind in kinds else 0
        kind = columns[0].selectbox("Class", kinds, index=at, format_func=named)
        start = columns[1].text_input("From, UTC", f"{first:%Y-%m-%dT%H:%M:%S}")
        end = columns[2].text_input("To, UTC", f"{last:%Y-%m-%dT%H:%M:%S}")
        note = columns[3].text_input("Why", max_chars=500)
        if columns[4].form_submit_button("Decide"):
            _decide(group, kind, start, end, note.strip() or None)


def _decide(group: Group, kind: str, start: str, end: str, note: str | None) -> None:
    person = require("settings")
    try:
        times = time_of(start.strip()), time_of(end.strip())
        decision = HumanLabel(group[0].market, group[0].symbol, *times, kind, person.name, note=note)
        ids = [label.label_id for label in group]
        adjudicate(places.database(), ids, decision, kinds=offered(places.database()))
    except (LabelError, DatabaseError) as error:
        st.error(escaped(str(error)))
        return
    st.toast("Decided")
    st.rerun()


def _decided() -> None:
    rows = places.database().read(ADJUDICATIONS, newest_first=True, limit=50)
    if rows.is_empty():
        return
    said = [
        "; ".join(f"{each['author']}: {named(each['kind'])}" for each in json.loads(text)) for text in rows["judged"]
    ]
    shown = in_zone(rows.select("start_time", "end_time", "symbol", "kind", "author", "note", "created_time"), "UTC")
    draw_table(
        shown.with_columns(pl.col("kind").str.replace_all("_", " "), judged=pl.Series(said)),
        column_config={
            "start_time": "From", "end_time": "To", "symbol": "Symbol", "kind": "Decided", "author": "By", "note": "Why",
            "created_time": "When", "judged": "What people said",
        },
        key="decided",
    )  # fmt: skip
    st.caption("Decisions count in place of the labels that differed when training sets are made; the labels stay.")
