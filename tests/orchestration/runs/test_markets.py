"""Commands over several markets: a run each, none of which takes another down, found again in the Dagster UI."""

from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage.tags import REPOSITORY_LABEL_TAG
from typer.testing import CliRunner, Result

from orchestration.cli.app import app
from orchestration.home import instance
from orchestration.runs.markets import Outcomes
from orchestration.runs.runs import RunError
from tapewatch.emulator.process import running_emulator
from tapewatch.market.instruments import Market, Partition
from tapewatch.market.tables.tape import BARS
from tapewatch.settings import Settings
from tapewatch.store.lake.lake import Lake

STOCKS, CRYPTO, FUTURES = Market.STOCKS, Market.CRYPTO, Market.FUTURES


def called(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def test_an_error_of_one_market_of_several_is_kept_and_that_of_the_only_one_raised() -> None:
    outcomes = Outcomes([STOCKS, CRYPTO])
    with outcomes.of(STOCKS):
        raise RunError("no day")
    assert (outcomes.left, outcomes.failed) == ([CRYPTO], {STOCKS: "no day"})
    with pytest.raises(RunError, match="no day"), Outcomes([STOCKS]).of(STOCKS):
        raise RunError("no day")
    with pytest.raises(ZeroDivisionError), outcomes.of(CRYPTO):
        raise ZeroDivisionError


@pytest.mark.parametrize("written", [("-m", "stocks,moon"), ("-m", ",")])
def test_a_market_that_is_none_is_a_usage_error(written: tuple[str, ...]) -> None:
    done = called("backfill", *written)
    assert done.exit_code == 2
    assert "futures" in done.output


def test_symbols_belong_to_one_market() -> None:
    assert called("backfill", "-m", "stocks", "-m", "crypto", "--symbols", "AAPL").exit_code == 2


@pytest.mark.slow
def test_a_market_that_cannot_run_takes_no_other_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    # Wide enough for a result on one line.
    monkeypatch.setenv("COLUMNS", "300")
    with running_emulator(seed=3) as emulator:
        values = {
            "TAPEWATCH_HOME": str(tmp_path / "home"), "POLYGON_API_KEY": "advanced-test",
            "POLYGON_BASE_URL": emulator.base_url, "TAPEWATCH_SYMBOLS_STOCKS": "VOO",
            "TAPEWATCH_SYMBOLS_CRYPTO": "X:ADA-USD", "TAPEWATCH_SYMBOLS_FUTURES": "",
            "POLYGON_TIER_STOCKS": "advanced", "POLYGON_TIER_CRYPTO": "advanced", "TAPEWATCH_FLAT_FILES": "",
        }  # fmt: skip
        for name, value in values.items():
            monkeypatch.setenv(name, value)
        # A Sunday and a Monday: futures have no symbols.
        done = called("backfill", "-m", "futures,crypto", "-m", "stocks", "--from", "2024-06-02", "--to", "2024-06-03")
        assert done.exit_code == 1, done.output
        closed = called("run", "-m", "stocks", "-m", "futures", "--from", "2024-06-02", "--to", "2024-06-02")
        assert closed.exit_code == 1, closed.output
    lines = {line.split("│")[1].strip(): line for line in done.output.splitlines() if line.count("│") == 3}
    assert "failed: no symbols of futures" in lines["futures"]
    assert "2 days, " in lines["crypto"]
    assert "checks passed" in lines["crypto"]
    assert "1 day, " in lines["stocks"]
    assert "failed: stocks has no trading day in Sunday 2024-06-02" in closed.output
    settings = Settings()
    lake = Lake(settings.lake_root)
    assert sorted(map(str, lake.partitions(BARS))) == ["2024-06-02|crypto", "2024-06-03|crypto", "2024-06-03|stocks"]
    with instance(settings) as opened:
        runs = {run.tags["market"]: run for run in opened.get_runs()}
        shown = opened.get_runs(
            dg.RunsFilter(job_name="backfill_tape", tags={REPOSITORY_LABEL_TAG: "__repository__@tapewatch"})
        )
        materialized = opened.get_materialized_partitions(dg.AssetKey(["tape", "bars"]))
    assert {run.run_id for run in shown} >= {runs["crypto"].run_id, runs["stocks"].run_id}
    assert runs["crypto"].remote_job_origin.location_name == "tapewatch"
    tags = runs["crypto"].tags
    assert (tags["from"], tags["to"], tags["command"]) == ("2024-06-02", "2024-06-03", "tapewatch backfill")
    assert "+" in tags["code_version"]
    assert {str(Partition.parse(key)) for key in materialized} >= set(map(str, lake.partitions(BARS)))
