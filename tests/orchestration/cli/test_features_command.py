"""`tapewatch features`: the catalogue for people and programs."""

import csv
import io
import json

from typer.testing import CliRunner, Result

from orchestration.cli.app import app
from tapewatch.features.catalog import DEFINITIONS


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["features", *arguments])


def test_it_lists_every_feature_by_table() -> None:
    output = run().output
    assert all(f"\n{each.name} " in output for each in DEFINITIONS)
    assert "microstructure_more: 46 features" in output


def test_csv_and_json_hold_every_field() -> None:
    rows = list(csv.DictReader(io.StringIO(run("--format", "csv").output)))
    assert [row["name"] for row in rows] == [each.name for each in DEFINITIONS]
    (found,) = json.loads(run("hasbrouck_lambda", "--format", "json").output)
    assert found == {
        "table": "microstructure_more",
        "name": "hasbrouck_lambda",
        "version": 1,
        "unit": "bps per root of 1e6",
        "window": "30 min",
        "warm_up": 31,
        "inputs": "trades, quotes",
        "source": "Hasbrouck (2009)",
        "nulls": "below 10 minutes with a signed trade and prices above zero",
        "description": "slope of returns on signed roots of notional, 30 min",
    }


def test_it_explains_one() -> None:
    lines = run("rsi_14").output.splitlines()
    assert lines[0].startswith("rsi_14: Wilder's relative strength index")
    assert "  warm-up  part of the day" in lines
    assert "  null     for 14 bars, and without any change" in lines


def test_an_unknown_name_is_refused_with_the_tables() -> None:
    result = run("rsj")
    assert result.exit_code == 2
    assert "rsj" in result.output
    assert "microstructure_more" in result.output


def test_it_says_where_the_deviation_from_the_time_of_day_is_or_why_there_is_none() -> None:
    assert "depth_deviation of seasonality" in run("depth").output
    assert "none: reaches back by more than 15 min" in run("vpin").output
