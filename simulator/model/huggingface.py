"""Hugging Face ``config.json`` to ``Recipe``: finds the family, which reads the dimensions."""

from __future__ import annotations

from simulator.errors import InputError, Location
from simulator.model.families import BY_ARCHITECTURE, BY_MODEL_TYPE, Family
from simulator.model.families.reader import ConfigReader
from simulator.model.recipe import Recipe


def parse_config(text: str, file: str) -> Recipe:
    """The model that a ``config.json`` describes.

    The name is the last part of ``_name_or_path``, or else the folder's (the file's, if that is not
    ``config.json``). Raises ``InputError`` for bad JSON, an unknown architecture, a missing or bad
    value, and a key that changes the computation in a way that the family does not know.
    """
    config = ConfigReader(text, file)
    family = _family(config)
    config.family = family.MODEL_TYPES[0]
    recipe = family.read(config)
    config.refuse_unread()
    return recipe


def _family(config: ConfigReader) -> Family:
    """By ``architectures``, else by ``model_type``; both must be known."""
    supported = ", ".join(BY_ARCHITECTURE)
    family: Family | None = None
    found = config.get("architectures")
    if found:
        names = found if isinstance(found, list) else [found]
        for name in names:
            if not isinstance(name, str) or name not in BY_ARCHITECTURE:
                config.fail("architectures", f"'{str(name)[:60]}' is not supported", supported)
        family = BY_ARCHITECTURE[names[0]]
    kind = config.get("model_type")
    if kind is not None and (not isinstance(kind, str) or kind not in BY_MODEL_TYPE):
        config.fail("model_type", f"'{str(kind)[:60]}' is not supported", ", ".join(BY_MODEL_TYPE))
    if kind is not None and family is not None and BY_MODEL_TYPE[kind] is not family:
        config.fail("model_type", f"'{kind}' is not the type of {found}")
    if family is None and kind is not None:
        family = BY_MODEL_TYPE[kind]
    if family is None:
        raise InputError(
            "neither 'architectures' nor 'model_type' says what this model is",
            location=Location(config.file),
            hint=f"supported: {supported}",
        )
    return family
