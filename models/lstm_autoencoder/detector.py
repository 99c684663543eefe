"""The autoencoder as a detector: what it cannot restore of a minute, given the minutes before, is anomalous."""

import zipfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from models.attributions import attributions_of
from models.base import DetectorError, Scores
from models.calibration.levels import Levels
from models.calibration.rarity import fit_levels, hours_between, stored_levels, write_levels
from models.evidence import Tails
from models.lstm_autoencoder.forward import Weights, restored
from models.lstm_autoencoder.inputs import (
    CATALOGUED,
    INPUTS,
    MID_PRICE,
    Floats,
    Indices,
    Minutes,
    minutes_of,
    with_mid_return,
)
from models.lstm_autoencoder.training import AutoencoderParameters, Epoch, train
from models.manifest import Manifest, described, file_hash
from models.naming import OUTAGE_S
from models.profile import Profile
from models.threshold import for_budget
from tapewatch.market.tables.tape import ATTRIBUTIONS

_WEIGHTS, _PROFILE = "weights.npz", "profile.parquet"
_FEWEST_ROWS = 200
_WHOLE = ("window", "units", "code", "epochs", "patience", "batch", "windows_an_epoch")
_SILENCE = next(at for at, feature in enumerate(INPUTS) if feature.name == "tape_age_s")
#: Whether a value above, or below, what is restored is a sign of an anomaly.
_HIGH_COUNTS, _LOW_COUNTS = (
    np.array([kind is not None for kind in kinds], dtype=np.float64)
    for kinds in ([each.high for each in INPUTS], [each.low for each in INPUTS])
)
#: Least surprise of an outage's silence, as for the forest.
_OUTAGE_SURPRISE = 5.0


@dataclass(frozen=True)
class _Fitted:
    profile: Profile
    weights: Weights
    tails: Tails
    manifest: Manifest
    levels: Levels | None = None


