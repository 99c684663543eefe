"""One symbol's trades, quotes or bars from all their pages: checked, complete, deduplicated, numbered and sorted."""

from dataclasses import dataclass, field, replace
from typing import Final

import polars as pl

from tapewatch.feeds.rest.decode import LINE, DecodedColumns, raw_rows
from tapewatch.feeds.rest.kinds import Kind, Rule, Window, price_rules, time_rules
from tapewatch.feeds.rest.pages import NumberedPage, Pager, Request, lost_next_url
from tapewatch.feeds.rest.repeats import numbered, without_repeats
from tapewatch.feeds.source import Load
from tapewatch.market.instruments import NS_PER_MINUTE, Market
from tapewatch.market.tables.tape import QUARANTINE, SYMBOL

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

    Rows that break a rule are quarantined. `repeats` says which rows are delivered twice, and how rows without sequence
    numbers are numbered. Rows with which a page begins again are dropped and counted as `duplicates`, with a notice.
    `is_metered` saves the call that verifies completeness, unless the last page is full.

    Raises:
        RestError: see `Pager.pages` and `Transport.call`.
    """
    request = kind.request(symbol, window, page_limit)
    rules = (*time_rules(window, now), *price_rules(kind, market), *kind.rules)
    tape = SymbolTape(kind.table.empty())
    frames, page, before = [], None, None
    for page in pager.pages(request, kind.decoder):
        tape.source_rows += page.decoded.source_rows
        good, bad = _split(request, _without_overlap(tape, before, page), rules)
        frames.append(good)
        tape.quarantined += [bad] if bad.height else []
        before = page.decoded.frame
    frame = pl.concat(frames)
    if tape.duplicates:
        tape.notices.append(
            f"{request.what}: {tape.duplicates:,} row(s) at the end of a page came again at the beginning of the next; "
            "each is kept once"
        )
    is_settled = window.end + _SETTLED_AFTER_NS < now
    if page is not None and frame.height and is_settled and (page.is_full or not is_metered):
        unread = sum(quarantined.height for quarantined in tape.quarantined) + tape.duplicates
        _prove_complete(pager, kind, symbol, window, frame, pages=page.number, unread=unread, limit=page_limit)
    frame, repeats, conflicts = without_repeats(kind, market, request.what, frame)
    tape.duplicates += repeats
    tape.quarantined += [conflicts] if conflicts.height else []
    frame = numbered(kind, market, frame)
    order = [name for name in kind.table.sort if name != "symbol"]
    named = kind.table.conform(frame.with_columns(pl.lit(symbol, SYMBOL).alias("symbol")))
    tape.frame = named.sort(order, maintain_order=True)
    return tape


def _without_overlap(
    tape: SymbolTape, before: pl.DataFrame | None, page: NumberedPage[DecodedColumns]
) -> NumberedPage[DecodedColumns]:
    """The page without the rows at its beginning that ended the page before; adds their number to `tape.duplicates`."""
    frame = page.decoded.frame
    if before is None or before.is_empty() or frame.is_empty() or frame["time"][0] is None:
        return page
    near = before.tail(frame.height).filter(pl.col("time") >= frame["time"][0])
    if near.is_empty():
        return page
    values = [name for name in frame.columns if name != LINE]
    last, first = (
        rows.select(pl.struct(values).hash()).to_series().to_numpy() for rows in (near, frame.head(near.height))
    )
    for start in (last == first[0]).nonzero()[0]:
        count = last.size - int(start)
        if (last[start:] == first[:count]).all():
            tape.duplicates += count
            return replace(page, decoded=replace(page.decoded, frame=frame.slice(count)))
    return page


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
