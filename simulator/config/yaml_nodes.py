"""YAML as a tree of nodes that remember where they stand in the file.

API
---
``read_yaml(path) -> Node`` and ``parse_yaml(text, file) -> Node`` give one of

* ``Scalar``: ``text`` as written (quotes removed, nothing converted: ``no`` stays ``no`` and
  ``819e9`` stays text until a schema says what it is), ``quoted``;
* ``Mapping``: ``entries`` (key to node, in the file's order), ``keys`` (key to its location);
* ``Sequence``: ``items``.

Each has a ``location`` (``simulator.errors.Location``). Every fault (bad syntax, a duplicate key,
an anchor, alias or tag, too deep a nesting, an empty or unreadable file) is a located
``InputError``. ``simulator.config.validation.validate(node, Model)`` turns a node into an instance
of a pydantic model.

The nodes are built from PyYAML's events and not with ``yaml.compose``, which recurses once a level
and so breaks on a file of ten thousand brackets.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from simulator.config.consulted import note_read
from simulator.errors import InputError, Location

MAX_DEPTH = 64
MAX_BYTES = 16 * 2**20

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Scalar:
    """One value, as text."""

    text: str
    location: Location
    quoted: bool = False


@dataclass(frozen=True, slots=True)
class Mapping:
    """Keys and values in the file's order; ``keys`` has the place of each key."""

    location: Location
    entries: dict[str, Node] = field(default_factory=dict)
    keys: dict[str, Location] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sequence:
    """A list of nodes."""

    location: Location
    items: list[Node] = field(default_factory=list)


Node = Scalar | Mapping | Sequence


def read_text(path: str | Path) -> str:
    """The text of a UTF-8 file of at most 16 MiB; an ``InputError`` for whatever prevents that."""
    file = str(path)
    try:
        if Path(path).is_dir():
            raise InputError(f"{file} is a directory, expected a file", location=Location(file))
        with Path(path).open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
        note_read(file, raw)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InputError(f"cannot read {file}: {reason}", location=Location(file)) from None
    if len(raw) > MAX_BYTES:
        raise InputError(f"{file} is larger than {MAX_BYTES >> 20} MiB", location=Location(file))
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        line = before.count(b"\n") + 1
        column = error.start - (before.rfind(b"\n") + 1) + 1
        raise InputError(
            f"byte 0x{raw[error.start]:02x} is not UTF-8 text",
            location=Location(file, line, column),
            hint="expected a text file in UTF-8",
        ) from None


def read_yaml(path: str | Path) -> Node:
    """Read one YAML document from a file."""
    return parse_yaml(read_text(path), str(path))


def parse_yaml(text: str, file: str) -> Node:
    """Parse one YAML document; ``file`` is the name that errors show."""
    return _Builder(text, file).build()


def describe_node(node: Node) -> str:
    """What a node is, in words for an error message."""
    if isinstance(node, Scalar):
        text = node.text if len(node.text) <= 60 else f"{node.text[:57]}..."
        return f"'{text}'" if text or node.quoted else "nothing"
    return "a mapping" if isinstance(node, Mapping) else "a list"


class _Builder:
    """Turns events into nodes with a stack of open collections."""

    def __init__(self, text: str, file: str) -> None:
        self.text = text
        self.file = file
        self.lines = text.splitlines()
        self.root: Node | None = None
        self.open: list[Mapping | Sequence] = []
        # The key that waits for its value, one a level; None where a key is due or in a list.
        self.pending: list[tuple[str, Location] | None] = []

    def build(self) -> Node:
        documents = 0
        try:
            for event in yaml.parse(self.text, Loader=_LOADER):
                if isinstance(event, yaml.DocumentStartEvent):
                    documents += 1
                    if documents > 1:
                        raise InputError(
                            "a second document begins here, expected one",
                            location=self.locate(event),
                        )
                self.take(event)
        except yaml.YAMLError as error:
            raise self.syntax_error(error) from None
        if self.root is None or (isinstance(self.root, Scalar) and not self.root.text):
            raise InputError(
                f"{self.file} is empty, expected a YAML mapping", location=Location(self.file)
            )
        return self.root

    def take(self, event: Any) -> None:
        if isinstance(event, yaml.AliasEvent):
            raise InputError(
                f"alias '*{event.anchor}' is not supported",
                location=self.locate(event),
                hint="write the value out",
            )
        if isinstance(event, yaml.ScalarEvent):
            self.refuse_decoration(event)
            self.put_scalar(event)
        elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            self.refuse_decoration(event)
            self.push(event)
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            self.open.pop()
            self.pending.pop()

    def refuse_decoration(self, event: Any) -> None:
        found = None
        if event.anchor is not None:
            found = f"anchor '&{event.anchor}'"
        elif event.tag is not None:
            found = f"tag '{event.tag}'"
        if found is not None:
            raise InputError(
                f"{found} is not supported",
                location=self.locate(event),
                hint="write a plain value",
            )

    def push(self, event: Any) -> None:
        location = self.locate(event, length=1)
        if len(self.open) >= MAX_DEPTH:
            raise InputError(f"nested more than {MAX_DEPTH} levels deep", location=location)
        is_mapping = isinstance(event, yaml.MappingStartEvent)
        if self.key_is_due():
            raise InputError("a key must be a plain word", location=location)
        node: Mapping | Sequence = Mapping(location) if is_mapping else Sequence(location)
        self.attach(node)
        self.open.append(node)
        self.pending.append(None)

    def key_is_due(self) -> bool:
        return bool(self.open) and isinstance(self.open[-1], Mapping) and self.pending[-1] is None

    def put_scalar(self, event: Any) -> None:
        location = self.locate(event)
        if not self.key_is_due():
            self.attach(Scalar(event.value, location, quoted=event.style in ("'", '"')))
            return
        mapping = self.open[-1]
        assert isinstance(mapping, Mapping)
        key = event.value
        if key in mapping.keys:
            first = mapping.keys[key].line
            raise InputError(
                f"duplicate key '{key}'", location=location, hint=f"first on line {first}"
            )
        self.pending[-1] = (key, location)

    def attach(self, node: Node) -> None:
        if not self.open:
            self.root = node
            return
        parent = self.open[-1]
        if isinstance(parent, Sequence):
            parent.items.append(node)
            return
        waiting = self.pending[-1]
        assert waiting is not None
        key, location = waiting
        parent.entries[key] = node
        parent.keys[key] = location
        self.pending[-1] = None

    def locate(self, event: Any, length: int | None = None) -> Location:
        start, end = event.start_mark, event.end_mark
        text = self.lines[start.line] if start.line < len(self.lines) else ""
        if length is None:
            same_line = end.line == start.line
            length = (end.column if same_line else len(text)) - start.column
        return Location(self.file, start.line + 1, start.column + 1, text, max(1, length))

    def syntax_error(self, error: yaml.YAMLError) -> InputError:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
        if mark is None:
            position = getattr(error, "position", None)
            location = Location(self.file)
            if isinstance(position, int) and position >= 0:
                before = self.text[:position]
                line = before.count("\n") + 1
                location = Location(self.file, line, position - (before.rfind("\n") + 1) + 1)
            return InputError(f"not valid YAML: {problem}", location=location)
        text = self.lines[mark.line] if mark.line < len(self.lines) else ""
        location = Location(self.file, mark.line + 1, mark.column + 1, text)
        return InputError(f"not valid YAML: {problem}", location=location)
