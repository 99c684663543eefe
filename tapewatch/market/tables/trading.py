"""Tables of the trading engine. Money is simulated, in whole cents of the quote currency; times are on the tape's clock."""

from tapewatch.market.schema import Column, Table
from tapewatch.market.tables.tape import BOOL, F64, I8, I64, TEXT, TIME, TRADES, count, optional, price

ORDER_KINDS = ("market", "limit", "stop")
TIMES_IN_FORCE = ("day", "gtc", "ioc")
ORDER_STATES = ("waiting", "open", "filled", "cancelled", "expired", "refused")

_SYMBOL = TRADES.by_name["symbol"]
_ORDER_ID = Column("order_id", TEXT, "identity of the order")
_SIDE = Column("side", I8, "1 buy, -1 sell", minimum=-1, maximum=1)
_TAG = Column("tag", TEXT, "the signal or strategy that the order comes from; empty for none")


def _cents(name: str, description: str) -> Column:
    return Column(name, I64, description, "cents")


ORDERS = Table(
    "orders",
    "trading",
    "What a strategy wants to trade. A stop order with a limit price becomes a limit order when it is triggered.",
    key=("order_id",),
    sort=("time", "order_id"),
    columns=(
        _ORDER_ID,
        _SYMBOL,
        Column("time", TIME, "when the decision is known; the order reaches the market a latency later"),
        _SIDE,
        Column("quantity", F64, "amount to trade, above 0", "base units", minimum=0),
        Column("kind", TEXT, f"`{'`, `'.join(ORDER_KINDS)}`"),
        price("limit_price", "worst price of a limit order; null where not used", is_nullable=True),
        price("stop_price", "price that triggers a stop order; null where not used", is_nullable=True),
        Column(
            "time_in_force",
            TEXT,
            "`day` to the session's end, `gtc` until cancelled, `ioc` at once or not at all",
        ),
        optional("expires_time", TIME, "the order ends here at the latest"),
        _TAG,
    ),
)

ORDER_OUTCOMES = Table(
    "order_outcomes",
    "trading",
    "What became of each order.",
    key=("order_id",),
    columns=(
        *ORDERS.columns,
        Column("state", TEXT, f"`{'`, `'.join(ORDER_STATES)}`"),
        Column("filled", F64, "amount traded", "base units", minimum=0),
        optional("ended_time", TIME, "when the order ended; null while it is open"),
    ),
)

FILLS = Table(
    "fills",
    "trading",
    "Every trade of the account. An order may be filled in several parts.",
    key=("fill_id",),
    sort=("time", "fill_id"),
    columns=(
        Column("fill_id", TEXT, "order and the number of its part, from 1"),
        _ORDER_ID,
        _SYMBOL,
        Column("time", TIME, "when it was traded; in bars the earliest moment at which that is known"),
        _SIDE,
        Column("quantity", F64, "amount traded", "base units", minimum=0),
        price("price", "price of one unit, impact included"),
        _cents("notional_cents", "price times quantity, rounded half away from zero"),
        _cents("fee_cents", "fee paid"),
        Column("is_maker", BOOL, "the order rested and was met by others"),
        price("mid_price", "midquote in force, or the bar's open; null without one", is_nullable=True),
        _TAG,
    ),
)

POSITIONS = Table(
    "positions",
    "trading",
    "The position of a symbol after each change: a fill or a corporate action.",
    key=("symbol", "time", "sequence_number"),
    columns=(
        _SYMBOL,
        Column("time", TIME, "when it changed"),
        count("sequence_number", "number of the change in the account, from 0"),
        Column("quantity", F64, "amount held, negative if short", "base units"),
        _cents("cost_cents", "what the position cost, negative if short"),
        _cents("realised_cents", "profit of what was closed so far, before fees"),
        price("mark_price", "price at which the position is valued"),
        _cents("value_cents", "quantity times mark"),
    ),
)

EQUITY = Table(
    "equity",
    "trading",
    "The account at the end of each interval of the tape: equity = cash + value, to the cent.",
    key=("time",),
    columns=(
        Column("time", TIME, "end of the interval"),
        _cents("cash_cents", "cash, negative if lent"),
        _cents("value_cents", "positions at their marks, negative if short overall"),
        _cents("equity_cents", "cash and positions"),
        _cents("gross_cents", "absolute value of all positions"),
        _cents("fees_cents", "fees paid so far"),
    ),
)

CASH_FLOWS = Table(
    "cash_flows",
    "trading",
    "Cash that no trade moved: borrow fees of short positions, dividends.",
    key=("symbol", "time", "kind"),
    columns=(
        _SYMBOL,
        Column("time", TIME, "when it was booked"),
        Column("kind", TEXT, "`borrow` or `dividend`"),
        _cents("amount_cents", "received, negative if paid"),
    ),
)

REFUSALS = Table(
    "refusals",
    "trading",
    "What the engine refused, with the reason; the account is as if it had not come.",
    key=("refusal_id",),
    sort=("time", "refusal_id"),
    columns=(
        Column("refusal_id", TEXT, "the order, or the symbol and kind of refused rows of the tape"),
        optional("order_id", TEXT, "the order; null for rows of the tape"),
        _SYMBOL,
        Column("time", TIME, "when it was refused"),
        Column("reason", TEXT, "one word, see `tapewatch.trading.engine.refusals`"),
        Column("detail", TEXT, "what is wrong, with the value, and the way out"),
    ),
)

CORPORATE_ACTIONS = Table(
    "corporate_actions",
    "trading",
    "Splits and cash dividends, as input of the engine.",
    key=("symbol", "time"),
    columns=(
        _SYMBOL,
        Column("time", TIME, "from here the tape trades without what was paid out or split off"),
        optional("split_ratio", F64, "new units for one old unit; null for none", minimum=0),
        optional("dividend", F64, "cash for each unit held before the split", "quote currency", minimum=0),
    ),
)

HALTS = Table(
    "halts",
    "trading",
    "When a symbol was not tradable, as input of the engine.",
    key=("symbol", "start_time"),
    columns=(
        _SYMBOL,
        Column("start_time", TIME, "from here"),
        optional("end_time", TIME, "up to here; null if it did not trade again"),
    ),
)

TRADING: tuple[Table, ...] = (
    ORDERS,
    ORDER_OUTCOMES,
    FILLS,
    POSITIONS,
    EQUITY,
    CASH_FLOWS,
    REFUSALS,
    CORPORATE_ACTIONS,
    HALTS,
)
