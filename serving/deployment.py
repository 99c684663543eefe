"""What a running service holds: the served model, the stores that it reads, its gate, cache and log."""

import asyncio
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy.engine import make_url

from serving.bucket import BentoBucket
from serving.cache import AnswerCache
from serving.http.gate import Gate
from serving.http.log import Log
from serving.http.problems import Problem
from serving.http.tracing import Tracer
from serving.shadow import Shadow
from serving.swap import Slot
from serving.traffic.log import TrafficLog
from tapewatch.accounts.keys import KeyRing, list_keys
from tapewatch.settings import Settings
from tapewatch.store.database.database import Database
from tapewatch.store.database.engine import DatabaseError, parse
from tapewatch.store.vectors.symbols import open_vectors
from tapewatch.store.vectors.vectors import Vectors
from tapewatch.tracing import close_provider, open_provider
from tapewatch.web.access import Access

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

#: Seconds between looks at the keys, at the store's models, and at what the challenger has to score.
KEYS_S, MODEL_S, SHADOW_S = 2.0, 0.5, 0.25
#: Cores that this process may use.
CORES: Final = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
#: Seconds between looks at the Bentos that were published elsewhere.
BENTOS_S = 10.0


@dataclass
class Deployment:
    """One worker's parts.

    `under_way` counts the requests that are being answered, `arriving` the bytes of those that come in parts, `streams` the open
    streams of alerts.
    """

    slot: Slot
    gate: Gate
    cache: AnswerCache
    traffic: TrafficLog
    log: Log
    home: Path
    database_url: str
    redis_url: str | None = None
    online_database_url: str | None = None
    under_way: int = 0
    arriving: int = 0
    streams: int = 0
    shadow: Shadow = field(default_factory=Shadow)
    webhook_secret: str | None = None
    otlp_endpoint: str | None = None
    trace_share: float = 1.0
    bentos_url: str | None = None
    tracer: Tracer | None = None
    #: When the newest event of a webhook happened that was followed, in seconds since 1970.
    newest_event: float = 0.0
    webhook_lock: threading.Lock = field(default_factory=threading.Lock)
    #: For each core, one slice of a large request at a time.
    turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(CORES))
    is_stopping: asyncio.Event = field(default_factory=asyncio.Event)
    _database: Database | None = None
    _vectors: Vectors | None = None
    _spans: "TracerProvider | None" = None
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    @classmethod
    def of(cls, settings: Settings, slot: Slot) -> "Deployment":
        """The parts of a deployment; connects to nothing yet."""
        token = settings.token.get_secret_value() if settings.token else ""
        secret = settings.scoring_webhook_secret
        redis, online = settings.redis_url, settings.online_database_url
        redis_url = redis.get_secret_value() if redis else None
        return cls(
            slot,
            Gate(Access.of(settings.host, settings.allowed_hosts, token), settings.scoring_requests_per_minute),
            AnswerCache(redis_url, ttl_s=settings.scoring_cache_s),
            TrafficLog(settings.lake_root, settings.scoring_sample),
            Log(is_quiet=not settings.scoring_log_requests),
            settings.home,
            settings.database,
            redis_url,
            online.get_secret_value() if online else None,
            shadow=Shadow(slot.bento_home),
            webhook_secret=secret.get_secret_value() if secret else None,
            otlp_endpoint=settings.otlp_endpoint,
            trace_share=settings.trace_share,
            bentos_url=settings.bentos_url,
        )

    @property
    def database(self) -> Database:
        """The operational database, whose schema others upgrade.

        Raises:
            Problem: there is none yet.
        """
        if self._database is None:
            if not self._has_database():
                raise Problem(
                    503,
                    "no-database",
                    "this deployment has no operational database yet",
                    way_out="`tapewatch up`, `tapewatch run` or `tapewatch demo` makes it",
                )
            self._database = Database(self.database_url, upgrades=False)
        return self._database

    @property
    def vectors(self) -> Vectors:
        """The online store of features.

        Raises:
            Problem: there is none yet.
        """
        if self._vectors is None:
            is_file = not (self.redis_url or self.online_database_url)
            if is_file and not (self.home / "feast" / "online.db").is_file():
                raise Problem(
                    503,
                    "no-online-store",
                    "this deployment has no online store of features yet",
                    way_out="materialize feature_store/online, or set TAPEWATCH_REDIS_URL",
                )
            self._vectors = open_vectors(self.home, redis_url=self.redis_url, database_url=self.online_database_url)
        return self._vectors

    def read_keys(self) -> None:
        """Read the API keys. While the database is away the keys as read before count."""
        if not self._has_database():
            self.gate.ring = self.gate.ring or KeyRing({})
            return
        try:
            self.gate.ring = KeyRing.of(list_keys(self.database))
        except DatabaseError as error:
            if _is_before_keys(str(error)):
                self.gate.ring = self.gate.ring or KeyRing({})
            elif self.gate.ring is None:
                self.log.write("keys-unread", reason=str(error))

    async def start(self) -> None:
        """Read the keys, say who is served, and begin to look for new keys and models."""
        await asyncio.to_thread(self.read_keys)
        self._spans = open_provider(self.otlp_endpoint, "tapewatch-scoring", share=self.trace_share)
        self.tracer = Tracer(self._spans) if self._spans else None
        self.log.write("ready", model=str(self.slot), access=self.access())
        self._tasks = [
            asyncio.create_task(self._every(KEYS_S, self.read_keys)),
            asyncio.create_task(self._every(MODEL_S, self._look)),
            asyncio.create_task(self._every(BENTOS_S, self._fetch, lambda: bool(self.bentos_url))),
            asyncio.create_task(self._every(SHADOW_S, lambda: self.shadow.drain(self.log), lambda: self.shadow.waits)),
            asyncio.create_task(self._every(self.traffic.SECONDS, self.traffic.flush)),
            asyncio.create_task(self._every(self.log.SECONDS, self.log.flush, lambda: self.log.waits)),
        ]

    async def stop(self) -> None:
        """End the background work and close the stores."""
        self.is_stopping.set()
        for task in self._tasks:
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.to_thread(self.traffic.flush)
        await asyncio.to_thread(self.log.flush)
        await asyncio.to_thread(close_provider, self._spans)
        await self.cache.close()
        if self._database is not None:
            self._database.close()
        if self._vectors is not None:
            self._vectors.close()

    def access(self) -> str:
        """Who may use the service, in words."""
        if self.gate.is_open:
            return "open: anybody who reaches this address, without a key; `tapewatch keys create` closes it"
        return "callers with an API key" + (" or TAPEWATCH_TOKEN" if self.gate.access.token else "")

    def _has_database(self) -> bool:
        url = parse(self.database_url)
        return url.get_backend_name() != "sqlite" or Path(make_url(url).database or "").is_file()

    def _look(self) -> None:
        """Follow the store's champion and challenger."""
        self.slot.look(self.log)
        self.shadow.look(self.log)

    def _fetch(self) -> None:
        """Bring the store to what was published elsewhere, for `_look` to follow."""
        home = self.slot.bento_home
        if self.bentos_url and home is not None and BentoBucket(self.bentos_url).fetch(home):
            self.log.write("bentos-fetched", url=self.bentos_url)

    async def _every(
        self, seconds: float, work: Callable[[], object], is_due: Callable[[], bool] = lambda: True
    ) -> None:
        """Do `work` in a thread, again and again, whenever it is due."""
        while True:
            await asyncio.sleep(seconds)
            if not is_due():
                continue
            try:
                await asyncio.to_thread(work)
            except Exception as error:  # noqa: BLE001 - the next round tries again
                self.log.failure("", error)


def _is_before_keys(reason: str) -> bool:
    """Whether a database is refused because its schema is older than the table of keys."""
    return "api_keys" in reason and ("no such table" in reason or "does not exist" in reason)
