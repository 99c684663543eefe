"""Frames of a day under way, kept by key. Symbols are texts: these join and follow each other at less cost than categories."""

from dataclasses import dataclass

import polars as pl

from tapewatch.market.schema import Table
from tapewatch.market.tables.tape import TIME

NAME = pl.col("symbol").cast(pl.String)
TEXTS = pl.selectors.categorical().cast(pl.String)


@dataclass(frozen=True, slots=True)
class Change:
    """Rows of a table that are new or changed, and the keys of those that are no more."""

    table: Table
    rows: pl.DataFrame
    withdrawn: pl.DataFrame

    def __bool__(self) -> bool:
        return self.rows.height > 0 or self.withdrawn.height > 0


def unchanged(table: Table) -> Change:
    """No change of a table."""
    return Change(table, table.empty(), table.empty().select(table.key))


class Emitted:
    """The rows of a table that were emitted, so that of rows that are computed again only the changes are.

    The table has an `event_time` in its key.
    """

    def __init__(self, table: Table) -> None:
        self.table = table
        self._none = table.empty().with_columns(TEXTS)
        #: Frames with the latest time of each.
        self._frames: list[tuple[int, pl.DataFrame]] = []
        self._oldest = 0

    def followed(self, rows: pl.DataFrame) -> Change:
        """Emit rows of keys that no row before has."""
        self._keep(rows)
        return Change(self.table, rows, rows.clear().select(self.table.key))

    def replaced(self, found: pl.DataFrame, gone: pl.DataFrame) -> Change:
        """Emit those of the rows that are new or differ, and the keys of `gone` that were emitted."""
        key = list(self.table.key)
        emitted, found, gone = (
            self._since(self._oldest),
            found.with_columns(TEXTS),
            gone.select(key).with_columns(TEXTS),
        )
        new = found.join(emitted, on=found.columns, how="anti", nulls_equal=True, maintain_order="left")
        gone = gone.join(found, on=key, how="anti")
        withdrawn = gone.join(emitted, on=key, how="semi")
        rest = emitted.join(pl.concat([found.select(key), gone]), on=key, how="anti", maintain_order="left")
        self._frames = []
        self._keep(rest)
        self._keep(found)
        return Change(self.table, self.table.conform(new), withdrawn)

    def replaced_since(self, found: pl.DataFrame, since_ns: int) -> Change:
        """Emit the rows from a time on anew: as `replaced`, and what is not among them is gone."""
        before = self._since(since_ns)
        return self.replaced(found, before) if before.height else self.followed(found)

    def forget(self, before_ns: int) -> None:
        """Drop rows of earlier times, which are never computed again."""
        self._oldest = before_ns
        self._frames = [(latest, rows) for latest, rows in self._frames if latest >= before_ns]

    def _keep(self, rows: pl.DataFrame) -> None:
        if rows.height:
            self._frames.append((int(rows["event_time"].to_physical().max()), rows))  # type: ignore[arg-type]

    def _since(self, since_ns: int) -> pl.DataFrame:
        late = [rows.with_columns(TEXTS) for latest, rows in self._frames if latest >= since_ns]
        return pl.concat(late).filter(pl.col("event_time") >= pl.lit(since_ns).cast(TIME)) if late else self._none


def replaced(frame: pl.DataFrame, new: pl.DataFrame, gone: pl.DataFrame, time: str) -> pl.DataFrame:
    """The frame without the rows of the keys `gone`, and with the new rows in place of those of the same key."""
    new = new.with_columns(TEXTS)
    return pl.concat([without(without(frame, gone, time), new, time), new.select(frame.columns)])


def without(frame: pl.DataFrame, keys: pl.DataFrame, time: str) -> pl.DataFrame:
    """The frame without the rows of these symbols and times."""
    if not keys.height or not frame.height:
        return frame
    return frame.join(keys.select(NAME, time), on=["symbol", time], how="anti", maintain_order="left")


def of_minutes(withdrawn_bars: pl.DataFrame) -> pl.DataFrame:
    """Those of the keys of withdrawn bars that are of minutes."""
    return withdrawn_bars.filter(pl.col("clock").cast(pl.String) == "1m") if withdrawn_bars.height else withdrawn_bars
