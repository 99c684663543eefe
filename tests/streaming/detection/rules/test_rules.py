"""Each rule of the online detectors on synthetic tapes: its alert opens once and ends."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tapewatch.feeds.stream.decode.decoder import StreamBatch
from tapewatch.market.instruments import NS_PER_MINUTE, NS_PER_SECOND, Market
from tapewatch.streaming.detection.baselines import Baselines
from tapewatch.streaming.detection.rules.settings import DETECTION_FILE, DetectionConfig
from tapewatch.streaming.detection.watch import Watch
from tests.support.watching import bars, closings, openings, quotes, session, steady_quotes, steady_tape, trades, watch

OPEN = session().regular_start


def rules_of(changes: list) -> list[tuple[str, str]]:
    return [(change.row["rule"], change.row["symbol"]) for change in openings(changes)]


def from_minute(tape: pl.DataFrame, first: float, last: float = 1e9) -> pl.Expr:
    minute = (pl.col("time").cast(pl.Int64) - OPEN) / NS_PER_MINUTE
    return (minute >= first) & (minute < last)


def settings(folder: Path, *replacements: tuple[str, str]) -> Path:
    text = DETECTION_FILE.read_text(encoding="utf-8")
    for old, new in replacements:
        assert old in text
        text = text.replace(old, new, 1)
    path = folder / "detection.toml"
    path.write_text(text, encoding="utf-8")
    return path


def burst(tape: pl.DataFrame, first: float, last: float, times: int) -> pl.DataFrame:
    """A tape with `times` as many trades for a while, at the same prices."""
    return pl.concat([tape, *[tape.filter(from_minute(tape, first, last))] * (times - 1)])


@pytest.mark.long
def test_a_calm_day_raises_nothing() -> None:
    tapes = [steady_tape(symbol, minutes=385) for symbol in ("AAA", "BBB", "CCC")]
    assert watch(Market.STOCKS, tapes, [steady_quotes("AAA", minutes=385)]) == []


def test_volume_spike_opens_within_its_minute_once_and_ends() -> None:
    changes = watch(Market.STOCKS, [burst(steady_tape(), 40, 41, 30)])
    (opening,) = openings(changes)
    (closing,) = closings(changes)
    assert opening.row["rule"] == "volume_spike"
    since = opening.row["start_time"].timestamp() - (OPEN / NS_PER_SECOND + 40 * 60)
    assert 0 < since < 45
    assert opening.row["multiple"] == pytest.approx(opening.row["value"] / opening.row["baseline"])
    assert opening.row["multiple"] >= 5
    assert closing.row["alert_id"] == opening.row["alert_id"]
    assert closing.row["peak"] > 2 * opening.row["value"]
    assert closing.row["end_time"].minute == opening.row["start_time"].minute


@pytest.mark.parametrize("price", [-37.63, 0.0])
def test_volume_is_judged_at_prices_at_or_below_zero(price: float) -> None:
    """Relative moves are undefined there; a price that moves around zero raises no alert."""
    calm = steady_tape("CLK0", price=price, step=0.01 if price else 0.0)
    assert rules_of(watch(Market.FUTURES, [calm])) == []
    assert rules_of(watch(Market.FUTURES, [burst(calm, 40, 41, 30)])) == [("volume_spike", "CLK0")]


def test_a_future_that_falls_below_zero_is_a_price_move() -> None:
    falling = trades("CLK0", *_falling(from_price=2.0, to_price=-2.0))
    found = rules_of(watch(Market.FUTURES, [steady_tape("CLK0", price=2.0, step=0.001), falling]))
    assert ("price_move", "CLK0") in found


def _falling(*, from_price: float, to_price: float) -> tuple[list[int], list[float], list[float]]:
    """Ten minutes with a trade per second, from minute 60 on."""
    time = OPEN + 60 * NS_PER_MINUTE + np.arange(600) * NS_PER_SECOND
    return time.tolist(), np.linspace(from_price, to_price, 600).round(3).tolist(), [100.0] * 600


def test_one_large_print_or_few_trades_are_no_volume_spike() -> None:
    block = trades("AAA", [OPEN + 40 * NS_PER_MINUTE + 1], [100.0], [500_000.0])
    assert watch(Market.STOCKS, [steady_tape(), block]) == []
    quiet = steady_tape("QQQ", per_minute=1)
    few = trades("QQQ", [OPEN + 40 * NS_PER_MINUTE + k for k in range(5)], [100.0] * 5, [20_000.0] * 5)
    assert watch(Market.STOCKS, [quiet, few]) == []


def test_volume_usual_at_that_time_of_day_is_no_spike() -> None:
    tape = burst(steady_tape(), 40, 43, 12)
    usual = np.full(390, 6000.0)
    assert len(openings(watch(Market.STOCKS, [tape], baselines=Baselines({"AAA": usual})))) == 1
    usual[40:43] = 60_000.0
    assert openings(watch(Market.STOCKS, [tape], baselines=Baselines({"AAA": usual}))) == []


def test_settings_can_ask_for_three_times_the_recent_average(tmp_path: Path) -> None:
    trivial = settings(
        tmp_path,
        ('baseline = "time_of_day"', 'baseline = "recent"'),
        ("multiple = 5.0  ", "multiple = 3.0  "),
        ("score = 4.0  ", "score = 0.0  "),
    )
    tape = burst(steady_tape(), 40, 41, 4)
    assert rules_of(watch(Market.STOCKS, [tape])) == []
    assert rules_of(watch(Market.STOCKS, [tape], settings=trivial)) == [("volume_spike", "AAA")]


def test_a_price_that_moves_and_stays_is_a_price_move() -> None:
    tape = steady_tape()
    moved = tape.with_columns(price=pl.when(from_minute(tape, 40)).then(pl.col("price") * 1.01).otherwise("price"))
    changes = watch(Market.STOCKS, [moved])
    assert rules_of(changes) == [("price_move", "AAA")]
    (opening,), (closing,) = openings(changes), closings(changes)
    assert 70 < opening.row["value"] < 110
    assert opening.row["start_time"].timestamp() - (OPEN / NS_PER_SECOND + 2400) < 10
    assert closing.row["end_time"] > opening.row["start_time"]


def test_a_print_that_reverts_at_once_is_a_bad_print_and_no_move() -> None:
    odd = trades("AAA", [OPEN + 40 * NS_PER_MINUTE + 1], [95.0], [100.0])
    changes = watch(Market.STOCKS, [steady_tape(), odd])
    assert rules_of(changes) == [("bad_print", "AAA")]
    assert openings(changes)[0].row["value"] == pytest.approx(-500, abs=30)


def test_a_bad_print_whose_condition_sets_no_price_is_ignored() -> None:
    odd = trades("AAA", [OPEN + 40 * NS_PER_MINUTE + 1], [95.0], [100.0], "2")
    assert watch(Market.STOCKS, [steady_tape(), odd]) == []


def test_a_volatility_burst_opens_once_and_ends() -> None:
    tape = steady_tape(minutes=80)
    swing = 1 + 0.0028 * np.sin(np.arange(tape.height) / 6)
    wild = tape.with_columns(
        price=pl.when(from_minute(tape, 40, 46)).then(pl.col("price") * pl.Series(swing)).otherwise("price")
    )
    changes = watch(Market.STOCKS, [wild])
    assert rules_of(changes) == [("volatility_burst", "AAA")]
    assert len(closings(changes)) == 1


def test_a_spread_blowout_must_last() -> None:
    book = steady_quotes()

    def widened(first: float, last: float) -> pl.DataFrame:
        wide = from_minute(book, first, last)
        return book.with_columns(ask_price=pl.when(wide).then(pl.col("ask_price") + 0.5).otherwise("ask_price"))

    assert rules_of(watch(Market.STOCKS, [], [widened(40, 40.03)])) == []
    changes = watch(Market.STOCKS, [], [widened(40, 42)])
    assert rules_of(changes) == [("spread_blowout", "AAA")]
    (closing,) = closings(changes)
    assert closing.row["baseline"] == pytest.approx(2, abs=0.3)
    assert (closing.row["end_time"] - closing.row["start_time"]).total_seconds() == pytest.approx(120, abs=5)


def test_one_sided_order_flow_opens_an_alert_and_ends() -> None:
    tape = steady_tape("X:BTC-USD", minutes=80, market=Market.CRYPTO, per_minute=80)
    start = session(Market.CRYPTO).regular_start
    minute = (pl.col("time").cast(pl.Int64) - start) / NS_PER_MINUTE
    buyers = tape.with_columns(
        conditions=pl.when(minute.is_between(40, 46))
        .then(pl.lit("2"))
        .otherwise(pl.col("conditions").cast(pl.String))
        .cast(pl.Categorical)
    )
    changes = watch(Market.CRYPTO, [buyers])
    assert rules_of(changes) == [("order_flow_imbalance", "X:BTC-USD")]
    assert openings(changes)[0].row["value"] > 6
    assert len(closings(changes)) == 1


def test_order_flow_of_stocks_is_signed_by_the_quotes() -> None:
    tape, book = steady_tape(per_minute=80), steady_quotes(per_minute=120, seed=9)
    joined = tape.sort("time").join_asof(book.select("time", "bid_price", "ask_price").sort("time"), on="time")
    side = np.random.default_rng(5).random(joined.height) < 0.5
    price = pl.when(pl.Series(side) | from_minute(joined, 40, 46)).then("ask_price").otherwise("bid_price")
    signed = joined.with_columns(price=price.fill_null(pl.col("price"))).select(tape.columns)
    assert rules_of(watch(Market.STOCKS, [signed], [book])) == [("order_flow_imbalance", "AAA")]


def test_crossed_quotes_are_one_incident() -> None:
    book = steady_quotes(minutes=120)
    share = np.random.default_rng(3).random(book.height) < 0.2
    crossed = book.with_columns(
        bid_price=pl.when(pl.Series(share) & from_minute(book, 30, 60))
        .then(pl.col("ask_price") + 0.01)
        .otherwise("bid_price")
    )
    changes = watch(Market.STOCKS, [steady_tape(minutes=120)], [crossed])
    assert rules_of(changes) == [("data_quality", "AAA")]
    assert openings(changes)[0].row["severity"] == "critical"
    assert closings(changes) == []


def stuffed(book: pl.DataFrame, first: float, last: float, times: int) -> pl.DataFrame:
    """A book with `times` as many quotes for a while, at the same prices."""
    more = [
        book.filter(from_minute(book, first, last)).with_columns(
            pl.col("time") + pl.duration(nanoseconds=k + 1, time_unit="ns")
        )
        for k in range(times - 1)
    ]
    return pl.concat([book, *more])


def test_a_flood_of_quotes_without_trades_is_stuffing() -> None:
    tape, book = steady_tape(), steady_quotes()
    changes = watch(Market.STOCKS, [tape], [stuffed(book, 40, 42, 12)])
    assert rules_of(changes) == [("quote_stuffing", "AAA")]
    (opening,), (closing,) = openings(changes), closings(changes)
    assert opening.row["baseline"] == pytest.approx(60, abs=8)
    assert opening.row["multiple"] >= 8
    assert closing.row["peak"] > opening.row["value"]
    assert (closing.row["end_time"] - opening.row["start_time"]).total_seconds() < 120


def test_quotes_that_grow_with_trades_or_of_a_market_without_trades_are_no_stuffing() -> None:
    busy = burst(steady_tape(), 40, 42, 12)
    assert ("quote_stuffing", "AAA") not in rules_of(
        watch(Market.STOCKS, [busy], [stuffed(steady_quotes(), 40, 42, 12)])
    )
    assert watch(Market.FOREX, [], [stuffed(steady_quotes("C:EUR-USD"), 40, 42, 12)]) == []


def test_a_volatile_symbol_needs_a_larger_move() -> None:
    tape = steady_tape()
    moved = tape.with_columns(price=pl.when(from_minute(tape, 40)).then(pl.col("price") * 1.01).otherwise("price"))
    assert rules_of(watch(Market.STOCKS, [moved], baselines=Baselines(move_bps={"AAA": 4.0}))) == [
        ("price_move", "AAA")
    ]
    assert rules_of(watch(Market.STOCKS, [moved], baselines=Baselines(move_bps={"AAA": 40.0}))) == []


def correlated_pairs(
    symbols: int = 5, minutes: int = 240, leaves: int | None = None, seed: int = 4
) -> list[pl.DataFrame]:
    """Crypto pairs that follow one factor, a trade every ten seconds; pair `leaves` stops following after three hours."""
    generator = np.random.default_rng(seed)
    start, count = session(Market.CRYPTO).regular_start, minutes * 6
    factor = np.cumsum(generator.normal(0, 2e-4, count))
    tapes = []
    for k in range(symbols):
        path = factor + np.cumsum(generator.normal(0, 1e-4, count))
        if k == leaves:
            own = np.cumsum(generator.normal(0, 2.2e-4, count))
            path[180 * 6 :] = (
                path[180 * 6] - (factor[180 * 6 :] - factor[180 * 6]) * 0.5 + own[180 * 6 :] - own[180 * 6]
            )
        time = start + np.arange(count) * 10 * NS_PER_SECOND + k
        tapes.append(trades(f"X:S{k}-USD", time.tolist(), (100 * np.exp(path)).tolist(), [1.0] * count, "1"))
    return tapes


@pytest.mark.long
def test_a_symbol_that_stops_following_its_group_breaks_its_correlation() -> None:
    assert openings(watch(Market.CRYPTO, correlated_pairs()), "correlation_break") == []
    changes = watch(Market.CRYPTO, correlated_pairs(leaves=2))
    found = openings(changes, "correlation_break")
    assert [change.row["symbol"] for change in found] == ["X:S2-USD"]
    assert found[0].row["value"] < 0.1
    assert found[0].row["baseline"] > 0.5


def test_correlation_is_judged_on_minute_bars_alone() -> None:
    minutes = [
        tape.group_by_dynamic("time", every="1m", group_by="symbol")
        .agg(
            open=pl.first("price"),
            high=pl.max("price"),
            low=pl.min("price"),
            close=pl.last("price"),
            volume=pl.sum("size"),
        )
        .sort("time")
        for tape in correlated_pairs(leaves=2)
    ]
    changes = watch(Market.CRYPTO, bars=[bars(frame) for frame in minutes])
    assert [change.row["symbol"] for change in openings(changes, "correlation_break")] == ["X:S2-USD"]


def test_a_silent_symbol_is_stale_until_its_data_resumes() -> None:
    tapes = [steady_tape(symbol, minutes=90) for symbol in ("AAA", "BBB", "CCC", "DDD")]
    silent = tapes[1].filter(~from_minute(tapes[1], 40, 60))
    changes = watch(Market.STOCKS, [tapes[0], silent, *tapes[2:]])
    assert rules_of(changes) == [("stale_symbol", "BBB")]
    (opening,), (closing,) = openings(changes), closings(changes)
    assert opening.row["start_time"].timestamp() == pytest.approx(OPEN / NS_PER_SECOND + 2400, abs=10)
    assert opening.row["value"] >= 180
    assert (closing.row["end_time"] - closing.row["start_time"]).total_seconds() == pytest.approx(1200, abs=30)


def test_a_channel_that_stops_in_all_symbols_is_one_feed_outage() -> None:
    names = ("AAA", "BBB", "CCC", "DDD")
    tapes = [steady_tape(symbol, minutes=90) for symbol in names]
    stopped = [tape.filter(~from_minute(tape, 40, 60)) for tape in tapes]
    changes = watch(Market.STOCKS, stopped, [steady_quotes(symbol, minutes=90) for symbol in names])
    assert rules_of(changes) == [("feed_outage", "")]
    (opening,), (closing,) = openings(changes), closings(changes)
    assert "trades" in opening.row["message"]
    assert opening.row["start_time"].timestamp() == pytest.approx(OPEN / NS_PER_SECOND + 2400, abs=5)
    assert 1200 <= (closing.row["end_time"] - closing.row["start_time"]).total_seconds() <= 1500


def test_silence_of_all_channels_is_a_feed_outage_while_the_clock_is_advanced() -> None:
    names = ("AAA", "BBB", "CCC")
    tapes = [steady_tape(symbol, minutes=40) for symbol in names]
    until = OPEN + 50 * NS_PER_MINUTE
    changes = watch(Market.STOCKS, tapes, [steady_quotes(symbol, minutes=40) for symbol in names], until=until)
    assert rules_of(changes) == [("feed_outage", "")]
    assert "trades, quotes" in openings(changes)[0].row["message"]


def test_a_jump_of_the_tapes_clock_is_no_silence() -> None:
    names = ("AAA", "BBB", "CCC")
    tapes = [tape.filter(~from_minute(tape, 40, 50)) for tape in (steady_tape(s, minutes=90) for s in names)]
    assert watch(Market.STOCKS, tapes) == []


@pytest.mark.long
def test_a_timestamp_far_ahead_of_its_batch_does_not_advance_the_clock() -> None:
    tapes = [steady_tape(symbol, minutes=90) for symbol in ("AAA", "BBB")]
    ahead = (
        tapes[0]
        .with_row_index("row")
        .with_columns(
            time=pl.when(pl.col("row") == 2500)
            .then(pl.col("time") + pl.duration(hours=2, time_unit="ns"))
            .otherwise("time")
        )
    )
    ordered = pl.concat([ahead.drop("row"), tapes[1]]).sort("received_time")
    found = Watch(Market.STOCKS, DetectionConfig.load())
    changes = [c for k in range(0, ordered.height, 20) for c in found.observe(StreamBatch(trades=ordered[k : k + 20]))]
    assert changes == []
    assert found.tape_ns <= int(ordered["received_time"].cast(pl.Int64).max()) + 10 * NS_PER_SECOND


def test_index_values_are_prices() -> None:
    count = 60 * 30
    time = OPEN + np.arange(count) * 2 * NS_PER_SECOND
    level = 4000 * np.exp(np.cumsum(np.random.default_rng(1).normal(0, 1e-5, count)))
    level[1200:] *= 1.01
    values = quotes("I:SPX", time.tolist(), level.tolist(), level.tolist())
    assert rules_of(watch(Market.INDICES, [], [values])) == [("price_move", "I:SPX")]


def quoted_walk(minutes: int = 90, seed: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Times of a quote every two seconds from the open, and a walk of 2 bps per quote whose volatility slowly grows."""
    time = OPEN + np.arange(minutes * 30) * 2 * NS_PER_SECOND
    steps = np.random.default_rng(seed).normal(0, 2e-4, time.size) * np.linspace(1.0, 1.5, time.size)
    return time, steps


