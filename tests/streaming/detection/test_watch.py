"""Conditions in which no detector may raise an alert, and properties of all detectors."""

import datetime as dt
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapewatch.feeds.stream.decode.decoder import StreamBatch
from tapewatch.market.instruments import NS_PER_MINUTE, NS_PER_SECOND, Market
from tapewatch.market.tables.live import ALERTS
from tapewatch.streaming.detection.rules.kernel import consume
from tapewatch.streaming.detection.rules.settings import DETECTION_FILE, DetectionConfig, DetectionError
from tapewatch.streaming.detection.rules.wording import RULE_NAMES
from tapewatch.streaming.detection.watch import AlertChange, Watch
from tests.support.watching import bars, batches, closings, openings, session, steady_quotes, steady_tape, trades, watch

OPEN = session().regular_start


def shifted(tape: pl.DataFrame, ns: int) -> pl.DataFrame:
    return tape.with_columns(time=(pl.col("time").cast(pl.Int64) + ns).cast(tape.schema["time"]))


def wild(seed: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """A tape on which several rules fire, with its quotes."""
    tapes = [steady_tape(symbol, minutes=70, per_minute=40, seed=seed) for symbol in ("AAA", "BBB", "CCC")]
    minute = (pl.col("time").cast(pl.Int64) - OPEN) // NS_PER_MINUTE
    tapes[0] = tapes[0].with_columns(price=pl.when(minute >= 30).then(pl.col("price") * 1.02).otherwise("price"))
    tapes[1] = pl.concat([tapes[1], *[tapes[1].filter(minute == 35)] * 25])
    tapes[2] = tapes[2].filter((minute < 40) | (minute > 55))
    odd = trades("BBB", [OPEN + 45 * NS_PER_MINUTE + 7], [80.0], [100.0])
    book = steady_quotes("BBB", minutes=70, per_minute=30, seed=seed + 1)
    wide = book.with_columns(
        ask_price=pl.when(minute.is_in([50, 51])).then(pl.col("ask_price") + 1).otherwise("ask_price")
    )
    return pl.concat([*tapes, odd]), wide


def ended(changes: list[AlertChange]) -> list[tuple[object, ...]]:
    """The ended alerts, without the fields that depend on the batches."""
    names = ("alert_id", "start_time", "end_time", "value", "baseline", "peak", "observations")
    return [tuple(c.row[name] for name in names) for c in changes if c.is_closing]


@pytest.mark.slow
@settings(max_examples=6, deadline=None)
@given(st.integers(0, 50), st.sampled_from([1.5, 17.0, 61.0, 600.0]))
def test_other_batches_give_the_same_alerts(seed: int, seconds: float) -> None:
    tape, book = wild(seed)
    expected = watch(Market.STOCKS, [tape], [book], seconds=7)
    assert len({change.row["rule"] for change in openings(expected)}) >= 4
    assert ended(watch(Market.STOCKS, [tape], [book], seconds=seconds)) == ended(expected)


def test_rows_fit_the_table_and_an_event_is_one_row() -> None:
    tape, book = wild(1)
    changes = watch(Market.STOCKS, [tape], [book])
    rows = pl.DataFrame([change.row for change in changes], schema=ALERTS.schema)
    ALERTS.check(rows)
    opened = [change.row["alert_id"] for change in openings(changes)]
    assert len(set(opened)) == len(opened)
    assert {change.row["alert_id"] for change in closings(changes)} <= set(opened)
    assert {change.row["rule"] for change in changes} <= set(RULE_NAMES)
    assert all(change.row["symbol"] in change.row["message"] for change in changes)


@pytest.mark.long
@pytest.mark.parametrize("minute", [0, 2, 381, 389, 395])
def test_auctions_and_the_minutes_around_raise_nothing(minute: int) -> None:
    tape = steady_tape(minutes=400)
    loud = steady_tape(minutes=1, first_minute=minute, per_minute=3000, price=103, seed=2)
    assert watch(Market.STOCKS, [tape, loud]) == []


def test_official_open_and_close_prices_are_not_judged() -> None:
    count = 20
    time = [OPEN + 100 * NS_PER_MINUTE + k * NS_PER_SECOND for k in range(count)]
    official = trades("AAA", time, [150.0] * count, [1e6] * count, ["15", "16"] * (count // 2))
    assert watch(Market.STOCKS, [steady_tape(minutes=120), official]) == []


def test_a_half_day_ends_early() -> None:
    date = dt.date(2024, 7, 3)
    start = session(Market.STOCKS, date).regular_start
    tape = shifted(steady_tape(minutes=240), start - OPEN)
    loud = shifted(steady_tape(minutes=2, first_minute=205, per_minute=3000, price=104), start - OPEN)
    assert watch(Market.STOCKS, [tape, loud]) == []


def test_holidays_and_weekends_raise_nothing() -> None:
    for days in (121, 4):
        tape, book = wild(3)
        shift = days * 1440 * NS_PER_MINUTE
        assert watch(Market.STOCKS, [shifted(tape, shift)], [shifted(book, shift)]) == []


def test_before_the_open_nothing_is_judged() -> None:
    tape, book = wild(3)
    assert watch(Market.STOCKS, [shifted(tape, -120 * NS_PER_MINUTE)], [shifted(book, -120 * NS_PER_MINUTE)]) == []


def test_extended_hours_are_judged_where_the_setting_says_so(tmp_path: Path) -> None:
    path = tmp_path / "detection.toml"
    path.write_text(DETECTION_FILE.read_text(encoding="utf-8").replace('hours = "regular"', 'hours = "extended"'))
    tape, book = wild(3)
    early = [shifted(tape, -120 * NS_PER_MINUTE)], [shifted(book, -120 * NS_PER_MINUTE)]
    assert openings(watch(Market.STOCKS, *early, settings=path))


def test_the_first_minutes_of_a_symbol_raise_nothing() -> None:
    calm = steady_tape(minutes=42)
    late = steady_tape("NEW", minutes=10, first_minute=30, per_minute=20)
    loud = steady_tape("NEW", minutes=1, first_minute=35, per_minute=2000, price=105)
    assert watch(Market.STOCKS, [calm, late, loud]) == []


@pytest.mark.long
def test_an_overnight_split_raises_nothing() -> None:
    next_open = session(Market.STOCKS, dt.date(2024, 3, 6)).regular_start
    first = steady_tape(minutes=390, price=645)
    second = shifted(steady_tape(minutes=390, price=92.2), next_open - OPEN)
    assert watch(Market.STOCKS, [first, second]) == []


@pytest.mark.long
@pytest.mark.parametrize(("old", "new"), [(645.57, 92.3), (80.0, 120.5), (3.0, 60.1)])
def test_first_prints_at_the_price_before_a_split_raise_nothing(old: float, new: float) -> None:
    next_open = session(Market.STOCKS, dt.date(2024, 3, 6)).regular_start
    first = steady_tape(minutes=390, price=old)
    second = shifted(steady_tape(minutes=100, price=new), next_open - OPEN)
    start = next_open + 5 * NS_PER_MINUTE
    stale = trades("AAA", [start, start + NS_PER_SECOND, start + 2 * NS_PER_SECOND], [old] * 3, [600.0] * 3)
    assert watch(Market.STOCKS, [first, second, stale]) == []


def test_rules_are_judged_on_bars_alone() -> None:
    start = session(Market.CRYPTO).regular_start
    generator = np.random.default_rng(1)
    close = 100 * np.exp(np.cumsum(generator.normal(0, 2e-4, 240)))
    close[200:] *= 1.05
    volume = generator.lognormal(2, 0.4, 240)
    volume[150] = 1000
    frame = pl.DataFrame(
        {
            "time": start + np.arange(240) * NS_PER_MINUTE,
            "open": close,
            "high": close * 1.0002,
            "low": close * 0.9998,
            "close": close,
            "volume": volume,
        }
    ).with_columns(symbol=pl.lit("X:BTC-USD"))
    changes = watch(Market.CRYPTO, bars=[bars(frame)])
    assert [change.row["rule"] for change in openings(changes)] == ["volume_spike", "price_move"]
    assert len(closings(changes)) == 2


def test_bars_of_symbols_with_trades_are_ignored() -> None:
    tape = steady_tape()
    minutes = (
        tape.group_by(pl.col("time").dt.truncate("1m"))
        .agg(
            open=pl.first("price"),
            high=pl.max("price"),
            low=pl.min("price"),
            close=pl.last("price"),
            volume=pl.sum("size") * 50,
        )
        .with_columns(symbol=pl.lit("AAA"))
        .sort("time")
    )
    assert watch(Market.STOCKS, [tape], bars=[bars(minutes)]) == []


def test_a_new_watch_continues_the_open_alerts() -> None:
    tape, book = wild(2)
    half = OPEN + 50 * NS_PER_MINUTE + 45 * NS_PER_SECOND
    config = DetectionConfig.load()
    before = Watch(Market.STOCKS, config, clock=lambda: 0)
    early: list[AlertChange] = []
    late: list[AlertChange] = []
    parts = batches(tape, book)
    for batch in parts:
        if before.tape_ns < half:
            early += before.observe(batch)
    is_open = {change.row["alert_id"]: change.row for change in early}
    for change in closings(early):
        del is_open[change.row["alert_id"]]
    assert {row["rule"] for row in is_open.values()} >= {"stale_symbol", "spread_blowout"}
    after = Watch(Market.STOCKS, config, clock=lambda: 0)
    after.resume(is_open.values())
    for batch in parts:
        late += after.observe(batch) if max(_last(batch.trades), _last(batch.quotes)) > before.tape_ns else []
    assert {change.row["alert_id"] for change in closings(late)} == set(is_open)
    assert not {(c.row["rule"], c.row["symbol"]) for c in openings(late)} & {
        (r["rule"], r["symbol"]) for r in is_open.values()
    }


def test_a_resumed_outage_keeps_its_message() -> None:
    names = ("AAA", "BBB", "CCC")
    tape = pl.concat(steady_tape(name, minutes=80) for name in names)
    minute = (pl.col("time").cast(pl.Int64) - OPEN) // NS_PER_MINUTE
    book = pl.concat(steady_quotes(name, minutes=80) for name in names)
    before = Watch(Market.STOCKS, DetectionConfig.load())
    early = [c for batch in batches(tape.filter(minute < 40), book.filter(minute < 45)) for c in before.observe(batch)]
    (opening,) = openings(early, "feed_outage")
    after = Watch(Market.STOCKS, DetectionConfig.load())
    after.resume([opening.row])
    late = [c for batch in batches(tape.filter(minute >= 46), book.filter(minute >= 46)) for c in after.observe(batch)]
    (closing,) = closings(late, "feed_outage")
    assert "trades" in opening.row["message"]
    assert closing.row["message"] == opening.row["message"]


def _last(frame: pl.DataFrame) -> int:
    return int(frame["time"].cast(pl.Int64).max()) if frame.height else 0  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [1, 5, 100])
def test_a_new_day_advances_the_clock_for_any_batch_size(size: int) -> None:
    next_open = session(Market.STOCKS, dt.date(2024, 3, 6)).regular_start
    tape = pl.concat([steady_tape(minutes=5), shifted(steady_tape(minutes=5), next_open - OPEN)])
    found = Watch(Market.STOCKS, DetectionConfig.load())
    for start in range(0, tape.height, size):
        found.observe(StreamBatch(trades=tape[start : start + size]))
    assert found.tape_ns == _last(tape)


def test_hundreds_of_symbols_share_one_compiled_pass() -> None:
    found = Watch(Market.STOCKS, DetectionConfig.load())
    parts = [steady_tape(f"S{k}", minutes=2, per_minute=5, seed=k) for k in range(300)]
    tape = pl.concat(parts).sort("time")
    for cut in (tape, tape[:7], tape[::3]):
        found.observe(StreamBatch(trades=cut, quotes=steady_quotes(minutes=1)))
    assert len(found.symbols) == 301
    assert len(consume.signatures) == 1


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("multiple = 5.0  ", "multiple = -1  ", ("volume_spike", "multiple")),
        ("hold_s = 5", "hold = 5", ("spread_blowout", "hold")),
        ("[bad_print]", "[odd_print]", ("odd_print",)),
        ("[crypto.price_move]", "[crypto.price_moves]", ("crypto.price_moves",)),
        ("[crypto.price_move]\n", '[crypto.price_move]\nmin_bps = "much"\n', ("crypto.price_move", "min_bps")),
        ("warmup_minutes = 15  ", "", ("common", "warmup_minutes")),
        ("[common]", "[common", ("TOML",)),
    ],
)
def test_broken_settings_name_file_section_and_field(
    tmp_path: Path, old: str, new: str, words: tuple[str, ...]
) -> None:
    text = DETECTION_FILE.read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "own.toml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(DetectionError) as refusal:
        DetectionConfig.load(path)
    assert all(word in str(refusal.value) for word in (*words, "own.toml"))


def test_settings_of_one_market_override_the_rest() -> None:
    config = DetectionConfig.load()
    crypto, stocks = config.for_market("crypto").price_move, config.for_market("stocks").price_move
    assert crypto.min_day_share > stocks.min_day_share
    assert crypto.window_s == stocks.window_s
