"""Things made ahead of time, so that training does not wait for them: numbered ones by other processes, where making them takes the
interpreter's time, and simple ones in their order by a thread.

    ahead = Ahead(make, workers=1)      # make(number) must give the same wherever and whenever it is called
    ahead.get(0); ahead.get(1)          # while 0 is used, 1 is made

    ahead = Lookahead(make, depth=2)    # make() gives the next thing
    ahead.get(); ahead.get()            # while one is used, the next two are made

The processes are forked at the first `get` where the system is Linux: before that nothing of theirs exists, and what `make` refers to
is shared, not copied. They ignore requests to stop, which the training process answers when it is safe, and end with it however it ends.
"""

import multiprocessing
import os
import signal
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from nanochat import common

IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)

_make: Callable | None = None  # in a worker: what it makes


class Ahead:
    """`make(number)` for one number after the other; with `workers` 0 made here, when asked for."""

    def __init__(self, make: Callable[[int], object], workers: int = 0):
        self.make, self.workers = make, workers
        self._coming: dict[int, Future] = {}
        self._pool = self._start() if workers > 0 else None

    def _start(self) -> ProcessPoolExecutor:
        context = multiprocessing.get_context("fork" if sys.platform == "linux" else None)
        pool = ProcessPoolExecutor(self.workers, context, _begin, (self.make,))
        self._end = weakref.finalize(self, pool.shutdown, wait=False, cancel_futures=True)
        return pool

    def get(self, number: int):
        """make(number). The next numbers, one for each worker, are then under way."""
        if self._pool is None:
            return self.make(number)
        try:
            coming = {}
            for n in range(number, number + 1 + self.workers):
                coming[n] = self._coming.pop(n, None) or self._pool.submit(_made, n)
            for unwanted in self._coming.values():
                unwanted.cancel()
            self._coming = coming
            return coming.pop(number).result()
        except BrokenProcessPool:
            common.say("a process that prepared batches was killed; they are made by the training process from here on")
            self.close()
            return self.make(number)

    def close(self) -> None:
        """Ends the workers; from here on everything is made here. Dropping the last reference does the same."""
        if self._pool is not None:
            self._end()
        self._pool, self._coming = None, {}


class Lookahead:
    """`make()` again and again, in order, by one thread; with `depth` 0 made here, when asked for.

    The thread ends when the last reference to this is dropped: `make` must not refer to what holds it.
    """

    def __init__(self, make: Callable[[], object], depth: int):
        self._make, self._depth = make, depth
        self._coming: deque[Future] = deque()
        self._pool = ThreadPoolExecutor(1, "ahead") if depth > 0 else None

    def get(self):
        """The next thing; what `make` raised is raised here. The `depth` after it are then under way."""
        if self._pool is None:
            return self._make()
        while len(self._coming) <= self._depth:
            self._coming.append(self._pool.submit(self._make))
        return self._coming.popleft().result()

    def close(self) -> None:
        """Returns when nothing is under way any more. What was made and not asked for is lost."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)


def default_workers() -> int:
    """1 where each process of this machine's part of the run may use more than one CPU, else 0."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return int(cpus // max(1, int(os.environ.get("LOCAL_WORLD_SIZE", 1))) > 1)


def _begin(make: Callable) -> None:
    """The first thing a worker does."""
    global _make
    os.nice(10)  # training comes first; there is time until the things are needed
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)  # the threads of the process it was forked from are not there
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    _make = make


def _leave_with_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(0)


def _made(number: int):
    return _make(number)
