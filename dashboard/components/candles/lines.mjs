// Volume, the day's VWAP and the bands, drawn from columns: only the candles are a series of the library.

import { FALLING, RISING } from "./format.mjs";

const BAND = "rgba(125, 135, 144, 0.7)";
const VWAP = "#f0a020";
// Of the pane's height.
const VOLUME_SHARE = 0.18;

export class Lines {
  constructor() {
    this.candles = null;
    const behind = (target) => target.useBitmapCoordinateSpace((scope) => this.#volume(scope));
    const above = (target) => target.useBitmapCoordinateSpace((scope) => this.#lines(scope));
    this.views = [
      { zOrder: () => "bottom", renderer: () => ({ draw: behind }) },
      { zOrder: () => "normal", renderer: () => ({ draw: above }) },
    ];
  }

  attached({ chart, series, requestUpdate }) {
    Object.assign(this, { chart, series, requestUpdate });
  }

  paneViews() {
    return this.views;
  }

  set(candles) {
    this.candles = candles;
    this.requestUpdate?.();
  }

  // The scale of prices takes in the lines that are seen.
  autoscaleInfo(first, last) {
    const [low, high] = this.#between(first, last);
    let [least, most] = [Infinity, -Infinity];
    for (const values of this.candles ? [this.candles.vwap, this.candles.upper, this.candles.lower] : []) {
      for (let i = low; i < high; i += 1) {
        if (values[i] < least) least = values[i];
        if (values[i] > most) most = values[i];
      }
    }
    return least <= most ? { priceRange: { minValue: least, maxValue: most } } : null;
  }

  #between(first, last) {
    const count = this.candles?.length ?? 0;
    return [Math.max(Math.floor(first), 0), Math.min(Math.ceil(last) + 1, count)];
  }

  // The candles that are seen, and the x of a place on the bitmap.
  #seen(ratio) {
    const scale = this.chart.timeScale();
    const range = scale.getVisibleLogicalRange();
    if (!range || !this.candles?.length) return null;
    const [low, high] = this.#between(range.from - 1, range.to + 1);
    const origin = scale.logicalToCoordinate(low);
    const spacing = scale.logicalToCoordinate(low + 1) - origin;
    return { low, high, spacing: spacing * ratio, x: (i) => (origin + (i - low) * spacing) * ratio };
  }

  #volume({ context, bitmapSize, horizontalPixelRatio }) {
    const seen = this.#seen(horizontalPixelRatio);
    if (seen === null) return;
    const { volume, open, close } = this.candles;
    let most = 0;
    for (let i = seen.low; i < seen.high; i += 1) most = Math.max(most, volume[i]);
    const width = Math.max(Math.floor(seen.spacing * 0.8), 1);
    for (const [color, rises] of [[`${RISING}80`, true], [`${FALLING}80`, false]]) {
      context.fillStyle = color;
      for (let i = seen.low; i < seen.high; i += 1) {
        if (most === 0 || (close[i] >= open[i]) !== rises) continue;
        const height = (volume[i] / most) * VOLUME_SHARE * bitmapSize.height;
        context.fillRect(Math.round(seen.x(i) - width / 2), bitmapSize.height - height, width, height);
      }
    }
  }

  #lines({ context, horizontalPixelRatio, verticalPixelRatio }) {
    const seen = this.#seen(horizontalPixelRatio);
    if (seen === null) return;
    const { upper, lower, vwap } = this.candles;
    context.lineJoin = "round";
    for (const [values, color, width] of [[upper, BAND, 1], [lower, BAND, 1], [vwap, VWAP, 2]]) {
      context.beginPath();
      let isDrawing = false;
      for (let i = seen.low; i < seen.high; i += 1) {
        const y = Number.isNaN(values[i]) ? null : this.series.priceToCoordinate(values[i]);
        if (y === null) isDrawing = false;
        else {
          // The VWAP begins anew with each day: no line joins two of them.
          const goesOn = isDrawing && !(values === vwap && this.#isNewDay(i));
          context[goesOn ? "lineTo" : "moveTo"](seen.x(i), y * verticalPixelRatio);
          isDrawing = true;
        }
      }
      context.strokeStyle = color;
      context.lineWidth = width * verticalPixelRatio;
      context.stroke();
    }
  }

  #isNewDay(i) {
    const { times, minutes, step } = this.candles;
    return minutes < 240 && times[i] - times[i - 1] > 6 * step;
  }
}
