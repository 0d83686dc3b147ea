"""What was loaded from files that have not changed since, so that a name may be used many times.

A value is remembered with the files that were read for it and their times and sizes, and with the
folders where a file of the same name would come before (this one and ``./configs``). Values are
frozen, so they can be shared.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from simulator.config.names import KINDS
from simulator.config.yaml_nodes import files_read

T = TypeVar("T")

Stamp = tuple[int, int, int] | None
Stamps = tuple[tuple[str, Stamp], ...]

MOST = 64
"""Values that one memory holds; it starts anew beyond them."""


class Remembered(Generic[T]):
    """A loader's values by name and overrides."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str, tuple[str, ...]], tuple[Stamps, T]] = {}

    def value(self, name: str | Path, overrides: tuple[str, ...], load: Callable[[], T]) -> T:
        """What ``load`` gives, or gave when the same files were the same."""
        key = (str(Path.cwd()), str(name), overrides)
        known = self._known.get(key)
        if known is not None and all(_stamp(path) == was for path, was in known[0]):
            return known[1]
        with files_read() as read:
            value = load()
        folders = (str(Path("configs") / kind) for kind in KINDS)
        stamps = tuple((path, _stamp(path)) for path in (*sorted(read), ".", *folders))
        if len(self._known) >= MOST:
            self._known.clear()
        self._known[key] = (stamps, value)
        return value


def _stamp(path: str) -> Stamp:
    try:
        found = Path(path).stat()
    except (OSError, ValueError):
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
