"""The paper broker equals the backtest, survives kills, and obeys its risk states."""

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

import polars as pl
import pytest
import sqlalchemy as sa

from tapewatch.market.instruments import NS_PER_MINUTE
from tapewatch.market.tables.paper import PAPER_FILLS, PAPER_ORDERS, PAPER_REFUSALS, PAPER_RISK
from tapewatch.store.database.database import Database
from tapewatch.store.database.engine import transaction
from tapewatch.trading.engine import EngineSettings, Tape, run
from tapewatch.trading.paper.broker import PaperBroker
from tapewatch.trading.paper.ledger import PaperError, open_account, send, set_risk
from tapewatch.trading.paper.protections import Protections, RiskState
from tests.support.crash_points import Killed
from tests.support.paper import ACCOUNT, END, LIMITS, SETTINGS, recorded_day, state_of
from tests.support.postgres import PostgresServer, postgres_server
from tests.support.trading import OPEN_NS, at, bars, order, orders
from tests.trading.engine.test_properties import random_sent, random_tape

NONE = Protections.none()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database(f"sqlite:///{tmp_path / 'paper.db'}") as database:
        yield database


def read(database: Database, table: Any) -> pl.DataFrame:
    return database.read(table, where={"account": ACCOUNT}).drop("market", "date", "account")


def in_microseconds(frame: pl.DataFrame) -> pl.DataFrame:
    """As the database keeps it."""
    return frame.with_columns(pl.col(pl.Datetime("ns", "UTC")).dt.truncate("1us")).sort("time", frame.columns[0])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["bars", "quotes"])
def test_paper_over_a_replay_equals_the_backtest_order_by_order(database: Database, kind: str) -> None:
    import numpy as np  # noqa: PLC0415

    rng = np.random.default_rng(5)
    if kind == "bars":
        frame, sent = recorded_day(5, 120)
        tape = Tape.of_bars(frame)
    else:
        tape, sent = Tape.of(random_tape(rng)), random_sent(rng).sort("time", "order_id")
    broker = PaperBroker(database, ACCOUNT, SETTINGS, NONE, is_bars=tape.is_bars)
    sent = sent.filter(pl.col("time").dt.epoch("ns") <= tape.last)
    assert send(database, ACCOUNT, sent) == sent.height
    end = tape.last + 60 * 10**9
    for until in range(OPEN_NS, end, (end - OPEN_NS) // 7):
        broker.process(tape, until)
    broker.process(tape, end)
    backtest = run(sent, tape, SETTINGS)
    fills, refused = read(database, PAPER_FILLS), read(database, PAPER_REFUSALS)
    assert backtest.fills.height > 20
    assert fills.sort("time", "fill_id").equals(in_microseconds(backtest.fills))
    assert refused.sort("time", "refusal_id").drop("detail").equals(in_microseconds(backtest.refusals).drop("detail"))
    states = read(database, PAPER_ORDERS).sort("order_id").select("order_id", "state", "filled")
    assert states.equals(backtest.orders.sort("order_id").select("order_id", "state", "filled"))
    assert broker.simulation.equity_cents == backtest.equity["equity_cents"][-1]


def undisturbed(url: str, seed: int) -> dict[str, pl.DataFrame]:
    tape, sent = recorded_day(seed, 60)
    with Database(url) as database:
        open_account(database, ACCOUNT, SETTINGS, is_bars=True)
        send(database, ACCOUNT, sent)
        PaperBroker(database, ACCOUNT, SETTINGS, LIMITS).process(Tape.of_bars(tape), END)
        return state_of(database)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'killed.db'}"
    return str(request.getfixturevalue("server").database())


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgres_server() as running:
        yield running


@pytest.mark.slow
def test_killed_at_every_commit_equals_undisturbed(url: str, tmp_path: Path) -> None:
    """Each step is killed as it commits, then continued by another broker, which is killed at the next step."""
    expected = undisturbed(f"sqlite:///{tmp_path / 'undisturbed.db'}", 1)
    frame, sent = recorded_day(1, 60)
    tape = Tape.of_bars(frame)
    with Database(url) as database:
        open_account(database, ACCOUNT, SETTINGS, is_bars=True)
        send(database, ACCOUNT, sent)
        steps = kills = 0

        @contextmanager
        def killed_in_the_second(engine: sa.Engine, **options: Any) -> Iterator[sa.Connection]:
            nonlocal steps, kills
            with transaction(engine, **options) as connection:
                yield connection
                steps += not options
                if steps == 2:
                    kills += 1
                    raise Killed

        with patch("tapewatch.trading.paper.broker.transaction", killed_in_the_second):
            while True:
                broker = PaperBroker(database, ACCOUNT, SETTINGS, LIMITS)
                # The first step of each broker is committed; the second is killed as it commits.
                steps = 0
                with suppress(Killed):
                    broker.process(tape, END)
                    break
                steps = 0
        assert kills > 50
        for name, frame in state_of(database).items():
            assert frame.equals(expected[name]), name


