"""Settings of the online detectors: reads and checks `detection.toml`."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, get_args

import msgspec
import numpy as np

from tapewatch.market.instruments import Market
from tapewatch.toml_tables import TomlTable

DETECTION_FILE: Final = Path(__file__).with_name("detection.toml")

Positive = Annotated[float, msgspec.Meta(gt=0)]
NotNegative = Annotated[float, msgspec.Meta(ge=0)]
Share = Annotated[float, msgspec.Meta(gt=0, le=1)]
Count = Annotated[int, msgspec.Meta(ge=1)]
Severity = Literal["info", "warning", "critical"]
#: From the least.
SEVERITIES: tuple[str, ...] = get_args(Severity)


class DetectionError(ValueError):
    """The detectors' settings are invalid; the message names file, section and field."""


class _Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A section of the settings file."""


class Common(_Settings, frozen=True, kw_only=True):
    """Settings that all rules share."""

    hours: Literal["regular", "extended"] = "regular"
    after_open_minutes: NotNegative
    before_close_minutes: NotNegative
    warmup_minutes: Count
    close_share: Share
    usual_day_bps: Positive


class _RuleSettings(_Settings, frozen=True, kw_only=True):
    """Settings that every rule has."""

    is_on: bool = True
    severity: Severity
    quiet_s: NotNegative


class _MoveSettings(_RuleSettings, frozen=True, kw_only=True):
    """Settings that the rules on moves of the price share."""

    multiple: Positive
    min_day_share: NotNegative
    min_bps: NotNegative


class VolumeSpike(_RuleSettings, frozen=True, kw_only=True):
    """The running minute's volume against the minute's usual volume."""

    baseline: Literal["recent", "time_of_day"]
    multiple: Positive
    score: NotNegative
    min_trades: Count
    min_volume: NotNegative
    max_print_share: Share


class PriceMove(_MoveSettings, frozen=True, kw_only=True):
    """The return within a short window against its usual size."""

    window_s: Positive
    split_minutes: NotNegative


class BadPrint(_MoveSettings, frozen=True, kw_only=True):
    """A print far from the prices around it, to which the next prints return."""


class VolatilityBurst(_MoveSettings, frozen=True, kw_only=True):
    """Volatility of midquotes over the last minutes, or the median range of three minutes, against the usual one."""

    estimator: Literal["midquotes", "ranges"]
    midquote_multiple: Positive
    midquote_day_share: NotNegative
    window_minutes: Annotated[int, msgspec.Meta(ge=2, le=15)]
    memory_minutes: Annotated[int, msgspec.Meta(ge=10, le=240)]


class SpreadBlowout(_RuleSettings, frozen=True, kw_only=True):
    """The quoted spread against the usual spread."""

    multiple: Positive
    min_bps: NotNegative
    hold_s: NotNegative
    min_quotes: Count


class FlowImbalance(_RuleSettings, frozen=True, kw_only=True):
    """Buy orders against sell orders over eight minutes, in standard deviations of a fair coin."""

    multiple: Positive
    min_score: Positive
    min_share: Share
    min_orders: Count


class DataQuality(_RuleSettings, frozen=True, kw_only=True):
    """The share of two-sided quotes whose bid is above the ask."""

    crossed_share: Share
    min_quotes: Count
    memory_minutes: Positive


class QuoteStuffing(_RuleSettings, frozen=True, kw_only=True):
    """The running minute's quote count against the usual one, beyond what trades explain."""

    multiple: Positive
    excess: Positive
    min_quotes: Count


class CorrelationBreak(_RuleSettings, frozen=True, kw_only=True):
    """A symbol's recent correlation with the others of its market against its usual one."""

    window_minutes: Annotated[int, msgspec.Meta(ge=8, le=60)]
    bar_window_minutes: Annotated[int, msgspec.Meta(ge=15, le=60)]
    memory_minutes: Annotated[int, msgspec.Meta(ge=30, le=600)]
    usual_correlation: Share
    broken_correlation: Annotated[float, msgspec.Meta(ge=-1, le=1)]
    score: Positive
    min_symbols: Annotated[int, msgspec.Meta(ge=3)]
    groups: tuple[tuple[str, ...], ...] = ()


