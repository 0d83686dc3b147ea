"""What a parameter is that ``chipsim calibrate`` may fit; ``parameters`` has them all."""

from __future__ import annotations

from dataclasses import dataclass

ATTENTION = ("attention-decode", "attention-prefill")
FUSED = (*ATTENTION, "moe")
ON_CHIP = ("matmul", "copy", *FUSED)
SCALES = {
    "": 1.0,
    "ns": 1e3,
    "us": 1e6,
    "GB/s": 1e9,
    "TB/s": 1e12,
    "pJ": 1.0,
    "W": 1.0,
    "MB": 1e6,
}
"""Base units (ps, B/s, pJ, W, bytes) of each unit that a parameter is written in."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One value that may be fitted, between ``low`` and ``high`` in ``unit``.

    ``kind`` is the matrix unit that has it; with ``must_exist`` a file without it keeps without.
    """

    path: str
    unit: str
    low: float
    high: float
    neutral: float | None
    meaning: str
    operators: tuple[str, ...] = ON_CHIP
    kind: str | None = None
    must_exist: bool = False

    @property
    def root(self) -> str:
        """``chip`` or ``system``: the file that has it."""
        return self.path.split(".")[0]

    def override(self, value: float) -> str:
        """``PATH=VALUE`` as ``--set`` takes it."""
        return f"{self.path}={self.text(value)}"

    def text(self, value: float) -> str:
        """The value as a file has it."""
        # times are whole picoseconds
        rounded = round(float(f"{value:.4g}"), {"ns": 3, "us": 6}.get(self.unit, 12))
        return f"{rounded:.10g} {self.unit}".strip()
