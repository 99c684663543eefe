"""Self-contained HTML pages, which open without a network."""

import datetime as dt
from pathlib import Path

import jinja2
import plotly.graph_objects as go
import plotly.offline

from tapewatch.reports.charts import FOUND_COLOUR, INCIDENT_COLOUR, TRUTH_COLOUR
from tapewatch.store.durable import write_whole

#: Plotly's settings: no buttons, which would cover the plot on touch screens. Dragging zooms in, a double click zooms out.
_CHART_CONFIG = {"displaylogo": False, "displayModeBar": False, "responsive": True}
_SMALL, _WHOLE = 1e-3, 1e3


def render_page(template: str, title: str, **content: object) -> str:
    """Render a template of this package that extends `page.html.j2`; styles and chart library are part of the page."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(__package__, "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    environment.filters |= {"words": words, "number": number, "seconds": seconds, "lasted": lasted, "time": format_time}
    return environment.get_template(template).render(
        title=title,
        truth_colour=TRUTH_COLOUR,
        found_colour=FOUND_COLOUR,
        incident_colour=INCIDENT_COLOUR,
        plotly_js=plotly.offline.get_plotlyjs(),
        **content,
    )


def write_page(html: str, path: Path) -> Path:
    """Write a page to `path` by atomic rename, folders made, and return it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # A run and a person at the command line may write the same page.
    write_whole(path, html, is_synced=False, is_shared=True)
    return path


def figure_html(figure: go.Figure) -> str:
    """A figure as part of a page; `render_page` adds the chart library."""
    return str(figure.to_html(full_html=False, include_plotlyjs=False, config=_CHART_CONFIG))


def words(name: object) -> str:
    """The name of a column or kind with spaces."""
    return str(name).replace("_", " ")


def number(value: float | None) -> str:
    """A number in a table: whole from a thousand on, four significant digits below, three for tiny ones."""
    if value is None:
        return "not known"
    if isinstance(value, int) or float(value).is_integer() or abs(value) >= _WHOLE:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < _SMALL else f"{value:.4g}"


def seconds(value: float) -> str:
    minutes, rest = divmod(value, 60)
    return f"{int(minutes)} min {rest:.0f} s" if minutes else f"{rest:.1f} s"


def lasted(value: float) -> str:
    """A length of tape in whole seconds or minutes."""
    return f"{value / 60:.0f} min" if value >= 120 else f"{value:.0f} s"


def format_time(value: dt.datetime) -> str:
    """A date and time, to the minute."""
    return f"{value:%Y-%m-%d %H:%M}"
