"""Definitions of the features of `INDICATORS`; `docs/methodology/indicators.md` has the formulas."""

from tapewatch.features.definitions.definition import Definition, define
from tapewatch.market.tables.features import INDICATORS, RETURN_MINUTES

_NOT_POSITIVE = "where a needed close is not above zero"
_WILDER = "Wilder (1978)"
_PRADO = "Lopez de Prado (2018)"
_ENTROPY = "until there are 60 steps, and " + _NOT_POSITIVE

BAR_INDICATORS: tuple[Definition, ...] = define(INDICATORS, (
    *((f"return_{width}m_bps", f"{width} min", width + 1, "bars", "log return", f"before a close so old, and {_NOT_POSITIVE}") for width in RETURN_MINUTES),
    ("rsi_14", "14 bars, decaying", None, "bars", _WILDER, "for 14 bars, and without any change"),
    ("macd_bps", "12 and 26 bars, decaying", None, "bars", "Appel (2005)", f"for 25 bars, and {_NOT_POSITIVE}"),
    ("macd_signal_bps", "9 bars, decaying", None, "bars", "Appel (2005)", f"for 33 bars, and {_NOT_POSITIVE}"),
    ("macd_histogram_bps", "9 bars, decaying", None, "bars", "Appel (2005)", f"for 33 bars, and {_NOT_POSITIVE}"),
    ("bollinger_position", "20 bars", 20, "bars", "Bollinger (2001)", "for 19 bars, and for equal closes"),
    ("bollinger_width_bps", "20 bars", 20, "bars", "Bollinger (2001)", "for 19 bars, and where the mean is not above zero"),
    ("atr_14_bps", "14 bars, decaying", None, "bars", _WILDER, f"for 14 bars, and {_NOT_POSITIVE}"),
    ("obv", "part of the day", None, "bars", "Granville (1963)", "never"),
    ("vwap_distance_bps", "part of the day", None, "bars", "ratio", "before any volume, and where the mean price is not above zero"),
    ("stochastic_k", "14 bars, mean of 3", 16, "bars", "Lane (1984)", "for 15 bars, and where a range is 0"),
    ("stochastic_d", "14 bars, means of 3", 18, "bars", "Lane (1984)", "for 17 bars, and where a range is 0"),
    ("plus_di_14", "14 bars, decaying", None, "bars", _WILDER, "for 14 bars, and while the true range is 0"),
    ("minus_di_14", "14 bars, decaying", None, "bars", _WILDER, "for 14 bars, and while the true range is 0"),
    ("adx_14", "14 bars, decaying", None, "bars", _WILDER, "for 27 bars, and while the true range is 0"),
    ("fractional_difference", "55 bars", 55, "bars", f"{_PRADO}, section 5.4.2", f"until the window is full, and {_NOT_POSITIVE}"),
    ("shannon_entropy", "60 steps", 61, "bars", f"{_PRADO}, section 18.2", _ENTROPY),
    ("lempel_ziv_complexity", "60 steps", 61, "bars", f"{_PRADO}, section 18.4; Lempel and Ziv (1978)", _ENTROPY),
    ("kontoyiannis_entropy", "60 steps", 61, "bars", f"{_PRADO}, section 18.4; Kontoyiannis (1998)", _ENTROPY),
    ("cusum_break", "60 bars", 60, "bars", f"{_PRADO}, section 17.3.2; Chu, Stinchcombe and White (1996)", f"for 59 bars, for equal closes, and {_NOT_POSITIVE}"),
    ("sadf", "60 bars", 60, "bars", f"{_PRADO}, section 17.4; Phillips, Wu and Yu (2011)", f"for 59 bars, for equal closes, and {_NOT_POSITIVE}"),
))  # fmt: skip
