"""A lake and a database with two days of two stocks, scored by two detectors."""

import datetime as dt
from pathlib import Path

import polars as pl

from models.events import merge_anomalies
from models.isolation_forest.detector import ForestParameters, IsolationForestDetector
from models.patterns.shape import patterns
from models.scan.detector import Day, ScanDetector
from tapewatch.bars.time_bars import minute_bars
from tapewatch.emulator.synthetic.market import Synthetic
from tapewatch.features.bins.batch import bins_5s
from tapewatch.features.microstructure import microstructure
from tapewatch.market.instruments import Market, Partition
from tapewatch.market.tables.derived import ANOMALY_PATTERNS, BINS_5S, INCIDENTS
from tapewatch.market.tables.tape import ANOMALIES, BARS, MICROSTRUCTURE, QUOTES, TRADES
from tapewatch.reports.dossier.dossier import SOURCES, Dossier, Dossiers
from tapewatch.store.database.database import Database
from tapewatch.store.database.people.verdicts import anomaly_id
from tapewatch.store.lake.inputs import record_inputs
from tapewatch.store.lake.lake import Lake
from tapewatch.store.lake.tape import tape_end

MODEL, SCAN = "isolation_forest/1", "scan/1"
DAYS = [Partition(dt.date(2024, 3, day), Market.STOCKS) for day in (4, 5)]
SYMBOLS = ("AAPL", "MSFT")


def _load_day(lake: Lake, day: Partition) -> None:
    """The tape of two symbols, and what is computed from it."""
    tapes = [Synthetic(7).day(symbol, day.date) for symbol in SYMBOLS]
    trades, quotes = (pl.concat([getattr(tape, name) for tape in tapes]) for name in ("trades", "quotes"))
    lake.write(TRADES, day, trades)
    lake.write(QUOTES, day, quotes)
    bars = minute_bars(trades, day.session)
    lake.write(BARS, day, BARS.conform(bars.with_columns(known_time="time", source=pl.lit("trades"))))
    lake.write(MICROSTRUCTURE, day, microstructure(trades, quotes, day.session, through_ns=tape_end(lake, day)))
    lake.write(BINS_5S, day, bins_5s(trades, quotes, day.session))


class ScoredDays:
    """A lake and a database with two days, and the two detectors that scored them."""

    def __init__(self, folder: Path, *, trees: int = 30) -> None:
        self.lake, self.database = Lake(folder / "lake"), Database(f"sqlite:///{folder}/tapewatch.db")
        for day in DAYS:
            _load_day(self.lake, day)
        rows = {day: self.lake.read(MICROSTRUCTURE, day).filter("is_regular") for day in DAYS}
        self.forest = IsolationForestDetector(ForestParameters(trees=trees), seed=1).fit(rows[DAYS[0]])
        self.scan = ScanDetector.fit([Day(day.session, self.lake.read(BINS_5S, day)) for day in DAYS])
        for day in DAYS:
            self._detect(day, rows[day])

    def _detect(self, day: Partition, rows: pl.DataFrame) -> None:
        threshold = self.forest.threshold
        scored = self.forest.scored(rows)
        reasons = self.forest.explain(rows.filter(scored["score"] >= threshold))
        events = merge_anomalies(
            scored, reasons, rows, threshold=threshold, model=MODEL, hours_between=self.forest.hours_between
        )
        self.lake.write(ANOMALIES, day, events)
        self.database.replace_anomalies(day, events)
        record_inputs(self.lake, ANOMALIES, day, SOURCES[ANOMALIES.name])
        names = [anomaly_id(day.market, *each) for each in events.select("symbol", "start_time").iter_rows()]
        self.lake.write(ANOMALY_PATTERNS, day, patterns(events, rows, names))
        incidents = self.scan.incidents(self.lake.read(BINS_5S, day), day.session, model=SCAN)
        self.database.replace_day(INCIDENTS, day, incidents)
        record_inputs(self.lake, INCIDENTS, day, SOURCES[INCIDENTS.name])

    def dossier(self, alert_id: str) -> Dossier:
        opened = Dossiers(self.lake, self.database, lambda _: self.forest, lambda _: self.scan, MODEL)
        return opened.of(alert_id)

    def strongest(self, day: Partition) -> str:
        event = self.lake.read(ANOMALIES, day).sort("score", descending=True).row(0, named=True)
        return anomaly_id(day.market, event["symbol"], event["start_time"])
