"""Plots bars of other clocks, features across symbols and regimes of a recorded day for the methodology pages, and futures of the
built-in market.

TAPEWATCH_MARKET_DATA=/path/to/flat/files .venv/bin/python -m docs.plot_market
"""

import datetime as dt
import os
from collections.abc import Callable
from pathlib import Path
from statistics import NormalDist

import matplotlib as mpl
import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.dates import DateFormatter
from matplotlib.figure import Figure

from tapewatch.bars.continuous import continuous_bars, holdings
from tapewatch.bars.information.build import InformationBars
from tapewatch.bars.information.clocks import Clock, Thresholds
from tapewatch.bars.time_bars import minute_bars, reconcile, time_bars
from tapewatch.emulator.synthetic.market import Synthetic
from tapewatch.features.bins.batch import bins_5s
from tapewatch.features.cross_asset.rows import cross_asset
from tapewatch.features.regimes.blocks import block_panel
from tapewatch.features.regimes.hidden_markov import STATES, RegimeModel
from tapewatch.features.regimes.rows import regimes
from tapewatch.market.instruments import NS_PER_MINUTE, Market, Partition, Session, trading_days
from tapewatch.market.tables.derived import CONTINUOUS_BARS
from tapewatch.market.tables.tape import BARS, DELIVERED_BARS
from tests.support.recorded import TICK_DAYS, recorded_quotes, recorded_trades

IMAGES = Path(__file__).parent / "images"
_COLOURS = ("#2f7f86", "#b5423c", "#c98a2b", "#5b6c9d")
_ZONE = "America/New_York"
_DAY = 1
#: The built-in market of the plot of futures, and its days.
_SEED, _FUTURES_DAYS = 4, (dt.date(2024, 3, 4), dt.date(2024, 3, 11))
Panels = list[Axes]


def main() -> None:
    """Compute the recorded days and draw the plots."""
    folder = Path(os.environ["TAPEWATCH_MARKET_DATA"])
    sessions = [Partition(day, Market.STOCKS).session for day in TICK_DAYS]
    trades = [recorded_trades(folder, day) for day in TICK_DAYS]
    quotes = recorded_quotes(folder, TICK_DAYS[_DAY])
    bars = [_bars(each, session) for each, session in zip(trades, sessions, strict=True)]
    session = sessions[_DAY]
    panel, volatility, _ = block_panel(bars[0], sessions[0], through_ns=sessions[0].day_end)
    states = regimes(bars[_DAY], session, RegimeModel.fit([(panel.symbols, volatility)]), through_ns=session.day_end)
    when = TICK_DAYS[_DAY]
    _save(
        "cross_asset",
        f"BAC, {when}, New York time",
        lambda a: _cross_asset(a, _of(cross_asset(bars[_DAY], session), "BAC")),
    )
    _save("regimes", f"SPY, {when}, New York time, fitted on the day before", lambda a: _regimes(a, _of(states, "SPY")))
    _save("bins", f"IBM, {when}, New York time", lambda a: _bins(a, _of(bins_5s(trades[_DAY], quotes, session), "IBM")))
    _save("clocks", "SPY, three days of regular hours", lambda a: _clocks(a, trades, sessions), shares_time=False)
    _save("continuous", "ES of the built-in market, two contracts", lambda a: _continuous(a, _futures()), times="%m-%d")


def _futures() -> pl.DataFrame:
    """Continuous bars of six days: of ESZ9 of the built-in market, and of a next contract made of it, 0.9 % dearer, to which the volume moves."""
    market, days = Synthetic(_SEED), trading_days(Market.FUTURES, *_FUTURES_DAYS)
    found, before = [CONTINUOUS_BARS.empty()], BARS.empty()
    for at, date in enumerate(days):
        near = reconcile(
            minute_bars(market.day("ESZ9", date).trades, Partition(date, Market.FUTURES).session),
            DELIVERED_BARS.empty(),
        )
        share, prices = at / (len(days) - 1), ("open", "high", "low", "close", "vwap")
        far = near.with_columns(pl.col(prices) * 1.009, pl.col("volume") * share, symbol=pl.lit("ESH0"))
        near = near.with_columns(pl.col("volume") * (1 - share))
        today = pl.concat([BARS.conform(far), BARS.conform(near)])
        if before.height:
            found.append(continuous_bars(today, holdings(before, pl.concat(found), date.year)))
        before = today
    return pl.concat(found).rename({"time": "event_time"}).sort("event_time")


def _continuous(panels: Panels, rows: pl.DataFrame) -> None:
    joined = rows.with_columns(ratio=pl.col("close") * pl.col("factor"), difference=pl.col("close") + pl.col("offset"))
    _line(panels[0], joined, "close", "contract that is held", 1)
    _line(panels[0], joined, "ratio", "times factor", 0)
    _line(panels[0], joined, "difference", "plus offset", 2)
    panels[0].set_ylabel("points")
    _line(panels[1], joined, "value", "value of 1 invested at the first open", 3)


def _bars(trades: pl.DataFrame, session: Session) -> pl.DataFrame:
    return minute_bars(trades, session).with_columns(known_time=pl.col("time") + pl.duration(minutes=1))


