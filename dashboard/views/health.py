"""Whether the platform is well."""

import datetime as dt

import polars as pl
import streamlit as st

from dashboard import places
from dashboard.reading import health
from dashboard.views.controls import in_zone, refresh_s, sidebar
from dashboard.views.tables import draw_table
from tapewatch.market.instruments import Market

_GIB = 1024**3
_OF_GAPS = (
    "market", "symbol", "channel", "cause", "start_time", "end_time", "status", "healed_time", "healed_by", "rows_healed", "attempts", "reason",
)  # fmt: skip


def show() -> None:
    """Draw the page."""
    st.session_state["page"] = "health"
    sidebar()
    st.title("Health")
    st.fragment(_health, run_every=refresh_s())()


def _health() -> None:
    lake, database, settings = places.lake(), places.database(), places.settings()
    running = health.collectors(settings.port_metrics)
    gaps = health.gaps(database, dt.datetime.now(dt.UTC) - dt.timedelta(days=7))
    unfilled = gaps.filter(pl.col("status").is_in(["growing", "open"]))
    disk = health.disk(settings.home)
    lags = [status.lag_s for status in running.values() if status.lag_s is not None]
    tiles = st.columns(4)
    tiles[0].metric("Collectors running", len(running))
    tiles[1].metric("Largest lag", f"{max(lags):.1f} s" if lags else "–")
    tiles[2].metric("Open gaps", unfilled.height)
    tiles[3].metric(
        "Disk free",
        f"{disk.free / _GIB:.1f} GiB",
        f"{disk.used / disk.total:.0%} used",
        delta_color="off",
        delta_arrow="off",
    )
    st.subheader("Streams")
    if running:
        draw_table(
            [
                {
                    "market": status.market, "state": status.state, "detail": status.detail, "lag_s": status.lag_s,
                    "events_per_second": status.events_per_second, "reconnects": status.reconnects,
                    "dropped_frames": status.dropped_frames, "refused_rows": status.refused_rows,
                }
                for status in running.values()
            ],
            column_config={"lag_s": st.column_config.NumberColumn(format="%.2f")},
        )  # fmt: skip
    else:
        st.caption("No collector answers on this machine: `tapewatch stream MARKET` or `tapewatch up` starts them.")
    newest = health.newest_bars(database)
    if newest.height:
        st.caption("Newest live minute: " + "; ".join(f"{m} {t:%Y-%m-%d %H:%M} UTC" for m, t in newest.rows()))
    st.subheader("Coverage")
    covered = {market: rows for market in Market if (rows := health.coverage(lake, market)).height}
    if not covered:
        st.caption("No day was measured yet: `tapewatch run` counts the minutes of each.")
    for market, rows in covered.items():
        st.caption(str(market))
        draw_table(
            rows,
            column_config={
                "date": st.column_config.DateColumn("Day"),
                "complete": st.column_config.ProgressColumn(
                    "Complete symbols", min_value=0, max_value=1, format="percent"
                ),
            },
            key=f"coverage {market}",
        )
    st.subheader("Gaps of the last week")
    if gaps.is_empty():
        st.caption("None.")
    else:
        shown = gaps.select(_OF_GAPS).with_columns(
            pl.col("symbol").fill_null("all"), pl.col("cause", "healed_by").str.replace_all("_", " ")
        )
        draw_table(
            in_zone(shown, "UTC"),
            height=260,
            column_config={"start_time": "From", "end_time": "To", "rows_healed": "Rows fetched"},
        )
        st.caption("Times in UTC. `tapewatch heal` fetches what is missing in open gaps.")
