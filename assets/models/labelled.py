"""Labelled minutes for the classifier: what is injected, what people said, and what rules and detectors voted."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from models.anomaly_classifier.examples import Day, by_people, by_votes, injected
from tapewatch.market.instruments import Partition
from tapewatch.market.tables.labels import HUMAN_LABELS, WEAK_LABELS
from tapewatch.market.tables.tape import MICROSTRUCTURE, QUOTES, TRADES
from tapewatch.store.lake.lake import Lake


def labelled_minutes(lake: Lake, days: Sequence[Partition], seed: int, config: Mapping[str, Any]) -> pl.DataFrame:
    """Labelled minutes of the training days: injected into copies of the last of them, by people, and by votes.

    Args:
        seed: of the injection.
        config: `anomalies_per_symbol_day`, and of each market the `most_days` and `most_rows` of tape that are copied.
    """
    found = []
    for market in sorted({day.market for day in days}):
        own = [day for day in days if day.market is market]
        copied = tapes_of(lake, own[-config["most_days"] :], config["most_rows"])
        found.append(injected(copied, seed=seed, per_symbol=config["anomalies_per_symbol_day"]))
    for day in days:
        minutes = lake.read(MICROSTRUCTURE, day).filter("is_regular")
        if lake.exists(HUMAN_LABELS, day):
            found.append(by_people(minutes, lake.read(HUMAN_LABELS, day)))
        if lake.exists(WEAK_LABELS, day):
            found.append(by_votes(minutes, lake.read(WEAK_LABELS, day)))
    return pl.concat(found)


def tapes_of(lake: Lake, days: Sequence[Partition], most_rows: int) -> list[Day]:
    """Trades and quotes of those symbols that fit into `most_rows` over all days, the most active first."""
    counts: dict[str, int] = {}
    for day in days:
        for table in (TRADES, QUOTES):
            for symbol, rows in (lake.symbols(table, day) if lake.exists(table, day) else {}).items():
                counts[symbol] = counts.get(symbol, 0) + rows
    chosen, room = [], most_rows
    for symbol, rows in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        if rows <= room:
            chosen.append(symbol)
            room -= rows

    def read(table: Any, day: Partition) -> pl.DataFrame:
        return lake.read(table, day, symbols=chosen) if lake.exists(table, day) else table.empty()

    return [(read(TRADES, day), read(QUOTES, day), day.session) for day in days] if chosen else []
