// Candles with volume, VWAP, bands and what happened on the tape; pans and zooms over any number of bars.

import { read, readMarks, script } from "./data.mjs";
import { Edges } from "./edges.mjs";
import { listen, mountBell } from "./feed.mjs";
import { look, price, save, width } from "./format.mjs";
import { addSeries, fill } from "./series.mjs";
import { Spans } from "./spans.mjs";

const SEVERITY = { info: "#7d8790", warning: "#e09000", critical: "#e53935" };
const SETTLED_MS = 350;
const LOAD_MS = 60;
// From one marker with a text to the next, so that texts do not overlap.
const LABEL_PX = 110;
const KEYS_HELP = "Arrow keys pan, plus and minus zoom, Shift with arrows moves the cursor, Enter sets an edge, Escape clears it.";

class Chart {
  constructor(component, library) {
    this.library = library;
    this.component = component;
    this.data = component.data;
    this.candles = null;
    this.cursor = null;
    this.pending = null;
    this.pressed = [0, 0];
    this.request = 0;
    this.#build(component.parentElement);
    this.stop = listen((name, said) => this.#live(name, said));
    this.update(component, true);
  }

  #build(parent) {
    const find = (name) => parent.querySelector(`[data-part="${name}"]`);
    this.frame = find("frame");
    this.status = find("status");
    this.tools = find("tools");
    this.range = find("range");
    for (const button of this.tools.querySelectorAll("button")) {
      button.onclick = () => this.#tool(button.dataset.tool);
    }
    const { createChart, createSeriesMarkers } = this.library;
    const chart = createChart(this.frame, { autoSize: true, rightPriceScale: { borderVisible: false } });
    this.chart = chart;
    this.series = addSeries(chart, this.library);
    this.prices = this.series.prices;
    this.markers = createSeriesMarkers(this.prices, []);
    this.spans = new Spans((time) => this.#xOf(time));
    this.prices.attachPrimitive(this.spans);
    chart.timeScale().subscribeVisibleLogicalRangeChange(() => this.#moved());
    chart.subscribeClick((event) => this.#clicked(event));
    chart.subscribeCrosshairMove((event) => this.#hovered(event));
    this.frame.onpointerdown = (event) => { this.pressed = [event.clientX, event.clientY]; };
    this.frame.onclick = (event) => this.#marked(event);
    this.frame.onkeydown = (event) => this.#key(event);
    this.edges = new Edges(this.frame, {
      mark: () => (this.candles?.length && this.data.mark?.start ? this.data.mark : null),
      xOf: (time) => this.#xOf(time),
      timeAt: (x) => this.#timeAt(x),
      moved: (mark) => { this.data.mark = mark; this.#draw(); },
      dropped: ({ start, end }) => this.component.setTriggerValue("dragged", { start, end }),
    });
  }

  update(component, isFirst = false) {
    const before = this.data;
    this.component = component;
    this.data = component.data;
    this.tools.hidden = Boolean(this.data.is_compact);
    for (const button of this.tools.querySelectorAll("[data-permission]")) button.hidden = !this.data.may_export;
    this.frame.setAttribute("aria-label", `Candles of ${this.data.symbol}. ${this.data.is_compact ? "" : KEYS_HELP}`);
    this.frame.style.height = `${this.data.height}px`;
    this.#style();
    if (!this.data.mark) this.pending = null;
    const moved = this.data.symbol !== before.symbol || this.data.market !== before.market || this.data.view !== before.view;
    if (isFirst || moved || this.data.version !== before.version) {
      const keeps = !isFirst && !moved && this.candles;
      const { from, to } = keeps ? this.#visible() : this.data;
      this.#load(from, to);
    } else {
      this.#draw();
    }
  }

  destroy() {
    this.stop();
    clearTimeout(this.loading);
    clearTimeout(this.settling);
    clearTimeout(this.reloading);
    this.request += 1;
    this.chart.remove();
  }

  #style() {
    const { full, options } = look(getComputedStyle(this.frame), this.data);
    this.full = full;
    this.chart.applyOptions(options);
  }

  // How many candles fit into the frame.
  #most() {
    return Math.max(40, Math.min(1500, Math.floor((this.frame.clientWidth || 800) / 4)));
  }

  async #load(from, to) {
    const request = ++this.request;
    this.abort?.abort();
    this.abort = new AbortController();
    const { market, symbol, assets, arrow } = this.data;
    const began = performance.now();
    try {
      const { signal } = this.abort;
      const candles = await read(assets, arrow, { market, symbol, from, to, most: this.#most() }, signal);
      if (request !== this.request) return;
      // Until its own marks come, the symbol's former ones stay.
      if (this.shown === symbol) candles.marks = this.candles.marks;
      this.shown = symbol;
      this.candles = candles;
      this.#show(from, to, began);
      this.#say(candles.length ? this.#asks() : `no bars of ${symbol}`);
      await readMarks(candles, this.data, signal);
      if (request === this.request) this.#draw();
      this.frame.dataset.loaded = String(candles.length);
    } catch (error) {
      if (error.name !== "AbortError") this.#say(`the chart cannot be drawn: ${error.message}`);
    }
  }

  #show(from, to, began) {
    const { candles, request } = this;
    this.quiet = true;
    fill(this.series, candles);
    const visible = { from: candles.placeOf(from), to: candles.placeOf(to) };
    if (candles.length) this.chart.timeScale().setVisibleLogicalRange(visible);
    this.#draw();
    // The library applies a set range in the next frame.
    requestAnimationFrame(() => requestAnimationFrame(() => {
      this.quiet = false;
      if (request !== this.request) return;
      this.frame.dataset.ms = (performance.now() - began).toFixed(1);
      this.#report();
    }));
  }

  #draw() {
    if (!this.candles) return;
    const { data, candles } = this;
    const shown = new Set(data.sources);
    const spans = candles.marks.filter((mark) => shown.has(mark.source))
      .map((mark) => ({ source: mark.source, start: mark.start_time, end: mark.end_time }));
    if (this.pending !== null) spans.push({ source: "mark", start: this.pending, end: this.pending });
    if (data.mark?.start) spans.push({ source: "mark", start: data.mark.start, end: data.mark.end });
    this.spans.set(spans, data.mark?.edges ?? []);
    const found = candles.marks.filter((mark) => shown.has(mark.source) && mark.source !== "truth" && mark.source !== "label");
    let labelled = -Infinity;
    this.markers.setMarkers(found.flatMap((mark) => {
      const place = Math.floor(candles.placeOf(mark.start_time));
      if (place < 0 || place >= candles.length) return [];
      const x = this.#xOfPlace(place);
      const hasText = !data.is_compact && x - labelled > LABEL_PX;
      if (hasText) labelled = x;
      return [{
        time: candles.times[place], id: mark.id, text: hasText ? mark.kind.replaceAll("_", " ") : "", color: SEVERITY[mark.severity] ?? SEVERITY.info,
        position: "aboveBar", shape: mark.source === "anomaly" ? "circle" : "arrowDown",
      }];
    }).sort((a, b) => a.time - b.time));
  }

  #visible() {
    const range = this.chart.timeScale().getVisibleLogicalRange();
    if (!range || !this.candles?.length) return { from: this.data.from, to: this.data.to };
    return { from: Math.max(this.candles.timeAt(range.from), 0), to: this.candles.timeAt(range.to) };
  }

  #moved() {
    if (this.quiet || !this.candles?.length) return;
    const range = this.chart.timeScale().getVisibleLogicalRange();
    const { candles } = this;
    const count = range.to - range.from;
    const most = this.#most();
    const lacksLeft = range.from < 0 && candles.times[0] > candles.first;
    const lacksRight = range.to > candles.length && candles.times.at(-1) + candles.step <= candles.last;
    const isTooFine = count > most * 1.6;
    const isTooCoarse = candles.minutes > 1 && count < most / 6;
    if (lacksLeft || lacksRight || isTooFine || isTooCoarse) {
      clearTimeout(this.loading);
      this.loading = setTimeout(() => { const { from, to } = this.#visible(); this.#load(from, to); }, LOAD_MS);
    }
    clearTimeout(this.settling);
    this.settling = setTimeout(() => this.#report(), SETTLED_MS);
  }

  #report() {
    const { from, to } = this.#visible();
    this.range.textContent = `${this.full.format(from * 1000)} – ${this.full.format(to * 1000)}, ${width(this.candles.minutes)}`;
    Object.assign(this.frame.dataset, { from, to, width: this.chart.timeScale().width() });
    const said = JSON.stringify([Math.round(from), Math.round(to)]);
    if (this.data.is_compact || said === this.said) return;
    const isFirst = this.said === undefined;
    this.said = said;
    if (!isFirst) this.component.setStateValue("range", { from: Math.round(from), to: Math.round(to) });
  }

  #xOf(time) {
    if (!this.candles?.length) return null;
    return this.#xOfPlace(this.candles.placeOf(time) - 0.5);
  }

  // The library answers for whole candles alone.
  #xOfPlace(place) {
    const scale = this.chart.timeScale();
    const low = Math.floor(place);
    const [left, right] = [scale.logicalToCoordinate(low), scale.logicalToCoordinate(low + 1)];
    return left === null || right === null ? null : left + (place - low) * (right - left);
  }

