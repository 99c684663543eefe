"""Live rows that need all symbols of a market, or earlier days, in the end equal those of the batch."""

import threading
from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from tapewatch.features.cross_asset.rows import cross_asset
from tapewatch.features.regimes.blocks import block_panel
from tapewatch.features.regimes.hidden_markov import RegimeModel
from tapewatch.features.regimes.rows import regimes
from tapewatch.market.instruments import NS_PER_MINUTE, NS_PER_SECOND
from tapewatch.market.tables.features import CORRELATIONS, CROSS_ASSET, REGIMES
from tapewatch.market.tables.live import LIVE_BARS
from tapewatch.market.tables.tape import QUOTES
from tapewatch.streaming.live.families import LiveFamilies, fitted_apart
from tapewatch.streaming.live.kept import Change
from tapewatch.streaming.live.market_features import LiveMarketFeatures
from tapewatch.streaming.live.tape import LiveTape
from tests.support.families import assert_families, batch_families, plain
from tests.support.live import chunks, fed, last_of, streamed
from tests.support.panels import bars_of_market
from tests.support.tapes import random_tape, stock_session

SESSION = stock_session()
SYMBOLS = ("A", "B", "C", "D", "E")
TABLES = (CROSS_ASSET, CORRELATIONS, REGIMES)


@pytest.fixture(scope="module")
def model() -> RegimeModel:
    days = []
    for seed in (1, 2, 3):
        bars = bars_of_market(SESSION, len(SYMBOLS), 390, seed=seed)
        names = dict(zip(sorted(bars["symbol"].cast(pl.String).unique()), SYMBOLS, strict=True))
        renamed = bars.with_columns(pl.col("symbol").cast(pl.String).replace(names))
        panel, volatility, _ = block_panel(renamed, SESSION, through_ns=SESSION.day_end)
        days.append((panel.symbols, volatility))
    fitted = RegimeModel.fit(days)
    assert fitted is not None
    return fitted


def assert_as_batch(steps: Sequence[Sequence[Change]], trades: pl.DataFrame, model: RegimeModel | None) -> None:
    expected = batch_families(trades, QUOTES.empty(), SESSION, states=model)
    assert expected[CROSS_ASSET.name]["pair_statistic"].is_not_null().any()
    assert_families(steps, expected, TABLES)


@pytest.mark.long
@pytest.mark.parametrize(("seed", "size", "late_s"), [(1, 45, 90), (2, 300, 400), (3, 900, 0)])
def test_any_pieces_in_any_order_give_what_the_batch_gives(
    model: RegimeModel, seed: int, size: int, late_s: int
) -> None:
    trades, quotes = random_tape(seed, SYMBOLS, trades=900, quotes=5, minutes=200, session=SESSION)
    some_trades, no_quotes = streamed(trades, quotes[:0])
    delay = np.random.default_rng(seed).integers(0, late_s * NS_PER_SECOND + 1, some_trades.height)
    arrived = some_trades[np.argsort(some_trades["time"].to_physical().to_numpy() + delay, kind="stable")]
    pieces = [(arrived[at : at + size], no_quotes) for at in range(0, arrived.height, size)]
    tape = LiveTape(SESSION, families=LiveFamilies(SESSION, TABLES, regime_model=lambda: model))
    outputs = fed(tape, pieces)
    assert tape.too_late == 0
    assert_as_batch([rows.changes for rows in outputs], trades, model)


@pytest.mark.long
def test_each_minute_gives_its_rows_once_and_known_at_its_end(model: RegimeModel) -> None:
    trades, quotes = random_tape(4, SYMBOLS, trades=900, quotes=5, minutes=160, session=SESSION)
    tape = LiveTape(SESSION, families=LiveFamilies(SESSION, TABLES, regime_model=lambda: model))
    outputs = fed(tape, chunks(*streamed(trades, quotes), 40))
    for table in TABLES:
        rows = pl.concat([change.rows for each in outputs for change in each.changes if change.table is table])
        assert table.duplicates(rows) == 0
        expected = batch_families(trades, quotes, SESSION, states=model)[table.name]
        assert_frame_equal(plain(table, rows, known=True), plain(table, expected, known=True), check_exact=True)


def test_a_trade_that_is_withdrawn_takes_the_rows_of_its_bar_with_it(model: RegimeModel) -> None:
    bars = bars_of_market(SESSION, 4, 60)
    live = LiveMarketFeatures(SESSION, lambda: model)
    given_bars = LIVE_BARS.conform(
        bars.with_columns(
            clock=pl.lit("1m"), source=pl.lit("trades"), revision=0, open="close", high="close", low="close",
            vwap="close", volume=1.0, transactions=1,
        )
    )  # fmt: skip
    none = given_bars.clear().select(LIVE_BARS.key)
    end = SESSION.regular_start + 60 * NS_PER_MINUTE
    steps = [live.update(given_bars, none, end)]
    gone = given_bars.filter((pl.col("symbol") == "S1") & (pl.col("time").dt.epoch("ns") == end - 3 * NS_PER_MINUTE))
    steps.append(live.update(given_bars.clear(), gone.select(LIVE_BARS.key), end + NS_PER_MINUTE))
    changed = {change.table.name: change for change in steps[1]}
    assert changed["cross_asset"].withdrawn.height == 1
    left = given_bars.join(gone, on=["symbol", "time"], how="anti").sort("symbol", "time")
    found = plain(CROSS_ASSET, last_of(CROSS_ASSET, steps))
    assert_frame_equal(found, plain(CROSS_ASSET, cross_asset(left, SESSION)), check_exact=True)
    found = plain(REGIMES, last_of(REGIMES, steps))
    assert_frame_equal(found, plain(REGIMES, regimes(left, SESSION, model, through_ns=end)), check_exact=True)


@pytest.mark.long
def test_a_model_that_comes_late_revises_the_blocks_before_it(model: RegimeModel) -> None:
    trades, quotes = random_tape(8, SYMBOLS, trades=900, quotes=5, minutes=200, session=SESSION)
    is_there = threading.Event()
    fitting = threading.Event()

    def fit() -> RegimeModel:
        fitting.set()
        assert is_there.wait(300)
        return model

    find = fitted_apart(fit, "no states")
    tape = LiveTape(SESSION, families=LiveFamilies(SESSION, TABLES, regime_model=find))
    pieces = list(chunks(*streamed(trades, quotes), 100))
    steps = []
    for at, (some_trades, some_quotes) in enumerate(pieces):
        if at == len(pieces) // 2:
            assert fitting.wait(300)
            assert last_of(REGIMES, steps)["regime"].null_count() == last_of(REGIMES, steps).height > 20
            is_there.set()
            while find() is None:
                threading.Event().wait(0.01)
        tape.push(some_trades, some_quotes)
        steps.append(tape.advance(tape.last_time_ns).changes)
    steps.append(tape.close().changes)
    assert_as_batch(steps, trades, model)


@pytest.mark.long
def test_without_a_model_there_are_no_states_and_a_failed_fit_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    trades, quotes = random_tape(9, SYMBOLS, trades=900, quotes=5, minutes=200, session=SESSION)

    def fit() -> RegimeModel:
        raise OSError("the lake is away")

    find = fitted_apart(fit, "no states")
    tape = LiveTape(SESSION, families=LiveFamilies(SESSION, TABLES, regime_model=find))
    steps = [rows.changes for rows in fed(tape, chunks(*streamed(trades, quotes), 300))]
    while "the lake is away" not in caplog.text:
        threading.Event().wait(0.01)
    assert_as_batch(steps, trades, None)
