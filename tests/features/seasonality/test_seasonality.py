"""The usual size of a minute: worked by hand and by plain loops; what an event does to it; no future."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tapewatch.features.microstructure import microstructure
from tapewatch.features.robust import quantile, scale_of, shrunk
from tapewatch.features.seasonality.measures import COLUMNS, MEASURES, MORE
from tapewatch.features.seasonality.model import BUCKET, LAG, WINDOW, SeasonalModel
from tapewatch.features.seasonality.rows import seasonality
from tapewatch.lookahead.catalogue import MINUTES, seasonality_with
from tapewatch.lookahead.checks import judge
from tapewatch.lookahead.computation import Computation, Tape
from tapewatch.market.instruments import NS_PER_MINUTE, Market, Session
from tapewatch.market.tables.features import MICROSTRUCTURE_MORE, SEASONALITY
from tapewatch.market.tables.tape import MICROSTRUCTURE, TIME
from tests.lookahead.minutes import by_symbol
from tests.support.recorded import TICK_DAYS, recorded_quotes, recorded_trades
from tests.support.tapes import random_tape, stock_session

SESSION = stock_session()
VOLUME, RETURN = (next(each for each in MEASURES if each.name == name) for name in ("volume", "return_bps"))


def minutes_of(volumes: dict[str, np.ndarray], session: Session = SESSION, **others: np.ndarray) -> pl.DataFrame:
    """`MICROSTRUCTURE` rows from the open on, with these volumes by symbol; `others` are the same for every symbol."""
    frames = []
    for symbol, volume in volumes.items():
        start = session.regular_start + np.arange(len(volume)) * NS_PER_MINUTE
        values = {
            "volume": volume,
            "buy_volume": volume,
            "sell_volume": np.zeros(len(volume)),
            **{name: column[: len(volume)] for name, column in others.items()},
        }
        frames.append(
            pl.DataFrame(
                {
                    "symbol": [symbol] * len(volume),
                    "event_time": pl.Series(start).cast(TIME),
                    "known_time": pl.Series(start + NS_PER_MINUTE).cast(TIME),
                    "is_regular": [True] * len(volume),
                    "session_minute": np.arange(len(volume)),
                    **{name: pl.Series(column, nan_to_null=True) for name, column in values.items()},
                    "trade_count": [1] * len(volume),
                }
            ).with_columns(pl.lit(None, pl.Float64).alias(name) for name in COLUMNS if name not in (
                "symbol", "is_regular", "session_minute", "trade_count", *values
            ))
        )  # fmt: skip
    return pl.concat(frames)


def fitted(*days: pl.DataFrame) -> SeasonalModel:
    model = SeasonalModel.fit([day.lazy() for day in days])
    assert model is not None
    return model


def u_shaped(scale: float = 1.0, minutes: int = 390) -> np.ndarray:
    """Volumes that are four times as high in the first and last half hour."""
    edge = (np.arange(minutes) < 30) | (np.arange(minutes) >= 360)
    return scale * np.where(edge, 400.0, 100.0)


def test_the_formula_by_hand() -> None:
    """One symbol, one earlier day: 15 minutes of 300 shares and 45 of 100."""
    day = np.array([300.0] * 15 + [100.0] * 45)
    model = fitted(minutes_of({"AAA": day}))
    base = 150.0
    quiet, busy = math.log(100 / base + 0.05), math.log(300 / base + 0.05)
    usual = model.measures["volume"]
    assert usual.base[0] == pytest.approx(base)
    assert usual.level[0] == pytest.approx(quiet)
    # The only symbol is its market too, so nothing moves it: the first quarter of an hour lies `busy - quiet` higher.
    assert usual.profile[:, 0] == pytest.approx([busy - quiet, 0, 0, 0])
    # The day deviates in nothing, so the scale is the least.
    assert usual.scale[0] == 0.05
    # Of a day at twice that volume, minute 20: the level is of minutes 0 to 4, and 15 of the day before.
    rows = seasonality(minutes_of({"AAA": 2 * day}), model)
    level = (5 * (math.log(600 / base + 0.05) - (busy - quiet)) + 15 * quiet) / 20
    row = rows.row(20, named=True)
    assert row["usual_volume"] == pytest.approx(base * (math.exp(level) - 0.05))
    assert row["volume_deviation"] == pytest.approx((math.log(200 / base + 0.05) - level) / 0.05)
    assert row["days"] == 1
    # A sale of 200 shares against the usual size of net volume, with its sign.
    sold = minutes_of({"AAA": 2 * day}, buy_volume=np.zeros(60), sell_volume=2 * day)
    signed = seasonality(sold, model).row(20, named=True)
    assert signed["net_volume_deviation"] == pytest.approx(max(-200 / (base * math.exp(level)) / 0.05, -30.0))


def test_the_same_by_plain_loops() -> None:
    rng = np.random.default_rng(4)
    days = [minutes_of({s: np.round(rng.gamma(0.6, 200, 390)) for s in ("AAA", "BBB", "CCC")}) for _ in range(4)]
    *earlier, today = days
    rows = seasonality(today, fitted(*earlier))
    sizes, base = {}, {}
    for symbol in ("AAA", "BBB", "CCC"):
        own = [day.filter(pl.col("symbol") == symbol)["volume"].to_numpy() for day in days]
        base[symbol] = np.mean(own[:3])
        sizes[symbol] = [np.log(volume / base[symbol] + 0.05) for volume in own]
    shape = {
        s: [[day[b * 15 : b * 15 + 15] - np.median(day) for day in sizes[s][:3]] for b in range(26)] for s in sizes
    }
    own = {s: np.array([np.median(np.concatenate(shape[s][b])) for b in range(26)]) for s in sizes}
    market = np.median(list(own.values()), axis=0)
    levels = {s: np.median([np.median(day) for day in sizes[s][:3]]) for s in sizes}

    def deviations(symbol: str, day: np.ndarray) -> np.ndarray:
        profile = np.repeat(0.5 * own[symbol] + 0.5 * market, 15)
        found = []
        for at in range(390):
            before = (day - profile)[max(at - LAG - WINDOW, 0) : max(at - LAG, 0)]
            level = (before.sum() + 15 * levels[symbol]) / (before.size + 15)
            found.append(day[at] - profile[at] - level)
        return np.array(found)

    past = {s: np.concatenate([deviations(s, day) for day in sizes[s][:3]]) for s in sizes}
    ends = {s: np.quantile(values, [0.05, 0.25, 0.75, 0.95]) for s, values in past.items()}
    scales = {s: max((q[2] - q[1]) / 1.349, (q[3] - q[0]) / 6.58) for s, q in ends.items()}
    for symbol in sizes:
        scale = 0.5 * scales[symbol] + 0.5 * np.median(list(scales.values()))
        found = rows.filter(pl.col("symbol") == symbol)["volume_deviation"].to_numpy()
        np.testing.assert_allclose(found, deviations(symbol, sizes[symbol][3]) / scale, rtol=1e-9, atol=1e-12)


def test_a_busy_open_is_usual_and_the_same_volume_at_noon_is_not() -> None:
    rng = np.random.default_rng(1)
    days = [minutes_of({"AAA": u_shaped() * rng.lognormal(0, 0.3, 390)}) for _ in range(8)]
    burst = u_shaped()
    burst[200:210] = 400.0
    rows = seasonality(minutes_of({"AAA": burst}), fitted(*days))
    deviation = rows["volume_deviation"].to_numpy()
    assert np.abs(deviation[np.r_[0:30, 40:190, 360:390]]).max() < 1.5
    assert deviation[200:210].min() > 3


def test_an_event_does_not_raise_its_own_yardstick() -> None:
    rng = np.random.default_rng(2)
    days = [minutes_of({"AAA": u_shaped() * rng.lognormal(0, 0.3, 390)}) for _ in range(5)]
    calm, burst = u_shaped(), u_shaped()
    burst[200:] *= 5.0
    model = fitted(*days)
    usual = [seasonality(minutes_of({"AAA": day}), model)["usual_volume"].to_numpy() for day in (calm, burst)]
    np.testing.assert_array_equal(usual[0][: 200 + LAG + 1], usual[1][: 200 + LAG + 1])
    # An hour and a quarter later the level is that of the new times.
    assert usual[1][200 + LAG + WINDOW] > 3 * usual[0][200 + LAG + WINDOW]


@pytest.mark.long
def test_few_days_are_drawn_towards_the_market() -> None:
    flat, curved = np.full(390, 100.0), u_shaped()
    many = {f"S{n}": curved * (n + 1) for n in range(9)}
    young = minutes_of({**many, "NEW": flat})
    old = [minutes_of(many) for _ in range(20)]
    first, later = fitted(*old, young), fitted(*old, *[young] * 20)
    new, others = first.symbols.index("NEW"), first.symbols.index("S0")
    market = first.measures["volume"].profile[0, others]
    mean = u_shaped().mean()
    assert market == pytest.approx(math.log(400 / mean + 0.05) - math.log(100 / mean + 0.05))
    assert first.measures["volume"].profile[0, new] == pytest.approx(0.75 * market)
    assert later.measures["volume"].profile[0, new] == pytest.approx(
        3 / 23 * later.measures["volume"].profile[0, others]
    )


@pytest.mark.parametrize(
    "day",
    [
        np.zeros(390),
        np.r_[np.zeros(389), 1.0],
        np.full(390, 100.0),
        np.r_[np.full(100, np.nan), np.full(290, 5.0)],
        np.full(40, 1e300),
    ],
    ids=["nothing traded", "one trade", "constant", "nulls", "huge"],
)
def test_hard_days_give_nulls_and_no_infinity(day: np.ndarray) -> None:
    rows = minutes_of({"AAA": day, "BBB": u_shaped()}, return_bps=np.full(390, np.nan))
    found = seasonality(rows, fitted(rows, rows))
    SEASONALITY.check(found)
    assert found["return_bps_deviation"].null_count() == found.height
    assert found.filter(pl.col("symbol") == "BBB")["volume_deviation"].null_count() == 0
    if not day.any():
        assert found.filter(pl.col("symbol") == "AAA")["volume_deviation"].null_count() == 390


def test_without_earlier_days_there_is_nothing_usual() -> None:
    rows = minutes_of({"AAA": u_shaped()})
    assert SeasonalModel.fit([]) is None
    assert SeasonalModel.fit([rows.clear().lazy()]) is None
    for found in (seasonality(rows, None), seasonality(rows, fitted(minutes_of({"BBB": u_shaped()})))):
        assert found["days"].to_list() == [0] * 390
        assert found["usual_volume"].null_count() == found["volume_deviation"].null_count() == 390
    assert seasonality(rows.clear(), None).equals(SEASONALITY.empty())


def test_a_longer_day_than_those_before_continues_their_last_step() -> None:
    rows = minutes_of({"AAA": np.full(390, 100.0)})
    found = seasonality(rows, fitted(*[minutes_of({"AAA": np.full(210, 100.0)})] * 3))
    assert found["volume_deviation"].to_numpy() == pytest.approx(np.zeros(390), abs=1e-9)


def test_a_symbol_alone_has_the_rows_that_it_has_among_others() -> None:
    """Of one model: a collector may compute symbols one by one."""
    rng = np.random.default_rng(3)
    earlier = [minutes_of({s: rng.gamma(1, 100, 390) for s in "ABC"}) for _ in range(3)]
    today, model = minutes_of({s: rng.gamma(1, 100, 390) for s in "ABC"}), fitted(*earlier)
    together = seasonality(today, model)
    own = pl.col("symbol") == "B"
    assert seasonality(today.filter(own), model).equals(together.filter(own))
    for cut in (1, 100, 389):
        part = pl.col("session_minute") < cut
        kept = together.filter(pl.int_range(pl.len()).over("symbol") < cut)
        assert seasonality(today.filter(part), model).equals(kept), "rows of the day so far"


@pytest.fixture(scope="module")
def model() -> SeasonalModel:
    """Of two days of a small random tape, in which AAA and BBB trade."""
    days = [random_tape(seed, trades=500) for seed in (1, 2)]
    return fitted(*[microstructure(trades, quotes, SESSION) for trades, quotes in days])


def tape() -> Tape:
    trades, quotes = random_tape(5, trades=500)
    trades = trades.with_columns(id=pl.format("{}", "sequence_number"), participant_time="time")
    return Tape(SESSION, {"trades": trades, "quotes": quotes}, ("AAA", "BBB"), SESSION.day_end)


def test_nothing_uses_the_future(model: SeasonalModel) -> None:
    verdict = judge(seasonality_with(model), tape(), cuts=8)
    assert verdict.is_clean, verdict
    assert verdict.rows > 300


_DAY_MEDIAN = pl.col("volume_deviation") - pl.col("volume_deviation").median().over("symbol")


def _centred(rows: pl.DataFrame) -> pl.DataFrame:
    """The level of a window around the minute."""
    level = pl.col("usual_volume").rolling_mean(31, center=True, min_samples=1).over("symbol")
    return rows.with_columns(usual_volume=level)


def _of_today(rows: Callable[[Tape], pl.DataFrame]) -> Callable[[Tape], pl.DataFrame]:
    """The profile is made of the day that it judges."""
    return lambda tape: seasonality(rows(tape), SeasonalModel.fit([rows(tape).lazy()]))


LEAKS: dict[str, Callable[[Computation], Computation]] = {
    "profile of the same day": lambda each: replace(each, rows=_of_today(MINUTES.rows)),
    "less the day's median": lambda each: replace(each, rows=lambda t: each.rows(t).with_columns(volume_deviation=_DAY_MEDIAN)),
    "level around the minute": lambda each: replace(each, rows=lambda t: _centred(each.rows(t))),
    "next minute": lambda each: replace(
        each, rows=lambda t: by_symbol(each.rows(t), lambda part: part.with_columns(pl.col("usual_volume").shift(-20)))
    ),
}  # fmt: skip


@pytest.mark.parametrize("leak", LEAKS.values(), ids=list(LEAKS))
def test_a_planted_leak_is_found(model: SeasonalModel, leak: Callable[[Computation], Computation]) -> None:
    verdict = judge(leak(seasonality_with(model)), tape(), cuts=None)
    assert verdict.check in ("cut", "perturb"), verdict
    assert verdict.horizon is not None


@pytest.mark.long
@pytest.mark.real_tape
def test_on_recorded_days_the_open_is_no_event(market_data: Path) -> None:
    """The first and last half hour, 15 % of the day, hold half of the busiest minutes, and a tenth of those that deviate."""
    days = []
    for date in TICK_DAYS:
        is_chosen = pl.col("symbol").cast(pl.String).is_in(["AIG", "BAC", "IBM"])
        tape = (recorded_trades(market_data, date), recorded_quotes(market_data, date))
        days.append(microstructure(*(part.filter(is_chosen) for part in tape), stock_session(date)))
    rows = seasonality(days[2], fitted(*days[:2])).with_columns(minute=pl.int_range(pl.len()).over("symbol"))
    SEASONALITY.check(rows.drop("minute"), Market.STOCKS)
    is_edge = (pl.col("minute") < 30) | (pl.col("minute") >= 360)
    logs = days[2].filter("is_regular")["volume"].log1p()
    plain = rows.with_columns(volume_deviation=logs).select("symbol", "minute", "volume_deviation")
    shares = [
        each.filter(pl.col("volume_deviation") >= pl.col("volume_deviation").quantile(0.95).over("symbol"))
        .select(is_edge.mean())
        .item()
        for each in (plain, rows)
    ]
    assert shares[0] > 0.45
    assert shares[1] < 0.2


def test_quantiles_scales_and_shrinking_by_numpy() -> None:
    rng = np.random.default_rng(0)
    values = np.where(rng.random((50, 4, 3)) < 0.2, np.nan, rng.normal(size=(50, 4, 3)))
    for share in (0.0, 0.05, 0.5, 0.75, 1.0):
        np.testing.assert_allclose(quantile(values, share), np.nanquantile(values, share, axis=0), rtol=1e-12)
    assert np.isnan(quantile(np.full((4, 1), np.nan), 0.5)).all()
    normal = np.quantile(rng.normal(size=200_000), [0.05, 0.25, 0.75, 0.95])
    assert scale_of(*normal) == pytest.approx(1.0, rel=0.01)
    assert shrunk(np.array([4.0, np.nan]), np.array([0.0, 2.0]), np.array([3.0, 0.0]), 1.0).tolist() == [3.0, 2.0]


def test_only_the_steps_of_a_quarter_of_an_hour_are_told_apart() -> None:
    assert SESSION.regular_minutes == BUCKET * 26
    assert set(COLUMNS) <= set(MICROSTRUCTURE.schema)
    assert set(MORE) <= set(MICROSTRUCTURE_MORE.schema)
