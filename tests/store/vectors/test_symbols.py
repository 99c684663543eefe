"""Features that Feast's classes wrote are read without Feast, bit for bit."""

import datetime as dt
from pathlib import Path

import msgspec
import pytest
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from hypothesis import given
from hypothesis import strategies as st

from tapewatch.store.vectors.symbols import (
    MICROSTRUCTURE_VIEW,
    open_vectors,
    read_features,
    symbol_key,
    value_of,
)
from tapewatch.store.vectors.vectors import Vector, VectorsError


@given(st.text(max_size=80))
def test_keys_are_those_of_feast(symbol: str) -> None:
    entity = EntityKey(join_keys=["symbol"], entity_values=[Value(string_val=symbol)])
    assert symbol_key(symbol) == serialize_entity_key(entity, entity_key_serialization_version=3)


@given(st.floats(allow_nan=False))
def test_floats_are_those_of_feast(number: float) -> None:
    assert value_of(Value(double_val=number).SerializeToString()) == number


@given(st.integers(-(2**63), 2**63 - 1), st.integers(-(2**31), 2**31 - 1), st.booleans())
def test_whole_numbers_and_flags_are_those_of_feast(wide: int, narrow: int, flag: bool) -> None:
    assert value_of(Value(int64_val=wide).SerializeToString()) == wide
    assert value_of(Value(int32_val=narrow).SerializeToString()) == narrow
    assert value_of(Value(bool_val=flag).SerializeToString()) is flag


def test_an_empty_value_is_none_and_text_is_refused() -> None:
    assert value_of(Value().SerializeToString()) is None
    with pytest.raises(ValueError, match="no number"):
        value_of(Value(string_val="x").SerializeToString())


def test_newest_features_come_with_their_times(tmp_path: Path) -> None:
    vectors = open_vectors(tmp_path)
    vectors.prepare()
    content = msgspec.msgpack.encode(
        {"volume_ratio": Value(double_val=2.5).SerializeToString(), "vpin": Value().SerializeToString()}
    )
    vectors.write(
        MICROSTRUCTURE_VIEW, [Vector(symbol_key("AAPL"), 1_717_424_700_000_000, 1_717_424_760_000_000, content)]
    )
    found, missing = read_features(vectors, MICROSTRUCTURE_VIEW, ["AAPL", "MSFT"])
    assert missing is None
    assert found is not None
    assert found.values == {"volume_ratio": 2.5, "vpin": None}
    assert found.event_time == dt.datetime(2024, 6, 3, 14, 25, tzinfo=dt.UTC)
    assert found.known_time - found.event_time == dt.timedelta(minutes=1)
    vectors.write(MICROSTRUCTURE_VIEW, [Vector(symbol_key("BAD"), 1, 1, b"\xc1")])
    with pytest.raises(VectorsError, match="cannot be read"):
        read_features(vectors, MICROSTRUCTURE_VIEW, ["BAD"])
    vectors.close()
