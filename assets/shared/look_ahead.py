"""The check of a committed partition that its rows do not depend on the future."""

from assets.shared.judgements import CheckVerdict
from tapewatch.lookahead import catalogue
from tapewatch.lookahead.checks import chosen_times, compared
from tapewatch.lookahead.computation import Computation, Tape
from tapewatch.market.instruments import Partition
from tapewatch.market.schema import Table
from tapewatch.market.tables.derived import BINS_5S
from tapewatch.market.tables.features import CORRELATIONS, CROSS_ASSET, INDICATORS, MICROSTRUCTURE_MORE
from tapewatch.market.tables.tape import BARRIER_LABELS, MICROSTRUCTURE
from tapewatch.store.lake.lake import Lake
from tapewatch.store.lake.tape import has_ticks, tape_end

#: Known times spread over the day, of which the computation's number is checked.
_SPREAD = 5
#: Symbols that a verdict names at most.
_NAMED = 10
#: The computation of a table from a day of ticks (True) or of bars alone.
_COMPUTED = {
    (MICROSTRUCTURE.name, True): catalogue.MINUTES,
    (MICROSTRUCTURE.name, False): catalogue.MINUTES_OF_BARS,
    (BINS_5S.name, False): catalogue.BINS,
    (BARRIER_LABELS.name, False): catalogue.LABELS,
    (MICROSTRUCTURE_MORE.name, False): catalogue.MORE,
    (INDICATORS.name, False): catalogue.INDICATORS_OF_BARS,
    (CROSS_ASSET.name, False): catalogue.CROSS,
    (CORRELATIONS.name, False): catalogue.MATRIX,
}


def no_look_ahead(
    table: Table, lake: Lake, partition: Partition, computation: Computation | None = None
) -> CheckVerdict:
    """Rows of the busiest symbol, or of all where they depend on each other, equal those computed without the future, with another one, and with late news of the past.

    Args:
        table: what was computed.
        lake: holds it and its inputs.
        partition: the day.
        computation: how, where that depends on the run; else as the catalogue says.
    """
    computation = computation or _COMPUTED.get((table.name, has_ticks(lake, partition))) or _COMPUTED[table.name, False]
    tables = [each.table for each in computation.inputs if lake.exists(each.table, partition)]
    counts = next((found for each in tables if (found := lake.symbols(each, partition))), None)
    if not counts:
        return True, {"symbols": 0}
    symbol = max(counts, key=lambda name: counts[name])
    symbols = sorted(counts) if computation.is_of_market else [symbol]
    frames = {
        each.table.name: lake.read(each.table, partition, symbols=symbols)
        if each.table in tables
        else each.table.empty()
        for each in computation.inputs
    }
    tape = Tape(partition.session, frames, tuple(symbols), tape_end(lake, partition))
    stored = lake.read(table, partition, symbols=symbols)
    most = computation.moments
    moments = chosen_times(computation.known_times(stored), max(_SPREAD, most))[:most] or [tape.through_ns]
    for at in moments:
        for check, differs in compared(computation, tape, stored, at):
            if differs is not None:
                return False, {
                    "symbol": str(differs.row.get("symbol", symbol)),
                    "check": check,
                    "columns": list(differs.columns),
                    "row": str(differs.row),
                }
    return True, {"symbol": ", ".join(symbols[:_NAMED]), "rows": stored.height, "moments": len(moments)}
