"""The resources of a deployment: each has the deployment's settings, and a run's config changes none of them."""

from functools import partial
from typing import Any
from urllib.parse import urlsplit

import dagster as dg

from resources.fixed import fixed, fixed_io_manager
from resources.lake import LakeIOManager, LakeResource
from resources.references import ReferenceIOManager
from resources.stores import (
    BentoStoreResource,
    DatabaseResource,
    FeatureStoreResource,
    KerasResource,
    ModelRegistryResource,
    SpoolResource,
)
from resources.tape_source import TapeSourceResource
from tapewatch.market.instruments import Market
from tapewatch.settings import Settings


def resources_for(settings: Settings) -> dict[str, Any]:
    """Every resource by its key. Opens nothing: files and databases are opened by the run that needs them."""
    key, redis, online = settings.polygon_api_key, settings.redis_url, settings.online_database_url
    lake = LakeResource(root=str(settings.lake_root))
    return {
        "lake": fixed(lake),
        "lake_io": fixed_io_manager(partial(LakeIOManager, lake=lake), allow_shrink=False),
        "spool": fixed(SpoolResource(root=str(settings.spool_root), merging_share=settings.ingest_share)),
        "reference_io": fixed_io_manager(partial(ReferenceIOManager, lake=lake)),
        # Dagster's default writes pickles to a folder that a run's config may choose.
        "io_manager": fixed_io_manager(dg.InMemoryIOManager),
        "tape_source": fixed(
            TapeSourceResource(
                base_url=settings.polygon_base_url,
                api_key=key.get_secret_value() if key else "",
                flat_files=settings.flat_files or "",
                plans_file=str(settings.plans_file or ""),
                plans={market.value: settings.plan(market) for market in Market},
                symbols={market.value: list(settings.symbols(market)) for market in Market},
            )
        ),
        "database": fixed(DatabaseResource(url=settings.database)),
        "model_registry": fixed(
            ModelRegistryResource(
                tracking_uri=settings.tracking_uri,
                artifact_root=settings.artifact_root,
                ui=_mlflow_pages(settings),
                champions=str(settings.champions),
                shadow_hours=settings.shadow_hours,
            )
        ),
        "feature_store": fixed(
            FeatureStoreResource(
                home=str(settings.home.absolute()),
                lake_root=str(settings.lake_root.absolute()),
                redis_url=redis.get_secret_value() if redis else "",
                database_url=online.get_secret_value() if online else "",
            )
        ),
        "keras": fixed(
            KerasResource(backend=settings.keras_backend, checkpoints=str(settings.home / "mlflow" / "checkpoints"))
        ),
        "bento_store": fixed(BentoStoreResource(home=str(settings.bento_home), url=settings.bentos_url or "")),
    }


def _mlflow_pages(settings: Settings) -> str:
    """The address at which a browser finds MLflow: that of a tracking server, else of the service of `tapewatch up`."""
    parts = urlsplit(settings.tracking_uri)
    if parts.scheme in ("http", "https"):
        # Without a user and password.
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}".rstrip("/")
    host = "localhost" if settings.host in ("0.0.0.0", "::") else settings.host  # noqa: S104 - no address to open
    return f"http://[{host}]:{settings.port_mlflow}" if ":" in host else f"http://{host}:{settings.port_mlflow}"
