// The axis of time: where times and candles are in the frame, in CSS pixels.

export class Axis {
  // `scale` is the library's axis; `candles()` gives those that are drawn, or null.
  constructor(scale, candles) {
    Object.assign(this, { scale, candles });
  }

  // What is seen, in seconds; `otherwise` without candles.
  visible(otherwise) {
    const range = this.scale.getVisibleLogicalRange();
    const candles = this.candles();
    if (!range || !candles?.length) return { from: otherwise.from, to: otherwise.to };
    return { from: Math.max(candles.timeAt(range.from), 0), to: candles.timeAt(range.to) };
  }

  xOf(time) {
    const candles = this.candles();
    return candles?.length ? this.xOfPlace(candles.placeOf(time) - 0.5) : null;
  }

  // The library answers for whole candles alone.
  xOfPlace(place) {
    const low = Math.floor(place);
    const [left, right] = [this.scale.logicalToCoordinate(low), this.scale.logicalToCoordinate(low + 1)];
    return left === null || right === null ? null : left + (place - low) * (right - left);
  }

  timeAt(x) {
    const logical = this.scale.coordinateToLogical(x);
    const [left, right] = [this.scale.logicalToCoordinate(logical), this.scale.logicalToCoordinate(logical + 1)];
    return this.candles().timeAt(logical + 0.5 + (x - left) / (right - left));
  }
}
