"""How many rows operators compute in an iteration: ranks wait for each other, graphs are padded.

Ranks that share the sequences of a replica go through the layers in step: whatever has to be
exchanged waits for the rank that comes last, the one with most tokens. Where every sequence decodes
they are padded to it, so that all run the same shapes (TensorRT-LLM, cuda_graph_runner.py; SGLang,
``DpPaddingMode.MAX_LEN``; vLLM, ``coordinate_batch_across_dp``), and to the next batch that an
engine has captured a graph of. Prompts run without graphs and without padding.
"""

from __future__ import annotations

import numpy as np

from simulator.kernels.arithmetic import ceil_div
from simulator.kernels.arrays import Int64Array
from simulator.kernels.jit import inner, kernel
from simulator.timing.batch import (
    PIPELINE_BATCHES,
    PIPELINE_FIELDS,
    PIPELINE_RANKS,
    PIPELINE_TOKENS,
    Rows,
)


@inner
def fullest_rank(
    pipeline: Int64Array, ranks: Int64Array, new: Int64Array, tokens: int
) -> tuple[int, int]:
    """(most tokens, most sequences) of a rank of a batch with so many tokens in all."""
    held = pipeline[PIPELINE_RANKS]
    if held == 1:
        return tokens, len(new)
    own = np.zeros((held, 2), dtype=np.int64)
    for i in range(len(new)):
        own[ranks[i], 0] += new[i]
        own[ranks[i], 1] += 1
    most, sequences = own[0, 0], own[0, 1]
    for rank in range(1, held):
        most = max(most, own[rank, 0])
        sequences = max(sequences, own[rank, 1])
    return most, sequences


@inner
def captured(pipeline: Int64Array, sequences: int) -> int:
    """The smallest batch with a graph that so many sequences fit; 0 where there is none."""
    for i in range(PIPELINE_FIELDS, len(pipeline)):
        if pipeline[i] >= sequences:
            size: int = pipeline[i]
            return size
    return 0


@inner
def rows_together(pipeline: Int64Array, fullest: tuple[int, int], decoding: bool) -> int:
    """Rows of all ranks, each taken for the ``fullest`` in (tokens, sequences)."""
    tokens, sequences = fullest
    if decoding and len(pipeline) > PIPELINE_FIELDS:
        batches = pipeline[PIPELINE_BATCHES]
        size = captured(pipeline, ceil_div(sequences, batches)) * batches
        tokens = max(tokens, size * pipeline[PIPELINE_TOKENS])
    rows: int = tokens * pipeline[PIPELINE_RANKS]
    return rows


@inner
def batch_rows(pipeline: Int64Array, fullest: tuple[int, int], tokens: int, logits: int) -> Rows:
    """The rows of a batch with so many tokens and positions with logits; see ``fullest_rank``.

    A batch in which every token gets logits decodes.
    """
    decoding = tokens == logits
    rows = rows_together(pipeline, fullest, decoding)
    if decoding:
        return rows, rows, rows
    return rows, tokens, logits


@kernel
def rows_of(
    pipeline: Int64Array, ranks: Int64Array, new: Int64Array, tokens: int, logits: int
) -> Rows:
    """The rows of a batch, as ``batch_rows``.

    ``pipeline`` is that of ``timing.plan.Plan``; sequence i has ``new[i]`` tokens on rank
    ``ranks[i]``.
    """
    return batch_rows(pipeline, fullest_rank(pipeline, ranks, new, tokens), tokens, logits)


@kernel
def most_rows(pipeline: Int64Array, sequences: int) -> int:
    """Rows of a decode iteration in which a rank has at most so many sequences, at most."""
    return rows_together(pipeline, (0, sequences), True)
