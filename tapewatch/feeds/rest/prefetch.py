"""Runs work ahead in a few threads and returns the results in order."""

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

    An item's error is raised in its place. When the caller stops iterating, `cancelled` is set, and no further work starts.
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
        # Not waited for: a call in progress may go on retrying for a minute.
        pool.shutdown(wait=False, cancel_futures=True)
