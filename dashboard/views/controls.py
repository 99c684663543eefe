"""What several pages share: choice of market and symbol, the zone of times, how often a page reads again, texts of times."""

import datetime as dt
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from dashboard import places
from dashboard.components.candles import alert_bell
from dashboard.reading import markets
from dashboard.reading.happenings import feed
from tapewatch.market.instruments import Market

_LISTED_S = 10
_REFRESH_S = (1, 2, 5, 10, 30, 60)


@st.cache_data(ttl=_LISTED_S, show_spinner=False)
def listed() -> dict[Market, list[str]]:
    """Symbols with bars, by market."""
    return markets.symbols(places.lake(), places.database())


def escaped(text: str) -> str:
    """Text for Markdown: what people or vendors wrote is shown as it is."""
    for sign in "\\`*_{}[]()<>#+-!|~$:&":
        text = text.replace(sign, f"\\{sign}")
    return " ".join(text.split())


def named(kind: str) -> str:
    """A kind of anomaly, a rule or another name as words."""
    return kind.replace("_", " ")


def sidebar() -> None:
    """The zone of times, how often pages read again, and the bell: kept for the person's session."""
    st.session_state.setdefault("is_utc", st.query_params.get("zone") == "UTC")
    st.session_state.setdefault("refresh_s", 5)
    with st.sidebar:
        st.toggle("Times in UTC", key="is_utc", help="else in the market's own zone")
        st.select_slider(
            "Read again every",
            _REFRESH_S,
            key="refresh_s",
            format_func=lambda s: f"{s} s",
            help="charts are live anyway",
        )
        has_sound = st.toggle("Sound of a new alert", key="sound", help="browsers allow it after a first click")
        st.fragment(_bell)(has_sound)
    # A link keeps the zone, as it keeps the rest of a view.
    if is_utc():
        st.query_params["zone"] = "UTC"
    elif "zone" in st.query_params:
        del st.query_params["zone"]


def _bell(has_sound: bool) -> None:
    found = alert_bell(key="bell", has_sound=has_sound)
    if alert_id := found.get("alert"):
        new = feed(places.database(), alert_id=alert_id)
        st.toast(
            f"A new alert: {escaped(new['message'][0])}" if new.height else "A new alert",
            icon=":material/notifications:",
        )


def is_utc() -> bool:
    return bool(st.session_state.get("is_utc", True))


def refresh_s() -> int:
    return int(st.session_state.get("refresh_s", 5))


def zone_of(market: Market) -> str:
    """IANA name of the zone in which to show a market's times."""
    return markets.zone_name(market, is_utc=is_utc())


def choice(name: str, options: list[Any], default: Any, label: str, **keywords: Any) -> Any:
    """A select box that a link's query parameter `name` sets, and that keeps it up to date."""
    texts = {str(option): option for option in options}
    asked = texts.get(st.query_params.get(name, ""), default)
    key = f"choice {name} {st.session_state.get('page', '')}"
    if st.session_state.get(key) not in options:
        st.session_state[key] = asked if asked in options else options[0]
    chosen = st.selectbox(label, options, key=key, **keywords)
    if st.query_params.get(name) != str(chosen):
        st.query_params[name] = str(chosen)
    return chosen


def market_and_symbol(left: DeltaGenerator, right: DeltaGenerator) -> tuple[Market, str]:
    """The market and symbol that a person or a link chose, in boxes at two places. There are bars: `listed`."""
    known = listed()
    with left:
        market = choice("market", list(known), next(iter(known)), "Market")
    with right:
        symbol = choice("symbol", known[market], known[market][0], "Symbol")
    return market, symbol


def await_bars() -> None:
    """Say that there are no bars, and run the page again as soon as there are."""
    st.info("There are no bars yet. `tapewatch demo`, `tapewatch backfill` or `tapewatch stream` brings them.")
    st.fragment(_look_for_bars, run_every=refresh_s())()


def _look_for_bars() -> None:
    listed.clear()
    if listed():
        st.rerun()


def in_zone(rows: pl.DataFrame, zone: str) -> pl.DataFrame:
    """The frame with its times in a zone, to the second."""
    times = [name for name, kind in rows.schema.items() if isinstance(kind, pl.Datetime)]
    return rows.with_columns(
        pl.col(name).cast(pl.Datetime("us", "UTC")).dt.convert_time_zone(zone).dt.replace_time_zone(None)
        for name in times
    )


def time_text(time: dt.datetime | None, zone: str) -> str:
    """`2024-06-03 14:31:00`, in a zone; a dash for none."""
    return "–" if time is None else f"{time.astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M:%S}"


def time_of(seconds: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(seconds, dt.UTC)
