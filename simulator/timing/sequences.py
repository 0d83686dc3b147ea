"""The batch of one iteration: how many new tokens and how many cached ones each sequence has."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Int64Array = npt.NDArray[np.int64]

MOST_SEQUENCES = 2**22
"""Of one step, over all chips: some 450 on each chip of the largest torus."""


@dataclass(frozen=True, slots=True)
class Batch:
    """``new[i]`` tokens of sequence i after ``past[i]`` cached ones; ``logits`` positions.

    ``ranks[i]`` has it, of ranks that share the sequences; None: they take turns.
    """

    new: Int64Array
    past: Int64Array
    logits: int
    ranks: Int64Array | None = None

    def on_ranks(self, count: int) -> Int64Array:
        """Which of ``count`` ranks has each sequence."""
        if self.ranks is None:
            return np.arange(len(self.new), dtype=np.int64) % count
        return self.ranks

    @property
    def tokens(self) -> int:
        """Tokens computed."""
        return int(self.new.sum())

    @property
    def pairs(self) -> int:
        """Unmasked query-key pairs of one head in one layer that sees the whole context."""
        return int((self.new * self.past + self.new * (self.new + 1) // 2).sum())

    def window_pairs(self, window: int | None) -> int:
        """Those in a layer that sees the last ``window`` keys."""
        if window is None:
            return self.pairs
        whole = np.clip(window - self.past, 0, self.new)
        first = whole * self.past + whole * (whole + 1) // 2
        return int((first + (self.new - whole) * window).sum())


def uniform_batch(phase: str, sequences: int, context: int, drafts: int = 0) -> Batch:
    """A batch of equal sequences: whole prompts (prefill), or one token and the drafts to verify
    each (decode)."""
    ones = np.ones(sequences, dtype=np.int64)
    if phase == "prefill":
        return Batch(new=ones * context, past=ones * 0, logits=sequences)
    new = ones * (drafts + 1)
    return Batch(new=new, past=ones * context, logits=sequences * (drafts + 1))
