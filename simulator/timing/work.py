"""What an operator asks of each unit: the fields of a ``work`` vector."""

from __future__ import annotations

# Work of an operator, int64[WORK_FIELDS]: cycles of each unit, bytes, flops.
WORK_MATRIX = 0
WORK_VECTOR = 1
WORK_HBM = 2
WORK_SRAM = 3
WORK_READ = 4
WORK_WRITE = 5
WORK_SRAM_BYTES = 6
WORK_FLOPS = 7
WORK_ROUNDS = 8
"""Blocks of keys and of queries that are fetched one after another."""
WORK_CYCLES = 9
"""From the start of the operator to its end."""
WORK_FIELDS = 10
