"""What the scan learns from anomalies put into copies of its days: scores, their calibration, and names."""

from dataclasses import replace
from functools import cache

import numpy as np
import polars as pl
import pytest

from models.scan.calibration import BINS_A_DAY, peaks
from models.scan.detector import Day, ScanDetector
from models.scan.evaluation import evaluate_incidents
from models.scan.fitting.examples import with_copies
from models.scan.fitting.learning import Copy, fit_names, fit_odds
from models.scan.incidents import incidents
from models.scan.layout import KINDS, STATISTICS
from models.scan.learned import BENDS, HIGHEST, LOWEST, Additive, bent, likeliest
from tapewatch.features.bins.batch import bins_5s
from tapewatch.labels.injection.strengths import Nature, inject_at_strengths
from tests.support.scans import tape, weights

_BINS = 3_000
#: Statistics that the made-up kinds move, two each, and the kinds.
_MOVED = {0: (0, 6), 1: (3, 8), 2: (11, 14)}


def ordinary(rng: np.random.Generator) -> np.ndarray:
    """Rarities of two symbols' made-up day: a statistic rarely gets far above 0."""
    return np.asarray(LOWEST + rng.exponential(0.25, (2, len(STATISTICS), _BINS)))


def copied(rng: np.random.Generator, by: float) -> Copy:
    """A day in which six anomalies of each kind raise both of its statistics by `by`."""
    values, events = ordinary(rng), []
    for number, first in enumerate(range(150, _BINS - 150, 150)):
        symbol, kind = number % 2, number % len(_MOVED)
        values[symbol, _MOVED[kind], first : first + 20] += by
        events.append((symbol, kind, first, first + 20))
    return Copy(values, np.array(events))


@pytest.mark.long
def test_a_bin_alone_scores_as_in_its_day_bit_for_bit() -> None:
    rarities = np.random.default_rng(0).normal(0, 2, (3, len(STATISTICS), 50))
    rarities[rarities > 3] = np.nan
    names = weights(1)
    whole = names.scores(rarities)
    for at in (0, 7, 49):
        np.testing.assert_array_equal(whole[:, :, at], names.scores(rarities[:, :, at : at + 1])[:, :, 0])
    dense = bent(rarities[1].T) @ names.weight.reshape(len(KINDS), -1).T + names.offset
    np.testing.assert_allclose(whole[1].T, dense, atol=1e-12)


def test_what_is_missing_is_ordinary_and_beyond_the_highest_nothing_counts() -> None:
    assert bent(np.array([[np.nan], [LOWEST], [LOWEST - 1]])).tolist() == [[0.0] * len(BENDS)] * 3
    assert (bent(np.array([[HIGHEST]])) == bent(np.array([[HIGHEST + 5]]))).all()


def test_a_name_is_likelier_than_all_others_together_or_none() -> None:
    nothing, none = np.full(len(STATISTICS), LOWEST), Additive.nothing()
    assert likeliest(nothing, none.weight, none.offset) == -1
    for lead, named in ((0.5, -1), (5.0, 2)):
        offset = np.zeros(len(KINDS))
        offset[2] = lead
        assert likeliest(nothing, none.weight, offset) == named


@pytest.mark.long
def test_two_statistics_that_rise_a_little_are_found_on_days_left_out() -> None:
    rng = np.random.default_rng(3)
    days, copies = [ordinary(rng) for _ in range(3)], [[copied(rng, 1.0)] for _ in range(3)]
    found = fit_odds(days, copies)
    assert found is not None
    assert found.odds.kinds == sorted(_MOVED)
    unseen = copied(rng, 1.0)
    by_sum = found.odds.scores(unseen.values)
    ordinary_day = found.odds.scores(ordinary(rng))
    for symbol, kind, first, last in unseen.events.tolist():
        own = by_sum[symbol, kind, first : last + 1]
        assert own.max() > np.nanquantile(ordinary_day[:, kind], 0.999)
        assert by_sum[symbol, :, first:last].max(axis=1).argmax() == kind
    # On days that the weights had not seen, peaks are as frequent as their surprise says: three in 390 minutes reach -log10(3).
    sessions = 6 * _BINS / BINS_A_DAY
    for kind in _MOVED:
        often = sum((peaks(row) >= -np.log10(3.0) - 1e-9).sum() for day in found.days for row in day[:, kind])
        assert often / sessions == pytest.approx(3.0, rel=0.25)
    assert np.isnan(found.days[0][:, len(KINDS) - 1]).all()


