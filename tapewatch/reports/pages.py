"""Self-contained pages: they open without a network."""

import datetime as dt
from pathlib import Path

import jinja2
import plotly.offline

from tapewatch.reports.charts import FOUND_COLOUR, TRUTH_COLOUR
from tapewatch.store.durable import write_whole

#: How plotly shows a figure in a page: without its buttons, which devices without a mouse show always, over the plot.
#: Dragging enlarges and a double click goes back without them.
CHART_CONFIG = {"displaylogo": False, "displayModeBar": False, "responsive": True}
_SMALL, _WHOLE = 1e-3, 1e3


def render_page(template: str, title: str, **content: object) -> str:
    """A template of this package that extends `page.html.j2`, with styles and chart library in the page itself."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(__package__, "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    environment.filters |= {"words": words, "number": number, "seconds": seconds, "moment": moment}
    return environment.get_template(template).render(
        title=title,
        truth_colour=TRUTH_COLOUR,
        found_colour=FOUND_COLOUR,
        plotly_js=plotly.offline.get_plotlyjs(),
        **content,
    )


def write_page(html: str, path: Path) -> Path:
    """Write a page to `path` by atomic rename, folders made, and return it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # A run and a person at the command line may write the same page.
    write_whole(path, html, is_synced=False, is_shared=True)
    return path


def words(name: object) -> str:
    """A column's or kind's name as people write it."""
    return str(name).replace("_", " ")


def number(value: float | None) -> str:
    """A value in a table: thousands apart; from a thousand on whole, four digits below, and powers of ten for the tiniest."""
    if value is None:
        return "not known"
    if isinstance(value, int) or float(value).is_integer() or abs(value) >= _WHOLE:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < _SMALL else f"{value:.4g}"


def seconds(value: float) -> str:
    """A wall time."""
    minutes, rest = divmod(value, 60)
    return f"{int(minutes)} min {rest:.0f} s" if minutes else f"{rest:.1f} s"


def moment(value: dt.datetime) -> str:
    """A time of day with its date, to the minute."""
    return f"{value:%Y-%m-%d %H:%M}"
