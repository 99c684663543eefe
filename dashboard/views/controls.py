"""What several pages share: choice of market and symbol, the zone of times, how often a page reads again, texts of times."""

import datetime as dt
from collections.abc import Sequence
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from dashboard import places
from dashboard.components.candles import alert_bell
from dashboard.identity import current
from dashboard.reading import markets
from dashboard.reading.happenings import feed
from tapewatch.accounts.errors import AccountError
from tapewatch.accounts.preferences import THEMES, prefer, preferences_of
from tapewatch.market.instruments import Market
from tapewatch.store.database.database import DatabaseError

_LISTED_S = 10
#: The year 2190: later times in a link are mistakes.
_LATEST_S = 7e9
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
    """The zone of times and how often pages read again, kept for the session; the bell and the theme, kept for the person."""
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
        _preferences()
    # A link keeps the zone, as it keeps the rest of a view.
    if is_utc():
        st.query_params["zone"] = "UTC"
    elif "zone" in st.query_params:
        del st.query_params["zone"]


def _preferences() -> None:
    """What the person chose, on this machine or another."""
    if "theme" not in st.session_state or "is_muted" not in st.session_state:
        kept = preferences_of(places.database(), current().name)
        st.session_state.setdefault("theme", kept.theme)
        st.session_state.setdefault("is_muted", kept.is_muted)
    st.toggle(
        "Mute new alerts",
        key="is_muted",
        on_change=_keep,
        args=("is_muted",),
        help="a browser sounds after a first click on the page",
    )
    st.segmented_control(
        "Theme", THEMES, key="theme", format_func=str.capitalize, required=True, on_change=_keep, args=("theme",)
    )
    st.fragment(_bell)(st.session_state["theme"], st.session_state["is_muted"])


def _keep(name: str) -> None:
    try:
        prefer(places.database(), current().name, **{name: st.session_state[name]})
    except (AccountError, DatabaseError) as error:
        st.toast(f"Your choice holds here, and could not be kept: {escaped(str(error))}")


def _bell(theme: str, is_muted: bool) -> None:
    found = alert_bell(key="bell", theme=theme, is_muted=is_muted)
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


def linked(name: str, value: str, default: str) -> None:
    """Keep a choice in the link, where it is not the usual one."""
    if value != default:
        st.query_params[name] = value
    elif name in st.query_params:
        del st.query_params[name]


def several(name: str, options: Sequence[str], default: Sequence[str], label: str, **keywords: Any) -> list[str]:
    """Pills of which a person chooses any; a link's query parameter `name` sets them, and keeps up with them."""
    if name not in st.session_state:
        asked = st.query_params.get(name)
        wanted = default if asked is None else asked.split(",")
        st.session_state[name] = [option for option in options if option in wanted]
    chosen = list(st.pills(label, options, selection_mode="multi", key=name, **keywords) or [])
    linked(name, ",".join(chosen) or "none", ",".join(default) or "none")
    return chosen


def stretch_of_link(page: str) -> tuple[float, float] | None:
    """The stretch that a link names, in seconds. It counts once: what the person then chooses or scrolls to comes after it."""
    if "from" not in st.query_params or st.session_state.get(f"{page} link") == "read":
        return None
    st.session_state[f"{page} link"] = "read"
    try:
        start, end = float(st.query_params["from"]), float(st.query_params["to"])
    except (KeyError, ValueError):
        return None
    return (start, end) if 0 < start < end < _LATEST_S else None


def link_stretch(found: Any) -> bool:
    """Keep in the link what a chart says that it shows; whether that is new."""
    range_ = found.get("range")
    if not range_ or st.session_state.get("reported") == range_:
        return False
    st.session_state["reported"] = dict(range_)
    st.query_params.update({"from": str(range_["from"]), "to": str(range_["to"])})
    return True


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
