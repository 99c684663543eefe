"""The challenger beside the champion on the same minutes: what each flags, and what that comes to."""

import json
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from tapewatch.market.instruments import NS_PER_MINUTE
from tapewatch.market.tables.live import SHADOW_MINUTES
from tapewatch.market.tables.tape import TIME

#: Late ticks change minutes of the last twenty.
_HELD_MINUTES: Final = 30
#: Flagged minutes of a symbol with more ordinary ones between them are two alerts, and alerts of both that lie no further apart
#: are about the same event.
_GAP_MINUTES: Final = 1
_TOGETHER_MINUTES: Final = 10


class Shadow:
    """Counts by minute what champion and challenger flag. Not thread-safe.

    Attributes:
        scored: symbol-minutes that both scored, each time they did.
        agreed: of them, those on which both said the same.
    """

    def __init__(self, champion: str, challenger: str) -> None:
        self.champion, self.challenger = champion, challenger
        self.scored = self.agreed = 0
        self._minutes: dict[int, dict[str, tuple[bool, bool]]] = {}

    def add(self, champion: pl.DataFrame, challenger: pl.DataFrame) -> pl.DataFrame:
        """Take what both said: symbol (text), event_time, is_flagged; returns the SHADOW_MINUTES rows that are new or changed.

        A symbol's minute that comes again replaces what was said of it.
        """
        key = ["symbol", "event_time"]
        both = champion.select(*key, by_champion="is_flagged").join(
            challenger.select(*key, by_challenger="is_flagged"), on=key
        )
        self.scored += both.height
        self.agreed += int((both["by_champion"] == both["by_challenger"]).sum())
        times = both["event_time"].dt.epoch("ns").to_list()
        for at, symbol, one, other in zip(
            times, both["symbol"], both["by_champion"], both["by_challenger"], strict=True
        ):
            self._minutes.setdefault(at, {})[symbol] = one, other
        rows = [self._row(at) for at in sorted(set(times))]
        oldest = max(self._minutes, default=0) - _HELD_MINUTES * NS_PER_MINUTE
        self._minutes = {at: said for at, said in self._minutes.items() if at >= oldest}
        return SHADOW_MINUTES.conform(pl.DataFrame(rows)) if rows else SHADOW_MINUTES.empty()

    def _row(self, at: int) -> dict[str, object]:
        said = self._minutes[at]
        flagged = [sorted(symbol for symbol, each in said.items() if each[which]) for which in (0, 1)]
        return {
            "challenger": self.challenger,
            "champion": self.champion,
            "event_time": pl.Series([at]).cast(TIME)[0],
            "symbols": len(said),
            "by_champion": json.dumps(flagged[0]),
            "by_challenger": json.dumps(flagged[1]),
        }


@dataclass(frozen=True, slots=True)
class ShadowReport:
    """What a challenger's time in the shadow showed.

    `hours` counts each minute once, whatever the number of symbols. `agreement` is the share of symbol-minutes on which both said the
    same; None without any. `gained` alerts are the challenger's that the champion did not raise within ten minutes, `lost` the other
    way round.
    """

    hours: float
    symbol_minutes: int
    agreement: float | None
    champion_alerts: int
    challenger_alerts: int
    gained: int
    lost: int


def shadow_report(rows: pl.DataFrame) -> ShadowReport:
    """What SHADOW_MINUTES rows of one challenger and one champion come to; those of several markets count together."""
    minutes = int(rows["symbols"].sum())
    ours, theirs = (_flagged(rows, column) for column in ("by_champion", "by_challenger"))
    differing = (
        ours.join(theirs, on=["symbol", "at"], how="anti").height
        + theirs.join(ours, on=["symbol", "at"], how="anti").height
    )
    champion, challenger = _alerts(ours), _alerts(theirs)
    return ShadowReport(
        hours=rows["event_time"].n_unique() / 60,
        symbol_minutes=minutes,
        agreement=1.0 - differing / minutes if minutes else None,
        champion_alerts=champion.height,
        challenger_alerts=challenger.height,
        gained=_alone(challenger, champion),
        lost=_alone(champion, challenger),
    )


def _flagged(rows: pl.DataFrame, column: str) -> pl.DataFrame:
    """symbol and at (minutes since 1970) of what was flagged."""
    return (
        rows.select(
            symbol=pl.col(column).str.json_decode(pl.List(pl.String)),
            at=pl.col("event_time").dt.epoch("ns") // NS_PER_MINUTE,
        )
        .explode("symbol")
        .drop_nulls("symbol")
        .unique()
        .sort("symbol", "at")
    )


def _alerts(flagged: pl.DataFrame) -> pl.DataFrame:
    """symbol, first and last minute of each alert."""
    is_new = (pl.col("at").diff().over("symbol") > _GAP_MINUTES + 1).fill_null(value=True)
    numbered = flagged.with_columns(alert=is_new.cum_sum())
    return numbered.group_by("alert").agg(pl.col("symbol").first(), first=pl.col("at").min(), last=pl.col("at").max())


def _alone(alerts: pl.DataFrame, others: pl.DataFrame) -> int:
    """How many alerts have no other of the symbol within ten minutes."""
    alone = 0
    spans = {str(symbol): part for (symbol,), part in others.group_by("symbol")}
    for alert in alerts.iter_rows(named=True):
        near = spans.get(alert["symbol"])
        if near is None:
            alone += 1
            continue
        before, after = near["first"].to_numpy(), near["last"].to_numpy()
        is_apart = (before > alert["last"] + _TOGETHER_MINUTES) | (after < alert["first"] - _TOGETHER_MINUTES)
        alone += bool(np.all(is_apart))
    return alone
