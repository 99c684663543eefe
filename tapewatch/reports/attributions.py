"""A page of SHAP values by feature: each minute is a point, coloured by the feature's value."""

import plotly.graph_objects as go
import polars as pl

_ROW_HEIGHT = 34
_MARGIN = 160


def attributions_html(attributions: pl.DataFrame) -> str:
    """A self-contained page of an ATTRIBUTIONS frame.

    Features are sorted by mean |SHAP value|. Hovering shows symbol, minute, value and score.
    """
    weight = pl.col("shap_value").abs().mean()
    order = attributions.group_by(pl.col("feature").cast(pl.String)).agg(weight).sort("shap_value")["feature"].to_list()
    ranked = attributions.with_columns(
        pl.col("symbol", "feature").cast(pl.String),
        # Coloured by rank: by value, one outlier would leave all other points in one colour.
        colour=pl.col("value").rank().over("feature") / pl.col("value").count().over("feature"),
        minute=pl.col("event_time").dt.to_string("%Y-%m-%d %H:%M"),
    )
    points = go.Scatter(
        x=ranked["shap_value"],
        y=ranked["feature"],
        mode="markers",
        marker={"color": ranked["colour"], "colorscale": "RdBu_r", "size": 6, "opacity": 0.6, "showscale": True,
                "colorbar": {"title": "value, by rank", "tickvals": [0, 1], "ticktext": ["low", "high"]}},
        customdata=ranked.select("symbol", "minute", "value", "score").to_numpy(),
        hovertemplate="%{customdata[0]} %{customdata[1]} UTC<br>value %{customdata[2]:.4g}<br>"
        "SHAP %{x:.4f}<br>score %{customdata[3]:.3f}<extra>%{y}</extra>",
    )  # fmt: skip
    figure = go.Figure(points)
    figure.update_layout(
        title="What makes a minute anomalous: SHAP value of each feature",
        template="plotly_white",
        height=_MARGIN + _ROW_HEIGHT * len(order),
        xaxis={"title": "SHAP value: right of zero makes the minute more anomalous", "zeroline": True},
        yaxis={"categoryorder": "array", "categoryarray": order, "automargin": True},
    )
    return str(figure.to_html(include_plotlyjs=True, full_html=True))
