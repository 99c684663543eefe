"""What rules are called, and what an alert says to a person."""

import datetime as dt
from typing import Any

from tapewatch.market.instruments import NS_PER_SECOND

AlertRow = dict[str, Any]

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)

#: By the numbers of `rules_state`.
RULE_NAMES = (
    "volume_spike",
    "price_move",
    "bad_print",
    "volatility_burst",
    "spread_blowout",
    "order_flow_imbalance",
    "data_quality",
    "quote_stuffing",
    "correlation_break",
    "stale_symbol",
    "feed_outage",
)

_SENTENCES = {
    "volume_spike": "{symbol}: {value:,.6g} traded in the minute so far, {multiple:.1f} times the usual {baseline:,.6g}",
    "price_move": "{symbol}: price moved {value:+.1f} bps, {multiple:.1f} times the usual {baseline:.1f} bps",
    "bad_print": "{symbol}: a print {value:+.1f} bps off, to which the next ones did not follow",
    "volatility_burst": "{symbol}: minutes range over {value:.1f} bps, {multiple:.1f} times the usual {baseline:.1f} bps",
    "spread_blowout": "{symbol}: spread of {value:.1f} bps, {multiple:.1f} times the usual {baseline:.1f} bps",
    "order_flow_imbalance": "{symbol}: {side} lead by {value:+.1f} standard deviations of coin tosses; usual is {baseline:.1f}",
    "data_quality": "{symbol}: {value:.1%} of the quotes are crossed, bid above offer; up to {baseline:.1%} is tolerated",
    "quote_stuffing": "{symbol}: {value:,.0f} quotes in the minute so far, {multiple:.1f} times the usual {baseline:,.1f}, and nobody "
    "trades on them",
    "correlation_break": "{symbol}: left its company, correlation {value:.2f} where {baseline:.2f} is usual",
    "stale_symbol": "{symbol}: silent for {value:.0f} s; the longest usual silence is {baseline:.0f} s",
    "feed_outage": "feed: {channels} stopped or thinned out in several symbols at once, {value:.0f} symbol-minutes heard where "
    "{baseline:.0f} are usual",
}


def sentence(row: AlertRow, channels: str) -> str:
    """What an alert says, from its row; `channels` names what is out where the whole feed is meant."""
    words = {**row, "multiple": abs(row["multiple"] or 0.0)}
    return _SENTENCES[row["rule"]].format(**words, channels=channels, side="buyers" if row["value"] > 0 else "sellers")


def time_from_ns(ns: int) -> dt.datetime:
    """A time of the tape, int64 ns UTC, as rows hold it."""
    return dt.datetime.fromtimestamp(ns // NS_PER_SECOND, dt.UTC) + dt.timedelta(
        microseconds=ns % NS_PER_SECOND // 1000
    )


def ns_from_time(time: dt.datetime) -> int:
    """The way back."""
    return (time - _EPOCH) // dt.timedelta(microseconds=1) * 1000


def stamp(ns: int) -> str:
    """A time within an alert's id."""
    return f"{time_from_ns(ns):%Y-%m-%dT%H:%M:%S}.{ns % NS_PER_SECOND // 1_000_000:03d}Z"
