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


def draw_table(rows: pl.DataFrame | Sequence[Mapping[str, Any]], **options: Any) -> list[int]:
    """Show rows without an index: by `st.dataframe` with its options, or as a plain table to who may not export.

    Returns: the positions of the rows that are selected; none of a plain table.
    """
    if current().may("export"):
        chosen: Any = st.dataframe(rows, hide_index=True, **options)
        return list(chosen["selection"]["rows"]) if "on_select" in options else []
    frame = rows if isinstance(rows, pl.DataFrame) else pl.DataFrame(rows, infer_schema_length=None)
    names = options.get("column_order") or frame.columns
    _draw_plain(frame.select(names), options.get("column_config", {}))
    return []


def _draw_plain(frame: pl.DataFrame, columns: Mapping[str, Any]) -> None:
    """A table of texts, with headings and forms of numbers from a `column_config`."""
    shown, texts = frame.head(_MOST), {}
    for name in frame.columns:
        config = columns.get(name) or {}
        config = {"label": config} if isinstance(config, str) else config
        kind = config.get("type_config") or {}
        heading = escaped(config.get("label") or name.replace("_", " "))
        texts[heading] = [_text(value, kind) for value in shown[name]]
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
