"""Arguments that several commands share."""

import datetime as dt
from typing import Annotated

import typer

from tapewatch.market.instruments import Market
from tapewatch.settings import Settings

DATE = ["%Y-%m-%d"]
MOMENT = [*DATE, "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%MZ", "%Y-%m-%dT%H:%M:%SZ"]
MarketOption = Annotated[Market, typer.Option("--market", "-m", help="the market to work on")]
FirstOption = Annotated[dt.datetime, typer.Option("--from", formats=DATE, metavar="YYYY-MM-DD", help="first day")]
LastOption = Annotated[dt.datetime, typer.Option("--to", formats=DATE, metavar="YYYY-MM-DD", help="last day, included")]
FlatFilesOption = Annotated[
    str | None, typer.Option("--flat-files", metavar="DIR", help="folder or fsspec URL of the vendor's flat files")
]
SeedOption = Annotated[int, typer.Option("--seed", help="the synthetic market's seed: the same seed, the same tape")]


def settings_with(flat_files: str | None) -> Settings:
    """The settings, with a folder of flat files where the command line names one."""
    settings = Settings()
    return settings.model_copy(update={"flat_files": flat_files}) if flat_files else settings
