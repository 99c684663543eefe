"""Every check passes on a good day and fails on its fault."""

import datetime as dt

import dagster as dg
import polars as pl
import pytest

from assets.shared import judgements, look_ahead
from assets.shared.shown import facts_of
from assets.tape.loading import judge_counts
from tapewatch.bars.coverage import coverage
from tapewatch.bars.information.clocks import Clock, Thresholds
from tapewatch.bars.time_bars import minute_bars, reconcile
from tapewatch.emulator.synthetic.market import Synthetic
from tapewatch.features.bins.batch import bins_5s
from tapewatch.features.families.indicators import indicators
from tapewatch.features.families.rows import microstructure_more
from tapewatch.features.from_bars import bar_features
from tapewatch.features.microstructure import microstructure
from tapewatch.labels.barriers.barriers import triple_barrier
from tapewatch.lookahead.catalogue import information_bars
from tapewatch.lookahead.computation import Tape
from tapewatch.market.instruments import Market, Partition
from tapewatch.market.schema import Table
from tapewatch.market.tables.derived import BINS_5S, INFORMATION_BARS
from tapewatch.market.tables.features import INDICATORS, MICROSTRUCTURE_MORE
from tapewatch.market.tables.tape import (
    BARRIER_LABELS,
    BARS,
    COVERAGE,
    MICROSTRUCTURE,
    QUARANTINE,
    QUOTES,
    TRADES,
    quarantine_of,
)
from tapewatch.store.lake.lake import Lake
from tapewatch.store.lake.tape import tape_end

DAY = dt.date(2024, 6, 4)
STOCKS, CRYPTO = Partition(DAY, Market.STOCKS), Partition(DAY, Market.CRYPTO)
SYMBOLS = {STOCKS: "VOO", CRYPTO: "X:ADA-USD"}


@pytest.fixture(scope="module")
def frames() -> dict[tuple[str, Partition], pl.DataFrame]:
    """A good day of a stock and a crypto pair: tape, bars, coverage and features."""
    market, found = Synthetic(4), {}
    for partition, symbol in SYMBOLS.items():
        day, session = market.day(symbol, DAY), partition.session
        built = minute_bars(day.trades, session)
        bars = reconcile(built, built)
        found |= {
            (TRADES.name, partition): day.trades,
            (QUOTES.name, partition): day.quotes,
            (BARS.name, partition): bars,
            (COVERAGE.name, partition): coverage(day.trades, day.quotes, bars, session),
            (MICROSTRUCTURE.name, partition): microstructure(day.trades, day.quotes, session),
            (MICROSTRUCTURE_MORE.name, partition): microstructure_more(day.trades, day.quotes, session),
            (INDICATORS.name, partition): indicators(bars, session),
        }
    return found


@pytest.fixture
def lake(tmp_path: object, frames: dict[tuple[str, Partition], pl.DataFrame]) -> Lake:
    """A lake that holds the good day."""
    lake = Lake(str(tmp_path))
    tables = {t.name: t for t in (TRADES, QUOTES, BARS, COVERAGE, MICROSTRUCTURE, MICROSTRUCTURE_MORE, INDICATORS)}
    for (name, partition), frame in frames.items():
        lake.write(tables[name], partition, frame)
    return lake


def spoil(lake: Lake, table: Table, partition: Partition, *columns: pl.Expr) -> None:
    """Replace a partition with a changed copy, without the lake's checks."""
    lake.read(table, partition).with_columns(*columns).write_parquet(str(lake.path(table, partition)))


@pytest.mark.parametrize("table", [TRADES, QUOTES, BARS, COVERAGE, MICROSTRUCTURE], ids=lambda table: table.name)
def test_schema(lake: Lake, table: Table) -> None:
    assert judgements.schema(table, lake, STOCKS) == (True, {"problems": []})
    number = next(column.name for column in table.columns if column.dtype.is_numeric() and column.minimum == 0)
    spoil(lake, table, STOCKS, pl.lit(-1).cast(table.schema[number]).alias(number))
    passed, facts = judgements.schema(table, lake, STOCKS)
    assert not passed
    assert number in facts["problems"][0]


def test_keys_unique(lake: Lake) -> None:
    assert judgements.keys_unique(TRADES, lake, STOCKS) == (True, {"repeated": 0})
    trades = lake.read(TRADES, STOCKS)
    lake.write(TRADES, STOCKS, pl.concat([trades, trades.head(3)]))
    assert judgements.keys_unique(TRADES, lake, STOCKS) == (False, {"repeated": 3})


def test_inside_session(lake: Lake) -> None:
    assert judgements.inside_session(QUOTES, lake, STOCKS)[0]
    spoil(lake, QUOTES, STOCKS, pl.col("time") + pl.duration(days=1))
    passed, facts = judgements.inside_session(QUOTES, lake, STOCKS)
    assert not passed
    assert facts["outside_day"] == lake.rows(QUOTES, STOCKS)


