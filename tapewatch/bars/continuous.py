"""Continuous futures: bars of the contract that is held, and what joins one contract to the next without a jump."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import polars as pl

from tapewatch.market.tables.derived import CONTINUOUS_BARS
from tapewatch.market.tables.tape import BARS

_CONTRACT: Final = re.compile(r"([A-Z0-9]{1,4}?)([FGHJKMNQUVXZ])(\d{1,2})")
_MONTHS: Final = "FGHJKMNQUVXZ"


@dataclass(frozen=True, slots=True)
class Holding:
    """The contract of a root that is held during a day, and the state in which the day begins.

    Attributes:
        contract: its symbol.
        factor: by which its prices are multiplied to continue those of the first contract; None if a roll's price was not above 0.
        offset: that is added to its prices for the same.
        value: of what was invested: 1 at the first bar.
        units: of the contract that are held; None where they are bought at the day's first open.
        close: the last close before the day, from which the value continues; None with `units`.
    """

    contract: str
    factor: float | None = 1.0
    offset: float = 0.0
    value: float = 1.0
    units: float | None = None
    close: float | None = None


def contract_of(symbol: str, year: int) -> tuple[str, int] | None:
    """Root and month of expiry (12 times the year plus the month) of a contract, such as ESM4; None for spreads and others.

    A year of one digit, or of two, is the one with these digits from `year` - 1 on.
    """
    found = _CONTRACT.fullmatch(symbol)
    if found is None:
        return None
    root, month, digits = found.groups()
    span = 10 ** len(digits)
    first = year - 1
    return root, 12 * (first + (int(digits) - first) % span) + _MONTHS.index(month)


def holdings(before: pl.DataFrame, held: pl.DataFrame, year: int) -> dict[str, Holding]:
    """What is held of each root during a day, decided by the day before it alone.

    The first contract of a root is the one with the most volume of the day before. It is rolled into a contract that expires later
    and had more volume, into the one with the most, and never back.

    Args:
        before: `BARS` rows of the last day before.
        held: `CONTINUOUS_BARS` rows of that day, and of some before it for a contract without a bar; empty before the first.
        year: of the day.
    """
    volume = before.group_by(pl.col("symbol").cast(pl.String)).agg(pl.col("volume").sum(), pl.col("close").last())
    traded = {symbol: (amount, close) for symbol, amount, close in volume.sort("symbol").iter_rows() if amount > 0}
    last = held.sort("time").group_by("root", maintain_order=True).last()
    states = {str(row["root"]): row for row in last.iter_rows(named=True)}
    months: dict[str, dict[str, int]] = {}
    for symbol in {*traded, *(str(row["symbol"]) for row in states.values())}:
        if (found := contract_of(symbol, year)) is not None:
            months.setdefault(found[0], {})[symbol] = found[1]
    return {
        root: holding
        for root, contracts in sorted(months.items())
        if (holding := _holding(contracts, traded, states.get(root))) is not None
    }


def _holding(
    months: Mapping[str, int], traded: Mapping[str, tuple[float, float]], state: Mapping[str, object] | None
) -> Holding | None:
    busy = [symbol for symbol in months if symbol in traded]
    if state is None:
        # Of equal volumes the contract that expires first.
        chosen = min(busy, key=lambda symbol: (-traded[symbol][0], months[symbol]), default=None)
        return None if chosen is None else Holding(chosen)
    own = str(state["symbol"])
    volume, close = traded.get(own, (0.0, float(str(state["close"]))))
    later = [symbol for symbol in busy if months[symbol] > months[own] and traded[symbol][0] > volume]
    factor = None if state["factor"] is None else float(str(state["factor"]))
    offset, value = float(str(state["offset"])), float(str(state["value"]))
    if not later:
        return Holding(own, factor, offset, value, float(str(state["units"])), float(str(state["close"])))
    chosen = min(later, key=lambda symbol: (-traded[symbol][0], months[symbol]))
    new = traded[chosen][1]
    is_positive = factor is not None and close > 0 and new > 0
    return Holding(chosen, factor * close / new if factor and is_positive else None, offset + close - new, value)


def continuous_bars(bars: pl.DataFrame, held: Mapping[str, Holding]) -> pl.DataFrame:
    """`CONTINUOUS_BARS` rows of a day: the minute bars of the contracts that are held.

    Args:
        bars: `BARS` rows of the day, sorted by symbol and time.
        held: what is held of each root, from `holdings`.
    """
    rows = [_rows(bars, root, holding) for root, holding in held.items()]
    order = [pl.col("symbol").cast(pl.String), pl.col("time")]
    return pl.concat([CONTINUOUS_BARS.empty(), *rows]).sort(order)


def _rows(bars: pl.DataFrame, root: str, holding: Holding) -> pl.DataFrame:
    own = bars.filter(pl.col("symbol").cast(pl.String) == holding.contract, pl.col("close").is_finite())
    if own.is_empty():
        return CONTINUOUS_BARS.empty()
    entry, units = holding.close, holding.units
    if entry is None or units is None:
        entry = float(own["open"][0])
        units = holding.value / abs(entry) if entry else 0.0
    names = [name for name in BARS.schema if name in CONTINUOUS_BARS.schema]
    return CONTINUOUS_BARS.conform(
        own.select(names).with_columns(
            root=pl.lit(root),
            factor=pl.lit(holding.factor, pl.Float64),
            offset=pl.lit(holding.offset),
            units=pl.lit(units),
            value=holding.value + units * (pl.col("close") - entry),
            is_roll=pl.int_range(pl.len()).eq(0) if holding.units is None else pl.lit(value=False),
        )
    )
