"""A plot of one day of each table, to check a partition by eye."""

from collections.abc import Callable, Iterable, Mapping
from io import BytesIO

import matplotlib as mpl
import polars as pl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.dates import DateFormatter
from matplotlib.figure import Figure

Plot = Callable[[pl.LazyFrame], bytes]

_MOST_SYMBOLS = 8
_WIDTH, _DPI = 8, 100
#: Inches of a letter of the labels, at 8 points, and beside a plot whatever its labels are.
_LETTER, _BESIDE = 0.075, 0.75
_LABEL_COLOURS = {-1: "#b5423c", 0: "#9aa5b1", 1: "#2f7f86"}


def trades_plot(trades: pl.LazyFrame) -> bytes:
    """Trades per minute of the busiest symbols."""
    minutes = trades.group_by("symbol", time=pl.col("time").dt.truncate("1m")).agg(value=pl.len()).collect()
    return _lines(minutes, "Trades per minute", "trades", is_log=True)


def quotes_plot(quotes: pl.LazyFrame) -> bytes:
    """Median quoted spread over five minutes of the busiest symbols."""
    bid, ask = pl.col("bid_price"), pl.col("ask_price")
    spreads = (
        quotes.filter((bid > 0) & (ask > 0))
        .group_by("symbol", time=pl.col("time").dt.truncate("5m"))
        .agg(value=(2e4 * (ask - bid) / (ask + bid)).median())
        .collect()
    )
    return _lines(spreads, "Quoted spread, median of five minutes", "bps", is_log=True)


def bars_plot(bars: pl.LazyFrame) -> bytes:
    """Closes relative to each symbol's first open, in percent; symbols whose first open is not positive are left out."""
    start = pl.col("open").sort_by("time").first().over("symbol")
    moves = bars.select("symbol", "time", value=pl.when(start > 0).then(100 * (pl.col("close") / start - 1))).collect()
    return _lines(moves, "Price since the day's first bar", "%")


def microstructure_plot(features: pl.LazyFrame) -> bytes:
    """Realised volatility and effective spread of the regular minutes, smoothed over 15 minutes."""
    rows = features.filter("is_regular").sort("symbol", "event_time")
    figure, axes = _figure(2)
    measures = (("realised_volatility_bps", "Realised volatility"), ("effective_spread_bps", "Effective spread"))
    for panel, (column, title) in zip(axes, measures, strict=True):
        smooth = pl.col(column).rolling_mean(15, min_samples=1).over("symbol")
        _draw_lines(panel, rows.select("symbol", time="event_time", value=smooth).collect(), title, "bps")
    return _png(figure)


def coverage_plot(coverage: pl.LazyFrame) -> bytes:
    """Regular minutes received or healed, silent and missing, by symbol."""
    held = pl.col("received_minutes") + pl.col("healed_minutes")
    rows = coverage.with_columns(held=held).sort("missing_minutes", "held", descending=[True, False]).head(30).collect()
    parts = {"received or healed": ("held", 1), "silent": ("silent_minutes", 0), "missing": ("missing_minutes", -1)}
    return _stacked(rows, parts, "Regular minutes of the tape", "minutes")


def barrier_labels_plot(labels: pl.LazyFrame) -> bytes:
    """Number of events by the barrier that was met first, by symbol."""
    is_label = {name: pl.col("label") == value for name, value in (("lower", -1), ("neither", 0), ("upper", 1))}
    counts = labels.group_by("symbol").agg(**{name: each.sum() for name, each in is_label.items()}).sort("symbol")
    parts = {"lower first": ("lower", -1), "neither in time": ("neither", 0), "upper first": ("upper", 1)}
    return _stacked(counts.collect(), parts, "Triple-barrier outcomes", "events")


def events_plot(events: pl.LazyFrame) -> bytes:
    """Anomalies over time, a row per symbol, coloured by kind. Needs symbol, kind, start_time, end_time."""
    rows = events.select(pl.col("symbol", "kind").cast(pl.String), "start_time", "end_time").unique().sort("start_time")
    frame = rows.collect()
    figure, (axes,) = _figure(1)
    palette = mpl.colormaps["tab10"]
    for number, (kind, of_kind) in enumerate(sorted((str(k), part) for (k,), part in frame.group_by("kind"))):
        starts, ends = of_kind["start_time"].to_list(), of_kind["end_time"].to_list()
        axes.barh(of_kind["symbol"], [e - s for s, e in zip(starts, ends, strict=True)], left=starts, height=0.6,
                  color=palette(number % 10), label=kind.replace("_", " "))  # fmt: skip
    axes.set_title(f"{frame.height} anomalies" if frame.height else "No anomalies")
    # A bar at the start of the day would lie on the axis.
    axes.use_sticky_edges = False
    if frame.height:
        axes.xaxis.set_major_formatter(DateFormatter("%H:%M"))
        axes.set_xlabel("UTC")
        _legend(axes)
    return _png(figure, names=frame["symbol"])


