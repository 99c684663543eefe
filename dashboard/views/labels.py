"""Everyone's labels: listed, saved as a file, how far people agree, and where they differ."""

import polars as pl
import streamlit as st

from dashboard import places
from dashboard.identity import require
from dashboard.reading.export import exported
from dashboard.reading.training import said_minutes
from dashboard.views.controls import in_zone, named, sidebar
from dashboard.views.disagreements import draw_disagreements
from dashboard.views.tables import draw_table
from tapewatch.labels.people.human import LabelError
from tapewatch.market.tables.live import LABELS
from tapewatch.store.labelling import agreement

_SHOWN = (
    "start_time",
    "end_time",
    "market",
    "symbol",
    "kind",
    "confidence",
    "author",
    "note",
    "created_time",
    "label_id",
)
_COLUMNS = {"start_time": "From", "end_time": "To", "kind": "Class", "created_time": "Made", "label_id": "Identity"}
_KIND = pl.col("kind").cast(pl.String).str.replace_all("_", " ")


def show() -> None:
    """Draw the page."""
    st.session_state["page"] = "labels"
    person = require("mark")
    sidebar()
    st.title("Labels")
    rows = places.database().read(LABELS)
    if rows.is_empty():
        st.info(
            "Nobody has labelled anything yet. Mark an event on the page Mark, or read labels with `tapewatch labels import`."
        )
        return
    columns = st.columns(2)
    author = columns[0].selectbox("Author", ["all", *sorted(set(rows["author"]))], key="author")
    kind = columns[1].selectbox("Class", ["all", *sorted(set(rows["kind"]))], key="kind", format_func=named)
    chosen = rows.filter(
        pl.lit(author == "all") | (pl.col("author") == author), pl.lit(kind == "all") | (pl.col("kind") == kind)
    )
    draw_table(
        in_zone(chosen.select(_SHOWN), "UTC").with_columns(_KIND, pl.col("note").fill_null("")), column_config=_COLUMNS
    )
    st.caption(f"{chosen.height:,} labels; times in UTC")
    if person.may("export"):
        left, right, training, _ = st.columns([1.1, 1.3, 2, 2])
        left.download_button("Save as CSV", exported(_of_file(chosen), "csv"), "labels.csv", on_click="ignore")
        right.download_button("Save as Parquet", exported(chosen, "parquet"), "labels.parquet", on_click="ignore")
        training.download_button(
            "Training set as Parquet",
            lambda: exported(said_minutes(places.lake(), chosen), "parquet"),
            "training_set.parquet",
            on_click="ignore",
            help="the minutes of these days of which people say something, with their features, once the labels are collected",
        )
        st.caption(
            "`tapewatch labels import labels.csv` reads the CSV; `tapewatch labels collect` brings them into training sets."
        )
    _agreement(rows)
    draw_disagreements(person)


def _of_file(rows: pl.DataFrame) -> pl.DataFrame:
    """The columns of a file of labels."""
    times = {name: pl.col(f"{name}_time").dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ") for name in ("start", "end", "created")}
    return rows.select("label_id", "market", "symbol", **times).with_columns(
        rows.select("kind", "confidence", "author", "note").get_columns()
    )


def _agreement(rows: pl.DataFrame) -> None:
    st.subheader("How far people agree")
    try:
        pairs, alpha = agreement(rows)
    except LabelError as error:
        st.caption(f"{str(error)[:1].upper()}{str(error)[1:]}.")
        return
    draw_table(
        pairs,
        column_config={
            "first": "One person",
            "second": "Another",
            "minutes": st.column_config.Column(help="that both judged"),
            "kappa": st.column_config.NumberColumn(
                "Cohen's kappa", format="%.3f", help="1 full agreement, 0 that of chance"
            ),
        },
    )
    st.caption(f"Krippendorff's alpha of all: {'no variety' if alpha is None else f'{alpha:.3f}'}")
