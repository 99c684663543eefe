"""The tape's source as a Dagster resource: the vendor's REST API (or an emulator), or a folder of flat files."""

from collections.abc import Sequence
from pathlib import Path

import dagster as dg
from pydantic import Field, PrivateAttr

from resources.reachable import expect_listener
from tapewatch.feeds.files.source import FlatFileSource
from tapewatch.feeds.rest.source import RestSource
from tapewatch.feeds.source import SourceError, TapeSource
from tapewatch.market.instruments import Market, Partition
from tapewatch.market.tickers import SymbolError, normalise

#: Pauses before a run gives up on a vendor that cannot be reached.
_WAITS_S = (1.0, 2.0, 4.0, 8.0)


class TapeSourceResource(dg.ConfigurableResource):
    """Flat files if a folder is set, REST otherwise."""

    base_url: str
    api_key: str = ""
    flat_files: str = ""
    plans: dict[str, str] = Field(default_factory=dict)
    plans_file: str = ""
    symbols: dict[str, list[str]] = Field(default_factory=dict)
    _is_away: bool = PrivateAttr(default=False)

    def source(self, *, until: Sequence[Partition] = ()) -> TapeSource:
        """The configured source.

        `until`: the partitions of the run, oldest first; if the plan counts calls, one call fetches the bars of many days.

        Raises:
            SourceError: neither a folder nor a key is set.
        """
        if self.flat_files:
            return FlatFileSource(self.flat_files)
        if not self.api_key:
            raise SourceError(
                "no source of the tape: set POLYGON_API_KEY, or TAPEWATCH_FLAT_FILES to a folder of flat files, "
                "or start the emulator with `tapewatch up`"
            )
        tiers = {Market(market): plan for market, plan in self.plans.items()}
        last_days = {partition.market: partition.date for partition in until}
        plans_file = Path(self.plans_file) if self.plans_file else None
        return RestSource(self.base_url, self.api_key, tiers, plans_file=plans_file, bars_until=last_days)

    def expect_vendor(self) -> None:
        """Check that the vendor can be reached, before a day is fetched.

        Each call of a day would wait for an unreachable vendor; here a run waits once, and later days fail at the first try.

        Raises:
            UnavailableError: the vendor cannot be reached.
        """
        if self.flat_files:
            return
        waits_s, self._is_away = () if self._is_away else _WAITS_S, True
        expect_listener(self.base_url, waits_s=waits_s)
        self._is_away = False

    def symbols_of(self, market: Market) -> Sequence[str] | None:
        """The symbols to load; None (all) with flat files.

        Raises:
            SourceError: REST needs symbols, and none is configured for this market, or one is misspelt.
        """
        if self.flat_files:
            return None
        symbols = self.symbols.get(market)
        if not symbols:
            raise SourceError(
                f"no symbols to watch in {market}: set TAPEWATCH_SYMBOLS_{market.upper()}, comma-separated"
            )
        try:
            return [normalise(symbol, market) for symbol in symbols]
        except SymbolError as error:
            raise SourceError(f"TAPEWATCH_SYMBOLS_{market.upper()}: {error}") from error
