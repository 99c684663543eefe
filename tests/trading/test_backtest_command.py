"""`tapewatch backtest`: figures and frames for people and programs, corporate actions, halts, orders in parts, and wrong input."""

import csv
import datetime as dt
import io
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from orchestration.cli.app import app
from tapewatch.emulator.tape.market_tape import SyntheticTape
from tapewatch.market.instruments import Market, Partition
from tapewatch.market.tables.tape import BARS
from tapewatch.settings import Settings
from tapewatch.store.lake.lake import Lake
from tapewatch.trading.engine import run
from tapewatch.trading.recorded import read_orders
from tapewatch.trading.summary import summary
from tests.support.emulator import serving
from tests.support.trading import OPEN, bars, order, orders

DAYS = ("--from", f"{OPEN:%Y-%m-%d}", "--to", f"{OPEN:%Y-%m-%d}")
TAPE = bars(
    (10, 10.2, 9.9, 10.1, 1000),
    (10.1, 10.3, 10, 10.2, 1000),
    (10.2, 10.4, 10.1, 10.3, 1000),
    (10.3, 10.3, 10, 10, 1000),
)
SENT = (
    "order_id,symbol,time,side,quantity\na,AAPL,2024-06-03T13:31:00Z,1,100\n"
    "b,AAPL,2024-06-03T13:32:00Z,-1,40\nc,AAPL,2024-06-03T13:31:00Z,1,1e9\n"
)  # fmt: skip


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TAPEWATCH_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    Lake(Settings().lake_root).write(BARS, Partition(OPEN.date(), Market.STOCKS), TAPE)
    (tmp_path / "orders.csv").write_text(SENT)
    return tmp_path


def called(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, ("backtest", "orders.csv", *DAYS, *arguments))
    assert result.exit_code == code, result.output
    return result.stdout if code == 0 else result.output


def test_figures_and_frames_for_people_and_programs(home: Path) -> None:
    shown = called("--bars", "--out", "result")
    assert "2 filled, 1 refused" in shown
    assert "│ -2.00 " in shown
    (figures,) = json.loads(called("--bars", "--format", "json"))
    assert (figures["orders"], figures["filled"], figures["refused"], figures["fills"]) == (3, 2, 1, 2)
    # 100 bought at 10.1, 40 sold at 10.2, 60 held at 10.
    assert (figures["notional"], figures["profit"], figures["fees"]) == (1418.0, -2.0, 0.0)
    assert figures["sharpe"] is None
    rows = list(csv.DictReader(io.StringIO(called("--bars", "--show", "fills", "--format", "csv"))))
    assert [(row["order_id"], row["price"], row["notional"]) for row in rows] == [
        ("a", "10.1", "1010.0"),
        ("b", "10.2", "408.0"),
    ]
    assert rows[0]["time"].endswith("Z")
    for part in ("orders", "fills", "positions", "equity", "cash_flows", "refusals"):
        listed = json.loads(called("--bars", "--show", part, "--format", "json"))
        assert len(listed) == pl.read_parquet(home / "result" / f"{part}.parquet").height
    assert "1 refusal" in called("--bars", "--show", "refusals")


def test_corporate_actions_and_halts_come_from_files(home: Path) -> None:
    (home / "actions.csv").write_text("symbol,time,split_ratio,dividend\nAAPL,2024-06-03T13:33:30Z,,0.5\n")
    (home / "halts.csv").write_text("symbol,start_time\nAAPL,2024-06-03T13:31:30Z\n")
    (flow,) = json.loads(called("--bars", "--actions", "actions.csv", "--show", "cash_flows", "--format", "json"))
    assert (flow["kind"], flow["amount"]) == ("dividend", 30.0)
    refused = json.loads(called("--bars", "--halts", "halts.csv", "--show", "refusals", "--format", "json"))
    assert {row["order_id"]: row["reason"] for row in refused} == {"b": "halted", "c": "cash"}
    (home / "halts.csv").write_text("symbol\nAAPL\n")
    assert "halts.csv holds no halts" in called("--bars", "--halts", "halts.csv", code=1)


