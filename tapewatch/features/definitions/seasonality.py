"""Definitions of the features of `SEASONALITY`; `docs/methodology/seasonality.md` has the formulas."""

from tapewatch.features.definitions.definition import Definition, define
from tapewatch.features.definitions.detector import DETECTOR
from tapewatch.features.definitions.families import FAMILIES
from tapewatch.features.seasonality.measures import MEASURES
from tapewatch.features.seasonality.model import LAG, LOOK_BACK
from tapewatch.market.tables.features import CORRELATIONS, CROSS_ASSET, INDICATORS, REGIMES, SEASONALITY

_INPUTS = "microstructure, microstructure_more; the same of earlier days"
_NO_DAYS = "without earlier days of the symbol, and where they hold zeros alone"
_WINDOW = "minute, and the 60 min up to 15 min before"
#: Rows that a value of the minute itself depends on.
_WARM_UP = {each.name: each.warm_up or 1 for each in (*DETECTOR, *FAMILIES)}
#: Features of the minute that are left out for what they are.
_APART = {
    "crossed_share": "0 in nearly all minutes",
    "quote_rate_hz": "quote_count in another unit",
    "signed_volume": "net_volume under another name",
}
_TABLES = {
    INDICATORS.name: "of bars, which a quiet minute lacks",
    CROSS_ASSET.name: "held against the market already",
    CORRELATIONS.name: "held against the other symbol already",
    REGIMES.name: "a state of five minutes or longer",
    SEASONALITY.name: "the deviation itself",
}


def left_out(definition: Definition) -> str | None:
    """Why a feature has no deviation from the time of day in `SEASONALITY`; None where it has one."""
    column = definition.table.by_name[definition.name]
    if definition.table.name in _TABLES:
        return _TABLES[definition.table.name]
    if column.is_price:
        return "follows the symbol's price"
    if definition.warm_up is None or definition.warm_up > LAG + 1:
        return f"reaches back by more than {LAG} min, so that an event would raise its own yardstick"
    return _APART.get(definition.name)


SEASONAL: tuple[Definition, ...] = define(SEASONALITY, (
    ("days", "earlier days", 1, _INPUTS, "count", "never"),
    *((f"usual_{each.name}", _WINDOW, LOOK_BACK + _WARM_UP.get(each.name, 1) - 1, _INPUTS, "Andersen and Bollerslev (1997)", _NO_DAYS) for each in MEASURES if f"usual_{each.name}" in SEASONALITY.by_name),
    *((f"{each.name}_deviation", _WINDOW, LOOK_BACK + _WARM_UP.get(each.name, 1) - 1, _INPUTS, "Andersen and Bollerslev (1997)", f"{_NO_DAYS}, and where {each.name.replace('_', ' ')} is null") for each in MEASURES),
))  # fmt: skip
