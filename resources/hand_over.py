"""Hands the champion of minutes and its challenger to the collectors, as files that need no MLflow."""

from collections.abc import Sequence
from pathlib import Path

from resources.mlflow_registry import ModelRegistry, RegisteredModel
from tapewatch.streaming.detection.champion import CHALLENGER, MINUTES, file_of, publish_folder, published_model


def hand_over(registry: ModelRegistry, folder: Path | None, names: Sequence[str]) -> None:
    """Put the champion of the first of `names` that has one, and the challenger likewise, where collectors look for them.

    A file that holds the version already stays. Without a challenger its file goes; without a champion the last one stays in use.

    Args:
        folder: of the champions' files; None where there are no collectors.

    Raises:
        RegistryError: MLflow does not answer; the files stay as they are.
        OSError: a file cannot be written.
    """
    if folder is None:
        return
    champion = registry.first_champion(*names)
    challenger = next((found for name in names if (found := registry.challenger(name)) is not None), None)
    if champion is not None:
        _put(registry, champion, file_of(folder, MINUTES))
    if challenger is not None and challenger != champion:
        _put(registry, challenger, file_of(folder, CHALLENGER))
    else:
        file_of(folder, CHALLENGER).unlink(missing_ok=True)


def _put(registry: ModelRegistry, model: RegisteredModel, path: Path) -> None:
    if published_model(path) != str(model):
        with registry.files(model.uri) as saved:
            publish_folder(saved, str(model), path)