def quoted(time: np.ndarray, steps: np.ndarray) -> pl.DataFrame:
    middle = 100 * np.exp(np.cumsum(steps))
    return quotes("AAA", time.tolist(), (middle - 0.01).tolist(), (middle + 0.01).tolist())


@pytest.mark.parametrize("minutes", [4, 9])
def test_a_volatility_burst_of_a_quoted_symbol_is_found_in_its_midquotes(minutes: int) -> None:
    time, steps = quoted_walk()
    assert openings(watch(Market.STOCKS, [], [quoted(time, steps)]), "volatility_burst") == []
    steps[50 * 30 : (50 + minutes) * 30] *= 4.8
    changes = watch(Market.STOCKS, [], [quoted(time, steps)])
    (opening,) = openings(changes, "volatility_burst")
    (closing,) = closings(changes, "volatility_burst")
    minute = (opening.row["start_time"].timestamp() - OPEN / NS_PER_SECOND) / 60
    assert 51 <= minute <= 51 + minutes
    # The range in a minute of a walk of 2 bps every two seconds.
    assert opening.row["baseline"] == pytest.approx(1.6 * 2 * 30**0.5 * 1.25, rel=0.3)
    assert opening.row["multiple"] >= 4
    assert closing.row["peak"] >= opening.row["value"]


@pytest.mark.parametrize("parts", [1, 2], ids=["one step", "two steps"])
def test_a_jump_of_midquotes_is_no_burst(parts: int) -> None:
    time, steps = quoted_walk()
    for part in range(parts):
        steps[50 * 30 + 4 + 5 * part] += 0.02 / parts
    rules = {name for name, _ in rules_of(watch(Market.STOCKS, [], [quoted(time, steps)]))}
    assert "price_move" in rules
    assert "volatility_burst" not in rules
