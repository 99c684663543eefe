"""The vendor's update rules in examples worked by hand, and the aggressor by crypto codes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapewatch.market.conditions import (
    STOCK_CONDITION_NAMES,
    STOCK_UPDATE_RULES,
    Aggressor,
    Updates,
    crypto_aggressors,
    in_words,
    parse,
    update_flags,
    updates,
)

_ALL, _NONE = Updates.EVERYTHING, Updates.NOTHING
_CODES = st.lists(st.integers(0, 80), max_size=5)


@pytest.mark.parametrize(
    ("conditions", "regular", "extended"),
    [
        ("", _ALL, _ALL),
        ("14", _ALL, _ALL),  # intermarket sweep
        ("14,41", _ALL, _ALL),
        ("12", Updates.VOLUME, _ALL),  # form T: outside regular hours it only states the hour
        ("2", Updates.VOLUME, Updates.VOLUME),  # average price
        ("7", Updates.VOLUME, Updates.VOLUME),  # cash sale
        ("13", Updates.VOLUME, Updates.VOLUME),  # extended hours, out of sequence
        ("37", Updates.VOLUME, Updates.VOLUME),  # odd lot
        ("12,37", Updates.VOLUME, Updates.VOLUME),
        ("52", Updates.VOLUME, Updates.VOLUME),  # contingent
        ("53", Updates.VOLUME, Updates.VOLUME),  # qualified contingent
        ("10", Updates.HIGH_LOW | Updates.VOLUME, Updates.HIGH_LOW | Updates.VOLUME),  # derivatively priced
        ("22", Updates.HIGH_LOW | Updates.VOLUME, Updates.HIGH_LOW | Updates.VOLUME),  # prior reference price
        ("29", Updates.VOLUME, Updates.VOLUME),  # seller
        ("32", Updates.HIGH_LOW | Updates.VOLUME, Updates.HIGH_LOW | Updates.VOLUME),  # sold out of sequence
        ("33", Updates.HIGH_LOW | Updates.VOLUME, Updates.HIGH_LOW | Updates.VOLUME),
        ("2,10,41", Updates.VOLUME, Updates.VOLUME),
        ("15", _NONE, _NONE),  # official close
        ("16", _NONE, _NONE),  # official open
        ("14,16", _NONE, _NONE),
        ("38", Updates.PRICE, Updates.PRICE),  # corrected consolidated close
        ("38,10", Updates.HIGH_LOW, Updates.HIGH_LOW),
        ("38,2", _NONE, _NONE),
        ("9999", _ALL, _ALL),  # unknown
        ("9999,37", Updates.VOLUME, Updates.VOLUME),
    ],
)
def test_rules_by_hand(conditions: str, regular: Updates, extended: Updates) -> None:
    assert updates(conditions, STOCK_UPDATE_RULES, is_extended=False) == regular
    assert updates(conditions, STOCK_UPDATE_RULES, is_extended=True) == extended


@given(_CODES)
def test_more_codes_never_allow_more(codes: list[int]) -> None:
    text = ",".join(map(str, codes))
    assert parse(text) == tuple(codes)
    allowed = updates(text, STOCK_UPDATE_RULES, is_extended=True)
    for code in codes:
        alone = updates(str(code), STOCK_UPDATE_RULES, is_extended=True)
        assert allowed & alone == allowed


@given(_CODES)
def test_order_and_repetition_of_codes_do_not_matter(codes: list[int]) -> None:
    straight = updates(",".join(map(str, codes)), STOCK_UPDATE_RULES, is_extended=False)
    doubled = updates(",".join(map(str, [*reversed(codes), *codes])), STOCK_UPDATE_RULES, is_extended=False)
    assert straight == doubled


def test_flags_follow_the_dictionary() -> None:
    flags = update_flags(["", "12", "15", "12,37"], STOCK_UPDATE_RULES, is_extended=True)
    assert flags.tolist() == [7, 7, 0, 4]
    assert flags.dtype == "uint8"
    assert update_flags(["12"], STOCK_UPDATE_RULES, is_extended=False).tolist() == [4]


def test_other_rules_may_be_given() -> None:
    without_sweeps = {**STOCK_UPDATE_RULES, 14: Updates.VOLUME}
    assert updates("14,41", without_sweeps, is_extended=False) == Updates.VOLUME


def test_the_aggressor_that_crypto_codes_state() -> None:
    assert crypto_aggressors(["1", "2", "", "0", "2,7", "17"]).tolist() == [
        Aggressor.SELL, Aggressor.BUY, Aggressor.UNKNOWN, Aggressor.UNKNOWN, Aggressor.BUY, Aggressor.UNKNOWN,
    ]  # fmt: skip


def test_names_of_conditions() -> None:
    """Samples of the vendor's table of conditions."""
    assert STOCK_CONDITION_NAMES[2] == "Average Price Trade"
    assert STOCK_CONDITION_NAMES[12] == "Form T/Extended Hours"
    assert STOCK_CONDITION_NAMES[14] == "Intermarket Sweep"
    assert STOCK_CONDITION_NAMES[37] == "Odd Lot Trade"
    assert STOCK_CONDITION_NAMES[53] == "Qualified Contingent Trade"
    assert len(STOCK_CONDITION_NAMES) == 39
    assert set(STOCK_UPDATE_RULES) < set(STOCK_CONDITION_NAMES)
    assert sorted(STOCK_CONDITION_NAMES) == list(STOCK_CONDITION_NAMES)


def test_fields_in_words() -> None:
    assert in_words(Updates.NOTHING) == "nothing"
    assert in_words(Updates.HIGH_LOW | Updates.VOLUME) == "high and low, volume"
    assert in_words(Updates.EVERYTHING) == "open and close, high and low, volume"
