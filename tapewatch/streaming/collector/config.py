"""What a collector is given."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
from upath import UPath

from tapewatch.bars.information.clocks import LIVE_CLOCKS, Clock
from tapewatch.features.regimes.hidden_markov import RegimeModel
from tapewatch.features.seasonality.model import SeasonalModel
from tapewatch.feeds.stream.policy import ConnectionPolicy
from tapewatch.market.instruments import Market, Partition
from tapewatch.market.schema import Table
from tapewatch.market.tables.features import LIVE_FAMILIES
from tapewatch.streaming.alerts.board import Notifier
from tapewatch.streaming.collector.metrics import LOOPBACK
from tapewatch.streaming.detection.baselines import Baselines
from tapewatch.streaming.detection.rules.settings import DetectionConfig


@dataclass(frozen=True, kw_only=True)
class CollectorConfig:
    """A collector's settings. `run_folder` holds the files of running processes: the lock, the journal of gaps."""

    market: Market
    url: str
    key: str = field(repr=False)
    subscriptions: Sequence[str]
    #: Symbols that have live rows even without events; empty for the symbols that have some.
    symbols: Sequence[str] = ()
    spool_root: Path
    run_folder: Path
    #: Read with the spool to resume the current day after a restart; None for the spool alone.
    lake_root: str | Path | UPath | None = None
    database_url: str = field(repr=False)
    detection: DetectionConfig
    notifiers: Sequence[Notifier] = ()
    baselines: Baselines | None = None
    #: Fits the model of the live regimes for a day; None for regimes without states.
    regime_model: Callable[[Partition], RegimeModel | None] | None = None
    #: Fits what is usual of a day's minutes; None for `SEASONALITY` rows without it.
    seasonal_model: Callable[[Partition], SeasonalModel | None] | None = None
    #: The further feature tables to fill.
    families: Sequence[Table] = LIVE_FAMILIES
    #: What the live bars of other clocks count; empty for none.
    clocks: Sequence[Clock] = LIVE_CLOCKS
    #: The folder of the models to use, and to look at again each minute; None for the rules alone.
    champions: Path | None = None
    #: Given the newest live features of each symbol, table by table, in a thread of its own.
    publish: Callable[[Table, pl.DataFrame], None] | None = None
    metrics_port: int = 0
    metrics_host: str = LOOPBACK
    #: Connect around the market's sessions only, rather than always.
    in_sessions: bool = False
    delay_ns: int = 0
    #: OTLP collector that alerts are traced to, and the share of them.
    otlp_endpoint: str | None = None
    trace_share: float = 1.0
    #: Identifies the run of the supervisor that started this process.
    watch: str = ""
    connection: ConnectionPolicy | None = None
