"""The dashboard's candles over ten million bars: zooming and panning, and the first chart, against Plotly redrawing all it holds.

The lake holds one pair's minutes in daily partitions. A headless Chromium opens the page and turns the wheel or drags. A turn that needs other candles counts
from that movement until the frame after they were drawn, another one until the second frame after its first movement. Of a view the script separates the
server's answer, and the two frames that this browser, which draws without a graphics card, takes to show any movement of the chart. CPU time is that of the server, of the page (its scripts and layout, by the
browser's own count), and of all else in the browser, which draws. Plotly gets the same bars, as many as its page can take, and draws
a changed range of them as it does: all of its bars are in the page.
"""

import datetime as dt
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import httpx
import numpy as np
import plotly
import plotly.graph_objects as go
import polars as pl
import psutil
from playwright.sync_api import CDPSession, Locator, Page

from dashboard.components.fetch import SERVED, fetch
from tapewatch.market.instruments import NS_PER_MINUTE, Market, Partition
from tapewatch.market.tables.tape import BARS, TIME
from tapewatch.store.lake.lake import Lake
from tests.support.browser import browser_page
from tests.support.dashboard import serving

SYMBOL = "X:BTC-USD"
DAYS, FIRST_DAYS = 6_945, 695
FIRST = dt.date(2005, 6, 1)
REQUESTS, TURNS, FRAMES, PLOTLY_BARS, PLOTLY_ZOOMS = 300, 150, 60, 50_000, 6
_DAY_S = 86_400
#: No turn takes longer: a movement at the end of all bars shows nothing new.
_WAIT_MS = 10_000
#: Of the wheel in one turn: each changes the width by a tenth, and new candles come from 1.6 times on.
_CLICKS = 8
#: Wheels turn back at widths, in seconds, beyond which there are no other candles.
_LEAST_S, _MOST_SHARE = 3 * 3_600, 0.4
#: Notes when a turn begins, when it is shown, whether it asks for candles, and each view that the chart has drawn, with the time of the server's answer.
_WATCH = """frame => {
  const said = globalThis.drawn = { asked: false, shown: null, begun: null, views: [], wake: null };
  const ask = globalThis.fetch;
  globalThis.fetch = (address, ...rest) => {
    said.asked ||= String(address).includes("/tape/candles?");
    return ask(address, ...rest);
  };
  const begin = (event) => {
    if (said.begun !== null || (event.type === "pointermove" && !event.buttons)) return;
    const began = said.begun = performance.now();
    requestAnimationFrame(() => requestAnimationFrame(() => {
      if (said.begun === began) said.shown = performance.now() - began;
      said.wake?.();
    }));
  };
  for (const name of ["wheel", "pointermove"]) frame.addEventListener(name, begin, { capture: true, passive: true });
  new MutationObserver(() => {
    const answers = performance.getEntriesByType("resource").filter((each) => each.name.includes("/tape/candles?"));
    said.views.push([Number(frame.dataset.ms), answers.at(-1)?.duration ?? NaN]);
    said.wake?.();
  }).observe(frame, { attributes: true, attributeFilter: ["data-ms"] });
}"""
_FORGET = "() => { Object.assign(drawn, { asked: false, shown: null, begun: null, views: [] }); performance.clearResourceTimings(); }"
#: The milliseconds of a turn, those of the server's answer, and whether candles were read for it.
_AWAIT = """async ms => {
  const end = performance.now() + ms;
  while (performance.now() < end) {
    if (drawn.shown !== null && (drawn.views.length || !drawn.asked)) break;
    await new Promise((done) => { drawn.wake = done; setTimeout(done, 50); });
  }
  const [taken, answered] = drawn.views[0] ?? [drawn.shown, NaN];
  return taken === null ? null : [taken, answered, Number(drawn.views.length > 0)];
}"""
#: Moves the chart by a few pixels, and returns the time until it is shown.
_REDRAW = """async (frame) => {
  const canvas = frame.querySelector("canvas");
  const began = performance.now();
  canvas.dispatchEvent(new WheelEvent("wheel", { deltaX: Math.random() < 0.5 ? 8 : -8, bubbles: true, cancelable: true }));
  await new Promise((shown) => requestAnimationFrame(() => requestAnimationFrame(shown)));
  return performance.now() - began;
}"""


def main() -> None:
    """Write the bars, then measure both sides. `--days N` writes fewer."""
    days = int(sys.argv[sys.argv.index("--days") + 1]) if "--days" in sys.argv else DAYS
    for library in SERVED:
        fetch(library)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        bars = write_bars(home, days)
        print(f"{days * 1440:,} minute bars of one symbol in {days:,} partitions")
        with serving(home) as address, browser_page(1280, 900) as page:
            ours(address, page, days)
            theirs(page, bars)


