"""How far annotators agree beyond chance."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from tapewatch.market.instruments import NS_PER_MINUTE

#: What an author says of a minute that none of their labels covers.
NORMAL = "normal"


def cohen_kappa(first: Sequence[object], second: Sequence[object]) -> float | None:
    """Cohen's kappa of two annotators' verdicts on the same units (Cohen 1960).

    Returns:
        1 for full agreement, 0 for that of chance; None where both always say the same one thing, which shows nothing.

    Raises:
        ValueError: they judged different numbers of units, or none.
    """
    if len(first) != len(second) or not len(first):
        raise ValueError(f"kappa needs the same units judged twice: got {len(first)} and {len(second)} verdicts")
    classes = {verdict: i for i, verdict in enumerate(dict.fromkeys((*first, *second)))}
    table = np.zeros((len(classes), len(classes)))
    np.add.at(table, ([classes[v] for v in first], [classes[v] for v in second]), 1.0)
    table /= table.sum()
    expected = float(table.sum(axis=0) @ table.sum(axis=1))
    if np.isclose(expected, 1.0):
        return None
    return (float(np.trace(table)) - expected) / (1.0 - expected)


def krippendorff_alpha(
    verdicts: Sequence[Sequence[object | None]], distance: Callable[[object, object], float] | None = None
) -> float | None:
    """Krippendorff's alpha of any number of annotators, some of whom may have skipped units (Krippendorff 2011).

    Args:
        verdicts: one sequence an annotator, one verdict a unit; None where the annotator gave none. Units with fewer than two
            verdicts are not counted.
        distance: squared difference of two verdicts; by default 0 where they are equal, else 1 (nominal data).

    Returns:
        1 for full agreement, 0 for that of chance, below 0 for less; None where there is no variety or no unit judged twice.

    Raises:
        ValueError: annotators judged different numbers of units.
    """
    if len({len(row) for row in verdicts}) > 1:
        raise ValueError("alpha needs one verdict, or None, of every annotator for every unit")
    classes = list(dict.fromkeys(v for row in verdicts for v in row if v is not None))
    number = {verdict: i for i, verdict in enumerate(classes)}
    coincidences = np.zeros((len(classes), len(classes)))
    for unit in zip(*verdicts, strict=True):
        counts = np.zeros(len(classes))
        for verdict in unit:
            if verdict is not None:
                counts[number[verdict]] += 1
        if counts.sum() >= 2:
            coincidences += (np.outer(counts, counts) - np.diag(counts)) / (counts.sum() - 1)
    of_class = coincidences.sum(axis=0)
    distances = _distances(classes, distance)
    total = of_class.sum()
    expected = float((np.outer(of_class, of_class) * distances).sum()) / (total - 1) if total > 1 else 0.0
    return 1.0 - float((coincidences * distances).sum()) / expected if expected > 0 else None


def _distances(
    classes: Sequence[object], distance: Callable[[object, object], float] | None
) -> npt.NDArray[np.float64]:
    if distance is None:
        return 1.0 - np.eye(len(classes))
    return np.array([[distance(a, b) for b in classes] for a in classes], dtype=np.float64)


def minute_verdicts(
    labels: pl.DataFrame, bounds: Mapping[tuple[str, str], tuple[int, int]]
) -> dict[str, list[str | None]]:
    """What each author says of each minute of the days that they judged.

    An author judges a symbol's day by labelling anything in it, be it one stretch as `normal`. Minutes that none of an
    author's labels covers are then `normal`; days that an author left alone are None.

    Args:
        labels: author, symbol, date (text), kind, start_time, end_time.
        bounds: first and last ns (excluded) of each symbol's day (text) that was judged.

    Returns:
        One list an author, all equally long.
    """
    verdicts: dict[str, list[str | None]] = {str(author): [] for author in labels["author"].unique().sort()}
    for (symbol, date), (first, last) in sorted(bounds.items()):
        minutes = np.arange(first, last, NS_PER_MINUTE)
        own = labels.filter(pl.col("symbol").cast(pl.String) == symbol, pl.col("date").cast(pl.String) == date)
        for author, said in verdicts.items():
            mine = own.filter(pl.col("author").cast(pl.String) == author)
            day: list[str | None] = [None if mine.is_empty() else NORMAL] * minutes.size
            for row in mine.select("kind", pl.col("start_time", "end_time").to_physical()).iter_rows(named=True):
                covered = (minutes + NS_PER_MINUTE > row["start_time"]) & (minutes < row["end_time"])
                for i in np.flatnonzero(covered):
                    day[i] = str(row["kind"])
            said.extend(day)
    return verdicts
