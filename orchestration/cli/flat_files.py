"""The flat files of `tapewatch check`: what is there, layout by layout."""

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tapewatch.feeds.files.inventory import HeldLayout, inventory, unread_folders
from tapewatch.masking import masked
from tapewatch.settings import Settings

_MEGABYTE = 1_000_000


def show_flat_files(settings: Settings, console: Console) -> None:
    """Print the folders of flat files with their files, days, size, and the rows and tickers of the newest small file."""
    if settings.flat_files is None:
        return
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for heading in ("market", "table", "folder"):
        table.add_column(heading, overflow="fold")
    for heading in ("files", "MB", "from", "to", "rows*", "tickers*"):
        table.add_column(heading, justify="right", no_wrap=True)
    held = inventory(settings.flat_files)
    for layout in held:
        table.add_row(*_cells(layout))
    console.print(f"\nFlat files in {escape(masked(settings.flat_files))}", highlight=False)
    if held:
        console.print(table)
        console.print("[dim]* of the newest file; – where it is large or cannot be read[/]")
    else:
        console.print("[yellow]![/] no file of a known layout: expected MARKET/TABLE/YYYY/MM/YYYY-MM-DD.csv.gz")
    if others := unread_folders(settings.flat_files):
        console.print(f"[yellow]![/] not read: {escape(masked(', '.join(others)))}", soft_wrap=True, highlight=False)


def _cells(layout: HeldLayout) -> tuple[str, ...]:
    counts = ("–" if count is None else f"{count:,}" for count in (layout.rows, layout.tickers))
    size = f"{layout.size / _MEGABYTE:,.1f}"
    return (
        layout.market,
        layout.table.replace("_", " "),
        escape(masked(layout.folder)),
        f"{layout.files:,}",
        size,
        layout.first,
        layout.last,
        *counts,
    )
