"""Transfer: one chip's fitted parameters with another's data sheet, against the other's own fit.

    python benchmarks/transfer.py [--operator matmul] [--dtype bf16]

H100 with only the peak, bandwidth, L2 and power of H200 prices H200's table, B200 with those of
GB200 prices GB200's. The limit is 1.5 times the error of the chip's own file.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

from simulator.hardware import Chip, TensorCore
from simulator.validation.compare import compare
from simulator.validation.machine import Machine
from simulator.validation.run import tables_of

PAIRS = (("h100", "h200"), ("b200", "gb200"))
OPERATORS = ("matmul", "attention-decode", "attention-prefill", "moe")


def with_data_sheet(fitted: Chip, other: Chip) -> Chip:
    """``fitted`` with the peak, bandwidth, capacities, L2 and power of ``other``."""
    assert isinstance(fitted.matrix, TensorCore)
    assert isinstance(other.matrix, TensorCore)
    matrix = replace(fitted.matrix, count=other.matrix.count, macs_per_sm=other.matrix.macs_per_sm)
    hbm = replace(
        fitted.hbm,
        capacity_bytes=other.hbm.capacity_bytes,
        bandwidth_bytes_per_s=other.hbm.bandwidth_bytes_per_s,
    )
    sram = replace(fitted.sram, capacity_bytes=other.sram.capacity_bytes)
    power = replace(fitted.power, tdp_w=other.power.tdp_w)
    return replace(
        fitted,
        name=other.name,
        clock_hz=other.clock_hz,
        matrix=matrix,
        vector=other.vector,
        hbm=hbm,
        sram=sram,
        power=power,
        link=other.link,
    )


class Fixed(Machine):
    """A machine of a chip that no file has."""

    def __init__(self, chip: Chip) -> None:
        super().__init__(chip.name)
        self.__dict__["chip"] = chip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--operator", action="append", choices=OPERATORS)
    parser.add_argument("--dtype")
    words = parser.parse_args()
    print("from,to,operator,dtype,rows,own_percent,transferred_percent,ratio")
    for source, target in PAIRS:
        own = Machine(target)
        moved = Fixed(with_data_sheet(Machine(source).chip, own.chip))
        for operator in words.operator or OPERATORS:
            for table in tables_of(own, operator)[0]:
                if words.dtype not in (None, table.dtype):
                    continue
                errors = []
                for machine in (own, moved):
                    pair = compare(machine, table, baselines=False)
                    assert pair is not None
                    errors.append(pair.rows()[0].errors.mape_percent)
                print(
                    f"{source},{target},{operator},{table.dtype},{len(table)},"
                    f"{errors[0]:.2f},{errors[1]:.2f},{errors[1] / errors[0]:.2f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
