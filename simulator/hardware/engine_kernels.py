"""All-reduce kernels of serving engines, and which one an engine takes for a buffer.

They read or write the buffers of their peers through the switch and are launched from captured
graphs. Their figures are those of a kernel library (``hardware.kernel_libraries.AllReduce``), the
same on every system; a system adds the time of a launch (``hardware.fabric.Engine``) and its own
latency, link rate and memory. What is here are facts of the engines' sources.

n ranks, a buffer of S bytes in each. A kernel takes

    launches x launch + (hops + hops_per_rank x n) x latency of a pass through the switch
    + bytes through a port / rate + copies x S / rate of a copy

A rank that reads from its peers has at most ``window`` bytes under way, which return after
``round_trip`` passes; so the rate is the lesser of that and what the link's protocol leaves.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

KIB = 2**10
MIB = 2**20


@dataclass(frozen=True, slots=True)
class EngineKernel:
    """One kernel; ``algorithm`` says what it moves: (n-1) S, 2 (n-1) S / n or (n+1) S / n.

    ``figures`` is the field of ``hardware.kernel_libraries.AllReduce`` that it has.
    """

    name: str
    algorithm: Literal["one-shot", "two-shot", "in-network"]
    figures: str


# vLLM csrc/custom_all_reduce.cuh, which SGLang took over. A barrier before and after; the two-shot
# kernel has one more in between, which orders memory: its threads release their stores to one peer
# after the other.
PULL_ONE = EngineKernel("pull one-shot", "one-shot", "pull_one_shot")
PULL_TWO = EngineKernel("pull two-shot", "two-shot", "pull_two_shot")
# SGLang's second kernels (jit_kernel/csrc/distributed): push needs no barrier, two-shot three.
PUSH_ONE = EngineKernel("push one-shot", "one-shot", "push_one_shot")
SHORT_TWO = EngineKernel("pull two-shot", "two-shot", "short_two_shot")
# TensorRT-LLM allReduceFusionKernels.cu: one-shot pushes and polls the data itself (Lamport).
LAMPORT_ONE = EngineKernel("Lamport one-shot", "one-shot", "lamport_one_shot")
STAGED_TWO = EngineKernel("staged two-shot", "two-shot", "staged_two_shot")
# Before 1.1 (TRTLLM-8129) its stores were ordered more strongly.
ORDERED_ONE = EngineKernel("Lamport one-shot", "one-shot", "ordered_one_shot")
# vLLM device_communicators/symm_mem.py: a copy into symmetric memory, a kernel of PyTorch
# (CUDASymmetricMemoryOps.cu, few blocks), and a copy out of it: three launches.
MULTICAST = EngineKernel("multicast", "in-network", "multicast")
SYMMETRIC_TWO = EngineKernel("symmetric two-shot", "two-shot", "symmetric_two_shot")

Limits = tuple[tuple[EngineKernel | None, int], ...]
"""Kernels and the largest buffer of each, in order; None is the collective library."""

_BELOW = 16
"""Buffers are multiples of 16 bytes, so "less than" is "at most 16 bytes less"."""


def _pull(ranks: int, most: int) -> Limits:
    """vLLM csrc/custom_all_reduce.cuh: one-shot for two ranks and for small buffers."""
    if ranks == 2:
        return ((PULL_ONE, most),)
    one = (512 * KIB if ranks <= 4 else 256 * KIB) - _BELOW
    return ((PULL_ONE, min(one, most)), (PULL_TWO, most))


def _symmetric(ranks: int, pull: int, symmetric: int, multicast: bool) -> Limits:
    kernel = MULTICAST if multicast else SYMMETRIC_TWO
    return (*_pull(ranks, min(pull, 8 * MIB) - _BELOW), (kernel, symmetric - _BELOW))


Rules = dict[tuple[str, int], Limits]
"""By compute capability and number of ranks."""

_CAPABILITIES = ("8.0", "9.0", "10.0", "10.3")
_PULL_RANKS = (2, 4, 6, 8)


def _blackwell(limits: dict[int, Limits]) -> Rules:
    return {(level, n): kernels for level in ("10.0", "10.3") for n, kernels in limits.items()}


# vllm/distributed/device_communicators/all_reduce_utils.py (largest buffers of both kinds) and
# symm_mem.py (ranks that take multicast)
_VLLM: Rules = {
    **{("8.0", n): _pull(n, 8 * MIB - _BELOW) for n in _PULL_RANKS},
    ("9.0", 2): _symmetric(2, 64 * MIB, 64 * MIB, False),
    ("9.0", 4): _symmetric(4, 32 * MIB, 32 * MIB, True),
    ("9.0", 6): _symmetric(6, 512 * KIB, 64 * MIB, True),
    ("9.0", 8): _symmetric(8, 256 * KIB, 64 * MIB, True),
    ("10.0", 2): _symmetric(2, 2 * MIB, 8 * MIB, False),
    ("10.0", 4): _symmetric(4, 2 * MIB, 32 * MIB, False),
    ("10.0", 6): _symmetric(6, MIB, 128 * MIB, True),
    ("10.0", 8): _symmetric(8, MIB, 128 * MIB, True),
    ("10.3", 2): _symmetric(2, 4 * MIB, 4 * MIB, False),
    ("10.3", 4): _symmetric(4, 4 * MIB, 32 * MIB, False),
    ("10.3", 6): _symmetric(6, 8 * MIB, 32 * MIB, True),
    ("10.3", 8): _symmetric(8, 4 * MIB, 64 * MIB, True),
}
# python/sglang/srt/distributed/device_communicators/custom_all_reduce_v2.py
_SGLANG: Rules = {
    ("9.0", 2): ((PUSH_ONE, 16 * MIB),),
    ("9.0", 4): ((PUSH_ONE, 384 * KIB), (SHORT_TWO, 16 * MIB)),
    ("9.0", 6): ((PUSH_ONE, 192 * KIB), (SHORT_TWO, 16 * MIB)),
    ("9.0", 8): ((PUSH_ONE, 160 * KIB), (SHORT_TWO, 16 * MIB)),
    **_blackwell(
        {
            2: ((PUSH_ONE, 16 * MIB),),
            4: ((PUSH_ONE, 2 * MIB), (SHORT_TWO, 16 * MIB)),
            6: ((PUSH_ONE, MIB), (SHORT_TWO, 16 * MIB)),
            8: ((PUSH_ONE, 720 * KIB), (SHORT_TWO, 16 * MIB)),
        }
    ),
}


def _by_tokens(row: str) -> Limits:
    """A row of TensorRT-LLM's table: from 2^k tokens of 8 KiB up 4 one-shot, 5 two-shot, 0 NCCL."""
    kinds = {"4": LAMPORT_ONE, "5": STAGED_TWO, "0": None}
    limits: list[tuple[EngineKernel | None, int]] = []
    most = 16 * KIB
    for kind, same in groupby(row):
        most *= 2 ** (len(list(same)) - (0 if limits else 1))
        limits.append((kinds[kind], most - _BELOW))
    return tuple(limits)


