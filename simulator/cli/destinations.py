"""Output paths, checked before the work begins so that no hour of simulation is lost to a typo."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from simulator.errors import InputError


@contextlib.contextmanager
def output_directory(name: str | None) -> Iterator[Path | None]:
    """Create a directory and probe that files can be made in it.

    Directories that were made here are removed again where the work fails before it has written
    anything.

    Raises:
        InputError: the path is a file, or cannot be created or written.
    """
    if name is None:
        yield None
        return
    path = Path(name)
    made = _make_directories(path)
    try:
        _probe(path, f"cannot write into directory '{name}'")
        yield path
    except BaseException:
        for directory in reversed(made):
            with contextlib.suppress(OSError):
                directory.rmdir()
        raise


def _make_directories(path: Path) -> list[Path]:
    missing: list[Path] = []
    ancestor = path
    while not ancestor.exists() and ancestor != ancestor.parent:
        missing.append(ancestor)
        ancestor = ancestor.parent
    if not ancestor.is_dir():
        raise InputError(f"'{ancestor}' is a file, expected a directory for the output")
    made: list[Path] = []
    try:
        for directory in reversed(missing):
            directory.mkdir(exist_ok=True)
            made.append(directory)
    except OSError as error:
        for directory in reversed(made):
            with contextlib.suppress(OSError):
                directory.rmdir()
        raise InputError(f"cannot create directory '{path}': {error.strerror}") from None
    return made


def _probe(directory: Path, complaint: str) -> None:
    try:
        with tempfile.NamedTemporaryFile(dir=directory, prefix=".chipsim-"):
            pass
    except OSError as error:
        raise InputError(f"{complaint}: {error.strerror}") from None
