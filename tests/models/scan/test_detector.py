"""The scan as a detector: what it finds, what it keeps, what it refuses."""

import json
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from models.base import DetectorError
from models.manifest import MANIFEST_NAME
from models.scan.detector import Day, ScanDetector, hours_of, reasons_of
from models.scan.layout import KINDS, STATISTICS
from models.scan.tail import surprise_of
from models.scan.wording import WORDING
from tapewatch.emulator.synthetic.market import Synthetic
from tapewatch.features.bins.batch import bins_5s
from tapewatch.features.bins.records import BIN_NS
from tapewatch.labels.injection.injection import inject
from tapewatch.market.instruments import Market, Partition
from tapewatch.market.tables.derived import INCIDENTS
from tapewatch.market.tables.tape import TIME
from tests.support.recorded import TICK_DAYS, recorded_quotes, recorded_trades
from tests.support.scans import with_weights
from tests.support.synthetic_days import days, synthetic_day
from tests.support.tapes import stock_session


@cache
def day(market: Market, at: int, *, with_truth: bool = True) -> Day:
    """A day of the built-in market with its known anomalies."""
    found = synthetic_day(market, days(market)[at])
    return Day(found.session, bins_5s(found.trades, found.quotes, found.session), found.truth if with_truth else None)


@cache
def fitted(market: Market) -> ScanDetector:
    """Fitted on the first three days of a market."""
    return ScanDetector.fit([day(market, at) for at in range(3)], partitions=["a"])


def matched(found: pl.DataFrame, truth: pl.DataFrame) -> tuple[float, int]:
    """The share of events that overlap an incident, up to two minutes later, and the number of incidents on no event."""
    events = truth.select(pl.col("symbol", "kind").cast(pl.String), "start_time", "end_time").unique()
    pairs = (
        found.with_row_index("incident")
        .with_columns(pl.col("symbol").cast(pl.String))
        .join(events, on="symbol", suffix="_true")
    )
    late = pl.duration(minutes=2)
    hit = pairs.filter(
        (pl.col("end_time") >= pl.col("start_time_true")) & (pl.col("start_time") <= pl.col("end_time_true") + late)
    )
    recall = hit.select("symbol", "start_time_true", "kind_true").unique().height / events.height
    return recall, found.height - hit["incident"].n_unique()


@pytest.mark.slow
def test_on_days_of_the_built_in_market_that_it_has_not_seen() -> None:
    detector, found = fitted(Market.STOCKS), [day(Market.STOCKS, at) for at in (3, 4)]
    incidents = pl.concat([detector.incidents(each.bins, each.session, hours=3.25) for each in found])
    recall, false = matched(incidents, pl.concat([each.known for each in found if each.known is not None]))
    assert recall > 0.7
    assert false / (2 * 5) < 1.5


@pytest.mark.slow
@pytest.mark.real_tape
def test_on_recorded_days_with_injected_anomalies(market_data: Path) -> None:
    order = pl.col("symbol").cast(pl.String), "time", "sequence_number"
    tapes = [
        (*(read(market_data, date).sort(*order) for read in (recorded_trades, recorded_quotes)), stock_session(date))
        for date in TICK_DAYS
    ]
    detector = ScanDetector.fit(
        [Day(session, bins_5s(trades, quotes, session)) for trades, quotes, session in tapes[1:]]
    )
    trades, quotes, session = tapes[0]
    injected = inject(trades, quotes, session, seed=0, per_symbol=10)
    incidents = detector.incidents(bins_5s(injected.trades, injected.quotes, session), session)
    recall, false = matched(incidents, injected.truth_events)
    assert recall > 0.85
    assert false / 4 <= 2


@pytest.mark.long
def test_one_symbol_s_incidents_need_its_peers_alone_and_nothing_after_them() -> None:
    last, detector = day(Market.STOCKS, 3), with_weights(fitted(Market.STOCKS))
    whole = detector.incidents(last.bins, last.session, model="scan/1")
    names = last.bins["symbol"].cast(pl.String)
    assert any(detector.peers_of(symbol, Market.STOCKS) for symbol in names.unique())
    for symbol in (*names.unique().sort(), "NEW"):
        own = whole.filter(pl.col("symbol").cast(pl.String) == symbol)
        needed = last.bins.filter(names.is_in([symbol, *detector.peers_of(symbol, Market.STOCKS)]))
        end = int(last.bins["event_time"].dt.epoch("ns").max())
        found = detector.incidents_of(symbol, needed, last.session, last_ns=end, model="scan/1")
        assert_frame_equal(found, own, check_exact=True)
        for row in own.to_dicts():
            until = int(row["end_time"].timestamp()) * 10**9 - BIN_NS
            early = needed.filter(pl.col("event_time") < row["end_time"])
            cut = detector.incidents_of(symbol, early, last.session, last_ns=until, model="scan/1")
            assert cut.row(cut.height - 1, named=True) == row


def test_incidents_are_rows_of_their_table_with_reasons_in_words() -> None:
    last = day(Market.STOCKS, 3)
    found = fitted(Market.STOCKS).incidents(last.bins, last.session, model="scan/1")
    assert not list(INCIDENTS.problems(found))
    assert not INCIDENTS.duplicates(found)
    assert found.height > 3
    for row in found.to_dicts():
        reasons = json.loads(row["reasons"])
        assert reasons[0]["kind"] == row["kind"]
        assert reasons[0]["words"] == WORDING[reasons[0]["statistic"]](reasons[0]["value"])


