"""Frames of a recorded day through everything that a collector computes, by part, beside the official client's parsing alone.

Run: python -m benchmarks.live.live_everything [--rounds N]. Needs the recorded days. In order: decoding, rules, scan (fitted on two days), bars
of seconds and minutes, of ticks and dollars, microstructure rows, `market_microstructure`, `cross_asset` and `regimes`. No socket, disk or database. The least
processor time of the rounds counts, since other processes wait for the same cores; a rate is of one core.
"""

import argparse
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.measuring import MARKET_DATA
from benchmarks.tape.catalogue import bars_of
from benchmarks.tape.stream_decode import EVENTS, frames_of, parsed_by_client, ticks_from_open
from models.scan.detector import Day, ScanDetector
from tapewatch.bars.information.live import LiveInformationBars
from tapewatch.features.bins.batch import bins_5s
from tapewatch.features.regimes.blocks import block_panel
from tapewatch.features.regimes.hidden_markov import RegimeModel
from tapewatch.feeds.stream.decode.decoder import Frame, FrameDecoder
from tapewatch.market.instruments import Market, Partition, Session
from tapewatch.streaming.detection.live_scan import LiveScan
from tapewatch.streaming.detection.rules.settings import DetectionConfig
from tapewatch.streaming.detection.watch import Watch
from tapewatch.streaming.live.market_features import LiveMarketFeatures
from tapewatch.streaming.live.tape import LiveTape
from tests.support.recorded import TICK_DAYS, recorded_quotes, recorded_trades

#: Events between two advances of the tape: a tenth of a second at 100,000 a second.
_FRAMES_A_STEP = 500
_PARTS = ("decoding", "rules", "scan", "bars and features", "across symbols, regimes")


def fitted() -> tuple[ScanDetector, RegimeModel | None]:
    """The scan of two recorded days, and the states of the first."""
    days, panels = [], []
    for date in (TICK_DAYS[0], TICK_DAYS[2]):
        session = Partition(date, Market.STOCKS).session
        trades, quotes = recorded_trades(MARKET_DATA, date), recorded_quotes(MARKET_DATA, date)
        days.append(Day(session, bins_5s(trades, quotes, session), None))
        panel, volatility, _ = block_panel(bars_of((session, trades, quotes)), session, through_ns=session.day_end)
        panels.append((panel.symbols, volatility))
    return ScanDetector.fit(days), RegimeModel.fit(panels[:1])


def passed(
    frames: Sequence[Frame], session: Session, scan: ScanDetector, states: RegimeModel | None
) -> dict[str, float]:
    """Processor seconds of each part."""
    decoder, watch = FrameDecoder(Market.STOCKS), Watch(Market.STOCKS, DetectionConfig.load())
    live, tape, of_market = (
        LiveScan(scan, Market.STOCKS),
        LiveTape(session, information=LiveInformationBars(session)),
        LiveMarketFeatures(session, lambda: states),
    )
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
        rows = timed("bars and features", lambda now=now: tape.advance(now))
        gone = rows.withdrawn_bars
        timed(
            "across symbols, regimes",
            lambda rows=rows, gone=gone, now=now: of_market.update(rows.minute_bars, gone, now),
        )
    return taken


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    if not MARKET_DATA.is_dir():
        raise SystemExit(f"no recorded days at {MARKET_DATA}: set TAPEWATCH_MARKET_DATA")
    _, session, trades, quotes = ticks_from_open()
    frames, (scan, states) = frames_of(trades, quotes), fitted()
    passed(frames, session, scan, states)
    best = dict.fromkeys(("official client", *_PARTS, "everything"), float("inf"))
    for _ in range(rounds):
        began = time.process_time()
        parsed_by_client(frames)
        client = time.process_time() - began
        taken = passed(frames, session, scan, states)
        for name, seconds in {"official client": client, **taken, "everything": sum(taken.values())}.items():
            best[name] = min(best[name], seconds)
    print(f"{EVENTS:,} events of {TICK_DAYS[1]} from the open\n")
    print(f"{'':26}{'CPU ms':>8}{'events/s of a core':>20}{'ratio':>8}")
    for name, seconds in best.items():
        print(f"{name:26}{1e3 * seconds:8.1f}{EVENTS / seconds:20,.0f}{best['official client'] / seconds:8.1f}")


if __name__ == "__main__":
    main()
