"""Signals: confidence and risk by hand, sizes, and nothing that was not known."""

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from tapewatch.market.tables.derived import INCIDENTS
from tapewatch.market.tables.signals import OUTCOMES, SIGNALS
from tapewatch.market.tables.tape import ANOMALIES, MICROSTRUCTURE
from tapewatch.trading.signals.build import SignalRules, proposals, signals
from tapewatch.trading.signals.confidence import confidence
from tapewatch.trading.signals.context import context
from tapewatch.trading.signals.risk import RiskRules
from tapewatch.trading.sizing import bet_size
from tapewatch.trading.strategies.alerts import alerts_of
from tapewatch.trading.strategies.proposals import PROPOSALS
from tests.support.trading_rows import minute, minute_rows, outcome, signal

#: Ten quiet minutes, then a fall that goes on.
PRICES = {"AAA": [100, 100.02] * 5 + [99.6, 99.5, 99.4, 99.3] * 4}


def anomaly(start: int, end: int, **columns: object) -> pl.DataFrame:
    values = {
        "symbol": "AAA", "start_time": minute(start), "end_time": minute(end), "known_time": minute(start + 1), "kind": "unusual",
        "score": 0.7, "threshold": 0.6, "minutes": end - start, "reasons": "[]", "model": "isolation_forest/1",
    } | columns  # fmt: skip
    return ANOMALIES.conform(pl.DataFrame([values]))


def proposal(at: int = 12, **columns: object) -> pl.DataFrame:
    values = {
        "symbol": "AAA", "event_time": minute(at - 1), "known_time": minute(at), "strategy": "continuation", "partner": "",
        "kind": "unusual", "detector": "scan", "side": -1, "horizon_minutes": 9, "weight": 1.0,
    } | columns  # fmt: skip
    return pl.DataFrame([values], schema_overrides=PROPOSALS)


def built(history: pl.DataFrame | None = None, rules: RiskRules | None = None, **columns: object) -> dict[str, object]:
    rows = context(minute_rows(PRICES, **columns))
    past = OUTCOMES.empty() if history is None else history
    (row,) = signals(proposal(), rows, past, rules=SignalRules(rules or RiskRules())).to_dicts()
    return row


def test_the_confidence_is_shrunk_towards_the_wider_group_by_hand() -> None:
    past = pl.concat(
        [outcome(at, net) for at, net in enumerate([5, 5, 5, -5])]
        + [outcome(4, 5, kind="price_jump"), outcome(5, 5, strategy="pairs")]
    )
    (row,) = confidence(signal(5), past, weight=10.0).select("confidence", "bets_before").to_dicts()
    strategy = (4 + 10 * 0.5) / (5 + 10)
    kind = (3 + 10 * strategy) / (4 + 10)
    assert row == {"confidence": pytest.approx((3 + 10 * kind) / (4 + 10)), "bets_before": 5}
    assert confidence(signal(5, strategy="lead_lag"), past)["confidence"].to_list() == [0.5]


def test_a_strategy_without_a_record_gets_no_money_and_a_good_record_does() -> None:
    assert (built()["size"], built()["limit_price"]) == (0.0, None)
    won = pl.concat(
        [
            outcome(at, 20.0, strategy="continuation").with_columns(
                known_time=pl.lit(minute(0)).cast(OUTCOMES.schema["known_time"])
            )
            for at in range(200)
        ]
    )
    row = built(won)
    chance, target, cost = (float(row[name]) for name in ("confidence", "target_bps", "cost_bps"))  # type: ignore[arg-type]
    assert row["size"] == pytest.approx(round(bet_size(chance, -1, break_even=0.5 + cost / 2 / target).item(), 1))
    # A short is worth it down to where its edge is gone.
    assert row["limit_price"] == pytest.approx(row["price"] * (1 - ((2 * chance - 1) * target - cost) * 1e-4))


