"""What bets after a detector's alerts earn: evidence for its promotion, by the code of the trading assets."""

from collections.abc import Mapping, Sequence

import polars as pl

from models.base import Detector
from models.events import merge_anomalies
from models.promotion.gates import Bets
from resources.mlflow_registry import ModelRegistry
from resources.promotion import Promoter
from tapewatch.market.instruments import Partition
from tapewatch.market.tables.derived import INCIDENTS
from tapewatch.market.tables.signals import OUTCOMES
from tapewatch.market.tables.tape import ATTRIBUTIONS, BARS, MICROSTRUCTURE
from tapewatch.store.database.database import Database
from tapewatch.store.lake.lake import Lake
from tapewatch.store.lake.tape import tape_end
from tapewatch.trading.feedback import losing, performance_by
from tapewatch.trading.signals.build import signals
from tapewatch.trading.signals.context import context
from tapewatch.trading.signals.outcomes import outcomes
from tapewatch.trading.strategies.alerts import after_alerts, alerts_of


def bets_after(detector: Detector, name: str, lake: Lake | None, keys: Sequence[str]) -> pl.DataFrame:
    """OUTCOMES of unit bets after a detector's alerts of some days, as they were, by day and symbol.

    Args:
        detector: scores the days' regular minutes.
        name: of the detector.
        lake: holds the days; None gives no bets, as days without bars do.
        keys: of the partitions.
    """
    found = [OUTCOMES.empty()]
    for partition in sorted(map(Partition.parse, keys), key=str) if lake is not None else ():
        if lake is not None and lake.exists(MICROSTRUCTURE, partition) and lake.exists(BARS, partition):
            found.append(_bets_of_day(detector, name, lake, partition))
    return pl.concat(found)


def _bets_of_day(detector: Detector, name: str, lake: Lake, day: Partition) -> pl.DataFrame:
    features = lake.read(MICROSTRUCTURE, day)
    rows = features.filter(pl.col("is_regular"))
    if rows.is_empty():
        return OUTCOMES.empty()
    scored = detector.scored(rows)
    events = merge_anomalies(scored, ATTRIBUTIONS.empty(), rows, threshold=detector.threshold, model=name)
    alerts = alerts_of(events, INCIDENTS.empty()).with_columns(detector=pl.lit(name))
    minutes = context(features)
    proposed = after_alerts(alerts, features, minutes)
    found = signals(proposed, minutes, OUTCOMES.empty())
    return outcomes(found, lake.read(BARS, day), day.session, through_ns=tape_end(lake, day))


def bets_of(found: pl.DataFrame) -> Bets | None:
    """OUTCOMES as what the gate `losing` reads; None without any."""
    if found.is_empty():
        return None
    row = performance_by(found.with_columns(all=pl.lit("all")), "all").row(0, named=True)
    chance = 1.0 if row["p_losing"] is None else row["p_losing"]
    return Bets(row["bets"], row["mean_net_bps"], chance)


def metrics_of(found: pl.DataFrame) -> dict[str, float]:
    """OUTCOMES as metrics of a run."""
    bets = bets_of(found)
    return {"bets": 0.0} if bets is None else {"bets": float(bets.count), "bet_mean_net_bps": bets.mean_net_bps}


def losers(found: pl.DataFrame, confidence: float) -> dict[str, str]:
    """The detectors whose alerts lose, with by how much, in words."""
    rows = losing(found, "detector", confidence=confidence)
    return {
        row[
            "detector"
        ]: f"{row['bets']} bets after its alerts earned {row['mean_net_bps']:+.1f} bps each after costs; by chance "
        f"alone the mean would be as low in {row['p_losing']:.1%} of cases"
        for row in rows.iter_rows(named=True)
    }


def demote(registry: ModelRegistry, database: Database, losing_words: Mapping[str, str]) -> dict[str, str]:
    """Retire the champions of detectors whose alerts lose; the history says by how much.

    Returns: the retired, with why. The next training promotes a version that passes the gates, its own bets included.
    """
    promoter = Promoter(registry, database, "dagster")
    retired = {}
    for name, words in losing_words.items():
        if name in registry.names() and registry.champion(name) is not None:
            reason = f"its alerts lose: {words}"
            promoter.retire(name, reason)
            retired[name] = reason
    return retired
