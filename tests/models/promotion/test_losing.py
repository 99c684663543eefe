"""The gate `losing`: a detector whose alerts lose does not replace a champion, and the refusal says by how much."""

import numpy as np
import pytest

from models.promotion.gates import Bets, Case, Gate, Limits, losing
from tests.support.detectors import fitted, ordinary_rows

SURE = Bets(40, -6.4, 0.004)


def gate(bets: Bets | None, *, has_rival: bool = True, limits: Limits | None = None) -> Gate:
    rows, nothing = ordinary_rows(seed=3).head(1), np.zeros(1)
    without = "" if has_rival else "there was no champion to compare it with"
    days = ["2024-03-05|stocks"]
    return losing(
        Case(
            fitted(), rows, nothing, nothing > 0, None, without, days, days, size=1, onnx={}, bets=bets,
            limits=limits or Limits(),
        )
    )  # fmt: skip


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
