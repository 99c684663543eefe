"""Opens a collector's judges from the files of their models, which are looked at again each minute."""

from contextlib import ExitStack
from pathlib import Path

from models.loading import load_detector
from models.scan.detector import ScanDetector
from tapewatch.market.instruments import Market
from tapewatch.streaming.collector.judges.minutes import MinuteJudge, Write
from tapewatch.streaming.collector.judges.scanning import Scanner
from tapewatch.streaming.collector.warm_up import warm_up_scan
from tapewatch.streaming.detection.champion import CHALLENGER, MINUTES, Champions, file_of
from tapewatch.streaming.detection.findings import SCAN


def open_scanner(market: Market, folder: Path | None, stack: ExitStack) -> Scanner:
    """The scan in the folder of champions; without a folder there is none."""
    if folder is None:
        return Scanner(market, None)
    champions = Champions(file_of(folder, SCAN), ScanDetector.load)
    champions.look()
    if champions.current is not None:
        warm_up_scan(market, champions.current.detector)
    champions.start()
    stack.callback(champions.close)
    return Scanner(market, champions)


def open_minutes(
    market: Market, folder: Path | None, write: Write, stack: ExitStack, *, last_ns: int | None = None
) -> MinuteJudge | None:
    """The champion of minutes and its challenger in the folder of champions; without a folder there is none.

    Args:
        write: takes the rows of the shadow.
        last_ns: the newest event that an earlier process kept; None without one. From there to the first event the tape is missing.
    """
    if folder is None:
        return None
    champions = Champions(file_of(folder, MINUTES), load_detector, what="champion of minutes")
    challengers = Champions(file_of(folder, CHALLENGER), load_detector, what="challenger", may_go=True)
    for each in (champions, challengers):
        each.start()
        stack.callback(each.close)
    judge = MinuteJudge(market, champions, challengers, write)
    judge.lost(last_ns or 0)
    return judge
