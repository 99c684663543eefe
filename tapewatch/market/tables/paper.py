"""Tables of the paper broker in the operational database.

The database keeps times to the microsecond: what a restarted broker continues from is kept in int64 nanoseconds (`*_ns`).
"""

from dataclasses import replace

from tapewatch.market.schema import Column, Table
from tapewatch.market.tables.signals import SIGNALS
from tapewatch.market.tables.tape import BOOL, F64, I64, TEXT, TIME, TRADES, count, optional, price
from tapewatch.market.tables.trading import CASH_FLOWS, EQUITY, FILLS, ORDERS, REFUSALS

RISK_STATES = ("ACTIVE", "REDUCING", "HALTED")

_ACCOUNT = Column("account", TEXT, "name of the paper account")
_SYMBOL = TRADES.by_name["symbol"]


def _of_account(table: Table) -> Table:
    """A table of the engine, by account."""
    name, key = f"paper_{table.name}", ("account", *table.key)
    return replace(table, name=name, group="live", key=key, sort=key, columns=(_ACCOUNT, *table.columns))


def _number(name: str, description: str, unit: str = "") -> Column:
    return Column(name, I64, description, unit)


PAPER_ACCOUNTS = Table(
    "paper_accounts",
    "live",
    "Each paper account: its money and how far along the tape it is.",
    key=("account",),
    columns=(
        _ACCOUNT,
        Column("created_time", TIME, "when it was opened"),
        Column("settings", TEXT, "digest of the engine's settings, which must not change"),
        Column("is_bars", BOOL, "it trades against bars, else against quotes"),
        count("step", "commits so far: two brokers of one account are found by it"),
        _number("clock_ns", "last event or arrival", "ns"),
        _number("cursor_ns", "the tape up to here was processed", "ns"),
        _number("due_ns", "end of the current interval of the equity", "ns"),
        _number("cash_cents", "cash", "cents"),
        _number("value_cents", "positions at their marks", "cents"),
        _number("gross_cents", "absolute value of all positions", "cents"),
        _number("reserved_cents", "what open orders may add to it", "cents"),
        _number("fees_cents", "fees paid so far", "cents"),
        count("sequence_number", "changes of positions so far"),
        _number("peak_cents", "highest equity so far", "cents"),
        _number("day_cents", "equity at the start of the day", "cents"),
        _number("day_ns", "start of the day (UTC)", "ns"),
        Column("losses", TEXT, "times (ns) of recent trades that closed at a loss, as JSON"),
    ),
)

PAPER_RISK = Table(
    "paper_risk",
    "live",
    "The risk state of each paper account.",
    key=("account",),
    columns=(
        _ACCOUNT,
        Column("at_time", TIME, "since when, by the clock of what set it"),
        Column("state", TEXT, f"`{'`, `'.join(RISK_STATES)}`: any order, only what reduces positions, none"),
        Column("reason", TEXT, "what set it"),
        Column("actor", TEXT, "user, or `protection`"),
        _number("until_ns", "the state ends by itself here; 0 for never, -1 once the feed is back", "ns"),
    ),
)

PAPER_LOCKS = Table(
    "paper_locks",
    "live",
    "Symbols in which a paper account may not open positions for a while.",
    key=("account", "symbol"),
    columns=(
        _ACCOUNT,
        _SYMBOL,
        Column("at_time", TIME, "when it was locked, on the tape's clock"),
        Column("reason", TEXT, "protection that locked it"),
        _number("until_ns", "end of the lock", "ns"),
    ),
)

PAPER_ORDERS = Table(
    "paper_orders",
    "live",
    "Orders of paper accounts and where they stand; one without a number was not taken by the broker yet.",
    key=("account", "order_id"),
    columns=(
        _ACCOUNT,
        *ORDERS.columns,
        Column("state", TEXT, "as in `order_outcomes`"),
        Column("filled", F64, "amount traded", "base units", minimum=0),
        optional("number", I64, "position among the account's orders, from 0"),
        optional("active_ns", I64, "arrival at the market", "ns"),
        optional("expires_ns", I64, "end of the order; null for none", "ns"),
        optional("ended_ns", I64, "when it ended; null while it is open", "ns"),
        Column("is_triggered", BOOL, "the stop was reached"),
        Column("is_resting", BOOL, "it was tried against the market and rests there"),
        count("parts", "fills so far"),
        count("draws", "random numbers drawn for its place in the queue"),
        _number("reserved_cents", "what it may add to the gross value", "cents"),
        _number("paid_cents", "fees paid so far", "cents"),
        Column("owed", F64, "fees due so far, unrounded", "quote currency"),
    ),
)

PAPER_POSITIONS = Table(
    "paper_positions",
    "live",
    "What a paper account holds of a symbol, and the quote in force.",
    key=("account", "symbol"),
    columns=(
        _ACCOUNT,
        _SYMBOL,
        Column("at_time", TIME, "when the row was written, on the tape's clock"),
        count("slot", "position among the account's symbols, from 0"),
        Column("quantity", F64, "amount held, negative if short", "base units"),
        _number("cost_cents", "what it cost, negative if short", "cents"),
        _number("realised_cents", "profit of what was closed, before fees", "cents"),
        _number("value_cents", "quantity times mark", "cents"),
        price("mark_price", "price at which it is valued", is_nullable=True),
        price("bid_price", "best bid, 0 for none"),
        price("ask_price", "best offer, 0 for none"),
        optional("bid_size", F64, "displayed size; null where the market states none", "base units"),
        optional("ask_size", F64, "displayed size; null where the market states none", "base units"),
        Column("bid_used", F64, "what the account took of it", "base units"),
        Column("ask_used", F64, "what the account took of it", "base units"),
        _number("quoted_ns", "time of the quote, or start of the last bar", "ns"),
        _number("session_day", "last session with an event, in days from 1970"),
        Column("is_halted", BOOL, "trading is halted"),
    ),
)

PAPER_FILLS, PAPER_EQUITY, PAPER_REFUSALS, PAPER_CASH_FLOWS = map(_of_account, (FILLS, EQUITY, REFUSALS, CASH_FLOWS))

#: Signals on which an account decided, as they were then.
PAPER_SIGNALS = replace(
    _of_account(SIGNALS), description="Signals on which traders of paper accounts decided, as they were then."
)

PAPER_TRADERS = Table(
    "paper_traders",
    "live",
    "How far the trader of each paper account has followed alerts and bars.",
    key=("account",),
    columns=(
        _ACCOUNT,
        Column("created_time", TIME, "when it began"),
        Column("beat_time", TIME, "when it wrote this row, by this machine's clock"),
        Column("settings", TEXT, "digest of its rules, which must not change"),
        _number("cursor_ns", "it decided on every minute up to here", "ns"),
        count("decisions", "signals decided on so far"),
    ),
)

PAPER: tuple[Table, ...] = (
    PAPER_ACCOUNTS,
    PAPER_RISK,
    PAPER_LOCKS,
    PAPER_ORDERS,
    PAPER_POSITIONS,
    PAPER_FILLS,
    PAPER_EQUITY,
    PAPER_REFUSALS,
    PAPER_CASH_FLOWS,
    PAPER_SIGNALS,
    PAPER_TRADERS,
)
