"""Accounts of the paper broker."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Forwards."""
    op.create_table(
        "paper_accounts",
        sa.Column("market", sa.Text(), nullable=False, comment="market of the partition"),
        sa.Column("date", sa.Date(), nullable=False, comment="date of the partition"),
        sa.Column("account", sa.Text(), nullable=False, comment="name of the paper account"),
        sa.Column("created_time", sa.DateTime(timezone=True), nullable=False, comment="when it was opened"),
        sa.Column(
            "settings", sa.Text(), nullable=False, comment="digest of the engine's settings, which must not change"
        ),
        sa.Column("is_bars", sa.Boolean(), nullable=False, comment="it trades against bars, else against quotes"),
        sa.Column(
            "step",
            sa.BigInteger(),
            nullable=False,
            comment="commits so far: two brokers of one account are found by it",
        ),
        sa.Column("clock_ns", sa.BigInteger(), nullable=False, comment="last event or arrival [ns]"),
        sa.Column("cursor_ns", sa.BigInteger(), nullable=False, comment="the tape up to here was processed [ns]"),
        sa.Column("due_ns", sa.BigInteger(), nullable=False, comment="end of the current interval of the equity [ns]"),
        sa.Column("cash_cents", sa.BigInteger(), nullable=False, comment="cash [cents]"),
        sa.Column("value_cents", sa.BigInteger(), nullable=False, comment="positions at their marks [cents]"),
        sa.Column("gross_cents", sa.BigInteger(), nullable=False, comment="absolute value of all positions [cents]"),
        sa.Column("reserved_cents", sa.BigInteger(), nullable=False, comment="what open orders may add to it [cents]"),
        sa.Column("fees_cents", sa.BigInteger(), nullable=False, comment="fees paid so far [cents]"),
        sa.Column("sequence_number", sa.BigInteger(), nullable=False, comment="changes of positions so far"),
        sa.Column("peak_cents", sa.BigInteger(), nullable=False, comment="highest equity so far [cents]"),
        sa.Column("day_cents", sa.BigInteger(), nullable=False, comment="equity at the start of the day [cents]"),
        sa.Column("day_ns", sa.BigInteger(), nullable=False, comment="start of the day (UTC) [ns]"),
        sa.Column(
            "losses", sa.Text(), nullable=False, comment="times (ns) of recent trades that closed at a loss, as JSON"
        ),
        sa.PrimaryKeyConstraint("market", "account", name="pk_paper_accounts"),
        comment="Each paper account: its money and how far along the tape it is.",
    )
    with op.batch_alter_table("paper_accounts", schema=None) as batch_op:
        batch_op.create_index("ix_paper_accounts_created_time", ["created_time"], unique=False)
        batch_op.create_index("ix_paper_accounts_partition", ["market", "date"], unique=False)

    op.create_table(
        "paper_cash_flows",
        sa.Column("market", sa.Text(), nullable=False, comment="market of the partition"),
        sa.Column("date", sa.Date(), nullable=False, comment="date of the partition"),
        sa.Column("account", sa.Text(), nullable=False, comment="name of the paper account"),
        sa.Column(
            "symbol",
            sa.Text(),
            nullable=False,
            comment="instrument, spelt as in the vendor's flat files (AAPL, X:BTC-USD)",
        ),
        sa.Column("time", sa.DateTime(timezone=True), nullable=False, comment="when it was booked"),
        sa.Column("kind", sa.Text(), nullable=False, comment="`borrow` or `dividend`"),
        sa.Column("amount_cents", sa.BigInteger(), nullable=False, comment="received, negative if paid [cents]"),
        sa.PrimaryKeyConstraint("market", "account", "symbol", "time", "kind", name="pk_paper_cash_flows"),
        comment="Cash that no trade moved: borrow fees of short positions, dividends.",
    )
    with op.batch_alter_table("paper_cash_flows", schema=None) as batch_op:
        batch_op.create_index("ix_paper_cash_flows_partition", ["market", "date"], unique=False)
        batch_op.create_index("ix_paper_cash_flows_time", ["time"], unique=False)

    op.create_table(
        "paper_equity",
        sa.Column("market", sa.Text(), nullable=False, comment="market of the partition"),
        sa.Column("date", sa.Date(), nullable=False, comment="date of the partition"),
        sa.Column("account", sa.Text(), nullable=False, comment="name of the paper account"),
        sa.Column("time", sa.DateTime(timezone=True), nullable=False, comment="end of the interval"),
        sa.Column("cash_cents", sa.BigInteger(), nullable=False, comment="cash, negative if lent [cents]"),
        sa.Column(
            "value_cents",
            sa.BigInteger(),
            nullable=False,
            comment="positions at their marks, negative if short overall [cents]",
        ),
        sa.Column("equity_cents", sa.BigInteger(), nullable=False, comment="cash and positions [cents]"),
        sa.Column("gross_cents", sa.BigInteger(), nullable=False, comment="absolute value of all positions [cents]"),
        sa.Column("fees_cents", sa.BigInteger(), nullable=False, comment="fees paid so far [cents]"),
        sa.PrimaryKeyConstraint("market", "account", "time", name="pk_paper_equity"),
        comment="The account at the end of each interval of the tape: equity = cash + value, to the cent.",
    )
    with op.batch_alter_table("paper_equity", schema=None) as batch_op:
        batch_op.create_index("ix_paper_equity_partition", ["market", "date"], unique=False)
        batch_op.create_index("ix_paper_equity_time", ["time"], unique=False)

    op.create_table(
        "paper_fills",
        sa.Column("market", sa.Text(), nullable=False, comment="market of the partition"),
        sa.Column("date", sa.Date(), nullable=False, comment="date of the partition"),
        sa.Column("account", sa.Text(), nullable=False, comment="name of the paper account"),
        sa.Column("fill_id", sa.Text(), nullable=False, comment="order and the number of its part, from 1"),
        sa.Column("order_id", sa.Text(), nullable=False, comment="identity of the order"),
        sa.Column(
            "symbol",
            sa.Text(),
            nullable=False,
            comment="instrument, spelt as in the vendor's flat files (AAPL, X:BTC-USD)",
        ),
        sa.Column(
            "time",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="when it was traded; in bars the earliest moment at which that is known",
        ),
        sa.Column("side", sa.SmallInteger(), nullable=False, comment="1 buy, -1 sell"),
        sa.Column("quantity", sa.Double(), nullable=False, comment="amount traded [base units]"),
        sa.Column("price", sa.Double(), nullable=False, comment="price of one unit, impact included [quote currency]"),
        sa.Column(
            "notional_cents",
            sa.BigInteger(),
            nullable=False,
            comment="price times quantity, rounded half away from zero [cents]",
        ),
        sa.Column("fee_cents", sa.BigInteger(), nullable=False, comment="fee paid [cents]"),
        sa.Column("is_maker", sa.Boolean(), nullable=False, comment="the order rested and was met by others"),
        sa.Column(
            "mid_price",
            sa.Double(),
            nullable=True,
            comment="midquote in force, or the bar's open; null without one [quote currency]",
        ),
        sa.Column(
            "tag", sa.Text(), nullable=False, comment="the signal or strategy that the order comes from; empty for none"
        ),
        sa.PrimaryKeyConstraint("market", "account", "fill_id", name="pk_paper_fills"),
        comment="Every trade of the account. An order may be filled in several parts.",
    )
    with op.batch_alter_table("paper_fills", schema=None) as batch_op:
        batch_op.create_index("ix_paper_fills_partition", ["market", "date"], unique=False)
        batch_op.create_index("ix_paper_fills_time", ["time"], unique=False)

    op.create_table(
        "paper_locks",
        sa.Column("market", sa.Text(), nullable=False, comment="market of the partition"),
        sa.Column("date", sa.Date(), nullable=False, comment="date of the partition"),
        sa.Column("account", sa.Text(), nullable=False, comment="name of the paper account"),
        sa.Column(
            "symbol",
            sa.Text(),
            nullable=False,
            comment="instrument, spelt as in the vendor's flat files (AAPL, X:BTC-USD)",
        ),
        sa.Column(
            "at_time", sa.DateTime(timezone=True), nullable=False, comment="when it was locked, on the tape's clock"
        ),
        sa.Column("reason", sa.Text(), nullable=False, comment="protection that locked it"),
        sa.Column("until_ns", sa.BigInteger(), nullable=False, comment="end of the lock [ns]"),
        sa.PrimaryKeyConstraint("market", "account", "symbol", name="pk_paper_locks"),
        comment="Symbols in which a paper account may not open positions for a while.",
    )
    with op.batch_alter_table("paper_locks", schema=None) as batch_op:
        batch_op.create_index("ix_paper_locks_at_time", ["at_time"], unique=False)
        batch_op.create_index("ix_paper_locks_partition", ["market", "date"], unique=False)

    op.create_table(
        "paper_orders",
        sa.Column("market", sa.Text(), nullable=False, comment="market of the partition"),
        sa.Column("date", sa.Date(), nullable=False, comment="date of the partition"),
        sa.Column("account", sa.Text(), nullable=False, comment="name of the paper account"),
        sa.Column("order_id", sa.Text(), nullable=False, comment="identity of the order"),
        sa.Column(
            "symbol",
            sa.Text(),
            nullable=False,
            comment="instrument, spelt as in the vendor's flat files (AAPL, X:BTC-USD)",
        ),
        sa.Column(
            "time",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="when the decision is known; the order reaches the market a latency later",
        ),
        sa.Column("side", sa.SmallInteger(), nullable=False, comment="1 buy, -1 sell"),
        sa.Column("quantity", sa.Double(), nullable=False, comment="amount to trade, above 0 [base units]"),
        sa.Column("kind", sa.Text(), nullable=False, comment="`market`, `limit`, `stop`"),
        sa.Column(
            "limit_price",
            sa.Double(),
            nullable=True,
            comment="worst price of a limit order; null where not used [quote currency]",
        ),
        sa.Column(
            "stop_price",
            sa.Double(),
            nullable=True,
            comment="price that triggers a stop order; null where not used [quote currency]",
        ),
        sa.Column(
            "time_in_force",
            sa.Text(),
            nullable=False,
            comment="`day` to the session's end, `gtc` until cancelled, `ioc` at once or not at all",
        ),
        sa.Column(
            "expires_time", sa.DateTime(timezone=True), nullable=True, comment="the order ends here at the latest"
        ),
        sa.Column(
            "tag", sa.Text(), nullable=False, comment="the signal or strategy that the order comes from; empty for none"
        ),
        sa.Column("state", sa.Text(), nullable=False, comment="as in `order_outcomes`"),
        sa.Column("filled", sa.Double(), nullable=False, comment="amount traded [base units]"),
        sa.Column("number", sa.BigInteger(), nullable=True, comment="position among the account's orders, from 0"),
        sa.Column("active_ns", sa.BigInteger(), nullable=True, comment="arrival at the market [ns]"),
        sa.Column("expires_ns", sa.BigInteger(), nullable=True, comment="end of the order; null for none [ns]"),
        sa.Column("ended_ns", sa.BigInteger(), nullable=True, comment="when it ended; null while it is open [ns]"),
        sa.Column("is_triggered", sa.Boolean(), nullable=False, comment="the stop was reached"),
        sa.Column(
            "is_resting", sa.Boolean(), nullable=False, comment="it was tried against the market and rests there"
        ),
        sa.Column("parts", sa.BigInteger(), nullable=False, comment="fills so far"),
        sa.Column("draws", sa.BigInteger(), nullable=False, comment="random numbers drawn for its place in the queue"),
        sa.Column(
            "reserved_cents", sa.BigInteger(), nullable=False, comment="what it may add to the gross value [cents]"
        ),
        sa.Column("paid_cents", sa.BigInteger(), nullable=False, comment="fees paid so far [cents]"),
        sa.Column("owed", sa.Double(), nullable=False, comment="fees due so far, unrounded [quote currency]"),
        sa.PrimaryKeyConstraint("market", "account", "order_id", name="pk_paper_orders"),
        comment="Orders of paper accounts and where they stand; one without a number was not taken by the broker yet.",
    )
    with op.batch_alter_table("paper_orders", schema=None) as batch_op:
        batch_op.create_index("ix_paper_orders_partition", ["market", "date"], unique=False)
        batch_op.create_index("ix_paper_orders_time", ["time"], unique=False)

    op.create_table(
        "paper_positions",
        sa.Column("market", sa.Text(), nullable=False, comment="market of the partition"),
        sa.Column("date", sa.Date(), nullable=False, comment="date of the partition"),
        sa.Column("account", sa.Text(), nullable=False, comment="name of the paper account"),
        sa.Column(
            "symbol",
            sa.Text(),
            nullable=False,
            comment="instrument, spelt as in the vendor's flat files (AAPL, X:BTC-USD)",
        ),
        sa.Column(
            "at_time",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="when the row was written, on the tape's clock",
        ),
        sa.Column("slot", sa.BigInteger(), nullable=False, comment="position among the account's symbols, from 0"),
        sa.Column("quantity", sa.Double(), nullable=False, comment="amount held, negative if short [base units]"),
        sa.Column("cost_cents", sa.BigInteger(), nullable=False, comment="what it cost, negative if short [cents]"),
        sa.Column(
            "realised_cents", sa.BigInteger(), nullable=False, comment="profit of what was closed, before fees [cents]"
        ),
        sa.Column("value_cents", sa.BigInteger(), nullable=False, comment="quantity times mark [cents]"),
        sa.Column("mark_price", sa.Double(), nullable=True, comment="price at which it is valued [quote currency]"),
        sa.Column("bid_price", sa.Double(), nullable=False, comment="best bid, 0 for none [quote currency]"),
        sa.Column("ask_price", sa.Double(), nullable=False, comment="best offer, 0 for none [quote currency]"),
        sa.Column(
            "bid_size",
            sa.Double(),
            nullable=True,
            comment="displayed size; null where the market states none [base units]",
        ),
        sa.Column(
            "ask_size",
            sa.Double(),
            nullable=True,
            comment="displayed size; null where the market states none [base units]",
        ),
        sa.Column("bid_used", sa.Double(), nullable=False, comment="what the account took of it [base units]"),
        sa.Column("ask_used", sa.Double(), nullable=False, comment="what the account took of it [base units]"),
        sa.Column(
            "quoted_ns", sa.BigInteger(), nullable=False, comment="time of the quote, or start of the last bar [ns]"
        ),
        sa.Column(
            "session_day", sa.BigInteger(), nullable=False, comment="last session with an event, in days from 1970"
        ),
        sa.Column("is_halted", sa.Boolean(), nullable=False, comment="trading is halted"),
        sa.PrimaryKeyConstraint("market", "account", "symbol", name="pk_paper_positions"),
        comment="What a paper account holds of a symbol, and the quote in force.",
    )
    with op.batch_alter_table("paper_positions", schema=None) as batch_op:
        batch_op.create_index("ix_paper_positions_at_time", ["at_time"], unique=False)
        batch_op.create_index("ix_paper_positions_partition", ["market", "date"], unique=False)

    op.create_table(
        "paper_refusals",
        sa.Column("market", sa.Text(), nullable=False, comment="market of the partition"),
        sa.Column("date", sa.Date(), nullable=False, comment="date of the partition"),
        sa.Column("account", sa.Text(), nullable=False, comment="name of the paper account"),
        sa.Column(
            "refusal_id",
            sa.Text(),
            nullable=False,
            comment="the order, or the symbol and kind of refused rows of the tape",
        ),
        sa.Column("order_id", sa.Text(), nullable=True, comment="the order; null for rows of the tape"),
        sa.Column(
            "symbol",
            sa.Text(),
            nullable=False,
            comment="instrument, spelt as in the vendor's flat files (AAPL, X:BTC-USD)",
        ),
        sa.Column("time", sa.DateTime(timezone=True), nullable=False, comment="when it was refused"),
        sa.Column("reason", sa.Text(), nullable=False, comment="one word, see `tapewatch.trading.engine.refusals`"),
        sa.Column("detail", sa.Text(), nullable=False, comment="what is wrong, with the value, and the way out"),
        sa.PrimaryKeyConstraint("market", "account", "refusal_id", name="pk_paper_refusals"),
        comment="What the engine refused, with the reason; the account is as if it had not come.",
    )
    with op.batch_alter_table("paper_refusals", schema=None) as batch_op:
        batch_op.create_index("ix_paper_refusals_partition", ["market", "date"], unique=False)
        batch_op.create_index("ix_paper_refusals_time", ["time"], unique=False)

    op.create_table(
        "paper_risk",
        sa.Column("market", sa.Text(), nullable=False, comment="market of the partition"),
        sa.Column("date", sa.Date(), nullable=False, comment="date of the partition"),
        sa.Column("account", sa.Text(), nullable=False, comment="name of the paper account"),
        sa.Column(
            "at_time", sa.DateTime(timezone=True), nullable=False, comment="since when, by the clock of what set it"
        ),
        sa.Column(
            "state",
            sa.Text(),
            nullable=False,
            comment="`ACTIVE`, `REDUCING`, `HALTED`: any order, only what reduces positions, none",
        ),
        sa.Column("reason", sa.Text(), nullable=False, comment="what set it"),
        sa.Column("actor", sa.Text(), nullable=False, comment="user, or `protection`"),
        sa.Column(
            "until_ns", sa.BigInteger(), nullable=False, comment="the state ends by itself here; 0 for never [ns]"
        ),
        sa.PrimaryKeyConstraint("market", "account", name="pk_paper_risk"),
        comment="The risk state of each paper account.",
    )
    with op.batch_alter_table("paper_risk", schema=None) as batch_op:
        batch_op.create_index("ix_paper_risk_at_time", ["at_time"], unique=False)
        batch_op.create_index("ix_paper_risk_partition", ["market", "date"], unique=False)


