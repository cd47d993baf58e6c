"""One line about a long download: how much has come, how fast, how long it will take."""

import sys
import threading
import time
from collections import deque

from nanochat import common

SPAN = 20.0  # seconds that the rate is measured over
ON_TERMINAL, IN_A_LOG = 0.5, 30.0  # seconds between two lines


class Progress:
    """Counts bytes of several threads; on a terminal one line is rewritten, in a log a line is added every half minute."""

    def __init__(self, total: int, files: int, bytes: int = 0, out=None, clock=time.monotonic):
        """`bytes` of `total` have come before."""
        self.total, self.files, self.out, self.clock = total, files, out or sys.stderr, clock
        self.terminal = bool(getattr(self.out, "isatty", lambda: False)())
        self.bytes, self.done, self._width = bytes, 0, 0
        self._seen: deque[tuple[float, int]] = deque([(clock(), bytes)])
        self._lock = threading.Lock()
        self._shown = clock()

    def add(self, count: int) -> None:
        """`count` bytes came; negative: they have to come again."""
        with self._lock:
            self.bytes += count
            now = self.clock()
            if now - self._shown >= (ON_TERMINAL if self.terminal else IN_A_LOG):
                self._remember(now)
                self._write(self.line())
                self._shown = now

    def say(self, text: str) -> None:
        """A line of its own, above the one that is rewritten."""
        with self._lock:
            self._write(text, keep=True)

    def finish(self) -> None:
        """Takes the rewritten line away."""
        with self._lock:
            if self.terminal and self._width:
                self._write("", keep=False)

    def line(self) -> str:
        """`12.3 of 24.1 GB, 18 of 241 files, 85.2 MB/s, 2 min 18 s left`."""
        rate = self.rate()
        parts = [f"{self.bytes / 1e9:.2f} of about {max(self.total, self.bytes) / 1e9:.2f} GB", f"{self.done} of {self.files} files"]
        parts += [f"{rate / 1e6:.1f} MB/s"]
        if rate > 0 and self.total > self.bytes:
            parts.append(f"{common.duration((self.total - self.bytes) / rate)} left")
        return ", ".join(parts)

    def rate(self) -> float:
        """Bytes a second over the last SPAN seconds."""
        (then, before), now = self._seen[0], self.clock()
        return max(0.0, (self.bytes - before) / (now - then)) if now > then else 0.0

    def _remember(self, now: float) -> None:
        self._seen.append((now, self.bytes))
        while len(self._seen) > 2 and now - self._seen[1][0] > SPAN:
            self._seen.popleft()

    def _write(self, text: str, keep: bool = False) -> None:
        try:
            if self.terminal:
                self.out.write(f"\r{text.ljust(self._width)}" + ("\n" if keep else ""))
                self._width = 0 if keep else len(text)
            else:
                self.out.write(f"{text}\n")
            self.out.flush()
        except OSError:
            pass  # a closed terminal must not cost a download
