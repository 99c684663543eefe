"""The candle chart as a Streamlit component: it reads its candles from `/tape/candles` and reports what a person does."""

from typing import Any, Final

import streamlit as st

from dashboard.components import fetch

ASSETS: Final = "/tape/assets/"
#: What a chart can mark, in the order of its legend.
SOURCES: Final = ("alert", "incident", "anomaly", "label", "truth")

_HTML = """
<div class="tools" data-part="tools" hidden>
  <button type="button" data-tool="newest">Newest</button>
  <button type="button" data-tool="brush" aria-pressed="false" hidden>Brush</button>
  <button type="button" data-tool="png">PNG</button>
  <button type="button" data-tool="csv" data-permission="export">CSV</button>
  <button type="button" data-tool="parquet" data-permission="export">Parquet</button>
  <span data-part="range"></span>
  <span class="status" data-part="status" role="status"></span>
</div>
<div data-part="frame" tabindex="0" role="application" aria-label="Candles"></div>
"""
_CSS = """
.tools { display: flex; gap: 0.4rem; align-items: center; padding: 0 0 0.4rem; font: 0.85rem var(--st-font); color: var(--st-text-color); }
.tools[hidden] { display: none; }
button { font: inherit; color: inherit; background: var(--st-secondary-background-color); border: 1px solid var(--st-border-color);
  border-radius: var(--st-base-radius); padding: 0.15rem 0.6rem; cursor: pointer; }
button[aria-pressed="true"] { background: var(--st-primary-color); color: var(--st-background-color); }
button:focus-visible, [data-part="frame"]:focus-visible { outline: 2px solid var(--st-primary-color); outline-offset: 1px; }
.status { margin-left: auto; font-weight: 600; }
[data-part="frame"] { width: 100%; position: relative; color: var(--st-text-color); transition: color 1ms; }
[data-part="frame"].edge { cursor: ew-resize !important; }
"""
# The module is read by its address once a page, not sent along with every run of the script.
_JS = """
const mounted = new WeakMap();
export default function (component) {
  const { parentElement, data } = component;
  let entry = mounted.get(parentElement);
  if (entry) {
    entry.latest = component;
    entry.chart?.update(component);
  } else {
    entry = { latest: component, chart: null, ended: false };
    mounted.set(parentElement, entry);
    const address = window.location.origin + data.assets;
    if (data.charts) import(address + data.charts).catch(() => {});  // while the modules load; `mount` reports it
    import(address + "candles.mjs").then((module) => module.mount(component)).then((chart) => {
      if (entry.ended) { chart.destroy(); return; }
      entry.chart = chart;
      if (entry.latest !== component) chart.update(entry.latest);
    }).catch((error) => {
      const status = parentElement.querySelector('[data-part="status"]');
      if (status) { status.parentElement.hidden = false; status.textContent = "the chart cannot be loaded: " + error.message; }
    });
  }
  return () => {
    entry.ended = true;
    mounted.delete(parentElement);
    entry.chart?.destroy();
  };
}
"""
_chart = st.components.v2.component("tapewatch_candles", html=_HTML, css=_CSS, js=_JS)
_REPLAY_HTML = """
<div class="tools">
  <button type="button" data-part="play">Play</button>
  <label>Speed <select data-part="speed">
    <option value="1">1×</option><option value="10" selected>10×</option><option value="60">60×</option><option value="300">300×</option>
  </select></label>
  <input data-part="slider" type="range" min="0" step="1" aria-label="Moment of the replay">
  <span data-part="clock"></span>
  <span class="status" data-part="source"></span>
  <span data-part="status" role="status"></span>
</div>
<div data-part="frame" tabindex="0" role="application" style="height: 300px"
  aria-label="Replay. Space plays and pauses, arrow keys move by ten seconds."></div>
"""
_REPLAY_CSS = """
[data-part="slider"] { flex: 1; accent-color: var(--st-primary-color); }
select { font: inherit; color: inherit; background: var(--st-secondary-background-color); border: 1px solid var(--st-border-color); }
"""
_replay = st.components.v2.component("tapewatch_replay", html=_REPLAY_HTML, css=_CSS + _REPLAY_CSS, js=_JS)
_bell = st.components.v2.component("tapewatch_bell", html='<span data-part="bell"></span>', js=_JS)


def candle_chart(
    market: str,
    symbol: str,
    start_s: float,
    end_s: float,
    *,
    key: str,
    zone: str = "UTC",
    height: int = 460,
    sources: tuple[str, ...] = SOURCES,
    is_compact: bool = False,
    may_export: bool = False,
    mark: dict[str, Any] | None = None,
    view: str = "",
    version: int = 0,
) -> Any:
    """Draw a symbol's candles from `start_s` to `end_s` (seconds UTC), live if that is the present.

    Args:
        key: identity of the chart on its page.
        zone: IANA name of the zone of the axis.
        sources: what to mark, of `SOURCES`.
        is_compact: without tools, for a grid.
        mark: a dict lets two clicks or a brush set start and end; it may hold `start` and `end` (seconds) of a mark to show, and `edges`
            (`time`, `uncertainty_s`).
        view: another text moves the chart to `start_s` and `end_s`; with the same text the person's own view stays.
        version: another number reads the candles and marks again.

    Returns: the component's result: `range` (`from`, `to`, in seconds) as state; `mark` (`start`, `end`), `dragged` (the same of a
    mark whose edge was dragged) and `opened` (the id of a marker that was clicked) as triggers.
    """
    data = {
        "assets": ASSETS, "charts": fetch.CHARTS.file, "arrow": fetch.ARROW.file, "market": market, "symbol": symbol,
        "from": start_s, "to": end_s, "zone": zone, "height": height, "sources": list(sources), "is_compact": is_compact,
        "may_export": may_export, "mark": mark, "view": view or f"{market} {symbol}", "version": version,
    }  # fmt: skip
    return _chart(
        key=key,
        data=data,
        on_range_change=_nothing,
        on_mark_change=_nothing,
        on_dragged_change=_nothing,
        on_opened_change=_nothing,
    )


def replay_chart(
    market: str,
    symbol: str,
    from_s: float,
    to_s: float,
    *,
    start_s: float,
    end_s: float,
    moment_s: float,
    zone: str,
    key: str,
) -> None:
    """Replay the tape from `from_s` to `to_s` (seconds UTC) from `/tape/replay`, with an event of `start_s` to `end_s` that was raised at
    `moment_s` marked. It begins at that moment."""
    data = {
        "assets": ASSETS, "charts": fetch.CHARTS.file, "arrow": fetch.ARROW.file, "is_replay": True, "market": market, "symbol": symbol,
        "from": from_s, "to": to_s, "start": start_s, "end": end_s, "moment": moment_s, "zone": zone,
    }  # fmt: skip
    _replay(key=key, data=data)


def alert_bell(*, key: str, theme: str, is_muted: bool) -> Any:
    """Report each new live alert as the trigger `alert` (its id), with a sound unless it is muted; and give the page its theme."""
    data = {"assets": ASSETS, "is_bell": True, "theme": theme, "is_muted": is_muted}
    return _bell(key=key, data=data, on_alert_change=_nothing)


def _nothing() -> None:
    """A component reports the states and triggers for which it has a callback."""
