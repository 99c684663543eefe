"""Audit entries about the whole database, under the market `all`."""

import datetime as dt
import json
import uuid
from collections.abc import Mapping

import polars as pl
from sqlalchemy.engine import Connection

from tapewatch.market.tables.live import AUDIT
from tapewatch.store.database.rows import as_kept
from tapewatch.store.database.upserts import upsert

EVERY_MARKET = "all"


def record(connection: Connection, actor: str, action: str, subject: str, detail: Mapping[str, object]) -> None:
    """Add an entry in the connection's transaction, which makes the change that it describes."""
    now = dt.datetime.now(dt.UTC)
    entry = pl.DataFrame(
        {
            "entry_id": [uuid.uuid4().hex],
            "at_time": [now],
            "actor": [actor],
            "action": [action],
            "subject": [subject],
            "detail": [json.dumps(detail)],
        }
    )
    place = pl.DataFrame({"market": [EVERY_MARKET], "date": [now.date()]})
    upsert(connection, AUDIT, as_kept(AUDIT, AUDIT.conform(entry), place))
