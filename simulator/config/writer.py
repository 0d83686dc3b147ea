"""A configuration file as text again, with some of its values replaced."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

from simulator.config.yaml_nodes import Mapping, Node, Scalar, Sequence
from simulator.errors import Location

_PLAIN = re.compile(r"[A-Za-z0-9.][A-Za-z0-9 .$%/+()_-]*")
_WORDS = ("true", "false", "null", "yes", "no", "on", "off")


@dataclass(frozen=True, slots=True)
class Replacement:
    """A new value at a path of keys, with where it comes from."""

    keys: tuple[str, ...]
    value: str
    source: str
    confidence: str = "fitted"


def rewrite(root: Mapping, replacements: Iterable[Replacement], comments: Iterable[str]) -> str:
    """The file with ``replacements``, below lines of ``comments``; its own comments are lost.

    Sections that are not there are added. ``root`` is changed.
    """
    for item in replacements:
        _place(root, item)
    lines = [f"# {line}".rstrip() for line in comments]
    return "\n".join([*lines, *_block(root, 0), ""])


def set_list(root: Mapping, key: str, rows: Iterable[dict[str, str]]) -> None:
    """Put a list of flat mappings under a key of the root."""
    place = Location("")
    items: list[Node] = [
        Mapping(place, {name: Scalar(text, place) for name, text in row.items()}) for row in rows
    ]
    root.entries[key] = Sequence(place, items)


def _place(root: Mapping, item: Replacement) -> None:
    place = Location("")
    node = root
    for key in item.keys[:-1]:
        below = node.entries.get(key)
        if not isinstance(below, Mapping):
            below = Mapping(place)
            node.entries[key] = below
        node = below
    notes = {"value": item.value, "source": item.source, "confidence": item.confidence}
    entries: dict[str, Node] = {name: Scalar(text, place) for name, text in notes.items()}
    node.entries[item.keys[-1]] = Mapping(place, entries)


def _block(node: Mapping, depth: int) -> list[str]:
    lines = []
    indent = "  " * depth
    for key, value in node.entries.items():
        if isinstance(value, Mapping) and "value" not in value.entries and value.entries:
            if depth == 0:
                lines.append("")
            lines += [f"{indent}{_text(key)}:", *_block(value, depth + 1)]
        elif isinstance(value, Sequence) and any(isinstance(v, Mapping) for v in value.items):
            lines.append(f"{indent}{_text(key)}:")
            lines += [f"{indent}  - {_flow(item)}" for item in value.items]
        else:
            lines.append(f"{indent}{_text(key)}: {_flow(value)}")
    return lines


def _flow(node: Node) -> str:
    if isinstance(node, Scalar):
        return _text(node.text)
    if isinstance(node, Sequence):
        return "[" + ", ".join(_flow(item) for item in node.items) + "]"
    return "{" + ", ".join(f"{_text(k)}: {_flow(v)}" for k, v in node.entries.items()) + "}"


def _text(text: str) -> str:
    if _PLAIN.fullmatch(text) and text == text.strip() and text.lower() not in _WORDS:
        return text
    return json.dumps(text, ensure_ascii=False) if text not in _WORDS else text
