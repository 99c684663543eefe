"""The gate `losing`: a detector whose alerts lose does not replace a champion, and the refusal says by how much."""

import pytest

from models.promotion.gates import Bets, Gate, Limits, _losing

SURE = Bets(40, -6.4, 0.004)


def gate(bets: Bets | None, *, has_rival: bool = True, limits: Limits | None = None) -> Gate:
    return _losing(bets, limits or Limits(), has_rival=has_rival)


def test_a_detector_whose_alerts_lose_is_refused_beside_a_champion_alone() -> None:
    found = gate(SURE)
    assert not found.has_passed
    assert "40 bets after its alerts earned -6.4 bps each after costs" in found.words
    assert "0.4% of cases" in found.words
    alone = gate(SURE, has_rival=False)
    assert alone.has_passed
    assert alone.words == found.words


@pytest.mark.parametrize("bets", [None, Bets(19, -50.0, 1e-6), Bets(40, -6.4, 0.06), Bets(40, 6.4, 0.99)])
def test_few_bets_chance_and_profit_pass(bets: Bets | None) -> None:
    assert gate(bets).has_passed


def test_confidence_and_number_are_settings() -> None:
    assert gate(SURE, limits=Limits(losing_confidence=0.999)).has_passed
    assert not gate(Bets(10, -50.0, 1e-6), limits=Limits(least_bets=10)).has_passed
