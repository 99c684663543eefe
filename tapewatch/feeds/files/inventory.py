"""What a folder of flat files holds, layout by layout."""

import re
from dataclasses import dataclass
from typing import Any

import fsspec
import polars as pl

from tapewatch.feeds.files.blocks import read_blocks
from tapewatch.feeds.files.layouts import layouts_of
from tapewatch.market.instruments import Market

_NAMED = re.compile(r"/(\d{4}-\d{2}-\d{2}|\d{4})\.csv(?:\.gz)?$")
#: The newest file is read for its rows and tickers up to this size.
_READ_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class HeldLayout:
    """A folder of files of one layout.

    `first` and `last` are days, or years where a file holds a year; `rows` and `tickers` are those of the newest file, None
    where it is large or cannot be read.
    """

    market: Market
    table: str
    folder: str
    files: int
    size: int
    first: str
    last: str
    rows: int | None
    tickers: int | None


def inventory(root: str, *, storage_options: dict[str, Any] | None = None) -> list[HeldLayout]:
    """The folders under `root` that hold files of a known layout, by market and table; files of other names are not counted."""
    fs, base = fsspec.core.url_to_fs(str(root).rstrip("/"), **(storage_options or {}))
    held = []
    for market in Market:
        for layout in layouts_of(market):
            for folder in layout.folders:
                path = f"{base}/{folder}"
                found = fs.find(path, detail=True) if fs.exists(path) else {}
                named = sorted((m[1], name) for name in found if (m := _NAMED.search(name)))
                if named:
                    size = sum(int(found[name].get("size") or 0) for _, name in named)
                    newest = named[-1][1]
                    rows, tickers = _counts(fs, newest, int(found[newest].get("size") or 0))
                    held.append(
                        HeldLayout(
                            market, layout.name, folder, len(named), size, named[0][0], named[-1][0], rows, tickers
                        )
                    )
    return held


def unread_folders(root: str, *, storage_options: dict[str, Any] | None = None) -> list[str]:
    """The top folders under `root` that are no market's."""
    fs, base = fsspec.core.url_to_fs(str(root).rstrip("/"), **(storage_options or {}))
    known = {top for market in Market for top in market.flat_file_folders}
    there = fs.ls(base, detail=True) if fs.exists(base) else []
    names = (str(info["name"]).rstrip("/").rsplit("/", 1)[-1] for info in there if info.get("type") == "directory")
    return sorted(name for name in names if name not in known)


def _counts(fs: Any, path: str, size: int) -> tuple[int | None, int | None]:
    if size > _READ_BYTES:
        return None, None
    rows, tickers = -1, set[str]()
    try:
        for block in read_blocks(fs, path):
            lines = pl.Series(bytes(block).decode("utf-8", "replace").splitlines())
            rows += lines.len()
            tickers |= set(lines.str.extract(r'^"?([^",]*)').unique().drop_nulls())
    except (OSError, RuntimeError):
        return None, None
    return max(rows, 0), len(tickers - {"ticker", ""})