def test_what_is_as_usual_is_no_reason_unless_it_names_the_incident() -> None:
    names, values = list(STATISTICS), np.full(len(STATISTICS), np.nan)
    values[[names.index("jump"), names.index("silence"), names.index("sides")]] = 4.9, 0.0, 6.8
    surprises = np.full(len(KINDS), 1.0)
    surprises[[kind not in {STATISTICS[name] for name in ("jump", "silence", "sides")} for kind in KINDS]] = np.nan

    def said(named: str) -> list[str]:
        return [each["statistic"] for each in reasons_of(surprises, values, KINDS.index(STATISTICS[named]))]

    assert said("jump") == ["jump", "sides"]
    assert said("silence")[0] == "silence"
    assert sorted(said("silence")[1:]) == ["jump", "sides"]


@pytest.mark.long
def test_fewer_alerts_for_more_hours() -> None:
    last, detector = day(Market.STOCKS, 3), fitted(Market.STOCKS)
    often, seldom = (detector.incidents(last.bins, last.session, hours=hours).height for hours in (1, 100))
    assert often > seldom > 0
    assert hours_of(surprise_of(6.5)) == pytest.approx(6.5)


@pytest.mark.slow
def test_ordinary_days_raise_as_many_alerts_as_the_setting_says() -> None:
    source, dates = Synthetic(7, has_anomalies=False), days(Market.STOCKS)
    tapes = []
    for date in dates[:5]:
        session = Partition(date, Market.STOCKS).session
        parts = [source.day(symbol, date) for symbol in source.symbols(Market.STOCKS)]
        trades, quotes = pl.concat(each.trades for each in parts), pl.concat(each.quotes for each in parts)
        tapes.append(Day(session, bins_5s(trades, quotes, session)))
    detector = ScanDetector.fit(tapes[:3])
    raised = sum(detector.incidents(each.bins, each.session, hours=1.3).height for each in tapes[3:])
    expected = 2 * tapes[0].bins["symbol"].n_unique() * 6.5 / 1.3
    assert 0.5 < raised / expected < 2


@pytest.mark.long
def test_a_saved_detector_is_the_same(tmp_path: Path) -> None:
    last = day(Market.STOCKS, 3)
    for at, saved in enumerate((fitted(Market.STOCKS), with_weights(fitted(Market.STOCKS)))):
        saved.save(tmp_path / str(at))
        loaded = ScanDetector.load(tmp_path / str(at))
        assert loaded.partitions == ("a",)
        assert_frame_equal(loaded.incidents(last.bins, last.session), saved.incidents(last.bins, last.session))


def test_a_scan_of_an_earlier_version_is_refused(tmp_path: Path) -> None:
    fitted(Market.STOCKS).save(tmp_path)
    manifest = json.loads((tmp_path / MANIFEST_NAME).read_text(encoding="utf-8"))
    (tmp_path / MANIFEST_NAME).write_text(json.dumps(manifest | {"format": 2}), encoding="utf-8")
    with pytest.raises(DetectorError, match=r"format is 2, here it is 3\. Train the detector again"):
        ScanDetector.load(tmp_path)


def test_an_altered_file_is_refused(tmp_path: Path) -> None:
    fitted(Market.STOCKS).save(tmp_path)
    (tmp_path / "stocks.npz").write_bytes(b"other")
    with pytest.raises(DetectorError, match=r"stocks.npz has changed.*Train the detector again"):
        ScanDetector.load(tmp_path)
    with pytest.raises(DetectorError, match="no saved detector"):
        ScanDetector.load(tmp_path / "nowhere")


def test_a_market_that_it_does_not_know_is_refused() -> None:
    with pytest.raises(DetectorError, match="fitted on stocks, not on crypto"):
        fitted(Market.STOCKS).incidents(day(Market.CRYPTO, 0).bins, day(Market.CRYPTO, 0).session)


def test_one_day_is_too_little() -> None:
    with pytest.raises(DetectorError, match="two days"):
        ScanDetector.fit([day(Market.STOCKS, 0)])


def test_a_new_symbol_is_scored_by_the_pooled_model() -> None:
    last = day(Market.STOCKS, 3)
    detector = fitted(Market.STOCKS)
    renamed = last.bins.filter(pl.col("symbol") == "TSLA").with_columns(symbol=pl.lit("NEWS").cast(pl.Categorical))
    bins = pl.concat([renamed, last.bins.filter(pl.col("symbol") != "TSLA")])
    found = detector.incidents(bins, last.session, hours=1).filter(pl.col("symbol") == "NEWS")
    assert found.height > 0


@pytest.mark.long
def test_incidents_so_far_are_those_of_the_whole_day() -> None:
    last, detector = day(Market.STOCKS, 3), fitted(Market.STOCKS)
    whole = detector.incidents(last.bins, last.session)
    for share in (0.3, 0.6):
        end = last.session.regular_start + int((last.session.regular_end - last.session.regular_start) * share)
        limit = pl.lit(end).cast(TIME)
        cut = detector.incidents(last.bins.filter(pl.col("known_time") <= limit), last.session)
        known = whole.filter(pl.col("known_time") <= limit)
        assert cut["start_time"].to_list() == known["start_time"].to_list()
