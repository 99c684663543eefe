"""Tables of trading research: signals, what became of them, and the evaluation of the strategies. Orders and fills are elsewhere."""

from tapewatch.market.schema import Column, Table
from tapewatch.market.tables.tape import BOOL, F64, I8, I32, SYMBOL, SYMBOL_COLUMN, TEXT, TIME, count, optional, price

_KEY = ("symbol", "known_time", "strategy", "partner")

SIGNALS = Table(
    "signals",
    "trading",
    "Bets that strategies propose after alerts and from order flow, pairs and leaders: side, confidence, risk and size.",
    key=_KEY,
    columns=(
        SYMBOL_COLUMN,
        Column("event_time", TIME, "start of what the signal follows"),
        Column("known_time", TIME, "when the signal was decided: no row known later entered it"),
        Column("strategy", SYMBOL, "what proposes the bet"),
        Column("partner", SYMBOL, "the other leg of a pair, or the leader; empty where there is none"),
        Column("kind", SYMBOL, "kind of the anomaly as far as it was known then; the strategy's name without an alert"),
        Column("detector", SYMBOL, "whose alert it follows: the registered name of a detector, such as `ensemble`, `scan`, both joined by `+`, or empty"),
        Column("side", I8, "1 buy, -1 sell", minimum=-1, maximum=1),
        Column("horizon_minutes", I32, "the bet is closed after so long at the latest", "min", minimum=1),
        Column("regime", SYMBOL, "`calm`, `usual`, `volatile` or `thin` (wide spreads), by the last minute"),
        price("price", "midquote when it was decided, or the last price without quotes", is_nullable=True),
        optional("spread_bps", F64, "quoted spread of the last minute; Roll's where there are no quotes", "bps", minimum=0),
        optional("volatility_bps", F64, "root mean square return of a minute, of the half hour before", "bps", minimum=0),
        optional("target_bps", F64, "distance of the bet's barriers", "bps", minimum=0),
        optional("cost_bps", F64, "expected cost of opening and closing: spread, fees and impact", "bps", minimum=0),
        optional("exit_minutes", F64, "time to close the largest position at the participation cap; null without volume", "min", minimum=0),
        Column("is_tradable", BOOL, "the risk assessment lets it pass"),
        Column("reason", TEXT, "why it does not; empty where it does"),
        count("bets_before", "earlier bets of the strategy on which the confidence stands"),
        Column("confidence", F64, "probability that the bet wins after costs, from earlier bets", minimum=0, maximum=1),
        Column("size", F64, "signed share of the largest position; 0 without an edge over the costs", minimum=-1, maximum=1),
        price("limit_price", "the worst price at which the size still pays; null for a size of 0", is_nullable=True),
    ),
)  # fmt: skip

OUTCOMES = Table(
    "backtest",
    "trading",
    "What became of each tradable signal as a bet of one unit, by the barriers on its own path, after costs.",
    key=("symbol", "event_time", "strategy", "partner"),
    columns=(
        SYMBOL_COLUMN,
        Column("event_time", TIME, "when the bet was opened: the signal's known time"),
        Column("known_time", TIME, "when the bet was closed and its label known"),
        *(SIGNALS.by_name[name] for name in ("strategy", "partner", "kind", "detector", "side", "regime")),
        Column("barrier", I8, "1 profit taken first, -1 stopped, 0 closed by time", minimum=-1, maximum=1),
        Column("label", I8, "1 if the bet won after costs, else 0", minimum=0, maximum=1),
        price("entry_price", "open of the first bar after the signal"),
        Column("gross_bps", F64, "log return in the bet's direction", "bps"),
        Column("cost_bps", F64, "cost of opening and closing", "bps", minimum=0),
        Column("net_bps", F64, "gross less cost", "bps"),
        Column("target_bps", F64, "distance of the barriers", "bps", minimum=0),
        Column("holding_minutes", I32, "minutes from open to close", "min", minimum=0),
        Column("size", F64, "the signal's size", minimum=-1, maximum=1),
    ),
)

WALK_FORWARD = Table(
    "walk_forward",
    "trading",
    "The strategies on bets that the confidence had not learnt from, walk-forward and on combinatorial paths.",
    key=("scheme", "path", "strategy"),
    columns=(
        Column("scheme", SYMBOL, "`unit` every bet at one unit, `walk_forward`, or `cpcv`: combinatorial purged paths"),
        Column("path", I32, "number of the path, from 0", minimum=0),
        Column("strategy", SYMBOL, "name; `all` for the whole"),
        count("bets", "tested bets"),
        count("taken", "of these, bets with a size above 0"),
        optional("hit_rate", F64, "share of the taken bets that won after costs", minimum=0, maximum=1),
        Column("gross_bps", F64, "sum of size times gross return", "bps"),
        Column("net_bps", F64, "sum of size times net return", "bps"),
        optional("mean_net_bps", F64, "net return of a unit of size", "bps"),
        optional("sharpe", F64, "mean over standard deviation of the hourly net results, a year's; null below ten hours"),
        optional("psr", F64, "probability that the true Sharpe ratio is above 0", minimum=0, maximum=1),
        optional("max_drawdown_bps", F64, "deepest fall of the summed net return", "bps", minimum=0),
    ),
)  # fmt: skip

PAPER_PORTFOLIO = Table(
    "paper_portfolio",
    "trading",
    "What the paper accounts hold, as the operational database held it when this was written.",
    key=("account", "symbol"),
    columns=(
        Column("account", TEXT, "name of the paper account"),
        Column("symbol", TEXT, "instrument"),
        Column("at_time", TIME, "when the position was written last, on the tape's clock"),
        Column("quantity", F64, "amount held, negative if short", "base units"),
        price("mark_price", "price at which it is valued", is_nullable=True),
        Column("value", F64, "quantity times mark, negative if short", "quote currency"),
        Column("unrealised", F64, "value less what the position cost", "quote currency"),
        Column("realised", F64, "profit of what was closed, before fees", "quote currency"),
        optional("share_of_equity", F64, "value over the account's equity; null where that is not above 0"),
    ),
)

#: All of them.
SIGNAL_TABLES: tuple[Table, ...] = (SIGNALS, OUTCOMES, WALK_FORWARD, PAPER_PORTFOLIO)
