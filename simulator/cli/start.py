"""Where the process begins: Ctrl-C ends it with 130 and one line, even while it still imports.

Only what the interpreter has loaded already is imported here, so that the handler is in place
before anything takes time.
"""

from __future__ import annotations

import contextlib
import gc
import signal
import sys
from collections.abc import Iterator, Sequence

INTERRUPTED = 130

_seen = False


def interrupted() -> bool:
    """Whether Ctrl-C was pressed since ``main`` began."""
    return _seen


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status; nothing but the answer is on stdout.

    Args:
        args: the words after the command's name; those of the process where None.

    Returns:
        The exit status, as listed in ``simulator.cli``.
    """
    # importing makes many objects that stay: look for garbage among them less often
    gc.set_threshold(50_000, 20, 100)
    with _remembering_interrupts():
        try:
            from simulator.cli.entry import main as enter

            return enter(args)
        except BaseException as error:
            # a library may have turned the KeyboardInterrupt into an exception of its own
            if not (_seen or isinstance(error, KeyboardInterrupt)):
                raise
            with contextlib.suppress(OSError, AttributeError):
                sys.stderr.write("error: interrupted\n")
            return INTERRUPTED


@contextlib.contextmanager
def _remembering_interrupts() -> Iterator[None]:
    global _seen
    _seen = False
    # a handler of the caller's stays, and so does "ignore" (a job in the background)
    ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if ours:
        try:
            signal.signal(signal.SIGINT, _interrupt)
        except ValueError:  # only the main thread may
            ours = False
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _interrupt(_number: int, _frame: object) -> None:
    global _seen
    _seen = True
    raise KeyboardInterrupt
