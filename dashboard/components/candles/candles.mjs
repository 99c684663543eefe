// Candles with volume, VWAP, bands and what happened on the tape; pans and zooms over any number of bars.

import { Axis } from "./axis.mjs";
import { Marks, read, script } from "./data.mjs";
import { Edges } from "./edges.mjs";
import { listen, mountBell } from "./feed.mjs";
import { look, price, save, stretch, width } from "./format.mjs";
import { Hand } from "./hand.mjs";
import { Loader, lacks } from "./loader.mjs";
import { mountReplay } from "./replay.mjs";
import { Resting } from "./resting.mjs";
import { Series } from "./series.mjs";
import { Spans } from "./spans.mjs";

const SEVERITY = { info: "#7d8790", warning: "#e09000", critical: "#e53935" };
// What happened is read once the candles have come to rest.
const MARKS_MS = 80;
// From one marker with a text to the next, so that texts do not overlap.
const LABEL_PX = 110;
const KEYS_HELP = "Arrow keys pan, plus and minus zoom, Shift with arrows moves the cursor.";
const MARK_HELP = "Enter sets an edge, B switches the brush, Escape clears.";

class Chart {
  constructor(component, library) {
    this.library = library;
    this.component = component;
    this.data = component.data;
    this.candles = null;
    this.marks = [];
    this.happened = new Marks();
    // The edge that was clicked first, and where the other one would be now.
    this.pending = null;
    this.other = null;
    this.loader = new Loader({
      read: ({ from, to }, signal) => this.#read(from, to, signal),
      show: (candles, wish) => this.#show(candles, wish),
      fail: (error) => this.#say(`the chart cannot be drawn: ${error.message}`),
    });
    this.resting = new Resting({
      seen: () => this.#visible(),
      show: (stretch) => this.#saySeen(stretch),
      report: (stretch) => this.component.setStateValue("range", stretch),
      isOwn: () => !this.data.is_compact,
    });
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
    // `Hand` pans: it goes on from where the view is, whatever candles come meanwhile.
    const chart = createChart(this.frame, {
      autoSize: true, rightPriceScale: { borderVisible: false }, handleScroll: { pressedMouseMove: false },
    });
    this.chart = chart;
    this.axis = new Axis(chart.timeScale(), () => this.candles);
    this.series = new Series(chart, this.library);
    this.prices = this.series.prices;
    this.markers = createSeriesMarkers(this.prices, []);
    this.spans = new Spans((time) => this.axis.xOf(time));
    this.prices.attachPrimitive(this.spans);
    chart.timeScale().subscribeVisibleLogicalRangeChange(() => this.#moved());
    chart.subscribeClick((event) => this.#clicked(event));
    chart.subscribeCrosshairMove((event) => this.#hovered(event));
    // The page's text has another colour: the theme has changed.
    this.frame.ontransitionend = (event) => { if (event.target === this.frame) this.style(); };
    this.edges = new Edges(this.frame, {
      mark: () => (this.candles?.length && this.data.mark?.start ? this.data.mark : null),
      xOf: (time) => this.axis.xOf(time),
      timeAt: (x) => this.axis.timeAt(x),
      moved: (mark) => { this.data.mark = mark; this.#draw(); },
      dropped: ({ start, end }) => this.component.setTriggerValue("dragged", { start, end }),
    });
    this.hand = new Hand(this.frame, this.#forHand(chart.timeScale()));
  }

  #forHand(scale) {
    return {
      scale,
      edges: this.edges,
      candles: () => this.candles,
      canMark: () => Boolean(this.data.mark && this.candles?.length),
      timeAt: (x) => this.axis.timeAt(x),
      clicked: (time) => this.#edge(time),
      brushed: (start, end) => this.#pend(start, end),
      marked: (start, end) => this.#mark(start, end),
      cleared: () => this.#pend(null),
      pointed: (place) => this.#point(place),
      toggled: (isBrush) => {
        this.tools.querySelector('[data-tool="brush"]').setAttribute("aria-pressed", String(isBrush));
        this.#say(this.#asks());
      },
    };
  }

  update(component, isFirst = false) {
    const before = this.data;
    this.component = component;
    this.data = component.data;
    this.tools.hidden = Boolean(this.data.is_compact);
    for (const button of this.tools.querySelectorAll("[data-permission]")) button.hidden = !this.data.may_export;
    this.tools.querySelector('[data-tool="brush"]').hidden = !this.data.mark;
    const help = this.data.is_compact ? "" : `${KEYS_HELP} ${this.data.mark ? MARK_HELP : ""}`;
    this.frame.setAttribute("aria-label", `Candles of ${this.data.symbol}. ${help}`);
    this.frame.style.height = `${this.data.height}px`;
    this.style();
    if (!this.data.mark) [this.pending, this.other] = [null, null];
    const moves = this.data.symbol !== before.symbol || this.data.market !== before.market || this.data.view !== before.view;
    if (this.data.version !== before.version) this.happened.forget();
    if (isFirst || moves) this.#go(this.data);
    else if (this.data.version !== before.version) this.#stay();
    else this.#draw();
  }

  destroy() {
    this.stop();
    clearTimeout(this.reloading);
    clearTimeout(this.marking);
    this.resting.stop();
    this.loader.stop();
    this.hand.stop();
    this.chart.remove();
  }

  // Takes the page's colours and the zone.
  style() {
    const { full, options } = look(getComputedStyle(this.frame), this.data);
    this.full = full;
    this.chart.applyOptions(options);
  }

  // How many candles fit into the frame. The library knows its width; the frame would lay the page out again.
  #most() {
    return Math.max(40, Math.min(1500, Math.floor((this.chart.timeScale().width() || 800) / 4)));
  }

  #go({ from, to }) {
    this.resting.stop();
    this.loader.ask({ from, to, moves: true });
  }

  // Reads again what is seen.
  #stay() {
    this.loader.ask({ ...this.#visible(), moves: false });
  }

  #read(from, to, signal) {
    const { market, symbol, assets, arrow } = this.data;
    return read(assets, arrow, { market, symbol, from, to, most: this.#most() }, signal);
  }

  #show(candles, { from, to, moves, began }) {
    // A person may have moved on since the request.
    const seen = moves ? { from, to } : this.#visible();
    const { symbol } = this.data;
    // Until its own marks come, the symbol's former ones stay.
    if (this.shown !== symbol) this.marks = [];
    this.shown = symbol;
    this.candles = candles;
    this.quiet = true;
    this.series.fill(candles);
    if (candles.length) {
      this.chart.timeScale().setVisibleLogicalRange({ from: candles.placeOf(seen.from), to: candles.placeOf(seen.to) });
    }
    this.#draw();
    this.#say(candles.length ? this.#asks() : `no bars of ${symbol}`);
    // The library applies a set range in the next frame.
    requestAnimationFrame(() => requestAnimationFrame(() => {
      if (candles !== this.candles) return;
      this.quiet = false;
      this.frame.dataset.ms = (performance.now() - began).toFixed(1);
      this.resting.settle();
      this.#moved();
    }));
    clearTimeout(this.marking);
    this.marking = setTimeout(() => this.#readMarks(candles), MARKS_MS);
  }

  async #readMarks(candles) {
    try {
      const marks = await this.happened.during(candles, this.data);
      if (candles !== this.candles) return;
      this.marks = marks;
      this.#draw();
      this.frame.dataset.loaded = String(candles.length);
    } catch (error) {
      this.#say(`what happened cannot be read: ${error.message}`);
    }
  }

  #draw() {
    if (!this.candles) return;
    const { data, candles } = this;
    const shown = new Set(data.sources);
    const spans = this.marks.filter((mark) => shown.has(mark.source))
      .map((mark) => ({ source: mark.source, start: mark.start_time, end: mark.end_time }));
    if (this.pending !== null) {
      const [start, end] = [this.pending, this.other ?? this.pending].sort((a, b) => a - b);
      spans.push({ source: "mark", start, end });
    }
    if (data.mark?.start) spans.push({ source: "mark", start: data.mark.start, end: data.mark.end });
    this.spans.set(spans, data.mark?.edges ?? []);
    const found = this.marks.filter((mark) => shown.has(mark.source) && mark.source !== "truth" && mark.source !== "label");
    let labelled = -Infinity;
    this.markers.setMarkers(found.flatMap((mark) => {
      const place = Math.floor(candles.placeOf(mark.start_time));
      if (place < 0 || place >= candles.length) return [];
      const x = this.axis.xOfPlace(place);
      const hasText = !data.is_compact && x - labelled > LABEL_PX;
      if (hasText) labelled = x;
      return [{
        time: candles.times[place], id: mark.id, text: hasText ? mark.kind.replaceAll("_", " ") : "", color: SEVERITY[mark.severity] ?? SEVERITY.info,
        position: "aboveBar", shape: mark.source === "anomaly" ? "circle" : "arrowDown",
      }];
    }).sort((a, b) => a.time - b.time));
  }

  #visible() {
    return this.axis.visible(this.data);
  }

  #moved() {
    if (this.quiet || !this.candles?.length) return;
    const range = this.chart.timeScale().getVisibleLogicalRange();
    const seen = this.#visible();
    // A view that was asked for has what there is.
    const asked = JSON.stringify([Math.round(seen.from), Math.round(seen.to), this.#most()]);
    if (asked !== this.asked && lacks(range, this.candles, this.#most())) {
      this.asked = asked;
      this.#stay();
    }
    this.resting.moved();
  }

  #saySeen({ from, to }) {
    this.range.textContent = `${stretch(this.full, this.data.zone, from, to)}, ${width(this.candles.minutes)}`;
    Object.assign(this.frame.dataset, { from, to, width: this.chart.timeScale().width() });
  }

  #clicked(event) {
    if (!this.data.mark && event.hoveredObjectId) this.component.setTriggerValue("opened", event.hoveredObjectId);
  }

  #edge(time) {
    if (this.pending === null) this.#pend(time);
    else this.#mark(...[this.pending, time].sort((a, b) => a - b));
  }

