"""Runs the commands of the documentation; ``python tests/doc_examples.py`` renews their output.

A ``console`` block holds commands behind ``$`` and what they print on stdout and stderr; a line
``...`` stands for what is left out, ``# exit 3`` behind a command for the status that it ends with.
A ``csv NAME`` block is a file that the commands find in their folder.
A ``bash`` block holds commands only. Commands that do not begin with ``chipsim`` are not run.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ELISION = "..."

_BLOCK = re.compile(r"^```(console|bash|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"^```csv ([\w.-]+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_EXIT = re.compile(r"\s+# exit (\d+)$")


@dataclass(frozen=True, slots=True)
class Example:
    """One command, the status it ends with, and the output that is shown (None: not shown)."""

    command: str
    status: int
    output: tuple[str, ...] | None


def documents() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(text: str, kind: str) -> list[str]:
    return [match[2] for match in _BLOCK.finditer(text) if match[1] == kind]


def write_files(text: str) -> None:
    """The files that a document shows, into the current directory."""
    for match in _FILE.finditer(text):
        Path(match[1]).write_text(match[2])


def examples(text: str) -> list[Example]:
    """The commands of all console and bash blocks, in order."""
    found = []
    for match in _BLOCK.finditer(text):
        if match[1] == "console":
            found += _console(match[2])
        elif match[1] == "bash":
            lines = match[2].replace("\\\n", " ").splitlines()
            found += [_example(line, None) for line in lines]
    return [example for example in found if example.command.startswith("chipsim ")]


def _console(block: str) -> Iterator[Example]:
    command: str | None = None
    output: list[str] = []
    for line in block.replace("\\\n", " ").splitlines():
        if line.startswith("$ "):
            if command is not None:
                yield _example(command, output)
            command, output = line[2:], []
        else:
            output.append(line.rstrip())
    if command is not None:
        yield _example(command, output)


def _example(line: str, output: list[str] | None) -> Example:
    stated = _EXIT.search(line)
    command = _EXIT.sub("", line).strip()
    shown = tuple(_trimmed(output)) if output is not None and any(output) else None
    return Example(command, int(stated[1]) if stated else 0, shown)


def _trimmed(lines: list[str]) -> list[str]:
    lines = [line.rstrip() for line in lines]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def run(command: str) -> tuple[int, list[str]]:
    """Status and output lines (stdout, then stderr) of a command, in the current directory.

    Notes on stderr about what is going on (``chipsim: ...``) are left out: whether kernels have to
    be compiled depends on the machine.
    """
    from simulator.cli import main

    words = shlex.split(command)[1:]
    target = None
    if ">" in words:
        target = Path(words[words.index(">") + 1])
        words = words[: words.index(">")]
    stdout, stderr = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
        status = main(words)
    text = stdout.getvalue()
    if target is not None:
        target.write_text(text)
        text = ""
    said = [line for line in stderr.getvalue().splitlines() if not line.startswith("chipsim: ")]
    return status, _trimmed(text.splitlines() + said)


def agrees(shown: tuple[str, ...], actual: list[str]) -> bool:
    """Whether the shown lines are the actual ones, but for what ``...`` stands for."""
    if ELISION not in shown:
        return list(shown) == actual
    at = shown.index(ELISION)
    head, tail = list(shown[:at]), list(shown[at + 1 :])
    fits = len(actual) >= len(head) + len(tail)
    return fits and actual[:at] == head and actual[len(actual) - len(tail) :] == tail


def renewed(shown: tuple[str, ...], actual: list[str]) -> list[str]:
    """The actual lines, with as many of them left out as are left out of the shown ones."""
    if ELISION not in shown:
        return actual
    at = shown.index(ELISION)
    return [*actual[:at], ELISION, *actual[len(actual) - (len(shown) - at - 1) :]]


def renew(path: Path) -> None:
    """Run a document's commands and write what they print now into its console blocks."""
    text = path.read_text()
    write_files(text)
    for example in examples(text):
        status, actual = run(example.command)
        print(f"{path.name}: {example.command}: {status}", file=sys.stderr)
        if example.output is None or agrees(example.output, actual):
            continue
        old = "\n".join(example.output)
        if text.count(old) != 1:
            sys.exit(f"{path.name}: output of '{example.command}' is not found once")
        text = text.replace(old, "\n".join(renewed(example.output, actual)))
    path.write_text(text)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    for document in documents():
        with tempfile.TemporaryDirectory() as directory:
            before = Path.cwd()
            os.chdir(directory)
            renew(document)
            os.chdir(before)
