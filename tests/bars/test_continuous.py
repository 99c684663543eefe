"""A continuous series of futures: rolled by the day before, without a jump, worth what a holder would have."""

import datetime as dt
import itertools

import polars as pl
import pytest

from tapewatch.bars.continuous import Holding, continuous_bars, contract_of, holdings
from tapewatch.lookahead.catalogue import continuous_with
from tapewatch.lookahead.checks import judge
from tapewatch.lookahead.computation import Tape
from tapewatch.market.instruments import NS_PER_MINUTE, Market, Partition
from tapewatch.market.tables.derived import CONTINUOUS_BARS
from tapewatch.market.tables.tape import BARS, TIME

FIRST = dt.date(2024, 3, 5)
DAYS = [Partition(FIRST + dt.timedelta(days=back), Market.FUTURES) for back in range(4)]


def bars_of(day: Partition, **contracts: list[tuple[float, float, float]]) -> pl.DataFrame:
    """`BARS` of a day from (open, close, volume) of each minute, by contract."""
    frames = []
    for symbol, minutes in sorted(contracts.items()):
        start = [day.session.regular_start + at * NS_PER_MINUTE for at in range(len(minutes))]
        opens, closes, volumes = (list(column) for column in zip(*minutes, strict=True))
        frame = pl.DataFrame({"time": start, "open": opens, "close": closes, "volume": volumes}).with_columns(
            pl.col("time").cast(TIME),
            known_time=(pl.col("time") + NS_PER_MINUTE).cast(TIME),
            symbol=pl.lit(symbol),
            high=pl.max_horizontal("open", "close"),
            low=pl.min_horizontal("open", "close"),
            source=pl.lit("trades"),
        )
        frames.append(
            BARS.conform(frame.with_columns(pl.lit(None).alias(n) for n in BARS.schema if n not in frame.columns))
        )
    return pl.concat(frames)


def series(*days: pl.DataFrame) -> list[pl.DataFrame]:
    """The continuous bars of consecutive days, each from the day before."""
    found = [CONTINUOUS_BARS.empty()]
    for before, today in itertools.pairwise(days):
        found.append(continuous_bars(today, holdings(before, pl.concat(found), FIRST.year)))
        CONTINUOUS_BARS.check(found[-1], Market.FUTURES)
    return found[1:]


def test_a_roll_by_hand() -> None:
    """The June contract has more volume on the second day, and is held from the third."""
    days = (
        bars_of(DAYS[0], ESH4=[(100, 100, 50)], ESM4=[(110, 110, 10)]),
        bars_of(DAYS[1], ESH4=[(100, 102, 20), (102, 104, 20)], ESM4=[(112, 114, 90)]),
        bars_of(DAYS[2], ESH4=[(105, 105, 5)], ESM4=[(116, 120, 99), (120, 118, 99)]),
        # The March contract is busy once more: nothing is rolled back.
        bars_of(DAYS[3], ESH4=[(1, 1, 999)], ESM4=[(118, 119, 1)]),
    )
    second, third, fourth = series(*days)
    assert second["symbol"].unique().to_list() == ["ESH4"]
    assert second["value"].to_list() == pytest.approx([1.02, 1.04])
    assert second["is_roll"].to_list() == [True, False]
    assert third["symbol"].unique().to_list() == fourth["symbol"].unique().to_list() == ["ESM4"]
    # Joined at the closes of the day before: 104 of March is 114 of June.
    assert third["factor"].unique().to_list() == pytest.approx([104 / 114])
    assert third["offset"].unique().to_list() == [-10.0]
    # Bought at the open of 116 for 1.04 (Lopez de Prado 2018, section 2.4.1: the gap to the open is no gain).
    units = 1.04 / 116
    assert third["units"].unique().to_list() == pytest.approx([units])
    assert third["value"].to_list() == pytest.approx([1.04 + 4 * units, 1.04 + 2 * units])
    assert fourth["value"].to_list() == pytest.approx([1.04 + 3 * units])
    assert fourth["is_roll"].to_list() == [False]


