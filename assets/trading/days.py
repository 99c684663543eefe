"""Signals of each market day, and what became of them."""

from typing import TYPE_CHECKING

import dagster as dg
import polars as pl

from assets.shared import look_ahead
from assets.shared.about import about_days
from assets.shared.checks import Check, Checked, commit_days
from assets.shared.config import config_of, plain
from assets.shared.shown import counts_of, table_of
from assets.tape.loading import warn
from assets.trading.betting import BettingConfig, trading_days
from resources.lake import LakeTable
from tapewatch.market.instruments import Partition
from tapewatch.market.tables.signals import OUTCOMES, SIGNALS

if TYPE_CHECKING:
    from tapewatch.lookahead.computation import Computation
    from tapewatch.trading.signals.meta_model import MetaModel

_CHECKS = (Check(look_ahead.no_look_ahead),)
_EVERY_STRATEGY = "neither alerts nor any other strategy proposed a bet: a quiet day, or one without features"


@dg.asset(
    **about_days(SIGNALS, "statsmodels", checks=_CHECKS),
    ins={"microstructure": dg.AssetIn(["features", "microstructure"]), "bars": dg.AssetIn(["tape", "bars"])},
    deps=[["detections", "anomalies"], ["detections", "incidents"]],
    config_schema=plain(BettingConfig),
)
def signals(context: dg.AssetExecutionContext, microstructure: LakeTable, bars: LakeTable) -> Checked:
    """Bets after alerts, from order flow, pairs and leaders: side, confidence by earlier bets, risk and size."""
    days = trading_days(bars.lake, config_of(context, BettingConfig))

    def found(day: Partition) -> pl.DataFrame:
        rows = days.signals(day)
        if rows.is_empty():
            warn(context, f"{day}: no signals, {_EVERY_STRATEGY}")
        refused = rows.filter(~pl.col("is_tradable"))
        context.add_asset_metadata(
            {
                "by_strategy": counts_of(rows["strategy"]),
                "tradable": rows.height - refused.height,
                "not_tradable": counts_of(refused["reason"]),
                "with_size": rows.filter(pl.col("size") != 0).height,
                **_confidences(days.model(day), rows),
            },
            partition_key=str(day),
        )
        return rows

    yield from commit_days(context, SIGNALS, microstructure.lake, found, _CHECKS, computation=days.computation)


def _confidences(model: "MetaModel | None", rows: pl.DataFrame) -> dict[str, float]:
    """How many confidences a meta-model gave, and how many the shrunken rate of earlier bets; and what is known of the model."""
    given = 0 if model is None else rows.height - model.confidence(rows).null_count()
    facts: dict[str, float] = {"confidence_by_meta_model": given, "confidence_by_rate": rows.height - given}
    return facts if model is None else facts | {"meta_model_bets": model.bets, "meta_model_gain_nats": model.gain}


@dg.asset(
    **about_days(OUTCOMES, "numba", checks=_CHECKS),
    ins={"signals": dg.AssetIn(["trading", "signals"]), "bars": dg.AssetIn(["tape", "bars"])},
    config_schema=plain(BettingConfig),
)
def backtest(context: dg.AssetExecutionContext, signals: LakeTable, bars: LakeTable) -> Checked:
    """What became of each signal: a label by the barriers on its own path, after costs. Loses and wins alike are kept."""
    from tapewatch.trading.feedback import performance_by  # noqa: PLC0415 - SciPy, which only runs need

    days = trading_days(bars.lake, config_of(context, BettingConfig))

    def found(day: Partition) -> pl.DataFrame:
        rows = days.outcomes(day) if signals.exists(day) else OUTCOMES.empty()
        if rows.is_empty():
            warn(context, f"{day}: nothing to trade, no signal is tradable and has a bar after it")
        context.add_asset_metadata(
            {
                "by_strategy": table_of(performance_by(rows, "strategy")),
                "by_kind_and_regime": table_of(performance_by(rows, "kind", "regime")),
                **days.account(day, is_sized=False).facts("unit"),
                **days.account(day).facts("sized"),
            },
            partition_key=str(day),
        )
        return rows

    def computation(day: Partition) -> "Computation":
        from tapewatch.trading.lookahead import outcomes_of  # noqa: PLC0415 - as above

        return outcomes_of(signals.read(day) if signals.exists(day) else SIGNALS.empty())

    yield from commit_days(context, OUTCOMES, signals.lake, found, _CHECKS, computation=computation)