@pytest.mark.parametrize(("column", "value", "fact"), [("price", 0.0, "no_price"), ("size", -1.0, "negative_size")])
def test_prices_and_sizes(lake: Lake, column: str, value: float, fact: str) -> None:
    assert judgements.prices_and_sizes(TRADES, lake, STOCKS)[0]
    spoil(lake, TRADES, STOCKS, pl.when(pl.int_range(pl.len()) < 2).then(value).otherwise(column).alias(column))
    passed, facts = judgements.prices_and_sizes(TRADES, lake, STOCKS)
    assert not passed
    assert facts[fact] == 2


def test_crossed(lake: Lake) -> None:
    assert judgements.crossed(QUOTES, lake, STOCKS)[0]
    every_tenth = pl.int_range(pl.len()) % 10 == 0
    spoil(
        lake,
        QUOTES,
        STOCKS,
        pl.when(every_tenth).then(pl.col("ask_price") * 2).otherwise("bid_price").alias("bid_price"),
    )
    passed, facts = judgements.crossed(QUOTES, lake, STOCKS)
    assert not passed
    assert facts["crossed"] >= 0.09 * facts["quotes"]


def test_aggressor_agreement(lake: Lake) -> None:
    passed, facts = judgements.aggressor_agreement(TRADES, lake, CRYPTO)
    assert passed
    assert facts["share"] > 0.9
    assert facts["reversed"] == []
    swapped = pl.col("conditions").cast(pl.String).replace({"1": "2", "2": "1"}).cast(TRADES.schema["conditions"])
    lake.write(TRADES, CRYPTO, lake.read(TRADES, CRYPTO).with_columns(swapped))
    passed, facts = judgements.aggressor_agreement(TRADES, lake, CRYPTO)
    assert not passed
    assert facts["share"] < 0.1


def test_one_exchange_that_states_its_sides_reversed_fails_and_is_named(lake: Lake) -> None:
    trades = lake.read(TRADES, CRYPTO)
    exchange, count = trades["exchange"].value_counts(sort=True).row(-1)
    assert count < 0.4 * trades.height
    codes = pl.col("conditions").cast(pl.String)
    swapped = pl.when(pl.col("exchange") == exchange).then(codes.replace({"1": "2", "2": "1"})).otherwise(codes)
    lake.write(TRADES, CRYPTO, trades.with_columns(swapped.cast(TRADES.schema["conditions"]).alias("conditions")))
    passed, facts = judgements.aggressor_agreement(TRADES, lake, CRYPTO)
    assert not passed
    assert facts["share"] > 0.5
    (named,) = facts["reversed"]
    assert named.startswith(f"exchange {exchange}: the sides of ")


def test_ohlc_consistent(lake: Lake) -> None:
    assert judgements.ohlc_consistent(BARS, lake, STOCKS) == (True, {"inconsistent": 0})
    spoil(lake, BARS, STOCKS, pl.col("high") * 2, (pl.col("high") * 1.5).alias("low"))
    assert judgements.ohlc_consistent(BARS, lake, STOCKS) == (False, {"inconsistent": lake.rows(BARS, STOCKS)})


def test_agree_with_delivered(lake: Lake) -> None:
    passed, facts = judgements.agree_with_delivered(BARS, lake, STOCKS)
    assert passed
    assert facts["volume_share"] == facts["regular_price_share"] == 1.0
    assert facts["regular_price_share_without_sweeps"] < 1.0
    spoil(lake, BARS, STOCKS, pl.col("delivered_volume") + 1)
    passed, facts = judgements.agree_with_delivered(BARS, lake, STOCKS)
    assert not passed
    assert facts["volume_share"] == 0.0


def test_gaps(lake: Lake) -> None:
    rows = lake.read(COVERAGE, STOCKS).with_columns(
        missing_minutes=pl.lit(0, pl.Int64), silent_minutes=pl.lit(0, pl.Int64)
    )
    lake.write(COVERAGE, STOCKS, rows)
    assert judgements.gaps(COVERAGE, lake, STOCKS) == (True, {})
    for column, fact in (("missing_minutes", "missing"), ("silent_minutes", "silent")):
        lake.write(COVERAGE, STOCKS, rows.with_columns(pl.lit(100, pl.Int64).alias(column)))
        passed, facts = judgements.gaps(COVERAGE, lake, STOCKS)
        assert not passed
        assert facts["VOO"][fact] == 100


@pytest.mark.long
@pytest.mark.parametrize(
    ("table", "feature"),
    [(MICROSTRUCTURE, "last_price"), (MICROSTRUCTURE_MORE, "micro_price"), (INDICATORS, "obv")],
    ids=lambda each: getattr(each, "name", None),
)
def test_no_look_ahead(lake: Lake, table: Table, feature: str) -> None:
    for partition, symbol in SYMBOLS.items():
        passed, facts = look_ahead.no_look_ahead(table, lake, partition)
        assert (passed, facts["symbol"], facts["rows"]) == (True, symbol, lake.rows(table, partition))
    ahead = pl.col(feature).shift(-1).fill_null(strategy="forward")
    lake.write(table, STOCKS, lake.read(table, STOCKS).with_columns(ahead))
    passed, facts = look_ahead.no_look_ahead(table, lake, STOCKS)
    assert (passed, facts["check"], facts["columns"]) == (False, "cut", [feature])


