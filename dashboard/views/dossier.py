"""The dossier of an alert, as `tapewatch explain` builds it: reasons, contributions, similar events, and the exact data."""

from typing import Any

import plotly.graph_objects as go
import polars as pl
import streamlit as st

from dashboard import places
from dashboard.dossiers.process import DossierError
from dashboard.reading.features import against_normal
from dashboard.reading.happenings import reasons
from dashboard.views.controls import escaped, in_zone, named, time_text
from dashboard.views.panels import LINE, SELL, draw
from dashboard.views.tables import draw_table
from models.patterns.shape import SHAPE
from tapewatch.market.instruments import Market
from tapewatch.reports.dossier.dossier import Dossier
from tapewatch.reports.dossier.regime import regime_words

_MOST_CONTRIBUTIONS, _MOST_MEASURES = 10, 12
_EXTREMES = [at for at, name in enumerate(SHAPE) if name.endswith("_extreme")]
_NUMBER = st.column_config.NumberColumn


def draw_dossier(row: dict[str, Any], zone: str) -> None:
    """Draw the dossier of an alert, incident or anomaly (a row of the feed), or what can be said without it."""
    try:
        with st.spinner("Making the score again from the tape …"):
            found = places.dossiers().of(row["id"])
    except DossierError as error:
        st.warning(escaped(f"The dossier cannot be built: {error}"))
        _without(row)
        return
    _identity(found, zone)
    left, right = st.columns([1, 1])
    with left:
        st.subheader("What speaks for it")
        st.markdown(
            "\n".join(f"- {escaped(reason)}" for reason in found.reasons) or "No feature is unusual at its peak."
        )
    with right:
        _contributions(found)
    _measures(found)
    _similar(found, zone)
    _data(found)


def _identity(found: Dossier, zone: str) -> None:
    event = found.event
    tiles = st.columns([1, 1, 2])
    tiles[0].metric(
        "Found by",
        event.model,
        f"known at {time_text(event.known, zone).split()[1]}",
        delta_color="off",
        delta_arrow="off",
    )
    level = {"incident": "Surprise", "alert": "Measured"}.get(event.source, "Score")
    usual = (
        ""
        if event.threshold is None
        else f"{'usual' if event.source == 'alert' else 'threshold'} {event.threshold:.4g}"
    )
    tiles[1].metric(level, f"{event.score:.4g}", usual or None, delta_color="off", delta_arrow="off")
    tiles[2].metric("Regime when it began", *_regime(found), delta_color="off", delta_arrow="off")
    if found.revised or (found.score_now is not None and not found.is_identical):
        st.warning(escaped(found.verdict), icon=":material/history:")
        if found.changed:
            draw_table(
                [
                    {"feature": named(each["feature"]), "then": each["then"], "now": each["now"]}
                    for each in found.changed
                ],
            )
    else:
        st.caption(escaped(found.verdict))


def _regime(found: Dossier) -> tuple[str, str | None]:
    """The state, and the rest in small."""
    state, _, rest = regime_words(found.regime).partition(" (")
    return state, rest.replace(")", "") or None


def _contributions(found: Dossier) -> None:
    """SHAP values of the peak minute, the strongest at the top."""
    st.subheader("What each feature adds")
    known = [each for each in found.measures if each.contribution]
    if not known:
        st.caption("No detector of minutes is in use that could say it, or the lake holds no features of this time.")
        return
    shown = sorted(known, key=lambda each: abs(each.contribution or 0.0))[-_MOST_CONTRIBUTIONS:]
    values = [each.contribution or 0.0 for each in shown]
    figure = go.Figure(
        go.Bar(
            x=values, y=[named(each.feature) for each in shown], orientation="h", customdata=[each.words for each in shown],
            marker_color=[SELL if value > 0 else LINE for value in values],
            hovertemplate="%{customdata}<br>%{x:+.4f}<extra></extra>",
        )
    )  # fmt: skip
    figure.update_yaxes(automargin=True)
    draw(figure, key="contributions", height=60 + 26 * len(shown))
    whose = (
        found.event.model
        if found.event.source == "anomaly"
        else "the Isolation Forest in use, which did not raise this"
    )
    st.caption(escaped(f"SHAP values of the minute's score by {whose}: red makes it more anomalous, blue less."))


