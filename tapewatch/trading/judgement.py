"""The strategies judged on all days of the lake: the evaluation, the tear sheet, and whose alerts lose."""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from tapewatch.market.instruments import Partition
from tapewatch.market.tables.signals import OUTCOMES
from tapewatch.trading.days import TradingDays
from tapewatch.trading.evaluation import Evaluation, evaluate
from tapewatch.trading.feedback import losing, performance_by
from tapewatch.trading.record import capacities
from tapewatch.trading.tear_sheet import render_tear_sheet


@dataclass(frozen=True)
class Judgement:
    """What was found.

    Attributes:
        bets: OUTCOMES of all days.
        evaluation: of them.
        sheet: the tear sheet, as HTML.
        by_kind_and_regime, losing_detectors, losing_kinds: see `performance_by` and `losing`.
    """

    bets: pl.DataFrame
    evaluation: Evaluation
    sheet: str
    by_kind_and_regime: pl.DataFrame
    losing_detectors: pl.DataFrame
    losing_kinds: pl.DataFrame

    @property
    def facts(self) -> dict[str, str | float | int]:
        """The figures of the best variant, as far as there are enough bets."""
        found = self.evaluation
        overfitting = found.overfitting.probability if found.overfitting else None
        facts = {
            "bets": self.bets.height,
            "best_variant": found.best or None,
            "variants": found.variants,
            "probability_of_overfitting": overfitting,
            "deflated_sharpe": found.deflated_sharpe,
            "record_needed_hours": found.track_record,
        }
        return {name: value for name, value in facts.items() if value is not None and value != float("inf")}


def judged(days: TradingDays, by_day: Mapping[Partition, pl.DataFrame], *, confidence: float = 0.95) -> Judgement:
    """Judge the bets of days.

    Args:
        days: trades them as accounts.
        by_day: OUTCOMES.
        confidence: from which on a detector's or kind's bets count as losing.
    """
    bets = pl.concat([OUTCOMES.empty(), *by_day.values()])
    evaluation = evaluate(bets)
    sheet = render_tear_sheet(bets, evaluation, list(days.records(by_day)), capacities(days.proposed(by_day), bets))
    return Judgement(
        bets,
        evaluation,
        sheet,
        performance_by(bets, "kind", "regime"),
        losing(bets, "detector", confidence=confidence),
        losing(bets, "kind", confidence=confidence),
    )
