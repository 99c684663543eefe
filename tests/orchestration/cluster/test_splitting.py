"""The days of a run, dealt out to workers, are the run's days, each once."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.shared.partitions import DAYS_TAG, INDEPENDENT, RANGE_END, RANGE_START, WHOLE_END, WHOLE_START
from orchestration.cluster.splitting import pieces
from orchestration.definitions import build_definitions
from tapewatch.market.instruments import Market, Partition, trading_days
from tapewatch.settings import Settings

APART = {DAYS_TAG: INDEPENDENT}
MONDAY = dt.date(2024, 3, 4)


def over(first: dt.date, last: dt.date, market: Market = Market.STOCKS) -> dict[str, str]:
    return {"x": "y", RANGE_START: str(Partition(first, market)), RANGE_END: str(Partition(last, market))}


@given(
    st.dates(dt.date(2019, 1, 1), dt.date(2025, 1, 1)),
    st.integers(0, 60),
    st.integers(1, 20),
    st.sampled_from([Market.STOCKS, Market.CRYPTO, Market.FOREX]),
)
def test_every_day_is_in_one_piece_and_every_piece_has_a_trading_day(
    first: dt.date, length: int, workers: int, market: Market
) -> None:
    last = first + dt.timedelta(days=length)
    found = pieces(over(first, last, market), APART, workers)
    assert len(found) <= max(1, 2 * workers)
    ranges = [(Partition.parse(tags[RANGE_START]).date, Partition.parse(tags[RANGE_END]).date) for tags in found]
    assert [begin for begin, _ in ranges[1:]] == [end + dt.timedelta(days=1) for _, end in ranges[:-1]]
    assert (ranges[0][0], ranges[-1][1]) == (first, last)
    if len(found) > 1:
        assert all(trading_days(market, *each) for each in ranges)
        assert all(
            (tags[WHOLE_START], tags[WHOLE_END]) == (found[0][RANGE_START], found[-1][RANGE_END]) for tags in found
        )
        assert all(tags["x"] == "y" for tags in found)


@pytest.mark.parametrize(
    ("run", "step"),
    [
        (over(MONDAY, MONDAY), APART),
        (over(MONDAY, MONDAY + dt.timedelta(days=4)), {}),
        ({"dagster/partition": "2024-03-04|stocks"}, APART),
        ({RANGE_START: "2024-03-04|crypto", RANGE_END: "2024-03-08|stocks"}, APART),
    ],
    ids=["one day", "days that depend on each other", "no range", "two markets"],
)
def test_a_step_that_cannot_be_divided_is_one_piece(run: dict[str, str], step: dict[str, str]) -> None:
    assert pieces(run, step, 8) == [run]


def test_bars_that_continue_over_days_are_computed_in_order() -> None:
    """Bars of other clocks carry their remainder into the next day; features know no other day of their own table."""
    made = build_definitions(Settings(_env_file=None)).get_repository_def().assets_defs_by_key
    apart = {key.to_user_string() for key, asset in made.items() if asset.is_executable and asset.op.tags == APART}
    assert {"features/microstructure", "features/seasonality", "features/regimes", "labels/training_set"} <= apart
    assert apart.isdisjoint({"tape/information_bars", "tape/trades", "trading/signals", "models/isolation_forest"})