  // A mark that is being made, from its first edge to where the other one would be.
  #pend(start, end = null) {
    [this.pending, this.other] = [start, end];
    this.#say(this.#asks());
    this.#draw();
  }

  #mark(start, end) {
    this.#pend(null);
    if (end > start) this.component.setTriggerValue("mark", { start, end });
  }

  // Moves the cursor of the keyboard; a mark that was begun reaches up to it.
  #point(place) {
    const { candles } = this;
    this.chart.setCrosshairPosition(candles.close[place], candles.times[place], this.prices);
    if (this.pending !== null) this.#pend(this.pending, candles.timeAt(place));
    this.#say(this.full.format(candles.times[place] * 1000));
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

  #tool(name) {
    if (name === "png") {
      this.chart.takeScreenshot(true).toBlob((blob) => save(URL.createObjectURL(blob), `${this.data.symbol}.png`));
    } else if (name === "brush") {
      this.hand.brush(!this.hand.isBrush);
    } else if (name === "newest") {
      const { from, to } = this.#visible();
      const end = this.candles.last + 60;
      this.#go({ from: end - (to - from), to: end });
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
      this.series.revise(candles, said);
      return;
    }
    if (name === "bar" && last < candles.last - candles.step) return;
    if (name === "alert") this.happened.forget();
    clearTimeout(this.reloading);
    this.reloading = setTimeout(() => {
      const { from, to } = this.#visible();
      const isAtTheEnd = name === "bar" && to >= last && said.time > last;
      if (isAtTheEnd) this.#go({ from: from + said.time - last, to: to + said.time - last });
      else this.#stay();
    }, 200);
  }

  // What a person is to do next; live candles that come meanwhile do not clear it.
  #asks() {
    if (this.pending !== null) return "now the end";
    return this.hand.isBrush ? "drag over the event" : "";
  }

  #say(text) {
    this.status.textContent = text;
  }
}

export async function mount(component) {
  if (component.data.is_bell) return mountBell(component);
  if (component.data.is_replay) return mountReplay(component);
  const { assets, charts, arrow } = component.data;
  script(assets + arrow).catch(() => {});  // `read` reports it
  return new Chart(component, await import(assets + charts));
}
