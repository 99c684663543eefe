"""Where people's labels of the same stretch differ, and which labels count once somebody decided."""

import datetime as dt
import json
from collections.abc import Iterable, Iterator, Sequence

import polars as pl

from tapewatch.labels.people.human import HumanLabel

Group = tuple[HumanLabel, ...]


def disagreements(labels: Iterable[HumanLabel], adjudications: pl.DataFrame) -> list[Group]:
    """Labels of one symbol that overlap, directly or by others, and give several authors' different kinds; oldest first.

    Groups that were decided as they stand are left out; one of whose labels was added or changed since is open again.

    Args:
        labels: any number of them.
        adjudications: rows of `ADJUDICATIONS`.
    """
    decided = [_judged(text) for text in adjudications["judged"]]
    open_ones = []
    for group in _overlapping(labels):
        said = {(label.author, label.kind) for label in group}
        differ = any(a != b and kind != other for a, kind in said for b, other in said)
        if differ and not any({_verdict(label) for label in group} <= verdicts for verdicts in decided):
            open_ones.append(group)
    return open_ones


def settled(labels: pl.DataFrame, adjudications: pl.DataFrame) -> pl.DataFrame:
    """The labels that count: those about which somebody decided give way to the decision, with confidence 1.

    Args:
        labels: rows of `LABELS`.
        adjudications: rows of `ADJUDICATIONS`. Of decisions about the same labels the newest counts.

    Returns: the columns of `labels`; a decision's author is who decided.
    """
    gone: set[tuple[str, str]] = set()
    kept = []
    for row in adjudications.sort("created_time", descending=True).iter_rows(named=True):
        verdicts = _judged(row["judged"])
        if not verdicts <= gone:
            kept.append(row["adjudication_id"])
        gone |= verdicts
    decisions = adjudications.filter(pl.col("adjudication_id").is_in(kept)).with_columns(
        label_id="adjudication_id", confidence=pl.lit(1.0)
    )
    named = pl.Series([verdict in gone for verdict in labels.select("label_id", "kind").iter_rows()], dtype=pl.Boolean)
    return pl.concat([labels.filter(~named), decisions.select(labels.columns).cast(labels.schema)])


def judged_text(group: Sequence[HumanLabel]) -> str:
    """What a decision keeps of the labels that it is about, as JSON."""
    return json.dumps(
        [
            {
                "label_id": label.label_id, "author": label.author, "kind": label.kind, "confidence": label.confidence,
                "start": _text(label.start), "end": _text(label.end), "note": label.note,
            }
            for label in group
        ]
    )  # fmt: skip


def _overlapping(labels: Iterable[HumanLabel]) -> Iterator[Group]:
    """Labels of one symbol that hang together in time."""
    group: list[HumanLabel] = []
    for label in sorted(labels, key=lambda each: (each.market, each.symbol, each.start, each.end, each.author)):
        is_same = group and (label.market, label.symbol) == (group[0].market, group[0].symbol)
        if group and not (is_same and label.start < max(each.end for each in group)):
            yield tuple(group)
            group = []
        group.append(label)
    if group:
        yield tuple(group)


def _judged(text: str) -> set[tuple[str, str]]:
    return {(each["label_id"], each["kind"]) for each in json.loads(text)}


def _verdict(label: HumanLabel) -> tuple[str, str]:
    return label.label_id, label.kind


def _text(time: dt.datetime) -> str:
    return time.astimezone(dt.UTC).isoformat()
