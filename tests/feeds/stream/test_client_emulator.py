"""The client and the decoder with the emulator's streams: every market complete, also with faults."""

import datetime as dt
from dataclasses import replace

import polars as pl
import pytest

from tapewatch.emulator.tape.market_tape import SyntheticTape
from tapewatch.feeds.plans.table import plan_for
from tapewatch.feeds.stream.channels import subscriptions
from tapewatch.feeds.stream.decode.decoder import FrameDecoder, StreamBatch
from tapewatch.market.instruments import Market
from tests.support.emulator import serving
from tests.support.stream_client import progress
from tests.support.streaming_client import QUICK, Running, running

_DAY = dt.date(2024, 3, 5)
_KEY = "advanced-test-only"  # pragma: allowlist secret
_TAPE = SyntheticTape(7)
_MS = 1_000_000


def _stream_url(base: str, market: Market) -> str:
    return f"{base.replace('http', 'ws', 1)}/{market}"


def _until_done(client: Running, base: str, market: Market) -> dict[str, int]:
    """Take items until the emulator has sent everything and all of it was received."""

    client.until(lambda: progress(base, market)["is_done"])
    # Frames sent before may still be in transit; they have arrived once a later ping was answered.
    came = -1
    while came != client.client.stats.frames:
        came = client.client.stats.frames
        client.items += client.queue.take(10**6, 1.0)
    return dict(progress(base, market)["faults"])


def _truth(symbol: str, table: str) -> pl.DataFrame:
    frame = _TAPE.trades(symbol, _DAY) if table == "trades" else _TAPE.quotes(symbol, _DAY)
    return frame.with_columns(pl.col("time").dt.epoch("ns") // _MS)


def _assert_as_the_tape(batch: StreamBatch, symbol: str, market: Market) -> None:
    """Streamed rows are the tape's, with times in milliseconds."""
    columns = {
        "trades": ["time", "price", "size", "exchange", "conditions"],
        "quotes": ["time", "bid_price", "ask_price"],
    }
    for name, streamed in (("trades", batch.trades), ("quotes", batch.quotes)):
        truth = _truth(symbol, name)
        assert streamed.height == truth.height, name
        wanted = [c for c in columns[name] if not (market is Market.FUTURES and c in ("exchange", "conditions"))]
        found = (
            streamed.with_columns(pl.col("time").dt.epoch("ns") // _MS).select(wanted).cast({pl.Categorical: pl.String})
        )
        assert found.sort(wanted).equals(truth.select(wanted).cast({pl.Categorical: pl.String}).sort(wanted)), name


@pytest.mark.slow
@pytest.mark.parametrize("market", list(Market))
def test_every_market_streams_its_day_whole(market: Market) -> None:
    symbol = _TAPE.symbols(market)[0]
    wanted = subscriptions(plan_for(market, "advanced"), [symbol])
    with (
        serving(_TAPE, speed="max", replay=str(_DAY)) as base,
        running(_stream_url(base, market), wanted, QUICK, _KEY) as client,
    ):
        _until_done(client, base, market)
        sent = progress(base, market)["sent"]
        client.until(lambda: FrameDecoder(market).decode(client.frames).events >= sent)
        stats = client.client.stats
        assert (stats.subscribed, stats.refused_channels, stats.connections) == (len(wanted), [], 1)
        batch = FrameDecoder(market).decode(client.frames)
        assert (batch.refused.rows(), batch.malformed_frames, batch.unknown_fields.total()) == ([], [], 0)
        assert batch.events == sent
        assert set(batch.bars["clock"].cast(pl.String)) == {"1s", "1m"}
    if market is not Market.INDICES:
        _assert_as_the_tape(batch, symbol, market)


@pytest.mark.slow
def test_the_stream_continues_to_its_end_after_lost_connections() -> None:
    symbol = _TAPE.symbols(Market.CRYPTO)[0]
    kinds = ("drop", "close", "close_1008", "half_open")
    faults = {"fault": [{"kind": kind, "every": 3000 + 700 * i, "count": 2} for i, kind in enumerate(kinds)]}
    # The emulator shares the test's process: while it makes a day, it gives no sign of life, on a slow machine for long. Where
    # a connection was given up that lived, it is all done again, more patiently.
    for ping_timeout_s in (3, 12, 40):
        patience = replace(QUICK, ping_interval_s=1, ping_timeout_s=ping_timeout_s)
        with (
            serving(_TAPE, speed="max", replay=str(_DAY), faults=faults) as base,
            running(_stream_url(base, Market.CRYPTO), [f"XT.{symbol.removeprefix('X:')}"], patience, _KEY) as client,
        ):
            struck = _until_done(client, base, Market.CRYPTO)
            reconnects, lost = client.client.stats.reconnects, len(client.markers("disconnected"))
        if reconnects == lost == 8:
            break
    assert (reconnects, lost) == (8, 8)
    assert struck == dict.fromkeys(kinds, 2)
    batch = FrameDecoder(Market.CRYPTO).decode(client.frames)
    truth = _TAPE.trades(symbol, _DAY)["id"].to_list()
    assert set(batch.trades["id"]) <= set(truth)
    assert batch.trades["id"][-1] == truth[-1]
    assert batch.malformed_frames == []


@pytest.mark.slow
def test_damaged_frames_are_reported_and_no_others_are_lost() -> None:
    symbol = _TAPE.symbols(Market.CRYPTO)[0]
    kinds = ("malformed_json", "truncated_frame", "unknown_event", "unknown_field")
    faults = {"fault": [{"kind": kind, "every": 1500 + 400 * i, "count": 3} for i, kind in enumerate(kinds)]}
    with (
        serving(_TAPE, speed="max", replay=str(_DAY), faults=faults) as base,
        running(_stream_url(base, Market.CRYPTO), [f"XT.{symbol.removeprefix('X:')}"], QUICK, _KEY) as client,
    ):
        struck = _until_done(client, base, Market.CRYPTO)
        assert struck == dict.fromkeys(kinds, 3)
        # A truncated frame is one whose end the connection's own does not let come.
        assert client.client.stats.reconnects == struck["truncated_frame"]
    batch = FrameDecoder(Market.CRYPTO).decode(client.frames)
    assert len(batch.malformed_frames) == struck["malformed_json"]
    assert batch.unknown_events == {"ZZ": struck["unknown_event"]}
    assert batch.unknown_fields.total() == struck["unknown_field"]
    assert set(batch.trades["id"]) < set(_TAPE.trades(symbol, _DAY)["id"])
