"""A dossier and its page, once detectors are loaded; and attributions of 10,000 alerts by each detector.

Run: python -m benchmarks.detectors.dossier [--alerts N]. Two days of two stocks of the built-in market. The peers of a dossier are what it saves:
explaining every minute of the symbol's day, and scanning the day of all symbols. That of attributions is SHAP's sampling explainer.
"""

import argparse
import time
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
from shap import SamplingExplainer

from benchmarks.measuring import median_seconds
from models.anomaly_classifier.detector import AnomalyClassifierDetector
from models.base import Detector
from models.ensemble.detector import EnsembleDetector
from models.lstm_autoencoder.detector import LstmAutoencoderDetector
from models.lstm_autoencoder.training import AutoencoderParameters
from tapewatch.market.tables.derived import BINS_5S, INCIDENTS
from tapewatch.market.tables.tape import MICROSTRUCTURE
from tapewatch.reports.dossier.dossier import Dossiers
from tapewatch.reports.dossier.page import dossier_html
from tapewatch.store.database.people.verdicts import incident_id
from tests.support.detectors import extreme
from tests.support.scored_days import DAYS, MODEL, ScoredDays

_SAMPLED, _ROUNDS = 20, 7


def main() -> None:
    """Time dossiers, their page, and attributions."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--alerts", type=int, default=10_000)
    alerts = parser.parse_args().alerts
    with TemporaryDirectory() as folder:
        platform = ScoredDays(Path(folder), trees=200)
        rows = pl.concat([platform.lake.read(MICROSTRUCTURE, each).filter("is_regular") for each in DAYS])
        _dossiers(platform)
        _attributions(_detectors(platform, rows), rows, alerts)


def _dossiers(platform: ScoredDays) -> None:
    dossiers = Dossiers(platform.lake, platform.database, lambda _: platform.forest, lambda _: platform.scan, MODEL)
    name, late = platform.strongest(DAYS[1]), platform.database.read(INCIDENTS).sort("start_time").row(-1, named=True)
    incident = incident_id(late["market"], late["symbol"], late["start_time"])
    made = dossiers.of(name)
    minutes = platform.lake.read(MICROSTRUCTURE, DAYS[1], symbols=[made.event.symbol]).filter("is_regular")
    day = dossiers.of(incident).event.partition
    bins = platform.lake.read(BINS_5S, day)
    taken = median_seconds(
        {
            "dossier of an anomaly": lambda: dossiers.of(name),
            "dossier of an incident": lambda: dossiers.of(incident),
            "its page": lambda: dossier_html(made),
            "SHAP of all the day's minutes": lambda: platform.forest.explain(minutes),
            "scan of the day, two symbols": lambda: platform.scan.incidents(bins, day.session),
        },
        _ROUNDS,
        warms_up=True,
    )
    for side, seconds in taken.items():
        print(f"{side:36} {1e3 * seconds:7.0f} ms  {seconds / taken['dossier of an anomaly']:6.1f} times the first")


def _detectors(platform: ScoredDays, rows: pl.DataFrame) -> Mapping[str, Detector]:
    """All learned detectors, of the size that they have by default."""
    labelled = extreme(rows.gather_every(6)).with_columns(kind=pl.lit("price_jump"), weight=pl.lit(1.0))
    classifier = AnomalyClassifierDetector(seed=1).fit(rows, labelled=labelled)
    autoencoder = LstmAutoencoderDetector(AutoencoderParameters(epochs=1), seed=1).fit(rows)
    members = (platform.forest, classifier, autoencoder)
    return {each.name: each for each in (*members, EnsembleDetector(members).fit(rows))}


def _attributions(detectors: Mapping[str, Detector], rows: pl.DataFrame, alerts: int) -> None:
    many = pl.concat([rows] * (alerts // rows.height + 1)).head(alerts)
    taken = {}
    for name, detector in detectors.items():
        start = time.perf_counter()
        detector.contributions(many)
        taken[name] = time.perf_counter() - start
    forest = detectors["isolation_forest"]
    inputs = forest.inputs(rows)  # type: ignore[attr-defined]
    sampling = SamplingExplainer(forest.forest.score_samples, inputs[:50])  # type: ignore[attr-defined]
    start = time.perf_counter()
    sampling.shap_values(inputs[:_SAMPLED], nsamples=500, silent=True)
    theirs = (time.perf_counter() - start) / _SAMPLED * alerts
    print(
        f"\nAttributions of {alerts:,} alerts; by sampling the forest ({_SAMPLED} measured) they would take {theirs:.0f} s:"
    )
    for name, seconds in taken.items():
        print(f"{name:36} {seconds:7.1f} s   sampling takes {theirs / seconds:6.0f} times as long")


if __name__ == "__main__":
    main()
