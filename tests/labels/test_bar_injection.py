"""Anomalies put into minute bars."""

import polars as pl
import pytest

from tapewatch.bars.time_bars import minute_bars
from tapewatch.labels.injection.bars import inject_bars
from tapewatch.labels.injection.injection import TO_CLOSE_NS
from tapewatch.market.instruments import NS_PER_MINUTE, Market, Session
from tests.support.synthetic_days import days, synthetic_day

KINDS = {"price_jump", "volatility_burst", "feed_outage"}


@pytest.fixture(scope="module")
def session() -> Session:
    return synthetic_day(Market.STOCKS, days(Market.STOCKS)[0]).session


@pytest.fixture(scope="module")
def bars(session: Session) -> pl.DataFrame:
    return minute_bars(synthetic_day(Market.STOCKS, days(Market.STOCKS)[0]).trades, session)


def changed(bars: pl.DataFrame, truth: pl.DataFrame) -> pl.DataFrame:
    """Bars within the truth's stretches, with the kind."""
    return (
        bars.join(truth, on="symbol").filter((pl.col("time") >= pl.col("start_time")) & (pl.col("time") < pl.col("end_time")))
    )  # fmt: skip


def test_only_the_stretches_change_and_bars_stay_bars(bars: pl.DataFrame, session: Session) -> None:
    distorted, truth = inject_bars(bars, session, seed=3)
    assert truth.group_by("symbol").len()["len"].to_list() == [8] * 5
    for symbol in bars["symbol"].unique():
        assert set(truth.filter(pl.col("symbol") == symbol)["kind"].cast(pl.String)) == KINDS | {"volume_spike"}
    within = changed(bars, truth).select("symbol", "time")
    outside = [frame.join(within, on=["symbol", "time"], how="anti") for frame in (bars, distorted)]
    assert outside[0].equals(outside[1])
    assert distorted.select((pl.col("high") >= pl.max_horizontal("open", "close")).all()).item()
    assert distorted.select((pl.col("low") <= pl.min_horizontal("open", "close")).all()).item()
    assert distorted.sort(pl.col("symbol").cast(pl.String), "time").equals(distorted)


def test_each_kind_does_what_its_name_says(bars: pl.DataFrame, session: Session) -> None:
    distorted, truth = inject_bars(bars, session, seed=3)
    before, after = changed(bars, truth), changed(distorted, truth)
    moved = after.join(before, on=["symbol", "event_id", "time"], suffix="_before")
    assert after.filter(pl.col("kind") == "feed_outage").is_empty()
    spikes = moved.filter(pl.col("kind") == "volume_spike")
    assert spikes.select((pl.col("volume") > pl.col("volume_before")).mean()).item() > 0.95
    assert spikes["volume"].sum() > 4 * spikes["volume_before"].sum()
    shift = (pl.col("close") / pl.col("close_before")).log().abs() * 1e4
    jumps = moved.filter(pl.col("kind") == "price_jump").group_by("symbol", "event_id").agg(
        most=shift.max(), last=shift.last()
    )  # fmt: skip
    assert jumps["most"].min() >= 19.9
    assert jumps["last"].max() == 0.0, "prices come back"


def test_without_volume_there_are_no_spikes(bars: pl.DataFrame, session: Session) -> None:
    _, truth = inject_bars(bars.with_columns(volume=0.0), session, seed=3)
    assert set(truth["kind"].cast(pl.String)) == KINDS


def test_nothing_is_injected_after_the_end_or_into_a_thin_tape(bars: pl.DataFrame, session: Session) -> None:
    end = session.regular_start + 120 * NS_PER_MINUTE
    short = bars.filter(pl.col("time").dt.epoch("ns") < end)
    distorted, truth = inject_bars(short, session, seed=3, through_ns=end)
    assert truth.height > 5
    assert truth["end_time"].dt.epoch("ns").max() <= end - TO_CLOSE_NS + NS_PER_MINUTE
    thin = bars.filter(pl.col("time").dt.minute() == 0)
    for tape in (thin, bars.clear(), bars.with_columns(low=-1.0, close=-0.5)):
        distorted, truth = inject_bars(tape, session, seed=3)
        assert truth.is_empty()
        assert distorted.equals(tape)
