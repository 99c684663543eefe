"""People's labels beside the tape that they are about: whether the tape holds them, their refined edges, how authors agree."""

import datetime as dt
from itertools import combinations
from typing import Any

import polars as pl

from tapewatch.labels.people.agreement import cohen_kappa, krippendorff_alpha, minute_verdicts
from tapewatch.labels.people.edges import Refined, refine
from tapewatch.labels.people.human import HumanLabel, LabelError
from tapewatch.market.instruments import Partition, known_session
from tapewatch.market.tables.live import LABELS
from tapewatch.store.lake.lake import Lake
from tapewatch.store.lake.tape import has_symbol, has_tape, symbol_ticks, tape_end, tape_start


def check_tape(lake: Lake, label: HumanLabel) -> None:
    """Raise a LabelError unless the lake's tape holds the label's symbol and the whole of its time."""
    day: Partition = label.partition
    if not has_tape(lake, day):
        load_it = f"tapewatch backfill --market {day.market} --from {day.date} --to {day.date}"
        raise LabelError(f"{label}: the lake has no tape of {day.market} on {day.date}; load it first: `{load_it}`")
    if not has_symbol(lake, day, label.symbol):
        raise LabelError(f"{label}: the tape of {day.market} on {day.date} holds no {label.symbol}")
    first, last = (
        pl.Series([ns]).cast(pl.Datetime("ns", "UTC"))[0] for ns in (tape_start(lake, day), tape_end(lake, day))
    )
    if label.start < first or label.end > last:
        raise LabelError(f"{label}: the tape of that day runs from {_iso(first)} to {_iso(last)}")


def edges(lake: Lake, label: HumanLabel) -> Refined:
    """The edges of a label, tightened to the tape in the lake; none where the lake has no ticks of its day."""
    start, end = pl.Series([label.start, label.end]).dt.epoch("ns")
    return refine(*symbol_ticks(lake, label.partition, label.symbol), start, end)


def agreement(stored: pl.DataFrame) -> tuple[list[dict[str, Any]], float | None]:
    """Cohen's kappa of each two authors by the minutes that both judged, and Krippendorff's alpha of all.

    Minutes are those of the hours in which trades are expected.

    Args:
        stored: rows of `LABELS` with market and date, as `Database.read` gives them.

    Raises:
        LabelError: no symbol's day was judged by two authors.
    """
    days = stored.select("market", "date", "symbol").unique().iter_rows()
    bounds = {}
    for market, date, symbol in days:
        session = known_session(market, date)
        if session is not None:
            bounds[f"{market} {symbol}", str(date)] = (session.extended_start, session.extended_end)
    named = stored.with_columns(
        symbol=pl.format("{} {}", "market", "symbol"), start_time=pl.col("start_time").cast(LABELS.schema["start_time"])
    )
    verdicts = minute_verdicts(named, bounds)
    pairs = []
    for first, second in combinations(verdicts, 2):
        both = [
            (a, b) for a, b in zip(verdicts[first], verdicts[second], strict=True) if a is not None and b is not None
        ]
        if both:
            kappa = cohen_kappa([a for a, _ in both], [b for _, b in both])
            pairs.append({"first": first, "second": second, "minutes": len(both), "kappa": kappa})
    if not pairs:
        raise LabelError("no symbol's day was labelled by two authors: agreement needs days that both judged")
    return pairs, krippendorff_alpha(list(verdicts.values()))


def _iso(time: dt.datetime) -> str:
    return f"{time.astimezone(dt.UTC):%Y-%m-%dT%H:%M:%SZ}"