def training_set_plot(rows: pl.LazyFrame) -> bytes:
    """Share of nulls in each column that has any."""
    shares = rows.select(pl.all().null_count() / pl.len()).collect().transpose(include_header=True).sort("column_0")
    shown = shares.filter(pl.col("column_0") > 0)
    figure, (axes,) = _figure(1)
    axes.barh(shown["column"], 100 * shown["column_0"], color=_LABEL_COLOURS[1])
    axes.set(title="Nulls by column", xlabel="% of rows")
    axes.tick_params(axis="y", labelsize=7)
    return _png(figure, names=shown["column"])


#: The plot of each table, by its name.
PLOTS: Mapping[str, Plot] = {
    "trades": trades_plot,
    "quotes": quotes_plot,
    "bars": bars_plot,
    "coverage": coverage_plot,
    "microstructure": microstructure_plot,
    "barrier_labels": barrier_labels_plot,
    "truth_labels": events_plot,
    "training_set": training_set_plot,
    "anomalies": events_plot,
}


def _lines(frame: pl.DataFrame, title: str, unit: str, *, is_log: bool = False) -> bytes:
    figure, (axes,) = _figure(1)
    _draw_lines(axes, frame, title, unit, is_log=is_log)
    return _png(figure)


def _stacked(rows: pl.DataFrame, parts: Mapping[str, tuple[str, int]], title: str, unit: str) -> bytes:
    """Stacked bars by symbol; `parts` are columns and keys of colours by legend."""
    figure, (axes,) = _figure(1)
    names, left = rows["symbol"].cast(pl.String).to_list(), pl.zeros(rows.height, eager=True)
    for label, (column, colour) in parts.items():
        axes.barh(names, rows[column], left=left, color=_LABEL_COLOURS[colour], label=label)
        left = left + rows[column]
    axes.set(title=title, xlabel=unit)
    _legend(axes)
    return _png(figure, names=names)


def _draw_lines(axes: Axes, frame: pl.DataFrame, title: str, unit: str, *, is_log: bool = False) -> None:
    named = frame.with_columns(pl.col("symbol").cast(pl.String)).drop_nulls("value")
    busiest = (
        named.group_by("symbol").len().sort("len", "symbol", descending=[True, False]).head(_MOST_SYMBOLS)["symbol"]
    )
    for symbol in busiest:
        line = named.filter(pl.col("symbol") == symbol).sort("time")
        axes.plot(line["time"].to_list(), line["value"], linewidth=0.9, label=symbol)
    left_out = named["symbol"].n_unique() - len(busiest)
    axes.set(title=title + (f" ({left_out} more symbols)" if left_out else ""), ylabel=unit, xlabel="UTC")
    if len(busiest):
        axes.xaxis.set_major_formatter(DateFormatter("%H:%M"))
        _legend(axes)
        if is_log:
            axes.set_yscale("log")


def _legend(axes: Axes) -> None:
    axes.legend(frameon=False, fontsize=7, loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _place(figure: Figure, letters: int) -> None:
    """Leave room for labels at the left, given their longest number of letters, and for the longest legend at the right.

    Matplotlib's own layouts draw every figure once more to measure it, which takes most of the time of a small run's plots.
    """
    said = [text for axes in figure.axes for text in axes.get_legend_handles_labels()[1]]
    legend = max(map(len, said), default=0)
    left = _BESIDE + max(letters * _LETTER - 0.3, 0)
    right = 0.6 + legend * _LETTER if legend else 0.15
    height = figure.get_figheight()
    # Symbols may be long, and a plot of no width cannot be drawn.
    figure.subplots_adjust(
        left=min(left / _WIDTH, 0.45),
        right=max(1 - right / _WIDTH, 0.6),
        bottom=0.55 / height,
        top=1 - 0.35 / height,
        hspace=0.45,
    )


def _figure(panels: int) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(_WIDTH, 1.2 + 2.6 * panels), dpi=_DPI)
    axes = [figure.add_subplot(panels, 1, number + 1) for number in range(panels)]
    for panel in axes:
        panel.spines[["top", "right"]].set_visible(False)
        panel.tick_params(labelsize=8)
    return figure, axes


def _png(figure: Figure, names: Iterable[str] = ()) -> bytes:
    """The figure as PNG; `names` are the labels of a bar's axis."""
    _place(figure, max(map(len, names), default=0))
    buffer = BytesIO()
    # An explicit canvas needs neither a display nor the global state of pyplot.
    FigureCanvasAgg(figure).print_png(buffer)
    return buffer.getvalue()
