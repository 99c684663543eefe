"""Labelled minutes for the classifier: rows with a `kind`, `normal` or that of an anomaly, and a `weight`."""

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
import polars as pl

from tapewatch.features.microstructure import microstructure
from tapewatch.labels.injection.realisations import REALISATIONS
from tapewatch.labels.injection.strengths import Nature, inject_at_strengths
from tapewatch.labels.kinds import NORMAL
from tapewatch.market.instruments import Session
from tapewatch.market.tables.tape import MICROSTRUCTURE

#: Realisations of each kind that train; the last, in bursts, is left for tests.
TRAINING_REALISATIONS: Final = (0, 1)
#: Kinds that are injected for training: a correlation break shows in no minute of a single symbol, and would teach noise.
LEARNT: Final = tuple(kind for kind in REALISATIONS if kind != "correlation_break")
#: What a person's label weighs beside an injected minute, and a weak label of which the sources are certain.
_HUMAN, _WEAK = 2.0, 0.3
#: A minute after which the price ran to a barrier may be the start of something, and is half as ordinary.
_BARRIER = 0.5
#: An anomaly's minute holds at least so much of it, in seconds, unless the anomaly is shorter.
_LEAST_S = 20.0
_MINUTE_S = 60.0
#: So long after an anomaly its trace in the features is labelled as ordinary.
_REMEMBERED = pl.duration(minutes=10)

Day = tuple[pl.DataFrame, pl.DataFrame | None, Session]


def ordinary(rows: pl.DataFrame) -> pl.DataFrame:
    """Minutes of a training set as `normal`, those left out that the source declares anomalous.

    Minutes that end in an event whose outcome was a barrier weigh half.
    """
    declared = pl.col("is_anomaly").fill_null(value=False) if "is_anomaly" in rows.columns else pl.lit(value=False)
    ran = pl.col("barrier_label").fill_null(0) != 0 if "barrier_label" in rows.columns else pl.lit(value=False)
    weight = pl.when(ran).then(_BARRIER).otherwise(1.0)
    return rows.filter(~declared).with_columns(kind=pl.lit(NORMAL), weight=weight)


def injected(days: Iterable[Day], *, seed: int, per_symbol: int = 12, kinds: Sequence[str] = LEARNT) -> pl.DataFrame:
    """The anomalous minutes of copies of one market's days, into which anomalies of ten kinds were put.

    Args:
        days: TRADES, QUOTES (or None) and session of each.
        seed: of the random choices.
        per_symbol: anomalies wanted in each symbol and day.
        kinds: of the anomalies.

    Returns:
        MICROSTRUCTURE rows with kind and weight; none where nothing fits. An anomalous minute weighs what is anomalous of it, in
        such a unit that every kind weighs the same. The ten minutes after an anomaly are among them as `normal`.
    """
    tapes = list(days)
    found = [marked(MICROSTRUCTURE.empty(), _NO_EVENTS)]
    nature = Nature.of(tapes)
    for trades, quotes, session in tapes:
        made = inject_at_strengths(
            trades,
            quotes,
            session,
            nature,
            seed=seed,
            per_symbol=per_symbol,
            kinds=kinds,
            realisations=TRAINING_REALISATIONS,
        )
        minutes = microstructure(made.trades, made.quotes, session).filter("is_regular")
        anomalous = marked(minutes, made.events)
        found += [anomalous, _aftermath(minutes, made.events, anomalous)]
    return _evenly(pl.concat(found))


def _evenly(rows: pl.DataFrame) -> pl.DataFrame:
    """Anomalous rows with weights of the same sum for each kind, of mean 1: a kind that lasts long would rule otherwise."""
    anomalous = rows.filter(pl.col("kind") != NORMAL)
    share = pl.col("weight") / pl.col("weight").sum().over("kind")
    mean = anomalous.height / max(anomalous["kind"].n_unique(), 1)
    return rows.with_columns(weight=pl.when(pl.col("kind") != NORMAL).then(share * mean).otherwise("weight"))


