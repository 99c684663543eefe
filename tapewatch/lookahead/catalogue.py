"""The platform's computations, one line each. A new table of features is one more line in `CATALOGUE`."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from models.scan.detector import ScanDetector
from models.scan.incidents import TOGETHER
from models.scan.inputs import inputs_of
from models.scan.layout import KINDS, STATISTICS
from tapewatch.bars.continuous import Holding, continuous_bars
from tapewatch.bars.information.build import InformationBars
from tapewatch.bars.information.clocks import Clock, Thresholds
from tapewatch.bars.midquotes import midquote_bars
from tapewatch.bars.time_bars import minute_bars, reconcile
from tapewatch.features.bins.batch import bins_5s
from tapewatch.features.bins.records import BIN_NS
from tapewatch.features.cross_asset.correlations import LOOK_BACK as MATRIX_LOOK_BACK
from tapewatch.features.cross_asset.correlations import correlations
from tapewatch.features.cross_asset.rows import LOOK_BACK as CROSS_LOOK_BACK
from tapewatch.features.cross_asset.rows import cross_asset
from tapewatch.features.families.indicators import indicators
from tapewatch.features.families.rows import microstructure_more
from tapewatch.features.from_bars import bar_features
from tapewatch.features.microstructure import LOOK_BACK, microstructure
from tapewatch.features.regimes.hidden_markov import RegimeModel
from tapewatch.features.regimes.rows import regimes
from tapewatch.features.seasonality.measures import with_more
from tapewatch.features.seasonality.model import LOOK_BACK as SEASONAL_LOOK_BACK
from tapewatch.features.seasonality.model import SeasonalModel
from tapewatch.features.seasonality.rows import seasonality
from tapewatch.labels.barriers.barriers import triple_barrier
from tapewatch.labels.barriers.events import cusum_events
from tapewatch.labels.training.training_set import build_training_set
from tapewatch.lookahead.computation import Computation, Input, Later, Tape, ns_of
from tapewatch.market.instruments import NS_PER_MINUTE
from tapewatch.market.schema import Table
from tapewatch.market.tables.derived import BINS_5S, CONTINUOUS_BARS, INCIDENTS, INFORMATION_BARS
from tapewatch.market.tables.features import (
    CORRELATIONS,
    CROSS_ASSET,
    INDICATORS,
    MICROSTRUCTURE_MORE,
    REGIMES,
    SEASONALITY,
)
from tapewatch.market.tables.tape import (
    BARRIER_LABELS,
    BARS,
    DELIVERED_BARS,
    MICROSTRUCTURE,
    QUOTES,
    TIME,
    TRADES,
    TRAINING_SET,
)

TICKS = (Input(TRADES), Input(QUOTES))
#: A bar is known at its end, and so is what is made of it.
MINUTE_BARS = (Input(BARS, lag_ns=NS_PER_MINUTE, is_inclusive=True),)
#: A bar without a priced trade takes the last price before it.
_PRICED = 30 * NS_PER_MINUTE
_EVENTS = "the sums and the volatility since the symbol's first bar"
#: An incident may grow for so long after its last bin; until then its end, peak and kind are not final.
_GROWS_NS = (TOGETHER + 1) * BIN_NS


def name_of(table: Table, variant: str = "") -> str:
    """The name of the computation of a table, as its asset's key: `features/bins_5s`."""
    return f"{table.group}/{table.name}" + (f" ({variant})" if variant else "")


def computed(
    table: Table, inputs: tuple[Input, ...], rows: Callable[[Tape], pl.DataFrame], **declared: Any
) -> Computation:
    """The computation of a table, with its key; `declared` are other attributes of `Computation`."""
    return Computation(name_of(table), inputs, rows, **{"key": table.key, **declared})


def _microstructure(tape: Tape) -> pl.DataFrame:
    return microstructure(tape[TRADES], tape[QUOTES], tape.session, through_ns=tape.through_ns, symbols=tape.symbols)


def _bars(tape: Tape) -> pl.DataFrame:
    return reconcile(minute_bars(tape[TRADES], tape.session), DELIVERED_BARS.empty())


