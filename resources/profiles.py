"""The resources of a deployment."""

from typing import Any
from urllib.parse import urlsplit

import dagster as dg

from resources.lake import LakeIOManager, LakeResource
from resources.references import ReferenceIOManager
from resources.stores import BentoStoreResource, DatabaseResource, ModelRegistryResource, SpoolResource
from resources.tape_source import TapeSourceResource
from tapewatch.market.instruments import Market
from tapewatch.settings import Settings


def resources_for(settings: Settings) -> dict[str, Any]:
    """Every resource by its key. Opens nothing: files and databases are opened by the run that needs them."""
    lake = LakeResource(root=str(settings.lake_root))
    return {
        "lake": lake,
        "lake_io": LakeIOManager(lake=lake),
        "spool": SpoolResource(root=str(settings.spool_root), merging_share=settings.ingest_share),
        "reference_io": ReferenceIOManager(lake=lake),
        "tape_source": TapeSourceResource(
            base_url=settings.polygon_base_url,
            # By name, so that the UI shows no key.
            api_key=dg.EnvVar("POLYGON_API_KEY") if settings.polygon_api_key else "",
            flat_files=settings.flat_files or "",
            plans_file=str(settings.plans_file or ""),
            plans={market.value: settings.plan(market) for market in Market},
            symbols={market.value: list(settings.symbols(market)) for market in Market},
        ),
        # A URL may hold a password.
        "database": DatabaseResource(
            url=dg.EnvVar("TAPEWATCH_DATABASE_URL") if settings.database_url else settings.database
        ),
        "model_registry": ModelRegistryResource(
            tracking_uri=dg.EnvVar("MLFLOW_TRACKING_URI") if settings.mlflow_tracking_uri else settings.tracking_uri,
            artifact_root=str(settings.home / "mlflow" / "artifacts"),
            ui=_mlflow_pages(settings),
        ),
        "bento_store": BentoStoreResource(home=str(settings.bento_home)),
    }


def _mlflow_pages(settings: Settings) -> str:
    """The address at which a browser finds MLflow: that of a tracking server, else of the service of `tapewatch up`."""
    parts = urlsplit(settings.tracking_uri)
    if parts.scheme in ("http", "https"):
        # Without a user and password.
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}".rstrip("/")
    host = "localhost" if settings.host in ("0.0.0.0", "::") else settings.host  # noqa: S104 - no address to open
    return f"http://[{host}]:{settings.port_mlflow}" if ":" in host else f"http://{host}:{settings.port_mlflow}"