@dataclass
class LstmAutoencoderDetector:
    """Scores minutes by how badly an LSTM autoencoder restores them. Call `fit` or `load` first.

    Rows are MICROSTRUCTURE-shaped: symbol, event_time, known_time, session_minute and `features`. A minute is scored with those of
    its symbol's 15 minutes before that are among the rows; minutes and values that are missing are masked. Later rows change
    nothing. An unseen symbol is scaled like its market.
    """

    parameters: AutoencoderParameters = field(default_factory=AutoencoderParameters)
    seed: int = 0
    _state: _Fitted | None = field(default=None, repr=False)
    name: str = "lstm_autoencoder"

    @property
    def context_minutes(self) -> int:
        """The window before a minute; the return of its first needs the one before."""
        return self.parameters.window

    def fit(
        self,
        rows: pl.DataFrame,
        *,
        partitions: Sequence[str] = (),
        checkpoint: Path | None = None,
        on_epoch: Callable[[Epoch], None] = lambda _: None,
    ) -> Self:
        """Fit scaling, network, error scales and threshold on `rows` alone.

        Scaling and network are fitted on the earlier days. The last fifth of the days, at least one, is held out: it ends the
        training early, and its errors set the error scales and the threshold. Of a single day the last quarter is held out.

        Args:
            rows: regular-session minutes; label columns are ignored.
            partitions: their partition keys, for the manifest.
            checkpoint, on_epoch: as of `train`.

        Raises:
            DetectorError: too few rows or no feature with a value, or Keras cannot be used.
        """
        is_held_out = _held_out(rows)
        learnt, held_out = (np.flatnonzero(flags) for flags in (~is_held_out, is_held_out))
        if min(learnt.size, 2 * held_out.size) < _FEWEST_ROWS:
            raise DetectorError(
                f"the autoencoder needs at least {_FEWEST_ROWS} minutes to learn from and half as many held out, and has "
                f"{learnt.size} and {held_out.size}: materialize more training days"
            )
        profile = Profile.fit(with_mid_return(rows)[learnt], INPUTS)
        minutes = minutes_of(rows, profile, self.parameters.window)
        if not minutes.known[learnt].any() or not minutes.known[held_out].any():
            raise DetectorError(f"none of {', '.join(f.name for f in INPUTS)} has a value in the training rows")
        weights = train(
            minutes, learnt, held_out, self.parameters, seed=self.seed, checkpoint=checkpoint, on_epoch=on_epoch
        )
        errors, known = _errors(weights, minutes, held_out)
        tails = Tails.fit(np.where(known, errors, 0.0))
        scores = _shares(tails, errors, known).sum(axis=1)
        threshold = for_budget(scores, self.parameters.alerts_per_symbol_hour)
        levels = fit_levels(self.name, scores, rows[held_out])
        self._state = _Fitted(profile, weights, tails, self._describe(rows, partitions, threshold), levels)
        return self

    @property
    def manifest(self) -> Manifest:
        """How the detector came about; `files` is empty until saved."""
        return self._fitted.manifest

    @property
    def threshold(self) -> float:
        """A score at or above it is anomalous."""
        return self._fitted.manifest.threshold

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the columns that the detector reads."""
        return (*self._fitted.manifest.features, MID_PRICE)

    @property
    def weights(self) -> Weights:
        """The trained weights."""
        return self._fitted.weights

    def windows(self, rows: pl.DataFrame) -> tuple[Floats, Floats, Floats]:
        """Values and mask of the windows that end at each row (rows x window x inputs), and the last minutes as restored."""
        minutes = minutes_of(rows, self._fitted.profile, self.parameters.window)
        values, mask = minutes.windows(np.arange(rows.height))
        return values, mask, restored(self._fitted.weights, values, mask)

    def score(self, rows: pl.DataFrame) -> Scores:
        """One score a row, not negative, higher where more anomalous; 0 for a row without a known value."""
        return np.asarray(self._contributions(rows).sum(axis=1)) if rows.height else np.empty(0)

    def held_out_scores(self, rows: pl.DataFrame) -> Scores:
        """Scores of the training rows that were held out of the training; NaN for the others."""
        return np.where(_held_out(rows), self.score(rows), np.nan)

    def hours_between(self, scores: Scores, symbols: pl.Series) -> Scores | None:
        """The hours of ordinary tape between scores as high; None if the training was too short for a calibration."""
        return hours_between(self.name, self._fitted.levels, scores, symbols)

    def scored(self, rows: pl.DataFrame) -> pl.DataFrame:
        """symbol, event_time, known_time, score and is_out (whether the symbol's tape stopped) of each row."""
        contributions = self._contributions(rows) if rows.height else np.empty((0, len(INPUTS)))
        is_long = rows["tape_age_s"].to_numpy() >= OUTAGE_S
        is_out = is_long & (contributions[:, _SILENCE] * len(INPUTS) >= _OUTAGE_SURPRISE**2)
        return rows.select("symbol", "event_time", "known_time").with_columns(
            score=pl.Series(contributions.sum(axis=1), dtype=pl.Float64), is_out=pl.Series(is_out, dtype=pl.Boolean)
        )

    def explain(self, rows: pl.DataFrame) -> pl.DataFrame:
        """An ATTRIBUTIONS frame: each input's share of the score. A row's shares add up to its score."""
        if rows.is_empty():
            return ATTRIBUTIONS.empty()
        names, found = self.contributions(rows)
        return attributions_of(with_mid_return(rows), names, found, found.sum(axis=1))

    def contributions(self, rows: pl.DataFrame) -> tuple[tuple[str, ...], Scores]:
        """Names of inputs, and the share of each in every row's score (rows x inputs)."""
        return tuple(feature.name for feature in INPUTS), self._contributions(rows)

    def save(self, folder: Path) -> None:
        """Write weights and error scales (npz), profile and levels (Parquet) and the manifest into `folder`, made if need be."""
        state = self._fitted
        folder.mkdir(parents=True, exist_ok=True)
        arrays: dict[str, Any] = {**asdict(state.weights), "knots": state.tails.knots, "tail": state.tails.tail}
        np.savez(folder / _WEIGHTS, **arrays)
        state.profile.to_frame().write_parquet(folder / _PROFILE)
        files = {name: file_hash(folder / name) for name in (_WEIGHTS, _PROFILE)}
        files |= write_levels(folder, self.name, state.levels)
        Manifest(**{**vars(state.manifest), "files": files}).write(folder)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The detector as saved; its scores are bit-identical. No deep-learning framework is needed.

        Raises:
            DetectorError: the files in `folder` do not fit this code, or have changed.
        """
        folder = Path(folder)
        manifest = Manifest.read(folder, detector=cls.name)
        try:
            with np.load(folder / _WEIGHTS, allow_pickle=False) as file:
                weights, tails = Weights.of(file), Tails(file["knots"], file["tail"])
            profile = Profile.from_frame(pl.read_parquet(folder / _PROFILE, glob=False), INPUTS)
        except (KeyError, ValueError, OSError, zipfile.BadZipFile) as error:
            raise DetectorError(f"{folder} cannot be used: {error}. Train the detector again") from error
        stored = manifest.parameters
        window, units, code, epochs, patience, batch, drawn = (int(stored[name]) for name in _WHOLE)
        parameters = AutoencoderParameters(
            window, units, code, epochs, patience, batch, drawn, stored["learning_rate"], manifest.alert_budget
        )
        return cls(
            parameters, manifest.seed, _Fitted(profile, weights, tails, manifest, stored_levels(folder, cls.name))
        )

    @property
    def _fitted(self) -> _Fitted:
        if self._state is None:
            raise DetectorError("the detector has not been fitted: call fit or load first")
        return self._state

    def _contributions(self, rows: pl.DataFrame) -> Scores:
        state = self._fitted
        minutes = minutes_of(rows, state.profile, self.parameters.window)
        return _shares(state.tails, *_errors(state.weights, minutes, np.arange(rows.height)))

    def _describe(self, rows: pl.DataFrame, partitions: Sequence[str], threshold: float) -> Manifest:
        parameters = asdict(self.parameters)
        budget = parameters.pop("alerts_per_symbol_hour")
        backend = parameters.pop("backend")
        return described(
            self.name,
            CATALOGUED,
            rows,
            partitions,
            threshold=threshold,
            alert_budget=budget,
            seed=self.seed,
            parameters=parameters,
            libraries=_framework(backend),
        )


def _errors(weights: Weights, minutes: Minutes, chosen: Indices) -> tuple[Scores, npt.NDArray[np.bool_]]:
    """How far each input of the chosen rows is from what the autoencoder restores, and which are known.

    A direction to which the catalog gives no kind of anomaly, such as a narrow spread, counts as no distance.
    """
    values, mask = minutes.windows(chosen)
    off = (values[:, -1] - restored(weights, values, mask)).astype(np.float64)
    return np.where(off > 0, off * _HIGH_COUNTS, -off * _LOW_COUNTS), mask[:, -1] > 0


def _shares(tails: Tails, errors: Scores, known: npt.NDArray[np.bool_]) -> Scores:
    """Each input's share of the score: the squared surprise of its error, over the number of inputs; 0 where unknown."""
    return np.asarray(np.where(known, tails.surprises(errors), 0.0) ** 2 / errors.shape[1])


def _held_out(rows: pl.DataFrame) -> npt.NDArray[np.bool_]:
    dates = rows["event_time"].dt.date()
    days = dates.unique().sort()
    if days.len() > 1:
        return np.asarray((dates >= days[-max(1, days.len() // 5)]).to_numpy(), dtype=np.bool_)
    times = rows["event_time"]
    return (
        np.asarray((times > times.quantile(0.75)).to_numpy(), dtype=np.bool_)
        if rows.height
        else np.zeros(0, dtype=np.bool_)
    )


def _framework(backend: str) -> dict[str, str]:
    from importlib.metadata import version  # noqa: PLC0415

    return {name: version(name) for name in ("keras", backend)}
