"""The trading assets on a small lake: each day stands on the record of the days before, and nothing to trade is a result."""

import datetime as dt
from pathlib import Path

import dagster as dg
import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from orchestration.definitions import build_definitions
from tapewatch.market.instruments import Market, Partition
from tapewatch.market.tables.signals import OUTCOMES, PAPER_PORTFOLIO, SIGNALS, WALK_FORWARD
from tapewatch.market.tables.tape import BARS, MICROSTRUCTURE, TIME
from tapewatch.settings import Settings
from tapewatch.store.database.database import Database
from tapewatch.store.lake.lake import Lake
from tapewatch.trading.engine import Tape
from tapewatch.trading.engine import run as engine_run
from tapewatch.trading.paper.broker import PaperBroker
from tapewatch.trading.paper.ledger import send
from tapewatch.trading.paper.portfolio import portfolio
from tapewatch.trading.paper.protections import Protections
from tests.support.paper import ACCOUNT, SETTINGS, recorded_day
from tests.support.trading_rows import DAY, bars_at, minute_rows

DAYS = [Partition(DAY + dt.timedelta(days=at), Market.STOCKS) for at in range(2)]


def write_day(lake: Lake, number: int) -> None:
    """A day on which prices go on for twelve minutes in the direction of the flow, every half hour."""
    flow = np.where(np.arange(390) % 30 == 15, np.where(np.arange(390) % 60 == 15, 8.0, -8.0), 0.0)
    drift = sum(np.roll(flow, lag) for lag in range(1, 13)) * 6e-5
    noise = np.random.default_rng(number).normal(0, 1e-4, 390)
    prices = {"AAA": (100 * np.exp(np.cumsum(drift + noise))).tolist()}
    later = pl.duration(days=number)
    rows = minute_rows(prices, flow_score_5m=flow, best_level_ofi=np.sign(flow) * 0.5)
    bars = bars_at(prices).with_columns(
        known_time=pl.col("time") + pl.duration(minutes=1), volume=pl.lit(1e5), source=pl.lit("trades")
    )
    shifted = [(pl.col(name) + later).cast(TIME) for name in ("event_time", "known_time")]
    lake.write(MICROSTRUCTURE, DAYS[number], rows.with_columns(shifted))
    times = [(pl.col(name) + later).cast(TIME) for name in ("time", "known_time")]
    lake.write(BARS, DAYS[number], bars.with_columns(times))


def run(settings: Settings, *days: Partition) -> dg.ExecuteInProcessResult:
    """Run the jobs: signals and backtest of days one after the other, then the evaluation of all."""
    definitions, instance = build_definitions(settings), dg.DagsterInstance.ephemeral()
    for day in days:
        job = definitions.resolve_job_def("backtest_signals")
        assert job.execute_in_process(partition_key=str(day), instance=instance).success
    return definitions.resolve_job_def("judge_strategies").execute_in_process(instance=instance)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, _env_file=None)


@pytest.mark.slow
def test_a_day_stands_on_the_record_of_the_days_before(settings: Settings) -> None:
    lake = Lake(settings.lake_root)
    for number in range(2):
        write_day(lake, number)
    done = run(settings, *DAYS)
    first, second = (lake.read(SIGNALS, day).filter(pl.col("strategy") == "flow_momentum") for day in DAYS)
    won = lake.read(OUTCOMES, DAYS[0])
    assert first.height == second.height == won.height == 13
    assert (won["label"] == 1).all()
    # Thirteen wins and a prior of one half that counts for twenty, in each of three levels.
    rate = 0.5
    for _ in range(3):
        rate = (13 + 20 * rate) / 33
    assert set(first["confidence"]) == {0.5}
    assert second["confidence"].to_list() == pytest.approx([rate] * 13)
    assert (first["size"] == 0).all()
    assert (second["size"] * second["side"] > 0).all()
    page = Path(str(lake.page(WALK_FORWARD)))
    assert "flow momentum" in page.read_text()
    (event,) = done.asset_materializations_for_node("trading__walk_forward")
    assert event.metadata["bets"].value == 26
    before = [lake.read(table, day) for table in (SIGNALS, OUTCOMES) for day in DAYS]
    run(settings, *DAYS)
    for old, new in zip(before, [lake.read(table, day) for table in (SIGNALS, OUTCOMES) for day in DAYS], strict=True):
        assert_frame_equal(old, new)


@pytest.mark.long
def test_nothing_to_trade_is_a_result_with_a_warning(settings: Settings, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(settings, DAYS[0]).success
    lake = Lake(settings.lake_root)
    assert [lake.read(table, DAYS[0]).height for table in (SIGNALS, OUTCOMES)] == [0, 0]
    assert lake.read(WALK_FORWARD).is_empty()
    assert "nothing to judge" in Path(str(lake.page(WALK_FORWARD))).read_text()
    said = capfd.readouterr().err
    assert all(f"{DAYS[0]}: {words}" in said for words in ("no signals", "nothing to trade"))
    assert "0 bets are too few to split" in said


@pytest.mark.long
def test_the_paper_portfolio_is_what_the_accounts_hold(settings: Settings, capfd: pytest.CaptureFixture[str]) -> None:
    job = build_definitions(settings).resolve_job_def("report_paper")
    assert job.execute_in_process().success
    assert "there is no paper account" in capfd.readouterr().err
    lake = Lake(settings.lake_root)
    assert lake.read(PAPER_PORTFOLIO).is_empty()
    tape, sent = recorded_day(5, 60)
    with Database(settings.database) as database:
        broker = PaperBroker(database, ACCOUNT, SETTINGS, Protections.none())
        ready = Tape.of_bars(tape)
        send(database, ACCOUNT, sent.filter(pl.col("time").dt.epoch("ns") <= ready.last))
        broker.process(ready, ready.last + 1)
        equity = portfolio(database).accounts["equity"][0]
    done = job.execute_in_process()
    held = lake.read(PAPER_PORTFOLIO)
    outcome = engine_run(sent, tape, SETTINGS)
    last = outcome.positions.sort("sequence_number").unique("symbol", keep="last").sort("symbol")
    assert held["quantity"].to_list() == last.filter(pl.col("quantity") != 0)["quantity"].to_list()
    assert held["account"].unique().to_list() == [ACCOUNT]
    assert equity == pytest.approx(outcome.equity["equity_cents"][-1] / 100)
    assert held["share_of_equity"].to_list() == pytest.approx((held["value"] / equity).to_list())
    assert held["unrealised"].sum() + held["realised"].sum() == pytest.approx(
        equity - SETTINGS.cash + outcome.equity["fees_cents"][-1] / 100 - outcome.cash_flows["amount_cents"].sum() / 100
    )
    (event,) = done.asset_materializations_for_node("trading__paper_portfolio")
    assert event.metadata["equity"].value.startswith("![plot]")
