"""Triple barriers of a million events, compared with a loop over pandas slices that gives the same labels.

Bars of 100 symbols over 10,000 minutes each, an event at every one of them; barriers at one target, or after 30 minutes.
The pandas side labels the first 2,000 events, as snippets 3.2 and 3.4 of López de Prado (2018) do: a slice of the path for
each event, and the first bar beyond each barrier. Both sides see closes alone, so that labels can be compared.

    python -m benchmarks.tape.triple_barrier [events]
"""

import sys

import numpy as np
import pandas as pd
import polars as pl

from benchmarks.measuring import median_seconds
from tapewatch.labels.barriers.barriers import BarrierRules, triple_barrier
from tapewatch.market.instruments import NS_PER_MINUTE
from tapewatch.market.tables.tape import SYMBOL, TIME

EVENTS = 1_000_000
SYMBOLS = 100
PANDAS_EVENTS = 2_000
START_NS = 1_717_421_400_000_000_000
RULES = BarrierRules()


def made(events: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Bars whose four prices are the close, and an event at the end of each."""
    minutes = events // SYMBOLS
    rng = np.random.default_rng(7)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 5e-4, (SYMBOLS, minutes)), axis=1)).ravel()
    names = np.repeat([f"S{index:03d}" for index in range(SYMBOLS)], minutes)
    start = START_NS + np.tile(np.arange(minutes), SYMBOLS) * NS_PER_MINUTE
    bars = pl.DataFrame({"symbol": names, "time": start, **dict.fromkeys(("open", "high", "low", "close"), close)})
    bars = bars.with_columns(pl.col("symbol").cast(SYMBOL), pl.col("time").cast(TIME))
    at = (pl.col("time").to_physical() + NS_PER_MINUTE).cast(TIME)
    return bars, bars.select("symbol", event_time=at, price="close", volatility_bps=pl.lit(5.0))


def by_pandas(close: pd.Series, events: pd.DatetimeIndex) -> list[int]:
    """The label of each event, 2 where the tape ends before."""
    target = max(5.0 * np.sqrt(RULES.vertical_minutes), RULES.floor_bps) / 1e4
    labels = []
    for event in events:
        deadline = event + pd.Timedelta(minutes=RULES.vertical_minutes)
        path = close[event:deadline]
        moves = np.log(path / close[event])
        up, down = moves[moves >= target].index.min(), moves[moves <= -target].index.min()
        first = pd.Series([up, down], index=[1, -1]).dropna()
        if first.empty:
            labels.append(0 if close.index[-1] >= deadline else 2)
        else:
            labels.append(int(first.idxmin()))
    return labels


def main() -> None:
    """Print seconds, events a second, and the ratio of the two sides."""
    bars, events = made(int(sys.argv[1]) if len(sys.argv) > 1 else EVENTS)
    first = bars.filter(symbol="S000")
    ends = pd.to_datetime(first["time"].dt.epoch("ns").to_numpy() + NS_PER_MINUTE, utc=True)
    close = pd.Series(first["close"].to_numpy(), index=ends)
    some = events.head(PANDAS_EVENTS)
    wanted = [label for label in by_pandas(close, close.index[: some.height]) if label != 2]
    if triple_barrier(bars, events=some, rules=RULES)["label"].to_list() != wanted:
        raise AssertionError("the two sides disagree")
    sides = {
        "tapewatch": lambda: triple_barrier(bars, events=events, rules=RULES),
        "pandas slices": lambda: by_pandas(close, close.index[: some.height]),
    }
    seconds = median_seconds(sides, 3)
    rates = {"tapewatch": events.height / seconds["tapewatch"], "pandas slices": some.height / seconds["pandas slices"]}
    print(f"{'':16} {'events':>10} {'s':>7} {'events/s':>12} {'ratio':>8}")
    for (side, rate), count in zip(rates.items(), (events.height, some.height), strict=True):
        print(f"{side:16} {count:10,} {seconds[side]:7.2f} {rate:12,.0f} {rate / rates['pandas slices']:8,.0f}")


if __name__ == "__main__":
    main()