def test_the_first_day_holds_nothing_and_each_root_is_by_itself() -> None:
    day = bars_of(DAYS[0], ESM4=[(1, 1, 5)], CLN4=[(7, 7, 9)], CLM4=[(8, 8, 2)])
    spread = bars_of(DAYS[0], **{"CLM4-CLN4": [(1, 1, 1e9)]})
    assert holdings(day.clear(), CONTINUOUS_BARS.empty(), 2024) == {}
    both = pl.concat([day, spread])
    assert holdings(both, CONTINUOUS_BARS.empty(), 2024) == {"CL": Holding("CLN4"), "ES": Holding("ESM4")}
    assert continuous_bars(day, {}).is_empty()
    assert continuous_bars(day.clear(), {"ES": Holding("ESM4")}).is_empty()


def test_prices_below_zero_have_no_ratio_but_a_difference_and_a_worth() -> None:
    """As crude oil on 2020-04-20."""
    days = (
        bars_of(DAYS[0], CLK4=[(10, 10, 9)], CLM4=[(20, 20, 1)]),
        bars_of(DAYS[1], CLK4=[(10, -37, 9)], CLM4=[(20, 21, 99)]),
        bars_of(DAYS[2], CLM4=[(21, 22, 9)]),
    )
    second, third = series(*days)
    assert second["value"].to_list() == pytest.approx([1 - 47 / 10])
    assert third["factor"].null_count() == 1
    assert third["offset"].to_list() == [-58.0]
    assert third["value"].to_list() == pytest.approx([-3.7 + -3.7 / 21])


def test_a_contract_that_ends_is_followed_by_the_busiest_later_one() -> None:
    days = (
        bars_of(DAYS[0], ESH4=[(1, 1, 9)]),
        bars_of(DAYS[1], ESH4=[(1, 2, 9)]),
        bars_of(DAYS[2], ESM4=[(3, 3, 1)], ESU4=[(4, 4, 2)]),
        bars_of(DAYS[3], ESU4=[(4, 5, 2)]),
    )
    second, third, fourth = series(*days)
    assert second["symbol"].to_list() == ["ESH4"]
    assert third.is_empty(), "what was held has ended, and the day before does not show what follows"
    assert fourth["symbol"].to_list() == ["ESU4"]
    # Joined at the last close of each: 2 of March is 4 of September.
    assert fourth["factor"].to_list() == [0.5]
    assert fourth["value"].to_list() == pytest.approx([2.0 * 5 / 4])


@pytest.mark.parametrize(
    ("symbol", "year", "expected"),
    [
        ("ESM4", 2024, ("ES", 12 * 2024 + 5)),
        ("ESZ3", 2024, ("ES", 12 * 2023 + 11)),
        ("GCG0", 2029, ("GC", 12 * 2030 + 1)),
        ("6EU24", 2024, ("6E", 12 * 2024 + 8)),
        ("ESM4-ESU4", 2024, None),
        ("AAPL", 2024, None),
    ],
)
def test_root_and_month_of_a_contract(symbol: str, year: int, expected: tuple[str, int] | None) -> None:
    assert contract_of(symbol, year) == expected


def test_nothing_uses_the_future() -> None:
    minutes = [(100.0 + at, 100.5 + at, 5.0 + at % 3) for at in range(40)]
    before = bars_of(DAYS[0], ESH4=[(1, 1, 5)], ESM4=[(1, 1, 4)])
    bars = bars_of(DAYS[1], ESH4=minutes, ESM4=minutes)
    held = holdings(before, CONTINUOUS_BARS.empty(), 2024)
    tape = Tape(DAYS[1].session, {"bars": bars}, ("ESH4", "ESM4"), DAYS[1].session.day_end)
    verdict = judge(continuous_with(held), tape, cuts=8)
    assert verdict.is_clean, verdict
    assert verdict.rows == 40


def test_a_roll_decided_by_the_day_itself_is_a_leak() -> None:
    minutes = [(100.0, 100.5, 5.0 + at) for at in range(40)]
    bars = bars_of(DAYS[1], ESH4=minutes[::-1], ESM4=minutes)
    clean = continuous_with({})

    def peeking(tape: Tape) -> pl.DataFrame:
        return continuous_bars(tape[BARS], holdings(tape[BARS], CONTINUOUS_BARS.empty(), 2024))

    leaking = type(clean)(**{name: getattr(clean, name) for name in clean.__dataclass_fields__} | {"rows": peeking})
    tape = Tape(DAYS[1].session, {"bars": bars}, ("ESH4", "ESM4"), DAYS[1].session.day_end)
    assert judge(leaking, tape, cuts=None).check in ("cut", "perturb")
