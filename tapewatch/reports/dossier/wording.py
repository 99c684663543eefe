"""What a feature's value says, in words with units."""

from tapewatch.market.tables.tape import MICROSTRUCTURE

#: Features whose column's name is no phrase, or whose sign has names of its own: (above zero, below zero).
_PHRASES: dict[str, str | tuple[str, str]] = {
    "volume_ratio": "volume, times the half hour before,",
    "trade_count_ratio": "trades, times the half hour before,",
    "sustained_volume_2m": "least volume of two minutes, times the half hour before,",
    "sustained_volume_3m": "least volume of three minutes, times the half hour before,",
    "return_bps": ("rise", "fall"),
    "return_score": ("rise, in usual minutes,", "fall, in usual minutes,"),
    "range_bps": "high over low",
    "trailing_return_bps": ("rise in half an hour", "fall in half an hour"),
    "drawdown_bps": "fall from the half hour's high",
    "realised_volatility_bps": "realised volatility",
    "volatility_ratio": "volatility, times the half hour before,",
    "spread_ratio": "spread, times the half hour before,",
    "order_flow_imbalance": ("buy imbalance", "sell imbalance"),
    "signed_volume_ratio": ("net buying, in usual minutes' volume,", "net selling, in usual minutes' volume,"),
    "flow_score_3m": (
        "buyers ahead in three minutes, in standard deviations,",
        "sellers ahead in three minutes, in standard deviations,",
    ),
    "flow_score_5m": (
        "buyers ahead in five minutes, in standard deviations,",
        "sellers ahead in five minutes, in standard deviations,",
    ),
    "best_level_ofi": ("buying pressure at the best prices", "selling pressure at the best prices"),
    "depth_imbalance": ("more size bid than asked", "more size asked than bid"),
    "kyle_lambda": "price impact of signed flow",
    "vpin": "VPIN",
    "quote_rate_hz": "quotes",
    "quote_count_ratio": "quotes, times the half hour before,",
    "crossed_share": "share of crossed quotes",
    "trade_age_s": "time since the last trade",
    "quote_age_s": "time since the last quote",
    "tape_age_s": "time since anything came",
    "mid_return_bps": ("rise of the midquote", "fall of the midquote"),
}
_UNITS = {"1/s": "a second", "mid_return_bps": "bps"}
_SUFFIXES = ("_bps", "_s", "_hz")


def phrase(feature: str, value: float) -> tuple[str, bool]:
    """What a feature measures, and whether its sign is part of the phrase."""
    said = _PHRASES.get(feature)
    if isinstance(said, tuple):
        return said[value < 0], True
    if said is None:
        stem = next((feature.removesuffix(suffix) for suffix in _SUFFIXES if feature.endswith(suffix)), feature)
        said = stem.replace("_", " ")
    return said, False


def unit_of(feature: str) -> str:
    """The unit of a feature as it is written behind a number; empty where it has none."""
    column = MICROSTRUCTURE.by_name.get(feature)
    unit = column.unit if column else _UNITS.get(feature, "")
    return _UNITS.get(unit, unit)


def in_words(feature: str, value: float | None, low: float | None, high: float | None) -> str:
    """Such as `effective spread 14.2 bps, usually 1.1–2.3` or `sell imbalance 0.91, usually buy 0.20 to sell 0.31`.

    Args:
        value: None where it is not known.
        low, high: the usual range; None where it is not known.
    """
    if value is None:
        return f"{phrase(feature, 0.0)[0].rstrip(',')} not known"
    said, has_sign = phrase(feature, value)
    unit = unit_of(feature)
    text = f"{said} {_number(abs(value) if has_sign else value)}{' ' if unit else ''}{unit}"
    if low is None or high is None:
        return text
    # With the sign in the phrase, a range that spans both is written in the value's direction.
    ends = sorted((-low, -high)) if has_sign and value < 0 else [low, high]
    dash = " to " if ends[0] < 0 else "–"
    return f"{text}, usually {_number(ends[0])}{dash}{_number(ends[1])}"


def _number(value: float) -> str:
    if value == 0:
        return "0"
    size = abs(value)
    digits = 0 if size >= 100 else 1 if size >= 1 else 2 if size >= 0.1 else 3
    text = f"{value:,.{digits}f}" if size >= 5e-4 else f"{value:.1e}"
    return text.replace("-", "−")
