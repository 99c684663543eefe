"""Charts beside the candles, in the colours of the page: order flow, lines by minute, correlations."""

import datetime as dt

import plotly.graph_objects as go
import polars as pl
import streamlit as st

from dashboard.reading.flow import thinned
from dashboard.views.controls import in_zone

BUY, SELL, LINE = "#26a69a", "#ef5350", "#5b8def"
REGIME_COLOURS = {"calm": "#2f7f86", "normal": "#8d99a6", "turbulent": "#c2185b"}
#: Width of the price scale beside the candles.
_SCALE_PX = 54
_GRID = "rgba(128, 140, 150, 0.2)"


_LEGEND = {"orientation": "h", "y": 1.2, "x": 0}


def draw(
    figure: go.Figure,
    *,
    key: str,
    height: int = 220,
    legend: dict[str, object] | None = None,
    sides: tuple[int, int] = (48, 12),
) -> None:
    """Show a figure in the common style, its legend above it by default; `sides` are the margins left and right, in pixels."""
    figure.update_layout(
        height=height,
        margin={"l": sides[0], "r": sides[1], "t": 28, "b": 28},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        legend=legend or _LEGEND,
        bargap=0.05,
        uirevision=key,
    )
    figure.update_xaxes(gridcolor=_GRID)
    figure.update_yaxes(gridcolor=_GRID, zerolinecolor=_GRID)
    st.plotly_chart(figure, width="stretch", key=key, config={"displaylogo": False})


def regime_ribbon(runs: pl.DataFrame, first: dt.datetime, last: dt.datetime, zone: str, *, key: str) -> None:
    """Regimes of a stretch as a band (`regimes.regime_runs`), over the width of the candles."""
    rows = in_zone(runs, zone)
    bounds = in_zone(pl.DataFrame({"at": [first, last]}), zone)["at"].to_list()
    figure = go.Figure(
        layout={"xaxis": {"type": "date", "range": bounds, "visible": False}, "yaxis": {"visible": False}}
    )
    for state, colour in REGIME_COLOURS.items():
        own = rows.filter(pl.col("regime") == state)
        # A bar begins at its base and is as long as its x, in milliseconds on an axis of times.
        figure.add_bar(
            base=own["start_time"],
            x=(own["end_time"] - own["start_time"]).dt.total_milliseconds(),
            y=["regime"] * own.height,
            orientation="h",
            name=state,
            marker={"color": colour, "line": {"width": 0}},
            width=1,
            customdata=own["probability"],
            hovertemplate=f"{state}, %{{customdata:.0%}}<br>from %{{base}}<extra></extra>",
        )
    figure.update_layout(barmode="overlay")
    draw(
        figure,
        key=key,
        height=86,
        legend={
            **{"orientation": "h", "y": 1, "yanchor": "bottom", "x": 0},
            "title": {"text": "Regime: ", "side": "left"},
        },
        sides=(0, _SCALE_PX),
    )


def order_flow(sums: pl.DataFrame, zone: str, *, key: str) -> None:
    """Bought above, sold below, and their imbalance as a line (`flow.flows`)."""
    rows = in_zone(sums, zone)
    figure = go.Figure()
    figure.add_bar(x=rows["event_time"], y=rows["buy"], name="bought", marker_color=BUY, marker_line_width=0)
    figure.add_bar(x=rows["event_time"], y=-rows["sell"], name="sold", marker_color=SELL, marker_line_width=0)
    line = {"color": LINE, "width": 1.5}
    figure.add_scatter(x=rows["event_time"], y=rows["imbalance"], name="imbalance", yaxis="y2", mode="lines", line=line)
    figure.update_layout(
        barmode="relative",
        yaxis2={
            "overlaying": "y",
            "side": "right",
            "range": [-1, 1],
            "showgrid": False,
            "tickvals": [-1, -0.5, 0, 0.5, 1],
            "title": {"text": "imbalance", "standoff": 2},
        },
        yaxis={"title": {"text": "volume", "standoff": 2}, "automargin": True},
    )
    draw(figure, key=key, height=260)


def minute_line(rows: pl.DataFrame, column: str, title: str, zone: str, *, key: str) -> None:
    """One column of minutes as a line; nothing but a note where it has no values."""
    line = in_zone(thinned(rows, column), zone)
    if line.is_empty():
        st.caption(f"{title}: the tape has no values here")
        return
    figure = go.Figure()
    figure.add_scatter(
        x=line["event_time"], y=line[column], mode="lines", line={"color": LINE, "width": 1.2}, name=title
    )
    figure.update_layout(title={"text": title, "font": {"size": 13}})
    draw(figure, key=key, height=200)


def book_depth(levels: pl.DataFrame, *, key: str) -> None:
    """What could be sold and bought up to a price (`depth.BOOK`), as steps away from the best prices."""
    figure = go.Figure()
    for side, colour, name in (("bid", BUY, "bids"), ("ask", SELL, "asks")):
        own = levels.filter(pl.col("side") == side)
        line = {"color": colour, "shape": "hv", "width": 1.5}
        figure.add_scatter(x=own["price"], y=own["depth"], name=name, mode="lines", line=line, fill="tozeroy")
    figure.update_xaxes(title={"text": "price", "standoff": 4}, automargin=True)
    figure.update_yaxes(title={"text": "volume up to it", "standoff": 2}, automargin=True)
    draw(figure, key=key, height=220)


def correlation_matrix(matrix: pl.DataFrame, *, key: str) -> None:
    """Correlations of -1 to 1 as a heat map with numbers."""
    names = matrix["symbol"].to_list()
    values = matrix.select(names).rows()
    figure = go.Figure(
        go.Heatmap(
            z=values, x=names, y=names, zmin=-1, zmax=1, colorscale="RdBu", texttemplate="%{z:.2f}", hoverongaps=False
        )
    )
    figure.update_xaxes(tickangle=-45, automargin=True)
    figure.update_yaxes(automargin=True)
    draw(figure, key=key, height=120 + 34 * len(names))
