"""What a loader looked at: the files that it read, and those that it looked for.

What it gave is good for as long as a second look would find the same. Names of files stand as the
loader used them, so that relative ones follow the current directory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Consulted:
    """``read``: digest by name of file. ``sought``: whether there was a file, by its name."""

    read: dict[str, str] = field(default_factory=dict)
    sought: dict[str, bool] = field(default_factory=dict)


_open: list[Consulted] = []


@contextmanager
def consulting() -> Iterator[Consulted]:
    """What is looked at meanwhile."""
    consulted = Consulted()
    _open.append(consulted)
    try:
        yield consulted
    finally:
        _open.pop()


def note_read(file: str, content: bytes) -> None:
    """Remember that a file was read."""
    for consulted in _open:
        consulted.read[file] = digest(content)


def note_sought(file: str, found: bool) -> None:
    """Remember that a file was looked for."""
    for consulted in _open:
        consulted.sought[file] = found


def note_again(known: Consulted) -> None:
    """Remember all that a value rests on that was itself remembered."""
    for consulted in _open:
        consulted.read.update(known.read)
        consulted.sought.update(known.sought)


def same_files(known: Consulted) -> bool:
    """Whether each file that was looked for is, or is not, where it was then."""
    return all(exists(Path(file)) == found for file, found in known.sought.items())


def same_content(known: Consulted) -> bool:
    """Whether each file that was read says the same."""
    try:
        return all(digest(Path(file).read_bytes()) == was for file, was in known.read.items())
    except (OSError, ValueError):
        return False


def exists(path: Path) -> bool:
    """As ``Path.is_file``, but False where the name is too long or has a zero byte."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def digest(content: bytes) -> str:
    """The SHA-256 of a file's bytes."""
    return hashlib.sha256(content).hexdigest()
