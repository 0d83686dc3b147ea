"""Loaded configurations that are kept on disk from one command to the next.

To read YAML and to validate it takes a quarter of a short command, most of it to import pydantic
and to build its schemas. A value lies in the folder of the compiled kernels, in a file of its own
with what its loader looked at; it counts for as long as all of that is the same, byte by byte. The
folder is named after the content of the sources that values are made by: an edit leads to another
one. Whatever is wrong with a file or the folder only means that nothing is kept.

Values are pickled, and a pickle can run code. That is no more than what the folder beside it can:
it holds the machine code of the kernels and, in ``__pycache__``, Python's own bytecode. Files of
anybody but the user and the owner of this package are not read.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import pickle
import shutil
import sys
from pathlib import Path
from typing import Any

from simulator.atomic import atomic_write
from simulator.config.consulted import Consulted, same_content, same_files
from simulator.errors import InputError

Key = tuple[str, str, tuple[str, ...]]
"""The kind of the loader, the name that it was given, and the overrides."""

MOST = 64
"""Files that are kept; the oldest go."""

MOST_VARIANTS = 8
"""Values with overrides that one process keeps: a sweep would only drive out what later commands
want."""

_PACKAGE = Path(__file__).parents[1]
_SOURCES = ("__init__.py", "units.py", "config", "hardware", "model", "workload")
"""What decides which value a file becomes."""

_variants: set[Key] = set()
"""Those that this process has kept."""


def find(key: Key) -> tuple[Consulted, Any] | None:
    """What was kept under a key, if it is still good."""
    file = _file(key)
    try:
        if not _is_ours(file):
            return None
        known, consulted, value = pickle.loads(file.read_bytes())
        if known == key and same_files(consulted) and same_content(consulted):
            return consulted, value
    except Exception:
        # whatever a damaged or foreign file makes of the attempt to read it
        return None
    return None


def keep(key: Key, consulted: Consulted, value: object) -> None:
    """Keep a value, if the folder can be written."""
    if key[2]:
        if len(_variants) >= MOST_VARIANTS:
            return
        _variants.add(key)
    file = _file(key)
    with contextlib.suppress(OSError, InputError):
        if not file.parent.exists():
            for old in file.parent.parent.glob("configurations-*"):
                shutil.rmtree(old, ignore_errors=True)
            file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(file, binary=True) as stream:
            stream.write(pickle.dumps((key, consulted, value)))
        _drop_oldest(file.parent)


def _file(key: Key) -> Path:
    return _folder() / hashlib.sha256(repr(key).encode("utf-8", "replace")).hexdigest()[:24]


@functools.cache
def _folder() -> Path:
    """The folder for what exactly these sources make, for this version of Python."""
    content = hashlib.sha256(sys.version.encode())
    for name in _SOURCES:
        path = _PACKAGE / name
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            content.update(file.read_bytes())
    base = os.environ.get("NUMBA_CACHE_DIR") or _PACKAGE / "__pycache__"
    return Path(base) / f"configurations-{content.hexdigest()[:16]}"


def _is_ours(file: Path) -> bool:
    if not hasattr(os, "getuid"):
        return True
    return file.stat().st_uid in (os.getuid(), _PACKAGE.stat().st_uid)


def _drop_oldest(folder: Path) -> None:
    """Keep the newest files; another process may be doing the same."""
    times = {}
    for file in folder.iterdir():
        with contextlib.suppress(OSError):
            times[file] = file.stat().st_mtime_ns
    for file in sorted(times, key=times.__getitem__)[:-MOST]:
        with contextlib.suppress(OSError):
            file.unlink()
