"""One symbol's trades, quotes or bars from all their pages: checked, complete, deduplicated, numbered and sorted."""

from dataclasses import dataclass, field
from typing import Final

import polars as pl

from tapewatch.feeds.rest.decode import LINE, DecodedColumns, raw_rows
from tapewatch.feeds.rest.kinds import Kind, Numbering, Rule, Window, number_rule, numbering, price_rules, time_rules
from tapewatch.feeds.rest.pages import NumberedPage, Pager, Request, lost_next_url
from tapewatch.feeds.source import Load
from tapewatch.market.copies import IS_CORRECTION_RECORD, identity
from tapewatch.market.instruments import NS_PER_MINUTE, Market
from tapewatch.market.tables import QUARANTINE, SYMBOL

#: The vendor's largest page.
PAGE_LIMIT: Final = 50_000
# Late trades are published within minutes; a tape this old no longer grows between two calls.
_SETTLED_AFTER_NS: Final = 60 * NS_PER_MINUTE


@dataclass
class SymbolTape:
    """One symbol's rows; the counters have the meaning that they have in `Load`."""

    frame: pl.DataFrame
    source_rows: int = 0
    duplicates: int = 0
    quarantined: list[pl.DataFrame] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)

    def count_into(self, load: Load) -> None:
        """Add these counters to a load's."""
        load.source_rows += self.source_rows
        load.duplicates += self.duplicates
        load.quarantined += self.quarantined
        load.notices += self.notices


def fetch_symbol(
    pager: Pager,
    kind: Kind,
    market: Market,
    symbol: str,
    window: Window,
    *,
    now: int,
    is_metered: bool,
    page_limit: int = PAGE_LIMIT,
) -> SymbolTape:
    """All rows that the vendor has of `symbol` in `window`, as one frame of the kind's table.

    Rows that break a rule are quarantined. Rows without sequence numbers are numbered from 1 by (time, exchange, id).
    `is_metered` saves the call that verifies completeness, unless the last page is full.

    Raises:
        RestError: see `Pager.pages` and `Transport.call`.
    """
    request = kind.request(symbol, window, page_limit)
    rules = (*time_rules(window, now), *price_rules(kind, market), *kind.rules, *number_rule(kind, market))
    tape = SymbolTape(kind.table.empty())
    frames, page = [], None
    for page in pager.pages(request, kind.decoder):
        tape.source_rows += page.decoded.source_rows
        good, bad = _split(request, page, rules)
        frames.append(good)
        tape.quarantined += [bad] if bad.height else []
    frame = pl.concat(frames)
    is_settled = window.end + _SETTLED_AFTER_NS < now
    if page is not None and frame.height and is_settled and (page.is_full or not is_metered):
        unread = sum(quarantined.height for quarantined in tape.quarantined)
        _prove_complete(pager, kind, symbol, window, frame, pages=page.number, unread=unread, limit=page_limit)
    frame, tape.duplicates, conflicts = _without_repeats(kind, market, request, frame)
    tape.quarantined += [conflicts] if conflicts.height else []
    frame = _numbered(kind, market, frame)
    order = [name for name in kind.table.sort if name != "symbol"]
    tape.frame = kind.table.conform(frame.with_columns(pl.lit(symbol, SYMBOL).alias("symbol"))).sort(order)
    return tape


