// How a chart looks and how it writes times and prices.

export const RISING = "#26a69a";
export const FALLING = "#ef5350";
const GRID = "rgba(128, 140, 150, 0.16)";

// The page's colours and the chosen zone as options of a chart, and the format of a time with its day.
export function look(style, { zone, is_compact: isCompact }) {
  const of = (name, otherwise) => style.getPropertyValue(name).trim() || otherwise;
  const format = (options) => new Intl.DateTimeFormat("en-GB", { timeZone: zone, hour12: false, ...options });
  const full = format({ year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" });
  // In the order of the library's kinds of ticks: year, month, day, time, time with seconds.
  const ticks = [
    format({ year: "numeric" }), format({ month: "short", year: "numeric" }), format({ day: "numeric", month: "short" }),
    format({ hour: "2-digit", minute: "2-digit" }), format({ hour: "2-digit", minute: "2-digit", second: "2-digit" }),
  ];
  const options = {
    layout: {
      background: { color: of("--st-background-color", "#ffffff") }, textColor: of("--st-text-color", "#31333f"),
      fontSize: isCompact ? 10 : 12, fontFamily: of("--st-font", "sans-serif"), attributionLogo: !isCompact,
    },
    grid: { vertLines: { color: GRID }, horzLines: { color: GRID } },
    timeScale: { timeVisible: true, borderVisible: false, tickMarkFormatter: (time, kind) => ticks[kind].format(time * 1000) },
    localization: { timeFormatter: (time) => full.format(time * 1000) },
  };
  return { full, options };
}

// A stretch in seconds as text, with its zone; `full` is the format of a time with its day.
export function stretch(full, zone, from, to) {
  const [start, end] = [from, to].map((time) => full.format(time * 1000));
  const place = zone.split("/").at(-1).replaceAll("_", " ");
  const [day, time] = end.split(", ");
  return `${start} – ${start.startsWith(day) ? time : end} ${place === "UTC" ? place : `${place} time`}`;
}

export function width(minutes) {
  if (minutes % 1440 === 0) return `${minutes / 1440} d a candle`;
  return minutes % 60 === 0 ? `${minutes / 60} h a candle` : `${minutes} min a candle`;
}

export function decimals(value) {
  const size = Math.abs(value ?? 1);
  if (size >= 100) return 2;
  return size >= 1 ? 4 : 6;
}

export function price(value) {
  return value.toPrecision(Math.abs(value) >= 1000 ? 7 : 6).replace(/\.?0+$/, "");
}

export function save(address, name) {
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
}
