"""The plan of a backfill: days, symbols, cost, and refusals."""

import datetime as dt
import io
import socket
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pydantic import SecretStr
from rich.console import Console
from typer.testing import CliRunner

from orchestration.cli.app import app
from orchestration.runs.backfill import check_vendor, how_to_continue, in_words, plan_backfill, show, with_symbols
from orchestration.runs.runs import RunError, run_days
from resources import tape_source
from tapewatch.bars.time_bars import reconcile
from tapewatch.emulator.process import running_emulator
from tapewatch.feeds.errors import UnavailableError
from tapewatch.feeds.plans.table import PLANS_FILE, PlanError, TapeTable
from tapewatch.market.instruments import Market, Partition
from tapewatch.market.tables.tape import BARS, DELIVERED_BARS, QUARANTINE, SYMBOL, TIME, quarantine_of
from tapewatch.settings import Settings
from tapewatch.store.lake.lake import Lake

NOW = dt.datetime(2024, 6, 10, 15, tzinfo=dt.UTC)  # a Monday
MONDAY, FRIDAY = dt.date(2024, 6, 3), dt.date(2024, 6, 7)


def deployment(home: Path, plan: str = "basic", **changes: Any) -> Settings:
    values = {"home": home, "polygon_api_key": SecretStr("k")} | changes
    return Settings(_env_file=None, markets={"stocks": {"plan": plan, "symbols": ("AAPL", "MSFT")}}, **values)


def load_bars(settings: Settings, day: dt.date, *symbols: str) -> None:
    """Write a day with one bar per symbol to the lake, as a complete load does."""
    partition, lake = Partition(day, Market.STOCKS), Lake(settings.lake_root)
    rows = pl.DataFrame({"symbol": sorted(symbols)}).with_columns(
        pl.col("symbol").cast(SYMBOL),
        pl.lit(partition.session.regular_start).cast(TIME).alias("time"),
        *(pl.lit(1.0).alias(name) for name in ("open", "high", "low", "close", "volume", "vwap")),
        pl.lit(1, pl.Int64).alias("transactions"),
    )
    lake.write(BARS, partition, reconcile(DELIVERED_BARS.empty(), DELIVERED_BARS.conform(rows)))
    lake.write(quarantine_of(BARS), partition, QUARANTINE.empty())


def planned(settings: Settings, first: dt.date | None = None, last: dt.date | None = None, **kw: Any) -> Any:
    return plan_backfill(settings, Market.STOCKS, first, last, now=NOW, **kw)


def test_without_a_range_the_plan_chooses_the_days_and_a_note_says_why(tmp_path: Path) -> None:
    plan = planned(deployment(tmp_path))
    assert len(plan.days) == 30
    assert plan.last == FRIDAY
    assert plan.notes[0].startswith("2024-04-26 to 2024-06-07: the last 30 trading days")
    assert plan.estimate is not None
    assert plan.estimate.calls == 2 * 2
    ticks = planned(deployment(tmp_path, "advanced"), samples=False)
    assert (ticks.first, ticks.last) == (MONDAY, FRIDAY)


def test_a_range_is_clamped_to_the_plan_with_a_note(tmp_path: Path) -> None:
    plan = planned(deployment(tmp_path), dt.date(2022, 1, 1), dt.date(2022, 7, 1))
    assert plan.first == dt.date(2022, 6, 10)
    assert "older than the plan's history" in plan.notes[0]
    with pytest.raises(PlanError, match="POLYGON_TIER_STOCKS"):
        planned(deployment(tmp_path), dt.date(2020, 1, 1), dt.date(2020, 2, 1))


def test_the_user_s_own_table_of_plans_is_used(tmp_path: Path) -> None:
    own = tmp_path / "plans.toml"
    own.write_text(PLANS_FILE.read_text("utf-8").replace("history_years = 2", "history_years = 9", 1), "utf-8")
    plan = planned(deployment(tmp_path, plans_file=own), dt.date(2022, 1, 1), dt.date(2022, 7, 1))
    assert plan.first == dt.date(2022, 1, 3)


