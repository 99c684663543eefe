"""The model registry as a Dagster resource."""

from typing import TYPE_CHECKING

import dagster as dg

if TYPE_CHECKING:
    from resources.mlflow_registry import ModelRegistry


class ModelRegistryResource(dg.ConfigurableResource):
    """Tracking and registry. `tracking_uri` is SQLite, PostgreSQL or a server; `artifact_root` holds the artifacts."""

    tracking_uri: str
    artifact_root: str

    def open(self) -> "ModelRegistry":
        # MLflow and scikit-learn take seconds to import, and most processes open no registry.
        from resources.mlflow_registry import ModelRegistry  # noqa: PLC0415

        return ModelRegistry(self.tracking_uri, self.artifact_root)
