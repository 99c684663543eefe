"""A table checks frames against its definition, with one sentence per fault."""

import polars as pl
import pyarrow as pa
import pytest

from tapewatch.market.schema import Column, SchemaError, Table
from tapewatch.market.tables.derived import DERIVED
from tapewatch.market.tables.tape import ALL, TRADES

_TABLE = Table(
    "readings",
    "tests",
    "A table for tests.",
    key=("symbol", "step"),
    columns=(
        Column("symbol", pl.Categorical(), "name"),
        Column("step", pl.Int64(), "number"),
        Column("share", pl.Float64(), "share", minimum=0, maximum=1),
        Column("note", pl.String(), "remark", is_nullable=True),
        Column("level", pl.Float64(), "level", is_nullable=True, minimum=0),
    ),
)
_SOUND = pl.DataFrame(
    {
        "symbol": ["A", "A", "B"],
        "step": [1, 2, 1],
        "share": [0.0, 0.5, 1.0],
        "note": ["x", None, ""],
        "level": [1.0, None, 0.0],
    }
)


def _frame(**columns: object) -> pl.DataFrame:
    return _TABLE.conform(_SOUND).with_columns(
        **{name: pl.Series(values, dtype=_TABLE.schema[name]) for name, values in columns.items()}  # type: ignore[call-overload]
    )


def test_conform_orders_casts_and_fills() -> None:
    shuffled = _SOUND.select("step", "share", "symbol", extra=pl.lit(1)).with_columns(pl.col("step").cast(pl.Int8))
    frame = _TABLE.conform(shuffled)
    assert frame.schema == _TABLE.schema
    assert frame["note"].null_count() == frame["level"].null_count() == 3
    _TABLE.check(frame)


def test_conform_names_what_is_missing() -> None:
    with pytest.raises(SchemaError, match=r"readings: missing column\(s\) symbol, share; has step, note, level"):
        _TABLE.conform(_SOUND.drop("symbol", "share"))


def test_conform_refuses_a_value_that_does_not_survive() -> None:
    with pytest.raises(SchemaError, match=r"readings: .*many"):
        _TABLE.conform(_SOUND.with_columns(step=pl.Series(["1", "many", "3"])))


def test_a_sound_frame_has_no_problems() -> None:
    assert list(_TABLE.problems(_TABLE.conform(_SOUND))) == []
    assert list(_TABLE.problems(_TABLE.empty())) == []


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        ({"step": [1, None, 3]}, "step: null in 1 row(s)"),
        ({"share": [None, None, 0.5]}, "share: null in 2 row(s)"),
        ({"share": [0.0, float("nan"), 0.5]}, "share: NaN or infinite in 1 row(s)"),
        ({"level": [float("inf"), None, 0.5]}, "level: NaN or infinite in 1 row(s)"),
        ({"share": [-0.1, 0.1, -2]}, "share: below 0 in 2 row(s)"),
        ({"share": [1.1, 0.1, 0.2]}, "share: above 1 in 1 row(s)"),
        ({"level": [None, -1, 0]}, "level: below 0 in 1 row(s)"),
    ],
)
def test_each_fault_is_counted(columns: dict[str, object], problem: str) -> None:
    frame = _frame(**columns)
    assert problem in list(_TABLE.problems(frame))
    with pytest.raises(SchemaError, match="readings: "):
        _TABLE.check(frame)


def test_faults_of_schema() -> None:
    frame = _frame()
    assert list(_TABLE.problems(frame.drop("note"))) == ["note: missing"]
    assert list(_TABLE.problems(frame.with_columns(more=1))) == ["more: unknown column"]
    assert list(_TABLE.problems(frame.cast({"step": pl.Int32}))) == ["step: is Int32, should be Int64"]
    assert list(_TABLE.problems(frame.select(reversed(frame.columns)))) == [
        "columns are in another order: level, note, share, step, symbol"
    ]


def test_check_lists_every_fault() -> None:
    with pytest.raises(SchemaError, match=r"share: below 0 in 1 row\(s\); level: below 0 in 1 row\(s\)"):
        _TABLE.check(_frame(share=[-1, 0, 0], level=[-1, 0, 0]))


def test_duplicates_count_repeats_of_the_key() -> None:
    assert _TABLE.duplicates(_frame()) == 0
    assert _TABLE.duplicates(_frame(symbol=["A", "A", "A"], step=[1, 1, 1])) == 2
    assert _TABLE.duplicates(_TABLE.empty()) == 0


def test_a_key_must_name_columns() -> None:
    with pytest.raises(SchemaError, match="names 'nothing', which is not a column"):
        Table("t", "g", "d", key=("nothing",), columns=_TABLE.columns)


def test_sort_defaults_to_the_key() -> None:
    assert _TABLE.sort == _TABLE.key
    assert TRADES.sort == ("symbol", "time", "sequence_number")


@pytest.mark.parametrize("table", [*ALL, *DERIVED], ids=lambda t: t.name)
def test_every_table_of_the_platform_is_well_formed(table: Table) -> None:
    assert len(table.by_name) == len(table.columns)
    assert [f.name for f in table.arrow_schema] == list(table.schema)
    assert [f.nullable for f in table.arrow_schema] == [c.is_nullable for c in table.columns]
    assert all(
        c.description and (c.minimum is None or c.maximum is None or c.minimum < c.maximum) for c in table.columns
    )
    # A trade may state no id, which is a value of the key like any other.
    assert not any(table.by_name[name].is_nullable for name in (*table.key, *table.sort) if name != "id")
    back = pl.DataFrame(table.empty().to_arrow().cast(table.arrow_schema))
    assert isinstance(table.arrow_schema, pa.Schema)
    assert back.schema == table.schema
