"""The commands, `python -m scripts.<name>`.

This runs before whatever a script imports: Ctrl-C is one line and an end by that signal, which shells call exit code 130, where the
script has no better answer. While it imports it ends at once: a library that is interrupted then goes on half-made, or fails with
something else.
"""

import os
import signal
import sys


def _interrupted(number: int, frame) -> None:
    while frame is not None:
        if frame.f_globals.get("__name__") == "__main__" and frame.f_code.co_name != "<module>":  # the script has begun its work
            raise KeyboardInterrupt
        frame = frame.f_back
    _say()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGINT)


def _uncaught(kind: type[BaseException], error: BaseException, trace) -> None:
    if issubclass(kind, KeyboardInterrupt):
        _say()
    else:
        sys.__excepthook__(kind, error, trace)


def _say() -> None:
    if os.environ.get("RANK", "0") == "0":
        name = os.path.splitext(os.path.basename(sys.argv[0]))[0]
        os.write(2, f"{'' if name == '-m' else f'{name}: '}interrupted\n".encode())


if sys.argv[:1] == ["-m"] and signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # a command, and one that Ctrl-C may end
    signal.signal(signal.SIGINT, _interrupted)
    sys.excepthook = _uncaught
