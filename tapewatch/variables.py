"""The environment variables of settings: those that other processes get, and those that look like settings and are none."""

import os
from difflib import get_close_matches
from itertools import product
from pathlib import Path

from pydantic import SecretStr
from pydantic_settings import DotEnvSettingsSource

from tapewatch.market.instruments import Market
from tapewatch.market_settings import MARKET_VARIABLES
from tapewatch.settings import Settings, variable_of

#: Variables that are read elsewhere.
_OTHERS = {"TAPEWATCH_MARKET_DATA", "TAPEWATCH_MOVE_TO"}
_LIKENESS = 0.8
#: Of each setting that is not one of a market's.
_NAMES = {name: field.alias or variable_of(name) for name, field in Settings.model_fields.items() if name != "markets"}


def variables_of(settings: Settings) -> dict[str, str]:
    """Every setting by its variable, as a process of the same deployment reads it back; empty where nothing is set.

    Secrets are among them: they are passed to other processes in no other way. Files and folders are absolute.
    """
    found = {variable: _text(getattr(settings, name)) for name, variable in _NAMES.items()}
    for market, name in product(settings.markets, MARKET_VARIABLES):
        found[variable_of("markets", market, name)] = _text(getattr(settings.markets[market], name))
    return found


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value.absolute() if isinstance(value, Path) else value)


def unknown_variables() -> dict[str, str | None]:
    """Variables of the environment and `.env` that look like settings and are none; with each the nearest setting, if any."""
    known = {*_NAMES.values(), *(variable_of("markets", *at) for at in product(Market, MARKET_VARIABLES))}
    in_file = DotEnvSettingsSource(Settings).env_vars
    given = {name.upper() for name in (*os.environ, *in_file)}
    unknown = {
        name: next(iter(get_close_matches(name, sorted(known), 1, _LIKENESS)), None)
        for name in sorted(given - known - _OTHERS)
        if name.startswith(("TAPEWATCH_", "POLYGON_"))
    }
    # Other programs have variables of the vendor too.
    return {name: near for name, near in unknown.items() if near or name.startswith("TAPEWATCH_")}