def test_days_in_the_lake_cost_nothing(tmp_path: Path) -> None:
    settings = deployment(tmp_path)
    for day in (MONDAY, dt.date(2024, 6, 4)):
        load_bars(settings, day, "AAPL", "MSFT")
    plan = planned(settings, MONDAY, FRIDAY)
    assert (len(plan.days), plan.days_kept) == (5, 2)
    (bars,) = plan.estimate.tables
    assert (bars.tape, bars.days) == (TapeTable.BARS, 3)
    assert planned(settings, MONDAY, FRIDAY, keep_existing=False).estimate.tables[0].days == 5
    assert "bars of 2" in how_to_continue(settings, plan, is_forced=False)


def test_kept_days_that_lack_a_symbol_are_named(tmp_path: Path) -> None:
    settings = deployment(tmp_path)
    load_bars(settings, MONDAY, "AAPL")
    (note,) = planned(settings, MONDAY, FRIDAY).notes
    assert note.startswith("MSFT is not in 1 of the days that are kept")


def test_fetching_again_drops_no_symbol(tmp_path: Path) -> None:
    settings = deployment(tmp_path)
    load_bars(settings, MONDAY, "AAPL", "MSFT", "TSLA")
    with pytest.raises(RunError, match="drop TSLA"):
        planned(settings, MONDAY, FRIDAY, keep_existing=False)


def test_today_is_fetched_if_named_with_a_note_that_it_is_unfinished(tmp_path: Path) -> None:
    settings = deployment(tmp_path, "advanced")
    plan = planned(settings, FRIDAY, NOW.date(), samples=False)
    assert plan.notes == ("2024-06-10 is not over: fetch it again later with --force",)


@pytest.mark.parametrize(
    ("market", "written", "symbols"),
    [
        ("crypto", "X:BTCUSD, eth-usd,BTC-USD", ("X:BTC-USD", "X:ETH-USD")),
        ("forex", "EUR/USD", ("C:EUR-USD",)),
        ("indices", "SPX", ("I:SPX",)),
        ("options", "AAPL291221C00190000", ("O:AAPL291221C00190000",)),
        ("futures", "esz9", ("ESZ9",)),
        ("stocks", "aapl,BRK.B", ("AAPL", "BRK.B")),
    ],
)
def test_symbols_may_be_written_in_any_spelling(tmp_path: Path, market: str, written: str, symbols: Any) -> None:
    assert with_symbols(deployment(tmp_path), Market(market), written).symbols(market) == symbols


def test_misspelt_symbols_are_refused(tmp_path: Path) -> None:
    settings = deployment(tmp_path)
    with pytest.raises(RunError, match="--market crypto"):
        with_symbols(settings, Market.STOCKS, "X:BTCUSD")
    with pytest.raises(RunError, match="names none"):
        with_symbols(settings, Market.STOCKS, " , ")
    with pytest.raises(RunError, match="loaded whole"):
        with_symbols(deployment(tmp_path, flat_files="/x"), Market.STOCKS, "AAPL")
    with pytest.raises(RunError, match="TAPEWATCH_SYMBOLS_OPTIONS"):
        plan_backfill(settings, Market.OPTIONS, None, None, now=NOW)


def test_the_whole_plan_is_printed(tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), width=200)
    show(console, planned(deployment(tmp_path), dt.date(2022, 1, 1), dt.date(2022, 7, 1)))
    printed = console.file.getvalue()
    for words in ("older than", "15 trading days; AAPL, MSFT", "about 2 calls (bars 15 days)", "5 calls a minute"):
        assert words in printed


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.2, "1 s"), (119, "119 s"), (150, "2 min"), (7_199, "120 min"), (11_100, "3 h 5 min")]
)
def test_durations_in_words(seconds: float, words: str) -> None:
    assert in_words(seconds) == words


