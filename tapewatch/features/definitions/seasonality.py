"""Definitions of the features of `SEASONALITY`; `docs/methodology/seasonality.md` has the formulas."""

from tapewatch.features.definitions.definition import Definition, define
from tapewatch.features.seasonality.measures import MEASURES
from tapewatch.features.seasonality.model import LOOK_BACK
from tapewatch.market.tables.features import SEASONALITY

_INPUTS = "microstructure; the same of earlier days"
_NO_DAYS = "without earlier days of the symbol, and where they hold zeros alone"
_WINDOW = "minute, and the 60 min up to 15 min before"
#: A return needs the minute before.
_ROWS = {"return_bps": LOOK_BACK + 1}

SEASONAL: tuple[Definition, ...] = define(SEASONALITY, (
    ("days", "earlier days", 1, _INPUTS, "count", "never"),
    *((f"usual_{each.name}", _WINDOW, _ROWS.get(each.name, LOOK_BACK), _INPUTS, "Andersen and Bollerslev (1997)", _NO_DAYS) for each in MEASURES),
    *((f"{each.name}_deviation", _WINDOW, _ROWS.get(each.name, LOOK_BACK), _INPUTS, "Andersen and Bollerslev (1997)", f"{_NO_DAYS}, and where {each.name.replace('_', ' ')} is null") for each in MEASURES),
))  # fmt: skip
