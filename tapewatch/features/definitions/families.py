"""Definitions of the features of `MICROSTRUCTURE_MORE`; pages in `docs/methodology/` have the formulas."""

from tapewatch.features.definitions.definition import Definition, define
from tapewatch.market.tables.features import IMBALANCE_MINUTES, MICROSTRUCTURE_MORE, OFI_MINUTES

_SIDES = "trades, quotes"
_NO_SIGNED = "without a signed trade"
_NOT_FULL = "until the window is full"
_NO_SIZES = "without valid quotes with sizes"
_NOT_MEASURED = "where no trade's 30 s end at a valid quote"
_FEW_CHANGES = "without volume, below 10 changes in 30 min, and where they are equal"
_FEW_MINUTES = "below 10 minutes with a price above zero before them"
_FEW_PAIRS = "below 10 pairs of adjacent traded minutes with prices above zero"
_SPREADS = "Huang and Stoll (1996)"
_EASLEY = "Easley, Lopez de Prado and O'Hara (2012)"
_CONT = "Cont, Kukanov and Stoikov (2014), eq. 5"

FAMILIES: tuple[Definition, ...] = define(MICROSTRUCTURE_MORE, (
    ("signed_volume", "minute", 1, _SIDES, "Lee and Ready (1991)", "never"),
    ("signed_count", "minute", 1, _SIDES, "Lee and Ready (1991)", "never"),
    ("aggressor_ratio", "minute", 1, _SIDES, "share", _NO_SIGNED),
    *((f"imbalance_{width}m", f"{width} min", width, _SIDES, "(buy - sell) / (buy + sell)", f"{_NO_SIGNED}, and {_NOT_FULL}") for width in IMBALANCE_MINUTES),
    *((f"ofi_depth_{width}m", f"{width} min", width, "quotes", _CONT, f"{_NO_SIZES}, and {_NOT_FULL}") for width in OFI_MINUTES),
    ("sign_autocorrelation", "30 min", 30, _SIDES, "Lillo and Farmer (2004)", "below 20 pairs, and where all sides are equal"),
    ("trade_size_median", "minute", 1, "trades", "Hyndman and Fan (1996), type 7", "without a trade"),
    ("trade_size_p90", "minute", 1, "trades", "Hyndman and Fan (1996), type 7", "without a trade"),
    ("largest_trade_share", "minute", 1, "trades", "share", "without volume"),
    ("bulk_imbalance", "minute against 30 min", 31, "trades", _EASLEY, _FEW_CHANGES),
    ("bulk_imbalance_15m", "15 min", 45, "trades", _EASLEY, f"{_FEW_CHANGES}, and {_NOT_FULL}"),
    ("quoted_spread_5m_bps", "5 min", 5, "quotes", "time-weighted mean", f"while no quote was valid, and {_NOT_FULL}"),
    ("effective_spread_5m_bps", "5 min", 5, _SIDES, _SPREADS, f"{_NO_SIGNED} at a valid quote, and {_NOT_FULL}"),
    ("realised_spread_5m_bps", "5 min, 30 s delay", 5, _SIDES, _SPREADS, f"{_NOT_MEASURED}, and {_NOT_FULL}"),
    ("price_impact_bps", "minute, 30 s delay", 1, _SIDES, _SPREADS, _NOT_MEASURED),
    ("price_impact_5m_bps", "5 min, 30 s delay", 5, _SIDES, _SPREADS, f"{_NOT_MEASURED}, and {_NOT_FULL}"),
    ("spread_volatility_bps", "minute", 1, "quotes", "time-weighted standard deviation", "while no quote was valid"),
    ("depth", "minute", 1, "quotes", "time-weighted mean", _NO_SIZES),
    ("depth_ratio", "minute against the 30 min before", 31, "quotes", "ratio to the mean", f"{_NO_SIZES}, and below 5 known minutes"),
    ("micro_price", "minute's end", 1, "quotes", "Gatheral and Oomen (2010)", "without a valid quote with sizes in force"),
    ("micro_price_bps", "minute's end", 1, "quotes", "Gatheral and Oomen (2010)", "as micro_price, and where the midquote is not above zero"),
    ("corwin_schultz_bps", "30 min", 31, "trades", "Corwin and Schultz (2012), eq. 14 and 18", _FEW_PAIRS),
    ("abdi_ranaldo_bps", "30 min", 31, "trades", "Abdi and Ranaldo (2017)", _FEW_PAIRS),
    ("hasbrouck_lambda", "30 min", 31, _SIDES, "Hasbrouck (2009)", "below 10 minutes with a signed trade and prices above zero"),
    ("quote_to_trade_5m", "5 min", 5, _SIDES, "ratio", f"without quotes so far or trades, and {_NOT_FULL}"),
    ("size_quote_share", "minute", 1, "quotes", "share", "without two-sided quotes"),
    ("size_flicker", "minute", 1, "quotes", "turnover of depth", _NO_SIZES),
    ("liquidity_score", "5 min against the 30 min before", 31, _SIDES, "mean of logs of ratios", f"{_NO_SIZES}, for a spread of 0, and below 5 known minutes"),
    ("realised_volatility_30m_bps", "30 min, grid of 5 s", 30, "trades", "Andersen and Bollerslev (1998)", "below 10 minutes with prices above zero"),
    ("bipower_volatility_30m_bps", "30 min, grid of 5 s", 30, "trades", "Barndorff-Nielsen and Shephard (2004)", "below 10 minutes with prices above zero"),
    ("jump_share", "30 min, grid of 5 s", 30, "trades", "Huang and Tauchen (2005)", "as realised volatility, and where that is 0"),
    ("parkinson_bps", "30 min", 31, "trades", "Parkinson (1980)", _FEW_MINUTES),
    ("garman_klass_bps", "30 min", 31, "trades", "Garman and Klass (1980)", _FEW_MINUTES),
    ("rogers_satchell_bps", "30 min", 31, "trades", "Rogers and Satchell (1991)", _FEW_MINUTES),
    ("yang_zhang_bps", "30 min", 31, "trades", "Yang and Zhang (2000)", _FEW_MINUTES),
    ("ewma_volatility_bps", "74 min", 75, "trades", "RiskMetrics (1996)", "below 10 returns"),
    ("variance_ratio_5m", "60 min", 61, "trades", "Lo and MacKinlay (1988)", f"{_NOT_FULL}, where a price is not above zero, and for equal returns"),
    ("drawdown_score", "30 min", 31, "trades", "fall over root of summed squares", f"{_NOT_FULL}, where a price is not above zero, and for a constant price"),
    ("recovery_score", "30 min", 31, "trades", "rise over root of summed squares", "as drawdown_score"),
))  # fmt: skip
