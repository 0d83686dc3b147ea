"""Measured tables of the package ``aiconfigurator-core`` (the extra ``chipsim[validate]``).

A folder of its data is one operator, software stack and version on one GPU; the newest whole
version of each stack is taken, and prices are compared with the first of ``STACKS`` that has the
operator, but for ``PREFERRED``. Nothing of it is copied into chipsim.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from simulator.errors import InputError
from simulator.timing.evidence import BLOCKS, LATENT
from simulator.validation.silicon_columns import ENGINE_NOTE, EXPERT_FORMATS, READERS
from simulator.validation.table import LeftOut, Table

SYSTEMS = {
    "a100": "a100_sxm",
    "h100": "h100_sxm",
    "h200": "h200_sxm",
    "b200": "b200_sxm",
    "b300": "b300_sxm",
    "gb200": "gb200",
    "gb300": "gb300",
    "l40s": "l40s",
}
"""The package's folder for each chip of ours."""

STACKS = ("vllm", "sglang", "trtllm")
"""In the order in which they are preferred."""

PREFERRED = {
    ("a100", "matmul"): "sglang",
    ("b200", "engine"): "sglang",
    ("gb200", "engine"): "sglang",
    ("gb300", "engine"): "sglang",
    ("h100", "moe fp8"): "trtllm",
    ("h200", "moe fp8"): "trtllm",
}
"""The stack that prices are compared with, where it is not the first of ``STACKS`` that has the
operator: vLLM's table of A100 has a quarter of the shapes, and the fabrics of Blackwell systems
describe the all-reduce of SGLang. vLLM's fp8 experts on Hopper ran the CUTLASS kernels of
FlashInfer without its autotuner: they read weights at 0.5 to 0.7 TB/s, where the same kernels
reach 2.9 under TensorRT-LLM, which tunes them."""

LATENT_STACK = "trtllm"
"""Of latent attention: SGLang's table for Hopper has prompts in the absorbed form, and 8-bit caches
that are converted in the kernel."""

FILES = {
    "matmul": ("gemm", "gemm_perf"),
    "attention-decode": ("attention", "generation_attention_perf"),
    "attention-prefill": ("attention", "context_attention_perf"),
    "attention-decode-latent": ("mla", "generation_mla_perf"),
    "attention-prefill-latent": ("mla", "context_mla_perf"),
    "moe": ("moe", "moe_perf"),
    "collective": ("comm", "nccl_perf"),
    "collective-engine": ("comm", "custom_allreduce_perf"),
}
"""Folder and file of each operator."""

BESIDE = {
    "attention-decode": "attention-decode-latent",
    "attention-prefill": "attention-prefill-latent",
    "collective": "collective-engine",
}
"""Further tables of an operator, which have a file of their own."""

LEFT_OUT_SOURCES = {
    ("a100", "attention-decode", "trtllm"): "328 of its rows are above 1.02 times the HBM peak",
}

NOT_EIGHT_BIT = {("l40s", "trtllm")}
"""Chips and stacks whose latent attention had no cache of 8 bits though the table says so: on L40S
98 of 100 rows of more than 2 ms take what the row with a cache of 16 bits takes, within 2 %."""

CONSTANT = ("framework", "version", "device")
"""Columns that say what the folder's name says already."""


def package_folder() -> Path:
    """Where the tables lie.

    Raises:
        InputError: the extra is not installed.
    """
    try:
        import aiconfigurator_core
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise InputError(
            f"the measured tables are not installed ({error})",
            hint="pip install '.[validate]' in a checkout of chipsim, or give a file with --table",
        ) from None
    return Path(aiconfigurator_core.__file__).parent / "systems"


