"""The data dictionary: `python -m tapewatch.market.tables.dictionary > docs/data_dictionary.md`."""

import sys
from collections.abc import Iterator

from tapewatch.market.schema import Column, Table
from tapewatch.market.tables.live import EVERY

_HEADER = """\
# Data dictionary

Generated from `tapewatch/market/tables`. Times are UTC in nanoseconds. Only nullable columns hold nulls, and floats hold no NaN. A price
is above 0, and an empty side of a quote is 0. A futures price is any finite number,
and a side is empty if its price is 0 and its size is not above 0. Logarithms and ratios of prices are null if one of the
prices is 0 or below.
"""


def data_dictionary() -> str:
    """The page, in Markdown."""
    return "\n".join([_HEADER, *(line for table in EVERY for line in _section(table))]).rstrip() + "\n"


def _section(table: Table) -> Iterator[str]:
    yield f"## {table.group}/{table.name}\n"
    yield f"{table.description} Key: {', '.join(f'`{name}`' for name in table.key)}.\n"
    yield "| column | type | unit | null | range | meaning |"
    yield "|---|---|---|---|---|---|"
    yield from (_row(column) for column in table.columns)
    yield ""


def _row(column: Column) -> str:
    low, high = column.minimum, column.maximum
    bounds = f"{'' if low is None else f'{low:g}'} … {'' if high is None else f'{high:g}'}"
    cells = (
        f"`{column.name}`",
        "Timestamp" if column.dtype.is_temporal() else str(column.dtype),
        column.unit,
        "yes" if column.is_nullable else "",
        "price" if column.is_price else "" if low is None and high is None else bounds.strip(),
        column.description.replace("|", "\\|"),
    )
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.stdout.write(data_dictionary())
