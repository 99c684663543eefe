"""Minute bars: the vendor's rules by hand, and against the recorded bars."""

import dataclasses
import datetime as dt
from pathlib import Path

import polars as pl
import pytest

from tapewatch.bars.time_bars import BarAgreement, bar_agreement, minute_bars, reconcile, time_bars
from tapewatch.market.instruments import NS_PER_SECOND, Market, session_of
from tapewatch.market.tables.tape import BARS, DELIVERED_BARS, TRADES
from tests.support.recorded import TICK_DAYS, recorded_bars, recorded_trades
from tests.support.tapes import random_tape, stock_session, tape_of

SESSION = stock_session()


def bars_of(*trades: tuple, **options) -> list[dict]:
    tape, _ = tape_of(trades, symbol=options.pop("symbol", "AAA"))
    bars = minute_bars(tape, options.pop("session", SESSION), **options)
    DELIVERED_BARS.check(bars)
    return bars.to_dicts()


def test_a_minute_of_plain_trades() -> None:
    (bar,) = bars_of((0, 10, 100), (1, 12, 50), (30, 9, 20), (59.999, 11, 30))
    assert (bar["open"], bar["high"], bar["low"], bar["close"]) == (10, 12, 9, 11)
    assert bar["volume"] == 200
    assert bar["transactions"] == 4
    assert bar["vwap"] == pytest.approx((1000 + 600 + 180 + 330) / 200)


def test_minutes_are_half_open_and_empty_ones_have_no_bar() -> None:
    bars = bars_of((59.999, 10, 1), (60, 11, 1), (300, 12, 1))
    since_open = [(bar["time"].timestamp() - SESSION.regular_start / 1e9) / 60 for bar in bars]
    assert since_open == [0, 1, 5]
    assert [bar["close"] for bar in bars] == [10, 11, 12]


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ("", (20, 20, 10, 20, 110)),
        ("2", (10, 10, 10, 10, 110)),
        ("5", (10, 20, 10, 10, 110)),
        ("15", (10, 10, 10, 10, 10)),
        ("38", (20, 20, 10, 20, 10)),
        ("38,2", (10, 10, 10, 10, 10)),
        ("12", (10, 10, 10, 10, 110)),
        ("4711", (20, 20, 10, 20, 110)),
    ],
)
def test_a_trade_updates_what_all_its_codes_allow(conditions, expected) -> None:
    (bar,) = bars_of((0, 20, 100, conditions), (1, 10, 10), (2, 20, 0, conditions))
    high_low = (bar["high"], bar["low"])
    assert (bar["open"], *high_low, bar["close"], bar["volume"]) == expected


def test_code_12_restricts_nothing_outside_regular_hours() -> None:
    before, at_open = bars_of((-1, 10, 5, "12"), (0, 11, 5), (1, 12, 5, "12"))
    assert before["close"] == 10
    assert at_open["high"] == 11
    assert at_open["volume"] == 10


def test_excluded_codes_set_no_price_in_regular_hours_but_keep_their_volume() -> None:
    trades = ((-30, 9, 1, "14"), (0, 10, 1), (1, 12, 1, "14,41"))
    assert [(bar["high"], bar["volume"]) for bar in bars_of(*trades)] == [(9, 1), (12, 2)]
    assert [(bar["high"], bar["volume"]) for bar in bars_of(*trades, exclude_price_codes=(14,))] == [(9, 1), (10, 2)]


def test_a_minute_of_volume_alone_keeps_the_last_price_and_has_no_bar_before_the_first() -> None:
    bars = bars_of((0, 10.5, 7, "2"), (60, 10, 1), (120, 99, 5, "2"), (180, 11, 5, "5"))
    assert [(b["open"], b["high"], b["low"], b["close"], b["volume"]) for b in bars] == [
        (10, 10, 10, 10, 1),
        (10, 10, 10, 10, 5),
        (10, 11, 10, 10, 5),
    ]
    assert bars[1]["vwap"] == 99


@pytest.mark.parametrize(
    ("correction", "counts"), [(None, True), (0, True), (1, True), (7, False), (8, False), (12, False)]
)
def test_withdrawn_trades_do_not_enter(correction, counts) -> None:
    trades, _ = tape_of([(0, 10, 1), (1, 20, 2)])
    trades = trades.with_columns(correction=pl.Series([0, correction], dtype=pl.Int8))
    bar = minute_bars(trades, SESSION).row(0, named=True)
    assert bar["volume"] == (3 if counts else 1)
    assert bar["high"] == (20 if counts else 10)


@pytest.mark.parametrize(("second", "is_regular"), [(-0.001, False), (0, True), (23_399.999, True), (23_400, False)])
def test_regular_hours_include_the_open_and_exclude_the_close(second, is_regular) -> None:
    """A trade with code 12 sets no price within regular hours."""
    bars = bars_of((-60, 10, 1), (second, 20, 1, "12"))
    assert bars[-1]["close"] == (10 if is_regular else 20)


