"""Frames of a recorded day through everything that a collector computes, by part, beside the official client's parsing alone.

Run: python -m benchmarks.live.live_everything [--rounds N]. Needs the recorded days. In order: decoding, rules, scan (fitted on two days), bars
of seconds and minutes, of ticks and dollars, microstructure rows, indicators and `market_microstructure`; then the families of features: `cross_asset`,
`correlations`, `regimes`, `seasonality` (fitted on two days) and, within the bars and features, the further microstructure. No socket, disk or database. The least
processor time of the rounds counts, since other processes wait for the same cores; a rate is of one core.
"""

import argparse
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.measuring import MARKET_DATA
from benchmarks.tape.catalogue import models
from benchmarks.tape.stream_decode import EVENTS, frames_of, parsed_by_client, ticks_from_open
from models.scan.detector import Day, ScanDetector
from tapewatch.bars.information.live import LiveInformationBars
from tapewatch.features.bins.batch import bins_5s
from tapewatch.features.regimes.hidden_markov import RegimeModel
from tapewatch.features.seasonality.model import SeasonalModel
from tapewatch.feeds.stream.decode.decoder import Frame, FrameDecoder
from tapewatch.market.instruments import Market, Partition, Session
from tapewatch.market.tables.tape import QUOTES, TRADES
from tapewatch.streaming.detection.live_scan import LiveScan
from tapewatch.streaming.detection.rules.settings import DetectionConfig
from tapewatch.streaming.detection.watch import Watch
from tapewatch.streaming.live.families import LiveFamilies
from tapewatch.streaming.live.kept import Change
from tapewatch.streaming.live.tape import LiveTape
from tests.support.recorded import TICK_DAYS, recorded_quotes, recorded_trades

#: Events between two advances of the tape: a tenth of a second at 100,000 a second.
_FRAMES_A_STEP = 500
_PARTS = ("decoding", "rules", "scan", "bars and features", "families")


class TimedFamilies(LiveFamilies):
    """Adds up the processor time of `update`."""

    seconds = 0.0

    def update(self, *changes: Any) -> tuple[Change, ...]:
        """As the families', timed."""
        began = time.process_time()
        found = super().update(*changes)
        self.seconds += time.process_time() - began
        return found


def fitted() -> tuple[ScanDetector, RegimeModel | None, SeasonalModel | None]:
    """The scan and the models of two recorded days."""
    days = []
    for date in (TICK_DAYS[0], TICK_DAYS[2]):
        session = Partition(date, Market.STOCKS).session
        trades, quotes = (
            read(MARKET_DATA, date).sort(table.sort)
            for read, table in ((recorded_trades, TRADES), (recorded_quotes, QUOTES))
        )
        days.append((session, trades, quotes))
    bins = [Day(session, bins_5s(trades, quotes, session), None) for session, trades, quotes in days]
    return ScanDetector.fit(bins), *models(days)


def passed(
    frames: Sequence[Frame],
    session: Session,
    scan: ScanDetector,
    states: RegimeModel | None,
    seasons: SeasonalModel | None,
) -> dict[str, float]:
    """Processor seconds of each part."""
    decoder, watch = FrameDecoder(Market.STOCKS), Watch(Market.STOCKS, DetectionConfig.load())
    live, families = (
        LiveScan(scan, Market.STOCKS),
        TimedFamilies(session, regime_model=lambda: states, seasonal_model=lambda: seasons),
    )
    tape = LiveTape(session, information=LiveInformationBars(session), families=families)
    taken: dict[str, float] = defaultdict(float)

    def timed(part: str, work: Callable[[], Any]) -> Any:
        began = time.process_time()
        done = work()
        taken[part] += time.process_time() - began
        return done

    for at in range(0, len(frames), _FRAMES_A_STEP):
        batch = timed("decoding", lambda at=at: decoder.decode(frames[at : at + _FRAMES_A_STEP]))
        timed("rules", lambda batch=batch: watch.observe(batch))
        timed("bars and features", lambda batch=batch: tape.push(batch.trades, batch.quotes))
        now = tape.last_time_ns
        timed("scan", lambda batch=batch, now=now: (live.add(batch.trades, batch.quotes), live.advance(now)))
        timed("bars and features", lambda now=now: tape.advance(now))
    taken["families"] = families.seconds
    taken["bars and features"] -= families.seconds
    return taken


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    if not MARKET_DATA.is_dir():
        raise SystemExit(f"no recorded days at {MARKET_DATA}: set TAPEWATCH_MARKET_DATA")
    _, session, trades, quotes = ticks_from_open()
    frames, made = frames_of(trades, quotes), fitted()
    passed(frames, session, *made)
    best = dict.fromkeys(("official client", *_PARTS, "everything"), float("inf"))
    for _ in range(rounds):
        began = time.process_time()
        parsed_by_client(frames)
        client = time.process_time() - began
        taken = passed(frames, session, *made)
        for name, seconds in {"official client": client, **taken, "everything": sum(taken.values())}.items():
            best[name] = min(best[name], seconds)
    print(f"{EVENTS:,} events of {TICK_DAYS[1]} from the open\n")
    print(f"{'':26}{'CPU ms':>8}{'events/s of a core':>20}{'ratio':>8}")
    for name, seconds in best.items():
        print(f"{name:26}{1e3 * seconds:8.1f}{EVENTS / seconds:20,.0f}{best['official client'] / seconds:8.1f}")


if __name__ == "__main__":
    main()