# cpp/tensorrt_llm/common/customAllReduceUtils.h, AllReduceBestStrategyTable, hidden size 4096,
# not fused: of 1.2.0rc5 and of 1.3.0rc10
_TENSORRT_12: Rules = {
    ("9.0", 2): _by_tokens("45454444444"),
    ("9.0", 4): _by_tokens("4445555455"),
    ("9.0", 8): _by_tokens("4444445555"),
    **_blackwell(
        {
            2: _by_tokens("44444444444"),
            4: _by_tokens("4444444445"),
            8: _by_tokens("4444444455"),
        }
    ),
}
_TENSORRT_13: Rules = {
    ("9.0", 2): _by_tokens("444444444444"),
    ("9.0", 4): _by_tokens("44444444555"),
    ("9.0", 8): _by_tokens("4444444055"),
    **_blackwell(
        {
            2: _by_tokens("444444444444"),
            4: _by_tokens("444444444455"),
            8: _by_tokens("4444444445555"),
        }
    ),
}

ENGINES: dict[str, Rules] = {
    # VLLM_ALLREDUCE_USE_SYMM_MEM off, as the tables of 0.14.0 were measured
    "vllm-0.14": {
        (level, n): _pull(n, 8 * MIB - _BELOW) for level in _CAPABILITIES for n in _PULL_RANKS
    },
    "vllm-0.18": _VLLM,
    "sglang-0.5.9": {(level, n): _pull(n, 8 * MIB) for level in _CAPABILITIES for n in _PULL_RANKS},
    "sglang-0.5.14": _SGLANG,
    # one-shot up to 128 tokens of 4,096 elements, as before TRTLLM-8129
    "tensorrt-llm-1.0": {
        (level, n): ((ORDERED_ONE, MIB),) for level in _CAPABILITIES for n in (2, 4, 8)
    },
    "tensorrt-llm-1.2": _TENSORRT_12,
    "tensorrt-llm-1.3": _TENSORRT_13,
}
"""The engines by name and the first version that was compared; a later version takes the last."""


def has_rules(name: str, capability: str) -> bool:
    """Whether an engine has kernels for a compute capability."""
    return any(level == capability for level, _ in ENGINES[name])


_STACKS = {"vllm": "vllm", "sglang": "sglang", "trtllm": "tensorrt-llm"}


def engine_of(stack: str, version: str) -> str | None:
    """The last of ``ENGINES`` of a stack (vllm, sglang, trtllm) that is not above a version."""

    def numbers(text: str) -> list[int]:
        return [int(part) for part in re.findall(r"\d+", text)][:3]

    names = [name for name in ENGINES if name.rpartition("-")[0] == _STACKS.get(stack)]
    known = [name for name in names if numbers(name) <= numbers(version)]
    return max(known, key=numbers, default=None)
