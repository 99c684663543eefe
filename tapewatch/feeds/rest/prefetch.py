"""Work done ahead of its turn by a few threads, handed over in order."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_order(
    items: Iterable[Item], work: Callable[[Item], Result], workers: int, cancelled: threading.Event
) -> Iterator[Result]:
    """`work(item)` for each item, in the items' order; at most `workers` are in progress or waiting to be taken.

    An error is raised when its item's turn comes. Once the caller stops taking, `cancelled` is set, for the work to see,
    and nothing further is begun.
    """
    remaining = iter(items)
    pending: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="rest")
    try:
        pending.extend(pool.submit(work, item) for item in islice(remaining, workers))
        while pending:
            result = pending.popleft().result()
            pending.extend(pool.submit(work, item) for item in islice(remaining, 1))
            yield result
            del result
    finally:
        cancelled.set()
        # Not waited for: a call in progress may have a minute of patience left.
        pool.shutdown(wait=False, cancel_futures=True)
