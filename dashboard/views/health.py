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
                    "market": status.market, "state": status.state, "detail": status.detail, "lag, s": status.lag_s,
                    "events/s": status.events_per_second, "reconnects": status.reconnects,
                    "dropped frames": status.dropped_frames, "refused rows": status.refused_rows,
                }
                for status in running.values()
            ],
        )  # fmt: skip
    else:
        st.caption("No collector answers on this machine: `tapewatch stream MARKET` or `tapewatch up` starts them.")
    newest = health.newest_bars(database)
    if newest.height:
        st.caption("Newest live minute: " + "; ".join(f"{m} {t:%Y-%m-%d %H:%M} UTC" for m, t in newest.rows()))
    st.subheader("Coverage")
    for market in Market:
        rows = health.coverage(lake, market)
        if rows.height:
            st.caption(str(market))
            draw_table(
                rows,
                column_config={
                    "date": st.column_config.DateColumn("Day"),
                    "symbols": "Symbols",
                    "missing_minutes": "Missing minutes",
                    "open_gaps": "Open gaps",
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
        draw_table(in_zone(gaps.drop("gap_id", "date"), "UTC"), height=260)
