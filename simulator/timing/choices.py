"""What a user chooses of a plan beside its layout: data types, drafts, how experts run."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from simulator.errors import InputError, did_you_mean
from simulator.hardware import Chip, ServingEngine
from simulator.kernels.arrays import Int64Array
from simulator.mapping.attention_dtype import attention_dtype
from simulator.mapping.memory import BITS, stored_bits
from simulator.timing.moe_prices import MODE_FUSED, MODE_SORTED
from simulator.timing.operator_checks import check_known, check_narrow

MOE_MODES = {"sorted": MODE_SORTED, "fused": MODE_FUSED}
"""Ways to run routed experts; see ``timing.moe_prices``."""


@dataclass(frozen=True, slots=True)
class Dtypes:
    """Data types of weights, activations (which set the arithmetic rate) and the KV cache."""

    weight: str = "bf16"
    activation: str = "bf16"
    kv: str = "bf16"

    def __post_init__(self) -> None:
        check_known(self.weight, self.activation, self.kv)
        check_narrow(self.activation, self.weight)

    @property
    def _narrow(self) -> bool:
        """Whether matmuls take 4 bits, in which nothing else computes."""
        return BITS[self.activation] < 8

    @property
    def weight_bits(self) -> float:
        """Bits of a weight as it is stored, with its share of a scale where its format has some."""
        return stored_bits(self.weight)

    def stored_bytes(self, weights: int, cached: int) -> int:
        """Bytes of so many elements of weights and of the KV cache."""
        # of a weight with its scale there are halves of bits
        return (weights * int(2 * self.weight_bits) + 2 * cached * BITS[self.kv]) // 16

    def bits(self, residual: str | None = None) -> Int64Array:
        """Bits of (weight, activation, kv, residual) elements.

        What lies between matmuls has the type of the activations, or ``residual`` if that is wider;
        activations of 4 bits are made for a matmul and have 16 between.
        """
        own = BITS[self.activation]
        between = max(BITS[residual] if residual else own, 16 if self._narrow else own)
        return np.array([BITS[self.weight], own, BITS[self.kv], between], dtype=np.int64)

    @property
    def beside(self) -> Dtypes:
        """The types of what stands beside the matmuls (attention with its latent products, memory
        for activations): these, or 16 bits where matmuls take 4."""
        return Dtypes("bf16", "bf16", self.kv) if self._narrow else self

    def attention_note(self, chip: Chip) -> str:
        """What to say where attention multiplies in another type than its activations; else ""."""
        activation = self.beside.activation
        own = attention_dtype(chip, activation, self.kv)
        if own == activation:
            return ""
        if own == self.kv and BITS[own] < BITS[activation]:
            return (
                f"attention converts its queries to the cache's {own} and multiplies in it, as "
                "the chip's library does (chip.fused_kernels.cache_arithmetic)"
            )
        return f"attention multiplies in {own}, whatever the matmuls do: no kernel takes less here"

    def as_dict(self) -> dict[str, str]:
        """The names, for reports."""
        return {"weight": self.weight, "activation": self.activation, "kv": self.kv}


@dataclass(frozen=True, slots=True)
class Speculation:
    """``drafts`` tokens are proposed for each sequence and verified in one pass, and each is
    accepted with probability ``acceptance`` if those before it are."""

    drafts: int = 0
    acceptance: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.drafts <= 64:
            raise InputError(f"speculation: found {self.drafts} drafts, expected 0 to 64")
        if not 0 <= self.acceptance <= 1:
            raise InputError(f"speculation: found acceptance {self.acceptance:g}, expected 0 to 1")

    @property
    def tokens(self) -> float:
        """Expected tokens of an iteration: (1 - a^(K+1)) / (1 - a), Leviathan et al., arXiv
        2211.17192, eq. 1."""
        if self.acceptance == 1:
            return self.drafts + 1.0
        return (1 - self.acceptance ** (self.drafts + 1)) / (1 - self.acceptance)


@dataclass(frozen=True, slots=True)
class ExpertOptions:
    """Routed experts: ``mode`` sorted or fused; ``load`` balanced, random[:SPREAD], power:ALPHA or
    a file, empty for that of the serving engine, or balanced without one."""

    mode: str = "sorted"
    load: str = ""

    def __post_init__(self) -> None:
        if self.mode not in MOE_MODES:
            hint = did_you_mean(self.mode, MOE_MODES)
            raise InputError(
                f"--moe: found '{self.mode[:40]}', expected sorted or fused", hint=hint
            )

    def under(self, engine: ServingEngine | None) -> ExpertOptions:
        """With the load that an engine's servers see, where none was chosen."""
        if self.load:
            return self
        return replace(self, load=engine.expert_load if engine else "balanced")
