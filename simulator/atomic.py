"""Files that are either complete or absent: written aside, then renamed into place."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Literal, TextIO, overload

from simulator.errors import InputError, Location


@overload
def atomic_write(
    path: str | Path, *, binary: Literal[False] = False
) -> contextlib.AbstractContextManager[TextIO]: ...
@overload
def atomic_write(
    path: str | Path, *, binary: Literal[True]
) -> contextlib.AbstractContextManager[IO[bytes]]: ...
def atomic_write(
    path: str | Path, *, binary: bool = False
) -> contextlib.AbstractContextManager[IO[Any]]:
    r"""Open a file for writing that appears under ``path`` only when the block ends well.

    The text goes to a temporary file in the same directory (UTF-8, ``\n`` line ends), which
    replaces ``path`` at the end; whatever exception leaves the block, Ctrl-C included, removes it
    and leaves an older file untouched. Devices and pipes (``/dev/stdout``) are written directly.

    Raises ``InputError`` where ``path`` is a directory, is not writable, its directory is missing,
    or the disk is full.
    """
    if "\0" in str(path):
        raise InputError("cannot write to a path with a NUL character in it")
    return _atomic_write(Path(path), binary)


def check_writable(path: str | Path) -> None:
    """Raise the ``InputError`` that ``atomic_write`` would, before long work is done for it."""
    target = Path(path)
    try:
        if _is_special(target):
            return
        target = Path(os.path.realpath(target))
        _refuse_bad_target(target, path)
        temporary = _temporary(target)
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        temporary.unlink()
    except (OSError, ValueError) as error:
        raise _unwritable(path, error) from None


_OPEN_FILES = ("/dev/stdout", "/dev/stderr", "/dev/fd/", "/proc/self/fd/")


@contextlib.contextmanager
def _atomic_write(path: Path, binary: bool) -> Iterator[IO[Any]]:
    temporary: Path | None = None
    try:
        if _is_special(path):
            with _open(os.open(path, os.O_WRONLY | os.O_APPEND), binary) as stream:
                yield stream
            return
        # A symbolic link keeps pointing where it did: its target is replaced.
        target = Path(os.path.realpath(path))
        _refuse_bad_target(target, path)
        aside = _temporary(target)
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        temporary = aside
        with _open(descriptor, binary) as stream:
            yield stream
        if target.exists():
            temporary.chmod(stat.S_IMODE(target.stat().st_mode))
        temporary.replace(target)
        temporary = None
    except OSError as error:
        # An error that names another file is the caller's and not about this one.
        if error.filename is not None and temporary is not None and not _names(error, temporary):
            raise
        raise _unwritable(path, error) from None
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink()


def _open(descriptor: int, binary: bool) -> IO[Any]:
    if binary:
        return os.fdopen(descriptor, "wb")
    return os.fdopen(descriptor, "w", encoding="utf-8", newline="\n")


def _is_special(path: Path) -> bool:
    """A device, a pipe, or one of our own open files, whose links lead to no name to replace."""
    if str(path).startswith(_OPEN_FILES):
        return True
    return path.exists() and not path.is_file() and not path.is_dir()


def _temporary(target: Path) -> Path:
    return target.with_name(f".{target.name[:100]}.{os.getpid()}-{os.urandom(4).hex()}.part")


def _refuse_bad_target(target: Path, shown: str | Path) -> None:
    location = Location(str(shown))
    if target.is_dir() or not target.name:
        raise InputError(
            f"cannot write {shown}: it is a directory", location=location, hint="name a file in it"
        )
    if target.exists() and not os.access(target, os.W_OK):
        raise InputError(f"cannot write {shown}: permission denied", location=location)
    if not target.parent.is_dir():
        raise InputError(
            f"cannot write {shown}: there is no directory '{Path(shown).parent}'",
            location=location,
        )


def _names(error: OSError, temporary: Path) -> bool:
    return str(temporary) in (str(error.filename), str(error.filename2))


def _unwritable(path: str | Path, error: OSError | ValueError) -> InputError:
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return InputError(f"cannot write {path}: {reason}", location=Location(str(path)))
