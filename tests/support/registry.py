"""A registry with versions of one small detector."""

from pathlib import Path

import mlflow

from resources.mlflow_registry import ModelRegistry, RegisteredModel
from tests.support.detectors import fitted

NAME = "isolation_forest"


class Parts:
    """A registry, by default one of a folder, with versions of one small detector."""

    def __init__(self, folder: Path, registry: ModelRegistry | None = None) -> None:
        own = ModelRegistry(f"sqlite:///{folder}/mlflow.db", (folder / "artifacts").as_uri())
        self.registry = registry or own
        self.home = folder
        self.detector = fitted()

    def version(self, folder: Path) -> RegisteredModel:
        """One more version, whose files are logged without a package, which takes long."""
        with self.registry.run(NAME) as run:
            self.detector.save(folder / "detector")
            mlflow.log_artifacts(str(folder), "model/artifacts")
        client = self.registry.connect()
        if NAME not in self.registry.names():
            client.create_registered_model(NAME)
        made = client.create_model_version(NAME, f"{run.info.artifact_uri}/model", run.info.run_id)
        return RegisteredModel(NAME, int(made.version), run.info.run_id)
