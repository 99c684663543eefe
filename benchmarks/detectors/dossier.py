"""A dossier and its page, once detectors are loaded; and SHAP values of 10,000 alerts against the library's slower explainer.

Run: python -m benchmarks.detectors.dossier [--alerts N]. Two days of two stocks of the built-in market. The peer of the dossier is what it saves:
explaining every minute of the symbol's day.
"""

import argparse
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
from shap import SamplingExplainer

from benchmarks.measuring import median_seconds
from tapewatch.market.tables.tape import MICROSTRUCTURE
from tapewatch.reports.dossier.dossier import Dossiers
from tapewatch.reports.dossier.page import dossier_html
from tests.support.scored_days import DAYS, MODEL, ScoredDays

_SAMPLED = 20


def main() -> None:
    """Time a dossier, its page, and attributions."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--alerts", type=int, default=10_000)
    alerts = parser.parse_args().alerts
    with TemporaryDirectory() as folder:
        platform = ScoredDays(Path(folder), trees=200)
        dossiers = Dossiers(platform.lake, platform.database, lambda _: platform.forest, lambda _: platform.scan, MODEL)
        name = platform.strongest(DAYS[1])
        made = dossiers.of(name)
        day = platform.lake.read(MICROSTRUCTURE, DAYS[1], symbols=[made.event.symbol]).filter("is_regular")
        taken = median_seconds(
            {
                "dossier": lambda: dossiers.of(name),
                "its page": lambda: dossier_html(made),
                "SHAP of all the day's minutes": lambda: platform.forest.explain(day),
            },
            7,
            warms_up=True,
        )
        for side, seconds in taken.items():
            print(f"{side:32} {1e3 * seconds:8.0f} ms  {seconds / taken['dossier']:6.1f} times the dossier")
        rows = pl.concat([platform.lake.read(MICROSTRUCTURE, each).filter("is_regular") for each in DAYS])
        many = pl.concat([rows] * (alerts // rows.height + 1)).head(alerts)
        start = time.perf_counter()
        platform.forest.explain_inputs(many)
        ours = (time.perf_counter() - start) / alerts
        inputs = platform.forest.inputs(rows)
        sampling = SamplingExplainer(platform.forest.forest.score_samples, inputs[:50])
        start = time.perf_counter()
        sampling.shap_values(inputs[:_SAMPLED], nsamples=500, silent=True)
        theirs = (time.perf_counter() - start) / _SAMPLED
        print(
            f"SHAP of {alerts:,} alerts: {alerts * ours:.1f} s; by sampling ({_SAMPLED} measured) {theirs / ours:.0f} times as long"
        )


if __name__ == "__main__":
    main()
