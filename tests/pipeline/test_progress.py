"""The line about a long download."""

import io

from nanochat.pipeline import progress
from nanochat.pipeline.progress import Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def made(out, total=100_000_000, files=4, **more):
    clock = Clock()
    return Progress(total, files, out=out, clock=clock, **more), clock


def test_a_log_gets_a_line_every_half_minute_with_rate_and_time_left():
    out = io.StringIO()
    line, clock = made(out)
    for _ in range(70):
        clock.now += 1
        line.add(1_000_000)
    assert out.getvalue().splitlines() == [
        "0.03 of about 0.10 GB, 0 of 4 files, 1.0 MB/s, 1 min 10 s left",
        "0.06 of about 0.10 GB, 0 of 4 files, 1.0 MB/s, 40 s left",
    ]


def test_a_terminal_has_one_line_that_is_rewritten_and_cleared_at_the_end():
    out = Terminal()
    line, clock = made(out)
    for _ in range(5):
        clock.now += progress.ON_TERMINAL
        line.add(10_000_000)
    assert out.getvalue().count("\r") == 5 and "\n" not in out.getvalue()
    line.say("a file is there")
    assert out.getvalue().endswith("\n") and "\ra file is there" in out.getvalue()
    line.add(0)
    line.finish()
    assert out.getvalue().count("\n") == 1


def test_what_came_before_counts_as_come_but_not_as_speed():
    line, clock = made(io.StringIO(), bytes=50_000_000)
    clock.now = 10.0
    line.add(10_000_000)
    assert line.line() == "0.06 of about 0.10 GB, 0 of 4 files, 1.0 MB/s, 40 s left"


def test_bytes_that_have_to_come_again_are_taken_back():
    line, clock = made(io.StringIO())
    line.add(30_000_000)
    line.add(-30_000_000)
    clock.now = 1.0
    assert line.line() == "0.00 of about 0.10 GB, 0 of 4 files, 0.0 MB/s"


def test_more_than_was_estimated_promises_no_time():
    line, clock = made(io.StringIO())
    clock.now = 1.0
    line.add(200_000_000)
    assert line.line() == "0.20 of about 0.20 GB, 0 of 4 files, 200.0 MB/s"


def test_a_closed_terminal_costs_nothing():
    class Closed(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    line, _ = made(Closed())
    line.say("x")
