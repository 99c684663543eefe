"""What a person may call a stretch of the tape."""

from typing import Final

NORMAL: Final = "normal"
#: What a person may call a stretch of the tape.
KINDS: Final = (
    "volume_spike", "price_jump", "flash_crash", "volatility_burst", "spread_blowout", "quote_stuffing", "one_sided_flow",
    "correlation_break", "pump_and_dump", "feed_outage", "unusual", NORMAL,
)  # fmt: skip
