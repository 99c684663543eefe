"""What a deployment may set, from the environment and `.env`.

Read by entry points only (the command line, the Dagster definitions, the scoring service) and passed on as arguments:
no library function reads it for itself.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

_CHECKOUT = Path(__file__).resolve().parent.parent

Plan = Literal["basic", "starter", "developer", "advanced"]
Port = Annotated[int, Field(ge=1, le=65_535)]


class Settings(BaseSettings):
    """The platform's settings; each may be given as an environment variable of the alias named here."""

    model_config = SettingsConfigDict(
        env_file=".env",
        env_prefix="TAPEWATCH_",
        extra="ignore",
        frozen=True,
        populate_by_name=True,
        env_ignore_empty=True,
    )

    home: Path = Field(_CHECKOUT / "data", description="lake, databases, MLflow, Dagster and Bento homes")
    flat_files: str | None = Field(
        None, description="folder or fsspec URL of the vendor's flat files; read instead of REST"
    )

    polygon_api_key: SecretStr | None = Field(None, alias="POLYGON_API_KEY", description="the vendor's key")
    polygon_base_url: str = Field("https://api.polygon.io", alias="POLYGON_BASE_URL", description="REST address")
    polygon_ws_url: str | None = Field(
        None,
        alias="POLYGON_WS_URL",
        description="WebSocket address without the market; by default the vendor's, delayed where the plan is",
    )
    polygon_ws_url_stocks: str | None = Field(None, alias="POLYGON_WS_URL_STOCKS")
    polygon_ws_url_crypto: str | None = Field(None, alias="POLYGON_WS_URL_CRYPTO")
    polygon_ws_url_forex: str | None = Field(None, alias="POLYGON_WS_URL_FOREX")
    polygon_ws_url_indices: str | None = Field(None, alias="POLYGON_WS_URL_INDICES")
    polygon_ws_url_options: str | None = Field(None, alias="POLYGON_WS_URL_OPTIONS")
    polygon_ws_url_futures: str | None = Field(None, alias="POLYGON_WS_URL_FUTURES")
    plans_file: Path | None = Field(None, description="a table of plans of your own, in place of feeds/plans.toml")
    polygon_tier_stocks: Plan = Field("basic", alias="POLYGON_TIER_STOCKS")
    polygon_tier_crypto: Plan = Field("basic", alias="POLYGON_TIER_CRYPTO")
    polygon_tier_forex: Plan = Field("basic", alias="POLYGON_TIER_FOREX")
    polygon_tier_indices: Plan = Field("basic", alias="POLYGON_TIER_INDICES")
    polygon_tier_options: Plan = Field("basic", alias="POLYGON_TIER_OPTIONS")
    polygon_tier_futures: Plan = Field("basic", alias="POLYGON_TIER_FUTURES")

    symbols_stocks: Annotated[tuple[str, ...], NoDecode] = ("AAPL", "GOOGL", "MSFT", "TSLA", "VOO")
    symbols_crypto: Annotated[tuple[str, ...], NoDecode] = (
        "X:BTC-USD",
        "X:ETH-USD",
        "X:ADA-USD",
        "X:SOL-USD",
        "X:DOT-USD",
        "X:DOGE-USD",
    )

    symbols_forex: Annotated[tuple[str, ...], NoDecode] = ("C:EUR-USD", "C:GBP-USD", "C:USD-JPY")
    symbols_indices: Annotated[tuple[str, ...], NoDecode] = ("I:SPX", "I:NDX")
    symbols_options: Annotated[tuple[str, ...], NoDecode] = ()
    symbols_futures: Annotated[tuple[str, ...], NoDecode] = ()

    stream_hours: Literal["auto", "sessions", "always"] = Field(
        "auto", description="collect in market hours only, or always; auto: always from loopback, sessions otherwise"
    )
    ingest_share: float = Field(
        0.25,
        gt=0,
        le=1,
        description="share of the time that the ingest runs of one market day may take; each rewrites the day",
    )
    detection_file: Path | None = Field(
        None, description="thresholds of the online detectors, in place of streaming/detection.toml"
    )
    alert_webhook: SecretStr | None = Field(None, description="address that alerts are posted to as JSON")
    alert_slack: SecretStr | None = Field(None, description="Slack-shaped incoming webhook")
    alert_email_to: Annotated[tuple[str, ...], NoDecode] = ()
    alert_email_from: str = "tapewatch@localhost"
    smtp_host: str = "127.0.0.1"
    smtp_port: Port = 25
    smtp_user: str | None = None
    smtp_password: SecretStr | None = None

    database_url: str | None = Field(None, description="SQLAlchemy URL; SQLite under the home by default")
    dagster_postgres_url: SecretStr | None = Field(
        None, description="keep Dagster's runs and events in this PostgreSQL"
    )
    mlflow_tracking_uri: str | None = Field(
        None, alias="MLFLOW_TRACKING_URI", description="SQLite under the home by default"
    )

    host: str = Field("127.0.0.1", description="address that services bind to")
    port_dagster: Port = 3000
    port_mlflow: Port = 5000
    port_emulator: Port = 8900
    port_scoring: Port = 3001
    port_metrics: int = Field(
        9464, ge=1, le=65_530, description="first of the collectors' ports: one a market, in the order of markets"
    )

    @field_validator(
        "symbols_stocks",
        "symbols_crypto",
        "symbols_forex",
        "symbols_indices",
        "symbols_options",
        "symbols_futures",
        "alert_email_to",
        mode="before",
    )
    @classmethod
    def _split_commas(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @property
    def lake_root(self) -> Path:
        """Root of the lake."""
        return self.home / "lake"

    @property
    def spool_root(self) -> Path:
        """Where collectors leave batches for the ingest runs."""
        return self.home / "spool"

    @property
    def database(self) -> str:
        """SQLAlchemy URL of the operational database."""
        return self.database_url or f"sqlite:///{self.home / 'tapewatch.db'}"

    @property
    def tracking_uri(self) -> str:
        """MLflow's backend."""
        return self.mlflow_tracking_uri or f"sqlite:///{self.home / 'mlflow' / 'mlflow.db'}"

    @property
    def dagster_home(self) -> Path:
        """Dagster's instance folder."""
        return self.home / "dagster"

    @property
    def bento_home(self) -> Path:
        """BentoML's store of Bentos and models."""
        return self.home / "bentoml"

    def plan(self, market: str) -> Plan:
        """The plan bought for a market."""
        plan: Plan = getattr(self, f"polygon_tier_{market}")
        return plan

    def symbols(self, market: str) -> tuple[str, ...]:
        """The symbols watched in a market; empty where none are set."""
        symbols: tuple[str, ...] = getattr(self, f"symbols_{market}", ())
        return symbols
