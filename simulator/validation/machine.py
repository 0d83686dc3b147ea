"""The machine that a table was measured on: a chip with its family of systems, overridden."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

from simulator.config.loader import load_chip, load_system
from simulator.errors import InputError
from simulator.hardware import Chip, System


class Machine:
    """A chip by name or file, and the systems made of it, with ``PATH=VALUE`` overrides of both.

    ``family`` is the name of the systems; that of the chip unless given.
    """

    def __init__(self, chip: str, overrides: Iterable[str] = (), family: str | None = None) -> None:
        self.name = chip
        self.overrides = tuple(overrides)
        self._family = family
        self._systems: dict[str, System] = {}

    @cached_property
    def chip(self) -> Chip:
        """The chip; ``InputError`` for an unknown name or a bad value."""
        return load_chip(self.name, self.overrides)

    def system(self, shape: int | str) -> System:
        """The system of so many chips, or of a shape such as ``2x2x1``.

        Raises:
            InputError: the family has no such shape, or there is no family of that name.
        """
        key = str(shape)
        if key not in self._systems:
            family = self._family or self.chip.name
            chip = () if family == self.name else (f"system.chip={self.name}",)
            self._systems[key] = load_system(f"{family}:{key}", (*chip, *self.overrides))
        return self._systems[key]

    def has_system(self, shape: int | str) -> bool:
        """Whether ``system`` finds one."""
        try:
            self.system(shape)
        except InputError:
            return False
        return True

    def with_overrides(self, overrides: Iterable[str]) -> Machine:
        """The same machine with more overrides."""
        return Machine(self.name, (*self.overrides, *overrides), self._family)