def _of(rows: pl.DataFrame, symbol: str) -> pl.DataFrame:
    return rows.filter(pl.col("symbol").cast(pl.String) == symbol)


def _save(
    name: str, title: str, draw: Callable[[Panels], None], *, shares_time: bool = True, times: str = "%H:%M"
) -> None:
    figure = Figure(figsize=(9, 5), layout="constrained")
    FigureCanvasAgg(figure)
    panels = list(figure.subplots(2, 1, sharex=True) if shares_time else figure.subplots(1, 2))
    draw(panels)
    for panel in panels:
        panel.grid(alpha=0.3)
        panel.legend(loc="upper left", fontsize=8, ncols=3)
        if shares_time:
            panel.xaxis.set_major_formatter(DateFormatter(times, tz=_ZONE))
    figure.suptitle(title, fontsize=10)
    figure.savefig(IMAGES / f"{name}.png", dpi=90)


def _line(panel: Axes, rows: pl.DataFrame, name: str, label: str, colour: int, **style: object) -> None:
    panel.plot(rows["event_time"].to_numpy(), rows[name].to_numpy(), label=label, color=_COLOURS[colour], lw=1, **style)


def _cross_asset(panels: Panels, rows: pl.DataFrame) -> None:
    _line(panels[0], rows, "market_correlation_30m", "correlation with the market, 30 min", 0)
    _line(panels[0], rows, "beta_30m", "beta, 30 min", 2)
    _line(panels[1], rows, "correlation_break", "correlation break", 1)
    _line(panels[1], rows, "pca_residual_score", "residual of components", 3)
    panels[1].set_ylabel("standard errors, deviations")


def _regimes(panels: Panels, rows: pl.DataFrame) -> None:
    _line(panels[0], rows, "volatility_bps", "volatility of the block", 0, drawstyle="steps-post")
    panels[0].set_ylabel("bps a minute")
    below = np.zeros(rows.height)
    for at, state in enumerate(STATES):
        above = below + rows[f"probability_{state}"].fill_null(0.0).to_numpy()
        times = rows["event_time"].to_numpy()
        panels[1].fill_between(times, below, above, step="post", label=state, color=_COLOURS[(0, 2, 1)[at]], alpha=0.7)
        below = above
    panels[1].set_ylabel("filtered probability")


def _bins(panels: Panels, rows: pl.DataFrame) -> None:
    _line(panels[0], rows, "quote_slots", "slots of 0.1 s with quotes", 3)
    _line(panels[0], rows, "trade_slots", "with trades", 1)
    windows = rows.with_columns(
        flow=pl.col("signed_root_size").rolling_sum_by("event_time", "5m")
        / pl.col("root_size").rolling_sum_by("event_time", "5m")
    )
    _line(panels[1], windows, "flow", "signed over whole root size, 5 min", 0)


def _clocks(panels: Panels, trades: list[pl.DataFrame], sessions: list[Session]) -> None:
    """Quantiles of standardised returns against those of a normal distribution, and bars in each half hour."""
    days = [_regular(_of(each, "SPY"), session) for each, session in zip(trades, sessions, strict=True)]
    size = int(np.mean([day.height for day in days]) / 78)
    closes: dict[str, list[pl.DataFrame]] = {
        "5 minutes": [
            time_bars(day, s, 5 * NS_PER_MINUTE).select("close", at="time")
            for day, s in zip(days, sessions, strict=True)
        ]
    }
    for clock in (Clock.TICK, Clock.DOLLAR, Clock.TICK_IMBALANCE):
        builder = InformationBars(clock, Thresholds(trades=size))
        closes[str(clock)] = [
            builder.add(day, s).select("close", at="end_time") for day, s in zip(days, sessions, strict=True)
        ]
    for colour, (name, parts) in enumerate(closes.items()):
        steps = [np.diff(np.log(part["close"].to_numpy())) for part in parts]
        returns = np.sort(np.concatenate([step / step.std() for step in steps]))
        normal = [NormalDist().inv_cdf((at + 0.5) / returns.size) for at in range(returns.size)]
        panels[0].plot(normal, returns, ".", ms=3, color=_COLOURS[colour], label=name)
        minutes = np.concatenate([
            (part["at"].dt.epoch("ns").to_numpy() - session.regular_start) / (30 * NS_PER_MINUTE)
            for part, session in zip(parts, sessions, strict=True)
        ])  # fmt: skip
        counts = np.histogram(minutes, bins=np.arange(14))[0] / len(parts)
        panels[1].step(
            np.arange(14) / 2, np.append(counts, counts[-1]), where="post", color=_COLOURS[colour], label=name
        )
    panels[0].plot([-3, 3], [-3, 3], color="black", lw=0.5)
    panels[0].set(xlabel="normal quantile", ylabel="standardised return")
    panels[1].set(xlabel="hours after the open", ylabel="bars in half an hour")


def _regular(trades: pl.DataFrame, session: Session) -> pl.DataFrame:
    time = pl.col("time").dt.epoch("ns")
    return trades.filter(time.is_between(session.regular_start, session.regular_end, "left")).sort(
        "time", "sequence_number"
    )


if __name__ == "__main__":
    mpl.rcParams["font.size"] = 9
    main()
