"""An option that takes one value is given once."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest

from simulator.cli import main
from simulator.cli.entry import COMMANDS
from simulator.cli.once import OnceCommand


def _commands() -> Iterator[click.Command]:
    for lazy in COMMANDS.values():
        command = lazy.load()
        yield from command.commands.values() if isinstance(command, click.Group) else (command,)


def test_every_command_refuses_a_second_value() -> None:
    loose = [command.name for command in _commands() if not isinstance(command, OnceCommand)]
    assert not loose


@pytest.mark.parametrize(
    ("line", "option"),
    [
        ("validate h100 --operator matmul --table a.csv --table b.csv", "--table"),
        ("run tpu-v6e llama3-8b chat --limit 3 --format json --limit=4", "--limit"),
        ("op attention --chip h100 --prefetch --no-prefetch", "--prefetch"),
        ("op matmul 8x8x8 --chip toy --chip toy", "--chip"),
        ("config list chips --format json --format json", "--format"),
    ],
)
def test_a_second_value_is_a_fault_of_grammar(
    line: str, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(line.split()) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert f"error: {option}" in captured.err
    assert "is given 2 times, expected once" in captured.err


def test_what_may_be_repeated_still_may(capsys: pytest.CaptureFixture[str]) -> None:
    words = "op matmul 8x8x8 --chip toy --explain --explain --set chip.clock=2GHz"
    assert main([*words.split(), "--set", "chip.clock=1GHz"]) == 0
    assert "104.0 ns" in capsys.readouterr().out  # at the last clock that is set
