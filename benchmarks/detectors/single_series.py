"""The streaming watch of single series beside simple baselines, by two boards' measures, and the time an update takes.

Run: python -m benchmarks.detectors.single_series [--seeds S ...] [--nab DIR] [--tsb-ad DIR] [--parts]. Without folders it judges the
built-in labelled series. `--nab` names a checkout of the Numenta Anomaly Benchmark (its `data` and `labels`), `--tsb-ad` a
folder of TSB-AD-U's CSVs (columns Data and Label). Nothing is fitted to either: the detector has no training.
"""

import argparse
import csv
import json
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from benchmarks.detectors.series_boards import PROFILES, Floats, Labelled, nab_score, vus_pr
from benchmarks.detectors.series_corpus import Series, series
from models.single.rows import time_of
from models.single.watch import PARTS, SeriesWatch

Detector = Callable[[Series], Floats]


def watched(given: Series) -> Floats:
    """Our scores."""
    return SeriesWatch().scan(given.values, given.times)


def at_random(given: Series) -> Floats:
    """Scores without any relation to the series."""
    return np.random.default_rng(len(given.values)).random(len(given.values))


def static_threshold(given: Series) -> Floats:
    """The distance from the median of the first 15 % of rows, in median absolute deviations."""
    first = given.values[: max(int(0.15 * len(given.values)), 10)]
    middle = np.nanmedian(first)
    return np.nan_to_num(np.abs(given.values - middle) / (np.nanmedian(np.abs(first - middle)) + 1e-9))


def ewma_z(given: Series) -> Floats:
    """The distance from an exponentially weighted mean (of about 100 rows) in exponentially weighted deviations."""
    out = np.zeros(len(given.values))
    mean, variance = given.values[0], 0.0
    for row, value in enumerate(given.values):
        off = value - mean
        out[row] = abs(off) / np.sqrt(variance + 1e-12) if row > 40 else 0.0
        mean += 0.01 * off
        variance += 0.01 * (off * off - variance)
    return np.nan_to_num(out)


def windowed_gaussian(given: Series) -> Floats:
    """One minus the tail probability of a normal distribution of the last 6,400 rows, refreshed every 20."""
    out = np.zeros(len(given.values))
    mean, deviation = 0.0, 1.0
    for row, value in enumerate(given.values):
        if row >= 20 and row % 20 == 0:
            window = given.values[max(row - 6400, 0) : row]
            mean, deviation = float(np.nanmean(window)), float(np.nanstd(window)) + 1e-9
        out[row] = abs(value - mean) / deviation if row >= 20 else 0.0
    return np.nan_to_num(out)


DETECTORS: dict[str, Detector] = {
    "watch": watched,
    "windowed Gaussian": windowed_gaussian,
    "EWMA z-score": ewma_z,
    "static threshold": static_threshold,
    "random": at_random,
}


def part(number: int) -> Detector:
    """One statistic's surprise alone."""

    def scores(given: Series) -> Floats:
        watch = SeriesWatch()
        out = np.zeros(len(given.values))
        for row, (at, value) in enumerate(zip(given.times, given.values, strict=True)):
            watch.update(value, at)
            out[row] = watch.surprises[0, number]
        return out

    return scores


def nab_corpus(folder: Path) -> Iterator[Series]:
    """The series of a checkout of NAB, with its combined windows."""
    windows = json.loads((folder / "labels" / "combined_windows.json").read_text())
    for name, spans in sorted(windows.items()):
        with (folder / "data" / name).open() as file:
            rows = list(csv.DictReader(file))
        times = np.array([time_of(row["timestamp"]) for row in rows])
        inside = [
            (int(np.searchsorted(times, time_of(first))), int(np.searchsorted(times, time_of(last), side="right")) - 1)
            for first, last in spans
        ]
        labels = np.zeros(len(rows), dtype=bool)
        for first, last in inside:
            labels[first : last + 1] = True
        yield Series(name, times, np.array([float(row["value"]) for row in rows]), labels, inside)


def tsb_corpus(folder: Path) -> Iterator[Series]:
    """The series of a folder of TSB-AD-U."""
    for path in sorted(folder.glob("*.csv")):
        with path.open() as file:
            rows = list(csv.DictReader(file))
        values = np.array([float(row["Data"]) for row in rows])
        labels = np.array([float(row["Label"]) > 0 for row in rows])
        yield Series(path.stem, np.arange(len(rows), dtype=float), values, labels, [])


def cycle_of(values: Floats) -> int:
    """A series' dominant period by autocorrelation, 125 where it has none: the longest buffer, as TSB-AD sets it."""
    off = np.nan_to_num(values[:20_000] - np.nanmean(values[:20_000]))
    spectrum = np.fft.rfft(off, 2 * len(off))
    correlation = np.fft.irfft(np.abs(spectrum) ** 2)[: min(400, len(off))]
    inner = correlation[3:-1]
    peaks = np.flatnonzero((inner > correlation[2:-2]) & (inner > correlation[4:])) + 3
    if not len(peaks):
        return 125
    best = int(peaks[np.argmax(correlation[peaks])])
    return best if 3 < best < 300 else 125


