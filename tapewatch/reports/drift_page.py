"""A page about a day's drift, and its plot."""

from io import BytesIO

import plotly.graph_objects as go
import polars as pl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from models.drift.cusum import LIMIT
from models.drift.measure import PSI_LIMIT
from tapewatch.reports.charts import FOUND_COLOUR, apply_style
from tapewatch.reports.pages import figure_html, render_page

_ORDINARY = "#2f7f86"


def drift_html(rows: pl.DataFrame, earlier: pl.DataFrame, *, title: str) -> str:
    """The page.

    Args:
        rows: the day's `DRIFT` rows.
        earlier: those of days before, with `date`; the lines over days.
        title: of the page.
    """
    ordered = _ordered(rows)
    days = earlier.filter(pl.col("name").cast(pl.String).is_in(["score", "alerts"])).sort("date")
    return render_page(
        "drift.html.j2",
        title,
        rows=ordered.to_dicts(),
        model=str(rows["model"][0]) if rows.height else "",
        drifting=rows.filter("is_drifting").height,
        bars=figure_html(_bars(ordered)) if rows.height else "",
        lines=figure_html(_lines(days)) if days.height else "",
        psi_limit=PSI_LIMIT,
        cusum_limit=LIMIT,
    )


def drift_png(rows: pl.DataFrame) -> bytes:
    """The stability index of each feature and of the score."""
    ordered = _ordered(rows).filter(pl.col("psi").is_not_null()).head(15).reverse()
    figure = Figure(figsize=(8, 4.5), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    axes.barh(ordered["name"].to_list(), ordered["psi"].to_numpy(), color=_colours(ordered))
    axes.axvline(PSI_LIMIT, color="#7a858f", linewidth=0.8)
    axes.set(title="Drift from the champion's training days", xlabel="population stability index")
    axes.spines[["top", "right"]].set_visible(False)
    buffer = BytesIO()
    FigureCanvasAgg(figure).print_png(buffer)
    return buffer.getvalue()


def _ordered(rows: pl.DataFrame) -> pl.DataFrame:
    plain = rows.with_columns(
        pl.col("subject", "name").cast(pl.String), cusum=pl.max_horizontal("cusum_up", "cusum_down")
    )
    return plain.sort("is_drifting", "psi", descending=True, nulls_last=True)


def _colours(rows: pl.DataFrame) -> list[str]:
    return [FOUND_COLOUR if drifting else _ORDINARY for drifting in rows["is_drifting"]]


def _bars(rows: pl.DataFrame) -> go.Figure:
    shown = rows.filter(pl.col("psi").is_not_null()).reverse()
    figure = go.Figure(
        go.Bar(x=shown["psi"].to_list(), y=shown["name"].to_list(), orientation="h", marker_color=_colours(shown))
    )
    figure.add_vline(x=PSI_LIMIT, line={"width": 1, "dash": "dot", "color": "#7a858f"})
    apply_style(figure, height=120 + 18 * shown.height, margin={"l": 170, "r": 16, "t": 10, "b": 40})
    figure.update_xaxes(title_text="population stability index")
    return figure


def _lines(days: pl.DataFrame) -> go.Figure:
    figure = go.Figure()
    for name, title in (("score", "mean score"), ("alerts", "share of alerts")):
        of_name = days.filter(pl.col("name").cast(pl.String) == name)
        ratio = (of_name["value"] / of_name["reference"]).to_list()
        figure.add_trace(
            go.Scatter(x=of_name["date"].cast(pl.String).to_list(), y=ratio, name=title, mode="lines+markers")
        )
    apply_style(figure, height=280, margin={"l": 64, "r": 16, "t": 10, "b": 40})
    figure.update_yaxes(title_text="times the reference")
    figure.update_xaxes(type="category")
    return figure
