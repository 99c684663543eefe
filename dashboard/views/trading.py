"""Paper accounts: money, risk state, equity, positions, bets and orders; and how the strategies were judged last."""

import datetime as dt
from functools import partial
from typing import Any

import plotly.graph_objects as go
import polars as pl
import streamlit as st

from dashboard import places
from dashboard.identity import current
from dashboard.views.controls import escaped, in_zone, refresh_s, sidebar
from dashboard.views.panels import LINE, draw
from dashboard.views.tables import draw_table
from tapewatch.market.tables.signals import WALK_FORWARD

#: A trader that wrote longer ago does not run, or waits for the database.
_SILENT_S = 180
#: A table with at most this many rows is shown whole; a longer one scrolls.
_FEW = 9
_NUMBER = st.column_config.NumberColumn
_TIME = partial(st.column_config.DatetimeColumn, format="YYYY-MM-DD HH:mm")
_COLUMNS = {
    "time": _TIME("Time, UTC"),
    "known_time": _TIME("Known, UTC"),
    "mark_price": "Mark",
    "entry_price": "Entry",
    "exit_price": "Exit",
    "limit_price": "Limit",
    "share_of_equity": _NUMBER("Share", format="percent", help="of the account's equity"),
    **{name: _NUMBER(format="%.2f") for name in ("value", "unrealised", "realised", "profit", "return_bps")},
}
_JUDGED = {
    "scheme": st.column_config.Column(
        "Judged by", help="one unit each, walk forward, or combinatorial purged paths (cpcv)"
    ),
    "bets": _NUMBER("Bets", format="localized"),
    "taken": _NUMBER("Taken", format="localized", help="bets with a size above 0"),
    "hit_rate": _NUMBER("Won", format="percent", help="share of the taken bets that won after costs"),
    **{name: _NUMBER(format="%.1f") for name in ("gross_bps", "net_bps", "mean_net_bps")},
    "sharpe": _NUMBER("Sharpe", format="%.2f", help="ratio of the hourly net results, a year's"),
    "psr": _NUMBER("Sharpe above 0", format="percent", help="probability that the true Sharpe ratio is above 0"),
    "max_drawdown_bps": _NUMBER("Drawdown, bps", format="%.1f", help="the deepest fall below an earlier height"),
}
_SHOWN = {
    "positions": ("symbol", "quantity", "mark_price", "value", "unrealised", "realised", "share_of_equity"),
    "bets": ("known_time", "symbol", "side", "strategy", "kind", "filled", "entry_price", "exit_price", "return_bps", "profit"),
    "orders": ("time", "symbol", "side", "quantity", "kind", "limit_price", "state", "filled", "tag", "reason"),
    "signals": ("known_time", "symbol", "side", "strategy", "kind", "detector", "confidence", "size", "reason"),
}  # fmt: skip
_EMPTY = {
    "positions": "It holds nothing.",
    "bets": "No bet yet: `tapewatch paper run` trades on alerts.",
    "orders": "No order yet.",
    "signals": "No signal yet: collectors and `tapewatch paper run` must run.",
}


def show() -> None:
    """Draw the page."""
    st.session_state["page"] = "trading"
    sidebar()
    st.title("Trading")
    st.fragment(_account, run_every=refresh_s())()
    _judged()


def _account() -> None:
    from tapewatch.trading.paper.view import account_names, account_view  # noqa: PLC0415 - compiled code

    database = places.database()
    names = account_names(database)
    if not names:
        st.info(
            "There is no paper account: `tapewatch paper run` opens one that trades on alerts, `tapewatch paper start` another."
        )
        return
    chosen = st.selectbox("Account", names, key="paper account")
    view = account_view(database, chosen)
    _tiles(view.facts)
    _state(view.facts, view.protections)
    if view.equity.height:
        figure = go.Figure()
        figure.add_scatter(
            x=view.equity["time"], y=view.equity["equity"], mode="lines", line={"color": LINE}, name="equity"
        )
        figure.update_yaxes(tickformat=",.2f")
        draw(figure, key="equity", height=260)
    for name, columns in _SHOWN.items():
        st.subheader(name.capitalize())
        rows: pl.DataFrame = getattr(view, name)
        if rows.is_empty():
            st.caption(_EMPTY[name])
            continue
        plain = rows.select(columns).with_columns(pl.selectors.categorical().cast(pl.String))
        if "side" in columns:
            plain = plain.with_columns(side=pl.when(pl.col("side") > 0).then(pl.lit("buy")).otherwise(pl.lit("sell")))
        height = "auto" if rows.height < _FEW else 320
        draw_table(in_zone(plain, "UTC"), height=height, column_config=_COLUMNS, key=name)


def _tiles(facts: dict[str, Any]) -> None:
    tiles = st.columns(5)
    tiles[0].metric("Equity", f"{facts['equity']:,.2f}", f"{facts['profit_today']:+,.2f} today")
    tiles[1].metric("Below its highest", f"{facts['drawdown']:.2%}")
    tiles[2].metric("Gross value", f"{facts['gross']:,.2f}")
    tiles[3].metric("Fees", f"{facts['fees']:,.2f}")
    tiles[4].metric("Open orders", f"{facts['open_orders']:,}")


def _state(facts: dict[str, Any], protections: pl.DataFrame) -> None:
    """What keeps the account from trading, and how far it is."""
    if facts["state"] != "ACTIVE":
        st.error(
            f"{facts['state']}: {escaped(facts['reason'])}. `tapewatch paper resume -a {facts['account']}` ends it."
        )
    locks = protections.filter(pl.col("protection") == "lock")
    if locks.height:
        st.warning(
            "Locked: "
            + ", ".join(f"{escaped(row['symbol'])} until {row['until']:%H:%M} UTC" for row in locks.to_dicts())
        )
    through, beat = facts["through_time"], facts["beat_time"]
    said = f"Traded up to {through:%Y-%m-%d %H:%M} UTC." if through else "No bar yet."
    if beat is not None:
        age_s = (dt.datetime.now(dt.UTC) - beat).total_seconds()
        said += (
            " Its trader follows the tape."
            if age_s < _SILENT_S
            else f" Its trader wrote last at {beat:%Y-%m-%d %H:%M} UTC."
        )
    st.caption(said)


def _judged() -> None:
    """The strategies out of sample, as the last run left them."""
    lake = places.lake()
    if not lake.exists(WALK_FORWARD):
        return
    table = lake.read(WALK_FORWARD).filter(pl.col("path") == 0)
    if table.is_empty():
        return
    st.subheader("Strategies out of sample")
    plain = table.drop("path").with_columns(pl.selectors.categorical().cast(pl.String).str.replace_all("_", " "))
    draw_table(plain, column_config=_JUDGED, key="walk forward")
    page = lake.page(WALK_FORWARD)
    if page.exists() and current().may("export"):
        st.download_button("Tear sheet (HTML)", page.read_bytes(), "tear_sheet.html", "text/html")
