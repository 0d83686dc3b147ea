"""Where compiled kernels are kept: a folder for exactly these sources. It needs no numba."""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
from pathlib import Path

_PACKAGE = Path(__file__).parents[1]
_FOLDERS = ("hardware", "kernels", "mapping", "model", "serving", "timing")
"""Where kernels, and the constants that they freeze, are defined."""


@functools.cache
def kernel_folder() -> Path:
    """The folder for compiled kernels of exactly these sources; older ones beside it go."""
    content = hashlib.sha256()
    for folder in _FOLDERS:
        for file in sorted((_PACKAGE / folder).rglob("*.py")):
            content.update(file.read_bytes())
    base = _base()
    chosen = base / f"chipsim-{content.hexdigest()[:16]}"
    if not chosen.exists():
        for old in base.glob("chipsim-*"):
            shutil.rmtree(old, ignore_errors=True)
    return chosen


def lacks(kernel: str) -> bool:
    """Whether ``module.function`` is still to be compiled, for whatever types, and can be kept."""
    if any(kernel_folder().glob(f"*/{kernel}-*.nbi")):
        return False
    place = _base()
    while not place.exists() and place != place.parent:
        place = place.parent
    return os.access(place, os.W_OK)


def _base() -> Path:
    return Path(os.environ.get("NUMBA_CACHE_DIR") or _PACKAGE / "__pycache__")