def write_bars(home: Path, days: int) -> pl.DataFrame:
    """A random walk; returns its last bars."""
    lake, noise, last = Lake(home / "lake"), np.random.default_rng(7), 100.0
    for offset in range(days):
        day = Partition(FIRST + dt.timedelta(days=offset), Market.CRYPTO)
        frame = _day(day, noise, last)
        last = float(frame["close"][-1])
        lake.write(BARS, day, frame)
    kept = lake.partitions(BARS, Market.CRYPTO)[-(PLOTLY_BARS // 1440 + 1) :]
    return pl.concat([lake.read(BARS, day) for day in kept]).tail(PLOTLY_BARS)


def ours(address: str, page: Page, days: int) -> None:
    """The dashboard: first chart of a million bars, then views anywhere in all of them."""
    end = _seconds(FIRST + dt.timedelta(days=days))
    first = end - min(FIRST_DAYS, days) * _DAY_S
    page.goto(f"{address}/health")  # the application's own files and imports are not the chart's
    page.get_by_role("heading", level=1).wait_for()
    started = time.perf_counter()
    page.goto(f"{address}/?market=crypto&symbol={SYMBOL}&from={first}&to={end}")
    page.locator('[data-part="frame"][data-ms]').wait_for()
    candles = page.locator('[data-part="frame"]')
    print(f"page to first chart of {min(FIRST_DAYS, days) * 1440:,} bars: {time.perf_counter() - started:5.2f} s")
    print(f"  of it request, Arrow and drawing          : {float(candles.get_attribute('data-ms') or 0) / 1e3:5.2f} s")
    began = _seconds(FIRST)
    server = psutil.Process().children()[0]
    with httpx.Client(base_url=address, timeout=600) as client:
        started = time.perf_counter()
        _ask(client, began, end)
        print(f"all bars, read once                         : {time.perf_counter() - started:5.2f} s")
        before = _cpu([server])
        served = [_ask(client, *_somewhere(began, end)) for _ in range(REQUESTS)]
    cpu = (_cpu([server]) - before) / REQUESTS
    print(f"a view, on the server        median and p95 : {_figures(served)}, {cpu * 1e3:.1f} ms of CPU each")
    _turns(page, candles, server, end - began)


def _turns(page: Page, candles: Locator, server: psutil.Process, whole_s: float) -> None:
    """Turns of the wheel and drags: the time of each view, and what it consists of."""
    candles.evaluate(_WATCH)
    browser = [each for each in psutil.Process().children(recursive=True) if "chrom" in each.name()]
    counts = page.context.new_cdp_session(page)
    counts.send("Performance.enable", {"timeDomain": "threadTicks"})
    before = _cpu([server]), _scripts(counts), _cpu(browser)
    turns = [_turn(page, candles, whole_s) for _ in range(TURNS)]
    after = _cpu([server]), _scripts(counts), _cpu(browser)
    redraws = [candles.evaluate(_REDRAW) / 1e3 for _ in range(FRAMES)]
    moved = np.array([turn for turn in turns if turn is not None]).reshape(-1, 3)
    shown = moved[moved[:, 2] == 1, :2] / 1e3
    print(f"a zoom or pan, until shown   median and p95 : {_figures(moved[:, 0] / 1e3)}, {len(moved)} of {TURNS} turns")
    print(f"a view that reads candles    median and p95 : {_figures(shown[:, 0])}, {len(shown)} of these turns")
    print(f"  of it the server's answer                 : {_figures(shown[np.isfinite(shown[:, 1]), 1])}")
    print(f"  two frames of the browser, nothing read   : {_figures(redraws)}")
    served, page_, drawing = ((late - early) / TURNS * 1e3 for early, late in zip(before, after, strict=True))
    print(
        f"CPU a turn: server {served:.0f} ms, scripts and layout {page_:.0f} ms, drawing without a graphics card {drawing - page_:.0f} ms"
    )


def theirs(page: Page, bars: pl.DataFrame) -> None:
    """Plotly: the figure of its bars made, sent and drawn; then zooms."""
    started = time.perf_counter()
    columns = {name: bars[name].to_numpy() for name in ("open", "high", "low", "close")}
    figure = go.Figure(go.Candlestick(x=bars["time"].to_numpy(), **columns)).to_json()
    made = time.perf_counter() - started
    page.goto("about:blank")
    page.add_script_tag(path=Path(plotly.__file__).parent / "package_data" / "plotly.min.js")
    page.set_content("<div id=chart style='width:900px;height:460px'></div>")
    page.add_script_tag(path=Path(plotly.__file__).parent / "package_data" / "plotly.min.js")
    draw = "async text => { const t = performance.now(); const f = JSON.parse(text); await Plotly.newPlot('chart', f.data, f.layout); return performance.now() - t }"
    drawn = page.evaluate(draw, figure) / 1e3
    print(f"Plotly, {bars.height:,} bars: made {made:.2f} s, drawn {drawn:.2f} s, {len(figure) / 1e6:.0f} MB")
    zoom = "async span => { const t = performance.now(); await Plotly.relayout('chart', {'xaxis.range': span}); await new Promise(requestAnimationFrame); return performance.now() - t }"
    times = bars["time"].dt.strftime("%Y-%m-%dT%H:%M:%S").to_list()
    spans = [sorted(random.Random(n).sample(times, 2)) for n in range(PLOTLY_ZOOMS)]  # noqa: S311
    zooms = [page.evaluate(zoom, span) / 1e3 for span in spans]
    print(f"Plotly, a zoom               median and p95 : {_figures(zooms)}")


def _day(day: Partition, noise: np.random.Generator, last: float) -> pl.DataFrame:
    close = last * np.exp(np.cumsum(noise.normal(0, 4e-4, 1440)))
    open_ = np.concatenate([[last], close[:-1]])
    start = day.session.day_start
    time_ = pl.Series(start + NS_PER_MINUTE * np.arange(1440)).cast(TIME)
    frame = pl.DataFrame({"time": time_, "open": open_, "close": close, "volume": noise.gamma(2, 5, 1440)})
    return BARS.conform(
        frame.with_columns(
            symbol=pl.lit(SYMBOL),
            known_time=pl.col("time") + pl.duration(minutes=1),
            high=pl.max_horizontal("open", "close") * 1.0002,
            low=pl.min_horizontal("open", "close") * 0.9998,
            vwap="close",
            source=pl.lit("trades"),
        )
    )


def _ask(client: httpx.Client, start: float, end: float) -> float:
    query = {"market": "crypto", "symbol": SYMBOL, "from": start, "to": end, "most": 220}
    started = time.perf_counter()
    client.get("/tape/candles", params=query).raise_for_status()
    return time.perf_counter() - started


def _somewhere(began: float, end: float) -> tuple[float, float]:
    """A stretch of an hour to all, at any place: each width as likely as any other on a scale of powers."""
    width = 3_600 * ((end - began) / 3_600) ** random.random()  # noqa: S311
    start = began + random.random() * (end - began - width)  # noqa: S311
    return start, start + width


def _turn(page: Page, candles: Locator, whole_s: float) -> tuple[float, float, float] | None:
    """Turn the wheel or drag: its milliseconds, of its first view if it reads one, those of the server's answer, and 1 if it read one."""
    box = candles.bounding_box() or {}
    x, y = box["x"] + box["width"] * random.uniform(0.2, 0.8), box["y"] + 150  # noqa: S311
    page.evaluate(_FORGET)
    page.mouse.move(x, y)
    if random.random() < 0.5:  # noqa: S311
        width = float(candles.get_attribute("data-to") or 0) - float(candles.get_attribute("data-from") or 0)
        direction = 120 if width < _LEAST_S else -120 if width > _MOST_SHARE * whole_s else random.choice([-120, 120])  # noqa: S311
        for _ in range(_CLICKS):
            page.mouse.wheel(0, direction)
    else:
        direction = random.choice([-1, 1])  # noqa: S311
        for _ in range(2):
            page.mouse.move(x - direction * 250, y)
            page.mouse.down()
            page.mouse.move(x + direction * 250, y, steps=3)
            page.mouse.up()
    found: tuple[float, float, float] | None = page.evaluate(_AWAIT, _WAIT_MS)
    return found


def _scripts(counts: CDPSession) -> float:
    """Seconds of CPU of the page's scripts, styles and layout."""
    said = {each["name"]: each["value"] for each in counts.send("Performance.getMetrics")["metrics"]}
    return sum(said[name] for name in ("ScriptDuration", "LayoutDuration", "RecalcStyleDuration"))


def _cpu(processes: list[psutil.Process]) -> float:
    """Seconds of CPU that the processes which still run have used."""
    used = 0.0
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            used += sum(process.cpu_times()[:2])
    return used


def _figures(taken: Sequence[float] | np.ndarray) -> str:
    if not len(taken):
        return "none"
    return f"{np.median(taken) * 1e3:6.1f} ms {np.quantile(taken, 0.95) * 1e3:7.1f} ms"


def _seconds(date: dt.date) -> int:
    return int(dt.datetime(date.year, date.month, date.day, tzinfo=dt.UTC).timestamp())


if __name__ == "__main__":
    main()
