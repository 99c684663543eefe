"""The computations of trading for the look-ahead check. They stand here, since the check's own catalogue imports no trading."""

import polars as pl

from models.scan.detector import ScanDetector
from tapewatch.features.bins.batch import bins_5s
from tapewatch.features.microstructure import microstructure
from tapewatch.lookahead.catalogue import MINUTE_BARS, TICKS, computed
from tapewatch.lookahead.computation import Computation, Input, Tape
from tapewatch.market.instruments import NS_PER_MINUTE
from tapewatch.market.tables.derived import INCIDENTS
from tapewatch.market.tables.signals import OUTCOMES, SIGNALS
from tapewatch.market.tables.tape import ANOMALIES, BARS, MICROSTRUCTURE, QUOTES, TRADES
from tapewatch.trading.signals.build import SignalRules, proposals, signals
from tapewatch.trading.signals.meta_model import MetaModel
from tapewatch.trading.signals.outcomes import outcomes
from tapewatch.trading.strategies.alerts import alerts_of

#: Features of a minute are known at its end, alerts when they were raised.
_STORED = (
    Input(MICROSTRUCTURE, time="event_time", lag_ns=NS_PER_MINUTE, is_inclusive=True),
    Input(ANOMALIES, time="known_time", is_inclusive=True),
    Input(INCIDENTS, time="known_time", is_inclusive=True),
)
#: More than of features: a strategy has few signals a day.
_MOMENTS = 8
_CARRIES = "the windows in which pairs, baskets and leaders are chosen"


def _signals(tape: Tape, incidents: pl.DataFrame) -> pl.DataFrame:
    rows = microstructure(tape[TRADES], tape[QUOTES], tape.session, through_ns=tape.through_ns, symbols=tape.symbols)
    return signals(*proposals(alerts_of(ANOMALIES.empty(), incidents), rows), OUTCOMES.empty())


def signals_after_scan(detector: ScanDetector) -> Computation:
    """`trading/signals` of a fitted scan's incidents, from ticks on: what an incident became later must not enter them."""

    def rows(tape: Tape) -> pl.DataFrame:
        bins = bins_5s(tape[TRADES], tape[QUOTES], tape.session, symbols=tape.symbols)
        return _signals(tape, detector.incidents(bins, tape.session))

    return computed(SIGNALS, TICKS, rows, carries=_CARRIES)


#: `trading/signals` of all strategies that follow no alert.
SIGNALS_WITHOUT_ALERTS = Computation(
    "trading/signals (without alerts)",
    TICKS,
    lambda tape: _signals(tape, INCIDENTS.empty()),
    key=SIGNALS.key,
    carries=_CARRIES,
)


def outcomes_of(found: pl.DataFrame) -> Computation:
    """`trading/backtest` of given signals: an outcome is known once its barrier is touched."""
    return computed(
        OUTCOMES,
        MINUTE_BARS,
        lambda tape: outcomes(found, tape[BARS], tape.session, through_ns=tape.through_ns),
        carries="the path since the bet was opened",
    )


def stored_signals(
    history: pl.DataFrame, others: pl.DataFrame | None = None, rules: SignalRules | None = None
) -> Computation:
    """`trading/signals` of a day, from the features and alerts that the lake holds, as the asset computes them.

    Args:
        history: OUTCOMES known before the day.
        others: MICROSTRUCTURE of other markets.
        rules: of the strategies.
    """
    model = MetaModel.fit(history)

    def rows(tape: Tape) -> pl.DataFrame:
        # A minute is known at its end, whatever a made-up future says.
        known = pl.col("event_time").dt.offset_by("1m")
        minutes = tape[MICROSTRUCTURE].with_columns(known_time=known)
        alerts = alerts_of(tape[ANOMALIES], tape[INCIDENTS])
        return signals(*proposals(alerts, minutes, others=others, rules=rules), history, model=model, rules=rules)

    return computed(SIGNALS, _STORED, rows, carries=_CARRIES, is_of_market=True, moments=_MOMENTS)
