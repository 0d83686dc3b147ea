"""Speculative decoding: how many of the drafted tokens are accepted (Leviathan et al., ICML 2023).

A decode step verifies K drafted tokens beside its own, and emits one token more than the leading
drafts that are accepted. With an acceptance of a for each, independently, that is
(1 - a**(K + 1)) / (1 - a) tokens on average (equation 1 there). Whether the draft at a position of
a request is accepted depends on the seed, the request and the position alone, and so is the same
under every scheduler. Drafting itself is free (n-gram lookup), and nothing is drafted beyond a
request's last token.
"""

from __future__ import annotations

from simulator.kernels.arrays import Int64Array
from simulator.kernels.jit import inner
from simulator.serving.fields import ACCEPTANCE, SEED

_GOLDEN = -7046029254386353131
_FIRST = -4658895280553007687
_SECOND = -7723592293110705685
"""Constants of splitmix64 (Steele, Lea, Flood, OOPSLA 2014) as signed numbers."""

_LOW = 2**32 - 1


@inner
def draw(seed: int, request: int, position: int) -> int:
    """32 random bits for a position of a request: two rounds of splitmix64."""
    return _mixed(_mixed(seed, request), position) & _LOW


@inner
def _mixed(bits: int, word: int) -> int:
    bits = (bits ^ word) + _GOLDEN
    bits = (bits ^ ((bits >> 30) & (2**34 - 1))) * _FIRST
    bits = (bits ^ ((bits >> 27) & (2**37 - 1))) * _SECOND
    return bits ^ ((bits >> 31) & (2**33 - 1))


@inner
def accepted(settings: Int64Array, request: int, emitted: int, drafts: int) -> int:
    """Leading drafts that are accepted, of ``drafts`` after ``emitted`` tokens and the next."""
    count = 0
    while count < drafts and (
        draw(settings[SEED], request, emitted + 1 + count) < settings[ACCEPTANCE]
    ):
        count += 1
    return count
