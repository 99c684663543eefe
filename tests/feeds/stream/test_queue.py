"""The queue between socket and worker: order, the limit, and reported drops."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapewatch.feeds.stream.decode.decoder import Frame
from tapewatch.feeds.stream.queue import FrameQueue, Marker


def _frame(number: int, size: int = 100) -> Frame:
    return Frame(bytes(size), number)


def test_frames_and_markers_come_out_in_the_order_they_went_in() -> None:
    queue = FrameQueue(10**6)
    items = [Marker("connected", 1), _frame(2), _frame(3), Marker("disconnected", 4, "why")]
    for item in items:
        if isinstance(item, Frame):
            assert queue.put(item)
        else:
            queue.mark(item)
    assert queue.take(3, 0) == items[:3]
    assert queue.take(3, 0) == items[3:]
    assert queue.take(3, 0) == []
    assert (queue.depth, queue.depth_bytes, queue.dropped) == (0, 0, 0)


def test_a_full_queue_drops_the_newest_and_adds_one_marker_in_their_place() -> None:
    queue = FrameQueue(1000)
    accepted = [queue.put(_frame(i, 300)) for i in range(5)]
    assert accepted == [True, True, False, False, False]
    assert [item.received_ns for item in queue.take(1, 0) if isinstance(item, Frame)] == [0]
    assert queue.put(_frame(9, 300))
    first, marker, last = queue.take(10, 0)
    assert isinstance(marker, Marker)
    assert (marker.kind, marker.at_ns, marker.count) == ("dropped", 2, 3)
    assert [item.received_ns for item in (first, last) if isinstance(item, Frame)] == [1, 9]
    assert queue.dropped == 3
    assert queue.high_water <= 1000


def test_drops_at_the_end_are_reported_without_another_frame() -> None:
    queue = FrameQueue(500)
    assert queue.put(_frame(1, 300))
    assert not queue.put(_frame(2, 300))
    assert len(queue.take(10, 0)) == 1
    (marker,) = queue.take(10, 0)
    assert isinstance(marker, Marker)
    assert (marker.kind, marker.count) == ("dropped", 1)


def test_a_marker_after_drops_follows_their_marker() -> None:
    queue = FrameQueue(500)
    queue.put(_frame(1, 300))
    queue.put(_frame(2, 300))
    queue.mark(Marker("disconnected", 3))
    assert [item.kind for item in queue.take(10, 0) if isinstance(item, Marker)] == ["dropped", "disconnected"]


def test_an_empty_queue_accepts_a_frame_larger_than_its_limit() -> None:
    queue = FrameQueue(10)
    assert queue.put(_frame(1, 1000))
    assert not queue.put(_frame(2, 1))
    assert len(queue.take(1, 0)) == 1
    assert queue.put(_frame(3, 1000))


def test_a_closed_queue_accepts_no_more_and_wakes_waiting_threads() -> None:
    queue = FrameQueue(1000)
    taken: list[object] = [None]
    waiter = threading.Thread(target=lambda: taken.__setitem__(0, queue.take(1, 30)))
    waiter.start()
    queue.close()
    waiter.join(60)
    assert taken == [[]]
    assert queue.is_closed
    assert not queue.put(_frame(1))


def test_a_queue_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match="max_bytes must be at least 1"):
        FrameQueue(0)


def test_between_threads_every_frame_arrives_or_is_counted() -> None:
    queue = FrameQueue(50_000)
    sent = 50_000

    def produce() -> None:
        for number in range(sent):
            queue.put(_frame(number, 50))
        queue.close()

    producer = threading.Thread(target=produce)
    producer.start()
    numbers: list[int] = []
    told = 0
    while True:
        # Read before the queue is emptied, so that the items include all frames until then.
        is_over = queue.is_closed
        items = queue.take(500, 1)
        if not items and is_over:
            break
        for item in items:
            if isinstance(item, Frame):
                numbers.append(item.received_ns)
            else:
                told += item.count
    producer.join()
    assert len(numbers) + queue.dropped == sent
    assert told == queue.dropped
    assert numbers == sorted(set(numbers))


@given(
    st.lists(
        st.tuples(st.just("put"), st.integers(0, 900))
        | st.tuples(st.just("take"), st.integers(1, 4))
        | st.tuples(st.just("mark"), st.just(0)),
        max_size=60,
    ),
    st.integers(1, 2000),
)
def test_every_frame_is_in_order_or_counted_in_its_place(steps: list[tuple[str, int]], room: int) -> None:
    queue, taken, put = FrameQueue(room), [], 0
    for what, size in steps:
        if what == "put":
            queue.put(Frame(bytes(size), put))
            put += 1
        elif what == "mark":
            queue.mark(Marker("connected", put))
        else:
            taken += queue.take(size, 0)
        assert queue.depth_bytes <= max(room, 900 + 128)
    while items := queue.take(100, 0):
        taken += items
    assert (queue.depth, queue.depth_bytes) == (0, 0)
    number = 0
    for item in taken:
        if isinstance(item, Frame):
            assert item.received_ns == number
            number += 1
        elif item.kind == "dropped":
            assert item.at_ns == number
            number += item.count
        else:
            assert item.at_ns == number
    assert number == put
