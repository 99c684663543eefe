"""Condition codes of trades: their names, the fields of a bar that they may update, the aggressor.

Source: the vendor's `/v3/reference/conditions` (`update_rules`, consolidated) and its crypto glossary. A trade may have
several codes; it updates a field only if all of them allow it. An unknown code allows everything.
"""

from collections.abc import Iterable, Mapping
from enum import IntEnum, IntFlag
from functools import lru_cache

import numpy as np
import numpy.typing as npt


class Updates(IntFlag):
    """The fields of a bar that a trade may update."""

    NOTHING = 0
    OPEN_CLOSE = 1
    HIGH_LOW = 2
    VOLUME = 4
    PRICE = OPEN_CLOSE | HIGH_LOW
    EVERYTHING = PRICE | VOLUME


_EVERYTHING = Updates.EVERYTHING.value


class Aggressor(IntEnum):
    """Who crossed the spread: the sign of the trade."""

    SELL = -1
    UNKNOWN = 0
    BUY = 1


EXTENDED_HOURS = 12
INTERMARKET_SWEEP = 14
#: Closing, official close, official open and opening prints: auctions, not the flow of the tape.
AUCTION_CODES = frozenset({8, 15, 16, 25})
ODD_LOT = 37
CRYPTO_SELL_SIDE = 1
CRYPTO_BUY_SIDE = 2

#: Corrections from this one on are records about a trade with the same sequence number (10 cancelled, 11 error,
#: 12 corrected), not trades.
FIRST_CORRECTION_RECORD = 10

_FIELD_NAMES = {
    Updates.OPEN_CLOSE: "open and close",
    Updates.HIGH_LOW: "high and low",
    Updates.VOLUME: "volume",
}
_VOLUME_ONLY = (2, 7, 12, 13, 20, 21, 29, 37, 52, 53)
_HIGH_LOW_AND_VOLUME = (5, 10, 22, 32, 33)
_NOTHING = (15, 16)
_PRICE_ONLY = (38,)

#: The vendor's consolidated update rules for US stocks as of July 2026; other codes allow everything.
STOCK_UPDATE_RULES: Mapping[int, Updates] = {
    **dict.fromkeys(_VOLUME_ONLY, Updates.VOLUME),
    **dict.fromkeys(_HIGH_LOW_AND_VOLUME, Updates.HIGH_LOW | Updates.VOLUME),
    **dict.fromkeys(_NOTHING, Updates.NOTHING),
    **dict.fromkeys(_PRICE_ONLY, Updates.PRICE),
}


STOCK_CONDITION_NAMES: Mapping[int, str] = {
    0: "Regular Sale",
    1: "Acquisition",
    2: "Average Price Trade",
    3: "Automatic Execution",
    4: "Bunched Trade",
    5: "Bunched Sold Trade",
    7: "Cash Sale",
    8: "Closing Prints",
    9: "Cross Trade",
    10: "Derivatively Priced",
    11: "Distribution",
    12: "Form T/Extended Hours",
    13: "Extended Hours (Sold Out Of Sequence)",
    14: "Intermarket Sweep",
    15: "Market Center Official Close",
    16: "Market Center Official Open",
    17: "Market Center Opening Trade",
    18: "Market Center Reopening Trade",
    19: "Market Center Closing Trade",
    20: "Next Day",
    21: "Price Variation Trade",
    22: "Prior Reference Price",
    23: "Rule 155 Trade (AMEX)",
    24: "Rule 127 (NYSE Only)",
    25: "Opening Prints",
    27: "Stopped Stock (Regular Trade)",
    28: "Re-Opening Prints",
    29: "Seller",
    30: "Sold Last",
    32: "Sold (Out Of Sequence)",
    33: "Sold (Out Of Sequence) and Stopped Stock",
    34: "Split Trade",
    35: "Stock Option Trade",
    36: "Yellow Flag Regular Trade",
    37: "Odd Lot Trade",
    38: "Corrected Consolidated Close (per listing market)",
    41: "Trade Thru Exempt",
    52: "Contingent Trade",
    53: "Qualified Contingent Trade",
}
CRYPTO_CONDITION_NAMES: Mapping[int, str] = {0: "None", CRYPTO_SELL_SIDE: "Sell Side", CRYPTO_BUY_SIDE: "Buy Side"}


@lru_cache(maxsize=4096)
def parse(conditions: str) -> tuple[int, ...]:
    """The codes of a condition list: `"12,37"` gives (12, 37), an empty string gives ()."""
    return tuple(int(code) for code in conditions.split(",")) if conditions else ()


def updates(conditions: str, rules: Mapping[int, Updates], *, is_extended: bool) -> Updates:
    """What a trade with these conditions may update in a minute bar.

    Args:
        conditions: codes such as `"12,37"`; empty for a regular sale.
        rules: code to allowed fields, such as `STOCK_UPDATE_RULES`, or the vendor's own reference.
        is_extended: the trade happened outside regular hours, where code 12 excludes nothing.
    """
    # A plain number: `&` of two enum members makes a third, which takes longer than all else here.
    allowed = _EVERYTHING
    for code in parse(conditions):
        if code in rules and not (code == EXTENDED_HOURS and is_extended):
            allowed &= rules[code].value
    return Updates(allowed)


def in_words(allowed: Updates) -> str:
    """The fields of a bar that may be updated, in words: `high and low, volume`."""
    return ", ".join(name for flag, name in _FIELD_NAMES.items() if allowed & flag) or "nothing"


def update_flags(
    condition_lists: Iterable[str], rules: Mapping[int, Updates], *, is_extended: bool
) -> npt.NDArray[np.uint8]:
    """`updates` for each distinct condition list of a dictionary-encoded column, in its order."""
    return np.array([updates(text, rules, is_extended=is_extended) for text in condition_lists], dtype=np.uint8)


def has_any_code(condition_lists: Iterable[str], codes: frozenset[int]) -> npt.NDArray[np.bool_]:
    """Which of the condition lists hold one of `codes`."""
    return np.array([not codes.isdisjoint(parse(text)) for text in condition_lists], dtype=np.bool_)


def sign_flags(
    condition_lists: Iterable[str], rules: Mapping[int, Updates], *, is_extended: bool
) -> npt.NDArray[np.bool_]:
    """For each distinct condition list, whether a trade gets a side although it sets no last price: it is an odd lot, and would
    set price and volume if it were none. Arguments as in `updates`."""
    priced = Updates.OPEN_CLOSE | Updates.VOLUME
    flags = []
    for text in condition_lists:
        others = ",".join(str(code) for code in parse(text) if code != ODD_LOT)
        is_priced = bool(updates(text, rules, is_extended=is_extended) & Updates.OPEN_CLOSE)
        flags.append(not is_priced and updates(others, rules, is_extended=is_extended) & priced == priced)
    return np.array(flags, dtype=np.bool_)


def crypto_aggressors(condition_lists: Iterable[str]) -> npt.NDArray[np.int8]:
    """The aggressor that the vendor states for each distinct crypto condition list: 1 sells, 2 buys, else unknown."""
    return np.array([_crypto_aggressor(text) for text in condition_lists], dtype=np.int8)


def _crypto_aggressor(conditions: str) -> Aggressor:
    codes = parse(conditions)
    if CRYPTO_SELL_SIDE in codes:
        return Aggressor.SELL
    return Aggressor.BUY if CRYPTO_BUY_SIDE in codes else Aggressor.UNKNOWN
