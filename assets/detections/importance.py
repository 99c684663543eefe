"""A report about each detector as a whole."""

from collections.abc import Iterator
from typing import Any, Final

import dagster as dg
import polars as pl

from assets.models.autoencoder import AUTOENCODER
from assets.models.forest import CLASSIFIER, ENSEMBLE, MODEL
from assets.models.validation import validation_days
from assets.shared.about import about
from resources.lake import png
from resources.stores import ModelRegistryResource
from tapewatch.market.instruments import Partition
from tapewatch.market.tables.tape import TRAINING_SET

#: Attributions add up if no sum is further off than this share of the sums' range.
_MOST_OFF: Final = 1e-5
_ADDITIVE: Final = "attributions_add_up"


def _report_of(name: str, words: str, *, refits: bool) -> dg.AssetsDefinition:
    """The asset of one detector; one that is slow to fit is not fitted again."""
    key = dg.AssetKey(["explanations", f"{name}_report"])

    @dg.asset(
        **about("explanations", f"{name}_report", f"What the {words} looks at: a page in MLflow.", "shap", "mlflow"),
        ins={name: dg.AssetIn(["models", name]), "training_set": dg.AssetIn(["labels", "training_set"])},
        deps=[
            ["models", "champion"],
            ["tape", "trades"],
            ["tape", "quotes"],
            ["tape", "bars"],
            ["labels", "truth_labels"],
        ],
        io_manager_key="reference_io",
        check_specs=[
            dg.AssetCheckSpec(
                _ADDITIVE,
                asset=key,
                description="A minute's attributions add up to the score, or to what the score is made of.",
            )
        ],
    )
    def report(model_registry: ModelRegistryResource, **inputs: Any) -> Iterator[dg.Output | dg.AssetCheckResult]:
        """Attributions, importance and steadiness of the newest version, logged to its run."""
        reference, training_set = inputs[name], inputs["training_set"]
        if "not_fitted" in reference:
            why = reference["not_fitted"]
            yield dg.Output({"not_reported": why})
            yield dg.AssetCheckResult(check_name=_ADDITIVE, passed=True, description=f"nothing to check: {why}")
            return
        from assets.detections import explaining  # noqa: PLC0415 - takes seconds to import

        learnt, later = ([Partition.parse(key) for key in reference[part]] for part in ("train", "validation"))
        rows = pl.concat([TRAINING_SET.empty(), *map(training_set.read, learnt)])
        # As they were judged: with anomalies put into copies of days on which the source declares none.
        unseen = validation_days(training_set.lake, later, reference["seed"]).rows
        result = explaining.report(model_registry.open(), name, reference, rows, unseen, refits=refits)
        yield dg.Output(
            {"run_id": reference["run_id"], **result.facts}, metadata={"plot": png(result.plot), **result.facts}
        )
        off = result.facts["additivity_off"]
        yield dg.AssetCheckResult(
            check_name=_ADDITIVE,
            # NaN, of minutes that all have the same sum, shows nothing either way.
            passed=not off > _MOST_OFF,
            severity=dg.AssetCheckSeverity.WARN,
            metadata={"adds_up_to": result.facts["additive_to"], "off": off, "allowed": _MOST_OFF},
        )

    return report


isolation_forest_report = _report_of(MODEL, "Isolation Forest", refits=True)
lstm_autoencoder_report = _report_of(AUTOENCODER, "LSTM autoencoder", refits=False)
anomaly_classifier_report = _report_of(CLASSIFIER, "classifier", refits=False)
ensemble_report = _report_of(ENSEMBLE, "ensemble", refits=False)
