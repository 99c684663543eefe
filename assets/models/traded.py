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
from tapewatch.store.database.model_history import history
from tapewatch.store.lake.lake import Lake
from tapewatch.store.lake.tape import tape_end
from tapewatch.trading.days import TradingDays
from tapewatch.trading.feedback import after_alerts_of, losing, performance_by
from tapewatch.trading.signals.build import signals
from tapewatch.trading.signals.context import context
from tapewatch.trading.signals.outcomes import outcomes
from tapewatch.trading.strategies.alerts import after_alerts, alerts_of

_LOSES = "its alerts lose"


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


def bets_of_champions(
    days: TradingDays, by_day: Mapping[Partition, pl.DataFrame], registry: ModelRegistry
) -> pl.DataFrame:
    """OUTCOMES as far as they follow alerts of the versions that are champions now: none answers for another's losses.

    Args:
        days: their alerts, with the versions that raised them.
        by_day: OUTCOMES.
        registry: names the champions.
    """
    champions = {name: str(champion) for name in registry.names() if (champion := registry.champion(name)) is not None}
    found = [OUTCOMES.empty()]
    for day, bets in by_day.items():
        raised = days.raised_by(day)
        found.append(after_alerts_of(bets, [name for name, champion in champions.items() if champion in raised]))
    return pl.concat(found)


def demote(
    registry: ModelRegistry, database: Database, losing_words: Mapping[str, str], *, retires: bool = False
) -> dict[str, str]:
    """Put the champion before in the place of each champion whose alerts lose; the history says by how much.

    A champion without one before, or whose predecessor lost its place likewise, stays unless `retires`: then the model has none
    until a training promotes a version that passes the gates, its own bets included.

    Returns: what became of each losing champion, in words.
    """
    promoter = Promoter(registry, database, "dagster")
    outcomes = {}
    for name, words in losing_words.items():
        champion = registry.champion(name) if name in registry.names() else None
        if champion is None:
            continue
        reason = f"{_LOSES}: {words}"
        before = promoter.before(champion)
        if before is not None and before not in _lost(database, name):
            promoter.roll_back(name, before, reason)
            outcomes[name] = (
                f"version {before} of {name} is champion again in the place of {champion.version}: {reason}"
            )
        elif retires:
            promoter.retire(name, reason)
            outcomes[name] = f"{name} has no champion any more: {reason}"
        else:
            outcomes[name] = (
                f"{champion} stays, since there is no champion before it: {reason}. Set retires_losing, or train again"
            )
    return outcomes


def _lost(database: Database, name: str) -> set[int | None]:
    """The versions that gave up their place because their alerts lost."""
    return {entry["champion_before"] for entry in history(database, name) if entry["reason"].startswith(_LOSES)}
