"""Every command and every Python example of the documentation runs and prints what it shows."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import doc_examples as docs
import pytest

README = docs.ROOT / "README.md"
RUN_LINE = (
    "python3.11 -m venv .venv && .venv/bin/pip install -q . && "
    ".venv/bin/chipsim run tpu-v6e llama3-8b chat"
)
TEST_LINE = (
    "python3.11 -m venv .venv && .venv/bin/pip install -q -e '.[dev]' && .venv/bin/python -m pytest"
)

_DOCUMENTS = [pytest.param(path, id=path.name) for path in docs.documents()]


@pytest.mark.parametrize("document", _DOCUMENTS)
def test_commands_end_and_print_as_shown(
    document: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the commands of a document may use files of earlier ones
    docs.write_files(document.read_text())
    for example in docs.examples(document.read_text()):
        status, actual = docs.run(example.command)
        assert status == example.status, f"{example.command}\n" + "\n".join(actual)
        if example.output is not None and not docs.agrees(example.output, actual):
            # compared again for pytest to show the difference
            assert docs.renewed(example.output, actual) == list(example.output), example.command


@pytest.mark.parametrize("document", _DOCUMENTS)
def test_python_examples_run(
    document: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    docs.write_files(document.read_text())
    for block in docs.blocks(document.read_text(), "python"):
        with contextlib.redirect_stdout(io.StringIO()):
            exec(compile(block, document.name, "exec"), {"__name__": "example"})


def test_readme_has_examples_of_every_command() -> None:
    from simulator.cli.entry import COMMANDS

    used = {example.command.split()[1] for example in docs.examples(README.read_text())}
    assert used >= set(COMMANDS)


def test_two_command_lines_are_on_the_first_screen() -> None:
    first_screen = README.read_text().splitlines()[:30]
    assert RUN_LINE in first_screen
    assert TEST_LINE in first_screen


def test_ci_runs_the_test_command_of_the_readme() -> None:
    lines = (docs.ROOT / ".ci" / "run").read_text().splitlines()
    assert TEST_LINE in lines


@pytest.mark.parametrize("document", _DOCUMENTS)
def test_links_to_files_resolve(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", document.read_text()):
        if not target.startswith(("http://", "https://")):
            assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_elided_output_is_compared_at_both_ends() -> None:
    assert docs.agrees(("a", "...", "d"), ["a", "b", "c", "d"])
    assert not docs.agrees(("a", "...", "d"), ["a", "b", "c"])
    assert not docs.agrees(("b", "...", "d"), ["a", "b", "d"])
    assert not docs.agrees(("a", "b"), ["a", "b", "c"])
    assert docs.renewed(("x", "...", "y"), ["a", "b", "c", "d"]) == ["a", "...", "d"]
