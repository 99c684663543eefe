"""Built-in labelled series for a streaming detector: the kinds of server, web, traffic and sensor series, made from a seed.

Each has what makes such series hard (daily and weekly rhythm, heavy tails, unlabelled bursts, drift, gaps) and one to three
labelled anomalies. The windows around an anomaly together make up a tenth of the series, as on NAB.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
_DAY = 86_400.0


@dataclass(frozen=True)
class Series:
    """Times in seconds, values, the anomalous rows, and the windows (first and last row) in which an alert counts."""

    name: str
    times: Floats
    values: Floats
    labels: npt.NDArray[np.bool_]
    windows: list[tuple[int, int]]


def _smooth(rng: np.random.Generator, n: int, keep: float) -> Floats:
    noise = rng.normal(size=n)
    out = np.empty(n)
    level = 0.0
    for at in range(n):
        level = keep * level + noise[at]
        out[at] = level
    return out * np.sqrt(1.0 - keep * keep)


def _daily(times: Floats, rng: np.random.Generator) -> Floats:
    phase = 2.0 * np.pi * (times / _DAY - rng.random())
    shape = np.cos(phase) + 0.4 * np.cos(2.0 * phase + rng.normal())
    return (shape - shape.min()) / (shape.max() - shape.min())


def _starts(rng: np.random.Generator, n: int, count: int) -> list[int]:
    """Starts of anomalies, apart from each other, after the first fifth."""
    edges = np.linspace(0.22, 0.95, count + 1)
    return [int(n * rng.uniform(a, a + 0.8 * (b - a))) for a, b in itertools.pairwise(edges)]


def _cpu(rng: np.random.Generator) -> tuple[float, Floats, list[tuple[int, int]]]:
    """A quiet CPU with small jobs; anomaly: a new level, or a burst far above the jobs."""
    n = 4032
    x = rng.uniform(1, 40) * (1.0 + 0.02 * rng.normal(size=n))
    jobs = rng.random(n) < 0.01
    x[jobs] *= 1.0 + rng.exponential(0.3, jobs.sum())
    spans = []
    for start in _starts(rng, n, 2):
        if rng.random() < 0.5:
            x[start:] *= rng.choice([0.6, 1.4, 2.0])
            spans.append((start, start + 100))
        else:
            length = int(rng.integers(2, 20))
            x[start : start + length] *= rng.uniform(3, 6)
            spans.append((start, start + length))
    return 300.0, x, spans


def _network(rng: np.random.Generator) -> tuple[float, Floats, list[tuple[int, int]]]:
    """Heavy-tailed traffic; anomaly: one transfer far larger, or many more transfers."""
    n = 4032
    base = rng.lognormal(0.0, 0.3, n)
    spikes = rng.random(n) < 0.03
    base[spikes] += rng.pareto(2.2, spikes.sum()) * 5.0
    spans = []
    for start in _starts(rng, n, 2):
        length = int(rng.integers(1, 60))
        at = np.arange(start, start + length)
        base[at] += rng.pareto(2.2, length) * 5.0 + (base[: n // 5].max() if length < 8 else 5.0)
        spans.append((start, start + length - 1))
    return 300.0, 1e5 * base, spans


def _requests(rng: np.random.Generator) -> tuple[float, Floats, list[tuple[int, int]]]:
    """Counts with a daily rhythm and bursts; anomaly: a far larger burst, or half a day without the rhythm."""
    n = 4032
    times = 300.0 * np.arange(n)
    rate = 20.0 + 120.0 * _daily(times, rng)
    x = rng.poisson(rate * rng.lognormal(0.0, 0.25, n)).astype(float)
    bursts = rng.random(n) < 0.004
    x[bursts] *= rng.uniform(1.5, 2.5, bursts.sum())
    spans = []
    for start in _starts(rng, n, 2):
        if rng.random() < 0.5:
            x[start : start + 3] += 4.0 * rate.max()
            spans.append((start, start + 2))
        else:
            x[start : start + 140] = rng.poisson(0.3 * rate.mean(), 140)
            spans.append((start, start + 139))
    return 300.0, x, spans


def _exchange(rng: np.random.Generator) -> tuple[float, Floats, list[tuple[int, int]]]:
    """Hourly prices of advertisements: noisy, a weak daily rhythm; anomaly: a spike of a few hours."""
    n = 1640
    x = 0.1 * (1.0 + 0.5 * _daily(3600.0 * np.arange(n), rng)) * rng.lognormal(0.0, 0.25, n)
    spans = []
    for start in _starts(rng, n, 2):
        length = int(rng.integers(1, 5))
        x[start : start + length] *= rng.uniform(4, 9)
        spans.append((start, start + length - 1))
    return 3600.0, x, spans


def _rides(rng: np.random.Generator) -> tuple[float, Floats, list[tuple[int, int]]]:
    """Half-hourly demand with a day and a week; anomaly: a day that is not like its weekday."""
    n = 48 * 150
    times = 1800.0 * np.arange(n)
    day = np.floor(times / _DAY).astype(int)
    weekend = day % 7 >= 5
    usual, late = _daily(times, rng), _daily(times, rng)
    level = 1.0 + 0.1 * _smooth(rng, n, 0.999)
    x = level * np.where(weekend, 0.4 + 0.7 * late, 0.3 + usual) * rng.lognormal(0.0, 0.04, n)
    spans = []
    for start in _starts(rng, n, 3):
        first = start // 48 * 48
        length = int(rng.choice([24, 48, 72]))
        rows = slice(first, first + length)
        x[rows] = x[rows] * rng.choice([0.45, 0.6, 1.5]) if rng.random() < 0.6 else np.roll(x[rows], 12)
        spans.append((first, first + length - 1))
    return 1800.0, 1e4 * x, spans


def _sensor(rng: np.random.Generator) -> tuple[float, Floats, list[tuple[int, int]]]:
    """A slowly wandering temperature; anomaly: a fall in an hour, or an oscillation."""
    n = 8000
    x = 70.0 + 3.0 * _daily(300.0 * np.arange(n), rng) + 4.0 * _smooth(rng, n, 0.998) + 0.4 * rng.normal(size=n)
    spans = []
    for start in _starts(rng, n, 2):
        length = int(rng.integers(60, 300))
        shape = np.sin(np.linspace(0.0, np.pi, length)) ** 0.5
        if rng.random() < 0.6:
            x[start : start + length] -= rng.uniform(15, 35) * shape
        else:
            x[start : start + length] += rng.uniform(4, 8) * np.sin(np.arange(length) / 2.0)
        spans.append((start, start + length - 1))
    return 300.0, x, spans


def _traffic(rng: np.random.Generator) -> tuple[float, Floats, list[tuple[int, int]]]:
    """Speeds at uneven times, with rush hours of uneven depth; anomaly: a jam at another hour."""
    n = 2500
    x = 70.0 - 25.0 * _daily(600.0 * np.arange(n), rng) ** 4 + 4.0 * rng.normal(size=n)
    dips = rng.random(n) < 0.01
    x[dips] -= rng.uniform(5, 25, dips.sum())
    spans = []
    for start in _starts(rng, n, 2):
        length = int(rng.integers(6, 40))
        x[start : start + length] = rng.uniform(10, 25) + 3.0 * rng.normal(size=length)
        spans.append((start, start + length - 1))
    return 600.0, np.maximum(x, 0.0), spans


def _mentions(rng: np.random.Generator) -> tuple[float, Floats, list[tuple[int, int]]]:
    """Counts of messages with a day and bursts that decay; anomaly: a burst far larger."""
    n = 12_000
    rate = 8.0 + 30.0 * _daily(300.0 * np.arange(n), rng)
    for at in np.flatnonzero(rng.random(n) < 0.002):
        tail = np.arange(min(30, n - at))
        rate[at : at + len(tail)] += rng.pareto(3.0) * 25.0 * np.exp(-tail / 6.0)
    spans = []
    for start in _starts(rng, n, 3):
        tail = np.arange(80)
        rate[start : start + 80] += rng.uniform(300, 900) * np.exp(-tail / 15.0)
        spans.append((start, start + 60))
    return 300.0, rng.poisson(rate).astype(float), spans


def _memory(rng: np.random.Generator) -> tuple[float, Floats, list[tuple[int, int]]]:
    """Use of memory in steps, with a slow leak; anomaly: another slope, or noise."""
    n = 5000
    x = 30.0 + 0.002 * np.arange(n) + 0.05 * rng.normal(size=n)
    for at in rng.integers(0, n, 6):
        x[at:] += 0.3 * rng.normal()
    spans = []
    for start in _starts(rng, n, 2):
        length = int(rng.integers(80, 200))
        change = np.linspace(0.0, 8.0, length) if rng.random() < 0.5 else rng.normal(size=length)
        x[start : start + length] += change
        spans.append((start, start + length - 1))
    return 300.0, x, spans


def _pattern(rng: np.random.Generator) -> tuple[float, Floats, list[tuple[int, int]]]:
    """A beat without timestamps of its own; anomaly: a beat of another shape, missing, or reversed."""
    n, period = 8000, int(rng.integers(40, 200))
    phase = (np.arange(n) + 2.0 * _smooth(rng, n, 0.99)) % period / period
    width = rng.uniform(0.03, 0.1)
    x = (
        np.exp(-(((phase - 0.3) / width) ** 2))
        - 0.4 * np.exp(-(((phase - 0.55) / 0.1) ** 2))
        + 0.03 * rng.normal(size=n)
    )
    spans = []
    for start in _starts(rng, n, 2):
        rows = slice(start, start + period)
        kind = rng.integers(0, 3)
        x[rows] = x[rows][::-1] if kind == 0 else (0.3 * x[rows] if kind == 1 else np.roll(x[rows], period // 4) + 0.3)
        spans.append((start, start + period - 1))
    return 1.0, x, spans


def _daily_art(rng: np.random.Generator) -> tuple[float, Floats, list[tuple[int, int]]]:
    """A square day of little noise; anomaly: a day that is flat, higher, lower, or at another hour."""
    n = 4032
    hour = np.arange(n) % 288 / 12.0
    on = (hour >= 9) & (hour < 18)
    x = np.where(on, 80.0, 20.0) + rng.uniform(0, 8, n)
    start = int(rng.integers(8, 12)) * 288
    rows = np.arange(start, start + 288)
    kind = rng.integers(0, 4)
    if kind == 0:
        x[rows] = 20.0 + rng.uniform(0, 8, 288)
    elif kind == 1:
        x[rows[on[rows]]] += 40.0
    elif kind == 2:
        x[rows[on[rows]]] -= 40.0
    else:
        x[rows] = np.roll(x[rows], -100)
    return 300.0, x, [(start + 108, start + 215)]


def _still(rng: np.random.Generator) -> tuple[float, Floats, list[tuple[int, int]]]:
    """Nothing anomalous: noise alone, or a rhythm alone."""
    n = 4032
    x = rng.normal(size=n) if rng.random() < 0.5 else 50.0 * _daily(300.0 * np.arange(n), rng) + rng.normal(size=n)
    return 300.0, x, []


_KINDS: dict[str, Callable[[np.random.Generator], tuple[float, Floats, list[tuple[int, int]]]]] = {
    "cpu": _cpu,
    "network": _network,
    "requests": _requests,
    "exchange": _exchange,
    "rides": _rides,
    "sensor": _sensor,
    "traffic": _traffic,
    "mentions": _mentions,
    "memory": _memory,
    "pattern": _pattern,
    "square day": _daily_art,
    "still": _still,
}


def series(seed: int, each: int = 3) -> Iterator[Series]:
    """`each` series of every kind; the same seed gives the same series."""
    for at, (kind, make) in enumerate(_KINDS.items()):
        for number in range(each):
            rng = np.random.default_rng([seed, at, number])
            step, values, spans = make(rng)
            times = (
                1.4e9
                + step * np.arange(len(values))
                + (rng.uniform(0, step / 2, len(values)) if kind == "traffic" else 0)
            )
            labels = np.zeros(len(values), dtype=bool)
            windows = []
            half = max(int(0.05 * len(values) / max(len(spans), 1)), 1)
            for first, last in spans:
                labels[first : last + 1] = True
                windows.append((max(first - half // 2, 0), min(max(first + half * 3 // 2, last), len(values) - 1)))
            yield Series(f"{kind} {number + 1}", times, values, labels, windows)