def judge(name: str, corpus: list[Series], detectors: dict[str, Detector]) -> None:
    """Print a table of what each detector reaches."""
    print(f"{name}: {len(corpus)} series, {sum(len(each.values) for each in corpus):,} rows")
    windowed = any(each.windows for each in corpus)
    heads = [f"NAB {profile}" for profile in PROFILES] if windowed else []
    print(f"{'':20}" + "".join(f"{head:>20}" for head in [*heads, "VUS-PR", "ratio to EWMA"]))
    reached: dict[str, tuple[list[float], float]] = {}
    for label, detector in detectors.items():
        scored = [detector(each) for each in corpus]
        points = [
            nab_score([Labelled(one, each.windows) for one, each in zip(scored, corpus, strict=True)], profile)[0]
            for profile in (PROFILES.values() if windowed else ())
        ]
        volumes = [
            vus_pr(one, each.labels, cycle_of(each.values), steps=4)
            for one, each in zip(scored, corpus, strict=True)
            if each.labels.any()
        ]
        reached[label] = points, float(np.mean(volumes))
    base = reached["EWMA z-score"][1] if "EWMA z-score" in reached else float("nan")
    for label, (points, volume) in reached.items():
        print(f"{label:20}" + "".join(f"{point:20.1f}" for point in points) + f"{volume:20.3f}{volume / base:20.1f}")
    print()


def cpu_us(run: Callable[[], object], updates: int) -> float:
    """The least processor time of five runs, in microseconds an update: other programs lengthen the wall time."""
    taken = []
    for _ in range(5):
        start = time.process_time()
        run()
        taken.append(time.process_time() - start)
    return 1e6 * min(taken) / updates


def timings() -> None:
    """Print the processor time of an update, of one series and of a thousand at once, beside an EWMA z-score in Python."""
    values = np.random.default_rng(0).normal(size=20_000)
    times = 1.7e9 + 60.0 * np.arange(len(values))
    given = Series("noise", times, values, np.zeros(len(values), dtype=bool), [])
    many = SeriesWatch(1000)
    rows = values.reshape(20, 1000)

    def thousand() -> None:
        for row, at in zip(rows, times, strict=False):
            many.update(row, at)

    sides = {"one series": lambda: watched(given), "1,000 series": thousand, "EWMA in Python": lambda: ewma_z(given)}
    for run in sides.values():
        run()
    taken = {label: cpu_us(run, len(values)) for label, run in sides.items()}
    for label, each in taken.items():
        print(f"{label:20}{each:8.2f} µs an update{each / taken['EWMA in Python']:8.2f} of the EWMA's")


def plot(corpus: list[Series], path: Path) -> None:
    """Draw one series of each kind with its windows, and its scores below."""
    import matplotlib as mpl  # noqa: PLC0415

    mpl.use("Agg")
    import matplotlib.pyplot as plt  # noqa: PLC0415

    kinds = [each for each in corpus if each.name.rsplit(" ", 1)[0] in {"requests", "rides", "sensor", "mentions"}]
    shown = list({each.name.rsplit(" ", 1)[0]: each for each in reversed(kinds)}.values())[::-1]
    figure, axes = plt.subplots(2 * len(shown), 1, figsize=(11, 2.6 * len(shown)), height_ratios=[2, 1] * len(shown))
    for at, each in enumerate(shown):
        above, below = axes[2 * at], axes[2 * at + 1]
        above.plot(each.values, linewidth=0.6, color="#30475e")
        above.set_title(each.name.rsplit(" ", 1)[0], loc="left", fontsize=9)
        below.plot(-np.log10(1.0 - watched(each)), linewidth=0.6, color="#b03a2e")
        below.set_ylabel("-log10(1 - score)", fontsize=7)
        for axis in (above, below):
            axis.margins(x=0)
            axis.tick_params(labelsize=7)
            for first, last in each.windows:
                axis.axvspan(first, last, color="#f0c419", alpha=0.3, linewidth=0)
    figure.tight_layout()
    figure.savefig(path, dpi=80)


def main() -> None:
    """Judge every detector on the built-in series, or on the folders that are given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[11, 12], help="seeds of the built-in series")
    parser.add_argument("--nab", type=Path, metavar="DIR", help="a checkout of the Numenta Anomaly Benchmark")
    parser.add_argument("--tsb-ad", type=Path, metavar="DIR", help="a folder of TSB-AD-U's CSVs")
    parser.add_argument("--parts", action="store_true", help="judge each statistic alone, too")
    parser.add_argument("--plot", type=Path, metavar="PNG", help="draw built-in series with their scores, and stop")
    given = parser.parse_args()
    if given.plot:
        plot(list(series(given.seeds[0], 1)), given.plot)
        return
    detectors = DETECTORS | ({name: part(at) for at, name in enumerate(PARTS)} if given.parts else {})
    corpora: list[tuple[str, Iterable[Series]]] = []
    if given.nab:
        corpora.append(("NAB", nab_corpus(given.nab)))
    if given.tsb_ad:
        corpora.append(("TSB-AD-U", tsb_corpus(given.tsb_ad)))
    if not corpora:
        corpora.append(("built-in", (each for seed in given.seeds for each in series(seed, 2))))
    for name, corpus in corpora:
        judge(name, list(corpus), detectors)
    timings()


if __name__ == "__main__":
    main()
