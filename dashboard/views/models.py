"""The models in use, how they were judged, what became of each version, how far the tape drifts, and what they find."""

from itertools import cycle
from typing import Any, Final

import plotly.graph_objects as go
import polars as pl
import streamlit as st
from plotly.colors import qualitative
from plotly.subplots import make_subplots

from dashboard import places
from dashboard.reading import models
from dashboard.views.controls import escaped, in_zone, named, sidebar
from dashboard.views.panels import BUY, LINE, SELL, draw
from dashboard.views.tables import draw_table, draw_texts
from models.drift.measure import PSI_LIMIT

_COLUMNS: Final[dict[str, Any]] = {
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
_MOST_MEASURES: Final = 15
_ACTIONS: Final = {"promoted": (BUY, "triangle-up"), "found": (BUY, "circle"), "rolled_back": (LINE, "triangle-down")}
_OTHER: Final = (SELL, "x")


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
        draw_table(champions, column_config={"train": "Trained on", "validation": "Judged on"})
    live = models.live_model(places.settings().champions)
    st.caption(
        f"Collectors scan with {escaped(live)}."
        if live
        else "Collectors have no scan yet; they watch by their rules alone."
    )
    _versions(models.standings(places.database()), champions[0]["model"].partition("/")[0] if champions else "")
    _evaluation(models.evaluations(lake))
    _drift()
    _found()


def _versions(standings: list[models.Standing], in_use: str) -> None:
    """Champion and challenger side by side, those of the model in use at first, and the history of all models."""
    if not standings:
        return
    st.subheader("Champion and challenger")
    names = [each.model for each in standings]
    first = in_use if in_use in names else names[0]
    model = st.segmented_control("Model", names, default=first, format_func=named, key="standing", required=True)
    chosen = standings[names.index(model or first)]
    columns = st.columns(2)
    for column, title, entry in zip(
        columns, ("Champion", "Challenger"), (chosen.champion, chosen.challenger), strict=True
    ):
        with column:
            if entry is None:
                st.metric(title, "none")
            else:
                state = f"{named(entry['action'])} {entry['at_time']:%Y-%m-%d %H:%M} UTC by {entry['actor']}"
                st.metric(title, f"version {entry['version']}", state, delta_color="off", delta_arrow="off")
                st.caption(escaped(entry["reason"]))
    gates = chosen.gates()
    if gates:
        if chosen.challenger is None:
            gates = [{k: v for k, v in gate.items() if k not in ("challenger", "has_passed")} for gate in gates]
        draw_texts([gate | {"gate": named(gate["gate"])} for gate in gates], {"has_passed": "Challenger passes"})
    st.subheader("History of versions")
    _history([entry for each in standings for entry in each.entries])


def _history(entries: list[dict[str, Any]]) -> None:
    figure = go.Figure()
    for action in dict.fromkeys(entry["action"] for entry in entries):
        of_action = [entry for entry in entries if entry["action"] == action]
        colour, symbol = _ACTIONS.get(action, _OTHER)
        figure.add_scatter(
            x=[entry["at_time"].replace(tzinfo=None) for entry in of_action],
            y=[named(entry["model"]) for entry in of_action],
            text=[str(entry["version"]) for entry in of_action],
            customdata=[entry["reason"] for entry in of_action],
            name=named(action), mode="markers+text", textposition="middle right",
            marker={"color": colour, "symbol": symbol, "size": 11},
            hovertemplate="%{y} version %{text}<br>%{x} UTC<br>%{customdata}<extra></extra>",
        )  # fmt: skip
    figure.update_yaxes(automargin=True)
    draw(figure, key="history", height=110 + 34 * len({entry["model"] for entry in entries}))
    rows = pl.DataFrame(
        [
            {k: entry[k] for k in ("at_time", "model", "version", "action", "actor", "reason")}
            for entry in reversed(entries)
        ],
        infer_schema_length=None,
    )
    with st.expander("Every entry"):
        draw_table(in_zone(rows, "UTC"), column_config={"at_time": "When, UTC"})


def _evaluation(judged: dict[str, pl.DataFrame]) -> None:
    """The share found by kind and detector, and each detector's table."""
    if not judged:
        return
    st.subheader("Found by kind, on days that the models had not seen")
    wide = models.recalls(judged)
    kinds, detectors = [named(kind) for kind in wide["kind"]], wide.columns[1:]
    figure = go.Figure(
        go.Heatmap(
            z=[wide[name].to_list() for name in detectors], x=kinds, y=[named(name) for name in detectors],
            zmin=0, zmax=1, colorscale="Teal", texttemplate="%{z:.0%}", hoverongaps=False, showscale=False,
            hovertemplate="%{y} finds %{z:.1%} of %{x}<extra></extra>",
        )
    )  # fmt: skip
    figure.update_xaxes(tickangle=-35, automargin=True)
    figure.update_yaxes(automargin=True)
    draw(figure, key="recalls", height=150 + 32 * len(detectors))
    with st.expander("Figures of each detector"):
        for detector, table in judged.items():
            st.caption(named(detector))
            draw_table(
                table.with_columns(pl.col("kind").cast(pl.String).str.replace_all("_", " ")),
                column_order=[name for name in _COLUMNS if name in table.columns],
                column_config=_COLUMNS,
                key=detector,
            )


def _drift() -> None:
    st.subheader("Drift")
    found = models.drift(places.lake())
    if not found:
        st.caption(
            "Nothing was measured yet: the asset `detections/drift` compares each day with the champion's training days."
        )
        return
    market = st.segmented_control("Market", list(found), default=next(iter(found)), key="drift market", required=True)
    rows = found[market or next(iter(found))]
    last = rows.filter(pl.col("date") == pl.col("date").max())
    drifting = last.filter("is_drifting")["name"].to_list()
    st.caption(
        escaped(
            f"{last['date'][0]}, against the days of {last['model'][0]}: "
            + (
                f"{len(drifting)} of {last.height} measures drift"
                if drifting
                else f"none of {last.height} measures drifts"
            )
        )
    )
    left, right = st.columns(2)
    with left:
        _stability(last)
    with right:
        _over_days(rows)


def _stability(last: pl.DataFrame) -> None:
    shown = last.filter(pl.col("psi").is_not_null()).sort("psi").tail(_MOST_MEASURES)
    colours = [SELL if drifting else LINE for drifting in shown["is_drifting"]]
    figure = go.Figure(
        go.Bar(x=shown["psi"], y=[named(name) for name in shown["name"]], orientation="h", marker_color=colours)
    )
    figure.add_vline(x=PSI_LIMIT, line={"width": 1, "dash": "dot", "color": "#7a858f"})
    figure.update_yaxes(automargin=True)
    figure.update_layout(title={"text": "Population stability index; red drifts", "font": {"size": 13}})
    draw(figure, key="stability", height=90 + 22 * shown.height)


def _over_days(rows: pl.DataFrame) -> None:
    figure = go.Figure()
    for name, title, colour in (("score", "mean score", LINE), ("alerts", "share of alerts", SELL)):
        of_name = rows.filter((pl.col("name") == name) & (pl.col("reference") > 0)).sort("date")
        ratio = of_name["value"] / of_name["reference"]
        figure.add_scatter(
            x=of_name["date"].cast(pl.String), y=ratio, name=title, mode="lines+markers", line={"color": colour}
        )
    figure.update_xaxes(type="category")
    figure.update_layout(title={"text": "By day, times the training days'", "font": {"size": 13}})
    draw(figure, key="drift by day", height=300, legend={"orientation": "h", "y": -0.2})


def _found() -> None:
    found = models.found_by_day(places.database())
    if found.is_empty():
        return
    st.subheader("Found by day")
    names = found["model"].unique().sort().to_list()
    figure = make_subplots(1, len(names), shared_yaxes=True, subplot_titles=names, horizontal_spacing=0.02)
    for kind, colour in zip(found["kind"].unique().sort(), cycle(qualitative.Safe)):
        for column, name in enumerate(names, start=1):
            own = found.filter(kind=kind, model=name).group_by("date").agg(pl.col("events").sum())
            figure.add_bar(
                x=own["date"], y=own["events"], name=named(kind), marker_color=colour, legendgroup=kind,
                showlegend=column == 1, row=1, col=column,
            )  # fmt: skip
    figure.update_layout(barmode="stack", yaxis={"title": "events"})
    figure.update_xaxes(type="date")
    draw(figure, key="found by day", height=400, legend={"orientation": "v", "y": 1, "x": 1.02})