def test_few_events_teach_nothing() -> None:
    rng = np.random.default_rng(4)
    days = [ordinary(rng) for _ in range(2)]
    assert fit_odds(days, [[], []]) is None
    few = copied(rng, 1.0)
    assert fit_odds(days, [[Copy(few.values, few.events[:4])], [Copy(few.values, few.events[:4])]]) is None
    assert not fit_names([Copy(few.values, few.events[:4])], [np.zeros((2, len(KINDS), _BINS))], 1.0).kinds


@pytest.mark.long
def test_incidents_have_the_names_that_were_taught_and_others_those_of_their_ranks() -> None:
    rng = np.random.default_rng(5)

    def judged(copy: Copy) -> np.ndarray:
        """All kinds are equally surprised by every anomaly."""
        surprises = np.zeros((2, len(KINDS), _BINS))
        for symbol, _, first, last in copy.events.tolist():
            surprises[symbol, :, first + 2 : last] = 1.2
        return surprises

    shown, unseen = [copied(rng, 2.0) for _ in range(3)], copied(rng, 2.0)
    names = fit_names(shown, [judged(each) for each in shown], 1.0)
    assert names.kinds == sorted(_MOVED)
    # Anomalies of a symbol lie 300 bins apart, so each opens one incident.
    found = incidents(judged(unseen), 1.0, unseen.values, names)
    taught = {(symbol, first + 2): kind for symbol, kind, first, _ in unseen.events.tolist()}
    right = [
        taught.get((symbol, first)) == kind for (symbol, first, _), kind in zip(found.spans(), found.kind, strict=True)
    ]
    assert len(right) > 6
    assert np.mean(right) > 0.9
    by_rank = incidents(judged(unseen), 1.0)
    assert {KINDS[kind] for kind in by_rank.kind} == {"correlation_break"}


@cache
def taught() -> tuple[ScanDetector, ScanDetector]:
    """Scans fitted on two days: with copies, and without."""
    tapes = [(day.trades, day.quotes, day.session) for day in (tape(0), tape(1))]
    days = [Day(day.session, bins_5s(day.trades, day.quotes, day.session), day.truth) for day in (tape(0), tape(1))]
    shown = with_copies(days, tapes, seed=1, copies=4)
    assert [len(day.copies) for day in shown] == [2, 2]
    return ScanDetector.fit(shown), ScanDetector.fit(days)


@pytest.mark.long
def test_a_taught_scan_finds_more_on_an_unseen_day_and_names_it_as_rightly() -> None:
    day = tape(2)
    nature = Nature.of([(day.trades, day.quotes, day.session)])
    made = inject_at_strengths(day.trades, day.quotes, day.session, nature, seed=9, per_symbol=12)
    bins = bins_5s(made.trades, made.quotes, day.session)
    known = pl.concat(
        [made.events.select(each := ["symbol", "event_id", "kind", "start_time", "end_time"]), day.truth.select(each)]
    )
    with_copies_, without = (
        evaluate_incidents(each.incidents(bins, day.session), known, symbol_minutes=1950.0, truth="injected").metrics
        for each in taught()
    )
    assert with_copies_["event_recall"] > without["event_recall"]
    assert with_copies_["named_share"] > without["named_share"] - 0.03
    assert with_copies_["false_alerts_per_390_minutes"] < 1


@pytest.mark.long
def test_bins_of_symbols_outside_the_tape_stay_in_the_copies() -> None:
    day = tape(0)
    bins = bins_5s(day.trades, day.quotes, day.session)
    symbol = pl.col("symbol").cast(pl.String)
    part = (day.trades.filter(symbol == "TSLA"), day.quotes.filter(symbol == "TSLA"), day.session)
    (shown,) = with_copies([Day(day.session, bins)], [part], seed=1, copies=1)
    ((copy, events),) = shown.copies
    assert set(events["symbol"]) == {"TSLA"}
    assert copy.filter(symbol != "TSLA").height == bins.filter(symbol != "TSLA").height
    assert not copy.filter(symbol == "TSLA").equals(bins.filter(symbol == "TSLA"))
    assert not replace(shown, copies=()).copies