def test_what_is_stored_in_the_lake_is_applied_without_naming_it(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "actions.csv").write_text("symbol,date,split_ratio,dividend\nAAPL,2024-06-04,2,\nAAPL,2024-06-04,,0.5\n")
    (home / "halts.csv").write_text("symbol,start_time,end_time\nAAPL,2024-06-03T13:31:30Z,2024-06-03T13:32:30Z\n")
    range_ = ("actions", "--from", "2024-06-03", "--to", "2024-06-05")

    def stored(*arguments: str, code: int = 0) -> str:
        result = CliRunner().invoke(app, (*range_, *arguments))
        assert result.exit_code == code, result.output
        return result.output

    monkeypatch.delenv("POLYGON_API_KEY", raising=False)
    assert "set POLYGON_API_KEY, or name a file with --file" in " ".join(stored(code=1).split())
    assert "1 halt stored" in stored("--halts", "halts.csv")
    assert "1 halt stored" in stored("--file", "actions.csv", "--halts", "halts.csv")
    next_day = TAPE.with_columns(
        pl.col("time", "known_time").dt.offset_by("1d"), pl.col("open", "high", "low", "close") / 2
    )
    Lake(Settings().lake_root).write(BARS, Partition(dt.date(2024, 6, 4), Market.STOCKS), next_day)
    both = ("--to", "2024-06-04", "--bars", "--format", "json", "--show")
    refused = json.loads(called(*both, "refusals"))
    assert {row["order_id"]: row["reason"] for row in refused} == {"b": "halted", "c": "cash"}
    (flow,) = json.loads(called(*both, "cash_flows"))
    # 100 were held: the dividend is paid on the old units, and then there are 200 at half the price.
    assert (flow["kind"], flow["amount"]) == ("dividend", 50.0)
    last = json.loads(called(*both, "positions"))[-1]
    assert last["quantity"] == 200
    # The vendor's list takes the place of the file's, by symbol and day.
    listed = home / "listed.csv"
    listed.write_text("symbol,date,split_ratio,dividend\nAAPL,2024-06-04,0.1,\nMSFT,2024-06-04,,1\n")
    with serving(SyntheticTape(7), corporate=listed) as url:
        monkeypatch.setenv("POLYGON_BASE_URL", url)
        monkeypatch.setenv("POLYGON_API_KEY", "advanced-key")
        rows = json.loads(stored("--symbols", "AAPL,VOO", "--format", "json"))
    assert [(row["symbol"], row["split_ratio"], row["dividend"]) for row in rows] == [("AAPL", 0.1, None)]
    assert json.loads(called(*both, "positions"))[-1]["quantity"] == 10
    assert "ends on 2024-06-02, before" in stored("--to", "2024-06-02", code=2)


def test_a_large_order_in_parts_pays_less_impact(home: Path) -> None:
    rng = np.random.default_rng(1)
    close = (100 + np.cumsum(rng.integers(-2, 3, 200)) / 100).round(2)
    path = zip(
        np.roll(close, 1),
        np.maximum(np.roll(close, 1), close),
        np.minimum(np.roll(close, 1), close),
        close,
        strict=True,
    )
    rows = [
        (float(close[0]) if at == 0 else o, max(h, float(close[0])), lo, c, 5_000.0)
        for at, (o, h, lo, c) in enumerate(path)
    ]
    Lake(Settings().lake_root).write(BARS, Partition(OPEN.date(), Market.STOCKS), bars(*rows), allow_shrink=True)
    (home / "orders.csv").write_text("order_id,symbol,time,side,quantity\na,AAPL,2024-06-03T14:45:00Z,1,3000\n")
    costs = ("--bars", "--impact-bps", "50", "--cash", "1e6", "--show", "fills", "--format", "json")
    at_once, parts = (json.loads(called(*costs, *more)) for more in ((), ("--over", "30")))
    assert [sum(fill["quantity"] for fill in fills) for fills in (at_once, parts)] == [3000, 3000]
    assert (len(at_once), len(parts)) == (1, 30)
    paid = [sum((fill["price"] - fill["mid_price"]) * fill["quantity"] for fill in fills) for fills in (at_once, parts)]
    assert paid[1] < 0.3 * paid[0]
    (home / "orders.csv").write_text("order_id,symbol,time,side,quantity\na,AAPL,2024-06-03T14:45:00Z,1,30000\n")
    assert "takes 600 minutes at 1%" in called("--bars", "--over", "30", "--participation", "0.01", code=2)


def test_wrong_input_is_named(home: Path) -> None:
    assert "the lake holds no quotes of stocks" in called(code=1)
    (home / "orders.csv").write_text("order_id\na\n")
    assert "orders.csv holds no orders" in called("--bars", code=1)
    (home / "orders.csv").write_text(SENT)
    assert "participation is 2" in called("--bars", "--over", "5", "--participation", "2", code=2)
    assert "'sideways' is not one of" in called("--bars", "--show", "sideways", code=2)


def test_the_figures_by_hand() -> None:
    sent = orders(order("a", 60, 1, 100), order("b", 120, -1, 100))
    found = summary(run(sent, TAPE))
    assert (found["profit"], found["equity"], found["turnover"]) == (10.0, 100_010.0, pytest.approx(2030 / 100_000))
    # Bought in the second minute, sold in the third; marked at the end of each of four.
    assert found["time_in_market"] == 0.25
    assert found["mean_exposure"] == pytest.approx(1020 / 100_010 / 4)
    assert found["max_drawdown"] == 0.0
    nothing = summary(run(orders(), TAPE.clear()))
    assert (nothing["orders"], nothing["equity"], nothing["max_drawdown"]) == (0, None, None)


def test_orders_are_read_from_json_and_parquet_too(tmp_path: Path) -> None:
    (tmp_path / "orders.csv").write_text(SENT)
    read = read_orders(tmp_path / "orders.csv")
    read.write_parquet(tmp_path / "orders.parquet")
    pl.read_csv(tmp_path / "orders.csv").write_json(tmp_path / "orders.json")
    assert read_orders(tmp_path / "orders.parquet").equals(read)
    assert read_orders(tmp_path / "orders.json").equals(read)
