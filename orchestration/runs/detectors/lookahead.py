"""Judges every computation of the platform on a day of the lake, or of the built-in market."""

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import replace

import polars as pl
from rich.console import Console
from rich.progress import track

from models.base import DetectorError
from models.scan.detector import Day, ScanDetector
from orchestration.errors import RunError
from tapewatch.bars.time_bars import minute_bars, reconcile
from tapewatch.emulator.synthetic.market import Synthetic
from tapewatch.features.bins.batch import bins_5s
from tapewatch.features.seasonality.model import SeasonalModel
from tapewatch.lookahead.catalogue import (
    CATALOGUE,
    MINUTES,
    information_bars,
    scan_incidents,
    scan_statistics,
    seasonal_minutes,
    seasonality_with,
)
from tapewatch.lookahead.checks import Verdict, judge
from tapewatch.lookahead.computation import Computation, Tape
from tapewatch.lookahead.split import judge_split
from tapewatch.market.instruments import Market, Partition, trading_days
from tapewatch.market.tables.tape import BARS, DELIVERED_BARS, QUOTES, TRADES
from tapewatch.settings import Settings
from tapewatch.store.lake.joins.lookahead import MINUTES_JOINED
from tapewatch.store.lake.lake import Lake, LakeError
from tapewatch.store.lake.tape import tape_end
from tapewatch.trading.lookahead import SIGNALS_WITHOUT_ALERTS, signals_after_scan

#: The day of the built-in market that is judged, and its share of the usual ticks.
BUILT_IN_DAY, _ACTIVITY, _SEED = dt.date(2024, 6, 5), 0.1, 7
_SYMBOLS = 3
#: Days before the judged one on which the scan is fitted.
_BEFORE = 2


def judged(
    settings: Settings,
    console: Console,
    market: Market,
    days: tuple[dt.date, dt.date] | None,
    *,
    symbols: Sequence[str] = (),
    cuts: int | None = 24,
) -> dict[str, list[Verdict]]:
    """The verdicts by day.

    Args:
        settings: name the lake.
        console: shows progress.
        market: its computations are judged.
        days: first and last day of the lake; None for a day of the built-in market.
        symbols: by default the three busiest of a day.
        cuts: how many moments of a day; None for each time at which a row became known.

    Raises:
        RunError: the built-in market is closed on its day, or has no ticks.
        LakeError: the lake holds none of these days.
    """
    lake = Lake(settings.lake_root)
    chosen = [] if days is None else [p for p in lake.partitions(TRADES, market) if days[0] <= p.date <= days[1]]
    if days is not None and not chosen:
        raise LakeError(
            f"the lake at {lake.root} holds no trades of {market} from {days[0]} to {days[1]}: run `tapewatch backfill` first"
        )
    found: dict[str, list[Verdict]] = {}
    for day in chosen or [Partition(BUILT_IN_DAY, market)]:
        tapes = _built_in(day, symbols) if days is None else _of_lake(lake, day, symbols)
        computations = list(_computations(tapes))
        shown = track(computations, description=f"Judging {day}", console=console, transient=True)
        found[str(day)] = [judge(each, _for(each, tapes[-1]), cuts=cuts) for each in shown]
    found[str(market)] = [judge_split()]
    return found


def _computations(tapes: Sequence[Tape]) -> Iterator[Computation]:
    """All that the platform computes; the scan too if there are days before to fit it on."""
    yield from (*CATALOGUE, information_bars(), MINUTES_JOINED, SIGNALS_WITHOUT_ALERTS)
    yield seasonality_with(SeasonalModel.fit([seasonal_minutes(_for(MINUTES, tape)).lazy() for tape in tapes[:-1]]))
    if len(tapes) > _BEFORE:
        try:
            fitted = ScanDetector.fit(
                [Day(tape.session, bins_5s(tape[TRADES], tape[QUOTES], tape.session)) for tape in tapes[:-1]]
            )
        except DetectorError:
            return
        yield from (scan_statistics(fitted), scan_incidents(fitted), signals_after_scan(fitted))


def _for(computation: Computation, tape: Tape) -> Tape:
    """The tape with empty tables where it has none."""
    frames = {each.table.name: tape.frames.get(each.table.name, each.table.empty()) for each in computation.inputs}
    return replace(tape, frames=frames)


def _built_in(day: Partition, symbols: Sequence[str]) -> list[Tape]:
    """The day, and the two before it."""
    market = Synthetic(_SEED, activity=_ACTIVITY)
    names = sorted(symbols or market.symbols(day.market)[:_SYMBOLS])
    dates = trading_days(day.market, day.date - dt.timedelta(days=7), day.date)[-1 - _BEFORE :]
    if not dates or dates[-1] != day.date:
        raise RunError(f"the built-in market of {day.market} is closed on {day.date}: choose another market")
    tapes = []
    for date in dates:
        made = [market.day(symbol, date) for symbol in names]
        trades, quotes = (pl.concat([getattr(each, name) for each in made]) for name in ("trades", "quotes"))
        if not trades.height and not quotes.height:
            raise RunError(f"the built-in market has no ticks of {', '.join(names)}: see `tapewatch emulate --help`")
        session = Partition(date, day.market).session
        bars = reconcile(minute_bars(trades, session), DELIVERED_BARS.empty())
        frames = {TRADES.name: trades, QUOTES.name: quotes, BARS.name: bars}
        tapes.append(Tape(session, frames, tuple(names), session.day_end))
    return tapes


def _of_lake(lake: Lake, day: Partition, symbols: Sequence[str]) -> list[Tape]:
    """The day, and the two before it that the lake holds; of the same symbols."""
    counts = lake.symbols(TRADES, day) or {}
    names = sorted(symbols or sorted(counts, key=lambda name: -counts[name])[:_SYMBOLS])
    before = [each for each in lake.partitions(TRADES, day.market) if each.date < day.date][-_BEFORE:]
    tapes = []
    for each in (*before, day):
        frames = {
            table.name: lake.read(table, each, symbols=names) if lake.exists(table, each) else table.empty()
            for table in (TRADES, QUOTES, BARS)
        }
        tapes.append(Tape(each.session, frames, tuple(names), tape_end(lake, each)))
    return tapes
