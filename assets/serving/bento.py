"""The champion, packaged for the scoring service."""

import datetime as dt
import shlex
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from assets.models.forest import MINUTES
from assets.serving.judgements import scores_repeat, vectors_equal_as_of_join
from assets.shared.about import about, about_days
from assets.shared.checks import Check, Checked, commit_days
from assets.tape.loading import warn
from models.base import DetectorError
from resources.lake import LakeResource
from resources.stores import BentoStoreResource, ModelRegistryResource
from serving.bento import BentoError, build_bento, store_model
from serving.bucket import BucketError
from serving.loader import LoadError
from serving.store import CHALLENGER, point
from tapewatch.market.instruments import Partition
from tapewatch.market.tables.serving import REPLAYED_REQUESTS

#: A market day may begin on the date before and end on the date after.
_DAY = dt.timedelta(days=1)
_REPLAYED = (Check(vectors_equal_as_of_join, blocks=False), Check(scores_repeat, blocks=False))


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
    shadowed = _shadow(context, registry, champion, Path(bento_store.home))
    try:
        is_published = bento_store.publish()
    except BucketError as error:
        raise dg.Failure(str(error)) from error
    # Without its home, BentoML looks for the Bento in ~/bentoml.
    serve = f"BENTOML_HOME={shlex.quote(str(Path(bento_store.home).absolute()))} bentoml serve {tag}"
    context.add_output_metadata(
        {
            "tag": tag,
            "champion": champion.version,
            "challenger": shadowed or "none",
            "published": is_published,
            "mlflow_model": dg.MetadataValue.url(registry.model_url(champion)),
            "serve": dg.MetadataValue.md(f"`{serve}`"),
        }
    )
    return {"tag": tag}


def _shadow(context: dg.AssetExecutionContext, registry: Any, champion: Any, home: Path) -> str:
    """Put the champion's challenger into the store, for the service to score with in shadow; its tag, or empty without one."""
    challenger, tag = registry.challenger(champion.name), ""
    if challenger is not None and challenger.version != champion.version:
        facts = {"mlflow_run": challenger.run_id}
        with registry.files(challenger.uri) as folder:
            try:
                tag = store_model(
                    folder, name=challenger.name, version=str(challenger.version), metadata=facts, bento_home=home
                )
            except BentoError as error:
                warn(context, f"{challenger} is not shadowed: {error}")
    point(home, CHALLENGER, tag)
    return tag


@dg.asset(**about_days(REPLAYED_REQUESTS, "bentoml", checks=_REPLAYED), deps=[["features", "microstructure"]])
def replayed_requests(
    context: dg.AssetExecutionContext,
    lake: LakeResource,
    model_registry: ModelRegistryResource,
    bento_store: BentoStoreResource,
) -> Checked:
    """Score the day's sampled requests again by the version that answered, and compare their vectors with the lake."""
    from serving.traffic.log import read_traffic  # noqa: PLC0415 - likewise
    from serving.traffic.replayed import of_day, replayed  # noqa: PLC0415 - only runs need it
    from serving.versions import Versions  # noqa: PLC0415 - likewise

    opened, versions = lake.open(), Versions(Path(bento_store.home), model_registry.open().files_if_any)

    def scorer_of(model: Any) -> Any:
        try:
            return versions.scorer(model)
        except (DetectorError, LoadError) as error:
            warn(context, f"{model.name} {model.version} cannot score again: {error}")
            return None

    def frame(day: Partition) -> pl.DataFrame:
        kept = of_day(read_traffic(opened.root, day.date - _DAY, day.date + _DAY), day)
        context.add_asset_metadata({"requests": kept["request_id"].n_unique()}, partition_key=str(day))
        return replayed(kept, opened, scorer_of)

    yield from commit_days(context, REPLAYED_REQUESTS, opened, frame, _REPLAYED, needs_tape=False)
