"""Builds the dossier of an event from lake, database and the registered detectors."""

import datetime as dt
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from models.base import Detector
from models.patterns.index import PatternIndex
from models.patterns.shape import SHAPE, shape
from models.scan.detector import ScanDetector
from tapewatch.features.catalog import NAMES
from tapewatch.market.instruments import Partition
from tapewatch.market.tables.derived import ANOMALY_PATTERNS, BINS_5S, INCIDENTS
from tapewatch.market.tables.live import ALERT_VERDICTS, LABELS
from tapewatch.market.tables.tape import ANOMALIES, BARS, MICROSTRUCTURE, QUOTES, TRADES
from tapewatch.reports.dossier.event import ANOMALY, INCIDENT, Event, event_of
from tapewatch.reports.dossier.measures import Measure, measures
from tapewatch.reports.dossier.rebuild import Rebuilt, around, rebuilt, rebuilt_incident, rebuilt_minute
from tapewatch.reports.dossier.regime import regime_at
from tapewatch.store.database.database import Database
from tapewatch.store.lake.inputs import inputs_now, recorded_inputs
from tapewatch.store.lake.lake import Lake

#: What each detector's table is made from; recorded as it is made.
SOURCES = {
    ANOMALIES.name: (MICROSTRUCTURE, TRADES, QUOTES, BARS),
    INCIDENTS.name: (BINS_5S, TRADES, QUOTES),
}
_DAYS_BEFORE, _NEIGHBOURS, _MARGIN_MINUTES = 10, 5, 60


