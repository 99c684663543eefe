"""The models in use, how they were judged, and what they find."""

import plotly.express as px
import polars as pl
import streamlit as st

from dashboard import places
from dashboard.reading import models
from dashboard.views.controls import escaped, sidebar
from dashboard.views.panels import draw

_COLUMNS = {
    "kind": "Kind",
    "truth": None,
    "events": "Events",
    "found": "Found",
    "recall": st.column_config.ProgressColumn("Recall", min_value=0, max_value=1, format="percent"),
    "named": st.column_config.Column("Named", help="of these, found as their kind"),
    "false_alerts": "False",
    "false_alerts_per_390_minutes": st.column_config.NumberColumn(
        "False a day", format="%.2f", help="in 390 minutes of a symbol"
    ),
    "delay_s": st.column_config.NumberColumn("Delay, s", format="%.0f", help="median, from an anomaly's start"),
    "rule_found": None,
    "rule_recall": st.column_config.NumberColumn("Rule's recall", format="percent", help="of the trivial rule"),
    "recall_low": None,
    "recall_high": None,
}


def show() -> None:
    """Draw the page."""
    st.session_state["page"] = "models"
    sidebar()
    st.title("Models")
    lake = places.lake()
    champions = models.champions(lake)
    if not champions:
        st.info("No model has been trained yet: `tapewatch run` or `tapewatch demo` trains, judges and registers them.")
    else:
        st.subheader("In use")
        st.dataframe(champions, hide_index=True, column_config={"train": "trained on", "validation": "judged on"})
    live = models.live_model(places.settings().champions)
    st.caption(
        f"Collectors scan with {escaped(live)}."
        if live
        else "Collectors have no scan yet; they watch by their rules alone."
    )
    for detector, table in models.evaluations(lake).items():
        st.subheader(f"{detector}, on days that it had not seen")
        st.dataframe(
            table.with_columns(pl.col("kind").cast(pl.String).str.replace_all("_", " ")),
            hide_index=True,
            column_order=[name for name in _COLUMNS if name in table.columns],
            column_config=_COLUMNS,
            key=detector,
        )
    found = models.found_by_day(places.database())
    if found.height:
        st.subheader("Found by day")
        named = found.with_columns(pl.col("kind").str.replace_all("_", " "))
        figure = px.bar(named.to_pandas(), x="date", y="events", color="kind", facet_col="model", template=None)
        figure.for_each_annotation(lambda note: note.update(text=note.text.partition("=")[2]))
        figure.update_xaxes(title=None)
        draw(figure, key="found by day", height=340, legend={"orientation": "v", "y": 1, "x": 1.02, "title": None})
