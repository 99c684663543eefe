"""What a person may call a stretch of the tape."""

from typing import Final

NORMAL: Final = "normal"
#: What belongs to each class that every deployment offers.
MEANINGS: Final = {
    "volume_spike": "Far more is traded than is usual at this time of day.",
    "price_jump": "The price moves at once and stays there.",
    "flash_crash": "The price falls or rises within minutes and comes back.",
    "volatility_burst": "The price moves far more than usual, to and fro.",
    "spread_blowout": "Bid and ask lie far wider apart than usual.",
    "quote_stuffing": "Quotes come in far greater number than trades explain.",
    "one_sided_flow": "Buyers or sellers alone trade for minutes, and the price hardly moves.",
    "correlation_break": "The symbol leaves those that it usually moves with.",
    "pump_and_dump": "The price is driven up on volume, then falls back.",
    "feed_outage": "Nothing comes while the market trades.",
    "unusual": "Something else that is out of the ordinary.",
    NORMAL: "Nothing out of the ordinary: an alert here is false.",
}
#: What a person may call a stretch of the tape.
KINDS: Final = tuple(MEANINGS)
