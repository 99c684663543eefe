"""The live tape: one symbol with everything about it, or all symbols of a market in a grid."""

import datetime as dt

import streamlit as st

from dashboard import places
from dashboard.components.candles import SOURCES, candle_chart
from dashboard.identity import current
from dashboard.reading import flow
from dashboard.reading.depth import book
from dashboard.reading.regimes import regime_runs
from dashboard.views import panels
from dashboard.views.controls import (
    await_bars,
    choice,
    escaped,
    is_utc,
    link_stretch,
    linked,
    listed,
    market_and_symbol,
    refresh_s,
    several,
    sidebar,
    stretch_of_link,
    time_of,
    time_text,
    zone_of,
)
from tapewatch.market.instruments import NS_PER_SECOND, Market

_DAYS = {"Last day": 1, "Last 5 days": 5, "Last month": 21, "Last year": 252, "Everything": 100_000}
_COLUMNS, _MOST_IN_GRID = 3, 24
_MARKED = (
    "Strips above the candles: alerts red, incidents of the scan violet, anomalies of the models magenta. "
    "Stretches behind them: labels blue, known truth amber."
)
_WINDOWS, _WINDOW = (30, 60, 120, 390), 60


def show() -> None:
    """Draw the page."""
    st.session_state["page"] = "watch"
    sidebar()
    st.title("Watch")
    columns = st.columns([1.1, 1, 1.3, 1.2])
    with columns[0]:
        shape = choice(
            "view", ["symbol", "grid"], "symbol", "View", format_func={"symbol": "One symbol", "grid": "Grid"}.get
        )
    if not listed():
        await_bars()
    elif shape == "grid":
        with columns[1]:
            market = choice("market", [*listed(), "all"], "all", "Market")
        _grid(market)
    else:
        market, symbol = market_and_symbol(columns[1], columns[2])
        with columns[3]:
            days = choice("days", list(_DAYS), "Last day", "From")
        _symbol(market, symbol, days)


def _symbol(market: Market, symbol: str, days: str) -> None:
    sources = several("marked", SOURCES, SOURCES, "Marked", help=_MARKED)
    whole = tuple(ns / NS_PER_SECOND for ns in places.histories().extent(market, symbol, _DAYS[days]))
    start, end = stretch_of_link("watch") or whole
    view = f"{market} {symbol} {days}"
    _chart(market, symbol, start, end, view, tuple(sources))
    _lower(market, symbol, start, end, view)


@st.fragment
def _chart(market: Market, symbol: str, start: float, end: float, view: str, sources: tuple[str, ...]) -> None:
    found = candle_chart(
        market, symbol, start, end, key="watch chart", zone=zone_of(market), sources=sources,
        may_export=current().may("export"), view=view,
    )  # fmt: skip
    if link_stretch(found):
        st.session_state["watch range"] = {"view": view, **found["range"]}
    if opened := found.get("opened"):
        st.page_link(_page("alert"), label="Open this alert", query_params={"id": opened}, icon=":material/search:")


def _lower(market: Market, symbol: str, start: float, end: float, view: str) -> None:
    st.fragment(_regimes, run_every=refresh_s())(market, symbol, start, end, view)
    if "window" not in st.session_state:
        asked = st.query_params.get("window", "")
        st.session_state["window"] = int(asked) if asked in map(str, _WINDOWS) else _WINDOW
    window = st.segmented_control(
        "Correlation over", _WINDOWS, key="window", format_func=lambda n: f"{n} minutes", required=True
    )
    linked("window", str(window), str(_WINDOW))
    st.fragment(_panels, run_every=refresh_s())(market, symbol, start, end, view, int(window or _WINDOW))


def _regimes(market: Market, symbol: str, first: float, last: float, view: str) -> None:
    start, end = _shown(first, last, view)
    runs = regime_runs(places.lake(), places.database(), market, symbol, start, end)
    if runs.height:
        panels.regime_ribbon(runs, start, end, zone_of(market), key="regimes")


def _shown(first: float, last: float, view: str) -> tuple[dt.datetime, dt.datetime]:
    """What the chart shows now: the stretch that it reported last, if it is of this view."""
    reported = st.session_state.get("watch range", {})
    if reported.get("view") == view:
        first, last = reported["from"], reported["to"]
    return time_of(first), time_of(last)


def _panels(market: Market, symbol: str, first: float, last: float, view: str, window: int) -> None:
    lake, database, zone = places.lake(), places.database(), zone_of(market)
    start, end = _shown(first, last, view)
    rows = flow.minutes(lake, database, market, symbol, start, end)
    if rows.is_empty():
        st.caption("No minutes with features in what the chart shows: `tapewatch run` or the collector writes them.")
        return
    if end - start > dt.timedelta(days=flow.MOST_DAYS):
        st.caption(f"These panels show the last {flow.MOST_DAYS} days of the chart.")
    left, right = st.columns([3, 2])
    with left:
        st.subheader("Order flow")
        panels.order_flow(flow.flows(rows), zone, key="order flow")
        panels.minute_line(rows, "quoted_spread_bps", "Quoted spread, bps", zone, key="spread")
        panels.minute_line(rows, "depth_imbalance", "Depth imbalance at the best prices", zone, key="depth")
        _book(market, symbol, start, end, zone)
        panels.minute_line(
            rows, "realised_volatility_bps", "Realised volatility of the minute, bps", zone, key="volatility"
        )
    with right:
        st.subheader("Moves together")
        names = [symbol, *(name for name in listed()[market] if name != symbol)][:10]
        matrix = flow.correlations(lake, database, market, names, min(end, _now()), window)
        if matrix.height > 1:
            panels.correlation_matrix(matrix, key="correlation")
        else:
            st.caption("Fewer than two symbols have returns here.")
        st.caption(f"One-minute returns, {window} minutes before {time_text(min(end, _now()), zone)} ({zone}).")


def _book(market: Market, symbol: str, start: dt.datetime, end: dt.datetime, zone: str) -> None:
    found = book(places.lake(), market, symbol, start, end)
    if found is None:
        st.caption(
            "Depth behind the best prices: the tape holds no book of this symbol here (crypto's streams bring one)."
        )
        return
    time, levels = found
    st.caption(f"Depth behind the best prices at {time_text(time, zone)} ({zone})")
    panels.book_depth(levels, key="book")


def _grid(market: Market | str) -> None:
    known = listed()
    cells = [(m, symbol) for m, symbols in known.items() if market in (m, "all") for symbol in symbols]
    if len(cells) > _MOST_IN_GRID:
        st.caption(f"The first {_MOST_IN_GRID} of {len(cells)} symbols; choose a market, or one symbol.")
    st.caption("Times in UTC." if is_utc() else "Times in each market's own zone.")
    columns = st.columns(_COLUMNS)
    for position, (its_market, symbol) in enumerate(cells[:_MOST_IN_GRID]):
        start, end = (ns / NS_PER_SECOND for ns in places.histories().extent(its_market, symbol, 1))
        with columns[position % _COLUMNS].container(border=True):
            st.page_link(
                _page("watch"),
                label=escaped(symbol),
                query_params={"view": "symbol", "market": str(its_market), "symbol": symbol},
            )
            if start >= end:
                st.caption("no bars")
                continue
            candle_chart(
                its_market, symbol, start, end, key=f"grid {its_market} {symbol}", zone=zone_of(its_market), height=190,
                is_compact=True,
            )  # fmt: skip


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def _page(name: str) -> st.Page:
    return st.session_state["pages"][name]
