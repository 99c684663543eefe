// Stretches of time behind the candles: known anomalies, labels, what was found, and a mark that is being made.

const COLOURS = {
  truth: "rgba(224, 161, 0, 0.22)",
  label: "rgba(66, 133, 244, 0.25)",
  anomaly: "rgba(194, 24, 91, 0.9)",
  incident: "rgba(103, 80, 214, 0.9)",
  alert: "rgba(229, 57, 53, 0.95)",
  mark: "rgba(0, 150, 136, 0.25)",
  proposal: "rgba(156, 39, 176, 0.20)",
};
// What was found is a strip at the top, each source in its own lane; the others fill the height.
const LANES = { alert: 0, incident: 1, anomaly: 2 };
const LANE_PX = 5;

export class Spans {
  // `placed(time)` gives the x of a time in CSS pixels, or null.
  constructor(placed) {
    this.placed = placed;
    this.spans = [];
    this.edges = [];
    const draw = (target) => target.useBitmapCoordinateSpace((scope) => this.#draw(scope));
    this.view = { zOrder: () => "bottom", renderer: () => ({ draw }) };
  }

  attached({ requestUpdate }) {
    this.requestUpdate = requestUpdate;
  }

  paneViews() {
    return [this.view];
  }

  // spans: {source, start, end}; edges: {time, uncertainty_s}; times in seconds, an end of null lasts.
  set(spans, edges) {
    this.spans = spans;
    this.edges = edges;
    this.requestUpdate?.();
  }

  #draw({ context, horizontalPixelRatio: ratio, verticalPixelRatio, bitmapSize }) {
    for (const span of this.spans) {
      const from = this.placed(span.start);
      const to = span.end === null ? bitmapSize.width / ratio : this.placed(span.end);
      if (from === null || to === null) continue;
      context.fillStyle = COLOURS[span.source];
      const lane = LANES[span.source];
      const top = lane === undefined ? 0 : (lane * (LANE_PX + 1) + 1) * verticalPixelRatio;
      const height = lane === undefined ? bitmapSize.height : LANE_PX * verticalPixelRatio;
      context.fillRect(from * ratio, top, Math.max((to - from) * ratio, 3 * ratio), height);
    }
    for (const edge of this.edges) {
      const at = this.placed(edge.time);
      if (at === null) continue;
      const low = this.placed(edge.time - edge.uncertainty_s);
      const high = this.placed(edge.time + edge.uncertainty_s);
      context.fillStyle = COLOURS.proposal;
      context.fillRect(low * ratio, 0, Math.max((high - low) * ratio, 1), bitmapSize.height);
      context.fillStyle = "rgb(156, 39, 176)";
      context.fillRect(at * ratio - ratio, 0, 2 * ratio, bitmapSize.height);
    }
  }
}
