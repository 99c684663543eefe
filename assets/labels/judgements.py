"""The check that labels look at nothing that comes after they are known."""

from collections.abc import Callable

import polars as pl
from polars.testing import assert_frame_equal

from assets.shared.judgements import CheckVerdict
from tapewatch.labels.barriers.barriers import BarrierRules, triple_barrier
from tapewatch.labels.barriers.events import cusum_events
from tapewatch.labels.barriers.meta_labels import meta_labels
from tapewatch.labels.barriers.volatility import usable_bars
from tapewatch.labels.training.weights import label_weights
from tapewatch.market.instruments import NS_PER_MINUTE, Partition, Session
from tapewatch.market.schema import Table
from tapewatch.market.tables.labels import LABEL_WEIGHTS, META_LABELS
from tapewatch.market.tables.tape import BARRIER_LABELS, BARS
from tapewatch.store.lake.lake import Lake

#: Symbols that are checked.
_SYMBOLS = 20


def no_look_ahead(table: Table, lake: Lake, partition: Partition) -> CheckVerdict:
    """Labels known by mid-session are the same when the bars after it are removed."""
    session = partition.session
    middle = session.regular_start + (session.regular_end - session.regular_start) // 2
    cut = middle - middle % NS_PER_MINUTE
    symbols = list(lake.symbols(BARS, partition))[:_SYMBOLS] if lake.exists(BARS, partition) else []
    bars = usable_bars(lake.read(BARS, partition, symbols=symbols), session) if symbols else BARS.empty()
    ends = pl.col("time").dt.epoch("ns") + NS_PER_MINUTE
    # Of a symbol that falls silent nothing is known after its last bar.
    going_on = bars.filter(ends > cut)["symbol"].cast(pl.String).unique().to_list()
    bars = bars.filter(pl.col("symbol").cast(pl.String).is_in(going_on))
    if bars.is_empty():
        return True, {"symbols": 0}
    known = pl.col("known_time").dt.epoch("ns") <= cut
    whole = lake.read(table, partition, symbols=sorted(going_on)).filter(known)
    alone = _LABELLERS[table.name](bars.filter(ends <= cut), session, cut).filter(known)
    try:
        assert_frame_equal(alone, whole, categorical_as_str=True, rel_tol=1e-9, abs_tol=1e-9)
    except AssertionError as difference:
        return False, {"symbols": len(going_on), "difference": str(difference)[:500]}
    return True, {"symbols": len(going_on), "labels": whole.height}


def _weights(bars: pl.DataFrame, session: Session, cut: int) -> pl.DataFrame:
    events = cusum_events(bars, span=BarrierRules().volatility_span)
    return label_weights(bars, events, triple_barrier(bars, events=events, session=session, through_ns=cut))


_LABELLERS: dict[str, Callable[[pl.DataFrame, Session, int], pl.DataFrame]] = {
    BARRIER_LABELS.name: lambda bars, session, cut: triple_barrier(bars, session=session, through_ns=cut),
    META_LABELS.name: lambda bars, session, cut: meta_labels(bars, session=session, through_ns=cut),
    LABEL_WEIGHTS.name: _weights,
}
