"""The first day that Dagster lists."""

import datetime as dt
from pathlib import Path

from orchestration.processes.up import first_partition
from tapewatch.market.instruments import Market, Partition
from tapewatch.market.tables.tape import BARS
from tapewatch.settings import Settings
from tapewatch.store.lake.lake import Lake


def test_partitions_are_listed_from_the_first_day_that_is_there(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", _env_file=None)
    month_ago = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=30)
    assert abs((first_partition(settings) - month_ago).days) <= 1
    Lake(settings.lake_root).write(BARS, Partition(dt.date(2024, 6, 3), Market.STOCKS), BARS.empty())
    assert first_partition(settings) == dt.date(2024, 6, 3)
    file = tmp_path / "files" / "us_stocks_sip" / "minute_aggs_v1" / "2013" / "10" / "2013-10-07.csv.gz"
    file.parent.mkdir(parents=True)
    file.touch()
    from_files = settings.model_copy(update={"flat_files": str(tmp_path / "files")})
    assert first_partition(from_files) == dt.date(2013, 10, 7)
    assert first_partition(from_files.model_copy(update={"partitions_start": dt.date(2020, 1, 1)})) == dt.date(
        2020, 1, 1
    )
