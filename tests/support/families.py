"""The further feature tables of a day, by the batch, and what live changes amount to beside them."""

from collections.abc import Iterable, Sequence

import polars as pl
from polars.testing import assert_frame_equal

from tapewatch.bars.time_bars import minute_bars
from tapewatch.features.cross_asset.correlations import correlations
from tapewatch.features.cross_asset.rows import cross_asset
from tapewatch.features.families.indicators import indicators
from tapewatch.features.families.rows import microstructure_more
from tapewatch.features.microstructure import microstructure
from tapewatch.features.regimes.hidden_markov import RegimeModel
from tapewatch.features.regimes.rows import regimes
from tapewatch.features.seasonality.measures import with_more
from tapewatch.features.seasonality.model import SeasonalModel
from tapewatch.features.seasonality.rows import seasonality
from tapewatch.market.instruments import Session
from tapewatch.market.schema import Table
from tapewatch.market.tables.features import (
    CORRELATIONS,
    CROSS_ASSET,
    INDICATORS,
    LIVE_FAMILIES,
    MICROSTRUCTURE_MORE,
    REGIMES,
    SEASONALITY,
)
from tapewatch.streaming.live.kept import Change
from tests.support.live import last_of

_TEXT = pl.selectors.categorical().cast(pl.String)


def bars_of(trades: pl.DataFrame, session: Session) -> pl.DataFrame:
    """Minute bars that are known at their end."""
    return minute_bars(trades, session).with_columns(known_time=pl.col("time") + pl.duration(minutes=1))


def minutes_of(trades: pl.DataFrame, quotes: pl.DataFrame, session: Session) -> pl.LazyFrame:
    """What seasonality reads of a day."""
    more = microstructure_more(trades, quotes, session)
    return with_more(microstructure(trades, quotes, session).lazy(), more.lazy())


def batch_families(
    trades: pl.DataFrame,
    quotes: pl.DataFrame,
    session: Session,
    *,
    states: RegimeModel | None = None,
    seasons: SeasonalModel | None = None,
) -> dict[str, pl.DataFrame]:
    """Every table of `LIVE_FAMILIES`, by name."""
    bars = bars_of(trades, session)
    return {
        MICROSTRUCTURE_MORE.name: microstructure_more(trades, quotes, session),
        INDICATORS.name: indicators(bars, session),
        CROSS_ASSET.name: cross_asset(bars, session),
        CORRELATIONS.name: correlations(bars, session),
        REGIMES.name: regimes(bars, session, states, through_ns=session.day_end),
        SEASONALITY.name: seasonality(minutes_of(trades, quotes, session).collect(), seasons),
    }


def plain(table: Table, rows: pl.DataFrame, *, known: bool = False) -> pl.DataFrame:
    """Rows in order of their key, categories as text; without when they were `known`, which depends on when their bars came."""
    rows = rows.with_columns(_TEXT).sort(table.key)
    return rows if known else rows.select(pl.all().exclude("known_time"))


def assert_families(
    steps: Sequence[Sequence[Change]],
    expected: dict[str, pl.DataFrame],
    tables: Iterable[Table] = LIVE_FAMILIES,
) -> None:
    """What a reader holds in the end are the batch's rows, bit for bit."""
    for table in tables:
        assert_frame_equal(plain(table, last_of(table, steps)), plain(table, expected[table.name]), check_exact=True)
