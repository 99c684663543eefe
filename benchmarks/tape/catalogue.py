"""The whole feature catalogue of a recorded day, on minutes and on bins of five seconds, compared with a part of it in pandas.

Run: python -m benchmarks.tape.catalogue [--rounds N]. Needs the recorded days. Ours computes bars, `microstructure`, `microstructure_more`,
`indicators`, `cross_asset`, `regimes` and `seasonality` with models of the two days before, and `bins_5s`, from trades and quotes in memory, on
all cores. What pandas leaves out is listed in `catalogue_pandas.py`, so the ratio is a lower bound. The fastest of the rounds counts.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import pandas as pd
import polars as pl

from benchmarks.measuring import MARKET_DATA
from benchmarks.tape import catalogue_pandas
from benchmarks.tape.microstructure import share_symbols, to_pandas
from tapewatch.bars.time_bars import minute_bars
from tapewatch.features.bins.batch import bins_5s
from tapewatch.features.cross_asset.correlations import correlations
from tapewatch.features.cross_asset.rows import cross_asset
from tapewatch.features.families.indicators import indicators
from tapewatch.features.families.rows import microstructure_more
from tapewatch.features.microstructure import microstructure
from tapewatch.features.regimes.blocks import block_panel
from tapewatch.features.regimes.hidden_markov import RegimeModel
from tapewatch.features.regimes.rows import regimes
from tapewatch.features.seasonality.measures import with_more
from tapewatch.features.seasonality.model import SeasonalModel
from tapewatch.features.seasonality.rows import seasonality
from tapewatch.market.instruments import Market, Partition, Session
from tests.support.recorded import TICK_DAYS, recorded_quotes, recorded_trades

Day = tuple[Session, pl.DataFrame, pl.DataFrame]
#: Columns of ours and of pandas that must agree, by frame.
_COMPARED = {
    "minutes": ("imbalance_5m", "imbalance_25m", "trade_size_median", "trade_size_p90", "largest_trade_share"),
    "indicators": ("bollinger_position", "shannon_entropy", "cusum_break", "sadf"),
    "cross": ("market_return_bps", "market_correlation_30m", "correlation_break", "beta_15m", "lead_lag_30m"),
    "bins": ("trade_slots", "quote_slots"),
}


def whole_catalogue(day: Day, states: RegimeModel | None, usual: SeasonalModel | None) -> dict[str, pl.DataFrame]:
    """The rows of every table of features, by the name of the peer's frame or of the table."""
    session, trades, quotes = day
    bars = bars_of(day)
    rows, more = microstructure(trades, quotes, session), microstructure_more(trades, quotes, session)
    return {
        "microstructure": rows,
        "minutes": more,
        "indicators": indicators(bars, session),
        "cross": cross_asset(bars, session),
        "correlations": correlations(bars, session),
        "regimes": regimes(bars, session, states, through_ns=session.day_end),
        "seasonality": seasonality(with_more(rows.lazy(), more.lazy()).collect(), usual),
        "bins": bins_5s(trades, quotes, session),
    }


def bars_of(day: Day) -> pl.DataFrame:
    """The minute bars, known at their ends."""
    session, trades, _ = day
    return minute_bars(trades, session).with_columns(known_time=pl.col("time") + pl.duration(minutes=1))


def models(days: list[Day]) -> tuple[RegimeModel | None, SeasonalModel | None]:
    """The models of regimes and of seasonality, fitted on these days."""
    panels = [block_panel(bars_of(day), day[0], through_ns=day[0].day_end) for day in days]
    states = RegimeModel.fit([(panel.symbols, volatility) for panel, volatility, _ in panels])
    rows = [
        with_more(microstructure(trades, quotes, session).lazy(), microstructure_more(trades, quotes, session).lazy())
        for session, trades, quotes in days
    ]
    return states, SeasonalModel.fit(rows)


def disagreeing(ours: dict[str, pl.DataFrame], theirs: dict[str, pd.DataFrame], session: Session) -> dict[str, float]:
    """The largest difference of each compared column, where it is above 1e-6 of its size."""
    found = {}
    regular = pl.col("event_time").dt.epoch("ns").is_between(session.regular_start, session.regular_end, "left")
    for name, columns in _COMPARED.items():
        mine = (
            ours[name]
            .filter(regular)
            .with_columns(pl.col("symbol").cast(pl.String), pl.col("event_time").dt.epoch("ns"))
        )
        other = pl.from_pandas(
            theirs[name].assign(symbol=theirs[name]["symbol"].astype(str))[["symbol", "event_time", *columns]]
        )
        both = mine.select("symbol", "event_time", *columns).join(other, on=["symbol", "event_time"], suffix="_other")
        for column in columns:
            pair = both.select(pl.col(column, f"{column}_other").cast(pl.Float64)).drop_nulls().drop_nans().to_numpy()
            away = np.abs(pair[:, 0] - pair[:, 1]) / np.maximum(1.0, np.abs(pair[:, 0]))
            if not pair.size or away.max() > 1e-6:
                found[f"{name}.{column}"] = float(away.max()) if pair.size else float("nan")
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    if not MARKET_DATA.is_dir():
        raise SystemExit(f"no recorded days at {MARKET_DATA}: set TAPEWATCH_MARKET_DATA")
    days = [
        (
            Partition(date, Market.STOCKS).session,
            recorded_trades(MARKET_DATA, date).rechunk(),
            recorded_quotes(MARKET_DATA, date).rechunk(),
        )
        for date in TICK_DAYS
    ]
    states, usual = models(days[:-1])
    day = days[-1]
    frames = to_pandas(day[1]), to_pandas(day[2])
    share_symbols(*frames)
    sides: dict[str, Callable[[], object]] = {
        "tapewatch, everything": lambda: whole_catalogue(day, states, usual),
        "pandas, a part of it": lambda: catalogue_pandas.catalogue(*frames, day[0]),
    }
    if found := disagreeing(whole_catalogue(day, states, usual), catalogue_pandas.catalogue(*frames, day[0]), day[0]):
        raise SystemExit(f"pandas computes other values, so the times cannot be compared: {found}")
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, run in sides.items():
            start, busy = time.perf_counter(), time.process_time()
            run()
            taken[name].append((time.perf_counter() - start, time.process_time() - busy))
    best = {name: tuple(map(min, zip(*times, strict=True))) for name, times in taken.items()}
    ticks = day[1].height + day[2].height
    ours = best["tapewatch, everything"]
    print(f"{TICK_DAYS[-1]}: {day[1].height:,} trades, {day[2].height:,} quotes\n")
    print(f"{'':24}{'seconds':>9}{'M ticks/s':>11}{'ratio':>8}{'CPU s':>9}{'ratio':>8}")
    for name, (seconds, busy) in best.items():
        print(
            f"{name:24}{seconds:9.3f}{ticks / seconds / 1e6:11.1f}{seconds / ours[0]:8.1f}{busy:9.3f}{busy / ours[1]:8.1f}"
        )


if __name__ == "__main__":
    main()
