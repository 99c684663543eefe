"""A deployment's settings, from the environment and `.env`.

Only entry points read them (the command line, the Dagster definitions, the scoring service) and pass them on as arguments.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, get_args

from pydantic import Field, PastDate, SecretStr, field_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    InitSettingsSource,
    NoDecode,
    SettingsConfigDict,
)
from pydantic_settings import PydanticBaseSettingsSource as Source

from tapewatch.bars.information.clocks import LIVE_CLOCKS, Clock
from tapewatch.market.instruments import Market
from tapewatch.market_settings import DEFAULT_MARKETS, MARKET_VARIABLES, MarketSettings, PlanName, split_commas

if TYPE_CHECKING:
    from upath import UPath

_CHECKOUT = Path(__file__).resolve().parent.parent

Port = Annotated[int, Field(ge=1, le=65_535)]
LiveFamily = Literal["microstructure_more", "indicators", "cross_asset", "correlations", "regimes", "seasonality"]


def _sqlite_url(file: Path) -> str:
    """The SQLAlchemy URL of a SQLite file, whatever characters its name has."""
    from sqlalchemy.engine import URL  # noqa: PLC0415 - slow to import

    return URL.create("sqlite", database=str(file)).render_as_string()


def variable_of(*location: str | int) -> str:
    """The environment variable of the setting at `location`, such as `("host",)` or `("markets", "stocks", "plan")`."""
    if len(location) >= 3 and location[0] == "markets":
        return f"{MARKET_VARIABLES[str(location[2])]}{location[1]}".upper()
    name = ".".join(map(str, location))
    return name if name.isupper() else f"TAPEWATCH_{name.upper()}"


def _of_markets(source: Source) -> dict[str, Any]:
    """The value of `markets` as far as a source (the environment, or `.env`) sets it."""
    variables = source.env_vars if isinstance(source, EnvSettingsSource) else {}
    names = {
        market: {name: variable_of("markets", market, name).lower() for name in MARKET_VARIABLES} for market in Market
    }
    return {"markets": {m: {n: variables[v] for n, v in of.items() if v in variables} for m, of in names.items()}}


def _without_those_of_the_environment(dotenv: Source) -> Source:
    """`.env`, without the variables of the environment: one that is empty there is not set, whatever `.env` says."""
    if isinstance(dotenv, EnvSettingsSource):
        given = {name.lower() for name in os.environ}
        dotenv.env_vars = {name: value for name, value in dotenv.env_vars.items() if name not in given}
    return dotenv


class Settings(BaseSettings):
    """The platform's settings. Each has an environment variable: its alias, or TAPEWATCH_ and its name."""

    model_config = SettingsConfigDict(
        env_file=".env",
        env_prefix="TAPEWATCH_",
        extra="ignore",
        frozen=True,
        populate_by_name=True,
        env_ignore_empty=True,
    )

    home: Path = Field(_CHECKOUT / "data", description="folder of the lake, databases, MLflow, Dagster and Bentos")
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
    plans_file: Path | None = Field(None, description="a table of plans to use in place of feeds/plans/plans.toml")
    markets: Annotated[dict[Market, MarketSettings], NoDecode] = Field(
        default_factory=dict, validate_default=True, description="plan, address and symbols of every market"
    )

    stream_hours: Literal["auto", "sessions", "always"] = Field(
        "auto", description="collect in market hours only, or always; auto: always from loopback, else in sessions"
    )
    ingest_share: float = Field(
        0.25,
        gt=0,
        le=1,
        description="share of the time that the ingest runs of one market day may take; each rewrites the day",
    )
    live_clocks: Annotated[tuple[Clock, ...], NoDecode] = Field(
        LIVE_CLOCKS,
        description="what the live bars count that collectors build besides seconds and minutes; none: no such bars",
    )
    live_features: Annotated[tuple[LiveFamily, ...], NoDecode] = Field(
        get_args(LiveFamily),
        description="feature tables that collectors fill besides the detector's; none: only those",
    )
    detection_file: Path | None = Field(
        None, description="thresholds of the online detectors, in place of the built-in ones"
    )
    paper_trading: bool = Field(False, description="whether `tapewatch up` and `stream` trade paper money on alerts")
    paper_account: str = Field("signals", description="the paper account that trades on alerts")
    paper_cash: float = Field(100_000.0, gt=0, description="its capital, in the quote currency")
    paper_every_bet: bool = Field(
        False, description="whether it trades every tradable signal at size 1, also without a record of earlier bets"
    )
    paper_dynamic_limits: bool = Field(
        False,
        description="whether sized bets are opened at the price at which they break even, not at the spread's other side",
    )
    label_authors: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="who may label the tape; by default the user of this system alone"
    )
    alert_webhook: SecretStr | None = Field(None, description="address to which alerts are posted as JSON")
    alert_slack: SecretStr | None = Field(None, description="Slack-compatible incoming webhook")
    alert_email_to: Annotated[tuple[str, ...], NoDecode] = ()
    alert_email_from: str = "tapewatch@localhost"
    smtp_host: str = "127.0.0.1"
    smtp_port: Port = 25
    smtp_user: str | None = None
    smtp_password: SecretStr | None = None

    partitions_start: PastDate | None = Field(
        None,
        description="first day that the Dagster UI lists; by default the first day in the lake, spool or flat files, "
        "and 30 days ago if there is none",
    )

    lake_url: str | None = Field(
        None, description="fsspec URL of the lake, such as s3://bucket/lake; by default a folder"
    )
    artifacts_url: str | None = Field(
        None, description="URL of MLflow's artifacts, such as s3://bucket/mlflow; by default a folder"
    )
    bentos_url: str | None = Field(
        None, description="URL at which Bentos are published for scoring services elsewhere, such as s3://bucket/bentos"
    )
    database_url: str | None = Field(None, description="SQLAlchemy URL; SQLite under the home by default")
    dagster_postgres_url: SecretStr | None = Field(
        None, description="PostgreSQL for Dagster's runs and events; SQLite by default"
    )
    dask_address: str | None = Field(
        None,
        description="scheduler of a Dask cluster, such as tcp://host:8786, that computes runs; by default one process",
    )
    redis_url: SecretStr | None = Field(None, description="Redis for online features; SQLite under the home by default")
    online_database_url: SecretStr | None = Field(None, description="PostgreSQL for online features, in place of Redis")
    push_features: bool = Field(False, description="whether collectors push live features to the online store")
    mlflow_tracking_uri: str | None = Field(
        None, alias="MLFLOW_TRACKING_URI", description="SQLite under the home by default"
    )

    keras_backend: Literal["tensorflow", "jax", "torch", "none"] = Field(
        "tensorflow", description="what trains the autoencoder; none: it is not trained"
    )

    shadow_hours: float = Field(
        0, ge=0, description="hours of live minutes that a challenger must have scored before it replaces the champion"
    )

    host: str = Field("127.0.0.1", description="address that services bind to")
    dashboard_host: str = Field(
        "", description="address that the dashboard, which has accounts, binds to; by default host"
    )
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="further names by which browsers address the services, such as that of a proxy in front"
    )
    token: SecretStr | None = Field(None, description="what the web services ask for; needed unless host is loopback")
    port_dagster: Port = 3000
    port_mlflow: Port = 5000
    port_emulator: Port = 8900
    port_scoring: Port = 3001
    scoring_requests_per_minute: int = Field(
        60_000, ge=1, description="requests that an API key without a limit of its own may make"
    )
    scoring_cache_s: float = Field(60, ge=0, description="how long the scoring service keeps an answer; 0 keeps none")
    scoring_sample: float = Field(0, ge=0, le=1, description="share of the scoring requests that the lake keeps")
    scoring_log_requests: bool = Field(True, description="whether answered requests are logged, besides refused ones")
    scoring_key: SecretStr | None = Field(None, description="API key with which commands use the scoring service")
    log_format: Literal["text", "json"] = Field(
        "text", description="of the logs of collectors, healer and paper trader: lines of text, or JSON objects"
    )
    otlp_endpoint: str | None = Field(
        None,
        description="OTLP collector (http) that the scoring service sends traces of requests to, and collectors of alerts, such as "
        "http://127.0.0.1:4318",
    )
    trace_share: float = Field(1, ge=0, le=1, description="share of the requests and alerts that are traced")
    scoring_webhook_secret: SecretStr | None = Field(
        None, description="with which MLflow signs its webhooks to the scoring service"
    )
    scoring_certificate: Path | None = Field(None, description="TLS certificate (PEM) of the scoring service")
    scoring_certificate_key: Path | None = Field(None, description="private key (PEM) of the certificate")
    port_dashboard: Port = 8501
    port_metrics: int = Field(
        9464, ge=1, le=65_530, description="first of the collectors' ports: one per market, in the order of markets"
    )
    metrics_host: str = Field("127.0.0.1", description="address at which collectors serve their figures")
    code_location: str | None = Field(
        None, description="HOST of `tapewatch serve code-location`; by default Dagster loads the code itself"
    )
    port_code_location: Port = 4000

    session_idle_minutes: int = Field(
        120, ge=1, le=1440, description="a login to the dashboard ends after so long without activity"
    )
    session_hours: int = Field(12, ge=1, le=168, description="a login to the dashboard ends after so long in any case")
    require_totp: bool = Field(False, description="whether everyone who has a password needs a second factor too")
    tls: Literal["off", "self-made", "given"] = Field(
        "off", description="HTTPS of the dashboard, with a certificate that it makes or that is given"
    )
    tls_certificate: Path | None = Field(None, description="PEM file of the given certificate, with its chain")
    tls_key: Path | None = Field(None, description="PEM file of its key")
    oidc_issuer: str | None = Field(None, description="address of a provider of identities (OpenID Connect)")
    oidc_client_id: str | None = None
    oidc_client_secret: SecretStr | None = None
    oidc_role: Literal["viewer", "user", "manager", "admin"] | None = Field(
        None, description="role of accounts that are made at a first login; by default none is made"
    )

    _split = field_validator("alert_email_to", "allowed_hosts", "label_authors", mode="before")(split_commas)

    @field_validator("live_clocks", "live_features", mode="before")
    @classmethod
    def _of_names(cls, given: object) -> object:
        return () if given == "none" else split_commas(given)

    @field_validator("polygon_base_url")
    @classmethod
    def _is_http(cls, given: str) -> str:
        scheme, mark, rest = given.partition("://")
        if scheme.lower() not in ("http", "https") or not mark or not rest:
            raise ValueError("an address of REST begins with http:// or https://")
        return given

    @field_validator("markets", mode="before")
    @classmethod
    def _with_defaults(cls, given: object) -> dict[str, Any]:
        if not isinstance(given, dict):
            raise ValueError("set the variables of each market instead, such as POLYGON_TIER_STOCKS")  # noqa: TRY004
        return {market: {"symbols": DEFAULT_MARKETS[market].symbols, **given.get(market, {})} for market in Market}

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: Source,
        env_settings: Source,
        dotenv_settings: Source,
        file_secret_settings: Source,  # noqa: ARG003
    ) -> tuple[Source, ...]:
        """Arguments come first, then the environment, then `.env`."""
        read = (env_settings, _without_those_of_the_environment(dotenv_settings))
        markets = (InitSettingsSource(settings_cls, _of_markets(source)) for source in read)
        return (init_settings, *markets, *read)

    @property
    def lake_root(self) -> "Path | UPath":
        """The folder of the lake, or its address in an object store."""
        if self.lake_url is None:
            return self.home / "lake"
        from upath import UPath  # noqa: PLC0415 - slow to import

        return UPath(self.lake_url)

    @property
    def spool_root(self) -> Path:
        """The folder of the batches that collectors write for the ingest runs."""
        return self.home / "spool"

    @property
    def champions(self) -> Path:
        """The folder in which runs put the champions that collectors score with."""
        return self.home / "champions"

    @property
    def database(self) -> str:
        return self.database_url or _sqlite_url(self.home / "tapewatch.db")

    @property
    def tracking_uri(self) -> str:
        # MLflow reads the file's name from the text as it stands, so nothing in it is escaped.
        return self.mlflow_tracking_uri or f"sqlite:///{self.home / 'mlflow' / 'mlflow.db'}"

    @property
    def artifact_root(self) -> str:
        """The address of MLflow's artifacts."""
        return self.artifacts_url or (self.home / "mlflow" / "artifacts").absolute().as_uri()

    @property
    def dagster_home(self) -> Path:
        return self.home / "dagster"

    @property
    def dashboard_address(self) -> str:
        """The address that the dashboard binds to."""
        return self.dashboard_host or self.host

    @property
    def scoring_url(self) -> str:
        """The address of the scoring service, over TLS where it has a certificate."""
        scheme = "https" if self.scoring_certificate and self.scoring_certificate_key else "http"
        return f"{scheme}://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port_scoring}"

    @property
    def bento_home(self) -> Path:
        return self.home / "bentoml"

    def plan(self, market: Market) -> PlanName:
        return self.markets[market].plan

    def symbols(self, market: Market) -> tuple[str, ...]:
        return self.markets[market].symbols

    def with_markets(self, *markets: Market, **changes: Any) -> Self:
        """A copy in which fields of `MarketSettings` are changed for these markets."""
        changed = {market: self.markets[market].model_copy(update=changes) for market in markets}
        return self.model_copy(update={"markets": {**self.markets, **changed}})