def test_the_day_includes_its_first_instant_and_excludes_its_last() -> None:
    first, last = (-(SESSION.regular_start - at) / NS_PER_SECOND for at in (SESSION.day_start, SESSION.day_end))
    assert [bar["close"] for bar in bars_of((first, 10, 1), (last - 0.001, 11, 1))] == [10, 11]
    for second in (first - 0.001, last):
        with pytest.raises(ValueError, match="lie outside the day"):
            bars_of((second, 10, 1))


def test_a_withdrawn_trade_leaves_every_column_as_it_was() -> None:
    trades, _ = tape_of([(0, 10, 1), (1, 20, 2), (2, 5, 4), (60, 7, 1)])
    trades = trades.with_columns(correction=pl.Series([0, 8, 8, 8], dtype=pl.Int8))
    assert minute_bars(trades, SESSION).equals(minute_bars(trades.head(1), SESSION))


def test_volume_alone_takes_the_last_price_and_widens_high_and_low() -> None:
    """Code 5 sets high and low, code 2 only volume; neither sets the last price."""
    bars = bars_of((0, 10, 1), (60, 8, 2, "5"), (61, 9, 3, "5"), (120, 11, 4, "5"), (180, 12, 5))
    assert [(b["open"], b["high"], b["low"], b["close"]) for b in bars] == [
        (10, 10, 10, 10),
        (10, 10, 8, 10),
        (10, 11, 10, 10),
        (12, 12, 12, 12),
    ]


def test_every_symbol_begins_without_a_last_price() -> None:
    one, _ = tape_of([(0, 10, 1)])
    two, _ = tape_of([(0, 99, 7, "2"), (60, 20, 1)], symbol="BBB")
    bars = minute_bars(pl.concat([one, two]), SESSION)
    assert bars.select(pl.col("symbol").cast(pl.String), "close").rows() == [("AAA", 10), ("BBB", 20)]


def test_other_markets_have_no_rules() -> None:
    session = session_of(Market.CRYPTO, dt.date(2024, 3, 5))
    (bar,) = bars_of((0, 10, 0.25, "2"), (1, 11, 0.5, "1"), session=session, symbol="X:BTC-USD")
    assert (bar["open"], bar["close"], bar["volume"], bar["transactions"]) == (10, 11, 0.75, 2)


def test_zero_size_and_zero_price() -> None:
    (bar,) = bars_of((0, 0, 5), (1, 10, 0))
    assert (bar["open"], bar["low"], bar["volume"]) == (10, 10, 5)
    (bar,) = bars_of((1, 10, 0))
    assert bar["volume"] == 0
    assert bar["vwap"] is None


def test_no_trades_no_bars() -> None:
    assert minute_bars(TRADES.empty(), SESSION).equals(DELIVERED_BARS.empty())


@pytest.mark.parametrize("width", ["1s", "1m", "5m", "1h"])
def test_bars_equal_those_of_a_plain_group_by(width) -> None:
    trades, _ = random_tape(seed=3)
    trades = trades.with_columns(
        conditions=pl.lit("").cast(pl.Categorical()), correction=pl.lit(None).cast(pl.Int8), size=pl.col("size") + 1
    )
    price, size = pl.col("price"), pl.col("size")
    expected = (
        trades.group_by("symbol", pl.col("time").dt.truncate(width), maintain_order=True)
        .agg(
            open=price.first(), high=price.max(), low=price.min(), close=price.last(),
            volume=size.sum(), vwap=(price * size).sum() / size.sum(), transactions=pl.len().cast(pl.Int64),
        )
    )  # fmt: skip
    seconds = {"1s": 1, "1m": 60, "5m": 300, "1h": 3600}
    built = time_bars(trades, SESSION, seconds[width] * NS_PER_SECOND)
    assert built.drop("vwap").equals(expected.drop("vwap"))
    assert (built["vwap"] - expected["vwap"]).abs().max() < 1e-9


@pytest.mark.parametrize("fault", ["unsorted symbols", "unsorted times", "another day"])
def test_unsorted_trades_and_those_of_another_day_are_refused(fault) -> None:
    trades, _ = tape_of([(0, 10, 1), (1, 20, 2)])
    match fault:
        case "unsorted symbols":
            trades = pl.concat([trades, *(tape_of([(0, 1, 1)], symbol=symbol)[0] for symbol in ("BBB", "AAA"))])
        case "unsorted times":
            trades = trades.reverse()
        case _:
            trades = trades.with_columns(pl.col("time") - pl.duration(days=1))
    with pytest.raises(ValueError, match=r"order|outside|sorted"):
        minute_bars(trades, SESSION)


