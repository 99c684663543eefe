"""The command line: help with examples, errors in one line, lists for scripts."""

import csv
import errno
import io
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner, Result

from orchestration.cli.app import app
from orchestration.cli.check import show_plans
from orchestration.cli.listing import Field, Listing, counted
from orchestration.errors import RunError, reports_errors
from tapewatch.market.instruments import Market, Partition
from tapewatch.settings import Settings
from tapewatch.store.database.database import Database
from tests.support.anomalies import MINUTE, OPEN, REASONS, event, events

COMMANDS = (
    "demo",
    "check",
    "emulate",
    "backfill",
    "run",
    "up",
    "score",
    "anomalies",
    "features",
    "lookahead",
    "explain",
    "models",
)
_MODEL = "isolation_forest/3"
_REASONS = '"' + json.dumps(REASONS).replace('"', '""') + '"'
MONDAY = Partition(OPEN.date(), Market.STOCKS)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A deployment with three anomalies and nothing else."""
    for name in ("POLYGON_API_KEY", "POLYGON_BASE_URL", "TAPEWATCH_FLAT_FILES", "TAPEWATCH_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TAPEWATCH_HOME", str(tmp_path / "home"))
    with Database(f"sqlite:///{tmp_path / 'home' / 'tapewatch.db'}") as database:
        database.replace_anomalies(
            MONDAY, events(event(), event("MSFT", OPEN + 61 * MINUTE, kind="volume_spike", score=0.9, hours=41.6))
        )
        database.replace_anomalies(Partition(OPEN.date(), Market.CRYPTO), events(event("X:BTC-USD")))
    return tmp_path / "home"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def refusal(*arguments: str) -> str:
    """The one line that a failed command prints."""
    result = run(*arguments)
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.stdout == ""
    lines = [line for line in result.stderr.splitlines() if line.strip()]
    assert lines[-1].startswith("Error: ")
    return lines[-1]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_each_command_has_an_example(command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    assert f"tapewatch {command}" in " ".join(result.output.split())


def test_without_arguments_it_lists_its_commands() -> None:
    output = run("--help").output
    assert all(command in output for command in COMMANDS)


def test_csv_is_exact_and_alone_on_stdout(home: Path) -> None:
    result = run("anomalies", "--format", "csv")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "symbol,start,end,kind,score,level,market,model,reasons",
        f"AAPL,2024-06-03T13:30:00Z,2024-06-03T13:33:00Z,price_jump,0.71,,stocks,{_MODEL},{_REASONS}",
        f"MSFT,2024-06-03T14:31:00Z,2024-06-03T14:34:00Z,volume_spike,0.9,1 in 42 h,stocks,{_MODEL},{_REASONS}",
        f"X:BTC-USD,2024-06-03T13:30:00Z,2024-06-03T13:33:00Z,price_jump,0.71,,crypto,{_MODEL},{_REASONS}",
    ]


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
        ("-2+3", "'-2+3"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\tx", "'\tx"),
        ("\rx", "'\nx"),
        ("-12.5", "-12.5"),
        ("+1e-3", "+1e-3"),
        (-12.5, "-12.5"),
        ("AAPL", "AAPL"),
        (None, ""),
        ([{"feature": "=x"}], '[{"feature": "=x"}]'),
    ],
)
def test_cells_of_csv_are_no_formulas(value: object, cell: str) -> None:
    listing = Listing(counted("row"), columns=(), fields=(Field("cell"),))
    (row,) = csv.DictReader(io.StringIO(listing.csv([{"cell": value}]), newline=""))
    assert row["cell"] == cell


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--symbol", "MSFT"], ["MSFT"]),
        (["--symbol", "msft"], ["MSFT"]),
        (["--symbol", "btcusd"], ["X:BTC-USD"]),
        (["--symbol", "BTC-USD"], ["X:BTC-USD"]),
        (["--symbol", "NONE"], []),
        (["--from", "2024-06-03", "--to", "2024-06-03"], ["AAPL", "MSFT", "X:BTC-USD"]),
        (["--from", "2024-06-04"], []),
        (["--to", "2024-06-02"], []),
        (["--from", "2024-06-03T14:00"], ["MSFT"]),
        (["--to", "2024-06-03T14:31:00Z"], ["AAPL", "X:BTC-USD"]),
    ],
)
def test_lists_can_be_narrowed(home: Path, arguments: list[str], expected: list[str]) -> None:
    output = run("anomalies", "--format", "csv", *arguments).stdout
    assert [row["symbol"] for row in csv.DictReader(io.StringIO(output))] == expected


def test_json_holds_the_reasons(home: Path) -> None:
    listed = json.loads(run("anomalies", "--format", "json", "--symbol", "AAPL").stdout)
    assert listed[0]["start"] == "2024-06-03T13:30:00Z"
    assert listed[0]["reasons"][0]["feature"] == "return_bps"


def test_the_table_names_the_strongest_reason(home: Path) -> None:
    output = run("anomalies").stdout
    assert "3 anomalies" in output
    assert "AAPL" in output


def test_check_passes_on_a_fresh_home_and_fails_on_a_missing_folder(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh = run("check")
    assert fresh.exit_code == 0, fresh.output
    monkeypatch.setenv("TAPEWATCH_FLAT_FILES", str(home / "nowhere"))
    assert run("check").exit_code == 1
    monkeypatch.delenv("TAPEWATCH_FLAT_FILES")
    monkeypatch.setenv("POLYGON_API_KEY", "some-key")  # pragma: allowlist secret
    monkeypatch.setenv("POLYGON_BASE_URL", "http://127.0.0.1:1")
    assert run("check").exit_code == 1


def test_a_probe_without_a_key_names_what_it_skipped(home: Path) -> None:
    probed = run("check", "--probe")
    assert probed.exit_code == 0, probed.output
    assert "not probed: POLYGON_API_KEY is not set" in " ".join(probed.output.split())


def test_scoring_errors_are_one_line(home: Path) -> None:
    assert "features/microstructure" in refusal("score")
    assert "features/microstructure" in refusal("score", "--symbol", "AAPL", "--time", "2024-06-03T14:31")
    assert "nothing.json" in refusal("score", "--file", str(home / "nothing.json"))
    row = home / "row.json"
    row.write_text('{"symbol": "AAPL"}')
    assert "no scoring service answers" in refusal("score", "--file", str(row), "--url", "http://127.0.0.1:1")


def test_scoring_without_an_anomaly_names_the_commands_that_find_some(home: Path) -> None:
    with Database(f"sqlite:///{home / 'tapewatch.db'}") as database:
        for market in (Market.STOCKS, Market.CRYPTO):
            database.replace_anomalies(Partition(OPEN.date(), market), events())
    assert "tapewatch demo" in refusal("score")


def test_a_symbol_without_a_time_is_a_usage_error(home: Path) -> None:
    assert run("score", "--symbol", "AAPL").exit_code == 2


def test_an_unreachable_database_is_one_line_without_the_password(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAPEWATCH_DATABASE_URL", "postgresql://me:hunter2@127.0.0.1:1/x")  # pragma: allowlist secret
    result = run("anomalies")
    assert result.exit_code == 1
    assert "127.0.0.1" in result.stderr
    assert "hunter2" not in result.output
    assert "Traceback" not in result.output


def test_an_invalid_setting_is_one_line_with_its_variable(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYGON_TIER_STOCKS", "gold")
    monkeypatch.setenv("TAPEWATCH_PORT_METRICS", "70000")
    said = refusal("check")
    assert "POLYGON_TIER_STOCKS is 'gold': input should be 'basic', 'starter', 'developer' or 'advanced'" in said
    assert "TAPEWATCH_PORT_METRICS is '70000'" in said


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"rows": [1,', "row.json is not valid JSON: expecting value at line 1, column 13"),
        ('{"rows": [\n\n {"a": nope}]}', "expecting value at line 3, column 8"),
        ("[" * 100_000, "nested too deep"),
        ("\udcff", "no UTF-8 text at byte 0"),
    ],
)
def test_a_request_that_is_no_json_is_named_with_its_place(home: Path, text: str, says: str) -> None:
    (home / "row.json").write_bytes(text.encode(errors="surrogateescape"))
    result = run("score", "--file", str(home / "row.json"))
    assert result.exit_code == 1
    assert says in result.output
    assert result.output.count("\n") == 1


def test_a_range_of_anomalies_that_ends_before_it_begins(home: Path) -> None:
    result = run("anomalies", "--from", "2024-06-05", "--to", "2024-06-03")
    assert result.exit_code == 1
    assert "the range ends before it begins: --from 2024-06-05 00:00" in result.output
    assert run("anomalies", "--from", "2024-06-05", "--to", "2024-06-05").exit_code == 0


def test_an_unknown_variable_is_a_warning_with_the_nearest_setting(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYGON_TIER_STOK", "basic")
    monkeypatch.setenv("TAPEWATCH_QWERTY", "1")
    monkeypatch.setenv("POLYGON_OF_ANOTHER_PROGRAM", "1")
    result = run("anomalies", "--format", "csv")
    assert result.exit_code == 0
    assert "POLYGON_TIER_STOK is no setting: did you mean POLYGON_TIER_STOCKS?" in result.stderr
    assert "TAPEWATCH_QWERTY is no setting: .env.example lists all settings" in result.stderr
    assert "ANOTHER" not in result.stderr


def test_an_address_of_another_protocol_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYGON_BASE_URL", "ftp://files.example")
    result = run("check")
    assert result.exit_code == 1
    assert (
        "POLYGON_BASE_URL is 'ftp://files.example': an address of REST begins with http:// or https://" in result.output
    )


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        sqlite3.OperationalError("database or disk is full"),
        RunError("serving/anomaly_bento: building failed:\nTraceback …\nOSError: No space left on device: x"),
    ],
)
def test_a_full_disk_is_one_line(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    @reports_errors
    def command() -> None:
        try:
            raise error
        except OSError as cause:
            raise ValueError("a library's own words") from cause

    with pytest.raises(typer.Exit):
        command()
    printed = capsys.readouterr().err
    assert "make room there, or choose another folder" in printed
    assert printed.count("\n") == 1


def test_an_unusable_home_is_one_line(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "file").write_text("no folder")
    monkeypatch.setenv("TAPEWATCH_HOME", str(home / "file" / "home"))
    assert "TAPEWATCH_HOME" in refusal("alerts")


@pytest.mark.long
@pytest.mark.parametrize("name", ["lake%202026", "what?a", "tape #1 é; 100% [x]*"])
def test_a_home_may_have_any_name(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """What our own database keeps is in the home; commands that start Dagster or MLflow refuse what those would misread."""
    odd = tmp_path / "homes" / name
    monkeypatch.setenv("TAPEWATCH_HOME", str(odd))
    assert run("db", "upgrade").exit_code == 0
    for command in (
        ["alerts"],
        ["anomalies"],
        ["gaps"],
        ["coverage"],
        ["db", "status"],
        ["db", "backup", str(odd / "b#.zip")],
    ):
        assert run(*command).exit_code == 0, command
    assert (odd / "tapewatch.db").exists()
    assert [path.name for path in odd.parent.iterdir()] == [name]
    is_refused = not name.startswith("tape")
    days = ("--market", "crypto", "--from", "2024-06-03", "--to", "2024-06-03")
    for command in (["run", *days], ["backfill", *days], ["demo"], ["up"]) if is_refused else ():
        assert "Dagster and MLflow cannot keep SQLite files in a folder with ? or %XX" in refusal(*command)
    assert run("check").exit_code == int(is_refused)
    assert [path.name for path in odd.parent.iterdir()] == [name]


def test_no_password_of_an_address_is_shown(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAPEWATCH_FLAT_FILES", "memory://me:hunter2@example.com/flat")  # pragma: allowlist secret
    monkeypatch.setenv("TAPEWATCH_DATABASE_URL", "postgresql://127.0.0.1:1/x?user=me&password=hunter2")
    shown = run("check").output + run("check", "--probe").output + run("alerts").output
    monkeypatch.delenv("TAPEWATCH_FLAT_FILES")
    monkeypatch.setenv("POLYGON_API_KEY", "some-key")  # pragma: allowlist secret
    monkeypatch.setenv("POLYGON_BASE_URL", "http://me:hunter2@127.0.0.1:1")  # pragma: allowlist secret
    shown += run("check", "--probe").output + run("backfill", "-m", "crypto").output
    assert "***" in shown
    assert "hunter2" not in shown


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_of_plans_fits_any_width(home: Path, width: int) -> None:
    text = io.StringIO()
    shown = Console(file=text, width=width)
    settings = Settings(_env_file=None, home=home, markets={"stocks": {"plan": "advanced"}}, polygon_api_key="k" * 20)
    assert show_plans(settings, shown, asks=False)
    table = text.getvalue().split("streams from")[0]
    assert all(len(line) <= width for line in table.splitlines())
    assert "…" not in table.replace("(key …kk)", "")
    assert "bars, trades, quotes" in table


@pytest.mark.long
def test_the_estimate_needs_no_slow_imports() -> None:
    code = "import sys, orchestration.cli.app, orchestration.runs.backfill, orchestration.runs.lineage; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"dagster", "mlflow", "sklearn"} & set(done.stdout.split())


@pytest.mark.slow
@pytest.mark.parametrize("command", ["run", "backfill"])
def test_a_weekend_and_a_missing_folder_are_refused(home: Path, command: str) -> None:
    files = home / "flat"
    (files / "us_stocks_sip").mkdir(parents=True)
    days = ("--from", "2024-06-01", "--to", "2024-06-02")
    assert "no trading day" in refusal(command, "--market", "stocks", *days, "--flat-files", str(files))
    backwards = ("--from", "2024-06-04", "--to", "2024-06-03")
    assert "ends before it begins" in refusal(command, "--market", "stocks", *backwards, "--flat-files", str(files))


@pytest.mark.slow
def test_the_installed_command_writes_nothing_but_csv(home: Path) -> None:
    done = subprocess.run(
        [Path(sys.executable).parent / "tapewatch", "anomalies", "--format", "csv"],
        env={**os.environ, "TAPEWATCH_HOME": str(home)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("symbol,start,end,kind,score,level,market,model,reasons\n")
    assert done.stdout.count("\n") == 4
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--from", "2024-06-05", "--to", "2024-06-01"], "ends before it begins"),
        (["--date", "2024-06-05", "--to", "2024-06-06"], "leave --from and --to out"),
    ],
)
def test_a_profile_of_no_days_is_a_usage_error(home: Path, arguments: list[str], message: str) -> None:
    refused = run("profile", *arguments)
    assert refused.exit_code == 2
    assert message in " ".join(refused.output.split())


def test_a_profile_of_one_day_covers_that_day(home: Path) -> None:
    assert "from 2024-06-05 to 2024-06-05" in refusal("profile", "--market", "stocks", "--date", "2024-06-05")


@pytest.mark.long
def test_without_an_id_the_latest_anomaly_is_explained(home: Path) -> None:
    assert "the model isolation_forest/3" in refusal("explain")  # its model is not there, nor is its day
    shutil.rmtree(home)
    assert "no anomaly has been found yet" in refusal("explain")
