"""The scan as a detector: one scan a market, incidents out of a day's bins, files that hold it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import polars as pl

from models.base import DetectorError
from models.manifest import MANIFEST_NAME, file_hash
from models.scan import storage
from models.scan.fitting.learning import Copy
from models.scan.fitting.market import fit_market
from models.scan.incidents import Incidents, incidents
from models.scan.inputs import inputs_of
from models.scan.layout import KINDS, STATISTICS
from models.scan.market_scan import Floats, MarketScan
from models.scan.tail import HOURS, HOURS_AT_ZERO, surprise_of
from models.scan.wording import WORDING
from tapewatch.features.bins.records import BIN_NS
from tapewatch.market.arrays import Array
from tapewatch.market.instruments import Market, Session
from tapewatch.market.tables.derived import INCIDENTS
from tapewatch.market.tables.tape import TIME

#: Increases when the files change their meaning.
FORMAT = 3
#: Kinds that reach this surprise within an incident are among its reasons: ten such peaks in 390 minutes.
_WORTH_SAYING = -1.0
#: A statistic below this would read as 0.0, or as 1.0 times the usual: other statistics together make its kind surprising.
_LEAST_VALUE = 0.05
#: Beyond this, a few days of training say no more than "hardly ever".
MOST_HOURS = 10_000.0
_KIND_OF = [KINDS.index(kind) for kind in STATISTICS.values()]
_AFTER_NS = 600 * 10**9


def hours_of(surprise: float) -> float:
    """Once in how many hours ordinary tape of a symbol reaches a surprise; at most `MOST_HOURS`."""
    return float(min(HOURS_AT_ZERO * 10.0 ** min(surprise, 9.0), MOST_HOURS))


@dataclass(frozen=True)
class Day:
    """A day to learn from.

    `known` has symbol, start_time, end_time of anomalies that are known; None without any. `copies` are bins of the same day with
    anomalies put in, and those anomalies (symbol, kind, start_time, end_time).
    """

    session: Session
    bins: pl.DataFrame
    known: pl.DataFrame | None = None
    copies: tuple[tuple[pl.DataFrame, pl.DataFrame], ...] = ()


@dataclass(frozen=True)
class ScanDetector:
    """Finds incidents of ten kinds in bins of five seconds.

    `hours` is the setting: alerts of ordinary tape come about once in so many hours of a symbol.
    """

    markets: Mapping[Market, MarketScan]
    hours: float = HOURS
    partitions: tuple[str, ...] = field(default=())
    name = "scan"

    @classmethod
    def fit(cls, days: Sequence[Day], *, hours: float = HOURS, partitions: Sequence[str] = ()) -> Self:
        """Fit a scan for each market that has at least two days.

        Args:
            days: whole days, in any order.
            hours: mean hours of ordinary tape between alerts of a symbol.
            partitions: their partition keys, for the manifest.

        Raises:
            DetectorError: no market has two days with bins.
        """
        markets: dict[Market, MarketScan] = {}
        for market in dict.fromkeys(day.session.market for day in days):
            own = [day for day in days if day.session.market is market and day.bins.height]
            if len(own) > 1:
                symbols = sorted({symbol for day in own for symbol in day.bins["symbol"].cast(pl.String).unique()})
                inputs = [inputs_of(day.bins, symbols, day.session) for day in own]
                known = [_known(day, symbols, values.shape[2]) for day, values in zip(own, inputs, strict=True)]
                markets[market] = fit_market(symbols, inputs, known, [_copies(day, symbols) for day in own])
        if not markets:
            raise DetectorError("the scan needs two days of bins of a market to learn what is usual: load another day")
        return cls(markets, hours, tuple(partitions))

    def incidents(
        self, bins: pl.DataFrame, session: Session, *, model: str = "", hours: float | None = None
    ) -> pl.DataFrame:
        """`INCIDENTS` rows of one session, from `BINS_5S` rows of whole symbols.

        Bins after the tape's last row are not judged.

        Raises:
            DetectorError: the detector was not fitted on this market.
        """
        scan = self._fitted(session.market)
        if bins.is_empty():
            return INCIDENTS.empty()
        last = int(bins["event_time"].dt.epoch("ns").max() or 0)  # type: ignore[arg-type]
        scan = scan.for_symbols(sorted(bins["symbol"].cast(pl.String).unique()))
        return self._found(scan, bins, session, last, model, hours)

    def peers_of(self, symbol: str, market: Market) -> list[str]:
        """The symbols that a symbol is held against."""
        return list(self._fitted(market).of_symbol(symbol).symbols[1:])

    def incidents_of(
        self, symbol: str, bins: pl.DataFrame, session: Session, *, last_ns: int, model: str = ""
    ) -> pl.DataFrame:
        """The rows of `incidents` of one symbol, from its bins and those of its peers.

        Args:
            symbol: whose incidents.
            bins: `BINS_5S` rows of it and of `peers_of`; those of other symbols are ignored.
            session: the day.
            last_ns: start of the last bin that is judged, ns UTC: that of the tape, or of an earlier moment.
            model: its name and version.

        Raises:
            DetectorError: the detector was not fitted on this market.
        """
        return self._found(self._fitted(session.market).of_symbol(symbol), bins, session, last_ns, model)

    def _fitted(self, market: Market) -> MarketScan:
        if market not in self.markets:
            fitted = ", ".join(self.markets)
            raise DetectorError(f"the scan was fitted on {fitted}, not on {market}: train it on days of {market}")
        return self.markets[market]

    def _found(
        self,
        scan: MarketScan,
        bins: pl.DataFrame,
        session: Session,
        last_ns: int,
        model: str,
        hours: float | None = None,
    ) -> pl.DataFrame:
        """`INCIDENTS` rows of a scan, up to the bin that begins at `last_ns`."""
        count = (last_ns - session.regular_start) // BIN_NS + 1
        judged, measured = scan.judged(inputs_of(bins, scan.symbols, session, count=count))
        threshold = surprise_of(self.hours if hours is None else hours)
        found = incidents(judged.kinds, threshold, judged.statistics, scan.names)
        return incident_rows(found, scan.symbols, session, judged.kinds, measured, model)

    def save(self, folder: Path) -> None:
        """Write one file a market and a manifest into `folder`, made if need be."""
        folder.mkdir(parents=True, exist_ok=True)
        names = {str(market): f"{market}.npz" for market in self.markets}
        for market, scan in self.markets.items():
            storage.write(scan, folder / names[str(market)])
        manifest = _Manifest(
            hours=self.hours,
            markets=names,
            files={name: file_hash(folder / name) for name in names.values()},
            partitions=list(self.partitions),
        )
        (folder / MANIFEST_NAME).write_text(json.dumps(asdict(manifest), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The detector as saved; its incidents are bit-identical.

        Raises:
            DetectorError: the folder holds no scan, one of another version, or an altered file.
        """
        manifest = _Manifest.read(Path(folder))
        try:
            markets = {Market(market): storage.read(Path(folder) / name) for market, name in manifest.markets.items()}
        except (KeyError, ValueError, OSError) as error:
            raise DetectorError(f"{folder} cannot be used: {error}. Train the detector again") from error
        return cls(markets, manifest.hours, tuple(manifest.partitions))


