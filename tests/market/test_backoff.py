"""Exponential backoff."""

from tapewatch.market.backoff import backoff_s


def test_waits_double_up_to_the_longest_however_many_failures_there_were():
    waits = [backoff_s(failures, 0.5, 60) for failures in (0, 1, 2, 6, 7, 8, 1_000_000)]
    assert waits == [0.5, 1.0, 2.0, 32.0, 60.0, 60.0, 60.0]
