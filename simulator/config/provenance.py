"""Where each number of a file comes from.

A value is written plain (``bandwidth: 819 GB/s``) or with its source (``bandwidth: {value: 819
GB/s, source: ..., confidence: official}``). ``source`` and ``confidence`` beside the values of a
section hold for everything below it that does not name its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import get_args

from simulator.config.fields import Confidence
from simulator.config.yaml_nodes import Mapping, Node, Scalar, Sequence, describe_node
from simulator.errors import InputError, did_you_mean

_NOTES = ("source", "confidence")
_CONFIDENCES = get_args(Confidence)


@dataclass(frozen=True, slots=True)
class Provenance:
    """``source`` and ``confidence`` of a value; None where the file says nothing."""

    source: str | None = None
    confidence: str | None = None


@dataclass(frozen=True, slots=True)
class Sourced:
    """A tree of plain values, and the provenance of each scalar by its dotted path."""

    node: Node
    provenance: dict[str, Provenance] = field(default_factory=dict)

    @property
    def fitted(self) -> tuple[str, ...]:
        """Dotted paths of the values that were chosen by looking at measured times."""
        return tuple(path for path, note in self.provenance.items() if note.confidence == "fitted")


def unwrap(node: Node) -> Sourced:
    """Take the sources out of a tree, so that a schema sees values only."""
    provenance: dict[str, Provenance] = {}
    return Sourced(_unwrap(node, "", Provenance(), provenance), provenance)


def _unwrap(node: Node, path: str, above: Provenance, out: dict[str, Provenance]) -> Node:
    if isinstance(node, Scalar):
        out[path] = above
        return node
    if isinstance(node, Sequence):
        out[path] = above
        return node
    if "value" in node.entries:
        return _unwrap_value(node, path, above, out)
    here = _provenance(node, above)
    entries: dict[str, Node] = {}
    for key, value in node.entries.items():
        if key not in _NOTES:
            entries[key] = _unwrap(value, f"{path}.{key}" if path else key, here, out)
    keys = {key: node.keys[key] for key in entries}
    return Mapping(node.location, entries, keys)


def _unwrap_value(node: Mapping, path: str, above: Provenance, out: dict[str, Provenance]) -> Node:
    for key, location in node.keys.items():
        if key not in ("value", *_NOTES):
            raise InputError(
                f"unknown key '{key}'",
                location=location,
                hint=did_you_mean(key, ("value", *_NOTES)),
            )
    value = node.entries["value"]
    if isinstance(value, Mapping):
        raise InputError("value: expected one value, found a mapping", location=value.location)
    out[path] = _provenance(node, above)
    return value


def _provenance(node: Mapping, above: Provenance) -> Provenance:
    source, confidence = (_note(node, key) for key in _NOTES)
    if confidence is not None and confidence not in _CONFIDENCES:
        raise InputError(
            f"unknown confidence '{confidence}'",
            location=node.entries["confidence"].location,
            hint=f"{did_you_mean(confidence, _CONFIDENCES)} known: {', '.join(_CONFIDENCES)}",
        )
    if source is None and confidence is None:
        return above
    return Provenance(source or above.source, confidence or above.confidence)


def _note(node: Mapping, key: str) -> str | None:
    note = node.entries.get(key)
    if note is None:
        return None
    if not isinstance(note, Scalar) or not note.text.strip():
        raise InputError(
            f"{key}: expected a text, found {describe_node(note)}", location=note.location
        )
    return note.text
