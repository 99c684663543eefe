// Reads candles as a person pans and zooms: one request at a time, and after it the newest wish alone.

// The share of a view that lies ready beside it; with less, more is read before it is reached.
const READY = 0.5;

export class Loader {
  // `read(wish, signal)` gives candles, `show(candles, wish)` draws them, `fail(error)` reports what went wrong. A wish has `from` and
  // `to` in seconds and `moves`: whether the chart goes there, or a person is there already.
  constructor({ read, show, fail }) {
    Object.assign(this, { read, show, fail, reading: null, next: null });
  }

  ask(wish) {
    // On the way to another place, the former one needs nothing more.
    if (!wish.moves && (this.reading?.moves || this.next?.moves)) return;
    this.next = { ...wish, began: (wish.moves ? null : this.next?.began) ?? performance.now() };
    if (this.reading === null) this.#run();
    else if (wish.moves) this.abort.abort();
  }

  stop() {
    this.next = null;
    this.isStopped = true;
    this.abort?.abort();
  }

  async #run() {
    while (this.next) {
      [this.reading, this.next] = [this.next, null];
      this.abort = new AbortController();
      const { signal } = this.abort;
      try {
        const candles = await this.read(this.reading, signal);
        if (!signal.aborted) this.show(candles, this.reading);
      } catch (error) {
        if (!signal.aborted) this.fail(error);
      }
      this.reading = null;
    }
  }
}

// Whether a view (a range of places) of candles needs others: what lies beside it is not there, or they are too narrow or too wide for
// a frame that takes `most`.
export function lacks({ from, to }, candles, most) {
  const count = to - from;
  const { times, minutes, step } = candles;
  const lacksLeft = from < READY * count && times[0] > candles.first;
  const lacksRight = to > times.length - READY * count && times.at(-1) + step <= candles.last;
  return lacksLeft || lacksRight || count > most * 1.6 || (minutes > 1 && count < most / 6);
}
