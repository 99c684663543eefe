"""`tapewatch daily` over folders of day bars: a file per day, a file per year, and the recorded years."""

import csv
import datetime as dt
import gzip
import io
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from orchestration.cli.app import app
from tapewatch.market.instruments import NEW_YORK, Market, trading_days
from tapewatch.market.tables.live import ALERTS
from tapewatch.settings import Settings
from tapewatch.store.database.database import Database

HEADER = "ticker,volume,open,close,high,low,window_start,transactions"
DAYS = trading_days(Market.STOCKS, dt.date(2012, 12, 17), dt.date(2013, 1, 11))
#: The last day of its year: the next day is in another file.
BAD = dt.date(2012, 12, 31)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TAPEWATCH_HOME", str(tmp_path / "home"))
    for name in ("TAPEWATCH_FLAT_FILES", "TAPEWATCH_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    return Settings(_env_file=None)


def call(*arguments: str, status: int = 0) -> Result:
    done = CliRunner().invoke(app, ["daily", *arguments], env={"COLUMNS": "200"})
    assert done.exit_code == status, done.output
    return done


def rows(*arguments: str) -> list[tuple[str, str, str, str]]:
    listed = csv.DictReader(io.StringIO(call(*arguments, "--format", "csv").stdout))
    return [(row["date"], row["symbol"], row["kind"], row["field"]) for row in listed]


def line(day: dt.date, symbol: str, low: float) -> str:
    midnight = dt.datetime.combine(day, dt.time(), NEW_YORK)
    return f"{symbol},1000,100,100,101,{low},{midnight.timestamp():.0f}000000000,"


def lines(days: list[dt.date]) -> list[str]:
    return sorted(
        line(day, symbol, 1.0 if day == BAD and symbol == "BBB" else 99.0) for day in days for symbol in ("AAA", "BBB")
    )


def put(path: Path, days: list[dt.date]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress("\n".join([HEADER, *lines(days)]).encode()))


@pytest.mark.long
@pytest.mark.parametrize("layout", ["days", "years"])
def test_a_file_a_day_and_a_file_a_year(layout: str, home: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "files" / "us_stocks_sip" / "day_aggs_v1"
    if layout == "days":
        for day in DAYS:
            put(folder / f"{day:%Y/%m}" / f"{day}.csv.gz", [day])
    else:
        for year in (2012, 2013):
            put(folder / f"{year}.csv.gz", [day for day in DAYS if day.year == year])
    found = [("2012-12-31", "BBB", "bad_price", "low")]
    files = ("--flat-files", str(tmp_path / "files"))
    assert rows(*files) == found
    if layout == "years":
        assert rows(*files, "--from", "2012-12-31", "--to", "2012-12-31") == found
        assert rows(*files, "--symbols", "aaa") == []
        assert rows(*files, "--from", "2013-01-01") == []
    (listed,) = json.loads(call(*files, "--format", "json").stdout)
    assert (listed["value"], listed["expected"]) == (1.0, 100.0)


def test_alerts_are_kept_once_with_the_day_of_new_york(home: Settings, tmp_path: Path) -> None:
    put(tmp_path / "us_stocks_sip" / "day_aggs_v1" / "2012.csv.gz", [day for day in DAYS if day.year == 2012])
    put(tmp_path / "us_stocks_sip" / "day_aggs_v1" / "2013.csv.gz", [day for day in DAYS if day.year == 2013])
    assert "1 of them new" in call("--flat-files", str(tmp_path)).output
    with Database(home.database) as database:
        before = database.read(ALERTS)
    assert "0 of them new" in call("--flat-files", str(tmp_path)).output
    with Database(home.database) as database:
        assert database.read(ALERTS).equals(before)
    (row,) = before.to_dicts()
    assert (row["market"], row["date"], row["symbol"], row["rule"]) == ("stocks", BAD, "BBB", "daily_price")
    assert row["alert_id"] == "stocks:daily_price:BBB:2012-12-31"
    assert row["start_time"] == dt.datetime(2012, 12, 31, 5, tzinfo=dt.UTC)
    assert row["end_time"] == dt.datetime(2013, 1, 1, 5, tzinfo=dt.UTC)
    assert (row["value"], row["baseline"], row["multiple"]) == (1.0, 100.0, 0.01)
    assert row["message"].startswith("BBB: low 1, -99.0 % from 100")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "--flat-files"),
        (("--flat-files", "."), "there are none"),
        (("--flat-files", "/nope"), "no folder at /nope"),
        (("--flat-files", ".", "--market", "futures"), "no daily bars of futures in the requested range"),
        (("--flat-files", ".", "--symbols", "X:BTC-USD"), "--market crypto"),
        (("--flat-files", ".", "--from", "2024-02-01", "--to", "2024-01-01"), "before it begins"),
    ],
)
def test_errors_name_the_way_out(arguments: tuple[str, ...], says: str, home: Settings) -> None:
    assert says in call(*arguments, status=1).output


@pytest.mark.real_tape
@pytest.mark.slow
def test_recorded_years_raise_known_bad_prices_and_no_split(home: Settings, market_data: Path) -> None:
    found = {(date, symbol) for date, symbol, *_ in rows("--flat-files", str(market_data))}
    assert {("2008-09-30", "GOOG"), ("2002-12-23", "IBM"), ("2014-04-02", "GOOCV")} <= found
    splits = {
        ("2014-06-09", "AAPL"),
        ("2020-08-31", "AAPL"),
        ("2009-07-01", "AIG"),
        ("2020-04-29", "USO"),
        ("2014-04-03", "GOOG"),
    }
    assert not splits & found
    assert len(found) == 11
    with Database(home.database) as database:
        assert database.read(ALERTS, where={"rule": "daily_price"}).height == len(found)
