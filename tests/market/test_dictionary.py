"""The data dictionary in the docs is the generated one."""

from pathlib import Path

from tapewatch.market.tables.dictionary import data_dictionary
from tapewatch.market.tables.live import EVERY

PAGE = Path(__file__).resolve().parents[2] / "docs" / "data_dictionary.md"


def test_page_is_up_to_date() -> None:
    way_out = "run: python -m tapewatch.market.tables.dictionary > docs/data_dictionary.md"
    assert PAGE.read_text() == data_dictionary(), way_out


def test_page_names_every_column() -> None:
    page = data_dictionary()
    for table in EVERY:
        section = page.split(f"## {table.group}/{table.name}\n")[1].split("\n## ")[0]
        assert [line.split("|")[1].strip() for line in section.splitlines() if line.startswith("| `")] == [
            f"`{column.name}`" for column in table.columns
        ]
