"""After the installation's compilation no process compiles a kernel."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import tapewatch

# Without an installation before it, all kernels are compiled here.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

KEPT = Path(tapewatch.__file__).parent / "__pycache__" / "kernels"
DAY = """
import datetime as dt, sys
from pathlib import Path
from orchestration.runs.runs import run_days
from tapewatch.emulator.process import running_emulator
from tapewatch.market.instruments import Market
from tapewatch.settings import Settings

DAY = dt.date(2024, 6, 4)
with running_emulator(seed=11) as emulator:
    settings = Settings(
        home=Path(sys.argv[1]), polygon_api_key="test-key", polygon_base_url=emulator.base_url,
        markets={
            "stocks": {"plan": "advanced", "symbols": ("MSFT",)},
            "crypto": {"plan": "advanced", "symbols": ("X:BTC-USD",)},
        },
        _env_file=None,
    )
    for market in (Market.STOCKS, Market.CRYPTO):
        run_days(settings, "update_day", market, DAY, DAY)
"""


def test_a_day_from_the_source_to_the_labels_compiles_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "kernels"
    if KEPT.is_dir():
        shutil.copytree(KEPT, folder, ignore=shutil.ignore_patterns("*.tmp.*"))
    environment = os.environ | {"NUMBA_CACHE_DIR": str(folder)}

    def run(*arguments: str) -> set[Path]:
        subprocess.run([sys.executable, *arguments], env=environment, check=True)
        return set(folder.rglob("*.nbc"))

    compiled = run("-m", "tapewatch.compile_kernels")
    assert {path.parent.name.partition("-")[0] for path in compiled} >= {
        "tapewatch.bars.kernel",
        "tapewatch.features.kernel",
        "tapewatch.feeds.files.scanner",
        "tapewatch.feeds.rest.bar_scanner",
        "tapewatch.feeds.stream.decode.scanner",
        "tapewatch.labels.barriers.barriers",
        "tapewatch.streaming.live.tick_buffer",
    }
    assert run("-c", DAY, str(tmp_path)) == compiled
