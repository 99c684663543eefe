"""A page about what a detector looks at as a whole."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import plotly.graph_objects as go
import polars as pl
from plotly.subplots import make_subplots

from models.importance.permutation import Decrease
from tapewatch.reports.charts import apply_style
from tapewatch.reports.pages import figure_html, render_page
from tapewatch.reports.pages import words as in_words

_DEPENDENCES = 6
_COLOUR = "#2f7f86"


@dataclass(frozen=True)
class Importance:
    """What is known of a detector's features.

    `attributions` is an ATTRIBUTIONS frame and `mean_absolute` its mean by feature. `decreases` and `of_clusters` are empty where
    the days hold no anomaly, `impurity` where the detector has no such measure, `steadiness` where there is no other version;
    `refits` says whether the detector was fitted again for `decreases`.
    """

    model: str
    attributions: pl.DataFrame
    mean_absolute: Mapping[str, float]
    additive_to: str
    off: float
    decreases: Sequence[Decrease] = ()
    of_clusters: Sequence[Decrease] = ()
    clusters: Mapping[str, Sequence[str]] = field(default_factory=dict)
    impurity: Mapping[str, float] = field(default_factory=dict)
    steadiness: Mapping[str, float] = field(default_factory=dict)
    refits: bool = True


def importance_html(found: Importance, beeswarm: bytes) -> str:
    """The page; `beeswarm` is a PNG."""
    features = list(found.mean_absolute)
    return render_page(
        "importance.html.j2",
        f"What {found.model} looks at",
        found=found,
        beeswarm=base64.b64encode(beeswarm).decode(),
        dependence=figure_html(_dependence(found.attributions, features[:_DEPENDENCES])),
        mda=figure_html(_bars(found.decreases)) if found.decreases else "",
        clustered=figure_html(_bars(found.of_clusters)) if found.of_clusters else "",
        members={name: ", ".join(map(in_words, members)) for name, members in found.clusters.items()},
    )


def _dependence(attributions: pl.DataFrame, features: Sequence[str]) -> go.Figure:
    """The attribution of each of the strongest features against its value."""
    columns = min(3, max(len(features), 1))
    rows = -(-len(features) // columns) or 1
    figure = make_subplots(
        rows=rows, cols=columns, subplot_titles=[in_words(name) for name in features], vertical_spacing=0.16
    )
    for at, name in enumerate(features):
        points = attributions.filter(pl.col("feature").cast(pl.String) == name).drop_nulls("value")
        marker = {"size": 4, "opacity": 0.55, "color": _COLOUR}
        trace = go.Scattergl(
            x=points["value"].to_list(), y=points["shap_value"].to_list(), mode="markers", marker=marker, name=name
        )
        figure.add_trace(trace, row=at // columns + 1, col=at % columns + 1)
    apply_style(figure, height=60 + 240 * rows, margin={"l": 50, "r": 16, "t": 40, "b": 36})
    figure.update_layout(showlegend=False)
    return figure


def _bars(decreases: Sequence[Decrease]) -> go.Figure:
    shown = list(reversed(decreases[:20]))
    figure = go.Figure(
        go.Bar(
            x=[each.mean for each in shown],
            y=[in_words(each.name) for each in shown],
            error_x={"type": "data", "array": [each.deviation for each in shown], "color": "#7a858f", "thickness": 1},
            orientation="h",
            marker_color=_COLOUR,
        )
    )
    apply_style(figure, height=110 + 18 * len(shown), margin={"l": 170, "r": 16, "t": 10, "b": 40})
    figure.update_xaxes(title_text="average precision lost; the line is one standard deviation over the folds")
    return figure
