// The series of a chart: candles, volume, the day's VWAP and the bands.

import { decimals } from "./format.mjs";

const RISING = "#26a69a";
const FALLING = "#ef5350";

// `library` is lightweight-charts. Returns the chart's series by name.
export function addSeries(chart, library) {
  const { CandlestickSeries, HistogramSeries, LineSeries } = library;
  const line = (color, width = 1) => chart.addSeries(LineSeries, {
    color, lineWidth: width, priceLineVisible: false, lastValueVisible: false, crosshairMarkerVisible: false,
  });
  const [upper, lower] = [line("rgba(125, 135, 144, 0.7)"), line("rgba(125, 135, 144, 0.7)")];
  const vwap = line("#f0a020", 2);
  const prices = chart.addSeries(CandlestickSeries, {
    upColor: RISING, borderUpColor: RISING, wickUpColor: RISING,
    downColor: FALLING, borderDownColor: FALLING, wickDownColor: FALLING,
  });
  const volume = chart.addSeries(HistogramSeries, {
    priceScaleId: "volume", priceFormat: { type: "volume" }, priceLineVisible: false, lastValueVisible: false,
  });
  volume.priceScale().applyOptions({ scaleMargins: { top: 0.82, bottom: 0 } });
  prices.priceScale().applyOptions({ scaleMargins: { top: 0.08, bottom: 0.22 } });
  return { upper, lower, vwap, prices, volume };
}

// Shows the first `count` candles; those after it keep their places.
export function fill({ upper, lower, vwap, prices, volume }, candles, count = candles.length) {
  const rows = (make) => Array.from({ length: candles.length }, (_, i) => ({ time: candles.times[i], ...(i < count ? make(i) : {}) }));
  const line = (values) => rows((i) => (Number.isNaN(values[i]) ? {} : { value: values[i] }));
  // The VWAP begins anew with each day: no line joins two of them.
  const isNewDay = (i) => i > 0 && candles.minutes < 240 && candles.times[i] - candles.times[i - 1] > 6 * candles.step;
  const precision = decimals(candles.close.at(-1));
  for (const series of [prices, vwap, upper, lower]) {
    series.applyOptions({ priceFormat: { type: "price", precision, minMove: 10 ** -precision } });
  }
  prices.setData(rows((i) => ({
    open: candles.open[i], high: candles.high[i], low: candles.low[i], close: candles.close[i],
  })));
  volume.setData(rows((i) => ({
    value: candles.volume[i], color: candles.close[i] >= candles.open[i] ? `${RISING}80` : `${FALLING}80`,
  })));
  upper.setData(line(candles.upper));
  lower.setData(line(candles.lower));
  vwap.setData(line(candles.vwap).map((point, i) => (isNewDay(i) ? { ...point, color: "transparent" } : point)));
}
