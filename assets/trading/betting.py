"""What the trading assets share: the size and costs of bets, and the days of the lake traded with them."""

from typing import TYPE_CHECKING

from pydantic import BaseModel, Field

from tapewatch.store.lake.lake import Lake

if TYPE_CHECKING:
    from tapewatch.trading.days import TradingDays


class BettingConfig(BaseModel):
    """The largest position in the quote currency, what trading costs and takes of the volume, and whether limits are dynamic."""

    largest_notional: float = Field(10_000.0, gt=0)
    participation: float = Field(0.1, gt=0, le=1)
    fee_bps: float = Field(0.5, ge=0)
    dynamic_limits: bool = False


def trading_days(lake: Lake, config: BettingConfig) -> "TradingDays":
    from tapewatch.trading.days import TradingDays  # noqa: PLC0415 - SciPy and compiled code, which only runs need
    from tapewatch.trading.signals.build import SignalRules  # noqa: PLC0415
    from tapewatch.trading.signals.risk import RiskRules  # noqa: PLC0415

    return TradingDays(lake, SignalRules(RiskRules(**config.model_dump())))
