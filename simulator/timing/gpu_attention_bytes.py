"""Bytes that attention over a batch moves on a GPU, by what they are."""

from __future__ import annotations

from simulator.kernels.arrays import Float64Array, Int64Array
from simulator.kernels.attention import needed_keys
from simulator.kernels.gpu_attention import (
    is_decode,
)
from simulator.kernels.jit import inner
from simulator.timing.prices import (
    KV_BITS,
)

# Bytes of a batch, float64[BYTE_FIELDS].
CACHED_DECODE = 0
CACHED_PROMPT = 1
QUERIES_DECODE = 2
QUERIES_PROMPT = 3
"""Queries and results of decoding sequences and of prompts; each counts once."""
NEW_READ = 4
NEW_WRITTEN = 5
RESULTS = 6
"""Of queries and results, what is written; counted there already."""
BYTE_FIELDS = 7


@inner
def count_bytes(
    chip: Int64Array,
    bits: Int64Array,
    group: int,
    widths: tuple[int, int, int, int, int],
    new: Int64Array,
    past: Int64Array,
    window: int,
    sizes: Float64Array,
) -> None:
    """Fill ``sizes`` for a batch; ``widths`` = elements a token of (cache, queries, results), bits
    of results and of new keys and values, bits of queries."""
    cache_bytes = widths[0] * bits[KV_BITS] / 8.0
    new_bytes = widths[0] * widths[3] / 8.0
    result = widths[2] * widths[3] / 8.0
    each = widths[1] * widths[4] / 8.0 + result
    for field in range(BYTE_FIELDS):
        sizes[field] = 0.0
    for i in range(len(new)):
        cached = needed_keys(new[i], past[i], window) * cache_bytes
        if is_decode(chip, new[i], group):
            sizes[CACHED_DECODE] += cached
            sizes[QUERIES_DECODE] += new[i] * each
        else:
            # prompts read their own keys back from the cache that they have just filled
            sizes[CACHED_PROMPT] += cached
            sizes[QUERIES_PROMPT] += new[i] * each
        sizes[RESULTS] += new[i] * result
        sizes[NEW_READ] += new[i] * new_bytes
        sizes[NEW_WRITTEN] += new[i] * cache_bytes
