"""The platform's stores as Dagster resources: database, spool, model registry and Bentos."""

from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
from pydantic import Field

from tapewatch.store.database.database import Database

if TYPE_CHECKING:
    from resources.mlflow_registry import ModelRegistry


class DatabaseResource(dg.ConfigurableResource):
    """The operational database: SQLite by default, PostgreSQL by URL."""

    url: str

    def open(self) -> Database:
        """The database, its schema upgraded."""
        return Database(self.url)


class SpoolResource(dg.ConfigurableResource):
    """The folder of the batches that collectors and the healer write."""

    root: str
    merging_share: float = Field(0.25, gt=0, le=1)
    """Share of the time that the runs of one partition may take; each rewrites the partition."""

    @property
    def path(self) -> Path:
        return Path(self.root)


class ModelRegistryResource(dg.ConfigurableResource):
    """Tracking and registry. `tracking_uri` is SQLite, PostgreSQL or a server; `artifact_root` holds the artifacts."""

    tracking_uri: str
    artifact_root: str
    ui: str = ""
    """Address of MLflow's pages, for links."""

    def open(self) -> "ModelRegistry":
        # MLflow and scikit-learn take seconds to import, and most processes open no registry.
        from resources.mlflow_registry import ModelRegistry  # noqa: PLC0415

        return ModelRegistry(self.tracking_uri, self.artifact_root, self.ui)


class KerasResource(dg.ConfigurableResource):
    """What trains deep detectors: a backend of Keras, or `none`; and the folder of the checkpoints of running trainings."""

    backend: str = "tensorflow"
    checkpoints: str

    def folder(self, detector: str) -> Path:
        """The folder of a detector's checkpoints."""
        return Path(self.checkpoints) / detector


class BentoStoreResource(dg.ConfigurableResource):
    """BentoML's home folder, outside the project tree, which is packed into every Bento."""

    home: str
