// Replays the tape around an event, second by second: play and pause, speed, a slider, and the keyboard.

import { Axis } from "./axis.mjs";
import { Candles, columns, script } from "./data.mjs";
import { FALLING, RISING, decimals, look } from "./format.mjs";
import { Spans } from "./spans.mjs";

const STEP_S = 10;

class Replay {
  constructor(component, library, seconds) {
    this.component = component;
    this.seconds = seconds;
    // How many seconds are drawn, and the fraction of the next one that has passed.
    this.shown = 0;
    this.clock = 0;
    const find = (name) => component.parentElement.querySelector(`[data-part="${name}"]`);
    for (const name of ["frame", "play", "speed", "slider", "clock", "source"]) this[name === "clock" ? "said" : name] = find(name);
    this.#build(library);
    this.style();
    this.slider.max = String(seconds.length);
    this.source.textContent = `from ${seconds.source}`;
    this.play.onclick = () => this.#play(this.timer === undefined);
    this.slider.oninput = () => this.#seek(Number(this.slider.value));
    this.frame.onkeydown = (event) => this.#key(event);
    // The page's text has another colour: the theme has changed.
    this.frame.ontransitionend = (event) => { if (event.target === this.frame) this.style(); };
    this.#seek(Math.max(Math.round(component.data.moment - seconds.times[0]), 0));
  }

  #build({ createChart, HistogramSeries, LineSeries, LineType }) {
    const chart = createChart(this.frame, { autoSize: true, rightPriceScale: { borderVisible: false } });
    this.chart = chart;
    const precision = decimals(this.seconds.price.find((price) => !Number.isNaN(price)));
    const plain = {
      priceLineVisible: false, lastValueVisible: false, crosshairMarkerVisible: false,
      priceFormat: { type: "price", precision, minMove: 10 ** -precision },
    };
    const line = (options) => chart.addSeries(LineSeries, { ...plain, lineWidth: 1, ...options });
    const volume = chart.addSeries(HistogramSeries, {
      ...plain, priceScaleId: "volume", priceFormat: { type: "volume" }, color: "rgba(91, 141, 239, 0.6)",
    });
    volume.priceScale().applyOptions({ scaleMargins: { top: 0.82, bottom: 0 } });
    this.series = {
      volume,
      ask: line({ color: FALLING, lineType: LineType.WithSteps }),
      bid: line({ color: RISING, lineType: LineType.WithSteps }),
      price: line({ color: "#5b8def", lineWidth: 2 }),
    };
    this.series.price.priceScale().applyOptions({ scaleMargins: { top: 0.08, bottom: 0.22 } });
    const axis = new Axis(chart.timeScale(), () => this.seconds);
    const spans = new Spans((time) => axis.xOf(time));
    this.series.price.attachPrimitive(spans);
    const { start, end, moment } = this.component.data;
    spans.set([{ source: "alert", start, end }], [{ time: moment, uncertainty_s: 0 }]);
  }

  update(component) {
    this.component = component;
    this.style();
  }

  destroy() {
    this.#play(false);
    this.chart.remove();
  }

  style() {
    const { full, options } = look(getComputedStyle(this.frame), { ...this.component.data, is_compact: false });
    this.full = full;
    Object.assign(options.timeScale, { secondsVisible: true, minBarSpacing: 0.05 });
    this.chart.applyOptions(options);
  }

  #row(name, at) {
    const value = this.seconds[name][at];
    return Number.isNaN(value) ? { time: this.seconds.times[at] } : { time: this.seconds.times[at], value };
  }

  // The library moves its view with the newest point; here the view stays, and the whole stretch is seen at first.
  #still(draw) {
    const scale = this.chart.timeScale();
    const seen = this.isDrawn ? scale.getVisibleLogicalRange() : { from: 0, to: this.seconds.length };
    draw();
    this.isDrawn = true;
    scale.setVisibleLogicalRange(seen);
    this.#say();
  }

  // Draws the first `count` seconds; those to come keep their places.
  #seek(count) {
    const { length, times } = this.seconds;
    this.shown = Math.max(0, Math.min(count, length));
    this.clock = this.shown;
    this.#still(() => {
      for (const [name, series] of Object.entries(this.series)) {
        series.setData(Array.from({ length }, (_, at) => (at < this.shown ? this.#row(name, at) : { time: times[at] })));
      }
    });
  }

  #forward(count) {
    this.#still(() => {
      for (const [name, series] of Object.entries(this.series)) {
        for (let at = this.shown; at < count; at += 1) series.update(this.#row(name, at), true);
      }
      this.shown = count;
    });
  }

  #play(isPlaying) {
    cancelAnimationFrame(this.timer);
    this.timer = undefined;
    this.play.textContent = isPlaying ? "Pause" : "Play";
    if (!isPlaying) return;
    if (this.shown >= this.seconds.length) this.#seek(0);
    let before = performance.now();
    const tick = (now) => {
      this.clock += (Math.max(now - before, 0) / 1000) * Number(this.speed.value);
      before = now;
      const count = Math.min(Math.floor(this.clock), this.seconds.length);
      if (count > this.shown) this.#forward(count);
      if (count >= this.seconds.length) this.#play(false);
      else this.timer = requestAnimationFrame(tick);
    };
    this.timer = requestAnimationFrame(tick);
  }

  #key(event) {
    const step = { ArrowLeft: -STEP_S, ArrowRight: STEP_S }[event.key];
    if (event.key === " ") this.#play(this.timer === undefined);
    else if (step) this.#seek(this.shown + step);
    else return;
    event.preventDefault();
  }

  #say() {
    const time = this.seconds.times[Math.min(this.shown, this.seconds.length - 1)];
    const seconds = String(Math.floor(time % 60)).padStart(2, "0");
    this.said.textContent = `${this.full.format(time * 1000)}:${seconds}`;
    this.slider.value = String(this.shown);
    this.slider.setAttribute("aria-valuetext", this.said.textContent);
    this.frame.dataset.shown = String(this.shown);
  }
}

export async function mountReplay(component) {
  const { assets, charts, arrow, market, symbol, from, to } = component.data;
  const query = new URLSearchParams({ market, symbol, from, to });
  const [library, reply] = await Promise.all([import(assets + charts), fetch(`/tape/replay?${query}`), script(assets + arrow)]);
  if (!reply.ok) throw new Error(await reply.text());
  const { named, metadata } = await columns(reply);
  const { time, ...rest } = named(["time", "price", "volume", "bid", "ask"]);
  const seconds = new Candles({ times: time, ...rest }, 1 / 60, time[0], time.at(-1));
  seconds.source = metadata.get("source");
  return new Replay(component, library, seconds);
}
