"""Which keys a schema knows at a place: for did-you-mean hints and for overrides."""

from __future__ import annotations

from collections.abc import Mapping as MappingType
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from simulator.config.yaml_nodes import Mapping, Node, Scalar


def member(annotation: Any, node: Node | None) -> Any:
    """The type that describes ``node``: without Annotated, Optional and unneeded union members.

    Of several models in a union, the one is chosen whose ``Literal`` field (such as ``kind``) has
    the value that stands in the node.
    """
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) not in (Union, UnionType):
        return annotation
    options = [option for option in get_args(annotation) if option is not type(None)]
    models = [option for option in options if _is_model(option)]
    chosen = next((option for option in models if _literals_match(option, node)), None)
    if chosen is None and len(options) == 1:
        chosen = options[0]
    return member(chosen, node) if chosen is not None else annotation


def known_keys(annotation: Any, node: Node | None) -> list[str] | None:
    """The keys that a mapping of this type may have; None where it takes any, or is no mapping."""
    kind = member(annotation, node)
    if _is_model(kind):
        return [info.alias or name for name, info in kind.model_fields.items()]
    if get_origin(kind) in (dict, MappingType):
        key_type = member(get_args(kind)[0], None)
        if get_origin(key_type) is Literal:
            return [str(key) for key in get_args(key_type)]
    return None


def child(annotation: Any, node: Node | None, key: str | int) -> Any:
    """The type of what stands under ``key``, or None where the schema has nothing there."""
    kind = member(annotation, node)
    if _is_model(kind):
        for name, info in kind.model_fields.items():
            if key in (name, info.alias):
                return info.annotation
        return None
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (dict, MappingType):
        return arguments[1]
    if origin in (list, tuple) and isinstance(key, int) and arguments:
        return arguments[0] if origin is list or arguments[-1] is ... else arguments[key]
    return None


def is_mapping_type(annotation: Any, node: Node | None) -> bool:
    """Whether the schema has keys below this place."""
    kind = member(annotation, node)
    if _is_model(kind) or get_origin(kind) in (dict, MappingType):
        return True
    return get_origin(kind) in (Union, UnionType) and any(_is_model(o) for o in get_args(kind))


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _literals_match(model: type[BaseModel], node: Node | None) -> bool:
    if not isinstance(node, Mapping):
        return False
    for name, info in model.model_fields.items():
        if get_origin(info.annotation) is Literal:
            value = node.entries.get(info.alias or name)
            return isinstance(value, Scalar) and value.text in get_args(info.annotation)
    return False
