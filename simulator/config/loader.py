"""Names and paths to specifications: ``load_chip``, ``load_system``, ``load_model`` and others.

Each takes ``overrides``, strings such as ``chip.hbm.bandwidth=1.2TB/s``; those of another root
are checked for their form and left to the loader that they concern. What was loaded once is
remembered (``config.remembered``), and YAML and pydantic are imported only for what is not.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from simulator.config.remembered import Remembered
from simulator.errors import InputError
from simulator.hardware import Chip, ServingEngine, System, SystolicArray
from simulator.model.transformer import Transformer

if TYPE_CHECKING:
    from simulator.config.chip_schema import ChipConfig
    from simulator.config.config_files import Loaded
    from simulator.hardware import KernelLibraries
    from simulator.hardware.dram import DramChannel
    from simulator.hardware.fabric import Fabric
    from simulator.model.convnet import ConvNet
    from simulator.model.layout import Layout
    from simulator.workload.spec import WorkloadSpec

__all__ = [
    "load_any_model",
    "load_chip",
    "load_engine",
    "load_group",
    "load_layout",
    "load_libraries",
    "load_memory",
    "load_model",
    "load_system",
    "load_workload",
]

_CHIPS: Remembered[Chip] = Remembered("chip")
_SYSTEMS: Remembered[System] = Remembered("system")
_MODELS: Remembered[Transformer | ConvNet] = Remembered("model")
_ENGINES: Remembered[ServingEngine] = Remembered("engine")
_WORKLOADS: Remembered[WorkloadSpec] = Remembered("workload")
_MEMORIES: Remembered[DramChannel] = Remembered("memory")
_LIBRARIES: Remembered[KernelLibraries] = Remembered("libraries")

_OF_FABRICS = ("collective", "server")
"""What was measured on several chips, whose prices a fabric decides."""


def load_chip(name_or_path: str | Path, overrides: Iterable[str] = ()) -> Chip:
    """The chip of a name in ``configs/chips`` or of a YAML file."""
    given = _listed(overrides)

    def load() -> Chip:
        from simulator.config.config_files import load_chip_file
        from simulator.config.names import find_config
        from simulator.config.overrides import parse_overrides

        path = find_config("chips", name_or_path)
        loaded = load_chip_file(path, parse_overrides(given))
        chip = _without_foreign(loaded.config.build(), loaded)
        return _completed(chip, _libraries_of(loaded, given), given)

    return _CHIPS.value(name_or_path, given, load)


def load_system(name: str | Path, overrides: Iterable[str] = ()) -> System:
    """The system ``family``, ``family:shape``, ``path.yaml`` or ``path.yaml:shape``.

    A family alone is one chip. ``chip.*`` overrides change the system's chip. Raises
    ``InputError`` for an unknown name and for a shape that the family does not have.
    """
    given = _listed(overrides)

    def load() -> System:
        from simulator.config.config_files import load_system_file
        from simulator.config.overrides import parse_overrides
        from simulator.hardware.fabric import with_figures

        loaded = load_system_file(name, parse_overrides(given))
        system = loaded.build()
        libraries = _libraries_of(loaded.chip, given)
        chip = _completed(_without_foreign(system.chip, loaded.chip), libraries, given)
        fabric = with_figures(system.fabric, libraries.all_reduce)
        return replace(system, chip=chip, fabric=fabric)

    return _SYSTEMS.value(name, given, load)


def _listed(overrides: Iterable[str]) -> tuple[str, ...]:
    if isinstance(overrides, str):
        raise InputError(
            f"overrides: found the text '{overrides[:60]}', expected a list of such texts",
            hint=f"['{overrides[:60]}']",
        )
    return tuple(overrides)


def _libraries_of(loaded: Loaded[ChipConfig], overrides: tuple[str, ...]) -> KernelLibraries:
    """The libraries of any chip, so that a bad override is refused whatever the chip is."""
    from simulator.config.library_files import named_libraries

    return load_libraries(named_libraries(loaded), overrides)


def _completed(chip: Chip, libraries: KernelLibraries, overrides: tuple[str, ...]) -> Chip:
    """The chip of a file with its kernel libraries, where it has multiprocessors."""
    chip = _as_measured(chip, overrides)
    return chip if isinstance(chip.matrix, SystolicArray) else replace(chip, libraries=libraries)


def _without_foreign(chip: Chip, loaded: Loaded[ChipConfig]) -> Chip:
    """The chip of a file without the comparisons of the shipped one that it was changed from."""
    from simulator.config.copied import is_changed_copy

    return _not_as_measured(chip) if is_changed_copy(loaded) else chip


def _not_as_measured(chip: Chip) -> Chip:
    return replace(chip, validation=(), overridden=chip.overridden or bool(chip.validation))


def _as_measured(chip: Chip, overrides: tuple[str, ...]) -> Chip:
    """The chip without what its file says of what overrides changed: comparisons, the basis of
    its price."""
    texts = [text.strip() for text in overrides]
    changed = [text.removeprefix("chip.") for text in texts if text.startswith("chip.")]
    if any(text.partition("=")[0].strip() == "price" for text in changed) and not any(
        text.startswith("price_basis") for text in changed
    ):
        # nobody has said what the new price is
        chip = replace(chip, price_basis=None)
    fabric = ("system.fabric", "library.all-reduce.")
    libraries = [text for text in texts if text.startswith("library.")]
    changed += [text for text in libraries if not text.startswith(fabric)]
    if not all(path.startswith(("price", "power.energy", "validation")) for path in changed):
        return _not_as_measured(chip)
    if any(text.startswith(fabric) for text in texts):
        kept = [entry for entry in chip.validation if entry.operator not in _OF_FABRICS]
        return replace(chip, validation=tuple(kept))
    return chip


def load_group(family: str, chips: int, overrides: Iterable[str] = ()) -> Fabric:
    """The fabric of a system family that ``chips`` of its chips are a group of, by default.

    That of the smallest shape with as many chips; where there is none, of the smallest one that can
    be divided into such groups. Raises ``InputError`` where there is neither.
    """
    from simulator.config.config_files import load_system_file
    from simulator.config.overrides import parse_overrides
    from simulator.config.shapes import shape_text

    system = load_system_file(family, parse_overrides(overrides))
    shapes = [(1,), *system.system.config.fabric.allowed()]
    sizes = sorted({math.prod(shape) for shape in shapes})
    for size in (*(size for size in sizes if size == chips), *sizes):
        if size % chips == 0:
            shape = next(shape for shape in shapes if math.prod(shape) == size)
            return load_system(f"{family}:{shape_text(shape)}", overrides).fabric
    raise InputError(
        f"no system of '{family}' has groups of {chips} chips",
        hint=f"its sizes are {', '.join(map(str, sizes[:12]))}",
    )


def load_model(name_or_path: str | Path, overrides: Iterable[str] = ()) -> Transformer:
    """The model of a name in ``configs/models``, a YAML file or a Hugging Face ``config.json``.

    Raises ``InputError`` for a convolutional network too: it has no tokens to serve.
    """
    model = load_any_model(name_or_path, overrides)
    if not isinstance(model, Transformer):
        raise InputError(
            f"{model.name} is a convolutional network, expected a transformer",
            hint="it has no requests to serve; 'chipsim step' prices a batch of images",
        )
    return model


def load_any_model(
    name_or_path: str | Path, overrides: Iterable[str] = ()
) -> Transformer | ConvNet:
    """As ``load_model``, convolutional networks included."""
    given = _listed(overrides)

    def load() -> Transformer | ConvNet:
        from simulator.config.config_files import load_model_file
        from simulator.config.names import find_config
        from simulator.config.overrides import parse_overrides

        path = find_config("models", name_or_path)
        return load_model_file(path, parse_overrides(given)).config.build()

    return _MODELS.value(name_or_path, given, load)


def load_workload(name_or_path: str | Path, overrides: Iterable[str] = ()) -> WorkloadSpec:
    """The workload of a name in ``workloads`` or of a YAML file.

    ``overrides`` are strings such as ``workload.arrivals.rate=10 req/s``. Raises ``InputError``
    for an unknown name (with the nearest one) and for the first fault of the file.
    """
    given = _listed(overrides)

    def load() -> WorkloadSpec:
        from simulator.config.names import find_config
        from simulator.config.overrides import parse_overrides
        from simulator.config.workload_files import build_workload

        return build_workload(find_config("workloads", name_or_path), parse_overrides(given))

    return _WORKLOADS.value(name_or_path, given, load)


def load_memory(name_or_path: str | Path) -> DramChannel:
    """The DRAM channel of a preset in ``configs/memories`` or of a YAML file.

    Raises ``InputError`` for an unknown name and for whatever is wrong in the file.
    """

    def load() -> DramChannel:
        from simulator.config.dram_schema import load_memory_file
        from simulator.config.names import find_config

        return load_memory_file(find_config("memories", name_or_path)).build()

    return _MEMORIES.value(name_or_path, (), load)


def load_engine(name_or_path: str | Path, overrides: Iterable[str] = ()) -> ServingEngine:
    """The serving engine of a name in ``configs/engines`` or of a YAML file.

    ``overrides`` are strings such as ``engine.iteration=1ms``. Raises ``InputError`` for an
    unknown name (with the nearest one) and for the first fault of the file.
    """
    given = _listed(overrides)

    def load() -> ServingEngine:
        from simulator.config.engine_schema import load_engine_file
        from simulator.config.names import find_config
        from simulator.config.overrides import parse_overrides

        path = find_config("engines", name_or_path)
        return load_engine_file(path, parse_overrides(given)).config.build()

    return _ENGINES.value(name_or_path, given, load)


def load_libraries(
    names: tuple[tuple[str, str], ...] = (), overrides: Iterable[str] = ()
) -> KernelLibraries:
    """The kernel libraries of GPUs, from the files of their names in ``configs/libraries``.

    ``names`` has pairs (library, another name or a YAML file) for those that are to be read from
    elsewhere. ``overrides`` are strings such as ``library.marlin.launch=40us``.

    Raises ``InputError`` for an unknown name (with the nearest one) and for the first fault of a
    file.
    """
    given = tuple(text for text in overrides if text.strip().startswith("library"))

    def load() -> KernelLibraries:
        from simulator.config.library_files import build_libraries
        from simulator.config.overrides import parse_overrides

        return build_libraries(dict(names), parse_overrides(given))

    return _LIBRARIES.value(",".join(map("=".join, names)), given, load)


def load_layout(path: str | Path) -> Layout:
    """The layout of a YAML file. Raises ``InputError`` for its first fault, with its place."""
    from simulator.config.layout_schema import read_layout

    return read_layout(path)
