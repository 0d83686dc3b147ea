"""Output paths, checked before the work begins so that no hour of simulation is lost to a typo."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from simulator.atomic import check_writable
from simulator.errors import ChipsimError, InputError


def check_outputs(outputs: Sequence[Path], inputs: Mapping[str, str | None]) -> None:
    """Refuse files that cannot be written, are named twice, or are read by the same command.

    Args:
        outputs: files that the command will write.
        inputs: what it reads: names of a system, model, workload or engine, and the paths of a
            trace, scenario or table; None for what was not given.

    Raises:
        InputError: one of the outputs is no good; nothing has been written then.
    """
    seen: set[str] = set()
    for output in outputs:
        check_writable(output)
        place = os.path.realpath(output)
        if place in seen and not _is_device(output):
            raise InputError(f"'{output}' would be written twice; name another file")
        seen.add(place)
    existing = [output for output in outputs if output.is_file()]
    for source in _files_read(inputs) if existing else ():
        for output in existing:
            if source.is_file() and output.samefile(source):
                raise InputError(
                    f"'{output}' is an input of this command and would be overwritten",
                    hint="name another file or directory for the output",
                )


def _is_device(path: Path) -> bool:
    return path.exists() and not path.is_file()


def _files_read(inputs: Mapping[str, str | None]) -> Iterator[Path]:
    """The files behind names and paths; one that cannot be found fails when it is loaded."""
    from simulator.config.config_files import load_system_file
    from simulator.config.names import find_config

    system = inputs.get("system")
    if system is not None:
        with contextlib.suppress(ChipsimError):
            loaded = load_system_file(system)
            yield from (loaded.system.path, loaded.chip.path)
    for kind in ("model", "workload", "engine"):
        name = inputs.get(kind)
        if name is not None:
            with contextlib.suppress(ChipsimError):
                yield find_config(f"{kind}s", name)
    for kind in ("trace", "scenario", "table"):
        path = inputs.get(kind)
        if path is not None:
            yield Path(path)


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