@dataclass(frozen=True)
class _Manifest:
    hours: float
    markets: dict[str, str]
    files: dict[str, str]
    partitions: list[str]
    detector: str = ScanDetector.name
    statistics: list[str] = field(default_factory=lambda: list(STATISTICS))
    format: int = FORMAT

    @classmethod
    def read(cls, folder: Path) -> Self:
        try:
            manifest = cls(**json.loads((folder / MANIFEST_NAME).read_text(encoding="utf-8")))
        except FileNotFoundError as error:
            raise DetectorError(f"{folder} holds no {MANIFEST_NAME}: it is no saved detector") from error
        except (json.JSONDecodeError, TypeError) as error:
            raise DetectorError(f"{folder / MANIFEST_NAME} is no manifest of a scan: {error}") from error
        faults = [f"{name} has changed" for name, was in manifest.files.items() if file_hash(folder / name) != was]
        expected: list[tuple[str, object, object]] = [
            ("detector", manifest.detector, ScanDetector.name),
            ("format", manifest.format, FORMAT),
            ("statistics", manifest.statistics, list(STATISTICS)),
        ]
        faults += [f"{what} is {was}, here it is {now}" for what, was, now in expected if was != now]
        if faults:
            raise DetectorError(f"{folder} cannot be used: {'; '.join(faults)}. Train the detector again")
        return manifest