def test_a_dry_run_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("TAPEWATCH_FLAT_FILES", "TAPEWATCH_PLANS_FILE", "POLYGON_TIER_STOCKS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TAPEWATCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("POLYGON_API_KEY", "a-key-that-is-nobodys-at-all")  # pragma: allowlist secret
    done = CliRunner().invoke(app, ["backfill", "-m", "stocks", "--symbols", "aapl", "--dry-run"])
    assert done.exit_code == 0, done.output
    assert "Estimate: about" in done.stderr
    assert "nobodys" not in done.output
    assert not (tmp_path / "home").exists()


def test_check_shows_one_table_with_the_key_masked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    key = "a-key-that-is-nobodys-at-all"  # pragma: allowlist secret
    monkeypatch.setenv("COLUMNS", "300")
    for name in ("TAPEWATCH_FLAT_FILES", "POLYGON_TIER_STOCKS", "POLYGON_WS_URL_STOCKS"):
        monkeypatch.delenv(name, raising=False)
    values = {
        "TAPEWATCH_HOME": str(tmp_path / "home"), "POLYGON_API_KEY": key, "POLYGON_BASE_URL": "http://127.0.0.1:1",
        "POLYGON_TIER_CRYPTO": "starter", "TAPEWATCH_SYMBOLS_FUTURES": "AAPL",
    }  # fmt: skip
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    done = CliRunner().invoke(app, ["check", "--probe"])
    assert done.exit_code == 1
    said = " ".join(done.output.split())
    assert key not in said
    assert "a-key" not in said
    assert "nobodys" not in said
    for words in (
        *Market,
        "XA, XAS, XT, XQ",
        "TAPEWATCH_SYMBOLS_FUTURES: 'AAPL' is no ticker of futures",
        "5 a minute",
    ):
        assert words in said


def backfilled(home: Path, monkeypatch: pytest.MonkeyPatch, base_url: str, tier: str) -> Any:
    """A backfill against `base_url` with an unknown key."""
    monkeypatch.chdir(home)
    for name in ("TAPEWATCH_FLAT_FILES", "TAPEWATCH_PLANS_FILE"):
        monkeypatch.delenv(name, raising=False)
    key = "a-key-that-is-nobodys-at-all"  # pragma: allowlist secret
    values = {"TAPEWATCH_HOME": str(home / "home"), "POLYGON_API_KEY": key, "POLYGON_BASE_URL": base_url}
    for name, value in (values | {"POLYGON_TIER_STOCKS": tier}).items():
        monkeypatch.setenv(name, value)
    return CliRunner().invoke(app, ["backfill", "-m", "stocks", "--symbols", "AAPL"])


@pytest.mark.parametrize("tier", ["basic", "advanced"])
def test_an_unreachable_vendor_is_one_line_before_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tier: str
) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        done = backfilled(tmp_path, monkeypatch, f"http://127.0.0.1:{holder.getsockname()[1]}", tier)
    assert done.exit_code == 1, done.output
    (error,) = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert "cannot be reached at http://127.0.0.1:" in error
    assert "POLYGON_BASE_URL" in error
    assert not (tmp_path / "home" / "dagster").exists()


@pytest.mark.slow
def test_an_unknown_key_is_reported_before_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running_emulator(seed=1, key="the-right-one") as emulator:
        done = backfilled(tmp_path, monkeypatch, emulator.base_url, "advanced")
    assert done.exit_code == 1, done.output
    (error,) = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert "set POLYGON_API_KEY" in error
    assert "nobodys" not in done.output
    assert not (tmp_path / "home" / "dagster").exists()


def test_the_vendor_is_not_checked_for_days_in_the_lake(tmp_path: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        settings = deployment(tmp_path, polygon_base_url=f"http://127.0.0.1:{holder.getsockname()[1]}")
        load_bars(settings, MONDAY, "AAPL", "MSFT")
        check_vendor(settings, planned(settings, MONDAY, MONDAY))
        with pytest.raises(UnavailableError):
            check_vendor(settings, planned(settings, MONDAY, FRIDAY))


@pytest.mark.slow
def test_a_run_waits_for_an_unreachable_vendor_once_and_not_for_each_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(tape_source, "expect_listener", lambda _, waits_s: waits.append(sum(waits_s)) or away())
    settings = deployment(tmp_path, "advanced", polygon_base_url="http://127.0.0.1:9")
    with pytest.raises(RunError, match="nobody there"):
        run_days(settings, "backfill_tape", Market.STOCKS, MONDAY, FRIDAY)
    waited, *not_again = waits
    assert waited > 0
    assert not_again == [0]


def away() -> None:
    raise UnavailableError("nobody there")
