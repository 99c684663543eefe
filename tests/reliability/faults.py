"""Every fault of the emulator, repeated in one replay, and the lake's content afterwards."""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from tapewatch.emulator.faults import MESSAGE_KINDS
from tapewatch.emulator.process import RunningEmulator, running_emulator
from tapewatch.feeds.stream.policy import ConnectionPolicy
from tapewatch.market.instruments import Partition
from tapewatch.streaming.ingest.ingest import ingest
from tests.reliability.desk import Desk
from tests.reliability.scenario import CRYPTO_DAY, PAIRS, Outcome, open_extra_gaps, settle
from tests.reliability.truth import SEED, difference
from tests.support.replays import Home, collect_all, progress_of, put_faults

#: Reconnects quickly, so that fifty rounds take minutes; patient with a busy machine.
QUICK = ConnectionPolicy(
    first_wait_s=0.02,
    longest_wait_s=0.1,
    crowded_wait_s=0.1,
    healthy_after_s=5.0,
    ping_timeout_s=60.0,
    reply_timeout_s=60.0,
)
#: A half-open connection shows by its silence only.
_HASTY = replace(QUICK, ping_interval_s=0.5, ping_timeout_s=1.0)
#: Faults of messages are counted channel by channel, others over the whole stream; each has more events than this.
_EVENTS_OF_A_CHANNEL, _EVENTS = 10_000, 60_000
#: The trades of both pairs until the middle of the second day.
_INTO_THE_NEXT_DAY = 42_000

#: The options of each fault of the stream, beside its rhythm.
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
#: Faults that hide each other when they meet: each pair and triple is replayed together.
COMBINATIONS: tuple[tuple[str, ...], ...] = (
    ("late_correction", "drop"),
    ("late_correction", "close"),
    ("late_correction", "half_open"),
    ("late_correction", "malformed_json"),
    ("out_of_order", "drop"),
    ("duplicate", "close_1008"),
    ("burst", "truncated_frame"),
    ("late_correction", "drop", "out_of_order"),
    ("late_correction", "close", "duplicate"),
    ("drop", "malformed_json", "unknown_field"),
)
REST_FAULTS: dict[str, dict[str, object]] = {"http_429": {"delay_ms": 1_000}, "http_500": {}, "cut_page": {}}


