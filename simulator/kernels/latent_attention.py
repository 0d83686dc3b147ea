"""Latent attention (DeepSeek-V2, arXiv 2405.04434, section 2.1): what it computes, in two forms.

The cache holds one vector of ``rank`` + ``rope`` elements a token for all heads. Keys and values of
a head follow from it by W_UK (nope x rank) and W_UV (rank x value). These products can be done

* absorbed: queries are multiplied with W_UK, then all heads attend to the latent itself, as
  multi-query attention with keys of rank + rope and values of rank elements, and the results are
  multiplied with W_UV. Cheap where few queries see many keys (decode);
* expanded: keys and values of all visible tokens are computed, then each head attends to its own,
  of nope + rope and value elements. Cheap where many queries see them (prompts).

A single query is always absorbed. Prompts of a batch all are, where that takes less time than
what has fewer flops for each: else some keys more, which change the form, could save time.
"""

from __future__ import annotations

from simulator.kernels.arrays import Int64Array
from simulator.kernels.attention import attended_pairs, product_cycles
from simulator.kernels.jit import inner, kernel

LatentDims = tuple[int, int, int, int, int]
"""Heads, latent rank, rotary, non-rotary and value dimension of a head."""


@kernel
def absorbed_flops(new: int, past: int, dims: LatentDims) -> int:
    """Flops of one sequence in the absorbed form, both products included."""
    heads, rank, rope, nope, value = dims
    projections = 2 * new * heads * rank * (nope + value)
    return projections + 2 * attended_pairs(new, past, 0) * heads * (2 * rank + rope)


@kernel
def expanded_flops(new: int, past: int, dims: LatentDims) -> int:
    """Flops of one sequence in the expanded form; every visible token is expanded anew."""
    heads, rank, rope, nope, value = dims
    projections = 2 * (past + new) * heads * rank * (nope + value)
    return projections + 2 * attended_pairs(new, past, 0) * heads * (nope + rope + value)


@inner
def absorbs(new: int, past: int, dims: LatentDims) -> bool:
    """Whether a sequence is computed absorbed: a single query, or where that is cheaper."""
    return new == 1 or absorbed_flops(new, past, dims) <= expanded_flops(new, past, dims)


@inner
def latent_projections(
    chip: Int64Array, absorbed: int, expanded: int, dims: LatentDims
) -> tuple[int, int]:
    """(cycles of one array, flops) of the products with W_UK and W_UV.

    ``absorbed`` queries and ``expanded`` visible tokens; for each head a matrix of its own.
    """
    heads, rank, _, nope, value = dims
    cycles = 0
    if absorbed > 0:
        cycles += product_cycles(chip, absorbed, nope, rank)
        cycles += product_cycles(chip, absorbed, rank, value)
    if expanded > 0:
        cycles += product_cycles(chip, expanded, rank, nope + value)
    return cycles * heads, 2 * (absorbed + expanded) * heads * rank * (nope + value)
