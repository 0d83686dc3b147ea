"""Files of kernel libraries, and which of them a chip has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from simulator.config.chip_schema import ChipConfig
from simulator.config.config_files import Loaded, kind_of_file
from simulator.config.library_schema import SCHEMAS, LibraryConfig, own_keys
from simulator.config.names import find_config, looks_like_path
from simulator.config.overrides import FILE, Override, apply_overrides
from simulator.config.provenance import unwrap
from simulator.config.validation import validate
from simulator.config.yaml_nodes import Mapping as MappingNode
from simulator.config.yaml_nodes import Node, Scalar, describe_node, read_yaml
from simulator.errors import InputError, Location, article, did_you_mean
from simulator.hardware.kernel_libraries import KernelLibraries

ROOT = "library"


def load_library_file(
    path: Path, overrides: Iterable[Override] = (), name: str | None = None
) -> Loaded[LibraryConfig]:
    """The file of a library, overridden by ``library.NAME.KEY=VALUE`` and validated.

    Raises InputError for the first fault, and for a file of another library than ``name``.
    """
    sourced = unwrap(read_yaml(path))
    kernels = _kernels(sourced.node)
    if name is not None and kernels.text != name:
        raise InputError(
            f"this is a file of {kernels.text}, expected one of {name}", location=kernels.location
        )
    schema = SCHEMAS[kernels.text]
    root = f"{ROOT}.{kernels.text}"
    overrides = list(overrides)
    for override in overrides:
        if name is None and override.root == ROOT and override.keys[0] != kernels.text:
            raise InputError(
                f"'{ROOT}.{override.keys[0]}' is not this library",
                location=override.location(0),
                hint=f"this is a file of {kernels.text}",
            )
    own = [
        replace(override, root=root, keys=override.keys[1:])
        for override in overrides
        if override.root == ROOT and override.keys[0] == kernels.text
    ]
    apply_overrides(sourced, schema, own, root)
    now = _kernels(sourced.node)
    if now.text != kernels.text:
        raise InputError(
            f"kernels: found '{now.text}' for a file of {kernels.text}",
            location=now.location,
            hint="a chip names the file of a library under libraries",
        )
    return Loaded(path, sourced, validate(sourced.node, schema))


def build_libraries(names: Mapping[str, str], overrides: Iterable[Override]) -> KernelLibraries:
    """All libraries, from the files of their names or, where ``names`` has one, from another."""
    overrides = list(overrides)
    for override in overrides:
        if override.root == ROOT:
            _check_names_a_key(override)
    built: list[Any] = [
        load_library_file(
            find_config("libraries", names.get(name, name)), overrides, name
        ).config.build()
        for name in SCHEMAS
    ]
    return KernelLibraries(*built)


def check_chip(chip: Loaded[ChipConfig]) -> None:
    """Raise InputError for the first fault of a chip, or of the libraries that its file names."""
    chip.config.build()
    named = dict(named_libraries(chip))
    if named:
        build_libraries(named, ())


def named_libraries(chip: Loaded[ChipConfig]) -> tuple[tuple[str, str], ...]:
    """(library, name or file) where a chip's file names one; a path is relative to that file.

    Raises InputError at its place in the file for a name that is not known.
    """
    named: list[tuple[str, str]] = []
    for library, name in chip.config.libraries.items():
        if looks_like_path(name) and not Path(name).is_absolute():
            name = str(chip.path.parent / name)
        try:
            find_config("libraries", name)
        except InputError as error:
            root: Any = chip.sourced.node
            place = root.entries["libraries"].entries[library].location
            raise InputError(error.message, location=place, hint=error.hint) from None
        named.append((library, name))
    return tuple(named)


def _check_names_a_key(override: Override) -> None:
    """Raise InputError unless an override names a library and one of its keys."""
    name = override.keys[0]
    if name not in SCHEMAS:
        raise InputError(
            f"unknown library '{name}'",
            location=override.location(0),
            hint=did_you_mean(name, tuple(SCHEMAS)),
        )
    if len(override.keys) < 2:
        raise InputError(
            f"'{ROOT}.{name}' names no key",
            location=Location(FILE, None, 1, override.text, len(ROOT) + 1 + len(name)),
            hint=f"its keys: {', '.join(own_keys(name))}",
        )


def _kernels(root: Node) -> Scalar:
    """The key ``kernels`` of a library's file: whose values it has."""
    found = kind_of_file(root)
    assert isinstance(root, MappingNode)
    if found != ROOT:
        raise InputError(
            f"this is {article(found)} {found} file, expected a {ROOT} file",
            location=root.entries["kind"].location,
        )
    node = root.entries.get("kernels")
    known = ", ".join(SCHEMAS)
    if node is None:
        raise InputError(
            "missing key 'kernels'", location=root.location, hint=f"expected one of {known}"
        )
    if not isinstance(node, Scalar):
        raise InputError(
            f"kernels: expected one of {known}, found {describe_node(node)}",
            location=node.location,
        )
    if node.text not in SCHEMAS:
        raise InputError(
            f"kernels: unknown value {describe_node(node)}",
            location=node.location,
            hint=did_you_mean(node.text, tuple(SCHEMAS)),
        )
    return node
