"""What was loaded from files that have not changed since, so that a name may be used many times.

A value is remembered with what its loader looked at: in this process by the times and sizes of the
files, and in a folder beside the compiled kernels (``config.kept``) by their contents. Only what
was loaded without an error is remembered, and values are frozen, so they can be shared.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from simulator.config import kept
from simulator.config.consulted import Consulted, consulting, note_again, same_files

T = TypeVar("T")

Stamp = tuple[int, int, int] | None

MOST = 64
"""Values that one memory holds; it starts anew beyond them."""


@dataclass(frozen=True, slots=True)
class _Known(Generic[T]):
    value: T
    consulted: Consulted
    stamps: tuple[Stamp, ...]
    """Of the files that were read."""

    def is_good(self) -> bool:
        return self.stamps == _stamps(self.consulted) and same_files(self.consulted)


class Remembered(Generic[T]):
    """A loader's values by name and overrides; ``kind`` tells loaders apart."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._known: dict[tuple[str, tuple[str, ...]], _Known[T]] = {}

    def value(self, name: str | Path, overrides: tuple[str, ...], load: Callable[[], T]) -> T:
        """What ``load`` gives, or gave when the same files were the same."""
        key = (str(name), overrides)
        known = self._known.get(key)
        if known is None or not known.is_good():
            known = self._find_or_load((self._kind, *key), load)
            if len(self._known) >= MOST:
                self._known.clear()
            self._known[key] = known
        note_again(known.consulted)
        return known.value

    def _find_or_load(self, key: kept.Key, load: Callable[[], T]) -> _Known[T]:
        found = kept.find(key)
        if found is not None:
            consulted, value = found
        else:
            with consulting() as consulted:
                value = load()
            kept.keep(key, consulted, value)
        return _Known(value, consulted, _stamps(consulted))


def _stamps(consulted: Consulted) -> tuple[Stamp, ...]:
    return tuple(_stamp(file) for file in consulted.read)


def _stamp(file: str) -> Stamp:
    try:
        found = Path(file).stat()
    except (OSError, ValueError):
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
