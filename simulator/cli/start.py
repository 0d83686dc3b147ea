"""Where the process begins: Ctrl-C ends it with 130 and one line, even while it still imports.

Only what the interpreter has loaded already is imported here, so that the handler is in place
before anything takes time.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import os
import signal
import sys
from collections.abc import Iterator, Sequence

INTERRUPTED = 130

_seen = False
_status: int | None = None


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
    global _status
    if args is None:
        # before anybody else registers anything: the first to be registered is the last to be run
        atexit.unregister(_end)
        atexit.register(_end)
    # importing makes many objects that stay: look for garbage among them less often
    gc.set_threshold(50_000, 20, 100)
    with _remembering_interrupts():
        _status = _enter(args)
    return _status


def _enter(args: Sequence[str] | None) -> int:
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


def _end() -> None:
    """End the process once everybody has cleaned up, without taking the interpreter apart.

    Nobody is there to use what that frees, and it takes a seventh of a short run. The interpreter
    would also end by the signal, and not with 130, once a KeyboardInterrupt has passed through
    ``exec`` of a text, as libraries use it while they are imported, even though it was caught
    afterwards.
    """
    if _status is None:
        return
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(_status)


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
