"""The settings that each market has for itself."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from tapewatch.market.instruments import Market

PlanName = Literal["basic", "starter", "developer", "advanced"]


def split_commas(value: object) -> object:
    """The parts of a text that commas divide, without blanks around them; anything else unchanged."""
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


class MarketSettings(BaseModel):
    """The settings of one market; `MARKET_VARIABLES` names the environment variable of each."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    plan: PlanName = "basic"
    stream_url: str | None = Field(None, description="whole WebSocket address, in place of POLYGON_WS_URL")
    symbols: tuple[str, ...] = ()

    _split = field_validator("symbols", mode="before")(split_commas)


#: The environment variable of each field of `MarketSettings`, to be completed by the market's name.
MARKET_VARIABLES = {"plan": "POLYGON_TIER_", "stream_url": "POLYGON_WS_URL_", "symbols": "TAPEWATCH_SYMBOLS_"}
_SYMBOLS = {
    Market.STOCKS: ("AAPL", "GOOGL", "MSFT", "TSLA", "VOO"),
    Market.CRYPTO: ("X:BTC-USD", "X:ETH-USD", "X:ADA-USD", "X:SOL-USD", "X:DOT-USD", "X:DOGE-USD"),
    Market.FOREX: ("C:EUR-USD", "C:GBP-USD", "C:USD-JPY"),
    Market.INDICES: ("I:SPX", "I:NDX"),
}
#: The settings of each market where nothing is set.
DEFAULT_MARKETS = {market: MarketSettings(symbols=_SYMBOLS.get(market, ())) for market in Market}
