"""What a user says about a layout: degrees or a file, how experts run, speculation."""

from __future__ import annotations

from dataclasses import dataclass

from simulator.errors import InputError
from simulator.model.layout import Layout
from simulator.model.transformer import Transformer
from simulator.timing.choices import ExpertOptions, Speculation


@dataclass(frozen=True, slots=True)
class LayoutOptions:
    """Degrees of parallelism, or a ``layout``: one that is ready, a file, a compact form such as
    ``tp8-ep64``, or ``auto``.

    ``moe`` is ``sorted`` or ``fused``, ``expert_load`` ``balanced``, ``random[:SPREAD]``,
    ``power:ALPHA`` or a file with a number an expert (None for the engine's, or balanced),
    ``speculate`` ``K:ACCEPTANCE``.
    """

    tp: int | None = None
    pp: int | None = None
    ep: int | None = None
    dp: int | None = None
    sp: int | None = None
    layout: Layout | str | None = None
    moe: str = "sorted"
    expert_load: str | None = None
    speculate: str | None = None

    def __post_init__(self) -> None:
        given = [f"--{name}" for name, degree in self.degrees.items() if degree is not None]
        if self.layout is not None and given:
            raise InputError(f"give either --layout or {', '.join(given)}, not both")

    @property
    def degrees(self) -> dict[str, int | None]:
        """The degrees by their names; None where one is not given."""
        return {"tp": self.tp, "pp": self.pp, "ep": self.ep, "dp": self.dp, "sp": self.sp}

    @property
    def experts(self) -> ExpertOptions:
        """How routed experts run. Raises InputError for an unknown way."""
        return ExpertOptions(self.moe, self.expert_load or "")

    @property
    def speculation(self) -> Speculation:
        """Drafts of an iteration. Raises InputError for anything but K:ACCEPTANCE."""
        return parse_speculation(self.speculate) if self.speculate is not None else Speculation()

    def check(self, model: Transformer) -> None:
        """Raise InputError for an option that the model has no use for."""
        if model.experts is None and (
            self.moe != "sorted" or self.expert_load not in (None, "balanced")
        ):
            name = "--moe" if self.moe != "sorted" else "--expert-load"
            raise InputError(f"{name}: {model.name} has no experts", hint=f"leave {name} out")


def parse_speculation(text: str) -> Speculation:
    """``3:0.8`` as three drafts, each accepted with probability 0.8.

    Raises InputError for anything else.
    """
    drafts, colon, acceptance = text.partition(":")
    try:
        if not colon:
            raise ValueError
        return Speculation(int(drafts), float(acceptance))
    except ValueError:
        raise InputError(
            f"--speculate: found '{text[:40]}', expected K:ACCEPTANCE such as 3:0.8"
        ) from None
