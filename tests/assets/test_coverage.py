"""The check that each market is certified up to its last finished day."""

import datetime as dt

import pytest

from assets.tape.coverage import newest_days
from tapewatch.market.instruments import Market, Partition

FRIDAY = dt.date(2024, 6, 7)


@pytest.mark.parametrize(
    ("now", "stocks", "crypto"),
    [
        # At noon on Friday Thursday is the last finished day, on Sunday Friday is that of stocks, on Tuesday Monday.
        (dt.datetime(2024, 6, 7, 12, tzinfo=dt.UTC), 0, 0),
        (dt.datetime(2024, 6, 9, 12, tzinfo=dt.UTC), 1, 2),
        (dt.datetime(2024, 6, 11, 12, tzinfo=dt.UTC), 2, 4),
    ],
)
def test_finished_days_without_a_certificate_are_counted_by_market(now: dt.datetime, stocks: int, crypto: int) -> None:
    days = [
        Partition(FRIDAY - dt.timedelta(days=back), market)
        for market in Market
        if market in ("stocks", "crypto")
        for back in (1, 2)
    ]
    found = newest_days(days, now)
    counted = {name: value for name, value in found.metadata.items() if name.endswith("_days")}
    assert {name: value.value for name, value in counted.items()} == {
        "stocks_behind_days": stocks,
        "crypto_behind_days": crypto,
    }
    assert found.passed == (not stocks)
    assert ("stocks ends on 2024-06-06" in str(found.description)) == bool(stocks)
