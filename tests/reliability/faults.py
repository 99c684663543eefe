"""Every fault that the emulator knows, again and again in one replay, and what the lake holds afterwards."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from tapewatch.emulator.faults import MESSAGE_KINDS
from tapewatch.emulator.process import running_emulator
from tapewatch.feeds.stream_policy import ConnectionPolicy
from tests.reliability.desk import Desk
from tests.reliability.scenario import CRYPTO_DAY, PAIRS, Outcome, ask_again, settle
from tests.reliability.truth import SEED, difference
from tests.support.replays import Home, collect_all, progress_of

#: Soon there again, so that fifty rounds take minutes; patient with a busy machine.
QUICK = ConnectionPolicy(
    first_wait_s=0.02,
    longest_wait_s=0.1,
    crowded_wait_s=0.1,
    healthy_after_s=5.0,
    ping_timeout_s=60.0,
    reply_timeout_s=60.0,
)
#: A half-open connection is found out by its silence alone.
_HASTY = replace(QUICK, ping_interval_s=0.5, ping_timeout_s=1.0)
#: Faults of messages are counted channel by channel, the others over the whole stream; either sees more events than this.
_EVENTS_OF_A_CHANNEL, _EVENTS = 10_000, 60_000

#: What each fault of the stream is told beyond its rhythm.
STREAM_FAULTS: dict[str, dict[str, object]] = {
    "drop": {"lose_ms": 20_000},
    "close": {"lose_ms": 20_000},
    "close_1008": {"lose_ms": 20_000},
    "half_open": {"lose_ms": 20_000},
    "malformed_json": {},
    "truncated_frame": {},
    "unknown_event": {},
    "unknown_field": {},
    "duplicate": {},
    "out_of_order": {"delay_ms": 5_000},
    "late_correction": {"channel": "XT", "delay_ms": 60_000},
    "burst": {"hold_ms": 2_000},
    "slow": {"hold_ms": 20},
    "clock_skew": {"skew_ms": 3_600_000},
}
REST_FAULTS: dict[str, dict[str, object]] = {"http_429": {"delay_ms": 1_000}, "http_500": {}, "cut_page": {}}


def stream_fault(home: Path, kind: str, rounds: int) -> Outcome:
    """One fault of the stream, at least `rounds` times in a day's replay at full speed."""
    events = _EVENTS_OF_A_CHANNEL if kind in MESSAGE_KINDS else _EVENTS
    text = _fault(kind, max(1, events // rounds), rounds, STREAM_FAULTS[kind])
    return _replay(home, kind, text, rounds)


def rest_fault(home: Path, kind: str, rounds: int) -> Outcome:
    """One fault of REST, `rounds` times while the healer fills what drops of the stream left."""
    drops = _fault("drop", max(1, _EVENTS // rounds), rounds, STREAM_FAULTS["drop"])
    return _replay(home, kind, drops + _fault(kind, 2, rounds, REST_FAULTS[kind]), rounds, asked_again=rounds)


def _fault(kind: str, every: int, count: int, more: Mapping[str, object]) -> str:
    entries = {"kind": f'"{kind}"', "every": every, "count": count} | {
        name: f'"{value}"' if isinstance(value, str) else value for name, value in more.items()
    }
    return "\n".join(["[[fault]]", *(f"{name} = {value}" for name, value in entries.items()), ""])


def _replay(home: Path, kind: str, faults: str, rounds: int, *, asked_again: int = 0) -> Outcome:
    home.mkdir(parents=True, exist_ok=True)
    file = home / "faults.toml"
    file.write_text(faults, encoding="utf-8")
    patience = _HASTY if kind == "half_open" else QUICK
    with running_emulator(seed=SEED, speed="max", replay=str(CRYPTO_DAY.date), faults=file) as emulator:
        desk = Desk(emulator, home, CRYPTO_DAY, PAIRS, database_url=f"sqlite:///{home / 'live.db'}")
        status = collect_all(emulator, CRYPTO_DAY.market, Home(home), PAIRS, connection=patience)
        if asked_again:
            ask_again(desk, asked_again)
        passes = settle(desk)
        counted = progress_of(emulator, CRYPTO_DAY.market)["faults"].get(kind, 0)
        found = difference(desk.lake, CRYPTO_DAY, PAIRS)
    note = f"{status.reconnects} reconnects, {passes} passes of healer and ingest"
    return Outcome(kind.replace("_", " "), counted, rounds, found, note)
