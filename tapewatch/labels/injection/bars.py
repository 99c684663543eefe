"""Labelled anomalies put into a copy of minute bars, where a tape holds nothing else."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl

from tapewatch.labels.injection.distortions import JUMP_FLOOR_BPS, JUMP_VOLATILITIES, SPIKE_VOLUME, Floats
from tapewatch.labels.injection.injection import TO_CLOSE_NS, minute_volatility, placed
from tapewatch.labels.truth import TRUTH_EVENTS_SCHEMA
from tapewatch.market.instruments import NS_PER_MINUTE, Session

_LOOK_BACK_NS = 30 * NS_PER_MINUTE
_FEWEST_BARS = 10
#: A symbol with bars in a smaller share of the minutes before is silent by nature.
_REGULAR_SHARE = 0.8
_PRICES = ("open", "high", "low", "close")


@dataclass(frozen=True, slots=True)
class _Usual:
    """The half hour before: robust volatility of a minute (log), volume a minute, and share of minutes with a bar."""

    volatility: float
    volume: float
    share: float


_Distortion = Callable[[pl.DataFrame, _Usual, np.random.Generator], pl.DataFrame | None]


def inject_bars(
    bars: pl.DataFrame, session: Session, *, seed: int, per_symbol: int = 8, through_ns: int | None = None
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Put up to `per_symbol` anomalies into each symbol's regular minutes; other bars stay as they are.

    Kinds are price jumps, volatility bursts, outages and, where bars have a volume, volume spikes. Places are chosen as by
    `inject`; an anomaly whose half hour before has less than ten bars, or prices of zero or below, is left out.

    Args:
        bars: symbol, time (start), open, high, low, close, volume and any other columns; sorted by symbol and time.
        session: that day's hours.
        seed: of the random choices.
        per_symbol: anomalies wanted in each symbol.
        through_ns: the tape's end; by default that of the session.

    Returns:
        The distorted bars, and the truth (columns of `TRUTH_EVENTS_SCHEMA`).
    """
    last = min(session.regular_end, session.regular_end if through_ns is None else through_ns) - TO_CLOSE_NS
    parts, truth = [bars.clear()], list[dict[str, object]]()
    for (name,), own in bars.partition_by("symbol", as_dict=True, maintain_order=True).items():
        symbol, changed = str(name), own
        rng = np.random.default_rng([seed, session.date.toordinal(), zlib.crc32(symbol.encode())])
        has_volume = bool(own["volume"].sum())
        durations = {kind: length for kind, (_, length) in _DISTORTIONS.items() if has_volume or kind != "volume_spike"}
        for place in placed(session, last, per_symbol, durations, rng):
            start = place.start_ns - place.start_ns % NS_PER_MINUTE
            end = start + max((place.end_ns - place.start_ns) // NS_PER_MINUTE, 1) * NS_PER_MINUTE
            usual, stretch = _usual(own, start), _between(own, start, end)
            distorted = None
            if usual is not None and stretch.height and (stretch["low"] > 0).all():
                distorted = _DISTORTIONS[place.kind][0](stretch, usual, rng)
            if distorted is None:
                continue
            at = pl.col("time").to_physical()
            changed = pl.concat([changed.filter(at < start), distorted, changed.filter(at >= end)])
            event = {"symbol": symbol, "event_id": f"{symbol}-{session.date}-{len(truth):02d}", "kind": place.kind}
            truth.append({**event, "start_time": start, "end_time": end})
        parts.append(changed)
    return pl.concat(parts), pl.DataFrame(truth, schema=TRUTH_EVENTS_SCHEMA)


def _between(bars: pl.DataFrame, start: int, end: int) -> pl.DataFrame:
    return bars.filter(pl.col("time").to_physical().is_between(start, end, "left"))


def _usual(bars: pl.DataFrame, start: int) -> _Usual | None:
    before = _between(bars, start - _LOOK_BACK_NS, start)
    if before.height < _FEWEST_BARS or (before["close"] <= 0).any():
        return None
    minutes = _LOOK_BACK_NS / NS_PER_MINUTE
    volatility = minute_volatility(before.select("time", price="close"))
    return _Usual(volatility, before["volume"].to_numpy().sum() / minutes, before.height / minutes)


def _volume_spike(stretch: pl.DataFrame, usual: _Usual, rng: np.random.Generator) -> pl.DataFrame | None:
    """Volume, and trades where they are counted, many times the usual."""
    multiple = rng.uniform(*SPIKE_VOLUME)
    scale = multiple * usual.volume / np.maximum(stretch["volume"].to_numpy(), 1e-12)
    scaled = pl.Series(np.maximum(scale, 1.0))
    counts = (pl.col("transactions") * scaled).round().cast(pl.Int64)
    volumes = pl.col("volume") * scaled
    return stretch.with_columns(volumes, *([counts] if "transactions" in stretch.columns else []))


def _price_jump(stretch: pl.DataFrame, usual: _Usual, rng: np.random.Generator) -> pl.DataFrame | None:
    """Prices jump within the first minute and return within the last."""
    height = rng.choice([-1.0, 1.0]) * max(rng.uniform(*JUMP_VOLATILITIES) * usual.volatility, JUMP_FLOOR_BPS / 1e4)
    opening, closing = np.full((2, stretch.height), height)
    opening[0] = closing[-1] = 0.0
    return _moved(stretch, opening, closing)


def _volatility_burst(stretch: pl.DataFrame, usual: _Usual, rng: np.random.Generator) -> pl.DataFrame | None:
    """Each minute's close is thrown far from its usual place, to and fro, and comes back at the end."""
    swing = max(5.0 * usual.volatility, JUMP_FLOOR_BPS / 2e4)
    side = np.where(np.arange(stretch.height) % 2 == 0, 1.0, -1.0) * rng.choice([-1.0, 1.0])
    closing = side * swing * rng.uniform(0.7, 1.3, stretch.height)
    closing[-1] = 0.0
    return _moved(stretch, np.append(0.0, closing[:-1]), closing)


def _feed_outage(stretch: pl.DataFrame, usual: _Usual, _: np.random.Generator) -> pl.DataFrame | None:
    """No bars. None for a symbol that lacks many anyway."""
    return stretch.clear() if usual.share >= _REGULAR_SHARE else None


def _moved(stretch: pl.DataFrame, opening: Floats, closing: Floats) -> pl.DataFrame:
    """Opens and closes shifted (log); highs and lows go along with both."""
    shift = {
        "open": opening,
        "close": closing,
        "high": np.maximum(opening, closing),
        "low": np.minimum(opening, closing),
    }
    moved = stretch.with_columns(pl.Series(name, stretch[name].to_numpy() * np.exp(shift[name])) for name in _PRICES)
    return moved.with_columns(high=pl.max_horizontal(_PRICES), low=pl.min_horizontal(_PRICES))


#: Kind of anomaly to its distortion and its shortest and longest duration in minutes.
_DISTORTIONS: dict[str, tuple[_Distortion, tuple[float, float]]] = {
    "volume_spike": (_volume_spike, (2.0, 4.0)),
    "price_jump": (_price_jump, (2.0, 4.0)),
    "volatility_burst": (_volatility_burst, (4.0, 7.0)),
    "feed_outage": (_feed_outage, (6.0, 10.0)),
}
