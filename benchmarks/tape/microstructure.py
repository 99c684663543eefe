"""Trades and quotes in memory to minute microstructure rows, compared with the same computation in pandas and in Polars.

Run: python -m benchmarks.tape.microstructure [--days N] [--rounds N]. Reads the recorded tick days if their folder exists, else the
synthetic market. The peers leave out VPIN; ours computes it. The table shows medians.
"""

import argparse
import datetime as dt
from collections.abc import Callable

import numpy as np
import pandas as pd
import polars as pl

from benchmarks.measuring import MARKET_DATA, joined, median_seconds, synthetic_days
from benchmarks.tape import microstructure_pandas, microstructure_polars
from tapewatch.emulator.synthetic.market import Synthetic
from tapewatch.features.microstructure import microstructure
from tapewatch.market.instruments import Market, Partition, Session
from tests.support.recorded import TICK_DAYS, recorded_quotes, recorded_trades


def to_pandas(frame: pl.DataFrame) -> pd.DataFrame:
    """The frame in pandas: times as int64, categories in lexical order."""
    columns: dict[str, object] = {}
    for name, dtype in frame.schema.items():
        if dtype == pl.Categorical():
            texts = frame[name].cast(pl.String).to_numpy()
            columns[name] = pd.Categorical(texts, categories=np.unique(texts[texts != None]))  # noqa: E711
        else:
            columns[name] = frame[name].to_physical().to_numpy()
    return pd.DataFrame(columns)


def share_symbols(trades: pd.DataFrame, quotes: pd.DataFrame) -> None:
    """Give both frames the same symbol categories, as joins require."""
    every = trades["symbol"].cat.categories.union(quotes["symbol"].cat.categories)
    for frame in (trades, quotes):
        frame["symbol"] = frame["symbol"].cat.set_categories(every)


def disagreements(rows: pl.DataFrame, peer: pd.DataFrame) -> dict[str, int]:
    """The number of values of a peer, by column, that differ from ours by more than rounding (1e-7)."""
    peer = peer.assign(symbol=peer["symbol"].astype(str)).sort_values(["symbol", "event_time"])
    if not (rows["event_time"].to_physical().to_numpy() == peer["event_time"].to_numpy()).all():
        return {"event_time": rows.height}
    found = {}
    for name in rows.columns:
        if name in ("symbol", "event_time", "vpin"):
            continue
        ours = rows[name].to_physical().cast(pl.Float64).to_numpy()
        theirs = peer[name].to_numpy(dtype=np.float64, na_value=np.nan)
        differing = int((~np.isclose(ours, theirs, rtol=1e-7, atol=1e-7, equal_nan=True)).sum())
        if differing:
            found[name] = differing
    return found


def _days(count: int) -> list[tuple[Session, pl.DataFrame, pl.DataFrame]]:
    if not MARKET_DATA.is_dir():
        return [_synthetic_day(seed) for seed in range(count)]
    return [
        (
            Partition(day, Market.STOCKS).session,
            recorded_trades(MARKET_DATA, day).rechunk(),
            recorded_quotes(MARKET_DATA, day).rechunk(),
        )
        for day in TICK_DAYS[-count:]
    ]


def _synthetic_day(seed: int) -> tuple[Session, pl.DataFrame, pl.DataFrame]:
    partition = Partition(dt.date(2024, 3, 5), Market.STOCKS)
    trades, quotes, _ = joined(synthetic_days(Synthetic(seed), partition, trades=150_000))
    return partition.session, trades.rechunk(), quotes.rechunk()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    for session, trades, quotes in _days(options.days):
        pandas_trades, pandas_quotes = to_pandas(trades), to_pandas(quotes)
        share_symbols(pandas_trades, pandas_quotes)
        runs: dict[str, Callable[[], object]] = {
            "tapewatch": lambda t=trades, q=quotes, s=session: microstructure(t, q, s),
            "pandas": lambda t=pandas_trades, q=pandas_quotes, s=session: microstructure_pandas.microstructure(t, q, s),
            "polars": lambda t=trades, q=quotes, s=session: microstructure_polars.microstructure(t, q, s),
        }
        rows = microstructure(trades, quotes, session)
        peers = {"pandas": runs["pandas"](), "polars": to_pandas(runs["polars"]())}
        for name, peer in peers.items():
            if found := disagreements(rows, peer):
                raise SystemExit(f"{name} computes other values, so the times cannot be compared: {found}")
        seconds = median_seconds(runs, options.rounds)
        ticks = trades.height + quotes.height
        print(f"{session.date}: {trades.height:,} trades, {quotes.height:,} quotes → {rows.height:,} rows")
        print(f"{'':12}{'seconds':>10}{'M ticks/s':>12}{'ratio':>8}")
        for name, median in seconds.items():
            print(f"{name:12}{median:10.4f}{ticks / median / 1e6:12.1f}{median / seconds['tapewatch']:8.1f}")


if __name__ == "__main__":
    main()
