"""The strategies judged on all days, and what paper accounts hold."""

from typing import Any

import dagster as dg
import polars as pl
from pydantic import BaseModel, Field

from assets.models.forest import MINUTES
from assets.shared.about import about_table
from assets.shared.config import config_of, plain
from assets.shared.shown import table_of
from assets.tape.loading import warn
from assets.trading.betting import BettingConfig, trading_days
from resources.lake import LakeTable, png
from resources.stores import DatabaseResource, ModelRegistryResource
from tapewatch.market.tables.signals import PAPER_PORTFOLIO, WALK_FORWARD
from tapewatch.store.durable import Staging


class LosingConfig(BaseModel):
    """When a champion's alerts count as losing, and what becomes of it.

    Attributes:
        losing_confidence: that the mean of its bets is below zero.
        demotes_losing: the champion before takes its place.
        retires_losing: where there is none before, the model is left without a champion.
    """

    losing_confidence: float = Field(0.95, gt=0.5, lt=1)
    demotes_losing: bool = True
    retires_losing: bool = False


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
    """The strategies on all days, walk-forward and on combinatorial paths, with a tear sheet; a champion whose alerts lose is demoted."""
    from assets.models.traded import bets_of_champions, demote, losers  # noqa: PLC0415 - as below
    from resources.hand_over import hand_over  # noqa: PLC0415 - as below
    from tapewatch.trading.feedback import LEAST_BETS  # noqa: PLC0415 - as below
    from tapewatch.trading.judgement import judged  # noqa: PLC0415 - SciPy and Plotly, which only runs need

    config, days = config_of(context, LosingConfig), trading_days(backtest.lake, BettingConfig())
    by_day = {day: backtest.read(day) for day in backtest.partitions()}
    found = judged(days, by_day, confidence=config.losing_confidence)
    if found.evaluation.note:
        warn(context, f"the strategies were not split: {found.evaluation.note}")
    page = backtest.lake.page(WALK_FORWARD)
    with Staging(page) as staging:
        staging.path.write_text(found.sheet, encoding="utf-8")
        staging.swap_in()
    if config.demotes_losing and found.bets.filter(pl.col("detector").cast(pl.String) != "").height >= LEAST_BETS:
        registry = model_registry.open()
        words = losers(bets_of_champions(days, by_day, registry), config.losing_confidence)
        outcomes = demote(registry, database.open(), words, retires=config.retires_losing)
        if outcomes:
            hand_over(registry, model_registry.champions_folder, MINUTES)
        for text in outcomes.values():
            warn(context, text)
    tables = {
        name: table_of(getattr(found, name)) for name in ("by_kind_and_regime", "losing_detectors", "losing_kinds")
    }
    context.add_output_metadata({"tear_sheet": dg.MetadataValue.path(str(page)), **found.facts, **tables})
    return found.evaluation.table


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
