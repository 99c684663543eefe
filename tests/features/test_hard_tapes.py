"""Tapes that leave features undefined, through every table of the catalogue: nulls, no error, no infinity, and live as in batch."""

import polars as pl
import pytest

from tapewatch.bars.information.build import InformationBars
from tapewatch.bars.information.clocks import Clock, Thresholds
from tapewatch.features.bins.batch import bins_5s
from tapewatch.features.cross_asset.rows import cross_asset
from tapewatch.features.from_bars import bar_features
from tapewatch.features.microstructure import microstructure
from tapewatch.features.regimes.blocks import block_panel
from tapewatch.features.regimes.hidden_markov import RegimeModel
from tapewatch.features.regimes.rows import regimes
from tapewatch.features.seasonality.model import SeasonalModel
from tapewatch.features.seasonality.rows import seasonality
from tapewatch.market.instruments import Session
from tapewatch.market.tables.derived import BINS_5S, INFORMATION_BARS
from tapewatch.market.tables.features import CROSS_ASSET, REGIMES, SEASONALITY
from tapewatch.market.tables.tape import MICROSTRUCTURE, TIME
from tapewatch.streaming.live.families import LiveFamilies
from tapewatch.streaming.live.tape import LiveTape
from tests.support.families import assert_families, bars_of, batch_families, minutes_of
from tests.support.hard_tapes import TAPES, hard_tape
from tests.support.live import assert_as_batch, chunks, fed, streamed
from tests.support.panels import bars_of_market
from tests.support.tapes import stock_session

OTHERS = ("S0", "S1", "S2", "S3")
_NAN = pl.lit(float("nan"))


def of_nan(trades: pl.DataFrame, quotes: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    return trades.with_columns(price=_NAN, size=_NAN), quotes.with_columns(
        bid_price=_NAN, ask_price=_NAN, bid_size=_NAN, ask_size=_NAN
    )


def tape(name: str) -> tuple[pl.DataFrame, pl.DataFrame, Session]:
    if name != "NaN":
        return hard_tape(name)
    trades, quotes, session = hard_tape("constant price")
    return *of_nan(trades, quotes), session


def among_others(bars: pl.DataFrame, session: Session) -> pl.DataFrame:
    """The bars beside those of an ordinary market."""
    others = bars_of_market(session, len(OTHERS), 200)
    columns = (pl.col("symbol").cast(pl.String), pl.col("time", "known_time").cast(TIME), "close")
    return pl.concat([frame.select(columns) for frame in (bars, others)])


@pytest.fixture(scope="module")
def states() -> RegimeModel:
    session = stock_session()
    panel, volatility, _ = block_panel(bars_of_market(session, 4, 390), session, through_ns=session.day_end)
    fitted = RegimeModel.fit([((*panel.symbols[:-1], "AAA"), volatility)])
    assert fitted is not None
    return fitted


@pytest.mark.parametrize("name", [*TAPES, "NaN"])
def test_every_table_has_rows_by_its_definition(name: str, states: RegimeModel) -> None:
    trades, quotes, session = tape(name)
    bars = bars_of(trades, session)
    rows = microstructure(trades, quotes, session)
    found = (
        (MICROSTRUCTURE, [rows, bar_features(bars.with_columns(source=pl.lit("trades")), session)]),
        (BINS_5S, [bins_5s(trades, quotes, session)]),
        (SEASONALITY, [seasonality(rows, SeasonalModel.fit([rows.lazy()])), seasonality(rows, None)]),
        (CROSS_ASSET, [cross_asset(bars, session), cross_asset(among_others(bars, session), session)]),
        (REGIMES, [regimes(bars, session, model, through_ns=session.day_end) for model in (None, states)]),
        (INFORMATION_BARS, [InformationBars(clock, Thresholds(trades=20)).add(trades, session) for clock in Clock]),
    )
    for table, frames in found:
        for frame in frames:
            # No NaN, no infinity, nothing out of range.
            table.check(frame, session.market)
            assert table.duplicates(frame) == 0


@pytest.mark.parametrize(
    "name", ["without quotes", "one trade a day", "constant price", "halt", "sizes of zero", "NaN"]
)
def test_live_rows_are_those_of_the_batch(name: str, states: RegimeModel) -> None:
    trades, quotes, session = tape(name)
    seasons = SeasonalModel.fit([minutes_of(trades, quotes, session)])
    families = LiveFamilies(session, regime_model=lambda: states, seasonal_model=lambda: seasons)
    outputs = fed(LiveTape(session, families=families), chunks(*streamed(trades, quotes), 97))
    assert_as_batch(outputs, trades, quotes, session)
    expected = batch_families(trades, quotes, session, states=states, seasons=seasons)
    assert_families([rows.changes for rows in outputs], expected)
