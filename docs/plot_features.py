"""Plots the feature families of a recorded day for the methodology pages, and prints the figures that they quote.

TAPEWATCH_MARKET_DATA=/path/to/flat/files .venv/bin/python -m docs.plot_features
"""

import os
from pathlib import Path

import matplotlib as mpl
import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.dates import DateFormatter
from matplotlib.figure import Figure

from tapewatch.bars.time_bars import minute_bars
from tapewatch.features.families import series
from tapewatch.features.families.indicators import indicators
from tapewatch.features.families.rows import microstructure_more
from tapewatch.features.microstructure import microstructure
from tapewatch.features.seasonality.measures import MEASURES
from tapewatch.features.seasonality.model import SeasonalModel
from tapewatch.features.seasonality.rows import seasonality
from tapewatch.market.instruments import Market, session_of
from tests.support.recorded import TICK_DAYS, recorded_quotes, recorded_trades

IMAGES = Path(__file__).parent / "images"
_SYMBOL, _DAY = "IBM", 1
#: The day that is held against those before it.
_JUDGED = 2
_COLOURS = ("#2f7f86", "#b5423c", "#c98a2b", "#5b6c9d")
_ZONE = "America/New_York"
_ORDERS = [round(0.05 * step, 2) for step in range(21)]


def main() -> None:
    """Compute the recorded days, plot one symbol's day, print the figures."""
    folder = Path(os.environ["TAPEWATCH_MARKET_DATA"])
    days = [_rows_of(folder, day) for day in TICK_DAYS]
    usual = seasonality(days[_JUDGED], SeasonalModel.fit([day.lazy() for day in days[:_JUDGED]]))
    days[_JUDGED] = days[_JUDGED].join(usual.drop("known_time"), on=["symbol", "event_time"], how="left")
    for plot in (_order_flow, _liquidity, _volatility, _indicators, _seasonality):
        rows = days[_JUDGED if plot is _seasonality else _DAY].filter(pl.col("symbol").cast(pl.String) == _SYMBOL)
        figure = Figure(figsize=(9, 5), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(2, 1, sharex=True)
        plot(axes, rows)
        for panel in axes:
            panel.grid(alpha=0.3)
            panel.legend(loc="upper right", fontsize=8, ncols=3)
            panel.xaxis.set_major_formatter(DateFormatter("%H:%M", tz=_ZONE))
        figure.suptitle(f"{_SYMBOL}, {rows['day'][0]}, New York time", fontsize=10)
        figure.savefig(IMAGES / f"{plot.__name__[1:]}.png", dpi=90)
    _edges(days[_JUDGED].filter(pl.col("quote_count").is_not_null()))
    _figures(pl.concat(days, how="diagonal"))


def _rows_of(folder: Path, day: object) -> pl.DataFrame:
    session = session_of(Market.STOCKS, day)
    trades, quotes = recorded_trades(folder, day), recorded_quotes(folder, day)
    bars = minute_bars(trades, session).with_columns(known_time=pl.col("time") + pl.duration(minutes=1))
    closes = bars.select("symbol", "close", event_time="time")
    rows = microstructure(trades, quotes, session)
    for other in (microstructure_more(trades, quotes, session), indicators(bars, session), closes):
        rows = rows.join(other.drop("known_time", strict=False), on=["symbol", "event_time"], how="left")
    return rows.filter("is_regular").with_columns(day=pl.lit(day))


def _draw(panel: Axes, rows: pl.DataFrame, names: dict[str, str], unit: str) -> None:
    for (name, label), colour in zip(names.items(), _COLOURS, strict=False):
        panel.plot(rows["event_time"].to_numpy(), rows[name].to_numpy(), label=label, color=colour, linewidth=1)
    panel.set_ylabel(unit)


def _order_flow(axes: list[Axes], rows: pl.DataFrame) -> None:
    _draw(
        axes[0],
        rows,
        {"imbalance_5m": "imbalance, 5 min", "imbalance_25m": "25 min", "bulk_imbalance_15m": "bulk, 15 min"},
        "share",
    )
    _draw(axes[1], rows, {"ofi_depth_15m": "OFI over depth, 15 min"}, "depths")
    other = axes[1].twinx()
    _draw(other, rows.rename({"return_15m_bps": "move"}), {"move": "return, 15 min"}, "bps")
    other.lines[0].set_color(_COLOURS[1])
    other.legend(loc="upper left", fontsize=8)


def _liquidity(axes: list[Axes], rows: pl.DataFrame) -> None:
    spreads = {
        "effective_spread_5m_bps": "effective spread, 5 min",
        "corwin_schultz_bps": "Corwin and Schultz",
        "abdi_ranaldo_bps": "Abdi and Ranaldo",
    }
    _draw(axes[0], rows, spreads, "bps")
    _draw(axes[1], rows, {"liquidity_score": "liquidity score"}, "log")


def _volatility(axes: list[Axes], rows: pl.DataFrame) -> None:
    measures = {
        "realised_volatility_30m_bps": "realised, 5 s",
        "bipower_volatility_30m_bps": "bipower",
        "yang_zhang_bps": "Yang and Zhang",
        "ewma_volatility_bps": "EWMA",
    }
    _draw(axes[0], rows, measures, "bps a minute")
    _draw(axes[1], rows, {"variance_ratio_5m": "variance ratio, 5 min", "drawdown_score": "drawdown score"}, "")


def _indicators(axes: list[Axes], rows: pl.DataFrame) -> None:
    _draw(axes[0], rows, {"rsi_14": "RSI", "adx_14": "ADX"}, "%")
    _draw(axes[1], rows, {"cusum_break": "CUSUM over its bound", "sadf": "SADF"}, "")


def _seasonality(axes: list[Axes], rows: pl.DataFrame) -> None:
    _draw(axes[0], rows, {"volume": "volume", "usual_volume": "usual"}, "shares a minute")
    axes[0].set_yscale("log")
    _draw(axes[1], rows, {"volume_deviation": "volume", "quoted_spread_bps_deviation": "quoted spread"}, "scales")


def _edges(rows: pl.DataFrame) -> None:
    print("Share of the 5 % largest minutes that lie in the first or last half hour, before and after:")
    minute = pl.col("session_minute")
    is_edge = (minute < 30) | (minute >= 360)
    for measure in MEASURES:
        deviation = pl.col(f"{measure.name}_deviation")
        for value in (measure.value.abs(), deviation.abs() if measure.is_signed else deviation):
            shown = rows.with_columns(value=value)
            largest = shown.filter(pl.col("value") >= pl.col("value").quantile(0.95).over("symbol"))
            print(f"{measure.name:25}{largest.select(is_edge.mean()).item():.0%}")


def _figures(rows: pl.DataFrame) -> None:
    quoted = rows.filter(pl.col("quoted_spread_bps").is_not_null())
    print("R2 of minute returns on OFI over depth, by symbol:")
    print(
        quoted.group_by("symbol").agg(
            r2=pl.corr("ofi_depth_1m", "return_bps") ** 2, flow=pl.corr("imbalance_1m", "return_bps") ** 2
        )
    )
    names = [
        "effective_spread_bps",
        "effective_spread_5m_bps",
        "realised_spread_5m_bps",
        "price_impact_5m_bps",
        "corwin_schultz_bps",
        "abdi_ranaldo_bps",
        "roll_spread_bps",
    ]
    print(quoted.group_by("symbol").agg(pl.col(names).mean().round(2)))
    names = [
        "realised_volatility_30m_bps",
        "bipower_volatility_30m_bps",
        "jump_share",
        "parkinson_bps",
        "garman_klass_bps",
        "rogers_satchell_bps",
        "yang_zhang_bps",
        "ewma_volatility_bps",
        "variance_ratio_5m",
        "sign_autocorrelation",
    ]
    print(rows.group_by("symbol").agg(pl.col(names).mean().round(2)))
    print(
        rows.group_by("symbol").agg(
            pl.col("cusum_break").gt(1).mean().round(3).alias("cusum"),
            pl.col("sadf").gt(1).mean().alias("sadf"),
            pl.col("shannon_entropy", "kontoyiannis_entropy").mean().round(2),
        )
    )
    print(rows.group_by("symbol").agg(pl.corr("bulk_imbalance", "imbalance_1m").round(2)))
    for (symbol, day), part in rows.group_by("symbol", "day", maintain_order=True):
        logs = np.log(part["close"].drop_nulls().to_numpy())
        print(symbol, day, series.smallest_stationary_order(logs, _ORDERS), round(series.dickey_fuller(logs), 2))


if __name__ == "__main__":
    mpl.rcParams["font.size"] = 9
    main()
