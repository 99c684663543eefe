"""Trading research: signals, what became of them, the strategies judged out of sample, and what paper accounts hold."""

from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl
from pydantic import BaseModel, Field

from assets.shared import judgements
from assets.shared.about import about_days, about_table
from assets.shared.checks import Check, Checked, commit_days
from assets.shared.config import config_of, plain
from assets.shared.shown import counts_of, table_of
from assets.tape.loading import warn
from resources.lake import LakeTable, png
from resources.stores import DatabaseResource, ModelRegistryResource
from tapewatch.market.instruments import Partition
from tapewatch.market.tables.signals import OUTCOMES, PAPER_PORTFOLIO, SIGNALS, WALK_FORWARD
from tapewatch.store.durable import Staging
from tapewatch.store.lake.lake import Lake

if TYPE_CHECKING:
    from tapewatch.lookahead.computation import Computation
    from tapewatch.trading.days import TradingDays

_CHECKS = (Check(judgements.no_look_ahead),)
_EVERY_STRATEGY = "neither alerts nor any other strategy proposed a bet: a quiet day, or one without features"


class BettingConfig(BaseModel):
    """The largest position in the quote currency, and what trading costs and takes of the volume."""

    largest_notional: float = Field(10_000.0, gt=0)
    participation: float = Field(0.1, gt=0, le=1)
    fee_bps: float = Field(0.5, ge=0)


@dg.asset(
    **about_days(SIGNALS, "statsmodels", checks=_CHECKS),
    ins={"microstructure": dg.AssetIn(["features", "microstructure"]), "bars": dg.AssetIn(["tape", "bars"])},
    deps=[["detections", "anomalies"], ["detections", "incidents"]],
    config_schema=plain(BettingConfig),
)
def signals(context: dg.AssetExecutionContext, microstructure: LakeTable, bars: LakeTable) -> Checked:
    """Bets after alerts, from order flow, pairs and leaders: side, confidence by earlier bets, risk and size."""
    days = _days(bars.lake, config_of(context, BettingConfig))

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
            },
            partition_key=str(day),
        )
        return rows

    yield from commit_days(context, SIGNALS, microstructure.lake, found, _CHECKS, computation=days.computation)


@dg.asset(
    **about_days(OUTCOMES, "numba", checks=_CHECKS),
    ins={"signals": dg.AssetIn(["trading", "signals"]), "bars": dg.AssetIn(["tape", "bars"])},
    config_schema=plain(BettingConfig),
)
def backtest(context: dg.AssetExecutionContext, signals: LakeTable, bars: LakeTable) -> Checked:
    """What became of each signal: a label by the barriers on its own path, after costs. Loses and wins alike are kept."""
    from tapewatch.trading.feedback import performance_by  # noqa: PLC0415 - SciPy, which only runs need

    days = _days(bars.lake, config_of(context, BettingConfig))

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


class LosingConfig(BaseModel):
    """From which confidence on a detector's alerts count as losing, and whether its champion is then retired."""

    losing_confidence: float = Field(0.95, gt=0.5, lt=1)
    demotes_losing: bool = False


@dg.asset(
    **about_table(WALK_FORWARD, "html"),
    ins={"backtest": dg.AssetIn(["trading", "backtest"])},
    config_schema=plain(LosingConfig),
)
def walk_forward(
    context: dg.AssetExecutionContext,
    backtest: LakeTable,
    model_registry: ModelRegistryResource,
    database: DatabaseResource,
) -> pl.DataFrame:
    """The strategies on all days, walk-forward and on combinatorial paths, with a tear sheet; also where they lose."""
    from assets.models.traded import demote, losers  # noqa: PLC0415 - as above
    from tapewatch.trading.evaluation import evaluate  # noqa: PLC0415 - as above
    from tapewatch.trading.feedback import losing, performance_by  # noqa: PLC0415
    from tapewatch.trading.record import capacities  # noqa: PLC0415
    from tapewatch.trading.tear_sheet import render_tear_sheet  # noqa: PLC0415 - Plotly, which only runs need

    days = _days(backtest.lake, BettingConfig())
    by_day = {day: backtest.read(day) for day in backtest.partitions()}
    bets = pl.concat([OUTCOMES.empty(), *by_day.values()])
    result = evaluate(bets)
    if result.note:
        warn(context, f"the strategies were not split: {result.note}")
    page = backtest.lake.page(WALK_FORWARD)
    sheet = render_tear_sheet(bets, result, list(days.records(by_day)), capacities(days.proposed(by_day), bets))
    with Staging(page) as staging:
        staging.path.write_text(sheet, encoding="utf-8")
        staging.swap_in()
    config = config_of(context, LosingConfig)
    found = losers(bets, config.losing_confidence)
    if config.demotes_losing and found:
        with database.open() as opened:
            demoted = demote(model_registry.open(), opened, found)
        for name, reason in demoted.items():
            warn(context, f"{name} has no champion any more: {reason}")
    overfitting = result.overfitting.probability if result.overfitting else None
    facts: dict[str, Any] = {
        "tear_sheet": dg.MetadataValue.path(str(page)),
        "bets": bets.height,
        "by_kind_and_regime": table_of(performance_by(bets, "kind", "regime")),
        "losing_detectors": table_of(losing(bets, "detector", confidence=config.losing_confidence)),
        "losing_kinds": table_of(losing(bets, "kind")),
        "best_variant": result.best or None,
        "variants": result.variants,
        "probability_of_overfitting": overfitting,
        "deflated_sharpe": result.deflated_sharpe,
    }
    context.add_output_metadata({name: value for name, value in facts.items() if value is not None})
    return result.table


@dg.asset(**about_table(PAPER_PORTFOLIO, "sqlalchemy"))
def paper_portfolio(context: dg.AssetExecutionContext, database: DatabaseResource) -> pl.DataFrame:
    """What the paper accounts hold, with their money and risk state. Without an account it is empty, with a warning."""
    from tapewatch.trading.paper.plot import equity_curves  # noqa: PLC0415 - Matplotlib, likewise
    from tapewatch.trading.paper.portfolio import portfolio  # noqa: PLC0415 - compiled code, which only runs need

    with database.open() as opened:
        found = portfolio(opened)
    if found.accounts.is_empty():
        warn(context, "there is no paper account: `tapewatch paper start` opens one")
    facts: dict[str, Any] = {"accounts": table_of(found.accounts), "positions": found.positions.height}
    if found.equity.height:
        facts["equity"] = png(equity_curves(found.equity))
    context.add_output_metadata(facts)
    return found.positions


def _days(lake: Lake, config: BettingConfig) -> "TradingDays":
    from tapewatch.trading.days import TradingDays  # noqa: PLC0415 - SciPy and compiled code, which only runs need
    from tapewatch.trading.signals.build import SignalRules  # noqa: PLC0415
    from tapewatch.trading.signals.risk import RiskRules  # noqa: PLC0415

    return TradingDays(lake, SignalRules(RiskRules(**config.model_dump())))
