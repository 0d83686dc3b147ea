"""Runs a pydantic model over a tree of YAML nodes and says where in the file each fault is."""

from __future__ import annotations

from typing import Any, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError

from simulator.config.fields import USER_ERROR
from simulator.config.schema_walk import child, known_keys, member
from simulator.config.yaml_nodes import Mapping, Node, Scalar, Sequence, describe_node
from simulator.errors import InputError, Location, did_you_mean

Model = TypeVar("Model", bound=BaseModel)


def validate(node: Node, model: type[Model]) -> Model:
    """An instance of ``model`` made from ``node``.

    Raises ``InputError`` for the first fault of the file, with its place, the nearest known key
    or value, and the number of further faults. Unknown keys come before missing ones, because
    the one is often the other misspelt.
    """
    if not isinstance(node, Mapping):
        raise InputError(
            f"expected a mapping, found {describe_node(node)}",
            location=node.location,
            hint=f"keys: {', '.join(known_keys(model, None) or [])}",
        )
    try:
        return model.model_validate(to_data(node))
    except ValidationError as error:
        faults = [_fault(fault, node, model) for fault in error.errors(include_url=False)]
    faults.sort(key=_rank)
    first = faults[0]
    if len(faults) > 1:
        more = len(faults) - 1
        first.message += f" (and {more} more error{'s' if more > 1 else ''})"
    raise InputError(first.message, location=first.location, hint=first.hint)


def to_data(node: Node) -> Any:
    """The node as nested dicts and lists of text (the depth limit bounds the recursion)."""
    if isinstance(node, Scalar):
        return node.text
    if isinstance(node, Sequence):
        return [to_data(item) for item in node.items]
    return {key: to_data(value) for key, value in node.entries.items()}


def _rank(fault: InputError) -> tuple[bool, int, int]:
    loc = fault.location
    line, column = (loc.line or 0, loc.column or 0) if loc else (0, 0)
    return fault.message.startswith("missing key"), line, column


def _fault(fault: Any, root: Node, model: type[BaseModel]) -> InputError:
    """One pydantic error as an ``InputError`` at its place."""
    kind, path, context = fault["type"], fault["loc"], fault.get("ctx", {})
    about_key = kind == "extra_forbidden" or path[-1:] == ("[key]",)
    if about_key:
        path = tuple(part for part in path if part != "[key]")
    node, schema, name, location = _descend(root, model, path[:-1] if about_key else path)
    hint: str | None
    if about_key and isinstance(node, Mapping):
        key = str(path[-1])
        hint = did_you_mean(key, known_keys(schema, node) or [])
        return InputError(
            f"unknown key '{key}'", location=node.keys.get(key, node.location), hint=hint
        )
    message, hint = _wording(kind, context, node, schema)
    tag = str(context.get("discriminator", "")).strip("'")
    if isinstance(node, Mapping) and tag in node.entries:
        location = node.entries[tag].location
    if kind == "missing":
        message = f"missing key '{path[-1]}'"
        if name:
            message += f" in '{name}'"
    elif name:
        message = f"{name}: {message}"
    return InputError(message, location=location, hint=hint)


_EXPECTED = {
    "int": "a whole number",
    "float": "a number",
    "finite": "a finite number",
    "bool": "true or false",
    "string": "a name",
    "list": "a list",
    "tuple": "a list",
    "set": "a list",
    "greater_than": "more than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "multiple_of": "a multiple of {multiple_of}",
    "too_short": "at least {min_length} in the list",
    "too_long": "at most {max_length} in the list",
}
"""What pydantic expected, by the type of its fault or the first word of that."""


def _wording(kind: str, context: Any, node: Node, schema: Any) -> tuple[str, str | None]:
    """What pydantic found, in words for the user, and a hint."""
    found = describe_node(node)
    if kind == USER_ERROR:
        return context["message"], context["hint"] or None
    if kind == "value_error":
        return str(context["error"]), None
    if kind == "literal_error":
        options = member(schema, node)
        if get_origin(options) is Literal and isinstance(node, Scalar):
            known = [str(option) for option in get_args(options)]
            return f"unknown value {found}", did_you_mean(node.text, known)
        return f"expected {context['expected']}, found {found}", None
    if kind == "union_tag_invalid":
        known = [tag.strip(" '") for tag in context["expected_tags"].split(",")]
        hint = f"{did_you_mean(context['tag'], known)} expected {context['expected_tags']}"
        return f"unknown {context['discriminator']} '{context['tag']}'", hint
    if kind == "union_tag_not_found":
        return f"missing key {context['discriminator']}", None
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return f"expected a mapping, found {found}", _keys_hint(schema, node)
    expected = _EXPECTED.get(kind) or _EXPECTED.get(kind.split("_")[0], "another value")
    if kind in ("too_short", "too_long"):
        found = str(context["actual_length"] or "none")
    return f"expected {expected.format(**context)}, found {found}", None


def _keys_hint(schema: Any, node: Node) -> str | None:
    keys = known_keys(schema, node)
    return f"keys: {', '.join(keys)}" if keys else None


def _descend(root: Node, model: Any, path: tuple[Any, ...]) -> tuple[Node, Any, str, Location]:
    """The deepest node on ``path``, its type, the last key that leads to it, and its place.

    A mapping or list is shown by its key. Parts of a pydantic path that are no key of the file
    (the tag of a union's member, a missing key) are passed over.
    """
    node, schema, name, location = root, model, "", root.location
    for part in path:
        if isinstance(node, Mapping) and part in node.entries:
            key = node.keys[part]
            node, schema, name = node.entries[part], child(schema, node, part), str(part)
            location = node.location if isinstance(node, Scalar) else key
        elif isinstance(node, Sequence) and isinstance(part, int) and part < len(node.items):
            node, schema = node.items[part], child(schema, node, part)
            location = node.location
    return node, schema, name, location