def downgrade() -> None:
    """Backwards."""
    with op.batch_alter_table("paper_risk", schema=None) as batch_op:
        batch_op.drop_index("ix_paper_risk_partition")
        batch_op.drop_index("ix_paper_risk_at_time")

    op.drop_table("paper_risk")
    with op.batch_alter_table("paper_refusals", schema=None) as batch_op:
        batch_op.drop_index("ix_paper_refusals_time")
        batch_op.drop_index("ix_paper_refusals_partition")

    op.drop_table("paper_refusals")
    with op.batch_alter_table("paper_positions", schema=None) as batch_op:
        batch_op.drop_index("ix_paper_positions_partition")
        batch_op.drop_index("ix_paper_positions_at_time")

    op.drop_table("paper_positions")
    with op.batch_alter_table("paper_orders", schema=None) as batch_op:
        batch_op.drop_index("ix_paper_orders_time")
        batch_op.drop_index("ix_paper_orders_partition")

    op.drop_table("paper_orders")
    with op.batch_alter_table("paper_locks", schema=None) as batch_op:
        batch_op.drop_index("ix_paper_locks_partition")
        batch_op.drop_index("ix_paper_locks_at_time")

    op.drop_table("paper_locks")
    with op.batch_alter_table("paper_fills", schema=None) as batch_op:
        batch_op.drop_index("ix_paper_fills_time")
        batch_op.drop_index("ix_paper_fills_partition")

    op.drop_table("paper_fills")
    with op.batch_alter_table("paper_equity", schema=None) as batch_op:
        batch_op.drop_index("ix_paper_equity_time")
        batch_op.drop_index("ix_paper_equity_partition")

    op.drop_table("paper_equity")
    with op.batch_alter_table("paper_cash_flows", schema=None) as batch_op:
        batch_op.drop_index("ix_paper_cash_flows_time")
        batch_op.drop_index("ix_paper_cash_flows_partition")

    op.drop_table("paper_cash_flows")
    with op.batch_alter_table("paper_accounts", schema=None) as batch_op:
        batch_op.drop_index("ix_paper_accounts_partition")
        batch_op.drop_index("ix_paper_accounts_created_time")

    op.drop_table("paper_accounts")