def _labels(tape: Tape, bars: pl.DataFrame) -> pl.DataFrame:
    return triple_barrier(bars, session=tape.session, through_ns=tape.through_ns)


def _training_set(tape: Tape) -> pl.DataFrame:
    return build_training_set(_microstructure(tape), _labels(tape, _bars(tape)), None)


def _known_at_end(bars: pl.DataFrame) -> pl.DataFrame:
    """A bar is known at its end, whatever a garbled future says."""
    return bars.with_columns(known_time=pl.col("time") + pl.duration(minutes=1))


MINUTES = computed(
    MICROSTRUCTURE, TICKS, _microstructure, warm_up_ns=(LOOK_BACK + 2) * NS_PER_MINUTE, carried=("vpin",)
)
MINUTES_OF_BARS = Computation(
    name_of(MICROSTRUCTURE, "from bars"),
    MINUTE_BARS,
    lambda tape: bar_features(tape[BARS], tape.session, through_ns=tape.through_ns, symbols=tape.symbols),
    warm_up_ns=(LOOK_BACK + 2) * NS_PER_MINUTE,
)
BINS = computed(
    BINS_5S,
    TICKS,
    lambda tape: bins_5s(tape[TRADES], tape[QUOTES], tape.session, symbols=tape.symbols),
    warm_up_ns=5 * NS_PER_MINUTE,
)
MORE = computed(
    MICROSTRUCTURE_MORE,
    TICKS,
    lambda tape: microstructure_more(
        tape[TRADES], tape[QUOTES], tape.session, through_ns=tape.through_ns, symbols=tape.symbols
    ),
    carries="windows of up to 75 minutes and exponential means",
)
INDICATORS_OF_BARS = computed(
    INDICATORS,
    MINUTE_BARS,
    lambda tape: indicators(_known_at_end(tape[BARS]), tape.session),
    carries="sums since the part of the day began",
)
CROSS = computed(
    CROSS_ASSET,
    MINUTE_BARS,
    lambda tape: cross_asset(_known_at_end(tape[BARS]), tape.session),
    warm_up_ns=(CROSS_LOOK_BACK + 1) * NS_PER_MINUTE,
    is_of_market=True,
)
MATRIX = computed(
    CORRELATIONS,
    MINUTE_BARS,
    lambda tape: correlations(_known_at_end(tape[BARS]), tape.session),
    key=CORRELATIONS.key,
    warm_up_ns=(MATRIX_LOOK_BACK + 1) * NS_PER_MINUTE,
    is_of_market=True,
)
LABELS = computed(BARRIER_LABELS, MINUTE_BARS, lambda tape: _labels(tape, tape[BARS]), carries=_EVENTS)
#: All that needs no model and no settings.
CATALOGUE: tuple[Computation, ...] = (
    computed(BARS, (Input(TRADES),), _bars, warm_up_ns=_PRICED),
    Computation(
        name_of(BARS, "from midquotes"),
        (Input(QUOTES),),
        lambda tape: reconcile(midquote_bars(tape[QUOTES], tape.session), DELIVERED_BARS.empty(), built_from="quotes"),
        key=BARS.key,
        warm_up_ns=_PRICED,
    ),
    MINUTES,
    MINUTES_OF_BARS,
    MORE,
    INDICATORS_OF_BARS,
    CROSS,
    MATRIX,
    BINS,
    Computation(
        "labels/cusum_events",
        MINUTE_BARS,
        lambda tape: cusum_events(tape[BARS], session=tape.session),
        known="event_time",
        carries=_EVENTS,
    ),
    LABELS,
    computed(
        TRAINING_SET,
        TICKS,
        _training_set,
        later=(Later(("barrier_label", "barrier_known_time"), ns_of("barrier_known_time")),),
        carries=_EVENTS,
    ),
)