AHEAD = pl.col("last_price").shift(-1).fill_null(strategy="forward")


def test_no_look_ahead_on_a_day_of_quotes_and_on_a_day_of_bars(lake: Lake) -> None:
    session = CRYPTO.session
    quotes, bars = lake.read(QUOTES, CRYPTO), lake.read(BARS, CRYPTO)
    lake.write(TRADES, CRYPTO, TRADES.empty(), allow_shrink=True)
    lake.write(MICROSTRUCTURE, CRYPTO, microstructure(TRADES.empty(), quotes, session), allow_shrink=True)
    passed, facts = look_ahead.no_look_ahead(MICROSTRUCTURE, lake, CRYPTO)
    assert (passed, facts["rows"]) == (True, 1440)
    lake.write(QUOTES, CRYPTO, QUOTES.empty(), allow_shrink=True)
    features = bar_features(bars, session)
    lake.write(MICROSTRUCTURE, CRYPTO, features, allow_shrink=True)
    passed, facts = look_ahead.no_look_ahead(MICROSTRUCTURE, lake, CRYPTO)
    assert (passed, facts["rows"]) == (True, 1440)
    lake.write(MICROSTRUCTURE, CRYPTO, features.with_columns(AHEAD))
    assert not look_ahead.no_look_ahead(MICROSTRUCTURE, lake, CRYPTO)[0]


def test_no_look_ahead_of_bins_labels_and_information_bars(lake: Lake) -> None:
    trades, quotes, bars = (lake.read(table, STOCKS) for table in (TRADES, QUOTES, BARS))
    few = information_bars((Clock.TICK, Clock.DOLLAR_RUN), Thresholds(trades=50))
    tape = Tape(STOCKS.session, {TRADES.name: trades}, ("VOO",), STOCKS.session.day_end)
    labels = triple_barrier(bars, session=STOCKS.session, through_ns=tape_end(lake, STOCKS))
    for table, rows, column, computation in (
        (BINS_5S, bins_5s(trades, quotes, STOCKS.session), "side_sum", None),
        (BARRIER_LABELS, labels, "return_bps", None),
        (INFORMATION_BARS, few.rows(tape), "close", few),
    ):
        lake.write(table, STOCKS, rows)
        passed, facts = look_ahead.no_look_ahead(table, lake, STOCKS, computation)
        assert (passed, facts["rows"]) == (True, rows.height), table.name
        lake.write(table, STOCKS, rows.with_columns(pl.col(column).shift(-1).fill_null(strategy="forward")))
        passed, facts = look_ahead.no_look_ahead(table, lake, STOCKS, computation)
        assert (passed, facts["columns"]) == (False, [column]), table.name
    lake.write(BINS_5S, STOCKS, BINS_5S.empty(), allow_shrink=True)
    assert not look_ahead.no_look_ahead(BINS_5S, lake, STOCKS)[0]


def test_rows_match_source(lake: Lake) -> None:
    lake.write(quarantine_of(TRADES), STOCKS, QUARANTINE.empty())
    kept = lake.rows(TRADES, STOCKS)
    with dg.DagsterInstance.ephemeral() as instance:
        for source_rows, expected in ((kept + 2, True), (kept + 3, False)):
            event = dg.AssetMaterialization(
                ["tape", "trades"], partition=str(STOCKS), metadata={"source_rows": source_rows, "duplicates": 2}
            )
            instance.report_runless_asset_event(event)
            assert judge_counts(instance, TRADES, lake, STOCKS)[0] is expected


def test_facts_of_one_partition_are_plain_numbers_with_its_name() -> None:
    assert facts_of({STOCKS: (True, {"share": 0.5, "quotes": 3, "none": None})}) == {
        "partition": "2024-06-04|stocks", "share": 0.5, "quotes": 3,
    }  # fmt: skip
    assert facts_of({}) == {"partition": "none in the lake"}


def test_facts_of_several_partitions_are_totals_and_a_table() -> None:
    later = Partition(DAY + dt.timedelta(days=1), Market.STOCKS)
    facts = facts_of(
        {later: (False, {"share": 0.5, "quotes": 3, "problems": ["a"]}), STOCKS: (True, {"share": 0.9, "quotes": 4})}
    )
    table = facts.pop("by_partition")
    assert facts == {
        "partition": "2024-06-04|stocks to 2024-06-05|stocks",
        "partitions": 2,
        "failed_partitions": 1,
        "lowest_share": 0.5,
        "quotes": 7,
    }
    rows = [record.data for record in table.records]
    assert [row["partition"] for row in rows] == ["2024-06-04|stocks", "2024-06-05|stocks"]
    assert rows[1] == {"partition": str(later), "passed": False, "share": 0.5, "quotes": 3, "problems": "['a']"}
    assert [column.name for column in table.schema.columns] == list(rows[1])
