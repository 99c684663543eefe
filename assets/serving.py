"""The champion, packaged for the scoring service."""

import shlex
from pathlib import Path
from typing import Any

import dagster as dg

from assets.about import about
from assets.models import MINUTES
from resources.stores import BentoStoreResource, ModelRegistryResource
from serving.bento import build_bento


@dg.asset(
    **about(
        "serving", "anomaly_bento", "The Bento that answers `POST /score`, built from the champion alone.", "bentoml"
    ),
    deps=[["models", "champion"]],
    io_manager_key="reference_io",
)
def anomaly_bento(
    context: dg.AssetExecutionContext, model_registry: ModelRegistryResource, bento_store: BentoStoreResource
) -> dict[str, Any]:
    """Build the Bento from the champion's files in the registry; the same champion gives the same tag."""
    registry = model_registry.open()
    champion = registry.first_champion(*MINUTES)
    if champion is None:
        raise dg.Failure("no champion to package yet: run the job train_detectors first")
    with registry.files(champion.uri) as folder:
        tag = build_bento(
            folder,
            name=champion.name,
            version=str(champion.version),
            metadata={"mlflow_run": champion.run_id},
            bento_home=Path(bento_store.home),
        )
    # Without its home, BentoML looks for the Bento in ~/bentoml.
    serve = f"BENTOML_HOME={shlex.quote(str(Path(bento_store.home).absolute()))} bentoml serve {tag}"
    context.add_output_metadata(
        {
            "tag": tag,
            "champion": champion.version,
            "mlflow_model": dg.MetadataValue.url(registry.model_url(champion)),
            "serve": dg.MetadataValue.md(f"`{serve}`"),
        }
    )
    return {"tag": tag}