def stream_fault(home: Path, kind: str, rounds: int, emulator: RunningEmulator | None = None) -> Outcome:
    """One fault of the stream, at least `rounds` times in a day's replay at full speed."""
    events = _EVENTS_OF_A_CHANNEL if kind in MESSAGE_KINDS else _EVENTS
    fault = {"kind": kind, "every": max(1, events // rounds), "count": rounds, **STREAM_FAULTS[kind]}
    return _replayed(home, kind, [fault], rounds, emulator)


def rest_fault(home: Path, kind: str, rounds: int, emulator: RunningEmulator | None = None) -> Outcome:
    """One fault of REST, `rounds` times while the healer fills the gaps of dropped frames."""
    drops = {"kind": "drop", "every": max(1, _EVENTS // rounds), "count": rounds, **STREAM_FAULTS["drop"]}
    fault = {"kind": kind, "every": 2, "count": rounds, **REST_FAULTS[kind]}
    return _replayed(home, kind, [drops, fault], rounds, emulator, extra_gaps=rounds)


def combined(home: Path, kinds: Sequence[str], rounds: int, emulator: RunningEmulator | None = None) -> Outcome:
    """Several faults of the stream in one replay, each `rounds` times."""
    found = [
        {
            "kind": kind,
            "every": max(1, (_EVENTS_OF_A_CHANNEL if kind in MESSAGE_KINDS else _EVENTS) // rounds),
            "count": rounds,
            **STREAM_FAULTS[kind],
        }
        for kind in kinds
    ]
    return _replayed(home, " and ".join(kinds), found, rounds, emulator, counted=kinds)


def corrections_over_midnight(home: Path, rounds: int) -> list[Outcome]:
    """Corrections that come thirty hours late, some within stretches of the next day that are lost; an outcome for either day.

    Nothing of the day before is lost, so that it has no gap of its own.
    """
    before, after = (Partition(CRYPTO_DAY.date + dt.timedelta(days=k), CRYPTO_DAY.market) for k in (0, 1))
    late = {"kind": "late_correction", "every": 50, "channel": "XT", "delay_ms": 30 * 3_600_000}
    lost = [
        {
            "kind": "drop",
            "every": _INTO_THE_NEXT_DAY + turn * 12_000 // rounds,
            "count": 1,
            "lose_ms": 3 * 3_600_000 // rounds,
        }
        for turn in range(rounds)
    ]
    with running_emulator(seed=SEED, speed="8000eps", replay=f"{before.date}:{after.date}") as emulator:
        desk = Desk(emulator, home, after, PAIRS, database_url=f"sqlite:///{home / 'live.db'}")
        put_faults(emulator, [late, *lost])
        collect_all(emulator, after.market, Home(home), PAIRS, channels=("XT",), connection=QUICK)
        # The day before is merged before the gaps of the day after are healed.
        ingest(desk.lake, desk.settings().spool_root, before, None, dt.datetime.now(dt.UTC))
        wrong = difference(desk.lake, before, PAIRS).wrong
        passes = settle(desk)
        ingest(desk.lake, desk.settings().spool_root, before, None, dt.datetime.now(dt.UTC))
        note = f"{wrong} wrong before {passes} passes of healer and ingest"
        drops = _occurred(desk, "drop")
        return [
            Outcome(
                f"corrections of {before.date} lost on {after.date}",
                min(drops, wrong),
                1,
                difference(desk.lake, before, PAIRS),
                note,
            ),
            Outcome(f"the same, {after.date}", drops, rounds, difference(desk.lake, after, PAIRS)),
        ]


@contextmanager
def replaying() -> Iterator[RunningEmulator]:
    """An emulator for any number of faults, one after the other."""
    with running_emulator(seed=SEED, speed="max", replay=str(CRYPTO_DAY.date)) as emulator:
        yield emulator


def _replayed(
    home: Path,
    kind: str,
    faults: Sequence[Mapping[str, object]],
    rounds: int,
    emulator: RunningEmulator | None,
    *,
    extra_gaps: int = 0,
    counted: Sequence[str] = (),
) -> Outcome:
    if emulator is None:
        with replaying() as own:
            return _replayed(home, kind, faults, rounds, own, extra_gaps=extra_gaps, counted=counted)
    home.mkdir(parents=True, exist_ok=True)
    desk = Desk(emulator, home, CRYPTO_DAY, PAIRS, database_url=f"sqlite:///{home / 'live.db'}")
    kinds = counted or (kind,)
    before = [_occurred(desk, each) for each in kinds]
    put_faults(emulator, faults)
    patience = _HASTY if "half_open" in kinds else QUICK
    # A key of its own receives the tape from its beginning.
    status = collect_all(
        emulator, CRYPTO_DAY.market, Home(home), PAIRS, connection=patience, key=f"advanced-{'-'.join(kinds)}"
    )
    if extra_gaps:
        open_extra_gaps(desk, extra_gaps)
    passes = settle(desk)
    # The rarest of the faults counts.
    occurred = min(_occurred(desk, each) - known for each, known in zip(kinds, before, strict=True))
    put_faults(emulator, [])
    found = difference(desk.lake, CRYPTO_DAY, PAIRS)
    note = f"{status.reconnects} reconnects, {passes} passes of healer and ingest"
    return Outcome(kind.replace("_", " "), occurred, rounds, found, note)


def _occurred(desk: Desk, kind: str) -> int:
    return int(progress_of(desk.emulator, desk.market)["faults"].get(kind, 0))
