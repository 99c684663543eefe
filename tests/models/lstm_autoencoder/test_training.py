"""Training: NumPy against Keras, seeds, early stopping, kill and resume."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from models.base import DetectorError
from models.lstm_autoencoder.checkpoint import Progress, read, write
from models.lstm_autoencoder.forward import restored
from models.lstm_autoencoder.inputs import INPUTS, Minutes, minutes_of, with_mid_return
from models.lstm_autoencoder.network import Network, Shape, keras_with
from models.lstm_autoencoder.training import AutoencoderParameters, Epoch, train
from models.profile import Profile
from tests.models.lstm_autoencoder.conftest import SMALL

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def minutes(sequence_rows: pl.DataFrame) -> Minutes:
    return minutes_of(sequence_rows, Profile.fit(with_mid_return(sequence_rows), INPUTS), SMALL.window)


LEARNT, HELD_OUT = np.arange(0, 500), np.arange(500, 700)


def trained(minutes: Minutes, parameters: AutoencoderParameters = SMALL, **options: object) -> tuple[dict, list[Epoch]]:
    epochs: list[Epoch] = []
    weights = train(minutes, LEARNT, HELD_OUT, parameters, **{"seed": 3, "on_epoch": epochs.append, **options})
    return vars(weights), epochs


def same(one: dict, other: dict) -> bool:
    return all(np.array_equal(one[name], other[name]) for name in one)


def test_numpy_restores_what_keras_restores(minutes: Minutes) -> None:
    network = Network(Shape(SMALL.window, len(INPUTS), 8, 3), seed=1, learning_rate=1e-3, backend="tensorflow")
    values, mask = minutes.windows(LEARNT)
    network.epoch(values, mask, LEARNT, 64)
    assert np.allclose(restored(network.weights(), values, mask), network.predict(values, mask)[:, 0], atol=1e-5)


def test_killed_and_resumed_equals_undisturbed(minutes: Minutes, tmp_path: Path) -> None:
    undisturbed, epochs = trained(minutes)
    assert [epoch.number for epoch in epochs] == [1, 2, 3, 4]
    assert epochs[-1].held_out_loss < epochs[0].held_out_loss
    checkpoint = tmp_path / "work" / "checkpoint.npz"

    def killed(epoch: Epoch) -> None:
        if epoch.number == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(minutes, checkpoint=checkpoint, on_epoch=killed)
    assert checkpoint.is_file()
    resumed, later = trained(minutes, checkpoint=checkpoint)
    assert [epoch.number for epoch in later] == [3, 4]
    assert later == epochs[2:]
    assert same(resumed, undisturbed)
    assert not checkpoint.exists()


def test_a_checkpoint_of_another_training_or_a_torn_one_is_not_used(tmp_path: Path) -> None:
    path = tmp_path / "work" / "checkpoint.npz"
    assert read(path, "this") is None
    write(path, "this", Progress(2, 1, 0.5, [np.arange(3.0), np.array(7)], {"code": np.ones(2, np.float32)}))
    progress = read(path, "this")
    assert progress is not None
    assert (progress.epoch, progress.best_epoch, progress.best_loss) == (2, 1, 0.5)
    assert [array.tolist() for array in progress.network] == [[0.0, 1.0, 2.0], 7]
    assert progress.best["code"].tolist() == [1.0, 1.0]
    assert read(path, "other") is None
    path.write_bytes(path.read_bytes()[:100])
    assert read(path, "this") is None


def test_training_stops_early_and_keeps_the_best_epoch(minutes: Minutes) -> None:
    wild = AutoencoderParameters(
        window=8, units=8, code=3, epochs=30, patience=2, batch=64, windows_an_epoch=64, learning_rate=0.5
    )
    _, epochs = trained(minutes, wild)
    assert len(epochs) < 30
    best = [epoch.number for epoch in epochs if epoch.is_best][-1]
    assert epochs[-1].number == best + 2


def test_another_backend_in_the_same_process_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    keras_with("tensorflow")
    monkeypatch.setattr("models.lstm_autoencoder.network.check_installed", lambda _: None)
    with pytest.raises(DetectorError, match="runs on tensorflow in this process already"):
        keras_with("torch")
