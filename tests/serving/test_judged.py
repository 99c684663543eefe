"""What is judged as arrays says the same as verdicts and as an Arrow stream."""

import datetime as dt

import numpy as np
import pyarrow as pa

from models.served.minutes import Minutes
from serving.client import _of_stream, _stacked, as_frame
from serving.contract.answers import stream_of
from serving.judged import SCORED, Judged
from serving.schemas import Answer, Model

AT = dt.datetime(2024, 6, 3, 14, 25, 0, 123_456, tzinfo=dt.UTC)
MODEL = Model("forest", "7")


def judged(symbols: list[str], scores: list[float], faults: list[str], of_fault: list[int]) -> Judged:
    times = [AT + dt.timedelta(minutes=at % 2) for at in range(len(symbols))]
    minutes = Minutes.of(("a",), symbols, times, np.zeros((len(symbols), 1)))
    hours = np.array([np.nan if np.isnan(score) or score < 0.3 else score * 100 for score in scores])
    return Judged(minutes, 0.5, np.array(scores), hours, faults, np.array(of_fault))


WHOLE = judged(
    ["B", "A", "B", "C", "A"], [0.5, np.nan, 0.2, np.nan, 0.9], ["closed", "strange"], [SCORED, 0, SCORED, 1, SCORED]
)


def test_verdicts_and_the_stream_are_the_same_frame() -> None:
    verdicts = WHOLE.verdicts()
    assert [each.is_anomaly for each in verdicts] == [True, None, False, None, True]
    assert [each.not_scored for each in verdicts] == ["", "closed", "", "strange", ""]
    assert [each.one_in_hours for each in verdicts] == [50.0, None, None, None, 90.0]
    assert WHOLE.counts() == (2, 1, 2)
    content = stream_of(WHOLE, MODEL, 5)
    assert _stacked([_of_stream(content)]).equals(as_frame(Answer(MODEL, verdicts)))
    assert pa.ipc.open_stream(content).schema.metadata == {
        b"model": b"forest",
        b"version": b"7",
        b"feature_version": b"5",
    }


def test_parts_joined_are_the_whole() -> None:
    first = judged(["B", "A"], [0.5, np.nan], ["closed"], [SCORED, 0])
    rest = judged(["B", "C", "A"], [0.2, np.nan, 0.9], ["strange"], [SCORED, 0, SCORED])
    joined = Judged.joined(WHOLE.minutes, [first, rest])
    assert joined.verdicts() == WHOLE.verdicts()
    assert joined.counts() == WHOLE.counts()
