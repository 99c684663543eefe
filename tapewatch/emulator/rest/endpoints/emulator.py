"""The endpoints that the vendor does not have: what the emulator serves, and the anomalies in its tape. They need no key."""

import datetime as dt
from collections.abc import Mapping

import polars as pl
from starlette.requests import Request
from starlette.responses import Response

from tapewatch.emulator.rest.endpoints.base import Endpoints
from tapewatch.emulator.rest.requests import symbol_of
from tapewatch.emulator.tape.market_tape import MarketTape
from tapewatch.emulator.vendor import replies, times
from tapewatch.emulator.vendor.gate import Gate

_LONG_AGO = dt.date(1990, 1, 2)


class EmulatorEndpoints(Endpoints):
    def __init__(self, tape: MarketTape, gate: Gate, info: Mapping[str, object]) -> None:
        super().__init__(tape, gate)
        self._info = info

    def info(self, request: Request) -> Response:  # noqa: ARG002 - every endpoint takes the request
        """What this emulator serves, and how: its version, source, speed, days, markets and number of faults."""
        return replies.reply(dict(self._info))

    def truth(self, request: Request) -> Response:
        ticker = request.query_params.get("ticker", "")
        date: dt.date = times.date_in(request.query_params.get("date", ""))
        if not ticker:
            raise replies.bad_request("ticker: missing")
        symbol = symbol_of(ticker)
        # A day that has not begun has no anomalies yet.
        is_future = date > times.date_of(self._gate.now, self._tape.market(symbol))
        truth = self._tape.truth(symbol, _LONG_AGO if is_future else date)
        if truth is None:
            raise replies.not_found("Recorded files state no truth.")
        rows = truth.select(
            pl.lit(ticker).alias("ticker"),
            "event_id",
            pl.col("kind").cast(pl.String),
            pl.col("start_time").dt.epoch("ns").alias("start_ns"),
            pl.col("end_time").dt.epoch("ns").alias("end_ns"),
        )
        return replies.reply({"status": "OK", "results": rows.to_dicts()})
