"""Options that several commands share."""

import datetime as dt
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from orchestration.errors import console
from tapewatch.market.instruments import Market
from tapewatch.settings import Settings

_DAY = ["%Y-%m-%d"]
_TIME = [*_DAY, "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%MZ", "%Y-%m-%dT%H:%M:%SZ"]


def day_option(*flags_and_help: str) -> Any:
    """An option that takes a day: its flags, if they differ from the argument's name, and last its help."""
    *flags, text = flags_and_help
    return typer.Option(*flags, formats=_DAY, metavar="YYYY-MM-DD", help=text)


def time_option(*flags_and_help: str) -> Any:
    """An option that takes a day, or a minute or second in UTC."""
    *flags, text = flags_and_help
    return typer.Option(*flags, formats=_TIME, metavar="TIME", help=text)


MarketOption = Annotated[Market, typer.Option("--market", "-m", help="the market to work on")]
MarketsOption = Annotated[
    list[str],
    typer.Option("--market", "-m", metavar="MARKET[,…]", help=f"{', '.join(Market)}; several by commas or repeated -m"),
]
FirstOption = Annotated[dt.datetime, day_option("--from", "first day")]
LastOption = Annotated[dt.datetime, day_option("--to", "last day, included")]
FlatFilesOption = Annotated[
    str | None, typer.Option("--flat-files", metavar="DIR", help="folder or fsspec URL of the vendor's flat files")
]
SeedOption = Annotated[
    int, typer.Option("--seed", help="seed of the synthetic market; the same seed gives the same tape")
]


def markets_of(written: Sequence[str]) -> tuple[Market, ...]:
    """The markets that `--market` names, each once. Raises a usage error that lists all markets."""
    names = [name.strip() for part in written for name in part.split(",") if name.strip()]
    unknown = [name for name in names if name not in set(Market)]
    if unknown or not names:
        said = f"{unknown[0]!r} is not a market" if unknown else "it names none"
        raise typer.BadParameter(f"{said}: use {', '.join(Market)}", param_hint="--market")
    return tuple(dict.fromkeys(map(Market, names)))


def show_waiting(settings: Settings) -> None:
    """Say which market days have rows in the spool that are not in the lake yet."""
    from tapewatch.store.spool.files import waiting  # noqa: PLC0415

    days = [str(day) for day in sorted(waiting(settings.spool_root))]
    if days:
        more = f" and {len(days) - 3} more" if len(days) > 3 else ""
        console.print(
            f"Streamed rows of {', '.join(days[:3])}{more} wait in the spool: `tapewatch ingest` merges them, "
            "and `tapewatch up` does so by itself",
            soft_wrap=True,
            markup=False,
        )


def settings_with(flat_files: str | None) -> Settings:
    """The settings, with the flat files that the command line names, if any."""
    settings = Settings()
    return settings.model_copy(update={"flat_files": flat_files}) if flat_files else settings