@dataclass(frozen=True)
class Dossier:
    """All that is known of an event.

    `score_now` is the score made again from the tape, `score_of_features` from the features in the lake; both None for an
    alert of a live rule, which depends on the order in which the stream arrived. `inputs` has path, rows, sha256 and
    `sha256_then` of each partition, the last None where it was not recorded. `pattern` holds the numbers of `SHAPE`, all 0 where
    too little is known, and each neighbour its own as `pattern`; `regime` the `REGIMES` row that was known when it began.
    """

    event: Event
    score_now: float | None
    score_of_features: float | None
    measures: tuple[Measure, ...]
    neighbours: tuple[dict[str, Any], ...]
    inputs: Mapping[str, dict[str, Any]]
    verdicts: tuple[dict[str, Any], ...]
    pattern: tuple[float, ...]
    regime: dict[str, Any] | None
    bars: pl.DataFrame = field(repr=False)
    features: pl.DataFrame = field(repr=False)

    @property
    def is_identical(self) -> bool:
        """Whether the score was made again from the tape, bit for bit."""
        return self.score_now is not None and self.score_now == self.event.score

    @property
    def revised(self) -> list[str]:
        """The tables that were replaced since the event was found."""
        return [name for name, each in self.inputs.items() if each["sha256_then"] not in (None, each["sha256"])]

    @property
    def verdict(self) -> str:
        """Whether the score could be made again, in a sentence."""
        event, now = self.event, self.score_now
        if event.source not in (ANOMALY, INCIDENT):
            return "An alert of a live rule depends on the order in which the stream arrived, which the lake does not keep."
        if self.is_identical:
            return f"The score {event.score!r} was made again from the lake, bit for bit."
        why = f": {', '.join(self.revised)} was replaced since" if self.revised else ""
        if now is None:
            return f"Nothing of this event is left in the tape{why}; it was found with the score {event.score!r}."
        return f"The tape says otherwise now{why}. The score was {event.score!r} and is {now!r}."

    @property
    def changed(self) -> list[dict[str, Any]]:
        """Values of the reasons as they were, and as the tape gives them now, where they differ."""
        now = {each.feature: each.value for each in self.measures}
        stored = [reason for reason in self.event.reasons if "feature" in reason and reason["feature"] in now]
        return [
            {"feature": each["feature"], "then": each["value"], "now": now[each["feature"]]}
            for each in stored
            if each["value"] != now[each["feature"]]
        ]

    @property
    def reasons(self) -> list[str]:
        """The strongest reasons in words."""
        event = self.event
        said = [str(reason["words"]) for reason in event.reasons if "words" in reason]
        strongest = [each for each in self.measures if (each.contribution or 0.0) > 0] or [
            m for m in self.measures if not m.is_usual
        ]
        return [*([event.message] if event.message else []), *said, *(each.words for each in strongest[:5])]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for programs."""
        event = self.event
        return {
            "id": event.event_id, "source": event.source, "market": str(event.partition.market), "symbol": event.symbol,
            "start": event.start.isoformat(), "end": event.end.isoformat(), "known": event.known.isoformat(), "kind": event.kind,
            "model": event.model, "threshold": event.threshold, "score": event.score, "score_now": self.score_now,
            "score_of_features": self.score_of_features, "is_identical": self.is_identical, "verdict": self.verdict,
            "revised": self.revised, "changed": self.changed, "reasons": self.reasons,
            "measures": [
                {"feature": m.feature, "value": m.value, "unit": m.unit, "low": m.low, "high": m.high,
                 "contribution": m.contribution, "words": m.words} for m in self.measures
            ],
            "neighbours": [{k: _plain(v) for k, v in each.items()} for each in self.neighbours],
            "pattern": dict(zip(SHAPE, self.pattern, strict=True)),
            "regime": None if self.regime is None else {k: _plain(v) for k, v in self.regime.items()},
            "inputs": dict(self.inputs), "verdicts": [{k: _plain(v) for k, v in each.items()} for each in self.verdicts],
        }  # fmt: skip

    def json(self) -> str:
        """`as_dict` as JSON."""
        return json.dumps(self.as_dict(), indent=1)


class Dossiers:
    """Builds dossiers. Detectors and the patterns of past events are loaded once.

    Args:
        lake, database: where the events are.
        load: a registered detector of minutes by name and version, such as `isolation_forest/3`.
        load_scan: the same of a scan.
        champion: the champion of minutes, which explains events that no detector of minutes found; None without one.
    """

    def __init__(
        self,
        lake: Lake,
        database: Database,
        load: Callable[[str], Detector],
        load_scan: Callable[[str], ScanDetector],
        champion: str | None = None,
    ) -> None:
        self.lake, self.database, self._champion = lake, database, champion
        self._load, self._load_scan = cache(load), cache(load_scan)
        self._index: PatternIndex | None = None

    def of(self, alert_id: str) -> Dossier:
        """The dossier of an event.

        Raises:
            VerdictError: there is no such event.
            LakeError: the tape of its day is not in the lake.
        """
        event = event_of(self.database, alert_id)
        again = self._again(event)
        context = self._before(event)
        peak = again.peak.row(0, named=True) if again.peak.height else None
        # A symbol without features, as the feed as a whole, has no measures.
        found: list[Measure] = []
        if peak is not None:
            contributions = {} if again.attributions is None else _by_feature(again.attributions)
            columns = [name for name in MICROSTRUCTURE.schema if name in NAMES or name in contributions]
            found = measures(peak, context.filter(pl.col("known_time") <= event.start), columns, contributions)
        pattern = shape(context, event.first_minute, event.end_minute)
        start, end = around(event, _MARGIN_MINUTES)
        near = pl.col("event_time").is_between(start, end, "left") & (pl.col("symbol").cast(pl.String) == event.symbol)
        return Dossier(
            event, again.from_tape, again.from_features, tuple(found), tuple(self._neighbours(event, pattern)),
            self._inputs(event), tuple(self._verdicts(alert_id)), tuple(pattern.tolist()),
            regime_at(self.lake, event.partition, event.symbol, event.start), self._bars(event, start, end), context.filter(near),
        )  # fmt: skip

    def _again(self, event: Event) -> Rebuilt:
        if event.source == ANOMALY:
            return rebuilt(self.lake, event, self._load(event.model))
        if event.source == INCIDENT:
            return rebuilt_incident(self.lake, event, self._load_scan(event.model), self._champion_of_minutes())
        if not self.lake.exists(MICROSTRUCTURE, event.partition) or event.symbol not in self.lake.symbols(
            MICROSTRUCTURE, event.partition
        ):
            return Rebuilt(None, None, MICROSTRUCTURE.empty(), None)
        return rebuilt_minute(self.lake, event, self._champion_of_minutes())

    def _champion_of_minutes(self) -> Detector | None:
        """What explains events of the scan and the rules, which have reasons of their own, but none by feature."""
        return None if self._champion is None else self._load(self._champion)

    def _before(self, event: Event) -> pl.DataFrame:
        """The symbol's regular minutes of the event's day and of days before."""
        days = [
            p for p in self.lake.partitions(MICROSTRUCTURE, event.partition.market) if p.date <= event.partition.date
        ]
        frames = [self.lake.read(MICROSTRUCTURE, day, symbols=[event.symbol]) for day in days[-_DAYS_BEFORE - 1 :]]
        return pl.concat([MICROSTRUCTURE.empty(), *frames]).filter("is_regular").sort("event_time")

    def _neighbours(self, event: Event, pattern: npt.NDArray[np.float64]) -> Iterable[dict[str, Any]]:
        if self._index is None:
            self._index = PatternIndex.of(read_patterns(self.lake))
        if not pattern.any():
            return
        nearest = self._index.nearest(pattern, _NEIGHBOURS, before=event.start)
        columns = ["pattern_id", "symbol", "start_time", "end_time", "kind", "label", "score", "distance", "pattern"]
        for row in (
            nearest.with_columns(pl.col("symbol", "kind", "label").cast(pl.String), pattern=pl.concat_list(SHAPE))
            .select(columns)
            .iter_rows(named=True)
        ):
            yield row | {"label": self._label(row) or row["label"]}

    def _label(self, pattern: Mapping[str, Any]) -> str | None:
        """What a person said of a pattern since it was stored."""
        labels = labels_of(
            self.database, str(pattern["symbol"]), pattern["start_time"], pattern["end_time"], pattern["pattern_id"]
        )
        return labels[-1] if labels else None

    def _inputs(self, event: Event) -> dict[str, dict[str, Any]]:
        table = INCIDENTS if event.source == INCIDENT else ANOMALIES
        now = inputs_now(self.lake, event.partition, SOURCES[table.name])
        then = recorded_inputs(self.lake, table, event.partition) if event.source in (ANOMALY, INCIDENT) else {}
        return {name: {**each, "sha256_then": then.get(name, {}).get("sha256")} for name, each in now.items()}

    def _verdicts(self, alert_id: str) -> Iterable[dict[str, Any]]:
        found = self.database.read(ALERT_VERDICTS, where={"alert_id": alert_id})
        return found.select("author", "verdict", "note", "created_time").to_dicts()

    def _bars(self, event: Event, start: dt.datetime, end: dt.datetime) -> pl.DataFrame:
        if not self.lake.exists(BARS, event.partition):
            return BARS.empty()
        bars = self.lake.read(BARS, event.partition, symbols=[event.symbol])
        return bars.filter(pl.col("time").is_between(start, end, "left"))


def read_patterns(lake: Lake) -> pl.DataFrame:
    """Every pattern in the lake."""
    days = [lake.read(ANOMALY_PATTERNS, day) for day in lake.partitions(ANOMALY_PATTERNS)]
    return pl.concat([ANOMALY_PATTERNS.empty(), *days])


def labels_of(database: Database, symbol: str, start: dt.datetime, end: dt.datetime, alert_id: str) -> list[str]:
    """What people said of an anomaly: kinds of labels that overlap it, and verdicts, oldest first."""
    day = dt.timedelta(days=1)
    labels = database.read(LABELS, symbol=symbol, start=start - day, end=end).filter(pl.col("end_time") > start)
    verdicts = database.read(ALERT_VERDICTS, where={"alert_id": alert_id})
    said = [
        *labels.select("created_time", pl.col("kind").cast(pl.String)).rows(),
        *verdicts.select("created_time", pl.col("verdict").cast(pl.String)).rows(),
    ]
    return [text for _, text in sorted(said)]


def _by_feature(attributions: pl.DataFrame) -> dict[str, float]:
    return dict(attributions.select(pl.col("feature").cast(pl.String), "shap_value").iter_rows())


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, dt.datetime) else value


def days_before(lake: Lake, partition: Partition, count: int) -> list[Partition]:
    """The last `count` days of features before a partition, of its market, oldest first."""
    return [p for p in lake.partitions(MICROSTRUCTURE, partition.market) if p.date < partition.date][-count:]