class StaleSymbol(_RuleSettings, frozen=True, kw_only=True):
    """One symbol's silence against its longest usual silence."""

    multiple: Positive
    min_silence_s: Positive


class FeedOutage(_RuleSettings, frozen=True, kw_only=True):
    """A channel that stops, or nearly stops, in several symbols at once."""

    multiple: Positive
    min_silence_s: Positive
    window_minutes: Annotated[int, msgspec.Meta(ge=2, le=30)]
    thin_share: Share
    min_symbols: Annotated[int, msgspec.Meta(ge=2)]


class MarketRules(_Settings, frozen=True, kw_only=True):
    """The settings of every rule in one market."""

    common: Common
    volume_spike: VolumeSpike
    price_move: PriceMove
    bad_print: BadPrint
    volatility_burst: VolatilityBurst
    spread_blowout: SpreadBlowout
    order_flow_imbalance: FlowImbalance
    data_quality: DataQuality
    quote_stuffing: QuoteStuffing
    correlation_break: CorrelationBreak
    stale_symbol: StaleSymbol
    feed_outage: FeedOutage

    def rule(self, name: str) -> _RuleSettings:
        found: _RuleSettings = getattr(self, name)
        return found

    def limits(self, day_minutes: float) -> Any:
        """The numbers of the compiled rules as one record, with fields named `<rule>_<field>`.

        `day_minutes` are the minutes of a usual session.
        """
        values: dict[str, float] = {
            "warmup_minutes": self.common.warmup_minutes,
            "close_share": self.common.close_share,
            "day_minutes": day_minutes,
            "volume_by_time_of_day": self.volume_spike.baseline == "time_of_day",
        }
        for rule in _COMPILED_RULES:
            fields = msgspec.structs.asdict(self.rule(rule))
            values |= {f"{rule}_{name}": value for name, value in fields.items() if not isinstance(value, str)}
        kinds = np.dtype([(name, type(value)) for name, value in values.items()], align=True)
        return np.array([tuple(values.values())], kinds)[0]


_COMPILED_RULES = (
    "volume_spike",
    "price_move",
    "bad_print",
    "volatility_burst",
    "spread_blowout",
    "order_flow_imbalance",
    "data_quality",
    "quote_stuffing",
)


@dataclass(frozen=True)
class DetectionConfig:
    """The settings of all markets."""

    markets: Mapping[Market, MarketRules]

    @classmethod
    def load(cls, path: Path | None = None) -> Self:
        """Read a settings file, by default `detection.toml` beside this module.

        A section `[rule]` applies to every market; `[market.rule]` replaces single fields for one market.

        Raises:
            DetectionError: the file cannot be read, or a section is missing, unknown or malformed.
        """
        file = TomlTable(path or DETECTION_FILE, "the settings of the detectors", DetectionError)
        sections = {field.name: field.type for field in msgspec.structs.fields(MarketRules)}
        unknown = [name for name in file.document if name not in sections and name not in list(Market)]
        if unknown:
            raise file.fault(f"[{unknown[0]}] is neither a rule nor a market; rules are {', '.join(sections)}")
        return cls({market: _market_rules(file, market, sections) for market in Market})

    def for_market(self, market: Market | str) -> MarketRules:
        return self.markets[Market(market)]


def _market_rules(file: TomlTable, market: Market, sections: dict[str, Any]) -> MarketRules:
    overrides = file.section(market.value, file.document.get(market.value, {}))
    strangers = [name for name in overrides if name not in sections]
    if strangers:
        raise file.fault(f"[{market}.{strangers[0]}] is no rule; rules are {', '.join(sections)}")
    rules = {}
    for name, kind in sections.items():
        if name not in file.document:
            raise file.fault(f"no section [{name}]; every rule needs one")
        common = file.section(name, file.document[name])
        file.convert(name, common, kind)
        own = file.section(f"{market}.{name}", overrides.get(name, {}))
        rules[name] = file.convert(f"{market}.{name}" if own else name, {**common, **own}, kind)
    return MarketRules(**rules)
