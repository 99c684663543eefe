"""Whether a served detector scores as the saved one, on made-up minutes."""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from models.base import DetectorError, Scores
from models.loading import load_detector
from models.profile import BUCKET_MINUTES, EVERY_MARKET
from models.served.base import RowScorer
from models.served.evidence import PROFILE
from models.served.minutes import Minutes
from tapewatch.features.catalog import BY_NAME, Transform
from tapewatch.market.instruments import NS_PER_MINUTE
from tapewatch.market.tables.tape import MICROSTRUCTURE

#: Most that a served score may differ from the detector's.
PARITY: Final = 1e-5
_ROWS = 2_000
_NULLS = 0.1
#: Symbols that no training day had, of a market that it had and of another.
_STRANGERS = ("NEVER", "X:NEVER-USD")


def expect_parity(saved: Path, graphs: Path, load: Callable[[Path], RowScorer]) -> float:
    """Compare the detector in `saved` with what `load` makes of it and its graphs; returns the greatest difference.

    Raises:
        DetectorError: it is above PARITY.
    """
    detector = load_detector(saved)
    rows = made_up_rows(saved, detector.features)
    with tempfile.TemporaryDirectory() as folder:
        for source in (saved, graphs):
            shutil.copytree(source, folder, dirs_exist_ok=True)
        served = load(Path(folder))
        scores = served.score(Minutes.of_frame(rows, served.features))
    off = float(np.max(np.abs(scores - detector.score(rows)), initial=0.0))
    if not off <= PARITY:
        raise DetectorError(
            f"{detector.name}, as it would be served, differs from the detector by {off:.2g}, over {PARITY:.0e}"
        )
    return off


def made_up_rows(saved: Path, features: tuple[str, ...], *, seed: int = 0) -> pl.DataFrame:
    """MICROSTRUCTURE-shaped minutes spread around the saved profiles' usual values, some far out; a value in ten is null."""
    rng = np.random.default_rng(seed)
    profiles = [pl.read_parquet(path, glob=False) for path in sorted(saved.rglob(PROFILE))]
    first = profiles[0].filter(~pl.col("symbol").str.starts_with(EVERY_MARKET), pl.col("bucket") >= 0)
    keys = first.select("symbol", "bucket").sample(_ROWS, with_replacement=True, seed=seed)
    minutes = keys["bucket"].to_numpy() * BUCKET_MINUTES + rng.integers(0, BUCKET_MINUTES, _ROWS)
    symbols = np.where(rng.random(_ROWS) < 0.1, rng.choice(_STRANGERS, _ROWS), keys["symbol"].to_numpy())
    # Distinct minutes: a detector may look at those before.
    times = pl.Series(np.arange(_ROWS) * NS_PER_MINUTE).cast(pl.Datetime("ns", "UTC"))
    values = {name: _values(name, profiles, keys, rng) for name in features}
    return pl.DataFrame({"symbol": symbols.astype(str), "event_time": times, "session_minute": minutes}).with_columns(
        pl.lit(None, pl.Datetime("ns", "UTC")).alias("known_time"),
        *(pl.Series(name, column, pl.Float64).fill_nan(None) for name, column in values.items()),
    )


def _values(name: str, profiles: list[pl.DataFrame], keys: pl.DataFrame, rng: np.random.Generator) -> Scores:
    """Values of a feature, around the centre of each of `keys` (symbol, bucket); 1 where no profile has the feature."""
    centre, scale = f"centre_{name}", f"scale_{name}"
    profile = next((each for each in profiles if centre in each.columns), None)
    if profile is None or name not in BY_NAME:
        return np.ones(keys.height)
    usual = keys.join(profile, on=["symbol", "bucket"], how="left", maintain_order="left")
    drawn = usual[centre].to_numpy() + usual[scale].to_numpy() * 2.0 * rng.standard_t(2.0, keys.height)
    match BY_NAME[name].transform:
        case Transform.LOG1P:
            drawn = np.expm1(np.minimum(drawn, 30.0))
        case Transform.SQRT:
            drawn = np.maximum(drawn, 0.0) ** 2
        case Transform.SIGNED_LOG1P:
            drawn = np.sign(drawn) * np.expm1(np.minimum(np.abs(drawn), 30.0))
    column = MICROSTRUCTURE.by_name[name]
    drawn = np.clip(drawn, column.minimum, column.maximum)
    return np.where(rng.random(keys.height) < _NULLS, np.nan, drawn)
