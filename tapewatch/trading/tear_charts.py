"""The charts of the tear sheet."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
import polars as pl

from tapewatch.reports.charts import apply_style
from tapewatch.trading.record import AccountRecord

#: Colours of strategies in the order of their names; distinguishable without red and green.
_COLOURS = ("#2f7f86", "#e0a100", "#3f51b5", "#c2185b", "#7d8790")
_TOTAL, _GAIN, _LOSS = "#5f6c78", "#2f7f86", "#c2185b"
_MARGIN = {"l": 64, "r": 16, "t": 12, "b": 44}


def results(bets: pl.DataFrame) -> go.Figure:
    """Running sums of the net results of unit bets by strategy, and of all before costs."""
    figure = go.Figure()
    ordered = bets.sort("known_time")
    names = sorted(bets["strategy"].cast(pl.String).unique())
    for colour, name in zip(_COLOURS, names, strict=False):
        own = ordered.filter(pl.col("strategy").cast(pl.String) == name)
        _line(figure, own["known_time"], own["net_bps"].cum_sum(), name.replace("_", " "), colour)
    _line(figure, ordered["known_time"], ordered["net_bps"].cum_sum(), "all, after costs", _TOTAL, width=2.5)
    _line(figure, ordered["known_time"], ordered["gross_bps"].cum_sum(), "all, before costs", _TOTAL, dash="dot")
    return _styled(figure, "bps, unit bets", height=380)


def paths(curves: pl.DataFrame) -> go.Figure:
    """Running sums of the net results of sized bets: each combinatorial path, and the walk-forward."""
    figure = go.Figure()
    for (path,), curve in curves.filter(pl.col("scheme") == "cpcv").partition_by("path", as_dict=True).items():
        shown = "combinatorial paths" if path == 0 else None
        _line(figure, curve["hour"], curve["net_bps"].cum_sum(), shown, _COLOURS[4], width=1)
    walked = curves.filter(pl.col("scheme") == "walk_forward")
    _line(figure, walked["hour"], walked["net_bps"].cum_sum(), "walk-forward", _COLOURS[0], width=2.5)
    return _styled(figure, "bps, sized bets", height=320)


def accounts(records: Sequence[AccountRecord]) -> go.Figure:
    """Running sums of the accounts' hourly profits, in per cent of the cash."""
    figure = go.Figure()
    for colour, record in zip(_COLOURS, records, strict=False):
        _line(figure, record.hours["time"], record.hours["profit_share"].cum_sum() * 100, record.name, colour)
    return _styled(figure, "% of the cash", height=320)


def drawdowns(curves: pl.DataFrame) -> go.Figure:
    """How far the summed result of unit bets lies below its highest so far."""
    unit = curves.filter(pl.col("scheme") == "unit")
    total = unit["net_bps"].cum_sum()
    under = total - pl.Series(np.maximum.accumulate(np.maximum(total.to_numpy(), 0.0)))
    figure = go.Figure(go.Scatter(x=_places(unit["hour"]), y=under, fill="tozeroy", line={"color": _LOSS, "width": 1}))
    return _styled(figure, "bps below the highest", height=380)


def by_kind_and_regime(performance: pl.DataFrame) -> go.Figure:
    """Mean net results as a map of kinds and regimes; blank where there is no bet."""
    kinds, regimes = sorted(performance["kind"].unique()), sorted(performance["regime"].unique())
    values = np.full((len(kinds), len(regimes)), np.nan)
    texts = [["" for _ in regimes] for _ in kinds]
    for row in performance.to_dicts():
        at = kinds.index(row["kind"]), regimes.index(row["regime"])
        values[at] = row["mean_net_bps"]
        texts[at[0]][at[1]] = f"{row['mean_net_bps']:+.1f}<br>{row['bets']} bets"
    largest = float(np.nanmax(np.abs(values)))
    heat = go.Heatmap(
        z=values,
        x=regimes,
        y=[kind.replace("_", " ") for kind in kinds],
        text=texts,
        texttemplate="%{text}",
        zmin=-largest,
        zmax=largest,
        colorscale=[[0, _LOSS], [0.5, "#e9edf0"], [1, _GAIN]],
        colorbar={"title": {"text": "bps"}},
        textfont={"color": "#1f2933", "size": 11},
    )
    figure = _styled(go.Figure(heat), "", height=110 + 44 * len(kinds))
    figure.update_layout(margin={**_MARGIN, "l": 120}, showlegend=False)
    return figure


def cost_lines(costs: pl.DataFrame) -> go.Figure:
    """The mean net result of a unit bet against multiples of the costs."""
    figure = go.Figure()
    for colour, ((name,), own) in zip(_COLOURS, costs.partition_by("strategy", as_dict=True).items(), strict=False):
        figure.add_scatter(
            x=own["multiple"], y=own["mean_net_bps"], name=str(name).replace("_", " "), line={"color": colour}
        )
    figure.add_hline(y=0, line={"color": _TOTAL, "width": 1, "dash": "dot"})
    figure = _styled(figure, "bps a bet", height=320)
    figure.update_xaxes(title_text="costs, times those assumed")
    return figure


def logits(values: np.ndarray) -> go.Figure:
    """The logits of the relative ranks out of sample: at or below 0 the choice was overfitted."""
    figure = go.Figure()
    edges = {
        "start": float(np.floor(values.min() * 2) / 2),
        "end": float(np.ceil(values.max() * 2) / 2) + 0.25,
        "size": 0.25,
    }
    for part, name, colour in (
        (values[values <= 0], "overfitted", _LOSS),
        (values[values > 0], "held out of sample", _GAIN),
    ):
        figure.add_histogram(x=part, name=name, marker_color=colour, xbins=edges)
    figure = _styled(figure, "combinations", height=320)
    figure.update_layout(barmode="overlay", bargap=0.05)
    figure.update_xaxes(title_text="logit of the relative rank out of sample")
    return figure


def _line(
    figure: go.Figure,
    times: pl.Series,
    values: pl.Series,
    name: str | None,
    colour: str,
    *,
    width: float = 1.5,
    dash: str = "solid",
) -> None:
    figure.add_scatter(
        x=_places(times),
        y=values,
        name=name or "",
        showlegend=name is not None,
        line={"color": colour, "width": width, "dash": dash, "shape": "hv"},
    )


def _places(times: pl.Series) -> list[str]:
    return times.dt.strftime("%Y-%m-%dT%H:%M:%S").to_list()


def _styled(figure: go.Figure, unit: str, *, height: int) -> go.Figure:
    apply_style(figure, height=height, margin=_MARGIN)
    figure.update_layout(legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0}, hovermode="x unified")
    figure.update_yaxes(title_text=unit)
    return figure
