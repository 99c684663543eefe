"""Volume spikes on made-up tapes."""

from tapewatch.market.instruments import Market
from tests.support.watching import closings, openings, steady_tape, watch


def test_spike_opens_within_its_minute_once_and_ends() -> None:
    tape = steady_tape(minutes=60)
    spike = steady_tape(minutes=1, first_minute=40, per_minute=2000, seed=2)
    changes = watch(Market.STOCKS, [tape, spike])
    (opening,) = openings(changes, "volume_spike")
    (closing,) = closings(changes, "volume_spike")
    assert opening.row["start_time"].minute == (30 + 40) % 60
    assert opening.row["start_time"].second < 55
    assert opening.row["multiple"] >= 8
    assert opening.row["baseline"] > 0
    assert closing.row["alert_id"] == opening.row["alert_id"]
    assert closing.row["peak"] > opening.row["value"]
    assert closing.row["end_time"] > opening.row["start_time"]