  #clicked(event) {
    if (!this.data.mark && event.hoveredObjectId) this.component.setTriggerValue("opened", event.hoveredObjectId);
  }

  // The library swallows a click that follows another one fast, so edges come from the browser's own clicks.
  #marked(event) {
    if (!this.data.mark || !this.candles?.length) return;
    const x = event.clientX - this.frame.getBoundingClientRect().left;
    const hasMoved = Math.hypot(event.clientX - this.pressed[0], event.clientY - this.pressed[1]) > 4;
    if (this.edges.endsDrag() || hasMoved || x > this.chart.timeScale().width()) return;
    this.#edge(this.#timeAt(x));
  }

  #timeAt(x) {
    const scale = this.chart.timeScale();
    const logical = scale.coordinateToLogical(x);
    const [left, right] = [scale.logicalToCoordinate(logical), scale.logicalToCoordinate(logical + 1)];
    return this.candles.timeAt(logical + 0.5 + (x - left) / (right - left));
  }

  #edge(time) {
    if (this.pending === null) {
      this.pending = time;
      this.#say(this.#asks());
    } else {
      const [start, end] = [this.pending, time].sort((a, b) => a - b);
      this.pending = null;
      this.#say("");
      if (end > start) this.component.setTriggerValue("mark", { start, end });
    }
    this.#draw();
  }

  #hovered({ logical, point }) {
    if (this.data.is_compact || !this.candles?.length) return;
    const at = point && logical !== undefined ? Math.round(logical) : this.candles.length - 1;
    if (at < 0 || at >= this.candles.length) return;
    const { candles } = this;
    const said = [["O", candles.open], ["H", candles.high], ["L", candles.low], ["C", candles.close], ["VWAP", candles.vwap]]
      .filter(([, values]) => !Number.isNaN(values[at])).map(([name, values]) => `${name} ${price(values[at])}`);
    this.frame.title = `${this.full.format(candles.times[at] * 1000)}  ${said.join("  ")}  volume ${Math.round(candles.volume[at])}`;
  }

  #key(event) {
    const scale = this.chart.timeScale();
    const range = scale.getVisibleLogicalRange();
    if (!range || this.data.is_compact) return;
    const count = range.to - range.from;
    const set = (from, to) => scale.setVisibleLogicalRange({ from, to });
    const direction = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (direction && event.shiftKey) this.#moveCursor(direction);
    else if (direction) set(range.from + direction * count * 0.15, range.to + direction * count * 0.15);
    else if (event.key === "+" || event.key === "=") set(range.from + count * 0.15, range.to - count * 0.15);
    else if (event.key === "-") set(range.from - count * 0.2, range.to + count * 0.2);
    else if (event.key === "Enter" && this.data.mark && this.cursor !== null) this.#edge(this.candles.timeAt(this.cursor));
    else if (event.key === "Escape") { this.pending = null; this.#say(""); this.#draw(); }
    else return;
    event.preventDefault();
  }

  #moveCursor(direction) {
    const { candles } = this;
    if (!candles?.length) return;
    const range = this.chart.timeScale().getVisibleLogicalRange();
    const at = this.cursor === null ? Math.round((range.from + range.to) / 2) : this.cursor + direction;
    this.cursor = Math.max(0, Math.min(candles.length - 1, at));
    this.chart.setCrosshairPosition(candles.close[this.cursor], candles.times[this.cursor], this.prices);
    this.#say(this.full.format(candles.times[this.cursor] * 1000));
  }

  #tool(name) {
    if (name === "png") {
      this.chart.takeScreenshot(true).toBlob((blob) => save(URL.createObjectURL(blob), `${this.data.symbol}.png`));
    } else if (name === "newest") {
      const { from, to } = this.#visible();
      const end = this.candles.last + 60;
      this.#load(end - (to - from), end);
    } else {
      const { market, symbol } = this.data;
      const query = new URLSearchParams({ market, symbol, ...this.#visible(), most: this.#most() });
      save(`/tape/export/candles.${name}?${query}`, "");
    }
  }

  #live(name, said) {
    if (said.symbol !== this.data.symbol || said.market !== this.data.market || !this.candles) return;
    const { candles } = this;
    const last = candles.length ? candles.times.at(-1) : 0;
    if (name === "bar" && candles.minutes === 1 && said.time === last) {
      this.prices.update(said);
      this.series.volume.update({ time: said.time, value: said.volume });
      return;
    }
    if (name === "bar" && last < candles.last - candles.step) return;
    clearTimeout(this.reloading);
    this.reloading = setTimeout(() => {
      const { from, to } = this.#visible();
      const isAtTheEnd = name === "bar" && to >= last && said.time > last;
      this.#load(isAtTheEnd ? from + said.time - last : from, isAtTheEnd ? to + said.time - last : to);
    }, 200);
  }

  // What a person is to do next; live candles that come meanwhile do not clear it.
  #asks() {
    return this.pending === null ? "" : "now the end";
  }

  #say(text) {
    this.status.textContent = text;
  }
}

export async function mount(component) {
  if (component.data.is_bell) return mountBell(component);
  const { assets, charts, arrow } = component.data;
  script(assets + arrow).catch(() => {});  // `read` reports it
  return new Chart(component, await import(assets + charts));
}
