"""The tear sheet of the strategies as a self-contained page: results after costs, where they come from, and how sure they are."""

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
import polars as pl

from tapewatch.reports.pages import figure_html, number, render_page
from tapewatch.trading import tear_charts
from tapewatch.trading.evaluation import Evaluation
from tapewatch.trading.feedback import losing, performance_by
from tapewatch.trading.record import AccountRecord


def render_tear_sheet(
    bets: pl.DataFrame,
    result: Evaluation,
    records: Sequence[AccountRecord] = (),
    capacities: pl.DataFrame | None = None,
    *,
    title: str = "Strategies on all backtested days",
) -> str:
    """The page.

    Args:
        bets: OUTCOMES.
        result: their evaluation.
        records: accounts that traded them.
        capacities: of the strategies.
    """
    return render_page(
        "tear_sheet.html.j2",
        title,
        subtitle=_subtitle(bets),
        tiles=_tiles(bets, result),
        has_bets=bets.height > 0,
        verdict=verdict(result),
        note=result.note,
        sections=[*_sections(bets, result), *_accounts(records, capacities), _losers(bets)] if bets.height else [],
    )


def verdict(result: Evaluation) -> str:
    """What the evaluation says, in a sentence or two, without praise where there is none."""
    rows = {
        (str(row["scheme"]), int(row["path"])): row
        for row in result.table.filter(pl.col("strategy").cast(pl.String) == "all").to_dicts()
    }
    unit, walked = rows.get(("unit", 0)), rows.get(("walk_forward", 0))
    if unit is None:
        return ""
    texts = [f"Every signal at one unit {_gained(unit['net_bps'])} after costs ({unit['gross_bps']:+,.0f} bps before)."]
    if walked is not None:
        texts.append(
            f"With confidences from earlier bets alone, {walked['taken']:,} of {walked['bets']:,} bets were taken and "
            f"{_gained(walked['net_bps'])}, sizes counted."
        )
    if result.deflated_sharpe is not None:
        texts.append(
            f"The best of {result.variants} variants, {result.best.replace('_', ' ')}, is better than luck with a probability of "
            f"{result.deflated_sharpe:.0%} (deflated Sharpe ratio)."
        )
    if result.overfitting is not None:
        texts.append(
            f"Choosing the best one is overfitting with a probability of {result.overfitting.probability:.0%}."
        )
    return " ".join(texts)


def _gained(bps: float) -> str:
    return f"{'made' if bps >= 0 else 'lost'} {abs(bps):,.0f} bps"


def _subtitle(bets: pl.DataFrame) -> str:
    if bets.is_empty():
        return ""
    first, last = bets.select(first=pl.col("event_time").min(), last=pl.col("known_time").max()).row(0)
    symbols = bets["symbol"].n_unique()
    return f"{bets.height:,} bets in {symbols} symbols, {first:%Y-%m-%d} to {last:%Y-%m-%d}; simulated, after spread, fees and impact"


def _tiles(bets: pl.DataFrame, result: Evaluation) -> list[tuple[str, str]]:
    rows = result.table.filter((pl.col("strategy").cast(pl.String) == "all") & (pl.col("path") == 0))
    tiles = [("bets", f"{bets.height:,}")]
    for scheme, name in (("unit", "all at one unit"), ("walk_forward", "walk-forward")):
        for row in rows.filter(pl.col("scheme").cast(pl.String) == scheme).to_dicts():
            tiles.append((f"net, {name}", f"{row['net_bps']:+,.0f} bps"))
            if row["sharpe"] is not None:
                tiles.append((f"Sharpe, {name}", f"{row['sharpe']:.1f}"))
    if bets.height:
        tiles.append(("hit rate, all", f"{(bets['label'] == 1).sum() / bets.height:.0%}"))
    if result.track_record is not None:
        hours = result.track_record
        tiles.append(("record needed", "never enough" if hours == float("inf") else f"{hours:,.0f} h"))
    return tiles


def _sections(bets: pl.DataFrame, result: Evaluation) -> list[dict[str, Any]]:
    by_kind = performance_by(bets, "kind", "regime")
    sections = [
        _section(
            "Results",
            "Unit bets, as they closed. The dotted line leaves costs out.",
            {"Summed result": tear_charts.results(bets), "Drawdown": tear_charts.drawdowns(result.curves)},
            performance_by(bets, "strategy"),
        ),
        _section(
            "By kind and regime",
            "The kind as far as it was known when the bet was decided, in the regime of that minute.",
            {"Mean net result": tear_charts.by_kind_and_regime(by_kind)},
        ),
        _section(
            "Costs",
            "How results would change with costs. Where a line crosses zero, the edge is gone.",
            {"Mean net result": tear_charts.cost_lines(result.costs)},
        ),
    ]
    split = result.table.filter(pl.col("scheme").cast(pl.String) != "unit")
    if split.height:
        out_of_sample = {"Out of sample": tear_charts.paths(result.curves)}
        if result.overfitting is not None:
            out_of_sample["Overfitting"] = tear_charts.logits(result.overfitting.logits)
        sections.append(
            _section(
                "Out of sample",
                "Sizes by confidences from other bets than those tested, purged by the times at which labels were known. Sharpe ratios "
                "are those of hours, for a year of 252 days, and say little of so few of them.",
                out_of_sample,
                split.filter(pl.col("strategy").cast(pl.String) == "all").drop("strategy"),
            )
        )
    return sections


def _accounts(records: Sequence[AccountRecord], capacities: pl.DataFrame | None) -> list[dict[str, Any]]:
    if not records:
        return []
    facts = pl.DataFrame([{"account": record.name, **record.facts} for record in records])
    sections = [
        _section(
            "Accounts",
            "The same bets as market orders of an account that starts each day with the same cash, filled by the engine at the bars after "
            "them. An account closes a bet at the bar after the barrier, so that gains and losses go beyond it.",
            {"Profit over the cash": tear_charts.accounts(records)},
            facts,
        )
    ]
    if capacities is not None and capacities.height:
        text = "The notional of a bet at which its own impact would eat the mean gross result; 0 where the spread and the fees do."
        sections.append(_section("Capacity", text, {}, capacities))
    return sections


def _losers(bets: pl.DataFrame) -> dict[str, Any]:
    lost = pl.concat([losing(bets, by).rename({by: "group"}) for by in ("detector", "kind")])
    text = (
        "Detectors and kinds whose alerts lose with 95 % confidence. A bet that follows two detectors counts for each."
        if lost.height
        else "No detector or kind is shown to lose: either it does not, or there are too few bets to tell."
    )
    return _section("Whose alerts lose", text, {}, lost)


def _section(title: str, text: str, charts: dict[str, go.Figure], rows: pl.DataFrame | None = None) -> dict[str, Any]:
    shown = pl.DataFrame() if rows is None else rows
    return {
        "title": title,
        "text": text,
        "charts": [{"title": name, "html": figure_html(figure)} for name, figure in charts.items()],
        "columns": shown.columns,
        "numeric": [name for name, dtype in shown.schema.items() if dtype.is_numeric()],
        "rows": [{name: _cell(value) for name, value in row.items()} for row in shown.to_dicts()],
    }


def _cell(value: object) -> str:
    if value is None or value != value:  # noqa: PLR0124 - NaN
        return ""
    return number(value) if isinstance(value, int | float) else str(value).replace("_", " ")
