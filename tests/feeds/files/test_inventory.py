"""What a folder of flat files holds."""

import datetime as dt
from pathlib import Path

import pytest
from rich.console import Console

from orchestration.cli.flat_files import show_flat_files
from tapewatch.feeds.files.inventory import inventory, unread_folders
from tapewatch.market.instruments import Market, Partition
from tapewatch.settings import Settings
from tests.support.flat_days import FUTURES, HEADERS, STOCKS, put, row


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for day in (4, 5):
        partition = Partition(dt.date(2024, 3, day), Market.FUTURES)
        rows = [row(partition, "trades", i, ticker=t) for i in range(30) for t in ("ESH4", "NQH4")]
        put(tmp_path, partition, "trades", rows, venue="cme")
    put(tmp_path, FUTURES, "day_bars", [row(FUTURES, "day_bars", ticker="CLJ4")], venue="nymex")
    put(tmp_path, STOCKS, "bars", [], ".csv")
    year = tmp_path / "us_stocks_sip" / "day_aggs_v1" / "2013.csv"
    year.parent.mkdir(parents=True)
    year.write_text(f"{HEADERS[Market.STOCKS, 'day_bars']}\nIBM,1,1,1,1,1,1,\n")
    broken = Path(put(tmp_path, STOCKS, "trades", [row(STOCKS, "trades")]))
    broken.write_bytes(broken.read_bytes()[:30])
    (tmp_path / "labels").mkdir()
    return tmp_path


def test_each_folder_is_counted(folder: Path) -> None:
    held = [(h.market, h.table, h.folder, h.files, h.first, h.last, h.rows, h.tickers) for h in inventory(str(folder))]
    assert held == [
        ("stocks", "trades", "us_stocks_sip/trades_v1", 1, "2024-03-05", "2024-03-05", None, None),
        ("stocks", "bars", "us_stocks_sip/minute_aggs_v1", 1, "2024-03-05", "2024-03-05", 0, 0),
        ("stocks", "day_bars", "us_stocks_sip/day_aggs_v1", 1, "2013", "2013", 1, 1),
        ("futures", "trades", "us_futures_cme/trades_v1", 2, "2024-03-04", "2024-03-05", 60, 2),
        ("futures", "day_bars", "us_futures_nymex/session_aggs_v1", 1, "2024-03-05", "2024-03-05", 1, 1),
    ]
    assert unread_folders(str(folder)) == ["labels"]


def test_check_lists_them(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = Settings(_env_file=None, flat_files=str(folder))  # type: ignore[call-arg]
    show_flat_files(settings, Console(width=140))
    printed = capsys.readouterr().out
    assert "us_futures_cme/trades_v1" in printed
    assert "not read: labels" in printed
    show_flat_files(settings.model_copy(update={"flat_files": str(folder / "labels")}), Console(width=140))
    assert "no file of a known layout" in capsys.readouterr().out
