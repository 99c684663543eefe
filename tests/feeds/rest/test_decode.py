"""Decoding pages: the compiled reader of bars agrees with the careful one on every page, good or bad."""

import json
import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapewatch.feeds.errors import PageError
from tapewatch.feeds.rest.columns import bar_columns
from tapewatch.feeds.rest.decode import BarsDecoder, ColumnsDecoder
from tapewatch.feeds.rest.messages import BarRow
from tests.support.rest_tapes import minute_bars

FAST, CAREFUL = BarsDecoder(), ColumnsDecoder(BarRow, bar_columns)

NUMBERS = st.one_of(
    st.integers(0, 10**17).map(str),
    st.floats(0, 1e12).map(repr),
    st.floats(0, 1e9).map(lambda value: f"{value:.4f}"),
    st.sampled_from(
        ["1e5", "1.5E+3", "7.0790813e+07", "2e-7", "0", "0.1", "0.30000000000000004", "9007199254740993", "1e400"]
    ),
)
ODD = st.sampled_from(
    ['"12"', "null", "true", "-1", "-0.5", "[1]", '{"a":"}"}', '"\\"}{"', "1e99999", "123456789012345678901"]
)
KEYS = st.sampled_from(["t", "o", "h", "l", "c", "v", "vw", "n", "otc", "dv", "x", "", "vwx"])


@st.composite
def rows(draw):
    fields = {name: draw(NUMBERS) for name in "ohlc"} | {"t": str(draw(st.integers(0, 10**13)))}
    for name in draw(st.sets(st.sampled_from(["v", "vw", "n"]))):
        fields[name] = draw(NUMBERS)
    if draw(st.integers(0, 5)) == 0:
        fields[draw(KEYS)] = draw(ODD)
    if draw(st.integers(0, 9)) == 0:
        fields.pop(draw(st.sampled_from(list(fields))))
    order = draw(st.permutations(list(fields)))
    gap = draw(st.sampled_from(["", "", " ", "\n\t"]))
    return "{" + f",{gap}".join(f'"{name}":{gap}{fields[name]}' for name in order) + gap + "}"


@st.composite
def pages(draw):
    joint = draw(st.sampled_from([",", ", ", "\n,\n"]))
    body = joint.join(draw(st.lists(rows(), max_size=6)))
    return f'{{"status":"OK","results":[{body}],"ticker":"AAPL","resultsCount":3}}'.encode()


def outcome(decoder, body):
    try:
        decoded = decoder(body)
    except PageError:
        return "no page"
    return (
        decoded.frame,
        [(bad.line, bad.raw) for bad in decoded.bad],
        decoded.page.ticker,
        decoded.page.results is None,
    )


def assert_same(body: bytes) -> None:
    fast, careful = outcome(FAST, body), outcome(CAREFUL, body)
    if isinstance(fast, str) or isinstance(careful, str):
        assert fast == careful, body
        return
    assert fast[0].equals(careful[0]), body
    assert fast[1:] == careful[1:], body


@pytest.mark.long
@settings(max_examples=120, deadline=None)
@given(page=pages())
def test_both_readers_agree_on_any_page(page):
    assert_same(page)


@pytest.mark.long
@settings(max_examples=120, deadline=None)
@given(page=pages(), at=st.floats(0, 0.999), byte=st.sampled_from(list(b'{}[]",:.eE+- 0a\\')), cut=st.booleans())
def test_both_readers_agree_on_broken_pages(page, at, byte, cut):
    place = int(at * len(page))
    assert_same(page[:place] if cut else page[:place] + bytes([byte]) + page[place + 1 :])


@settings(max_examples=120, deadline=None)
@given(text=NUMBERS)
def test_numbers_are_read_to_the_last_bit(text):
    body = f'{{"status":"OK","results":[{{"t":1,"o":{text},"h":1,"l":1,"c":1}}]}}'.encode()
    decoded = FAST(body)
    if math.isinf(float(text)):
        assert [bad.line for bad in decoded.bad] == [1]
    else:
        assert decoded.frame["open"].to_list() == [float(text)]


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b"{}", b'{"results":null}', b'{"results":{}}', b'{"results":[1,2]}', b'{"results":[{}]}',
     b'{"results":[{},{}],"results":[]}', b'{"results":[ ]}', b'{"results":[[{"t":1}]]}', b'{"results":[{"t":01}]}'],
)  # fmt: skip
def test_both_readers_agree_on_oddities(body):
    assert_same(body)


def test_both_readers_agree_on_a_full_page():
    rng = np.random.default_rng(3)
    rows_ = minute_bars(5_000)
    for row in rows_:
        row["o"] = round(float(rng.uniform(1, 1e5)), 4)
        row["vw"] = float(rng.uniform(1, 1e5))
    body = json.dumps({"status": "OK", "results": rows_}).encode()
    assert_same(body)
    assert FAST(body).frame["open"].to_list() == [row["o"] for row in rows_]
    assert FAST(body).frame.schema == CAREFUL(b'{"status":"OK","results":[]}').frame.schema
    assert FAST(body).frame["vwap"].to_list()[:10] == pl.Series([row["vw"] for row in rows_[:10]]).to_list()
