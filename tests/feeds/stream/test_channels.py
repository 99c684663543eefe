"""Subscriptions by plan and symbols."""

import logging

import pytest

from tapewatch.feeds.plans.table import PlanError, plan_for
from tapewatch.feeds.stream.channels import chunks, replies_in, subscriptions
from tapewatch.market.instruments import Market


def test_every_channel_of_the_plan_for_every_symbol_in_the_streams_spelling() -> None:
    assert subscriptions(plan_for("stocks", "starter"), []) == ["AM.*"]
    assert subscriptions(plan_for("stocks", "developer"), ["AAPL", "F"]) == [
        f"{channel}.{symbol}" for channel in ("AM", "A", "T") for symbol in ("AAPL", "F")
    ]
    assert subscriptions(plan_for("crypto", "starter"), ["X:BTC-USD"], ["XT"]) == ["XT.BTC-USD"]
    assert subscriptions(plan_for("forex", "starter"), ["C:EUR-USD"], ["C"]) == ["C.EUR/USD"]
    assert subscriptions(plan_for("indices", "advanced"), ["I:SPX"], ["V"]) == ["V.I:SPX"]


@pytest.mark.parametrize("market", list(Market))
def test_a_plan_without_a_stream_is_an_error_with_the_way_out(market: Market) -> None:
    with pytest.raises(PlanError, match=f"set POLYGON_TIER_{market.upper()}"):
        subscriptions(plan_for(market, "basic"), [])


def test_a_channel_that_the_plan_lacks_is_refused() -> None:
    with pytest.raises(PlanError, match="does not stream Q"):
        subscriptions(plan_for("stocks", "starter"), [], ["AM", "Q"])


def test_a_channel_limited_in_symbols_is_left_out_without_names_and_refused_beyond_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    plan = plan_for("options", "advanced")
    assert subscriptions(plan, []) == ["AM.*", "A.*", "T.*"]
    assert "Q takes at most 1000 symbols" in caplog.text
    contracts = [f"O:SPY251219C{i:08d}" for i in range(1001)]
    assert len(subscriptions(plan, contracts[:1000], ["Q"])) == 1000
    with pytest.raises(PlanError, match="at most 1,000"):
        subscriptions(plan, contracts, ["Q"])


def test_messages_hold_one_channel_and_have_limited_length() -> None:
    wanted = [f"T.S{i}" for i in range(100)] + ["Q.A", "Q.B"]
    groups = list(chunks(wanted, 64))
    assert [name for group in groups for name in group] == wanted
    assert all(len(",".join(group)) <= 64 for group in groups)
    assert all(len({name.partition(".")[0] for name in group}) == 1 for group in groups)


def test_replies_are_read_from_any_frame() -> None:
    (reply,) = replies_in(b'[{"ev":"T","p":1},{"ev":"status","status":"success","message":"subscribed to: A.B, A.C"}]')
    assert reply.subscribed == ("A.B", "A.C")
    assert replies_in(b"[[[") == []
