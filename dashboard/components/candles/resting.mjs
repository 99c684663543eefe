// Says which stretch a person came to rest at: soon to the page and its link, later to the script.

// A report runs a part of the page's script, which would hold up the next views: it waits until a person stays.
const [SETTLED_MS, RESTED_MS] = [350, 1200];

export class Resting {
  // `seen()` gives the stretch in seconds, `show(stretch)` writes it on the page, `report(stretch)` to the script, in whole seconds. `isOwn()`: whether
  // the link and the script follow this chart.
  constructor({ seen, show, report, isOwn }) {
    Object.assign(this, { seen, show, report, isOwn });
  }

  moved() {
    this.stop();
    this.settling = setTimeout(() => this.settle(), SETTLED_MS);
    this.resting = setTimeout(() => this.#rest(), RESTED_MS);
  }

  // The first stretch is the one that the link or the script has asked for.
  settle() {
    const stretch = this.seen();
    this.show(stretch);
    const { from, to } = rounded(stretch);
    this.reported ??= `${from} ${to}`;
    if (!this.isOwn() || this.reported === `${from} ${to}`) return;
    const address = new URL(window.location);
    address.searchParams.set("from", from);
    address.searchParams.set("to", to);
    window.history.replaceState(window.history.state, "", address);
  }

  #rest() {
    const stretch = rounded(this.seen());
    const said = `${stretch.from} ${stretch.to}`;
    if (!this.isOwn() || this.reported === said) return;
    this.reported = said;
    this.report(stretch);
  }

  stop() {
    clearTimeout(this.settling);
    clearTimeout(this.resting);
  }
}

function rounded({ from, to }) {
  return { from: Math.round(from), to: Math.round(to) };
}
