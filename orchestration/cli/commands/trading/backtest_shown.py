"""How `tapewatch backtest` shows an outcome: its figures, or one of its frames, as a table, CSV or JSON."""

from collections.abc import Callable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from orchestration.cli.listing import Column, Field, Format, Listing, counted, time_field
from orchestration.errors import console, output

if TYPE_CHECKING:
    import polars as pl

    from tapewatch.trading.engine import Outcome

_SHOWN_REFUSALS = 5
#: Rows of a frame that the table for people holds; CSV and JSON hold all.
_SHOWN_ROWS = 50
_NOUNS = MappingProxyType({"positions": "change", "equity": "interval", "cash_flows": "cash flow"})


class Part(StrEnum):
    """What of an outcome is shown."""

    SUMMARY = "summary"
    ORDERS = "orders"
    FILLS = "fills"
    POSITIONS = "positions"
    EQUITY = "equity"
    CASH_FLOWS = "cash_flows"
    REFUSALS = "refusals"


def show(outcome: "Outcome", part: Part, form: Format, title: str) -> None:
    """Write a part to standard output; the first refusals of a summary for people go to standard error."""
    if part is Part.SUMMARY:
        _show_summary(outcome, form, title)
        return
    frame: pl.DataFrame = getattr(outcome, str(part))
    shown = frame.head(_SHOWN_ROWS) if form is Format.TABLE else frame
    listing(part, frame).show(shown.to_dicts(), form)
    if shown.height < frame.height:
        console.print(f"and {frame.height - shown.height:,} more: --format csv or json lists all of them")


def listing(part: Part, frame: "pl.DataFrame") -> Listing:
    """How the rows of a frame are listed: money in the quote currency, times as ISO 8601."""
    noun = _NOUNS.get(part, str(part).removesuffix("s"))
    fields = [_field(name, dtype) for name, dtype in frame.schema.items()]
    return Listing(
        counted(noun),
        columns=[_column(field, frame.schema[source]) for field, source in zip(fields, frame.columns, strict=True)],
        fields=fields,
        is_boxed=False,
    )


def _field(name: str, dtype: "pl.DataType") -> Field:
    if dtype.is_temporal():
        return time_field(name, name)
    if name.endswith("_cents"):
        return Field(name.removesuffix("_cents"), lambda row: row[name] / 100)
    return Field(name, lambda row: row[name])


def _column(field: Field, dtype: "pl.DataType") -> Column:
    value: Callable[[Any], Any] = field.value or (lambda row: row[field.name])

    def text(row: Any) -> str:
        found = value(row)
        if found is None:
            return ""
        return (
            f"{found:,.10g}" if isinstance(found, int | float) and not isinstance(found, bool) else escape(str(found))
        )

    is_number = dtype.is_numeric()
    return Column(field.name.replace("_", " "), text, is_number=is_number, folds=field.name in ("detail", "reason"))


def _show_summary(outcome: "Outcome", form: Format, title: str) -> None:
    from tapewatch.trading.summary import summary  # noqa: PLC0415

    figures = summary(outcome)
    if form is not Format.TABLE:
        Listing(counted("backtest"), columns=(), fields=[Field(name) for name in figures]).show([figures], form)
        return
    table = Table(title=title, title_justify="left", show_header=False)
    states = [f"{figures[name]:,} {name}" for name in _STATES if figures[name]]
    table.add_row("orders", ", ".join(states) or "none")
    for name, words in _WORDS.items():
        if figures[name] is not None:
            table.add_row(*words(figures[name]))
    output().print(table)
    for row in outcome.refusals.head(_SHOWN_REFUSALS).iter_rows(named=True):
        what = row["order_id"] or row["symbol"]
        console.print(f"refused ({row['reason']}): {what}: {escape(row['detail'])}", soft_wrap=True)
    if outcome.refusals.height > _SHOWN_REFUSALS:
        more = outcome.refusals.height - _SHOWN_REFUSALS
        console.print(f"and {more:,} more refusals: --show refusals lists all of them")


_STATES = ("filled", "expired", "cancelled", "refused", "open", "waiting")


def _line(label: str, form: str) -> Callable[[Any], tuple[str, str]]:
    return lambda value: (label, f"{value:{form}}")


_WORDS: Mapping[str, Callable[[Any], tuple[str, str]]] = MappingProxyType(
    {
        "fills": _line("fills", ",d"),
        "notional": _line("notional", ",.2f"),
        "fees": _line("fees", ",.2f"),
        "borrow_and_dividends": _line("borrow, dividends", ",.2f"),
        "equity": _line("equity", ",.2f"),
        "profit": _line("profit", ",.2f"),
        "max_drawdown": _line("largest drawdown", ".2%"),
        "turnover": _line("turnover", ".2f"),
        "time_in_market": _line("time in the market", ".0%"),
        "sharpe": _line("Sharpe ratio of hours", ".2f"),
    }
)
