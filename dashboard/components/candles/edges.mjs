// Lets a person drag the start or the end of a mark with the mouse.

const GRIP_PX = 6;
// The shortest mark, in seconds.
const SHORTEST_S = 1;

export class Edges {
  // `chart` gives `mark()` ({start, end} in seconds, or null), `xOf(time)` and `timeAt(x)`; `moved(mark)` is called while a
  // person drags, and `dropped(mark)` at the end.
  constructor(frame, chart) {
    this.frame = frame;
    this.chart = chart;
    this.side = null;
    this.hasMoved = false;
    // The library scrolls by the mouse events of its own elements within the frame.
    frame.addEventListener("mousedown", (event) => this.#press(event), true);
    frame.addEventListener("mousemove", (event) => this.#hover(event), true);
    this.move = (event) => this.#drag(event);
    this.release = () => this.#drop();
  }

  // Whether the click that the browser reports now ends a drag. To be called once a click.
  endsDrag() {
    const ended = this.hasMoved;
    this.hasMoved = false;
    return ended;
  }

  // Whether a press would take hold of an edge.
  isNear(event) {
    return this.#near(event) !== null;
  }

  #xOf(event) {
    return event.clientX - this.frame.getBoundingClientRect().left;
  }

  #near(event) {
    const mark = this.chart.mark();
    if (!mark) return null;
    const distance = (side) => {
      const at = this.chart.xOf(mark[side]);
      return at === null ? Infinity : Math.abs(at - this.#xOf(event));
    };
    const side = distance("start") < distance("end") ? "start" : "end";
    return distance(side) <= GRIP_PX ? side : null;
  }

  #hover(event) {
    if (this.side === null) this.frame.classList.toggle("edge", this.isNear(event));
  }

  #press(event) {
    this.hasMoved = false;
    this.side = event.button === 0 ? this.#near(event) : null;
    if (this.side === null) return;
    event.stopPropagation();
    event.preventDefault();
    this.frame.focus();
    window.addEventListener("mousemove", this.move);
    window.addEventListener("mouseup", this.release, { once: true });
  }

  #drag(event) {
    const mark = { ...this.chart.mark() };
    const time = this.chart.timeAt(this.#xOf(event));
    mark[this.side] = this.side === "start" ? Math.min(time, mark.end - SHORTEST_S) : Math.max(time, mark.start + SHORTEST_S);
    this.hasMoved = true;
    this.chart.moved(mark);
  }

  #drop() {
    window.removeEventListener("mousemove", this.move);
    this.side = null;
    if (this.hasMoved) this.chart.dropped(this.chart.mark());
  }
}