def information_bars(
    clocks: Sequence[Clock] = tuple(Clock), thresholds: Thresholds | None = None, states: pl.DataFrame | None = None
) -> Computation:
    """`tape/information_bars` of these clocks, continued from `states` of the day before."""

    def rows(tape: Tape) -> pl.DataFrame:
        found = [INFORMATION_BARS.empty()]
        for clock in clocks:
            bars = InformationBars(clock, thresholds or Thresholds())
            if states is not None:
                bars.load(states)
            found.append(bars.add(tape[TRADES], tape.session))
        order = [pl.col("symbol").cast(pl.String), pl.col("clock").cast(pl.String), pl.col("number")]
        return pl.concat(found).sort(order)

    ticks = (Input(TRADES, is_inclusive=True),)
    return computed(INFORMATION_BARS, ticks, rows, carries="the unfinished bar and its threshold")


def continuous_with(held: Mapping[str, Holding]) -> Computation:
    """`tape/continuous_bars` with the contracts that are held, which the day before decides."""
    return computed(
        CONTINUOUS_BARS,
        MINUTE_BARS,
        lambda tape: continuous_bars(_known_at_end(tape[BARS]), held),
        key=CONTINUOUS_BARS.key,
        carries="the worth since the first bar",
        is_of_market=True,
    )


def regimes_with(model: RegimeModel | None) -> Computation:
    """`features/regimes` with a model of earlier days."""
    return computed(
        REGIMES,
        MINUTE_BARS,
        lambda tape: regimes(_known_at_end(tape[BARS]), tape.session, model, through_ns=tape.through_ns),
        carries="the probabilities since the part of the day began",
    )


def seasonality_with(model: SeasonalModel | None, minutes: Computation = MINUTES) -> Computation:
    """`features/seasonality` with a model of earlier days; `minutes` computes the day's minutes, from ticks or from bars."""
    return computed(
        SEASONALITY,
        minutes.inputs,
        lambda tape: seasonality(seasonal_minutes(tape, minutes), model),
        warm_up_ns=(SEASONAL_LOOK_BACK + 2) * NS_PER_MINUTE,
    )


def seasonal_minutes(tape: Tape, minutes: Computation = MINUTES) -> pl.DataFrame:
    """The rows that seasonality is made of; of bars there are no further measures."""
    rows = minutes.rows(tape)
    return with_more(rows.lazy(), MORE.rows(tape).lazy()).collect() if minutes is MINUTES else rows


def scan_statistics(detector: ScanDetector) -> Computation:
    """The statistics and surprises of a fitted scan, bin by bin."""

    def rows(tape: Tape) -> pl.DataFrame:
        session, market = tape.session, detector.markets[tape.session.market]
        scan = market.for_symbols(tape.symbols)
        bins = bins_5s(tape[TRADES], tape[QUOTES], session, symbols=tape.symbols)
        count = max(0, min(tape.through_ns, session.regular_end) - session.regular_start) // BIN_NS
        judged, values = scan.judged(inputs_of(bins, scan.symbols, session, count=count))
        start = np.tile(session.regular_start + np.arange(count) * BIN_NS, len(scan.symbols))
        return pl.DataFrame(
            {
                "symbol": np.repeat(np.array(scan.symbols), count),
                "event_time": pl.Series(start, dtype=pl.Int64).cast(TIME),
                "known_time": pl.Series(start + BIN_NS, dtype=pl.Int64).cast(TIME),
                **{name: values[:, at].ravel() for at, name in enumerate(STATISTICS)},
                **{f"surprise_{kind}": judged.kinds[:, at].ravel() for at, kind in enumerate(KINDS)},
            }
        )

    return Computation("models/scan (statistics)", TICKS, rows, carries="the levels of the last half hour")


def scan_incidents(detector: ScanDetector) -> Computation:
    """`detections/incidents` of a fitted scan. What an incident became is known once it can grow no more."""
    final = ns_of("end_time") + _GROWS_NS
    grown = ("end_time", "kind", "surprise", "hours", "reasons")

    def rows(tape: Tape) -> pl.DataFrame:
        bins = bins_5s(tape[TRADES], tape[QUOTES], tape.session, symbols=tape.symbols)
        return detector.incidents(bins, tape.session)

    return computed(INCIDENTS, TICKS, rows, later=(Later(grown, final),), carries="the levels of the last half hour")
