"""A click group whose subcommands are modules that nobody imports before they are called."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import click

from simulator.errors import did_you_mean


@dataclass(frozen=True, slots=True)
class LazyCommand:
    """Where a command lives (``module:attribute``) and its line in the group's help."""

    target: str
    summary: str

    def load(self) -> click.Command:
        """Import the module and return the command."""
        module, _, attribute = self.target.partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command), self.target
        return command


class LazyGroup(click.Group):
    """``lazy_commands`` maps a command's name to its place; the help shows them in that order."""

    def __init__(
        self, *args: Any, lazy_commands: Mapping[str, LazyCommand] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.lazy_commands = dict(lazy_commands or {})

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order in which they were declared."""
        return list(self.lazy_commands)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command; None where there is none of that name."""
        found = self.lazy_commands.get(cmd_name)
        return None if found is None else found.load()

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As in click, with the nearest name where a command is unknown."""
        name = args[0]
        if name not in self.lazy_commands and not name.startswith("-"):
            hint = did_you_mean(name, self.lazy_commands)
            raise click.UsageError(f"no such command '{name}'; {hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands by their declared summaries, so that none has to be imported."""
        rows = [(name, command.summary) for name, command in self.lazy_commands.items()]
        with formatter.section("Commands"):
            formatter.write_dl(rows)
