"""Prices of single operators on chips that are specifications or names; public by ``api``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

from simulator.config.loader import load_chip, load_group
from simulator.hardware import Chip
from simulator.hardware.fabric import Fabric
from simulator.kernels.arrays import Float64Array, Int64Array
from simulator.timing import attention_operator, latent_operator, moe_operator
from simulator.timing import operator as operators
from simulator.timing.attention_operator import AttentionCase
from simulator.timing.latent_operator import LatentCase
from simulator.timing.matmul_ways import MatmulWays
from simulator.timing.moe_case import MoeCase
from simulator.timing.operator_timing import OperatorTiming
from simulator.timing.results import CopyTiming, MatmulTiming


def price_matmul(
    chip: Chip | str,
    m: int,
    k: int,
    n: int,
    dtype: str = "bf16",
    **ways: Unpack[MatmulWays],
) -> MatmulTiming:
    """Price C[m,n] = A[m,k] B[k,n] on one chip, with operands and result in HBM.

    ``rotating_buffers`` reproduces a benchmark that cycles through so many copies of B: what the
    L2 of a GPU keeps of them does not come from HBM. ``quantize`` adds, before a matmul of 4 or 8
    bits on a GPU, the kernel that scales the activations from 16 bits, ``replay`` what a benchmark
    pays that replays a captured graph of one matmul. With ``blocks`` operands of 8 bits have scales
    in blocks.

    Raises InputError for bad sizes or a dtype without a rate, InfeasibleError where no tile fits.
    """
    case = (m, k, n, dtype)
    return price_matmuls(chip, [case], **ways)[0]


def price_matmuls(
    chip: Chip | str,
    cases: Sequence[tuple[int, int, int, str]],
    **ways: Unpack[MatmulWays],
) -> list[MatmulTiming]:
    """Price many matmuls (m, k, n, dtype) on one chip; see ``price_matmul``."""
    machine = load_chip(chip) if isinstance(chip, str) else chip
    return operators.price_matmuls(machine, cases, **ways)


def matmul_seconds(
    chip: Chip | str,
    sizes: Int64Array,
    dtype: str,
    **ways: Unpack[MatmulWays],
) -> Float64Array:
    """Seconds of many matmuls of one data type, as ``price_matmuls`` has them in ``time_s``.

    ``sizes`` is int64[rows, 3]: m, k and n of each.
    """
    machine = load_chip(chip) if isinstance(chip, str) else chip
    return operators.matmul_seconds(machine, sizes, dtype, **ways)


def price_copies(chip: Chip | str, sizes: Sequence[int]) -> list[CopyTiming]:
    """Price copies inside the HBM of one chip: so many bytes are read, and as many written.

    Raises InputError for a size that is not positive or beyond the kernels' range.
    """
    return operators.price_copies(load_chip(chip) if isinstance(chip, str) else chip, sizes)


def price_attention(chip: Chip | str, case: AttentionCase) -> OperatorTiming:
    """Price attention over one batch on one chip; see ``price_attentions``."""
    return price_attentions(chip, [case])[0]


def price_attentions(chip: Chip | str, cases: Sequence[AttentionCase]) -> list[OperatorTiming]:
    """Price attention over many independent batches on one chip.

    Raises InputError for sizes out of range, heads that do not divide, or a dtype without a rate.
    """
    return attention_operator.price_attentions(
        load_chip(chip) if isinstance(chip, str) else chip, cases
    )


def price_latents(chip: Chip | str, cases: Sequence[LatentCase]) -> list[float]:
    """Seconds of the attention kernel of latent attention for many batches on one GPU.

    Raises InputError for sizes out of range, a chip without multiprocessors or a dtype without a
    rate.
    """
    return latent_operator.latent_seconds(load_chip(chip) if isinstance(chip, str) else chip, cases)


def price_moe(chip: Chip | str, case: MoeCase, fabric: Fabric | None = None) -> OperatorTiming:
    """Price one layer of routed experts on the busiest chip of its group; see ``price_moes``."""
    return price_moes(chip, [case], fabric)[0]


def price_moes(
    chip: Chip | str,
    cases: Sequence[MoeCase],
    fabric: Fabric | None = None,
    *,
    overrides: Sequence[str] = (),
) -> list[OperatorTiming]:
    """Price many layers of routed experts on one chip of a group that ``fabric`` connects.

    Where ``chip`` is a name and there is no ``fabric``, experts on several chips are connected as
    in the system of that name with as many chips; ``overrides`` are ``chip.PATH=VALUE`` for both.

    Raises InputError for sizes out of range, experts that do not divide over the chips, a bad
    expert load, a dtype without a rate, or no fabric for several chips.
    """
    if not isinstance(chip, str):
        return moe_operator.price_moes(chip, cases, fabric)
    loaded = load_chip(chip, overrides)
    if fabric is not None:
        return moe_operator.price_moes(loaded, cases, fabric)
    results: dict[int, OperatorTiming] = {}
    ranks = [case.ep if case.exchange else 1 for case in cases]
    for ep in sorted(set(ranks)):
        of_group = [i for i, own in enumerate(ranks) if own == ep]
        group = load_group(chip, ep, overrides) if ep > 1 else None
        priced = moe_operator.price_moes(loaded, [cases[i] for i in of_group], group)
        results |= dict(zip(of_group, priced, strict=True))
    return [results[i] for i in range(len(cases))]
