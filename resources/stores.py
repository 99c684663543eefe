"""The platform's stores as Dagster resources: database, spool, model registry and Bentos."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
from pydantic import Field

from tapewatch.store.database.database import Database
from tapewatch.streaming.detection.champion import file_of

if TYPE_CHECKING:
    from resources.feature_store.store import Features
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
    champions: str = ""
    """Folder in which collectors look for champions; empty where there are none."""
    shadow_hours: float = Field(0.0, ge=0)
    """Hours that a challenger must have scored live before it may replace the champion of minutes; 0 for none."""

    def open(self) -> "ModelRegistry":
        # MLflow and scikit-learn take seconds to import, and most processes open no registry.
        from resources.mlflow_registry import ModelRegistry  # noqa: PLC0415

        return ModelRegistry(self.tracking_uri, self.artifact_root, self.ui)

    @property
    def champions_folder(self) -> Path | None:
        """Folder in which collectors look for champions; None where there are none."""
        return Path(self.champions) if self.champions else None

    def champion_file(self, name: str) -> Path | None:
        """Where collectors look for the champion `name`."""
        return file_of(Path(self.champions), name) if self.champions else None


class FeatureStoreResource(dg.ConfigurableResource):
    """Feast's registry and online store under the data folder; the online store in Redis or PostgreSQL by address."""

    home: str
    lake_root: str
    redis_url: str = ""
    database_url: str = ""

    @contextmanager
    def open(self) -> "Iterator[Features]":
        """The feature store, whose connections are closed at the end of the block."""
        # Feast takes seconds to import, and few processes need it.
        from resources.feature_store.store import Features, repo_config  # noqa: PLC0415

        config = repo_config(Path(self.home), redis_url=self.redis_url or None, database_url=self.database_url or None)
        opened = Features(config, self.lake_root)
        try:
            yield opened
        finally:
            opened.close()


class KerasResource(dg.ConfigurableResource):
    """What trains deep detectors: a backend of Keras, or `none`; and the folder of the checkpoints of running trainings."""

    backend: str = "tensorflow"
    checkpoints: str

    def folder(self, detector: str) -> Path:
        """The folder of a detector's checkpoints."""
        return Path(self.checkpoints) / detector


class BentoStoreResource(dg.ConfigurableResource):
    """BentoML's home folder, outside the project tree, which is packed into every Bento; and where Bentos are published, if anywhere."""

    home: str
    url: str = ""

    def publish(self) -> bool:
        """Publish the newest Bento and the models with a role; returns whether there was anything new.

        Raises:
            BucketError: the place cannot be written.
        """
        from serving.bucket import BentoBucket  # noqa: PLC0415 - few runs publish

        return bool(self.url) and BentoBucket(self.url).publish(Path(self.home))
