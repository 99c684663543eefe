"""A contract with negative prices, from the synthetic market over REST and the stream to the lake, bars and features."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from assets.shared import judgements
from tapewatch.bars.time_bars import minute_bars, reconcile
from tapewatch.emulator.synthetic.market import Synthetic
from tapewatch.emulator.synthetic.universe import DEFAULT
from tapewatch.emulator.tape.market_tape import SyntheticTape
from tapewatch.features.microstructure import microstructure
from tapewatch.feeds.plans.table import plan_for
from tapewatch.feeds.rest.source import RestSource
from tapewatch.feeds.stream.channels import subscriptions
from tapewatch.feeds.stream.decode.decoder import FrameDecoder
from tapewatch.market.instruments import Market, Partition
from tapewatch.market.tables.tape import BARS, DELIVERED_BARS, MICROSTRUCTURE, QUOTES, TRADES
from tapewatch.market.tickers import normalise
from tapewatch.store.lake.lake import Lake
from tapewatch.streaming.live.tape import LiveTape
from tests.support.emulator import serving
from tests.support.live import fed, final
from tests.support.stream_client import progress
from tests.support.streaming_client import QUICK, running

DAY = dt.date(2024, 3, 5)
SYMBOL = "CLZ9-CLF0"
PARTITION = Partition(DAY, Market.FUTURES)
TAPE = SyntheticTape(7)
KEY = "advanced-test-only"  # pragma: allowlist secret


def test_prices_cross_zero_every_day_and_for_no_other_symbol() -> None:
    assert [symbol for symbol, one in DEFAULT.items() if one.crosses_zero] == [SYMBOL]
    assert normalise("clz9-clf0", Market.FUTURES) == SYMBOL
    for seed in (1, 7):
        for days in (0, 1, 400):
            day = Synthetic(seed).day(SYMBOL, DAY + dt.timedelta(days=days))
            for prices in (day.trades["price"], day.quotes["bid_price"], day.quotes["ask_price"]):
                assert prices.min() < 0 < prices.max()
            assert (day.quotes["ask_price"] > day.quotes["bid_price"]).all()
            TRADES.check(day.trades, Market.FUTURES)
            QUOTES.check(day.quotes, Market.FUTURES)


@pytest.fixture(scope="module")
def base() -> Iterator[str]:
    with serving(TAPE, speed="max", replay=str(DAY)) as base:
        yield base


def test_negative_prices_over_rest_reach_lake_bars_and_features(base: str, tmp_path: Path) -> None:
    lake, source = Lake(tmp_path), RestSource(base, KEY, dict.fromkeys(Market, "advanced"))
    loads = {name: getattr(source, name)(PARTITION, [SYMBOL]) for name in ("trades", "quotes", "bars")}
    trades, quotes, bars = (pl.concat(loads[name]) for name in loads)
    assert [load.quarantined for load in loads.values()] == [[], [], []]
    made = Synthetic(7).day(SYMBOL, DAY)
    assert trades["price"].to_list() == made.trades["price"].to_list()
    assert quotes["bid_price"].to_list() == made.quotes["bid_price"].to_list()
    both = reconcile(minute_bars(trades, PARTITION.session), bars)
    assert both["is_price_equal"].all()
    assert both["is_volume_equal"].all()
    rows = microstructure(trades, quotes, PARTITION.session)
    for table, frame in ((TRADES, trades), (QUOTES, quotes), (BARS, both), (MICROSTRUCTURE, rows)):
        lake.write(table, PARTITION, frame)
        passed, facts = judgements.schema(table, lake, PARTITION)
        assert passed, facts
    checks = (judgements.prices_and_sizes, judgements.crossed, judgements.ohlc_consistent)
    assert all(check(TRADES, lake, PARTITION)[0] for check in checks)
    below = rows.filter(pl.col("last_price") < 0)
    assert below.height > 0
    assert below["return_bps"].count() == below["roll_spread_bps"].count() == 0
    assert below["depth_imbalance"].count() > 0
    assert rows.filter(pl.col("mid_price") > 0)["quoted_spread_bps"].count() > 0


@pytest.mark.slow
def test_negative_prices_over_the_stream_reach_live_bars_and_features(base: str) -> None:
    address = f"{base.replace('http', 'ws', 1)}/{Market.FUTURES}"
    wanted = subscriptions(plan_for(Market.FUTURES, "advanced"), [SYMBOL])
    with running(address, wanted, QUICK, KEY) as client:
        client.until(lambda: progress(base, Market.FUTURES)["is_done"])
        client.until(lambda: len(client.frames) and progress(base, Market.FUTURES)["sent"] <= _events(client.frames))
        batch = FrameDecoder(Market.FUTURES).decode(client.frames)
    assert batch.refused.rows() == []
    live = LiveTape(PARTITION.session)
    _, minutes, rows = final(fed(live, [(batch.trades, batch.quotes)]))
    expected = TAPE.bars(SYMBOL, DAY)
    columns = ["time", "open", "high", "low", "close", "volume"]
    assert_frame_equal(minutes.select(columns), expected.select(columns))
    assert rows["last_price"].min() < 0 < rows["last_price"].max()
    streamed = batch.bars.filter(pl.col("clock").cast(pl.String) == "1m")
    DELIVERED_BARS.check(DELIVERED_BARS.conform(streamed), Market.FUTURES)
    assert streamed["vwap"].min() < 0


def _events(frames: list) -> int:
    return FrameDecoder(Market.FUTURES).decode(frames).events
