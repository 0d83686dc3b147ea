"""``chipsim config``: what is known, what a name resolves to, and whether a file is right."""

from __future__ import annotations

import click

from simulator.cli.once import OnceCommand
from simulator.cli.options import format_option, set_option
from simulator.cli.values import NameText, OneOf
from simulator.errors import ChipsimError, InputError

KINDS = ("chips", "systems", "models", "workloads", "memories", "engines", "libraries")
WIDEST = 40
"""Columns of ``show`` are padded to this width at most; longer texts push the next one on."""

NARROWEST = 20
"""Characters of a line of folded text, however narrow the terminal is."""

SHOWN = {"system": ("system", "chip"), "memory": ()}
"""Parts that ``--set`` may change of a kind, where they are not that kind alone."""


@click.group("config")
def config() -> None:
    """List, show and check chips, systems, models, workloads, memories, serving engines, libraries.

    \b
    Examples:
      chipsim config list systems
      chipsim config show tpu-v7x:2x2x1
      chipsim config show h100 --kind chip --set chip.hbm.bandwidth=4TB/s
      chipsim config check chips/mine.yaml
    """


@config.command("list", cls=OnceCommand)
@click.argument("kind", type=OneOf(*KINDS), required=False)
@format_option
def list_command(kind: str | None, output_format: str) -> None:
    """List the names of one kind, or of all."""
    from simulator.config import find_config, list_names
    from simulator.config.names import singular
    from simulator.report.json_out import to_json

    kinds = [kind] if kind else list(KINDS)
    if output_format == "json":
        rows = [
            {"kind": singular(one), "name": name, "file": str(find_config(one, name))}
            for one in kinds
            for name in list_names(one)
        ]
        click.echo(to_json({"schema": "chipsim.config-list/1", "rows": rows}))
        return
    if kind:
        click.echo("\n".join(list_names(kind)))
        return
    for one in kinds:
        click.echo(f"{one}:")
        names = list_names(one)
        widest = max(map(len, names), default=0)
        for name in names:
            shapes = _shapes(name) if one == "systems" else ""
            click.echo(_beside(f"  {name.ljust(widest)}", shapes))


@config.command("show", cls=OnceCommand, short_help="Show what a name or file resolves to.")
@click.argument("name", type=NameText())
@click.option(
    "--kind",
    type=OneOf("chip", "system", "model", "workload", "memory", "engine", "library"),
    help="What the name is (default: the first of system, chip, model, workload, memory, engine, "
    "library).",
)
@set_option
@format_option
def show_command(
    name: str, kind: str | None, overrides: tuple[str, ...], output_format: str
) -> None:
    """Show the resolved values of NAME with units, sources and confidence.

    What it prints is a table and no file: to make one of your own, copy the file that the first
    line names.
    """
    from simulator.cli.options import check_override_roots
    from simulator.config.catalog import describe, kind_of_name
    from simulator.report.json_out import to_json

    kind = kind or kind_of_name(name)
    if overrides and not SHOWN.get(kind, (kind,)):
        raise InputError(f"--set: a {kind} has no values to set")
    check_override_roots(overrides, SHOWN.get(kind, (kind,)))
    found = describe(name, kind, overrides)
    if output_format == "json":
        rows = [
            {
                "path": row.path,
                "value": row.value,
                "unit": row.unit,
                "text": row.text,
                "source": row.source,
                "confidence": row.confidence,
            }
            for row in found.rows
        ]
        document = {
            "schema": "chipsim.config/1",
            "kind": found.kind,
            "name": found.name,
            "file": found.file,
            "rows": rows,
        }
        click.echo(to_json(document))
        return
    click.echo(f"{found.kind} {found.name} ({found.file})")
    cells = [(row.path, row.text, row.confidence or "", row.source or "") for row in found.rows]
    from simulator.report.console import make_console

    room = make_console().width
    widths = [min(WIDEST, max(len(cell[column]) for cell in cells)) for column in range(3)]
    for cell in cells:
        click.echo("\n".join(_folded(cell, widths, room)))


def _beside(name: str, text: str) -> str:
    """A text behind a name, folded in a column of its own where the line gets too long."""
    from textwrap import wrap

    from simulator.report.console import make_console

    room = max(NARROWEST, make_console().width - len(name) - 2)
    lines = wrap(text, room, break_on_hyphens=False) or [""]
    befores = [name, *(" " * len(name) for _ in lines[1:])]
    pairs = zip(befores, lines, strict=True)
    return "\n".join(f"{before}  {line}".rstrip() for before, line in pairs)


def _folded(cell: tuple[str, str, str, str], widths: list[int], room: int) -> list[str]:
    """Path, value, confidence and source: in one line, or what is too long folded below the path.

    ``room`` is the width of the terminal. A source that does not fit beside the others stands below
    them.
    """
    from textwrap import wrap

    path, text, confidence, source = cell
    padded = "  ".join(part.ljust(width) for part, width in zip(cell, widths, strict=False))
    if len(f"  {padded}  {source}".rstrip()) <= room:
        return [f"  {padded}  {source}".rstrip()]
    lines = [f"  {padded}".rstrip()]
    below = [source]
    if len(lines[0]) > room:
        lines, below = [f"  {path}"], [text, ": ".join(filter(None, (confidence, source)))]
    for part in below:
        folded = wrap(part, max(NARROWEST, room - 6), break_on_hyphens=False)
        lines += [f"      {line}" for line in folded]
    return lines


@config.command("check", cls=OnceCommand, short_help="Check files; exit status 3 where one is bad.")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
def check_command(files: tuple[str, ...]) -> None:
    """Check each FILE; every bad one is reported, and the exit status is then 3."""
    from simulator.config.catalog import check_file

    bad = []
    for file in files:
        try:
            kind = check_file(file)
        except ChipsimError as error:
            bad.append(file)
            click.echo(f"error: {error}", err=True)
        else:
            click.echo(f"ok {file} ({kind})")
    if bad:
        raise InputError(f"{len(bad)} of {len(files)} file{'s' * (len(files) > 1)} failed")


def _shapes(family: str) -> str:
    """The shapes of a system, for its line in the list; nothing where its file is bad."""
    from simulator.config.config_files import load_system_file
    from simulator.config.shapes import listing

    try:
        loaded = load_system_file(family)
    except ChipsimError:
        return "(its file is bad: see 'chipsim config check')"
    shapes = loaded.system.config.fabric.allowed()
    return f"one chip; with :SHAPE {listing(shapes)}" if shapes else "one chip"
