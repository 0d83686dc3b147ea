"""``--set PATH=VALUE``: changes to a tree of nodes before it is validated."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from simulator.config.provenance import Provenance, Sourced
from simulator.config.schema_walk import child, is_mapping_type, known_keys
from simulator.config.yaml_nodes import Mapping, Node, Scalar, describe_node, parse_yaml
from simulator.errors import InputError, Location, did_you_mean

ROOTS = ("chip", "system", "model", "workload", "engine", "library")
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
            _set(sourced, node, below, override)
            break
        if key not in node.entries:
            if not is_mapping_type(below, None):
                raise _no_keys_below(override, index)
            node.entries[key] = Mapping(override.location(index))
            node.keys[key] = override.location(index)
        node, schema = node.entries[key], below


def _set(sourced: Sourced, parent: Mapping, schema: Any, override: Override) -> None:
    """Put the value under the last key: a mapping into the section that stands there."""
    index = len(override.keys) - 1
    key, path, value = override.keys[index], ".".join(override.keys), override.value
    place, old = override.location(index), parent.entries.get(key)
    if _is_merged(old, value, schema):
        assert isinstance(old, Mapping) and isinstance(value, Mapping)
        _merge(sourced, old, value, schema, path)
        return
    parent.entries[key] = value
    parent.keys[key] = place
    _note(sourced, path)


def _is_merged(old: Node | None, new: Node, schema: Any) -> bool:
    """Whether both are the same section, whose keys the schema knows.

    A unit of another kind and a table of the user's own keys are set whole, as a list is.
    """
    if not isinstance(old, Mapping) or not isinstance(new, Mapping):
        return False
    return known_keys(schema, old) is not None and not _is_another_kind(old, new, schema)


def _is_another_kind(old: Mapping, new: Mapping, schema: Any) -> bool:
    """Whether nothing of ``old`` holds for ``new``: another kind, or a distribution written out."""
    written_out = (child(schema, old, key) for key in new.entries if key != "kind")
    if any(get_origin(kind) is Literal and len(get_args(kind)) == 1 for kind in written_out):
        return True
    return "kind" in new.entries and _text(old, "kind") != _text(new, "kind")


def _text(node: Mapping, key: str) -> str | None:
    value = node.entries.get(key)
    return value.text if isinstance(value, Scalar) else None


def _merge(sourced: Sourced, old: Mapping, new: Mapping, schema: Any, path: str) -> None:
    """Set the keys that ``new`` names; what it does not name stays."""
    if not new.entries:
        raise InputError(
            f"the mapping sets nothing in '{path}'",
            location=new.location,
            hint=f"its keys: {', '.join(known_keys(schema, old) or [])}",
        )
    for key, value in new.entries.items():
        below, here = child(schema, old, key), f"{path}.{key}"
        stands = old.entries.get(key)
        if _is_merged(stands, value, below):
            assert isinstance(stands, Mapping) and isinstance(value, Mapping)
            _merge(sourced, stands, value, below, here)
            continue
        old.entries[key] = value
        old.keys[key] = new.keys[key]
        _note(sourced, here)


def _note(sourced: Sourced, path: str) -> None:
    """All that stands at ``path`` and below it came from the command line."""
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


def _no_keys_below(override: Override, index: int, found: str = "one value") -> InputError:
    path = ".".join((override.root, *override.keys[: index + 1]))
    return InputError(
        f"'{path}' has no keys below it", location=override.location(index), hint=f"it is {found}"
    )
