"""Where a run's tape comes from."""

from pathlib import Path

from orchestration.runs.lineage import _with_its_symbols
from tapewatch.emulator.synthetic.universe import listed
from tapewatch.market.instruments import Market
from tapewatch.settings import Settings


def test_the_synthetic_market_is_watched_as_a_whole_where_no_symbols_are_set(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, markets={"options": {"symbols": ("O:TSLA291221C00240000",)}}, _env_file=None)
    chosen = _with_its_symbols(settings)
    assert chosen.symbols(Market.FUTURES) == tuple(listed(Market.FUTURES))
    assert len(chosen.symbols(Market.FUTURES)) > 2
    assert chosen.symbols(Market.OPTIONS) == ("O:TSLA291221C00240000",)
    assert chosen.symbols(Market.STOCKS) == settings.symbols(Market.STOCKS)