def load_tables(chip: str, operator: str, *, every_stack: bool = False) -> list[Table]:
    """Tables of a chip and operator by data type; times are as they stand, faults included.

    With ``every_stack`` those of all stacks, else of the preferred one. An empty list where the
    package has none.

    Raises:
        InputError: the package is not installed.
    """
    if chip not in SYSTEMS or operator not in (*FILES, "server"):
        return []
    root = package_folder()
    if operator == "server":
        from simulator.validation.silicon_servers import load_servers

        return load_servers(root / "silicon_sample.csv", chip, SYSTEMS[chip])
    found: list[Table] = []
    for stack, path in _files(root / "data" / SYSTEMS[chip], operator):
        if (chip, operator, stack) in LEFT_OUT_SOURCES:
            continue
        name = f"{stack} {path.parent.name}"
        found += _read(operator, path, chip, name, stack)
        if found and not every_stack:
            break
    beside = BESIDE.get(operator)
    if beside is not None:
        found += load_tables(chip, beside, every_stack=every_stack)
    return found


def _read(operator: str, path: Path, chip: str, name: str, stack: str) -> list[Table]:
    """The tables of a file; an empty one that says so where a column is missing."""
    columns = read_parquet(path)
    try:
        found = READERS[operator](columns, chip, name, stack)
    except KeyError as error:
        count = len(next(iter(columns.values()), ()))
        note = LeftOut(f"the table has no column {error}", count)
        kind = operator.removesuffix("-engine").removesuffix("-latent")
        return [Table(chip, kind, "bf16", name, stack, {}, np.empty(0), (note,))]
    if operator.endswith("-latent") and (chip, stack) in NOT_EIGHT_BIT:
        reason = "its rows take what those with a cache of 16 bits do"
        return [t if t.dtype != "fp8" else t.without(np.ones(len(t), bool), reason) for t in found]
    return found


def kind_of(table: Table) -> str:
    """Tells the serving engine's all-reduce from the collectives of the library, latent attention
    from attention, and the formats of experts from each other."""
    if table.source.endswith(ENGINE_NOTE):
        return "engine"
    if table.source.endswith(LATENT):
        return f"{table.operator}{LATENT}"
    if table.operator == "matmul" and table.source.endswith(BLOCKS):
        return f"matmul{BLOCKS}"
    if table.operator == "moe":
        note = next(
            (n for _, _, n in EXPERT_FORMATS.values() if n and table.source.endswith(n)), ""
        )
        return f"moe {table.dtype}{note}"
    return table.operator


def preferred(table: Table, every: Sequence[Table]) -> str:
    """The stack that prices are compared with, of those that have this table's rows."""
    kind = kind_of(table)
    stacks = [t.stack for t in every if t.dtype == table.dtype and kind_of(t) == kind]
    named = PREFERRED.get((table.chip, kind))
    if kind.endswith(LATENT):
        named = LATENT_STACK
    return named if named in stacks else stacks[0]


def read_parquet(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    """The columns of a file as arrays."""
    from pyarrow import parquet

    table = parquet.read_table(path)
    return {
        name: column.to_numpy()
        for name, column in zip(table.column_names, table.columns, strict=True)
        if name not in CONSTANT
    }


def _files(root: Path, operator: str) -> Iterator[tuple[str, Path]]:
    """(stack, newest file) of an operator, the preferred stack first."""
    folder, name = FILES[operator]
    stacks = ("nccl",) if operator == "collective" else STACKS
    for stack in stacks:
        below = root / folder / stack
        files = sorted(below.glob(f"*/{name}.parquet"), key=lambda p: _version(p.parent.name))
        if files:
            yield stack, _newest_whole(files)


def _newest_whole(files: Sequence[Path]) -> Path:
    """The newest of a stack's files, in the order of their versions, that is no supplement: one of
    at least half as many rows as the longest."""
    from pyarrow import parquet

    if len(files) == 1:
        return files[0]
    counts = [parquet.read_metadata(path).num_rows for path in files]
    return [p for p, n in zip(files, counts, strict=True) if 2 * n >= max(counts)][-1]


def _version(text: str) -> tuple[tuple[int, ...], bool, str]:
    """Sorts 1.0.0rc3 before 1.0.0 and 0.9 before 0.14."""
    numbers = re.match(r"[0-9.]*", text)
    head = numbers[0].strip(".") if numbers else ""
    parts = tuple(int(part) for part in head.split(".") if part)
    rest = text[len(head) :]
    return parts, not rest.startswith("rc"), rest
