"""The equity of paper accounts as a PNG."""

from io import BytesIO

import polars as pl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

_COLOURS = ("#2f7f86", "#3f51b5", "#e0a100", "#c2185b", "#7d8790")


def equity_curves(equity: pl.DataFrame) -> bytes:
    """One line an account; `equity` has account, time and equity."""
    figure = Figure(figsize=(8, 4), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    axes.set(title="Equity of the paper accounts", ylabel="quote currency")
    axes.spines[["top", "right"]].set_visible(False)
    for number, ((account,), own) in enumerate(equity.partition_by("account", as_dict=True).items()):
        axes.plot(own["time"].to_numpy(), own["equity"].to_numpy(), color=_COLOURS[number % 5], label=str(account))
    axes.legend(frameon=False)
    buffer = BytesIO()
    # An explicit canvas needs no display and no global state of pyplot.
    FigureCanvasAgg(figure)
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
