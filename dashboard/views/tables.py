"""Tables of the pages. Streamlit offers each of its interactive tables as a file, so only roles that may export get one."""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

import polars as pl
import streamlit as st

from dashboard.identity import current
from dashboard.views.controls import escaped

#: A plain table draws all of its rows at once.
_MOST: Final = 200
_FEW, _PLAIN_PX = 10, 430
#: Units after the last underscore of a column's name, as they are written.
_UNITS: Final = {"s": "s", "ms": "ms", "bps": "bps", "hz": "Hz"}


def draw_table(rows: pl.DataFrame | Sequence[Mapping[str, Any]], **options: Any) -> list[int]:
    """Show rows without an index: by `st.dataframe` with its options, or as a plain table to who may not export.

    A column without a label in `column_config` gets its name in words, with its unit: `lag_s` becomes `Lag, s`.

    Returns: the positions of the rows that are selected; none of a plain table.
    """
    frame = rows if isinstance(rows, pl.DataFrame) else pl.DataFrame(rows, infer_schema_length=None)
    columns = _headed(frame.columns, options.pop("column_config", {}))
    if current().may("export"):
        chosen: Any = st.dataframe(frame, hide_index=True, column_config=columns, **options)
        return list(chosen["selection"]["rows"]) if "on_select" in options else []
    names = options.get("column_order") or frame.columns
    _draw_plain(frame.select(name for name in names if columns[name] is not None), columns)
    return []


def draw_texts(rows: Sequence[Mapping[str, Any]], column_config: Mapping[str, Any]) -> None:
    """Show rows of whole sentences, each on as many lines as it takes."""
    frame = pl.DataFrame(rows, infer_schema_length=None)
    _draw_plain(frame, _headed(frame.columns, column_config))


def _headed(names: Sequence[str], given: Mapping[str, Any]) -> dict[str, Any]:
    """A column's configuration for each name; None hides it."""
    columns: dict[str, Any] = {}
    for name in names:
        config = given.get(name, {})
        config = {"label": config} if isinstance(config, str) else config
        columns[name] = None if config is None else {**config, "label": config.get("label") or heading(name)}
    return columns


def heading(name: str) -> str:
    """A column's name in words, with its unit."""
    stem, _, last = name.rpartition("_")
    words, unit = (stem, f", {_UNITS[last]}") if stem and last in _UNITS else (name, "")
    return words[:1].upper() + words[1:].replace("_", " ") + unit


def _draw_plain(frame: pl.DataFrame, columns: Mapping[str, Any]) -> None:
    """A table of texts, with headings and forms of numbers from a `column_config`."""
    shown, texts = frame.head(_MOST), {}
    for name in frame.columns:
        kind = columns[name].get("type_config") or {}
        texts[escaped(columns[name]["label"])] = [_text(value, kind) for value in shown[name]]
    st.table(texts, hide_index=True, height=_PLAIN_PX if shown.height > _FEW else "content")
    if frame.height > _MOST:
        st.caption(f"The first {_MOST} of {frame.height:,} rows.")


def _text(value: Any, kind: Mapping[str, Any]) -> str:
    if value is None:
        return ""
    if kind.get("type") == "link":
        return f"[{kind.get('display_text') or 'open'}]({quote(str(value), safe='/?=&')})"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.1%}" if kind.get("format") == "percent" else f"{value:.6g}"
    return escaped(str(value))
