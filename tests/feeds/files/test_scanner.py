"""The compiled scanner against Python's own reading of numbers and CSV."""

import csv
import io
from dataclasses import replace

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapewatch.feeds.files import scanner
from tapewatch.feeds.files.columns import scan_lines
from tapewatch.feeds.files.layouts import LAYOUTS, bind
from tapewatch.feeds.files.parsing import parse_block
from tapewatch.feeds.files.quarantine import Bounds, Screen
from tapewatch.market.instruments import Market

_HEADER = ["ticker", "conditions", "exchange", "id", "participant_timestamp", "price", "size", "unknown"]
_BINDING = bind(LAYOUTS[Market.CRYPTO, "trades"], _HEADER, "file")
_DECIMALS = st.one_of(
    st.decimals(0, 10**12, places=8, allow_nan=False).map(str),
    st.floats(0, 1e15, allow_nan=False).map(repr),
    st.integers(0, 10**25).map(str),
    st.sampled_from(["", "1.", ".5", "0.10000000000000000555", "1e5", "-2", "+3", "007", "9007199254740993"]),
)
_WORDS = st.text(st.sampled_from("AZ09.:-,\"' é"), max_size=8)
_ROWS = st.lists(
    st.tuples(_WORDS, _WORDS, st.integers(0, 32767), _WORDS, st.integers(0, 2**63 - 1), _DECIMALS, _DECIMALS, _WORDS)
)


@pytest.mark.long
@settings(max_examples=120, deadline=None)
@given(_ROWS)
def test_numbers_and_words_are_as_python_reads_them(rows: list[tuple[object, ...]]) -> None:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    parsed = parse_block(_BINDING, memoryview(out.getvalue().encode()), 2)
    assert parsed.lines == len(rows)
    assert parsed.bad == []
    frame = parsed.rows.cast({pl.Categorical: pl.String})
    assert frame["line"].to_list() == list(range(2, 2 + len(rows)))
    for column in ("price", "size"):
        i = _HEADER.index(column)
        assert frame[column].to_list() == [float(r[i]) if r[i] else None for r in rows]  # type: ignore[arg-type]
    for column in ("exchange", "participant_timestamp"):
        assert frame[column].to_list() == [r[_HEADER.index(column)] for r in rows]
    for column in ("ticker", "conditions", "id"):
        found = [text or "" for text in frame[column]]
        assert [text.strip() for text in found] == [str(r[_HEADER.index(column)]).strip() for r in rows]


def test_plain_lines_need_no_careful_reading() -> None:
    line = b'X:BTC-USD,"1,2",1,a-17,1709654400000000000,62000.125,0.00012345,\n'
    ((frame, unsure, _),) = scan_lines(_BINDING, memoryview(line * 100), 2)
    assert (frame.height, unsure) == (100, [])


_SIDED = "ticker,ask_exchange,ask_price,ask_size,bid_exchange,bid_price,bid_size,sequence_number,sip_timestamp"
_AT = 1_709_654_400_000_000_000


@pytest.mark.parametrize("market", [Market.OPTIONS, Market.FUTURES])
@pytest.mark.parametrize("noughts", ["", "00000000000000000000"], ids=["scanned", "with care"])
def test_both_parsers_check_prices_by_the_market_s_rule(market: Market, noughts: str) -> None:
    layout = replace(LAYOUTS[Market.OPTIONS, "quotes"], market=market)
    binding = bind(layout, _SIDED.split(","), "file")
    screen = Screen(binding, Bounds(_AT, _AT + 1_000, _AT + 1_000), "file")
    prices = ["0.0", "0.5", "-0.01", "-37.63", "inf", "nan"]
    lines = [
        f"A,1,{price if price.isalpha() else price + noughts},3,1,-40,2,{i},{_AT + i}" for i, price in enumerate(prices)
    ]
    block = memoryview("".join(f"{line}\n" for line in lines).encode())
    rows, refused = screen.split(parse_block(binding, block, 0).rows, block, 0)
    if market is Market.FUTURES:
        assert rows["ask_price"].to_list() == [0.0, 0.5, -0.01, -37.63]
        assert refused["reason"].to_list() == [f"ask_price: {value} is no finite number" for value in ("inf", "NaN")]
    else:
        assert rows.height == 0
        assert refused["reason"][0] == "bid_price: -40.0 is no finite number from zero up"


def test_too_many_words_for_a_round_take_another() -> None:
    lines = b"".join(b"T%d,,1,,1709654400000000000,1,1,\n" % i for i in range(2 * scanner.MAX_WORDS))
    rounds = list(scan_lines(_BINDING, memoryview(lines), 2))
    tickers = pl.concat(frame for frame, _, _ in rounds)["ticker"].cast(pl.String)
    assert len(rounds) == 3
    assert tickers.to_list() == [f"T{i}" for i in range(2 * scanner.MAX_WORDS)]
