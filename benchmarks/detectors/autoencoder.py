"""The LSTM autoencoder and the Isolation Forest on the same unseen days: minutes, anomalies, false alerts.

Run: python -m benchmarks.detectors.autoencoder [--market M]. Built-in market: fitted on three days, judged on the next two. Recorded days, if
their folder exists: the last judged with ten anomalies injected into each symbol, after training on the other two. Needs the
extra `deep`.
"""

import argparse
import time

import polars as pl

from benchmarks.measuring import MARKET_DATA
from models.base import Detector
from models.evaluation import evaluate
from models.isolation_forest.detector import IsolationForestDetector
from models.lstm_autoencoder.detector import LstmAutoencoderDetector
from models.rules import volume_ratio
from tapewatch.features.microstructure import microstructure
from tapewatch.labels.injection.injection import inject
from tapewatch.labels.truth import truth_minutes
from tapewatch.market.instruments import Market, Partition
from tests.support.recorded import TICK_DAYS, recorded_quotes, recorded_trades
from tests.support.synthetic_days import days, synthetic_day

_SHOWN = ("average_precision", "rule_average_precision", "precision", "event_recall", "false_alerts_per_symbol_day")


def judged(group: str, fitted: pl.DataFrame, unseen: pl.DataFrame, truth: pl.DataFrame) -> None:
    """Print what each detector finds in `unseen` after learning from `fitted`."""
    detectors: tuple[Detector, ...] = (IsolationForestDetector(seed=7), LstmAutoencoderDetector(seed=7))
    for detector in detectors:
        start = time.perf_counter()
        detector.fit(fitted)
        seconds = time.perf_counter() - start
        scored = unseen.select("symbol", "event_time", "known_time").with_columns(
            score=pl.Series(detector.score(unseen)), rule_score=volume_ratio(unseen)
        )
        result = evaluate(scored, truth, threshold=detector.threshold, truth="")
        found = " ".join(f"{name} {result.metrics[name]:.2f}" for name in _SHOWN)
        print(f"{group}, {detector.name}: {found}, fitted in {seconds:.0f} s on {fitted.height:,} minutes")
        kinds = result.by_kind.select(pl.col("kind").cast(pl.String), "found", "events").rows()
        print("   " + ", ".join(f"{kind} {found}/{events}" for kind, found, events in kinds), flush=True)


def synthetic(market: Market) -> None:
    """The built-in market."""
    dates = days(market)
    later = [synthetic_day(market, day) for day in dates[3:]]
    judged(
        f"built-in {market}",
        pl.concat(synthetic_day(market, day).regular for day in dates[:3]),
        pl.concat(day.regular for day in later),
        pl.concat(day.truth for day in later),
    )


def recorded() -> None:
    """The last recorded day with injected anomalies."""
    tapes = [
        (recorded_trades(MARKET_DATA, day), recorded_quotes(MARKET_DATA, day), Partition(day, Market.STOCKS).session)
        for day in TICK_DAYS
    ]
    fitted = pl.concat(microstructure(*tape).filter("is_regular") for tape in tapes[:2])
    session = tapes[2][2]
    injected = inject(*tapes[2], seed=0, per_symbol=10)
    unseen = microstructure(injected.trades, injected.quotes, session).filter("is_regular")
    judged("recorded, injected", fitted, unseen, truth_minutes(injected.truth_events, session))


def main() -> None:
    """Judge both detectors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--market", type=Market, default=Market.STOCKS, help="the built-in market")
    synthetic(parser.parse_args().market)
    if MARKET_DATA.is_dir():
        recorded()


if __name__ == "__main__":
    main()
