"""Trades and quotes in memory → minute microstructure rows, against pandas and Polars doing the same work.

Run: python -m benchmarks.microstructure [--days N] [--rounds N]. Reads the recorded tick days where their folder is there,
else the synthetic market. The peers leave out VPIN; ours computes it. Each round runs all three in turn; the table shows medians.
"""

import argparse
import datetime as dt
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl

from benchmarks import microstructure_pandas, microstructure_polars
from tapewatch.emulator.synthetic.market import Synthetic
from tapewatch.features.microstructure import microstructure
from tapewatch.market.instruments import Market, Partition, Session, session_of
from tests.support.recorded import TICK_DAYS, recorded_quotes, recorded_trades

_ROOT = Path(os.environ.get("TAPEWATCH_MARKET_DATA", Path(__file__).resolve().parents[2] / "shared" / "market-data"))


def to_pandas(frame: pl.DataFrame) -> pd.DataFrame:
    """The frame as pandas would hold it: times int64, categories in lexical order."""
    columns: dict[str, object] = {}
    for name, dtype in frame.schema.items():
        if dtype == pl.Categorical():
            texts = frame[name].cast(pl.String).to_numpy()
            columns[name] = pd.Categorical(texts, categories=np.unique(texts[texts != None]))  # noqa: E711
        else:
            columns[name] = frame[name].to_physical().to_numpy()
    return pd.DataFrame(columns)


def share_symbols(trades: pd.DataFrame, quotes: pd.DataFrame) -> None:
    """Give both frames the same symbol categories, as joins ask for."""
    every = trades["symbol"].cat.categories.union(quotes["symbol"].cat.categories)
    for frame in (trades, quotes):
        frame["symbol"] = frame["symbol"].cat.set_categories(every)


def disagreements(rows: pl.DataFrame, peer: pd.DataFrame) -> dict[str, int]:
    """By column, how many values of a peer differ from ours by more than rounding (1e-7)."""
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
    if not _ROOT.is_dir():
        return [_synthetic_day(seed) for seed in range(count)]
    sessions = [session_of(Market.STOCKS, day) for day in TICK_DAYS[-count:]]
    return [
        (session, recorded_trades(_ROOT, session.date).rechunk(), recorded_quotes(_ROOT, session.date).rechunk())
        for session in sessions
        if session
    ]


def _synthetic_day(seed: int) -> tuple[Session, pl.DataFrame, pl.DataFrame]:
    market, partition = Synthetic(seed), Partition(dt.date(2024, 3, 5), Market.STOCKS)
    days = [market.day(symbol, partition.date, trades=150_000) for symbol in market.symbols(Market.STOCKS)]
    trades, quotes = pl.concat([day.trades for day in days]), pl.concat([day.quotes for day in days])
    return partition.session, trades.rechunk(), quotes.rechunk()


def _timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


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
                raise SystemExit(f"{name} disagrees, so the times compare nothing: {found}")
        seconds: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(options.rounds):
            for name, work in runs.items():
                seconds[name].append(_timed(work))
        ours = statistics.median(seconds["tapewatch"])
        ticks = trades.height + quotes.height
        print(f"{session.date}: {trades.height:,} trades, {quotes.height:,} quotes → {rows.height:,} rows")
        print(f"{'':12}{'seconds':>10}{'M ticks/s':>12}{'ratio':>8}")
        for name, times in seconds.items():
            median = statistics.median(times)
            print(f"{name:12}{median:10.4f}{ticks / median / 1e6:12.1f}{median / ours:8.1f}")


if __name__ == "__main__":
    main()
