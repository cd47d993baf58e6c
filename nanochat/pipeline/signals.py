"""Requests to stop, kept as a note until the work reaches a safe point."""

import contextlib
import os
import signal
import threading

STOPPING = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT, signal.SIGHUP)

_received: list[int] = []
_hasty = False


def requested() -> bool:
    """True once a signal to stop has come."""
    return bool(_received)


@contextlib.contextmanager
def noted():
    """Within the block SIGTERM, SIGUSR1, SIGINT and SIGHUP are noted instead of killing.

    A signal that was ignored before (nohup) stays ignored. Outside the main thread nothing is changed.
    """
    _received.clear()
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in STOPPING}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, _note)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def as_ctrl_c():
    """Within the block SIGTERM and SIGHUP are what Ctrl-C is, a KeyboardInterrupt: what was begun is cleared away. Main thread only."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def hasty():
    """Within the block, which lies within `noted`, Ctrl-C after another request raises KeyboardInterrupt at once."""
    global _hasty
    _hasty = True
    try:
        yield
    finally:
        _hasty = False


def _note(number: int, frame) -> None:
    if _hasty and number == signal.SIGINT and _received:
        raise KeyboardInterrupt
    _received.append(number)  # before the message, in the middle of which the next signal may come
    if len(_received) == 1 and os.environ.get("RANK", "0") == "0":
        with contextlib.suppress(OSError):  # os.write, since a signal may come in the middle of a print
            os.write(2, b"stop requested: saving at the next safe point\n")