def test_the_risk_by_hand() -> None:
    row = built()
    volatility = float(row["volatility_bps"])  # type: ignore[arg-type]
    assert row["target_bps"] == pytest.approx(volatility * 3)
    # A minute trades a million; the largest position is a hundredth of it.
    assert row["cost_bps"] == pytest.approx(2.0 + 2 * 0.5 + 2 * 0.5 * volatility * 0.1)
    assert row["exit_minutes"] == pytest.approx(10_000 / (0.1 * 1e6))
    assert (row["is_tradable"], row["reason"]) == (True, "")


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"mid_price": None, "last_price": None}, "no price"),
        ({"tape_age_s": 100.0}, "the tape is stale"),
        ({"quoted_spread_bps": None}, "no spread: neither quotes nor trades to estimate it from"),
        ({"return_score": None}, "no volatility yet"),
        ({"notional": 0.0}, "no volume is known, so no way out"),
        ({"notional": 10_000.0}, "getting out takes longer than the horizon"),
        ({"quoted_spread_bps": 500.0}, "costs exceed the target"),
    ],
)
def test_what_is_not_tradable(columns: dict[str, object], reason: str) -> None:
    row = built(**columns)
    assert (row["is_tradable"], row["reason"], row["size"]) == (False, reason, 0.0)


def test_regimes_of_minutes() -> None:
    for columns, regime in (
        ({"spread_ratio": 2.0}, "thin"),
        ({"volatility_ratio": 1.5}, "volatile"),
        ({"volatility_ratio": 0.5}, "calm"),
        ({"volatility_ratio": None, "spread_ratio": None}, "usual"),
    ):
        assert built(**columns)["regime"] == regime


def test_the_horizon_is_that_of_kind_and_regime() -> None:
    for columns, horizon in (({}, 10), ({"volatility_ratio": 0.5}, 5), ({"spread_ratio": 2.0}, 15)):
        proposed, _ = proposals(alerts_of(anomaly(10, 11), INCIDENTS.empty()), minute_rows(PRICES, **columns))
        found = proposed.filter(pl.col("detector") != "")
        assert found.select("kind", "horizon_minutes").rows() == [("unusual", horizon)]


def test_what_an_alert_became_later_does_not_enter_its_signal() -> None:
    rows = minute_rows(PRICES)
    became = anomaly(10, 20, kind="flash_crash", score=0.99, minutes=10, reasons='[{"feature": "x"}]')
    for later in (became, anomaly(10, 11)):
        proposed, minutes = proposals(alerts_of(later, INCIDENTS.empty()), rows)
        known = pl.col("known_time") <= minute(11)
        alone, its = proposals(alerts_of(anomaly(10, 11), INCIDENTS.empty()), rows.filter(known))
        assert_frame_equal(proposed.filter(pl.col("detector") != ""), alone)
        assert_frame_equal(minutes.filter(known), its)
    assert alone.select("known_time", "kind", "strategy", "side").rows() == [
        (minute(11), "unusual", "continuation", -1)
    ]


def test_alerts_of_both_detectors_at_a_time_are_one_signal() -> None:
    incident = INCIDENTS.conform(
        anomaly(10, 11).with_columns(known_time=pl.col("start_time") + pl.duration(seconds=25), surprise=1.5, hours=7.0)
    )
    proposed, _ = proposals(alerts_of(anomaly(10, 11), incident), minute_rows(PRICES))
    assert proposed["detector"].to_list() == ["isolation_forest+scan"]
    of_champion, _ = proposals(alerts_of(anomaly(10, 11, model="ensemble/2"), incident), minute_rows(PRICES))
    assert of_champion["detector"].to_list() == ["ensemble+scan"], (
        "the champion's own alerts must not count for another"
    )
    # Alone, the scan's alert is decided at the end of its minute too.
    alone, _ = proposals(alerts_of(ANOMALIES.empty(), incident), minute_rows(PRICES))
    assert alone.select("known_time", "detector").rows() == [(minute(11), "scan")]


def test_alerts_about_quotes_and_silence_are_no_bets() -> None:
    for columns in ({"quote_count_ratio": 9.0, "volume_ratio": 1.0}, {"tape_age_s": 200.0}):
        flat = {"AAA": [100, 100.001] * 12}
        alert = anomaly(10, 12, known_time=minute(12))
        proposed, _ = proposals(alerts_of(alert, INCIDENTS.empty()), minute_rows(flat, **columns))
        assert proposed.is_empty()


def test_outcomes_from_the_future_are_refused() -> None:
    with pytest.raises(ValueError, match="give outcomes of earlier days alone"):
        signals(proposal(), context(minute_rows(PRICES)), outcome(40, 5.0))


def test_nothing_gives_nothing() -> None:
    proposed, minutes = proposals(alerts_of(ANOMALIES.empty(), INCIDENTS.empty()), MICROSTRUCTURE.empty())
    assert_frame_equal(signals(proposed, minutes, OUTCOMES.empty()), SIGNALS.empty(), categorical_as_str=True)
