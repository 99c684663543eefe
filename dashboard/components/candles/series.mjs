// The candles of a chart, with volume, VWAP and bands.

import { FALLING, RISING, decimals } from "./format.mjs";
import { Lines } from "./lines.mjs";

export class Series {
  // `library` is lightweight-charts.
  constructor(chart, library) {
    this.prices = chart.addSeries(library.CandlestickSeries, {
      upColor: RISING, borderUpColor: RISING, wickUpColor: RISING,
      downColor: FALLING, borderDownColor: FALLING, wickDownColor: FALLING,
      // Its label on the scale is of the last candle that is seen, too.
      priceLineSource: library.PriceLineSource.LastVisible,
    });
    this.prices.priceScale().applyOptions({ scaleMargins: { top: 0.08, bottom: 0.22 } });
    this.lines = new Lines();
    this.prices.attachPrimitive(this.lines);
  }

  fill(candles) {
    const { times, open, high, low, close } = candles;
    this.#round(decimals(close.at(-1)));
    const rows = new Array(times.length);
    for (let i = 0; i < rows.length; i += 1) {
      rows[i] = { time: times[i], open: open[i], high: high[i], low: low[i], close: close[i] };
    }
    this.prices.setData(rows);
    this.lines.set(candles);
  }

  // Puts what a live bar says in the place of the last candle.
  revise(candles, bar) {
    const last = candles.length - 1;
    for (const name of ["open", "high", "low", "close", "volume"]) candles[name][last] = bar[name];
    this.prices.update({ time: bar.time, open: bar.open, high: bar.high, low: bar.low, close: bar.close });
    this.lines.set(candles);
  }

  #round(precision) {
    if (precision === this.precision) return;
    this.precision = precision;
    this.prices.applyOptions({ priceFormat: { type: "price", precision, minMove: 10 ** -precision } });
  }
}
