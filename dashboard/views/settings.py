"""What managers and admins set: the classes of labels."""

from collections.abc import Callable

import streamlit as st

from dashboard import places
from dashboard.identity import require
from dashboard.views.controls import escaped, named, sidebar
from dashboard.views.tables import draw_table
from tapewatch.labels.kinds import MEANINGS
from tapewatch.labels.people.human import LabelError
from tapewatch.store.database.database import DatabaseError
from tapewatch.store.database.people.label_classes import LabelClass, classes, set_class


def show() -> None:
    """Draw the page."""
    st.session_state["page"] = "settings"
    require("settings")
    sidebar()
    st.title("Settings")
    st.subheader("Classes of labels")
    if said := st.session_state.pop("settings said", None):
        st.toast(said)
    known = classes(places.database())
    draw_table(
        [
            {
                "class": named(each.name), "offered": each.is_offered, "built_in": each.is_built_in,
                "description": each.description or MEANINGS.get(each.name, ""),
            }
            for each in known
        ],
        height=35 * (len(known) + 1) + 3,
        column_config={"description": st.column_config.Column("What belongs to it", width="large")},
    )  # fmt: skip
    st.caption("Labels of a class that is no longer offered stay. Every change is in the audit log.")
    left, right = st.columns(2)
    with left:
        _add()
    with right:
        _switch(known)


def _add() -> None:
    with st.form("add class", clear_on_submit=True):
        name = st.text_input("New class", max_chars=40, placeholder="layered_book")
        text = st.text_input("What belongs to it", max_chars=300)
        if st.form_submit_button("Add"):
            spelt = name.strip().lower().replace(" ", "_")
            _change(lambda actor: set_class(places.database(), spelt, description=text.strip() or None, actor=actor))


def _switch(known: list[LabelClass]) -> None:
    with st.form("switch class"):
        chosen = st.selectbox("Class", known, format_func=lambda each: named(each.name))
        columns = st.columns(2)
        is_offered = columns[0].form_submit_button("Offer")
        is_retired = columns[1].form_submit_button("Offer no more")
        if is_offered or is_retired:
            _change(lambda actor: set_class(places.database(), chosen.name, is_offered=is_offered, actor=actor))


def _change(change: Callable[[str], LabelClass]) -> None:
    """Make a change by the person, who needs the permission at this moment."""
    person = require("settings")
    try:
        made = change(person.name)
    except (LabelError, DatabaseError) as error:
        st.error(escaped(str(error)))
        return
    st.session_state["settings said"] = f"{made.name}: {'offered' if made.is_offered else 'no longer offered'}"
    st.rerun()
