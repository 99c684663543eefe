"""Names of the rules, and the message of an alert."""

import datetime as dt
from typing import Any

from tapewatch.market.instruments import NS_PER_SECOND

AlertRow = dict[str, Any]

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)

#: Messages by rule, in the order of the numbers in `state`.
_SENTENCES = {
    "volume_spike": "{symbol}: volume {value:,.6g} in the minute so far, {multiple:.1f} times the usual {baseline:,.6g}",
    "price_move": "{symbol}: price moved {value:+.1f} bps, {multiple:.1f} times the usual {baseline:.1f} bps",
    "bad_print": "{symbol}: a print {value:+.1f} bps off the price; the next prints returned",
    "volatility_burst": "{symbol}: minute range {value:.1f} bps, {multiple:.1f} times the usual {baseline:.1f} bps",
    "spread_blowout": "{symbol}: spread {value:.1f} bps, {multiple:.1f} times the usual {baseline:.1f} bps",
    "order_flow_imbalance": "{symbol}: {side} dominate the order flow by {value:+.1f} standard deviations; usual {baseline:.1f}",
    "data_quality": "{symbol}: {value:.1%} of the quotes are crossed (bid above ask); up to {baseline:.1%} is tolerated",
    "quote_stuffing": "{symbol}: {value:,.0f} quotes in the minute so far, {multiple:.1f} times the usual {baseline:,.1f}, "
    "without more trades",
    "correlation_break": "{symbol}: correlation with its group fell to {value:.2f}; usual {baseline:.2f}",
    "stale_symbol": "{symbol}: no data for {value:.0f} s; longest usual silence {baseline:.0f} s",
    "feed_outage": "feed: {channels} stopped or thinned out in several symbols at once; data in {value:.0f} symbol-minutes, "
    "usual {baseline:.0f}",
}
RULE_NAMES = tuple(_SENTENCES)


def sentence(row: AlertRow, channels: str) -> str:
    """The message of an alert, from its row; `channels` names the channels that a feed outage affects."""
    words = {**row, "multiple": abs(row["multiple"] or 0.0)}
    return _SENTENCES[row["rule"]].format(**words, channels=channels, side="buyers" if row["value"] > 0 else "sellers")


def time_from_ns(ns: int) -> dt.datetime:
    """An aware datetime in UTC, to the microsecond, from int64 ns UTC."""
    return dt.datetime.fromtimestamp(ns // NS_PER_SECOND, dt.UTC) + dt.timedelta(
        microseconds=ns % NS_PER_SECOND // 1000
    )


def ns_from_time(time: dt.datetime) -> int:
    """Int64 ns UTC from an aware datetime."""
    return (time - _EPOCH) // dt.timedelta(microseconds=1) * 1000


def stamp(ns: int) -> str:
    """A time as text for an alert's id."""
    return f"{time_from_ns(ns):%Y-%m-%dT%H:%M:%S}.{ns % NS_PER_SECOND // 1_000_000:03d}Z"