def _measures(found: Dossier) -> None:
    if not found.measures:
        return
    st.subheader("Features against their usual range")
    rows = [
        {
            "feature": named(each.feature), "value": each.value, "unit": each.unit, "low": each.low, "high": each.high,
            "contribution": each.contribution,
        }
        for each in found.measures[:_MOST_MEASURES]
    ]  # fmt: skip
    draw_table(
        pl.DataFrame(rows, infer_schema_length=None),
        column_config={
            "feature": "Feature",
            "value": _NUMBER("At the peak", format="%.4g"),
            "unit": "Unit",
            "low": _NUMBER(
                "Usual from", format="%.4g", help="5th percentile of the symbol's earlier minutes at this time of day"
            ),
            "high": _NUMBER("to", format="%.4g", help="95th percentile"),
            "contribution": _NUMBER("Adds to the score", format="%+.4f"),
        },
    )


def _similar(found: Dossier, zone: str) -> None:
    st.subheader("The nearest past events")
    if not found.neighbours:
        st.caption("None is known from before this event.")
        return
    rows = pl.DataFrame([{k: v for k, v in each.items() if k != "pattern"} for each in found.neighbours])
    table = in_zone(rows, zone).select(
        "symbol", "start_time", pl.col("kind", "label").cast(pl.String).fill_null("").str.replace_all("_", " "), "score", "distance",
        link=pl.format("/alert?id={}", "pattern_id"),
    )  # fmt: skip
    draw_table(
        table,
        column_config={
            "symbol": "Symbol",
            "start_time": "From",
            "kind": "Kind",
            "label": "A person said",
            "score": _NUMBER("Score", format="%.3f"),
            "distance": _NUMBER("Distance", format="%.2f", help="of the two patterns; 0 is the same"),
            "link": st.column_config.LinkColumn("Dossier", display_text="open"),
        },
    )
    names = [
        "this event",
        *(f"{each['symbol']} {time_text(each['start_time'], zone)[5:16]}" for each in found.neighbours),
    ]
    patterns = [found.pattern, *(each["pattern"] for each in found.neighbours)]
    figure = go.Figure(
        go.Heatmap(
            z=[[pattern[at] for at in _EXTREMES] for pattern in patterns][::-1], y=names[::-1],
            x=[named(SHAPE[at].removesuffix("_extreme")) for at in _EXTREMES], zmid=0, colorscale="RdBu_r",
            hovertemplate="%{y}<br>%{x}: %{z:+.2f}<extra></extra>", colorbar={"thickness": 10},
        )
    )  # fmt: skip
    figure.update_xaxes(tickangle=-40, automargin=True)
    figure.update_yaxes(automargin=True)
    draw(figure, key="patterns", height=330)
    st.caption("Patterns: how far each feature went from the symbol's usual, red above and blue below.")


def _data(found: Dossier) -> None:
    with st.expander("The exact data"):
        rows = [
            {
                "table": name, "rows": each["rows"],
                "since": "not recorded" if each["sha256_then"] is None else "replaced" if name in found.revised else "the same",
                "sha256": each["sha256"], "sha256 then": each["sha256_then"],
            }
            for name, each in found.inputs.items()
        ]  # fmt: skip
        draw_table(rows)
        st.caption("The same on the command line, as a page or as JSON:")
        st.code(f"tapewatch explain '{found.event.event_id}' --html dossier.html", language=None)


def _without(row: dict[str, Any]) -> None:
    """What detectors said as they found it, and the features against the day, from database and lake alone."""
    for reason in reasons(places.database(), row):
        if "words" in reason:
            st.markdown(f"- **{escaped(named(str(reason['kind'])))}**: {escaped(str(reason['words']))}")
        else:
            value = "no value" if reason["value"] is None else f"{reason['value']:,.4g}"
            st.markdown(
                f"- **{escaped(named(str(reason['feature'])))}** is {value}: {reason['shap_value']:+.2f} to the score"
            )
    market = Market(row["market"])
    rows = against_normal(places.lake(), places.database(), market, row["symbol"], row["start_time"], row["end_time"])
    if rows.height:
        draw_table(
            rows.with_columns(pl.col("feature").str.replace_all("_", " ")),
            column_config={
                "feature": "Feature",
                "value": _NUMBER("Most extreme", format="%.4g"),
                "low": _NUMBER("Usual from", format="%.4g", help="5th percentile of the day's minutes"),
                "median": _NUMBER("Median", format="%.4g"),
                "high": _NUMBER("to", format="%.4g", help="95th percentile"),
                "beyond": _NUMBER("Beyond", format="%.1f", help="distance from the usual range, in its widths"),
            },
        )
