"""Evaluation and feedback: an edge is found out of sample, noise is not, and whose alerts lose."""

import numpy as np
import polars as pl
import pytest

from tapewatch.market.tables.signals import OUTCOMES, WALK_FORWARD
from tapewatch.trading.evaluation import cost_sensitivity, evaluate
from tapewatch.trading.feedback import losing, performance_by
from tapewatch.trading.tear_sheet import render_tear_sheet, verdict
from tests.support.trading_rows import outcome


def bets(results: dict[str, tuple[float, float]], count: int = 144) -> pl.DataFrame:
    """Outcomes of strategies with these means and deviations, bps."""
    rng = np.random.default_rng(8)
    frames = [
        outcome(number, float(rng.normal(mean, deviation)), strategy=strategy, kind=strategy)
        for strategy, (mean, deviation) in results.items()
        for number in range(count)
    ]
    return pl.concat(frames)


def row_of(table: pl.DataFrame, scheme: str, strategy: str, path: int = 0) -> dict[str, object]:
    chosen = [pl.col(name).cast(pl.String) == value for name, value in (("scheme", scheme), ("strategy", strategy))]
    return table.filter(*chosen, pl.col("path") == path).row(0, named=True)


def test_an_edge_is_taken_out_of_sample_and_a_loser_is_not() -> None:
    found = evaluate(bets({"pairs": (8.0, 12.0), "reversal": (-8.0, 12.0)}))
    WALK_FORWARD.check(found.table)
    good, bad = (row_of(found.table, "walk_forward", name) for name in ("pairs", "reversal"))
    assert good["taken"] == good["bets"] > 0
    assert bad["taken"] == 0
    assert good["net_bps"] > 0 == bad["net_bps"]
    paths = [row_of(found.table, "cpcv", "all", path) for path in range(5)]
    assert all(path["bets"] == 288 and path["net_bps"] > 0 for path in paths)
    assert row_of(found.table, "unit", "pairs")["net_bps"] == pytest.approx(
        found.curves.filter(pl.col("scheme") == "unit")["net_bps"].sum()
        - float(row_of(found.table, "unit", "reversal")["net_bps"])
    )
    assert found.best == "pairs"
    assert found.deflated_sharpe is not None
    assert found.deflated_sharpe > 0.85
    assert found.overfitting is not None
    assert found.overfitting.probability == 0.0


def test_the_best_of_many_that_are_noise_is_not_believed() -> None:
    found = evaluate(bets({f"s{number}": (0.0, 12.0) for number in range(8)}))
    assert found.variants == 8
    assert found.deflated_sharpe is not None
    assert found.deflated_sharpe < 0.85


def test_a_test_bets_size_rests_on_other_bets_alone() -> None:
    """The last test block's results are turned round: the sizes of its bets stay the same."""
    given = bets({"pairs": (8.0, 12.0)}, 100)
    last = pl.col("event_time") >= given["event_time"].sort()[80]
    turned = given.with_columns(
        net_bps=pl.when(last).then(-pl.col("net_bps")).otherwise("net_bps"),
        label=pl.when(last).then(1 - pl.col("label")).otherwise("label"),
    )
    before, after = (
        row_of(evaluate(frame).table, "walk_forward", "all") for frame in (given, OUTCOMES.conform(turned))
    )
    assert (before["taken"], before["bets"]) == (after["taken"], after["bets"])
    assert before["net_bps"] > after["net_bps"]


def test_too_few_bets_are_not_split_and_none_are_nothing() -> None:
    few, none = evaluate(bets({"pairs": (8.0, 12.0)}, 20)), evaluate(OUTCOMES.empty())
    assert "20 bets are too few" in few.note
    assert set(few.table["scheme"].cast(pl.String)) == {"unit"}
    assert (none.table.height, none.best, none.overfitting) == (0, "", None)
    assert "nothing to judge" in render_tear_sheet(OUTCOMES.empty(), none)


def test_costs_by_hand() -> None:
    frame = pl.concat([outcome(0, 6.0), outcome(1, -2.0)])
    assert cost_sensitivity(frame, [0.0, 1.0, 2.0])["mean_net_bps"].to_list() == [6.0, 2.0, -2.0]


def test_performance_by_hand() -> None:
    frame = pl.concat([outcome(0, 6.0), outcome(1, -2.0), outcome(2, 5.0)])
    (row,) = performance_by(frame, "kind").to_dicts()
    assert (row["bets"], row["hit_rate"], row["total_net_bps"]) == (3, pytest.approx(2 / 3), 9.0)
    assert row["t_value"] == pytest.approx(3.0 / np.sqrt(19.0) * np.sqrt(3))
    assert performance_by(outcome(0, 1.0), "kind")["p_losing"].to_list() == [None]


def test_who_loses() -> None:
    frames = [
        pl.concat([outcome(number, net + number % 7, detector=detector) for number in range(25)])
        for detector, net in (("scan", -10.0), ("isolation_forest", 4.0), ("", -50.0))
    ]
    few = pl.concat(
        [outcome(number, -9.0 + number, detector="isolation_forest", kind="flash_crash") for number in range(5)]
    )
    given = pl.concat([*frames, few])
    assert losing(given)["detector"].to_list() == ["scan"]
    # A bet that follows both counts for each.
    both = given.with_columns(
        detector=pl.when(pl.col("detector").cast(pl.String) == "scan")
        .then(pl.lit("isolation_forest+scan"))
        .otherwise(pl.col("detector").cast(pl.String))
        .cast(pl.Categorical())
    )
    assert losing(both, least_bets=20, confidence=0.5)["detector"].to_list() == ["isolation_forest", "scan"]
    assert losing(OUTCOMES.empty()).is_empty()


def test_the_sheet_says_what_was_lost() -> None:
    given = bets({"pairs": (8.0, 12.0), "reversal": (-8.0, 12.0)})
    result = evaluate(given)
    assert "made" in verdict(result)
    assert verdict(evaluate(bets({"reversal": (-8.0, 12.0)}))).startswith("Every signal at one unit lost")
    page = render_tear_sheet(given, result)
    assert all(words in page for words in ("Whose alerts lose", "Out of sample", "combinatorial paths"))
