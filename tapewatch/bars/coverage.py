"""The completeness of each symbol's day."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from tapewatch.bars.silence import ALONE, Judged, habits, market_is_up, unknown_minutes
from tapewatch.market.arrays import Array
from tapewatch.market.hours import expected_minutes, product_of
from tapewatch.market.instruments import NS_PER_MINUTE, Market, Session
from tapewatch.market.tables.live import GAPS
from tapewatch.market.tables.tape import COVERAGE, SYMBOL, TIME

_COUNTED = ("trades", "quotes", "bars", "received_minutes", "healed_minutes", "open_gaps", "own_missing", "unknown")
Frame = pl.DataFrame | pl.LazyFrame


def coverage(
    trades: Frame,
    quotes: Frame,
    bars: Frame,
    session: Session,
    *,
    symbols: Sequence[str] = (),
    gaps: pl.DataFrame | None = None,
    known_until: int | None = None,
    other_days: Iterable[tuple[Session, Frame]] = (),
) -> pl.DataFrame:
    """`COVERAGE` rows, one for each symbol on the day's tape or in `symbols`.

    Every minute in which the symbol's product trades (`hours.expected_minutes`) is one of four. With a bar (in forex: a quote) it is
    `healed` within a filled gap and `received` outside. It is `missing` if an unfilled gap touches it, if it was not collected yet,
    or if it has no row and nothing shows that the symbol was silent (see `silence`); the rest is `silent`. Lazy frames are streamed,
    so a day need not fit in memory.

    Args:
        trades, quotes, bars: of their columns only `symbol` and `time` are read.
        session: the day.
        symbols: symbols that get a row even without data.
        gaps: rows of `GAPS` that may touch the day.
        known_until: the tape was collected up to here, ns; None for the whole day.
        other_days: other kept days of the market, with their bars (in forex: quotes), for the symbols' habits.
    """
    holes = _Holes.of(GAPS.empty() if gaps is None else gaps, session, known_until)
    is_forex = session.market is Market.FOREX
    minutes = _minutes(quotes if is_forex else bars, session)
    # Rows of other kinds show that the feed was up.
    others = [] if is_forex else [_minutes(frame, session) for frame in (trades, quotes)]
    by_symbol = [
        trades.lazy()
        .group_by("symbol")
        .agg(trades=pl.len(), first_time=pl.col("time").min(), last_time=pl.col("time").max()),
        quotes.lazy().group_by("symbol").agg(quotes=pl.len()),
        bars.lazy().group_by("symbol").agg(bars=pl.len()),
    ]
    rows = pl.LazyFrame({"symbol": symbols}, schema={"symbol": SYMBOL}).unique()
    for counts in by_symbol:
        rows = rows.join(counts, on="symbol", how="full", coalesce=True)
    found = rows.collect(engine="streaming")
    held = minutes.unique().collect(engine="streaming")
    proofs = pl.concat([held.lazy(), *others]).unique().collect(engine="streaming")
    judgement = _Judgement(session, holes, held, proofs, list(other_days))
    parts = [judgement.of(product, names) for product, names in _by_product(found["symbol"], session)]
    judged = pl.concat(parts) if parts else judgement.of("", found["symbol"])
    filled = (
        found.join(judged, on="symbol", how="left")
        .join(holes.own_counts.select("symbol", "open_gaps"), on="symbol", how="left")
        .with_columns(
            pl.col(_COUNTED).fill_null(0),
            longest_gap_minutes=pl.col("longest_gap_minutes").fill_null(pl.col("expected_minutes")),
        )
        .with_columns(
            missing_minutes=pl.col("all_missing") + pl.col("own_missing") + pl.col("unknown"),
            open_gaps=pl.col("open_gaps") + holes.open_gaps,
        )
        .with_columns(
            silent_minutes=pl.col("expected_minutes")
            - pl.sum_horizontal("missing_minutes", "received_minutes", "healed_minutes"),
            is_complete=(pl.col("missing_minutes") == 0) & (pl.col("open_gaps") == 0),
            reason=_reason(session, known_until),
        )
    )
    return COVERAGE.conform(filled.sort(pl.col("symbol").cast(pl.String)))


def _by_product(symbols: pl.Series, session: Session) -> list[tuple[str, pl.Series]]:
    if session.market not in (Market.FUTURES, Market.OPTIONS):
        return [("", symbols)]
    products = symbols.cast(pl.String).map_elements(lambda symbol: product_of(session, symbol), pl.String)
    return [(str(product), symbols.filter(products == product)) for product in products.unique().sort()]


def _minutes(rows: Frame, session: Session) -> pl.LazyFrame:
    """symbol, minute of each row of the session, counted from the regular open."""
    minute = (pl.col("time").to_physical() - session.regular_start) // NS_PER_MINUTE
    return (
        rows.lazy()
        .select("symbol", minute=minute)
        .filter(pl.col("minute").is_between(0, _size(session), closed="left"))
    )


def _size(session: Session) -> int:
    """Minutes from the regular open to where the longest product closes."""
    return (max(session.extended_end, session.regular_end) - session.regular_start) // NS_PER_MINUTE


def _expected(session: Session, product: str) -> Array:
    """By minute: whether the product trades in it."""
    expected = np.zeros(_size(session), bool)
    for start, end in expected_minutes(session, product):
        expected[start:end] = True
    return expected


@dataclass(frozen=True)
class _Judgement:
    """What the minutes of a day are, for one product after the other.

    `held` has symbol and minute of the rows that are expected, `proofs` of rows of any kind.
    """

    session: Session
    holes: "_Holes"
    held: pl.DataFrame
    proofs: pl.DataFrame
    other_days: list[tuple[Session, Frame]]

    def of(self, product: str, names: pl.Series) -> pl.DataFrame:
        """By symbol: expected, received, healed, all_missing, own_missing, unknown, cause, first and longest_gap."""
        expected = _expected(self.session, product)
        is_judged = expected.copy()
        is_judged[self.holes.missing] = False
        symbols = pl.DataFrame({"symbol": names})
        rows = _within(self.held, symbols, expected)
        own = _within(self.holes.own, symbols, is_judged)
        own_missing = own.filter("is_missing").select("symbol", "minute", is_row=pl.lit(value=False))
        is_received = rows.select("symbol", "minute", is_row=pl.lit(value=True))
        proofs = _within(self.proofs, symbols, expected).select("symbol", "minute", is_row=pl.lit(value=False))
        settled = pl.concat([is_received, own_missing, proofs]).unique(
            ["symbol", "minute"], keep="first", maintain_order=True
        )
        unknown = unknown_minutes(
            _within(settled, symbols, is_judged),
            symbols,
            Judged(is_judged),
            self._market_is_up(is_judged),
            self._habits(product, symbols),
        )
        missing = int(expected.sum() - is_judged.sum())
        return (
            symbols.join(_received(rows, self.holes, expected), on="symbol", how="left")
            .join(own_missing.group_by("symbol").agg(own_missing=pl.len()), on="symbol", how="left")
            .join(unknown, on="symbol", how="left")
            .with_columns(expected_minutes=pl.lit(int(expected.sum())), all_missing=pl.lit(missing))
        )

    def _market_is_up(self, is_judged: Array) -> Array:
        has_rows = np.zeros(is_judged.size, bool)
        has_rows[self.proofs["minute"].unique().to_numpy()] = True
        return market_is_up(has_rows, is_judged)

    def _habits(self, product: str, symbols: pl.DataFrame) -> pl.DataFrame:
        days = []
        for session, rows in self.other_days:
            expected = _expected(session, product)
            minutes = (
                _minutes(rows, session)
                .join(symbols.lazy(), on="symbol", how="semi")
                .unique()
                .collect(engine="streaming")
            )
            days.append((_within(minutes, symbols, expected), expected))
        return habits(days)


def _within(rows: pl.DataFrame, symbols: pl.DataFrame, is_wanted: Array) -> pl.DataFrame:
    wanted = pl.Series(np.flatnonzero(is_wanted))
    return rows.filter(pl.col("minute").is_in(wanted.implode())).join(symbols, on="symbol", how="semi")


def _reason(session: Session, known_until: int | None) -> pl.Expr:
    """Why a day is not complete, for people; null for a complete one."""
    from_ = (pl.col("first") * NS_PER_MINUTE + session.regular_start).cast(TIME).dt.strftime("%H:%M UTC")
    why = (
        pl.when(pl.col("cause") == ALONE)
        .then(pl.lit("no other kept day and no other tape shows that the symbol was silent"))
        .otherwise(pl.lit("on other days it has rows then"))
    )
    minutes = pl.when(pl.col("unknown") == 1).then(pl.lit(" minute")).otherwise(pl.lit(" minutes"))
    unknown = pl.concat_str(pl.col("unknown"), minutes, pl.lit(" without a row from "), from_, pl.lit(" on: "), why)
    gaps = pl.concat_str(
        pl.col("open_gaps"), pl.when(pl.col("open_gaps") == 1).then(pl.lit(" gap")).otherwise(pl.lit(" gaps"))
    )
    parts: list[pl.Expr] = [
        pl.when(pl.col("open_gaps") > 0).then(pl.concat_str(gaps, pl.lit(" not filled"))),
        pl.when(pl.col("unknown") > 0).then(unknown),
    ]
    if known_until is not None and known_until < session.regular_end:
        until = pl.lit(known_until).cast(TIME).dt.strftime("%H:%M UTC")
        parts.insert(0, pl.concat_str(pl.lit("collected until "), until))
    reason = pl.concat_str(parts, separator="; ", ignore_nulls=True)
    return pl.when(reason != "").then(reason)


@dataclass(frozen=True)
class _Holes:
    """Minutes, counted from the regular open, that gaps touch: of all symbols, and of single ones.

    `own` has symbol, minute and is_missing (else healed), without the minutes missing for all symbols; `own_counts` has symbol
    and open_gaps.
    """

    missing: list[int]
    healed: list[int]
    open_gaps: int
    own: pl.DataFrame
    own_counts: pl.DataFrame

    @classmethod
    def of(cls, gaps: pl.DataFrame, session: Session, known_until: int | None) -> "_Holes":
        minutes = _size(session)
        start, end = pl.col("time_from"), pl.col("time_to")
        touching = gaps.select(
            pl.col("symbol").cast(SYMBOL),
            is_missing=pl.col("status") != "healed",
            time_from=pl.col("start_time").to_physical(),
            time_to=pl.col("end_time").to_physical().fill_null(session.day_end),
        ).filter(end > session.day_start, start < session.day_end, start < end)
        first = ((start - session.regular_start) // NS_PER_MINUTE).clip(0, minutes)
        beyond = (-((session.regular_start - end) // NS_PER_MINUTE)).clip(0, minutes)
        spans = touching.select("symbol", "is_missing", minute=pl.int_ranges(first, beyond)).explode("minute")
        spans = spans.filter(pl.col("minute").is_not_null()).unique()
        of_all = spans.filter(pl.col("symbol").is_null())
        missing = set(of_all.filter("is_missing")["minute"])
        if known_until is not None:
            # The minute of the last event counts as collected.
            missing.update(range(max(0, -((session.regular_start - known_until) // NS_PER_MINUTE)), minutes))
        own = (
            spans.filter(pl.col("symbol").is_not_null(), ~pl.col("minute").is_in(list(missing)))
            .group_by("symbol", "minute")
            .agg(pl.col("is_missing").any())
        )
        own_gaps = touching.filter("is_missing", pl.col("symbol").is_not_null())
        return cls(
            missing=sorted(missing),
            healed=of_all.filter(~pl.col("is_missing"))["minute"].to_list(),
            open_gaps=touching.filter("is_missing", pl.col("symbol").is_null()).height,
            own=own,
            own_counts=own_gaps.group_by("symbol").agg(open_gaps=pl.len()),
        )


def _received(rows: pl.DataFrame, holes: _Holes, expected: Array) -> pl.DataFrame:
    """By symbol: the minutes with a row, received and healed apart, and the longest run of expected minutes without any."""
    held = pl.col("minute")
    is_missing = held.is_in(holes.missing) | pl.col("is_missing").fill_null(value=False)
    is_healed = held.is_in(holes.healed) | (~pl.col("is_missing")).fill_null(value=False)
    position = pl.lit(pl.Series(np.cumsum(expected) - 1)).gather(held)
    at, total = pl.col("position"), int(expected.sum())
    return (
        rows.join(holes.own, on=["symbol", "minute"], how="left")
        .with_columns(position=position)
        .group_by("symbol")
        .agg(
            received_minutes=(~is_missing & ~is_healed).sum(),
            healed_minutes=(~is_missing & is_healed).sum(),
            # The time before the first minute and after the last counts too.
            longest_gap_minutes=pl.max_horizontal(at.min(), (at.sort().diff() - 1).max(), total - 1 - at.max()),
        )
    )
