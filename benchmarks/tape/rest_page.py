"""A REST page of 50,000 rows to columns, compared with the official client, which builds objects and a DataFrame from them.

Both sides decode the same bytes in memory, without sockets. The client's side is the client's own paging code (`list_aggs`,
`list_trades`) over a connection pool that replies from memory. Ours decodes, checks and sorts as a load does.

    python -m benchmarks.tape.rest_page
"""

import datetime as dt
from collections.abc import Callable

import msgspec
import numpy as np
import pandas as pd
import polars as pl
import urllib3
from polygon import RESTClient

from benchmarks.measuring import median_seconds
from tapewatch.feeds.rest.kinds import BARS_KIND, TRADES_KIND, Kind, Window
from tapewatch.market.instruments import Market, Partition
from tapewatch.market.tables.tape import SYMBOL

ROWS = 50_000
ROUNDS = 9
_DAY = dt.date(2024, 5, 1)


class _Memory:
    """A connection pool that replies to every request with the same body."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def request(self, *_: object, **__: object) -> urllib3.HTTPResponse:
        return urllib3.HTTPResponse(body=self._body, status=200, preload_content=True)


def _bars_page(start_ns: int) -> bytes:
    rng = np.random.default_rng(1)
    price = 100 + np.cumsum(rng.normal(0, 0.05, ROWS))
    rows = [
        {
            "v": int(rng.integers(1, 100_000)),
            "vw": round(p + 0.0013, 4),
            "o": round(p, 2),
            "c": round(p + 0.01, 2),
            "h": round(p + 0.05, 2),
            "l": round(p - 0.05, 2),
            "t": start_ns // 10**6 + 60_000 * index,
            "n": int(rng.integers(1, 900)),
        }
        for index, p in enumerate(price.tolist())
    ]
    page = {
        "ticker": "AAPL",
        "queryCount": ROWS,
        "resultsCount": ROWS,
        "adjusted": False,
        "results": rows,
        "status": "OK",
    }
    return msgspec.json.encode(page)


def _trades_page(start_ns: int) -> bytes:
    rng = np.random.default_rng(2)
    price = 100 + np.cumsum(rng.normal(0, 0.01, ROWS))
    rows = [
        {
            "conditions": [12, 37] if index % 3 else [14, 41],
            "exchange": int(rng.integers(1, 20)),
            "id": str(52_983_525_029_461 + index),
            "participant_timestamp": start_ns + index * 10**6,
            "price": round(p, 4),
            "sequence_number": 7 * index,
            "sip_timestamp": start_ns + index * 10**6 + 300,
            "size": int(rng.integers(1, 500)),
            "tape": 3,
            "trf_id": 201,
            "trf_timestamp": start_ns + index * 10**6 + 200,
        }
        for index, p in enumerate(price.tolist())
    ]
    return msgspec.json.encode({"results": rows, "status": "OK", "request_id": "r"})


def _ours(kind: Kind, body: bytes) -> pl.DataFrame:
    columns = kind.decoder(body).frame.with_columns(pl.lit("AAPL", SYMBOL).alias("symbol"))
    is_bad = columns.select(pl.any_horizontal(fault for fault, _ in kind.rules)).to_series()
    return kind.table.conform(columns.filter(~is_bad)).sort(kind.table.sort[1:])


def _client(body: bytes) -> RESTClient:
    client = RESTClient("a-key", pagination=True)
    client.client = _Memory(body)
    return client


def main() -> None:
    """Print both tables."""
    session = Partition(_DAY, Market.STOCKS).session
    window = Window(session.day_start, session.day_end, str(_DAY))
    bars, trades = _bars_page(window.start), _trades_page(window.start)
    pages: dict[str, tuple[Kind, bytes, Callable[[RESTClient], object]]] = {
        "bars": (BARS_KIND, bars, lambda client: client.list_aggs("AAPL", 1, "minute", "2024-05-01", "2024-05-31")),
        "trades": (TRADES_KIND, trades, lambda client: client.list_trades("AAPL")),
    }
    print(f"{'50,000 rows to columns':46} {'ms':>8} {'M rows/s':>9} {'ratio':>7}")
    for name, (kind, body, ask) in pages.items():
        client = _client(body)
        seconds = median_seconds(
            {
                "official client, DataFrame of its objects": lambda ask=ask, client=client: pd.DataFrame(ask(client)),
                "official client, DataFrame of their dicts": lambda ask=ask, client=client: pd.DataFrame(
                    [vars(item) for item in ask(client)]
                ),
                "tapewatch: decode, columns": lambda kind=kind, body=body: kind.decoder(body).frame,
                "tapewatch: the same, checked and sorted": lambda kind=kind, body=body: _ours(kind, body),
            },
            ROUNDS,
            warms_up=True,
        )
        peer = seconds["official client, DataFrame of its objects"]
        for side, elapsed in seconds.items():
            print(f"{name + ': ' + side:46} {elapsed * 1e3:8.1f} {ROWS / elapsed / 1e6:9.2f} {peer / elapsed:6.1f}x")


if __name__ == "__main__":
    main()
