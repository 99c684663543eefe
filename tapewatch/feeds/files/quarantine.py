"""Quarantines well-formed rows with impossible values, with file, line, reason and text."""

import datetime as dt
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from tapewatch.feeds.files.columns import LINE
from tapewatch.feeds.files.layouts import Binding, Layout
from tapewatch.feeds.files.parsing import BadLine, line_texts
from tapewatch.market.prices import is_no_price, is_no_side, price_rule
from tapewatch.market.tables.tape import QUARANTINE, QUOTES

_SHOWN_CHARACTERS = 80
_LARGEST = float(np.finfo(np.float64).max)
_CODES = r"^(\d{1,9}(, ?\d{1,9})*)?$"
_TICKER = r"^[A-Za-z0-9][A-Za-z0-9.:/_^+&#*=! -]{0,63}$"


@dataclass(frozen=True, slots=True)
class Bounds:
    """The times that a row may have: `start` included, `end` excluded, none after `now`; int64 ns UTC."""

    start: int
    end: int
    now: int


@dataclass(frozen=True, slots=True)
class _Rule:
    """`pattern`, for columns of few distinct texts, is tested on the distinct ones; `is_broken` names the rows."""

    column: str
    is_broken: pl.Expr
    fault: str
    pattern: str = ""

    @property
    def alarm(self) -> pl.Expr:
        """Whether any row breaks the rule."""
        if self.pattern:
            return (~pl.col(self.column).unique().cast(pl.String).str.contains(self.pattern)).any()
        return self.is_broken.any()

    @property
    def reason(self) -> pl.Expr:
        value = pl.col(self.column)
        if self.column == "time":
            value = value.dt.to_string("iso:strict")
        text = value.cast(pl.String).fill_null("").str.slice(0, _SHOWN_CHARACTERS)
        return pl.concat_str(pl.lit(f"{self.column}: "), text, pl.lit(f" {self.fault}"))


class Screen:
    """Checks the rows of one file against the rules of its layout."""

    def __init__(self, binding: Binding, bounds: Bounds, source: str) -> None:
        self.binding, self.bounds, self.source = binding, bounds, source
        self._rules = list(_rules(binding, bounds))
        self._alarm = pl.any_horizontal(rule.alarm for rule in self._rules)

    def split(self, rows: pl.DataFrame, block: memoryview, first_line: int) -> tuple[pl.DataFrame, pl.DataFrame]:
        """The rows that pass (table columns and `line`), and the others as the `quarantine` table."""
        frame = self.binding.conform(rows).with_columns(rows[LINE])
        if not frame.height or not frame.select(self._alarm).item():
            return frame, QUARANTINE.empty()
        reason = pl.coalesce(pl.when(rule.is_broken).then(rule.reason) for rule in self._rules)
        judged = frame.with_columns(reason.alias("reason"))
        broken = judged.filter(pl.col("reason").is_not_null())
        raws = line_texts(block, first_line, broken[LINE].to_numpy())
        refused = refuse(
            self.source, zip(broken[LINE], (self._in_file_words(r) for r in broken["reason"]), raws, strict=True)
        )
        return judged.filter(pl.col("reason").is_null()).drop("reason"), refused

    def _in_file_words(self, reason: str) -> str:
        ours, _, rest = reason.partition(": ")
        return f"{self.binding.file_column(ours)}: {rest}"


def refuse(source: str, bad: Iterable[BadLine | tuple[int, str, str]]) -> pl.DataFrame:
    """Bad lines as the `quarantine` table."""
    return pl.DataFrame([(source, *line) for line in bad], schema=QUARANTINE.schema, orient="row")


def _rules(binding: Binding, bounds: Bounds) -> Iterator[_Rule]:
    layout = binding.layout
    present = [ours for file, ours in layout.columns.items() if file in binding.header]
    for name in present:
        column, value = layout.table.by_name[name], pl.col(name)
        if not column.is_nullable and column.name != "conditions":
            yield _Rule(name, value.is_null(), "is empty")
        if name == "symbol":
            yield _pattern_rule(name, _TICKER, "is no ticker")
        elif column.dtype == pl.Categorical():
            yield _pattern_rule(name, _CODES, 'is no list of codes such as "12,37"')
        if column.dtype.is_float():
            # NaN sorts above every number, so two comparisons are enough.
            if column.is_price:
                yield _price_rule(name, layout)
            else:
                yield _Rule(name, (value < 0) | (value > _LARGEST), "is no finite number from zero up")
    if "high" in present:
        high, low = pl.col("high"), pl.col("low")
        yield _Rule("high", high < low, "lies below low")
        for name in ("open", "close"):
            yield _Rule(name, ~pl.col(name).is_between(low, high), "lies outside low and high")
    time = pl.col("time")
    yield _Rule("time", time > _time_literal(bounds.now), "lies in the future")
    yield _Rule("time", time < _time_literal(bounds.start), f"lies before the day begins, {_iso(bounds.start)}")
    yield _Rule("time", time >= _time_literal(bounds.end), f"lies after the day ends, {_iso(bounds.end)}")


def _pattern_rule(name: str, pattern: str, fault: str) -> _Rule:
    return _Rule(name, ~pl.col(name).cast(pl.String).str.contains(pattern), fault, pattern)


def _price_rule(name: str, layout: Layout) -> _Rule:
    is_side, market = layout.table is QUOTES, layout.market
    is_broken = is_no_side(name, market) if is_side else is_no_price(name, market)
    return _Rule(name, is_broken, f"is no {price_rule(market, may_be_empty=is_side)}")


def _time_literal(nanoseconds: int) -> pl.Expr:
    return pl.lit(nanoseconds, dtype=pl.Int64).cast(pl.Datetime("ns", "UTC"))


def _iso(nanoseconds: int) -> str:
    return dt.datetime.fromtimestamp(nanoseconds / 1e9, dt.UTC).isoformat().replace("+00:00", "Z")