def incident_rows(
    found: Incidents, symbols: Sequence[str], session: Session, judged: Floats, measured: Floats, model: str
) -> pl.DataFrame:
    """`INCIDENTS` rows of incidents. The reasons are the statistics of the kinds that were surprising within it."""
    starts = session.regular_start + found.first * BIN_NS
    frame = pl.DataFrame(
        {
            "symbol": [symbols[at] for at in found.symbol],
            "start_time": pl.Series(starts, dtype=pl.Int64).cast(TIME),
            "end_time": pl.Series(session.regular_start + (found.last + 1) * BIN_NS, dtype=pl.Int64).cast(TIME),
            "known_time": pl.Series(starts + BIN_NS, dtype=pl.Int64).cast(TIME),
            "kind": [KINDS[at] for at in found.kind],
            "surprise": found.surprise,
            "hours": [hours_of(each) for each in found.surprise],
            "reasons": [
                json.dumps(_reasons(*span, int(kind), judged, measured), ensure_ascii=False)
                for span, kind in zip(found.spans(), found.kind, strict=True)
            ],
            "model": [model] * len(found.symbol),
        },
        schema_overrides={"reasons": pl.String, "model": pl.String, "kind": pl.String, "symbol": pl.String},
    )
    return INCIDENTS.conform(frame).sort(pl.col("symbol").cast(pl.String), "start_time")


def reasons_of(surprises: Floats, measured: Floats, named: int) -> list[dict[str, Any]]:
    """Each kind that is surprising, the one that names the incident first, then the most surprising, with what its statistic says. Others
    whose statistic is about as usual are left out.

    Args:
        surprises: by kind.
        measured: by statistic.
        named: position of the kind that names the incident.
    """
    reasons = []
    order = np.where(np.isnan(surprises), -np.inf, surprises)
    for kind in sorted(range(len(KINDS)), key=lambda at: (at != named, -order[at])):
        if kind != named and not surprises[kind] > _WORTH_SAYING:
            break
        names = [(at, name) for at, (name, of) in enumerate(STATISTICS.items()) if of == KINDS[kind]]
        # Of two statistics of a kind, the one with the greater value: both are in the same unit.
        at, name = max(names, key=lambda each: np.nan_to_num(measured[each[0]], nan=-np.inf))
        value = float(measured[at])
        if kind != named and not value >= _LEAST_VALUE:
            continue
        reasons.append(
            {"kind": KINDS[kind], "statistic": name, "value": round(value, 4), "words": WORDING[name](value)}
        )
    return reasons


def _reasons(symbol: int, first: int, last: int, named: int, judged: Floats, measured: Floats) -> list[dict[str, Any]]:
    """The reasons within an incident: of each kind at its peak."""
    within = judged[symbol, :, first : last + 1]
    highest = np.where(np.isnan(within), -np.inf, within)
    peak = highest.argmax(axis=1)
    at_peak = np.array([measured[symbol, at, first + peak[_KIND_OF[at]]] for at in range(len(STATISTICS))])
    return reasons_of(highest.max(axis=1), at_peak, named)


def _copies(day: Day, symbols: Sequence[str]) -> list[Copy]:
    """Inputs and events of the day's copies; kinds and symbols that the scan does not have are left out."""
    place, kinds = ({name: at for at, name in enumerate(names)} for names in (symbols, KINDS))
    found = []
    for bins, events in day.copies:
        rows = events.select(pl.col("symbol", "kind").cast(pl.String), pl.col("start_time", "end_time").dt.epoch("ns"))
        spans = [
            (place[symbol], kinds[kind], *((time - day.session.regular_start) // BIN_NS for time in (start, end)))
            for symbol, kind, start, end in rows.iter_rows()
            if symbol in place and kind in kinds
        ]
        known = np.array(spans, dtype=np.int64).reshape(-1, 4)
        found.append(Copy(inputs_of(bins, symbols, day.session), known))
    return found


def _known(day: Day, symbols: Sequence[str], bins: int) -> Array:
    """The bins (symbols x bins) of known anomalies, and ten minutes after each."""
    marked = np.zeros((len(symbols), bins), dtype=np.bool_)
    if day.known is None:
        return marked
    place = {symbol: at for at, symbol in enumerate(symbols)}
    rows = day.known.select(pl.col("symbol").cast(pl.String), pl.col("start_time", "end_time").dt.epoch("ns"))
    for symbol, start, end in rows.iter_rows():
        if symbol in place:
            first, last = (
                (start - day.session.regular_start) // BIN_NS,
                (end + _AFTER_NS - day.session.regular_start) // BIN_NS,
            )
            marked[place[symbol], max(0, first) : max(0, last + 1)] = True
    return marked
