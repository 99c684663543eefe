// What a person does with mouse, finger and keyboard: pans, marks by clicks or by a brush, and moves the cursor.

// A shorter way of a pressed mouse is a click.
const CLICK_PX = 4;

export class Hand {
  // `chart` gives `scale` (the library's axis of time), `candles()`, `edges`, `canMark()` and `timeAt(x)`, and takes `clicked(time)`,
  // `brushed(start, end)`, `marked(start, end)`, `cleared()`, `pointed(place)` and `toggled(isBrush)`.
  constructor(frame, chart) {
    Object.assign(this, { frame, chart, cursor: null, isBrush: false, way: 0 });
    frame.addEventListener("pointerdown", (event) => this.#press(event));
    frame.addEventListener("click", (event) => this.#click(event));
    frame.addEventListener("keydown", (event) => this.#key(event));
    this.move = (event) => this.#drag(event);
    this.release = (event) => this.#drop(event);
  }

  // Whether a drag marks a stretch, in place of panning.
  brush(isBrush) {
    this.isBrush = isBrush && this.chart.canMark();
    this.frame.style.cursor = this.isBrush ? "crosshair" : "";
    this.frame.style.touchAction = this.isBrush ? "none" : "";
    this.chart.toggled(this.isBrush);
  }

  #xOf(event) {
    return event.clientX - this.frame.getBoundingClientRect().left;
  }

  #isOnCandles(event) {
    const { top, height } = this.frame.getBoundingClientRect();
    return this.#xOf(event) <= this.chart.scale.width() && event.clientY - top <= height - this.chart.scale.height();
  }

  #press(event) {
    this.way = 0;
    if (event.button !== 0 || !event.isPrimary || !this.#isOnCandles(event) || this.chart.edges.isNear(event)) return;
    const marks = this.chart.canMark() && (event.shiftKey || this.isBrush);
    // The library pans for fingers.
    if (!marks && event.pointerType === "touch") return;
    this.drag = { at: event.clientX, start: marks ? this.chart.timeAt(this.#xOf(event)) : null };
    window.addEventListener("pointermove", this.move);
    for (const name of ["pointerup", "pointercancel"]) window.addEventListener(name, this.release);
  }

  #drag(event) {
    const { drag } = this;
    const shift = event.clientX - drag.at;
    this.way += Math.abs(shift);
    drag.at = event.clientX;
    if (this.way <= CLICK_PX) return;
    if (drag.start !== null) this.chart.brushed(...this.#stretch(drag, event));
    else this.#pan(-shift / this.chart.scale.width());
  }

  #drop(event) {
    const { drag } = this;
    this.stop();
    if (drag.start === null) return;
    if (event.type === "pointercancel" || this.way <= CLICK_PX) this.chart.cleared();
    else this.chart.marked(...this.#stretch(drag, event));
  }

  #stretch(drag, event) {
    const x = Math.max(0, Math.min(this.#xOf(event), this.chart.scale.width()));
    return [drag.start, this.chart.timeAt(x)].sort((a, b) => a - b);
  }

  stop() {
    this.drag = null;
    window.removeEventListener("pointermove", this.move);
    for (const name of ["pointerup", "pointercancel"]) window.removeEventListener(name, this.release);
  }

  // The library swallows a click that follows another one fast, so edges come from the browser's own clicks.
  #click(event) {
    const hasDragged = this.chart.edges.endsDrag() || this.way > CLICK_PX;
    if (hasDragged || !this.chart.canMark() || !this.#isOnCandles(event)) return;
    this.chart.clicked(this.chart.timeAt(this.#xOf(event)));
  }

  // By a share of the view.
  #pan(share) {
    const range = this.chart.scale.getVisibleLogicalRange();
    if (range) this.#set(range.from + share * (range.to - range.from), range.to + share * (range.to - range.from));
  }

  #set(from, to) {
    this.chart.scale.setVisibleLogicalRange({ from, to });
  }

  #key(event) {
    const range = this.chart.scale.getVisibleLogicalRange();
    if (!range || event.ctrlKey || event.metaKey || event.altKey) return;
    const count = range.to - range.from;
    const direction = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (direction && event.shiftKey) this.#moveCursor(direction, range);
    else if (direction) this.#pan(direction * 0.15);
    else if (event.key === "+" || event.key === "=") this.#set(range.from + count * 0.15, range.to - count * 0.15);
    else if (event.key === "-") this.#set(range.from - count * 0.2, range.to + count * 0.2);
    else if (event.key === "Enter" && this.chart.canMark() && this.cursor !== null) this.#enter();
    else if (event.key.toLowerCase() === "b" && this.chart.canMark()) this.brush(!this.isBrush);
    else if (event.key === "Escape") this.chart.cleared();
    else return;
    event.preventDefault();
  }

  #enter() {
    this.chart.clicked(this.chart.candles().timeAt(this.cursor));
  }

  #moveCursor(direction, range) {
    const { length } = this.chart.candles();
    // It begins in the middle of what is seen.
    const middle = Math.round((Math.max(range.from, 0) + Math.min(range.to, length - 1)) / 2);
    this.cursor = Math.max(0, Math.min(length - 1, this.cursor === null ? middle : this.cursor + direction));
    this.chart.pointed(this.cursor);
  }
}
