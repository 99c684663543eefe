"""Streamed rows without a number, or with one that several trades share, and sizes with a fraction, in the lake."""

import datetime as dt
from pathlib import Path

import polars as pl
import pytest

from tapewatch.market.instruments import NS_PER_MINUTE, NS_PER_SECOND, Market, Partition
from tapewatch.market.tables.stream import STREAM_TRADES
from tapewatch.market.tables.tape import TRADES
from tapewatch.store.lake.lake import Lake
from tapewatch.store.spool.files import HealedInterval
from tapewatch.store.spool.spool import SpoolWriter
from tapewatch.streaming.ingest.ingest import ingest
from tests.support.tapes import DAY

NOW = dt.datetime(2024, 3, 5, 22, tzinfo=dt.UTC)
STOCKS, OPTIONS, FUTURES = (Partition(DAY, market) for market in (Market.STOCKS, Market.OPTIONS, Market.FUTURES))


def rows(
    partition: Partition, *given: tuple[float, int | None, float, int, str | None], received: float = 60
) -> pl.DataFrame:
    """`STREAM_TRADES` from second, sequence number, size, exchange and id."""
    start = partition.session.regular_start
    frame = pl.DataFrame(
        [(start + round(second * NS_PER_SECOND), *others) for second, *others in given],
        schema={
            "time": pl.Int64,
            "sequence_number": pl.Int64,
            "size": pl.Float64,
            "exchange": pl.Int16,
            "id": pl.String,
        },
        orient="row",
    )
    return STREAM_TRADES.conform(
        frame.with_columns(
            pl.col("time").cast(pl.Datetime("ns", "UTC")),
            symbol=pl.lit("AAA"), price=pl.lit(10.0), conditions=pl.lit(""),
            received_time=pl.lit(start + round(received * NS_PER_SECOND)).cast(pl.Datetime("ns", "UTC")),
        )
    )  # fmt: skip


def merged(root: Path, partition: Partition, *batches: pl.DataFrame) -> pl.DataFrame:
    with SpoolWriter(root / "spool", partition.market, "collector") as writer:
        for frame in batches:
            writer.add_rows(STREAM_TRADES, frame)
            writer.flush()
    ingest(Lake(root / "lake"), root / "spool", partition, None, NOW)
    return Lake(root / "lake").read(TRADES, partition)


def healed(root: Path, partition: Partition, frame: pl.DataFrame) -> pl.DataFrame:
    start = partition.session.regular_start
    with SpoolWriter(root / "spool", partition.market, "healer") as writer:
        writer.add_heal(STREAM_TRADES, frame, HealedInterval("AAA", start, start + NS_PER_MINUTE))
    return merged(root, partition)


def test_trades_numbered_0_stay_and_those_of_a_source_of_record_replace_them(tmp_path: Path) -> None:
    streamed = rows(STOCKS, (1, 0, 1, 4, None), (2, None, 2, 4, None), (2, 50, 3, 4, "a"), (3, 0, 2.5, 5, "b"))
    for _ in range(2):
        found = merged(tmp_path, STOCKS, streamed)
        assert found.select("sequence_number", "size").rows() == [(-3, 1), (-2, 2), (50, 3), (-1, 2.5)]
        assert TRADES.duplicates(found) == 0
    late = rows(STOCKS, (90, 0, 7, 4, None))
    found = merged(tmp_path, STOCKS, late)
    assert found.select("sequence_number", "size").rows() == [(-4, 1), (-3, 2), (50, 3), (-2, 2.5), (-1, 7)]
    exact = streamed.with_columns(pl.col("time").dt.offset_by("123ns"))
    found = healed(tmp_path, STOCKS, exact)
    assert found["size"].to_list() == [1, 2, 3, 2.5, 7]
    assert found["time"].head(4).equals(exact["time"].sort())


def test_different_trades_that_share_a_number_stay_and_each_is_revised_alone(tmp_path: Path) -> None:
    first = rows(STOCKS, (1, 9, 1, 4, "a"), (1, 9, 2, 4, "b"), (1, 9, 3, 5, "a"), (1, 9, 4, 5, None))
    for _ in range(2):
        found = merged(tmp_path, STOCKS, first, first[1:3])
        assert found.select("exchange", "id", "size").rows() == [(4, "a", 1), (4, "b", 2), (5, None, 4), (5, "a", 3)]
    found = merged(tmp_path, STOCKS, rows(STOCKS, (1, 9, 0.25, 5, None), (2, 9, 0.5, 4, "b")))
    assert found.select("exchange", "id", "size").rows() == [(4, "a", 1), (5, None, 0.25), (5, "a", 3), (4, "b", 0.5)]
    assert TRADES.duplicates(found) == 0


def test_a_fraction_that_the_stream_states_stays_exact_when_rest_delivers_it_again(tmp_path: Path) -> None:
    sizes = [100.0, 0.25, 1.75, 3.5, 0.1, 0.30000000000000004, 1e-9]
    streamed = rows(STOCKS, *((at, at + 1, size, 4, str(at)) for at, size in enumerate(sizes)))
    assert merged(tmp_path, STOCKS, streamed)["size"].to_list() == sizes
    assert healed(tmp_path, STOCKS, streamed)["size"].to_list() == sizes


@pytest.mark.parametrize("partition", [OPTIONS, FUTURES], ids=lambda p: p.market.value)
def test_trades_of_one_packet_stay_and_a_later_frame_of_them_repeats_them(tmp_path: Path, partition: Partition) -> None:
    packet = ((1, 40, 2, 0, None), (1, 40, 2, 0, None), (1, 40, 3, 0, None), (2, 0, 5, 0, None), (2, 0, 5, 0, None))
    first, again = rows(partition, *packet), rows(partition, *packet[:3], received=70)
    for _ in range(2):
        found = merged(tmp_path, partition, first, again)
        assert found["size"].to_list() == [2, 2, 3, 5, 5]
        assert found["sequence_number"].to_list() == [1, 2, 3, 4, 5]
    assert healed(tmp_path, partition, first[:4])["size"].to_list() == [2, 2, 3, 5]
