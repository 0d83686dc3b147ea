"""``--set PATH=VALUE``: changes to a tree of nodes before it is validated."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from simulator.config.provenance import Provenance, Sourced
from simulator.config.schema_walk import child, is_mapping_type, known_keys
from simulator.config.yaml_nodes import Mapping, Node, Scalar, describe_node, parse_yaml
from simulator.errors import InputError, Location, did_you_mean

ROOTS = ("chip", "system", "model", "workload", "engine")
FILE = "--set"
"""What stands in the place of a file name in the location of an override."""


@dataclass(frozen=True, slots=True)
class Override:
    """``text`` is the whole ``PATH=VALUE``; ``keys`` the path without its root."""

    text: str
    root: str
    keys: tuple[str, ...]
    value: Node

    def location(self, index: int) -> Location:
        """Where key ``index`` stands in the text; -1 is the root."""
        parts = (self.root, *self.keys)
        column = 1 + sum(len(part) + 1 for part in parts[: index + 1])
        return Location(FILE, None, column, self.text, len(parts[index + 1]))


def parse_override(text: str) -> Override:
    """Split ``chip.hbm.bandwidth=1.2TB/s``; an ``InputError`` where it has another form."""
    path, equals, value = text.partition("=")
    parts = tuple(part.strip() for part in path.split("."))
    where = Location(FILE, None, 1, text, max(1, len(path)))
    if not equals or not all(parts) or not value.strip():
        raise InputError(
            f"'{text}' is not PATH=VALUE",
            location=where,
            hint="for example chip.hbm.bandwidth=1.2TB/s",
        )
    if parts[0] not in ROOTS:
        hint = did_you_mean(parts[0], ROOTS)
        where = Location(FILE, None, 1, text, len(parts[0]))
        raise InputError(f"unknown root '{parts[0]}' in '{path}'", location=where, hint=hint)
    if len(parts) < 2:
        raise InputError(
            f"'{path}' names no key", location=where, hint=f"for example {parts[0]}.name=mine"
        )
    return Override(text, parts[0], parts[1:], _value(value.strip(), text))


def parse_overrides(texts: Iterable[str]) -> list[Override]:
    """All of them, each checked for its form and root."""
    return [parse_override(text) for text in texts]


def apply_overrides(
    sourced: Sourced, schema: Any, overrides: Iterable[Override], root: str
) -> None:
    """Put the values of the overrides under ``root`` into the tree, in order.

    ``schema`` is the pydantic model of the file; keys that it knows and the file has not are
    added. Raises ``InputError`` for a key that the schema does not know.
    """
    for override in overrides:
        if override.root == root:
            _apply(sourced, schema, override)


def _value(value: str, text: str) -> Node:
    """A scalar as it stands; lists and mappings in YAML's flow style."""
    if value[0] in "[{":
        return parse_yaml(value, FILE)
    if len(value) > 1 and value[0] in "'\"" and value[0] == value[-1]:
        value = value[1:-1]
    column = text.index("=") + 2
    return Scalar(value, Location(FILE, None, column, text, max(1, len(text) - column + 1)))


def _apply(sourced: Sourced, schema: Any, override: Override) -> None:
    node = sourced.node
    last = len(override.keys) - 1
    for index, key in enumerate(override.keys):
        _require_key(node, schema, override, index)
        assert isinstance(node, Mapping)
        below = child(schema, node, key)
        if index == last:
            _require_nothing_lost(node.entries.get(key), below, override, index)
            node.entries[key] = override.value
            node.keys[key] = override.location(index)
            break
        if key not in node.entries:
            if not is_mapping_type(below, None):
                raise _no_keys_below(override, index)
            node.entries[key] = Mapping(override.location(index))
            node.keys[key] = override.location(index)
        node, schema = node.entries[key], below
    path = ".".join(override.keys)
    for old in [old for old in sourced.provenance if old.startswith(f"{path}.")]:
        del sourced.provenance[old]
    sourced.provenance[path] = Provenance(source=FILE)


def _require_key(node: Node, schema: Any, override: Override, index: int) -> None:
    if not isinstance(node, Mapping):
        raise _no_keys_below(override, index - 1, describe_node(node))
    key, known = override.keys[index], known_keys(schema, node)
    if known is not None and key not in known:
        above = ".".join((override.root, *override.keys[:index]))
        raise InputError(
            f"unknown key '{key}' in '{above}'",
            location=override.location(index),
            hint=did_you_mean(key, known),
        )


def _require_nothing_lost(old: Node | None, schema: Any, override: Override, index: int) -> None:
    """Refuse a mapping that takes a section's place and would silently drop what it holds."""
    new, keys = override.value, known_keys(schema, None)
    if keys is None or not isinstance(new, Mapping):
        return
    path = ".".join((override.root, *override.keys[: index + 1]))
    lost = "" if new.entries else "everything"
    if isinstance(old, Mapping) and _kind(old) == _kind(new):
        sections = (key for key, value in old.entries.items() if isinstance(value, Mapping))
        lost = lost or next((f"'{key}'" for key in sections if key not in new.entries), "")
    if lost:
        raise InputError(
            f"the mapping takes the place of '{path}' and would drop {lost} in it",
            location=override.location(index),
            hint=f"set its keys one by one: {', '.join(f'{path}.{key}' for key in keys[:3])}, ...",
        )


def _kind(node: Mapping) -> str | None:
    """What makes two units different kinds, so that nothing of the one holds for the other."""
    kind = node.entries.get("kind")
    return kind.text if isinstance(kind, Scalar) else None


def _no_keys_below(override: Override, index: int, found: str = "one value") -> InputError:
    path = ".".join((override.root, *override.keys[: index + 1]))
    return InputError(
        f"'{path}' has no keys below it", location=override.location(index), hint=f"it is {found}"
    )