def _split(
    request: Request, page: NumberedPage[DecodedColumns], rules: tuple[Rule, ...]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The page's good rows as columns, and its bad ones as quarantine rows."""
    decoded, frame = page.decoded, page.decoded.frame
    source = f"{request.what} page {page.number}"
    refused = pl.DataFrame(
        [(source, bad.line, bad.reason, bad.raw) for bad in decoded.bad], QUARANTINE.schema, orient="row"
    )
    is_bad = frame.select(pl.any_horizontal(fault.fill_null(value=False) for fault, _ in rules)).to_series()
    if not is_bad.any():
        return frame, refused
    reason = pl.coalesce(pl.when(fault).then(sentence) for fault, sentence in rules)
    faulty = frame.filter(is_bad).select(
        pl.lit(source).alias("source"), pl.col(LINE).alias("line"), reason.alias("reason")
    )
    raw = raw_rows(page.body, faulty["line"])
    broken = QUARANTINE.conform(faulty.with_columns(pl.Series("raw", raw, pl.String())))
    return frame.filter(~is_bad), pl.concat([refused, broken]).sort("line")


def _prove_complete(
    pager: Pager,
    kind: Kind,
    symbol: str,
    window: Window,
    frame: pl.DataFrame,
    *,
    pages: int,
    unread: int,
    limit: int,
) -> None:
    """Request what follows the last row: if there are rows, a page lacked its `next_url`."""
    last = int(frame.select(pl.col("time").dt.timestamp("ns").max()).item())
    at_last = frame.filter(pl.col("time").dt.timestamp("ns") == last).height
    allowed = at_last + unread
    rest = Window(last, window.end, window.label)
    request = kind.request(symbol, rest, min(limit, allowed + 1))
    found = 0
    for page in pager.pages(request, kind.decoder):
        found += page.decoded.source_rows
        if found > allowed:
            raise lost_next_url(request, pages)


def _without_repeats(
    kind: Kind, market: Market, request: Request, frame: pl.DataFrame
) -> tuple[pl.DataFrame, int, pl.DataFrame]:
    """`frame` with each key once (see `market.copies`), the number of exact re-deliveries, and the rows contradicted."""
    has_numbers = numbering(kind.tape, market) is not Numbering.NEVER
    key = [name for name in identity(kind.table, market, has_numbers=has_numbers) if name != "symbol"]
    if not key or not frame.height:
        return frame, 0, QUARANTINE.empty()
    known = pl.all_horizontal(pl.col(name).is_not_null() for name in key)
    tied = known & pl.struct(key).is_duplicated()
    if not frame.select(tied.any()).item():
        return frame, 0, QUARANTINE.empty()
    values = [name for name in frame.columns if name != LINE]
    is_record = pl.lit(value=False)
    if "correction" in frame.columns:
        is_record = pl.sql_expr(IS_CORRECTION_RECORD)
        frame = frame.sort(is_record, descending=True, maintain_order=True)
    is_dropped = tied & ~pl.struct(key).is_last_distinct()
    dropped = frame.with_columns(is_dropped.alias("is_dropped"), pl.struct(values).is_last_distinct().alias("differs"))
    conflicts = dropped.filter("is_dropped", "differs")
    named = pl.struct(key).struct.json_encode()
    refused = conflicts.select(
        pl.lit(f"{request.what}, repeated keys").alias("source"),
        pl.int_range(1, pl.len() + 1, dtype=pl.Int64).alias("line"),
        pl.when(is_record)
        .then(pl.format("a correction record, not a trade: the trade with the same {} stays", named))
        .otherwise(pl.format("replaced by a later row, which has the same {} and other content", named))
        .alias("reason"),
        pl.struct(values).struct.json_encode().alias("raw"),
    )
    repeats = dropped.select((pl.col("is_dropped") & ~pl.col("differs")).sum()).item()
    return dropped.filter(~pl.col("is_dropped")).select(frame.columns), repeats, QUARANTINE.conform(refused)


def _numbered(kind: Kind, market: Market, frame: pl.DataFrame) -> pl.DataFrame:
    if "sequence_number" not in kind.table.by_name:
        return frame
    if market is not Market.FOREX and "bid_size" in frame.columns:
        frame = frame.with_columns(pl.col("bid_size", "ask_size").fill_null(0.0))
    rule = numbering(kind.tape, market)
    is_stated = rule is Numbering.WHERE_STATED and not frame["sequence_number"].null_count()
    if rule is Numbering.ALWAYS or is_stated:
        return frame
    order = [name for name in ("time", "exchange", "id") if name in frame.columns]
    ordered = frame.sort(order, maintain_order=True)
    return ordered.with_columns(pl.int_range(1, pl.len() + 1, dtype=pl.Int64).alias("sequence_number"))