def _aftermath(rows: pl.DataFrame, events: pl.DataFrame, anomalous: pl.DataFrame) -> pl.DataFrame:
    """The ordinary minutes within ten minutes after each event: features still remember it, and it must raise no second alert."""
    text = pl.col("symbol").cast(pl.String)
    ends = events.select(text, end_time="end_time").sort("end_time")
    late = pl.col("event_time") - pl.col("end_time")
    after = (
        rows.with_columns(text=text)
        .sort("event_time")
        .join_asof(
            ends, left_on="event_time", right_on="end_time", by_left="text", by_right="symbol", check_sortedness=False
        )
        .filter(late < _REMEMBERED)
        .select(rows.columns)
    )
    plain = after.join(anomalous.select("symbol", "event_time"), on=["symbol", "event_time"], how="anti")
    return plain.with_columns(kind=pl.lit(NORMAL), weight=pl.lit(1.0))


def marked(rows: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
    """The rows within events (symbol, kind, start_time, end_time), with the event's kind and the share of the minute that it takes."""
    text = pl.col("symbol").cast(pl.String)
    spans = events.select(text, pl.col("kind").cast(pl.String), "start_time", "end_time")
    overlap = (
        (pl.min_horizontal("known_time", "end_time") - pl.max_horizontal("event_time", "start_time"))
        .dt.total_milliseconds()
        / 1e3
    )  # fmt: skip
    length = (pl.col("end_time") - pl.col("start_time")).dt.total_milliseconds() / 1e3
    numbered = rows.with_row_index("row")
    held = (
        numbered.select("row", text, "event_time", "known_time")
        .join(spans, on="symbol")
        .with_columns(overlap=overlap, length=length)
        .filter(pl.col("overlap") >= pl.min_horizontal(pl.lit(_LEAST_S), "length"), pl.col("overlap") > 0)
        .sort("row", "overlap", descending=[False, True])
        .unique("row", keep="first", maintain_order=True)
        .select("row", "kind", weight=(pl.col("overlap") / _MINUTE_S).clip(0.0, 1.0))
    )
    return numbered.join(held, on="row", maintain_order="left").drop("row")


def by_people(rows: pl.DataFrame, labels: pl.DataFrame) -> pl.DataFrame:
    """The rows of the original days that HUMAN_LABELS cover, `normal` ones among them; weighed by the author's confidence."""
    spans = labels.with_columns(
        start_time=pl.coalesce("refined_start", "start_time"), end_time=pl.coalesce("refined_end", "end_time")
    )
    found = [marked(rows, spans.clear()).with_columns(weight=pl.lit(0.0))]
    for confidence, own in spans.group_by("confidence"):
        found.append(marked(rows, own).with_columns(weight=pl.col("weight") * _HUMAN * float(str(confidence[0]))))
    return pl.concat(found).filter(pl.col("weight") > 0)


def by_votes(rows: pl.DataFrame, weak: pl.DataFrame) -> pl.DataFrame:
    """The rows with a WEAK_LABELS row: anomalous of an unknown kind, or `normal`; weighed by how far from even the votes are."""
    probability = pl.col("probability")
    votes = weak.select(
        pl.col("symbol").cast(pl.String),
        "event_time",
        kind=pl.when(probability >= 0.5).then(pl.lit(UNKNOWN)).otherwise(pl.lit(NORMAL)),
        weight=(2 * probability - 1).abs() * _WEAK,
    )
    both = rows.with_columns(text=pl.col("symbol").cast(pl.String)).join(
        votes, left_on=["text", "event_time"], right_on=["symbol", "event_time"], maintain_order="left"
    )
    return both.drop("text").filter(pl.col("weight") > 0)


#: The kind of an anomaly of which nobody said what it is.
UNKNOWN: Final = "unusual"
_NO_EVENTS = pl.DataFrame(
    schema={
        "symbol": pl.String(),
        "kind": pl.String(),
        "start_time": MICROSTRUCTURE.schema["event_time"],
        "end_time": MICROSTRUCTURE.schema["event_time"],
    }
)


def is_anomalous(kinds: pl.Series) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Whether each kind is that of an anomaly."""
    return np.asarray((kinds.cast(pl.String) != NORMAL).to_numpy(), dtype=np.bool_)
