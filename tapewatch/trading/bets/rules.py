"""How signals become orders."""

from dataclasses import dataclass, field

from tapewatch.market.instruments import NS_PER_MINUTE
from tapewatch.trading.signals.risk import RiskRules


@dataclass(frozen=True, slots=True)
class BetRules:
    """The orders of a bet.

    Attributes:
        risk: largest notional and participation, as the signals were assessed.
        is_sized: by the signals' sizes; False trades each tradable signal at size 1, which collects a record.
        aggression: where in the spread the opening limit lies: 0 own side, 0.5 midquote, 1 other side.
        patience_minutes: life of an opening order.
        closing_minutes: bets are closed so long before the regular session ends, and none is opened any more.
    """

    risk: RiskRules = field(default_factory=RiskRules)
    is_sized: bool = True
    aggression: float = 1.0
    patience_minutes: int = 2
    closing_minutes: int = 2

    def __post_init__(self) -> None:
        if not 0 <= self.aggression <= 1:
            raise ValueError(f"aggression is {self.aggression}: give a number from 0 to 1")
        if min(self.patience_minutes, self.closing_minutes) < 1:
            raise ValueError(f"patience and closing time must be one minute or more: {self}")

    @property
    def closing_ns(self) -> int:
        """`closing_minutes` in ns."""
        return self.closing_minutes * NS_PER_MINUTE
