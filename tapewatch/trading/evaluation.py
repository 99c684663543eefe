"""The strategies judged on bets that the confidence had not learnt from: walk-forward, combinatorial paths, overfitting, costs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from tapewatch.labels.training.splits import CombinatorialPurgedCV, LabelSpans, WalkForward
from tapewatch.market.tables.signals import WALK_FORWARD
from tapewatch.trading.signals.confidence import confidence
from tapewatch.trading.signals.meta_model import MetaModel
from tapewatch.trading.sizing import bet_size
from tapewatch.trading.statistics.evidence import Moments, deflated_sharpe, minimum_track_record, probabilistic_sharpe
from tapewatch.trading.statistics.overfitting import Overfitting, probability_of_overfitting
from tapewatch.trading.statistics.performance import sharpe

Floats = npt.NDArray[np.float64]
#: Fewer bets are not split.
LEAST_BETS = 60
#: Fewer hours have no ratio.
LEAST_HOURS = 10
_DAYS_A_YEAR = 252
_MULTIPLES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0)


@dataclass(frozen=True)
class Evaluation:
    """What the evaluation found.

    Attributes:
        table: WALK_FORWARD.
        curves: scheme, path, hour, net_bps: summed net results by the hour in which bets closed.
        overfitting: of choosing the best of the variants; None with fewer than two variants or too few hours.
        variants: number of variants, a strategy and kind each, that were tried.
        best: the variant with the best Sharpe ratio, empty where there is none.
        deflated_sharpe: probability that its true ratio is above what the best of so many shows by chance.
        track_record: hours of record that its ratio needs to be above 0 with 95 %; infinite where it is not above 0.
        costs: multiple of the costs, strategy, net_bps.
        note: why parts are missing; empty where none is.
    """

    table: pl.DataFrame
    curves: pl.DataFrame
    overfitting: Overfitting | None
    variants: int
    best: str
    deflated_sharpe: float | None
    track_record: float | None
    costs: pl.DataFrame
    note: str = ""


def evaluate(outcomes: pl.DataFrame, *, test_blocks: int = 4, groups: int = 6, test_groups: int = 2) -> Evaluation:
    """Judge the strategies.

    Each split learns confidences from its training bets, purged by the times at which labels were known, and sizes the test bets
    by them. A bet's result is its size times its net return.

    Args:
        outcomes: OUTCOMES of several days.
        test_blocks: of the walk-forward; one more trains alone.
        groups, test_groups: of the combinatorial splits.
    """
    bets = outcomes.sort(
        "event_time",
        pl.col("symbol").cast(pl.String),
        pl.col("strategy").cast(pl.String),
        pl.col("partner").cast(pl.String),
    )
    hours = _hours(bets)
    schemes: list[tuple[str, int, pl.DataFrame]] = (
        [("unit", 0, bets.with_columns(taken=pl.lit(1.0)))] if bets.height else []
    )
    note = ""
    if bets.height >= LEAST_BETS:
        schemes += _walked(bets, test_blocks)
        schemes += _combined(bets, groups, test_groups)
    else:
        note = f"{bets.height} bets are too few to split: {LEAST_BETS} are needed"
    by_variant = _by_variant(bets, hours)
    found, best, deflated, record = _chosen(by_variant)
    return Evaluation(
        table=WALK_FORWARD.conform(
            pl.DataFrame([row for scheme in schemes for row in _rows(*scheme, hours)], schema=WALK_FORWARD.schema)
        ),
        curves=pl.concat([_curve(name, path, frame, hours) for name, path, frame in schemes])
        if schemes
        else _no_curve(),
        overfitting=found,
        variants=len(by_variant),
        best=best,
        deflated_sharpe=deflated,
        track_record=record,
        costs=cost_sensitivity(bets),
        note=note,
    )


def sized_by(history: pl.DataFrame, bets: pl.DataFrame) -> Floats:
    """The sizes from 0 to 1 that confidences from `history` give to the bets, before rounding."""
    rate, model = confidence(bets, history)["confidence"], MetaModel.fit(history)
    chance = (rate if model is None else model.confidence(bets, "event_time").fill_null(rate)).to_numpy()
    cost, target = bets["cost_bps"].to_numpy(), bets["target_bps"].to_numpy()
    return bet_size(chance, 1.0, break_even=0.5 + cost / (2.0 * target))


def cost_sensitivity(outcomes: pl.DataFrame, multiples: Sequence[float] = _MULTIPLES) -> pl.DataFrame:
    """multiple, strategy, mean_net_bps: the mean net return of a unit bet if costs were so many times as high."""
    by_strategy = (
        outcomes.group_by(pl.col("strategy").cast(pl.String))
        .agg(pl.col("gross_bps", "cost_bps").mean())
        .sort("strategy")
    )
    return by_strategy.join(
        pl.DataFrame({"multiple": list(multiples)}, schema={"multiple": pl.Float64}), how="cross"
    ).select("multiple", "strategy", mean_net_bps=pl.col("gross_bps") - pl.col("multiple") * pl.col("cost_bps"))


def _walked(bets: pl.DataFrame, blocks: int) -> list[tuple[str, int, pl.DataFrame]]:
    sizes = np.full(bets.height, np.nan)
    for train, test in WalkForward(LabelSpans.of(bets), blocks).split(bets):
        sizes[test] = sized_by(bets[train], bets[test])
    tested = bets.with_columns(taken=pl.Series(sizes)).filter(pl.col("taken").is_not_nan())
    return [("walk_forward", 0, tested)]


def _combined(bets: pl.DataFrame, groups: int, test_groups: int) -> Iterable[tuple[str, int, pl.DataFrame]]:
    splitter = CombinatorialPurgedCV(LabelSpans.of(bets), groups, test_groups)
    sizes = [sized_by(bets[train], bets[test]) for train, test in splitter.split(bets)]
    return [
        ("cpcv", path, bets.with_columns(taken=pl.Series(row))) for path, row in enumerate(splitter.reconstruct(sizes))
    ]


def _hours(bets: pl.DataFrame) -> pl.Series:
    """The hours in which any bet closed, ascending."""
    return bets["known_time"].dt.truncate("1h").unique().sort()


def _by_hour(bets: pl.DataFrame, value: pl.Expr, hours: pl.Series) -> Floats:
    """Sums by the hour of closing, 0 where nothing closed."""
    sums = bets.group_by(hour=pl.col("known_time").dt.truncate("1h")).agg(value=value.sum())
    joined = hours.to_frame("hour").join(sums, on="hour", how="left", maintain_order="left")
    return joined["value"].fill_null(0.0).to_numpy().astype(np.float64)


def _rows(scheme: str, path: int, bets: pl.DataFrame, hours: pl.Series) -> Iterable[dict[str, object]]:
    names = sorted(bets["strategy"].cast(pl.String).unique())
    tested = hours.filter(hours >= bets["event_time"].dt.truncate("1h").min())
    days = max(tested.dt.date().n_unique(), 1)
    for name in (*names, "all"):
        own = bets if name == "all" else bets.filter(pl.col("strategy").cast(pl.String) == name)
        taken = own.filter(pl.col("taken") > 0)
        net = pl.col("taken") * pl.col("net_bps")
        series = _by_hour(own, net, tested)
        weight = float(taken["taken"].sum())
        is_moving = len(series) >= LEAST_HOURS and float(np.ptp(series)) > 0
        yield {
            "scheme": scheme,
            "path": path,
            "strategy": name,
            "bets": own.height,
            "taken": taken.height,
            "hit_rate": _number(taken["label"].mean()),
            "gross_bps": float(own.select((pl.col("taken") * pl.col("gross_bps")).sum()).item()),
            "net_bps": float(series.sum()),
            "mean_net_bps": float(series.sum()) / weight if weight > 0 else None,
            "sharpe": sharpe(series, len(tested) / days * _DAYS_A_YEAR) if is_moving else None,
            "psr": probabilistic_sharpe(Moments.of(series)) if is_moving else None,
            "max_drawdown_bps": _deepest(series),
        }


def _curve(scheme: str, path: int, bets: pl.DataFrame, hours: pl.Series) -> pl.DataFrame:
    net = _by_hour(bets, pl.col("taken") * pl.col("net_bps"), hours)
    return _no_curve().vstack(
        pl.DataFrame(
            {"scheme": [scheme] * len(hours), "path": [path] * len(hours), "hour": hours, "net_bps": net}
        ).cast(_no_curve().schema)
    )


def _no_curve() -> pl.DataFrame:
    return pl.DataFrame(
        schema={"scheme": pl.String(), "path": pl.Int64(), "hour": pl.Datetime("ns", "UTC"), "net_bps": pl.Float64()}
    )


def _by_variant(bets: pl.DataFrame, hours: pl.Series) -> dict[str, Floats]:
    """The hourly net results of unit bets of each strategy and kind that were made in at least `LEAST_HOURS` hours."""
    found = {}
    for (strategy, kind), own in bets.partition_by("strategy", "kind", as_dict=True).items():
        if own["known_time"].dt.truncate("1h").n_unique() >= LEAST_HOURS:
            name = str(strategy) if str(kind) == str(strategy) else f"{strategy} of {kind}"
            found[name] = _by_hour(own, pl.col("net_bps"), hours)
    return dict(sorted(found.items()))


def _chosen(by_variant: dict[str, Floats]) -> tuple[Overfitting | None, str, float | None, float | None]:
    """Overfitting of the choice of the best variant, its name, deflated Sharpe ratio and minimum track record."""
    if not by_variant:
        return None, "", None, None
    moments = {name: Moments.of(series) for name, series in by_variant.items()}
    best = max(moments, key=lambda name: moments[name].sharpe)
    variance = float(np.var([each.sharpe for each in moments.values()], ddof=1)) if len(moments) > 1 else 0.0
    hours = len(next(iter(by_variant.values())))
    blocks = min(10, hours // 4 * 2)
    overfitting = (
        probability_of_overfitting(np.column_stack(list(by_variant.values())), blocks)
        if len(by_variant) > 1 and blocks >= 4
        else None
    )
    return (
        overfitting,
        best,
        deflated_sharpe(moments[best], variance, len(moments)),
        minimum_track_record(moments[best]),
    )


def _deepest(series: Floats) -> float:
    """Deepest fall of the running sum from its highest so far, which is at least 0."""
    total = np.concatenate([[0.0], np.cumsum(series)])
    return float((np.maximum.accumulate(total) - total).max())


def _number(value: object) -> float | None:
    return None if value is None else float(value)  # type: ignore[arg-type]