def test_another_broker_of_the_same_account_is_found(database: Database) -> None:
    frame, _ = recorded_day(1, 5)
    tape = Tape.of_bars(frame)
    first, second = (PaperBroker(database, ACCOUNT, SETTINGS, NONE) for _ in range(2))
    first.process(tape, OPEN_NS + 2 * NS_PER_MINUTE)
    with pytest.raises(PaperError, match="another broker trades paper account test"):
        second.process(tape, OPEN_NS + 3 * NS_PER_MINUTE)


def test_an_account_keeps_its_settings(database: Database) -> None:
    PaperBroker(database, ACCOUNT, SETTINGS, NONE)
    with pytest.raises(PaperError, match="opened with other settings"):
        PaperBroker(database, ACCOUNT, EngineSettings(cash=5), NONE)
    with pytest.raises(PaperError, match="trades against bars"):
        PaperBroker(database, ACCOUNT, SETTINGS, NONE, is_bars=False)


def test_what_cannot_be_sent_is_said_at_once(database: Database) -> None:
    with pytest.raises(PaperError, match="there is no paper account"):
        send(database, ACCOUNT, orders(order("a", 0, 1, 1)))
    open_account(database, ACCOUNT, SETTINGS, is_bars=True)
    send(database, ACCOUNT, orders(order("a", 0, 1, 1)))
    with pytest.raises(PaperError, match="order a was sent before"):
        send(database, ACCOUNT, orders(order("b", 0, 1, 1), order("a", 0, 1, 1)))
    tomorrow = dt.datetime.now(dt.UTC) + dt.timedelta(days=1)
    with pytest.raises(PaperError, match="order c is from the future"):
        send(database, ACCOUNT, orders(order("c", 0, 1, 1, time=tomorrow)))
    assert read(database, PAPER_ORDERS)["order_id"].to_list() == ["a"]


#: Open, high, low, close, volume.
TAPE = bars(*[(100, 100.5, 99.5, 100, 1e5)] * 4, (85, 85.5, 84.5, 85, 1e5), *[(70, 70.5, 69.5, 70, 1e5)] * 5)


def traded(database: Database, *rows: dict[str, Any], limits: Protections = NONE) -> PaperBroker:
    """A broker of a new account, with orders sent and nothing processed."""
    broker = PaperBroker(database, ACCOUNT, EngineSettings(), limits)
    send(database, ACCOUNT, orders(*rows))
    return broker


def states(database: Database) -> dict[str, str]:
    return dict(read(database, PAPER_ORDERS).select("order_id", "state").rows())


def risk(database: Database) -> tuple[str, str]:
    row = read(database, PAPER_RISK).row(0, named=True)
    return row["state"], row["reason"]


def test_a_halt_cancels_what_rests_and_refuses_what_comes(database: Database) -> None:
    rows = (order("held", 60, 1, 100), order("rest", 61, 1, 10, limit_price=90.0), order("late", 130, 1, 10))
    broker = traded(database, *rows)
    broker.process(Tape.of_bars(TAPE), OPEN_NS + 2 * NS_PER_MINUTE)
    assert states(database) == {"held": "filled", "rest": "open", "late": "waiting"}
    set_risk(database, ACCOUNT, RiskState.HALTED, "a person", "ann")
    broker.process(Tape.of_bars(TAPE), OPEN_NS + 4 * NS_PER_MINUTE)
    assert states(database) == {"held": "filled", "rest": "cancelled", "late": "refused"}
    assert "the account is HALTED" in read(database, PAPER_REFUSALS)["detail"].item()
    # Another broker starts in the same state.
    again = PaperBroker(database, ACCOUNT, EngineSettings(), NONE)
    send(database, ACCOUNT, orders(order("still", 250, -1, 10)))
    again.process(Tape.of_bars(TAPE), OPEN_NS + 5 * NS_PER_MINUTE)
    assert states(database)["still"] == "refused"
    set_risk(database, ACCOUNT, RiskState.ACTIVE, "checked", "ann")
    send(database, ACCOUNT, orders(order("again", 310, -1, 10)))
    again.process(Tape.of_bars(TAPE), OPEN_NS + 8 * NS_PER_MINUTE)
    assert states(database)["again"] == "filled"


