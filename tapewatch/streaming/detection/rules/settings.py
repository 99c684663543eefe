"""Settings of the online detectors: reads and checks `detection.toml`."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

import msgspec

from tapewatch.market.instruments import NS_PER_MINUTE, NS_PER_SECOND, Market
from tapewatch.streaming.detection.rules.state import Limits
from tapewatch.toml_tables import TomlTable

DETECTION_FILE: Final = Path(__file__).with_name("detection.toml")

Positive = Annotated[float, msgspec.Meta(gt=0)]
NotNegative = Annotated[float, msgspec.Meta(ge=0)]
Share = Annotated[float, msgspec.Meta(gt=0, le=1)]
Count = Annotated[int, msgspec.Meta(ge=1)]
Severity = Literal["info", "warning", "critical"]


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


class VolumeSpike(_RuleSettings, frozen=True, kw_only=True):
    """The running minute's volume against the minute's usual volume."""

    baseline: Literal["recent", "time_of_day"]
    multiple: Positive
    score: NotNegative
    min_trades: Count
    min_volume: NotNegative
    max_print_share: Share


class PriceMove(_RuleSettings, frozen=True, kw_only=True):
    """The return within a short window against its usual size."""

    multiple: Positive
    window_s: Positive
    min_day_share: NotNegative
    min_bps: NotNegative
    split_minutes: NotNegative


class BadPrint(_RuleSettings, frozen=True, kw_only=True):
    """A print far from the prices around it, to which the next prints return."""

    multiple: Positive
    min_day_share: NotNegative
    min_bps: NotNegative


class VolatilityBurst(_RuleSettings, frozen=True, kw_only=True):
    """Volatility of midquotes over the last minutes, or the median range of three minutes, against the usual one."""

    estimator: Literal["midquotes", "ranges"]
    midquote_multiple: Positive
    midquote_day_share: NotNegative
    window_minutes: Annotated[int, msgspec.Meta(ge=2, le=15)]
    memory_minutes: Annotated[int, msgspec.Meta(ge=10, le=240)]
    multiple: Positive
    min_day_share: NotNegative
    min_bps: NotNegative


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
        """The settings of one rule by its name."""
        found: _RuleSettings = getattr(self, name)
        return found

    def limits(self, day_minutes: float) -> Limits:
        """The thresholds as compiled code reads them; a multiple of 0 switches a rule off."""
        volume, move, odd, burst = self.volume_spike, self.price_move, self.bad_print, self.volatility_burst
        spread, flow, quality, stuffing = (
            self.spread_blowout,
            self.order_flow_imbalance,
            self.data_quality,
            self.quote_stuffing,
        )
        return Limits(
            warmup_minutes=self.common.warmup_minutes,
            close_share=self.common.close_share,
            volume_multiple=volume.multiple * volume.is_on,
            volume_score=volume.score,
            volume_trades=volume.min_trades,
            volume_floor=volume.min_volume,
            volume_print_share=volume.max_print_share,
            volume_by_day=volume.baseline == "time_of_day",
            move_multiple=move.multiple * move.is_on,
            move_window=int(move.window_s * NS_PER_SECOND),
            move_bps=move.min_bps,
            move_share=move.min_day_share,
            print_multiple=odd.multiple * odd.is_on,
            print_bps=odd.min_bps,
            print_share=odd.min_day_share,
            split_ns=int(move.split_minutes * NS_PER_MINUTE),
            volatility_multiple=burst.multiple * burst.is_on,
            volatility_bps=burst.min_bps,
            volatility_share=burst.min_day_share,
            spread_multiple=spread.multiple * spread.is_on,
            spread_bps=spread.min_bps,
            spread_hold=int(spread.hold_s * NS_PER_SECOND),
            spread_quotes=spread.min_quotes,
            flow_multiple=flow.multiple * flow.is_on,
            flow_score=flow.min_score,
            flow_share=flow.min_share,
            flow_orders=flow.min_orders,
            crossed_share=quality.crossed_share * quality.is_on,
            crossed_quotes=float(quality.min_quotes),
            crossed_memory=quality.memory_minutes * NS_PER_MINUTE,
            stuffing_multiple=stuffing.multiple * stuffing.is_on,
            stuffing_excess=stuffing.excess,
            stuffing_quotes=stuffing.min_quotes,
            day_minutes=day_minutes,
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
        """The settings of one market."""
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
