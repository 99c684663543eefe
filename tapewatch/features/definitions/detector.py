"""Definitions of the features of `MICROSTRUCTURE`; `docs/methodology/features.md` has the formulas."""

from tapewatch.features.definitions.definition import Definition, define
from tapewatch.market.tables.tape import MICROSTRUCTURE

_NEVER = "never"
_NO_TRADE_YET = "before the first price"
_NO_SIGNED = "without a signed trade"
_NO_QUOTE = "without quotes so far"
_NOT_POSITIVE = "where a needed price is not above zero"
_FEW_MINUTES = "in the first 5 minutes of the part of the day, and where the usual is 0"
_QUOTED = "while no quote was valid, and where a needed midquote is not above zero"

_TAPE, _PART = "minute", "part of the day"
_USUAL = "minute against the 30 min before"

DETECTOR: tuple[Definition, ...] = define(MICROSTRUCTURE, (
    ("last_price", _TAPE, 1, "trades", "consolidated tape's last price", _NO_TRADE_YET),
    ("mid_price", _TAPE, 1, "quotes", "midpoint of the last valid quote", "before the first valid quote"),
    ("volume", _TAPE, 1, "trades", "sum", _NEVER),
    ("notional", _TAPE, 1, "trades", "sum", _NEVER),
    ("trade_count", _TAPE, 1, "trades", "count", _NEVER),
    ("buy_volume", _TAPE, 1, "trades, quotes", "Lee and Ready (1991)", _NEVER),
    ("sell_volume", _TAPE, 1, "trades, quotes", "Lee and Ready (1991)", _NEVER),
    ("buy_count", _TAPE, 1, "trades, quotes", "Lee and Ready (1991)", _NEVER),
    ("sell_count", _TAPE, 1, "trades, quotes", "Lee and Ready (1991)", _NEVER),
    ("order_flow_imbalance", _TAPE, 1, "trades, quotes", "(buy - sell) / (buy + sell)", _NO_SIGNED),
    ("return_bps", _TAPE, 2, "trades", "log return", f"before a second price, and {_NOT_POSITIVE}"),
    ("range_bps", _TAPE, 1, "trades", "log of high over low", f"without a trade, and {_NOT_POSITIVE}"),
    ("realised_volatility_bps", "minute, grid of 5 s", 1, "trades", "Andersen and Bollerslev (1998)", f"{_NO_TRADE_YET}, and {_NOT_POSITIVE}"),
    ("trailing_return_bps", "30 min", 31, "trades", "sum of log returns", f"before a second price, and {_NOT_POSITIVE}"),
    ("drawdown_bps", "30 min", 30, "trades", "log of high over last", f"{_NO_TRADE_YET}, and {_NOT_POSITIVE}"),
    ("roll_spread_bps", "30 min", 30, "trades", "Roll (1984)", f"below 20 pairs of changes, and {_NOT_POSITIVE}"),
    ("amihud_illiquidity", "30 min", 31, "trades", "Amihud (2002), eq. 1", "below 5 traded minutes"),
    ("kyle_lambda", "30 min", 31, "trades, quotes", "Kyle (1985)", "below 10 minutes with a signed trade, and for constant flow"),
    ("vpin", "50 volume buckets", None, "trades, quotes", "Easley, Lopez de Prado and O'Hara (2012)", "below 50 buckets"),
    ("volume_ratio", _USUAL, 31, "trades", "ratio to the mean", _FEW_MINUTES),
    ("trade_count_ratio", _USUAL, 31, "trades", "ratio to the mean", _FEW_MINUTES),
    ("sustained_volume_2m", "2 min against the 30 min before", 32, "trades", "least volume over the mean", _FEW_MINUTES),
    ("sustained_volume_3m", "3 min against the 30 min before", 33, "trades", "least volume over the mean", _FEW_MINUTES),
    ("signed_volume_ratio", _USUAL, 31, "trades, quotes", "ratio to the mean", _FEW_MINUTES),
    ("flow_score_3m", "3 min", 3, "trades, quotes", "sign test", _NO_SIGNED),
    ("flow_score_5m", "5 min", 5, "trades, quotes", "sign test", _NO_SIGNED),
    ("return_score", _USUAL, 32, "trades", "ratio to the root mean square", "below 5 returns, and where all are 0"),
    ("volatility_ratio", _USUAL, 31, "trades", "ratio to the root mean square", "below 5 known minutes, and where all are 0"),
    ("trade_age_s", _PART, 1, "trades", "age", _NEVER),
    ("quoted_spread_bps", _TAPE, 1, "quotes", "time-weighted mean", _QUOTED),
    ("effective_spread_bps", _TAPE, 1, "trades, quotes", "Huang and Stoll (1996)", f"without a signed trade at a valid quote, and {_NOT_POSITIVE}"),
    ("realised_spread_bps", "minute, 30 s delay", 1, "trades, quotes", "Huang and Stoll (1996)", "where no trade's 30 s end at a valid quote"),
    ("spread_ratio", _USUAL, 31, "quotes", "ratio to the mean", "below 5 known minutes"),
    ("depth_imbalance", _TAPE, 1, "quotes", "time-weighted mean", "without valid quotes with sizes"),
    ("best_level_ofi", _TAPE, 1, "quotes", "Cont, Kukanov and Stoikov (2014), eq. 5", "without a change of the quote or sizes"),
    ("quote_count", _TAPE, 1, "quotes", "count", _NO_QUOTE),
    ("quote_rate_hz", _TAPE, 1, "quotes", "count over 60 s", _NO_QUOTE),
    ("quote_count_ratio", _USUAL, 31, "quotes", "ratio to the mean", f"{_NO_QUOTE}, and {_FEW_MINUTES}"),
    ("crossed_share", _TAPE, 1, "quotes", "share", "without two-sided quotes"),
    ("quote_age_s", _PART, 1, "quotes", "age", _NO_QUOTE),
    ("tape_age_s", _PART, 1, "trades, quotes", "age", _NEVER),
))  # fmt: skip