def test_reducing_takes_only_what_reduces(database: Database) -> None:
    broker = traded(database, order("held", 60, 1, 100), order("more", 61, 1, 10, limit_price=90.0))
    broker.process(Tape.of_bars(TAPE), OPEN_NS + 2 * NS_PER_MINUTE)
    set_risk(database, ACCOUNT, RiskState.REDUCING, "a person", "ann")
    send(database, ACCOUNT, orders(order("less", 125, -1, 40), order("turn", 125, -1, 400), order("buy", 125, 1, 1)))
    broker.process(Tape.of_bars(TAPE), OPEN_NS + 4 * NS_PER_MINUTE)
    assert states(database) == {
        "held": "filled",
        "more": "cancelled",
        "less": "filled",
        "turn": "refused",
        "buy": "refused",
    }


def test_a_drawdown_halts_and_resuming_forgets_it(database: Database) -> None:
    broker = traded(database, order("held", 60, 1, 900), limits=Protections(daily_loss=None, symbol_exposure=None))
    broker.process(Tape.of_bars(TAPE), OPEN_NS + 5 * NS_PER_MINUTE)
    assert risk(database)[0] == "ACTIVE"
    broker.process(Tape.of_bars(TAPE), OPEN_NS + 6 * NS_PER_MINUTE)
    # 900 × 30 of 100,000.
    assert risk(database) == ("HALTED", "drawdown of 27.0%: the limit is 20.0%")
    set_risk(database, ACCOUNT, RiskState.ACTIVE, "checked", "ann")
    broker.process(Tape.of_bars(TAPE), OPEN_NS + 8 * NS_PER_MINUTE)
    assert risk(database) == ("ACTIVE", "checked")


def test_a_loss_of_the_day_reduces_until_the_day_ends(database: Database) -> None:
    tomorrow = bars((70, 70.5, 69.5, 70, 1e5), (70, 70.5, 69.5, 70, 1e5), (70, 70.5, 69.5, 70, 1e5), first=24 * 60)
    tape = Tape.of_bars(pl.concat([TAPE, tomorrow]))
    limits = Protections(max_drawdown=None, symbol_exposure=None)
    broker = traded(database, order("held", 60, 1, 900), order("more", 420, 1, 1), limits=limits)
    broker.process(tape, OPEN_NS + 10 * NS_PER_MINUTE)
    assert risk(database)[0] == "REDUCING"
    assert states(database)["more"] == "refused"
    day = 24 * 60 * 60
    send(database, ACCOUNT, orders(order("next", day + 61, 1, 1)))
    broker.process(tape, OPEN_NS + (24 * 60 + 3) * NS_PER_MINUTE)
    assert risk(database) == ("ACTIVE", "the time of REDUCING is over")
    assert states(database)["next"] == "filled"


def test_a_loss_locks_its_symbol_for_a_while(database: Database) -> None:
    limits = Protections(**{**dict.fromkeys(("max_drawdown", "daily_loss", "guard_losses")), "cooldown_s": 120})
    rows = (order("in", 60, 1, 10), order("out", 299, -1, 10), order("soon", 365, 1, 1), order("later", 545, 1, 1))
    broker = traded(database, *rows, limits=limits)
    broker.process(Tape.of_bars(TAPE), OPEN_NS + 10 * NS_PER_MINUTE)
    assert states(database) == {"in": "filled", "out": "filled", "soon": "refused", "later": "open"}
    assert "AAPL is locked for" in read(database, PAPER_REFUSALS)["detail"].item()


def test_an_old_order_is_refused(database: Database) -> None:
    broker = traded(database, order("first", 1, 1, 1), limits=Protections())
    broker.process(Tape.of_bars(TAPE), OPEN_NS + 8 * NS_PER_MINUTE)
    send(database, ACCOUNT, orders(order("old", 100, 1, 1), order("new", 500, 1, 1)))
    broker.process(Tape.of_bars(TAPE), OPEN_NS + 10 * NS_PER_MINUTE)
    assert states(database)["old"] == "refused"
    assert read(database, PAPER_REFUSALS).filter(order_id="old")["reason"].item() == "stale"
    assert states(database)["new"] == "filled"


def test_a_clock_that_jumps_ahead_skips_no_bar(database: Database) -> None:
    broker = traded(database, order("a", 60, 1, 10))
    broker.process(Tape.of_bars(TAPE.head(1)), OPEN_NS + 10**6 * NS_PER_MINUTE)
    assert broker.cursor == OPEN_NS + NS_PER_MINUTE
    broker.process(Tape.of_bars(TAPE), at(180).timestamp().__int__() * 10**9)
    assert states(database) == {"a": "filled"}