def test_reconcile_keeps_both_origins_and_marks_agreement() -> None:
    trades, _ = tape_of([(0, 10, 1), (60, 11, 2), (120, 12, 3)])
    built = minute_bars(trades, SESSION)
    later = built.tail(1).with_columns(pl.col("time").dt.offset_by("1m"))
    delivered = pl.concat([built.slice(1, 1).with_columns(close=pl.lit(11.5)), built.slice(2, 1), later])
    bars = reconcile(built, delivered.with_columns(vwap=pl.lit(None, pl.Float64)))
    BARS.check(bars)
    assert bars["source"].cast(pl.String).to_list() == ["trades"] * 3 + ["delivered"]
    assert bars["is_volume_equal"].to_list() == [None, True, True, None]
    assert bars["is_price_equal"].to_list() == [None, False, True, None]
    assert bars["vwap"].to_list() == [10, 11, 12, None]
    assert bars["close"].to_list() == [10, 11, 12, 12]
    assert ((bars["known_time"] - bars["time"]) == dt.timedelta(minutes=1)).all()


def test_reconcile_with_one_side_missing() -> None:
    trades, _ = tape_of([(0, 10, 1)])
    built = minute_bars(trades, SESSION)
    assert reconcile(built, DELIVERED_BARS.empty())["source"].cast(pl.String).to_list() == ["trades"]
    assert reconcile(DELIVERED_BARS.empty(), built)["source"].cast(pl.String).to_list() == ["delivered"]
    assert reconcile(DELIVERED_BARS.empty(), DELIVERED_BARS.empty()).equals(BARS.empty())


@pytest.mark.parametrize("price", [1000.0, 1.0, 0.001])
@pytest.mark.parametrize(("off", "is_equal"), [(0.9e-9, True), (-0.9e-9, True), (1.2e-9, False), (-1.2e-9, False)])
def test_agreement_is_relative(price, off, is_equal) -> None:
    built = minute_bars(tape_of([(0, price, price)])[0], SESSION)
    delivered = built.with_columns(pl.col("low", "volume") * (1 + off))
    (bar,) = reconcile(built, delivered).to_dicts()
    assert (bar["is_price_equal"], bar["is_volume_equal"]) == (is_equal, is_equal)


def test_agreement_counts_all_minutes_and_those_of_regular_hours() -> None:
    """Delivered: a minute before the open, five regular ones of which one was not built, and two from the close on."""
    built = minute_bars(tape_of([(60 * m, 10, 1) for m in (-1, 0, 1, 2, 389, 390, 391)])[0], SESSION)
    minute = (pl.col("time").to_physical() - SESSION.regular_start) // (60 * NS_PER_SECOND)
    delivered = built.filter(minute != 391).with_columns(
        close=pl.when(minute.is_in([0, 1])).then(10.5).otherwise("close"),
        volume=pl.when(minute.is_in([1, 389, 390])).then(2.0).otherwise("volume"),
    )
    not_built = [delivered.tail(1).with_columns(pl.col("time").dt.offset_by(by)) for by in ("30m", "-30m")]
    agreement = bar_agreement(built, pl.concat([delivered, *not_built]), SESSION)
    assert dataclasses.asdict(agreement) == {
        "delivered": 8, "built": 7, "volume_equal": 3, "regular_delivered": 5, "regular_volume_equal": 2,
        "regular_price_equal": 2, "regular_equal": 1,
    }  # fmt: skip
    assert (agreement.volume_share, agreement.regular_price_share) == (3 / 8, 2 / 5)
    nothing = bar_agreement(built, DELIVERED_BARS.empty(), SESSION)
    assert (nothing.volume_share, nothing.regular_price_share) == (1, 1)


def recorded_agreement(root: Path, exclude: tuple[int, ...]) -> BarAgreement:
    found = []
    for day in TICK_DAYS:
        session = stock_session(day)
        bars = minute_bars(recorded_trades(root, day), session, exclude_price_codes=exclude)
        found.append(dataclasses.astuple(bar_agreement(bars, recorded_bars(root, day), session)))
    return BarAgreement(*map(sum, zip(*found, strict=True)))


@pytest.mark.long
@pytest.mark.real_tape
def test_bars_by_the_vendors_rules_against_the_recorded_bars(market_data) -> None:
    """The recorded bars leave out the prices of intermarket sweeps, so prices must not agree fully."""
    agreement = recorded_agreement(market_data, ())
    assert (agreement.delivered, agreement.volume_equal) == (6767, 6734)
    assert (agreement.regular_delivered, agreement.regular_equal) == (4679, 3222)
    assert agreement.regular_price_share == pytest.approx(0.69, abs=0.005)


@pytest.mark.long
@pytest.mark.real_tape
def test_bars_without_sweep_prices_against_the_recorded_bars(market_data) -> None:
    agreement = recorded_agreement(market_data, (14,))
    assert (agreement.delivered, agreement.volume_equal) == (6767, 6734)
    assert agreement.regular_equal == 4639
    assert agreement.regular_price_share > 0.991
