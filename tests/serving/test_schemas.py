"""Any scoring request gives rows, or an error that names the fault."""

import datetime as dt
import json

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.schemas import MAX_ROWS, RequestError, parse_request
from tapewatch.market.tables.tape import MICROSTRUCTURE

FEATURES = ("volume_ratio", "quoted_spread_bps")
TIME = "2024-06-03T13:31:00Z"
ROW = {"symbol": "AAPL", "event_time": TIME, "volume_ratio": 2.5, "quoted_spread_bps": None}


def body(*rows: object) -> bytes:
    return json.dumps({"rows": rows}).encode()


def refusal(request: bytes) -> str:
    with pytest.raises(RequestError) as caught:
        parse_request(request, FEATURES)
    return str(caught.value)


def test_a_batch_and_a_single_row_are_read_alike() -> None:
    batch = parse_request(body(ROW, ROW), FEATURES)
    single = parse_request(json.dumps(ROW).encode(), FEATURES)
    assert batch.height == 2
    assert single.equals(batch.head(1))
    assert single.columns == list(MICROSTRUCTURE.schema)
    assert single["volume_ratio"].item() == 2.5
    assert single["quoted_spread_bps"].item() is None
    assert single["event_time"].item() == dt.datetime(2024, 6, 3, 13, 31, tzinfo=dt.UTC)


def test_a_whole_microstructure_row_is_accepted() -> None:
    whole = {name: 0.5 for name, dtype in MICROSTRUCTURE.schema.items() if dtype.is_numeric()}
    row = whole | ROW | {"known_time": "2024-06-03T13:32:00+00:00", "is_regular": True, "session_minute": 1}
    assert parse_request(body(row), FEATURES)["is_regular"].item() is True


def test_times_of_other_zones_become_utc() -> None:
    row = parse_request(body({**ROW, "event_time": "2024-06-03T09:31:00-04:00"}), FEATURES)
    assert row["event_time"].item() == dt.datetime(2024, 6, 3, 13, 31, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("request_body", "word"),
    [
        (b"", "truncated"),
        (b"[]", "object"),
        (b"{}", "symbol"),
        (b"\xff", "malformed"),
        (b'{"rows":[]}', "length >= 1"),
        (b'{"rows":' + b"[" * 50_000 + b"]" * 50_000 + b"}", "nested too deeply"),
        (body(*[ROW] * (MAX_ROWS + 1)), "length <="),
        (body({**ROW, "volume_ratoi": 1}), "volume_ratoi"),
        (b'{"row": 1, "rows":[]}', "unknown field"),
        (body({**ROW, "volume_ratio": "2.5"}), "volume_ratio"),
        (body({**ROW, "volume_ratio": -1}), ">= 0"),
        (body({**ROW, "depth_imbalance": 1.5}), "depth_imbalance"),
        (body({**ROW, "event_time": "2024-06-03T13:31:00"}), "timezone"),
        (body({**ROW, "event_time": "9999-01-01T00:00:00Z"}), "9999"),
        (body({**ROW, "symbol": ""}), "length >= 1"),
        (body({**ROW, "volume_ratio": None}), "no feature"),
        (body(ROW, {**ROW, "volume_ratio": -1}), "rows[1]"),
    ],
)
def test_errors_name_the_fault(request_body: bytes, word: str) -> None:
    assert word in refusal(request_body)


@pytest.mark.parametrize("depth", [10, 500, 968, 1_000, 50_000])
def test_nesting_of_any_depth_is_refused(depth: int) -> None:
    refusal(b'{"rows":' + b"[" * depth + b"]" * depth + b"}")
    refusal(b'{"symbol":' + b'{"a":' * depth + b"1" + b"}" * depth + b"}")


@pytest.mark.parametrize("number", ["1e400", "-1e400", "Infinity", "NaN", "1e31", "-1e31", "9" * 400])
def test_infinities_in_any_spelling_are_refused(number: str) -> None:
    for name in ("volume_ratio", "return_bps"):
        refusal(f'{{"symbol":"AAPL","event_time":"{TIME}","volume_ratio":1,"{name}":{number}}}'.encode())


@given(st.binary(max_size=200))
def test_any_bytes_give_rows_or_an_error(garbage: bytes) -> None:
    try:
        parse_request(garbage, FEATURES)
    except RequestError:
        return
    pytest.fail(f"accepted {garbage!r}")


_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*ROW, "rows", "x"]), inner, max_size=5)
    ),
    max_leaves=12,
)


@pytest.mark.long
@given(_JSON)
def test_any_json_gives_valid_rows_or_an_error(value: object) -> None:
    try:
        rows = parse_request(json.dumps(value).encode(), FEATURES)
    except RequestError:
        return
    assert rows.height
    assert rows.select(pl.col(pl.Float64).is_finite().all().fill_null(value=True)).row(0)
