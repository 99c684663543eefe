// Reads candles from the server as Arrow, and places times among them.

const scripts = new Map();

// Loads a library once; `read` waits for it.
export function script(address) {
  if (!scripts.has(address)) {
    scripts.set(address, new Promise((resolve, reject) => {
      const element = document.createElement("script");
      element.src = address;
      element.onload = resolve;
      element.onerror = () => reject(new Error(`${address} cannot be loaded`));
      document.head.append(element);
    }));
  }
  return scripts.get(address);
}

export class Candles {
  // `times` in seconds, ascending; the other columns are as long.
  constructor(columns, minutes, first, last) {
    Object.assign(this, columns, { minutes, first, last, step: minutes * 60 });
  }

  get length() {
    return this.times.length;
  }

  // The place of a time among the candles, as a fraction; beyond both ends it goes on in steps of a candle.
  placeOf(time) {
    const { times, step } = this;
    const last = times.length - 1;
    if (last < 0) return 0;
    if (time <= times[0]) return (time - times[0]) / step;
    if (time >= times[last]) return last + (time - times[last]) / step;
    let low = 0;
    let high = last;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (times[middle] <= time) low = middle;
      else high = middle;
    }
    return low + Math.min((time - times[low]) / Math.min(times[high] - times[low], step), 1);
  }

  timeAt(place) {
    const { times, step } = this;
    const last = times.length - 1;
    if (last < 0) return 0;
    if (place <= 0) return times[0] + place * step;
    if (place >= last) return times[last] + (place - last) * step;
    const low = Math.floor(place);
    return times[low] + (place - low) * Math.min(times[low + 1] - times[low], step);
  }
}

// The columns of an Arrow reply by their names. The server sends one batch without nulls: a column is a view of the reply's bytes.
export async function columns(reply) {
  const table = globalThis.Arrow.tableFromIPC(new Uint8Array(await reply.arrayBuffer()));
  const named = (names) => Object.fromEntries(names.map((name) => [name, table.getChild(name)?.toArray() ?? new Float64Array()]));
  return { named, metadata: table.schema.metadata };
}

export async function read(assets, arrow, query, signal) {
  const [reply] = await Promise.all([got(`/tape/candles?${new URLSearchParams(query)}`, signal), script(assets + arrow)]);
  const { named, metadata } = await columns(reply);
  const { time, ...rest } = named(["time", "open", "high", "low", "close", "volume", "vwap", "upper", "lower"]);
  const [minutes, first, last] = ["minutes", "first", "last"].map((name) => Number(metadata.get(name)));
  return new Candles({ times: time, ...rest }, minutes, first, last);
}

// What happened during candles; what was read once is not read again until `forget`.
export class Marks {
  // As many as the server gives at once: of a fuller stretch it has left some out.
  static MOST = 400;

  forget() {
    this.kept = null;
  }

  async during(candles, { market, symbol }, signal) {
    if (!candles.length) return [];
    const [from, to] = [candles.times[0], candles.times.at(-1) + candles.step];
    const { kept } = this;
    if (kept?.market === market && kept.symbol === symbol && kept.from <= from && kept.to >= to) return kept.marks;
    const marks = await (await got(`/tape/marks?${new URLSearchParams({ market, symbol, from, to })}`, signal)).json();
    if (marks.length < Marks.MOST) this.kept = { market, symbol, from, to, marks };
    return marks;
  }
}

async function got(address, signal) {
  const reply = await fetch(address, { signal, credentials: "same-origin" });
  if (!reply.ok) throw new Error(reply.status === 401 ? "you are logged out: load the page again" : await reply.text());
  return reply;
}
