"""A process that gets no further ends, and shows where it stood: a hung rank must not keep a whole job waiting until its time is over."""

import contextlib
import faulthandler
import os
import threading
from pathlib import Path

import torch

from nanochat import common

LOOKS = 20  # times that the watchdog looks before it ends the process


class Watchdog:
    """Within its context the process ends with exit code 1 when nobody has called `beat` for `minutes`; 0: never. Each forward pass of
    `model` is a beat: an evaluation, or the sampling of answers, may take long as long as it moves.

    The stacks of all threads and a sentence go to stderr; the sentence also into `folder`, where the first process and whoever started
    the run look for the reason of a failure. Time in which the process was stopped (SIGSTOP, a machine that slept) does not count.
    """

    def __init__(self, minutes: float, folder: Path, model: torch.nn.Module | None = None):
        self.seconds, self.folder, self.model = 60 * minutes, folder, model
        self.doing, self.beats = "starting", 0
        self._over, self._hooks = threading.Event(), []

    def __enter__(self) -> "Watchdog":
        if self.seconds > 0:
            if self.model is not None:
                self._hooks = [self.model.register_forward_pre_hook(lambda *_: self.beat(self.doing))]
            threading.Thread(target=self._watch, name="watchdog", daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        self._over.set()
        for hook in self._hooks:
            hook.remove()

    def beat(self, doing: str) -> None:
        """The process has got so far, and begins with `doing`."""
        self.doing, self.beats = doing, self.beats + 1

    def _watch(self) -> None:
        seen, idle = -1, 0
        while not self._over.wait(self.seconds / LOOKS):  # looks are counted, since a clock goes on while a process is stopped
            seen, idle = self.beats, idle + 1 if seen == self.beats else 0
            if idle == LOOKS:
                self._end()

    def _end(self) -> None:
        rank = common.rank()
        reason = f"process {rank} got no further for {common.duration(self.seconds)} ({self.doing}); --hang_minutes sets how long it may"
        faulthandler.dump_traceback(2, all_threads=True)
        with contextlib.suppress(OSError):
            os.write(2, f"{reason}; the stacks of its threads are above\n".encode())
        # The file system may be what hangs: nobody waits for the note.
        note = threading.Thread(target=lambda: (self.folder / f"failure.{rank}").write_text(reason, encoding="utf-8"), daemon=True)
        note.start()
        note.join(5)
        os._exit(1)
