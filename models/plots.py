"""Plots of a detector and its evaluation, as PNG bytes."""

from io import BytesIO

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from sklearn.metrics import precision_recall_curve

from models.base import Scores
from models.evaluation import Evaluation

_DETECTOR, _RULE, _TRUTH = "#2f6f9f", "#b0b0b0", "#c8553d"
_FEATURES_SHOWN = 15


def score_distribution(scores: Scores, threshold: float) -> bytes:
    """Histogram of scores (log counts) with the threshold."""
    figure, axes = _figure("Scores", "score", "minutes")
    axes.hist(scores, bins=80, color=_DETECTOR, log=True)
    axes.axvline(threshold, color=_TRUTH, label=f"threshold {threshold:.3f}")
    axes.legend(frameon=False)
    return _png(figure)


def precision_recall(evaluation: Evaluation) -> bytes:
    """Precision against recall in minutes, of detector and rule, with their operating points."""
    figure, axes = _figure("Precision and recall, minutes", "recall", "precision")
    truth = evaluation.minutes["is_anomaly"].to_numpy()
    for column, prefix, label, colour in (
        ("score", "", "detector", _DETECTOR),
        ("rule_score", "rule_", "volume over 3x its mean", _RULE),
    ):
        precision, recall, _ = precision_recall_curve(truth, evaluation.minutes[column].to_numpy())
        average = evaluation.metrics[f"{prefix}average_precision"]
        axes.step(recall, precision, where="post", color=colour, label=f"{label} (AP {average:.2f})")
        axes.plot(evaluation.metrics[f"{prefix}recall"], evaluation.metrics[f"{prefix}precision"], "o", color=colour)
    axes.set_ylim(0, 1.02)
    _legend_beside(axes)
    return _png(figure)


def scan_recall_by_kind(by_kind: pl.DataFrame) -> bytes:
    """Share of anomalies found by kind (a SCAN_EVALUATION frame), with its 95 % interval."""
    judged = by_kind.filter(pl.col("recall").is_not_null())
    figure, axes = _figure("Anomalies found by the scan, by kind", "recall and its 95 % interval", "")
    places, recall = np.arange(judged.height), judged["recall"].to_numpy()
    reach = [
        np.maximum(recall - judged["recall_low"].to_numpy(), 0),
        np.maximum(judged["recall_high"].to_numpy() - recall, 0),
    ]
    axes.barh(places, recall, 0.6, color=_DETECTOR, xerr=reach, ecolor=_RULE)
    labels = [f"{kind} ({events})" for kind, events in judged.select("kind", "events").iter_rows()]
    axes.set_yticks(places, labels)
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    return _png(figure)


def recall_by_kind(by_kind: pl.DataFrame) -> bytes:
    """Share of anomalies found by kind (an EVALUATION frame), of the detector and of the rule with as many alerts."""
    figure, axes = _figure("Anomalies found, by kind", "recall", "")
    places = np.arange(by_kind.height)
    axes.barh(places - 0.2, by_kind["recall"], 0.4, color=_DETECTOR, label="detector")
    axes.barh(places + 0.2, by_kind["rule_recall"], 0.4, color=_RULE, label="rule, as many alerts")
    labels = [f"{kind} ({events})" for kind, events in by_kind.select("kind", "events").iter_rows()]
    axes.set_yticks(places, labels)
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    _legend_beside(axes)
    return _png(figure)


def beeswarm(attributions: pl.DataFrame, *, seed: int = 0) -> bytes:
    """SHAP values of each feature, one dot a minute, coloured by the rank of the feature's value.

    Args:
        attributions: an ATTRIBUTIONS frame; features are ordered by mean absolute SHAP value, the strongest on top.
        seed: of the vertical jitter.
    """
    figure, axes = _figure("What makes minutes anomalous", "SHAP value (right: more anomalous)", "")
    weights = attributions.group_by(pl.col("feature").cast(pl.String)).agg(weight=pl.col("shap_value").abs().mean())
    strongest = weights.sort("weight", "feature", descending=[True, False])
    features = strongest["feature"].head(_FEATURES_SHOWN).to_list()
    rng = np.random.default_rng(seed)
    for place, feature in enumerate(features):
        rows = attributions.filter(pl.col("feature").cast(pl.String) == feature)
        rank = rows["value"].rank("average").fill_null(0.0).to_numpy() / max(rows.height, 1)
        jitter = rng.uniform(-0.3, 0.3, rows.height)
        axes.scatter(rows["shap_value"], place + jitter, c=rank, cmap="coolwarm", vmin=0, vmax=1, s=8, linewidths=0)
    axes.axvline(0, color=_RULE, linewidth=0.8)
    axes.set_yticks(np.arange(len(features)), features)
    axes.invert_yaxis()
    return _png(figure)


def _legend_beside(axes: Axes) -> None:
    """A legend to the right of the axes, where it covers no bar and no curve."""
    axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _figure(title: str, x_label: str, y_label: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(8, 4.5), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    axes.set(title=title, xlabel=x_label, ylabel=y_label)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _png(figure: Figure) -> bytes:
    buffer = BytesIO()
    # An explicit canvas needs no display and no global state of pyplot.
    FigureCanvasAgg(figure)
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
