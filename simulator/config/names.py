"""Where a named configuration lies: a path, then the current directory, then the package."""

from __future__ import annotations

from pathlib import Path

from simulator.config.consulted import exists, note_sought
from simulator.errors import InputError, Location, article, did_you_mean

KINDS = ("chips", "systems", "models", "workloads", "memories", "engines", "libraries")
_SUFFIXES = (".yaml", ".yml", ".json")


def singular(kind: str) -> str:
    """The name of one of a kind: ``chip`` of ``chips``, ``memory`` of ``memories``."""
    return f"{kind[:-3]}y" if kind.endswith("ies") else kind[:-1]


def plural(kind: str) -> str:
    """The name of a kind: ``chips`` of ``chip``, ``memories`` of ``memory``."""
    return f"{kind[:-1]}ies" if kind.endswith("y") else f"{kind}s"


def list_names(kind: str) -> list[str]:
    """Sorted names of a kind (one of ``KINDS``), from ``./configs`` and from the package."""
    _check_kind(kind)
    found = {path.stem for root in _folders(kind) for path in root.glob("*.yaml")}
    return sorted(found)


def find_config(kind: str, name: str | Path) -> Path:
    """The file of a name or path; an ``InputError`` with the nearest name where there is none."""
    _check_kind(kind)
    text, one = str(name), singular(kind)
    if "\0" in text or not text.strip():
        raise InputError(f"'{text!r}' is not a name", hint=f"known: {', '.join(list_names(kind))}")
    path = Path(text)
    if is_file(path):
        return path
    if not looks_like_path(text):
        for folder in _folders(kind):
            candidate = folder / f"{text}.yaml"
            if is_file(candidate):
                return candidate
    if _exists(path):
        inner = path / "config.json"
        hint = f"did you mean '{inner}'?" if kind == "models" and is_file(inner) else None
        what = "a directory" if path.is_dir() else "no regular file"
        raise InputError(
            f"{text} is {what}, expected {article(one)} {one} file",
            location=Location(text),
            hint=hint,
        )
    if looks_like_path(text):
        raise InputError(
            f"{one} file {text} does not exist",
            hint=did_you_mean(path.stem, list_names(kind)),
        )
    raise InputError(f"unknown {one} '{text}'", hint=did_you_mean(text, list_names(kind)))


def looks_like_path(text: str) -> bool:
    """Whether the user means a file and not a name."""
    return "/" in text or "\\" in text or text.endswith(_SUFFIXES)


def _check_kind(kind: str) -> None:
    if kind not in KINDS:
        raise InputError(f"unknown kind '{kind}'", hint=did_you_mean(kind, KINDS))


def _folders(kind: str) -> list[Path]:
    below = Path("workloads") if kind == "workloads" else Path("configs") / kind
    return [below, packaged_folder(below)]


def packaged_folder(below: Path) -> Path:
    """The folder in an installed wheel, or else beside the package in a checkout."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "data" / below
    return installed if installed.is_dir() else package.parent / below


def is_file(path: Path) -> bool:
    """As ``Path.is_file``, but False where the name is too long or has a zero byte.

    Who loads something is known to have looked for the file.
    """
    found = exists(path)
    note_sought(str(path), found)
    return found


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False
