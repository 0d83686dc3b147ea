"""Compare collective times with the tables that NVIDIA ships in aiconfigurator-core.

NCCL's tables are compared with the library's algorithms alone, those of serving engines, all-reduce
in captured graphs, with the kernels of that engine (``--algorithm vllm-0.18`` and so on).

    pip install 'aiconfigurator-core==0.12.0' pyarrow
    python benchmarks/nccl_compare.py [FOLDER]

FOLDER is the package's ``systems/data``; it is found by itself where the package is installed.
Sizes in the tables are in elements, here in bytes; 1 KiB to 512 MiB are compared.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

from simulator.config import load_system
from simulator.fabric.collectives import price_collective
from simulator.hardware.engine_kernels import engine_of

TABLES = {
    "a100": "a100_sxm/comm/nccl/2.27.3",
    "h100": "h100_sxm/comm/nccl/2.29.2",
    "h200": "h200_sxm/comm/nccl/2.29.2",
    "b200": "b200_sxm/comm/nccl/2.29.2",
    "gb200": "gb200/comm/nccl/2.29.2",
    "gb300": "gb300/comm/nccl/2.29.2",
}
COPIES = {"sglang/0.5.6.post2"}
"""Equal to another table: that of TensorRT-LLM 1.2.0rc5."""
OTHER_MACHINES = {
    "gb200-nvl4": ("vllm/0.19.0", "vllm/0.24.0", "sglang/0.5.9"),
}
"""Tables in the folder of GB200 whose two GPUs have a third of the links of the others."""
OPS = {
    "all_reduce": "all-reduce",
    "all_gather": "all-gather",
    "reduce_scatter": "reduce-scatter",
    "alltoall": "all-to-all",
}
ELEMENT_BYTES = {"half": 2, "int8": 1}


def errors_of(name: str, folder: Path) -> dict[str, list[float]]:
    """Absolute relative errors of one system by collective."""
    from pyarrow import parquet

    found: dict[str, list[float]] = defaultdict(list)
    fabrics = {ranks: load_system(f"{name}:{ranks}").fabric for ranks in (2, 4, 8)}
    for row in parquet.read_table(folder / TABLES[name] / "nccl_perf.parquet").to_pylist():
        size = row["message_size"] * ELEMENT_BYTES[row["nccl_dtype"]]
        if not 2**10 <= size <= 2**29:
            continue
        op = OPS[row["op_name"]]
        ours = price_collective(fabrics[row["num_gpus"]], op, size).time_s * 1e3
        found[op].append(abs(ours / row["latency"] - 1))
    return found


def engine_errors(name: str, folder: Path) -> dict[str, list[float]]:
    """Absolute relative errors by engine and version; 2 to 4 ranks on NVL72."""
    from pyarrow import parquet

    most = 4 if name.startswith("gb") else 8
    ranks_of = (2, 4) if most == 4 else (2, 4, 8)
    fabrics = {ranks: load_system(f"{name}:{ranks}").fabric for ranks in ranks_of}
    found: dict[str, list[float]] = defaultdict(list)
    other = OTHER_MACHINES.get(name)
    comm = folder / Path(TABLES[name if other is None else "gb200"]).parts[0] / "comm"
    taken = {table for tables in OTHER_MACHINES.values() for table in tables}
    for path in sorted(comm.glob("*/*/custom_allreduce_perf.parquet")):
        stack, version = path.parts[-3:-1]
        table = f"{stack}/{version}"
        if table in COPIES or (
            table not in other if other else comm.parent.name == "gb200" and table in taken
        ):
            continue
        engine = engine_of(stack, version)
        for row in parquet.read_table(path).to_pylist():
            size = 2 * row["message_size"]
            eager = row["kernel_source"].endswith("_eager")
            if eager or not 2**10 <= size <= 2**29 or row["num_gpus"] > most:
                continue
            fabric = fabrics[row["num_gpus"]]
            ours = price_collective(fabric, "all-reduce", size, algorithm=engine).time_s * 1e3
            found[f"{stack} {version}"].append(abs(ours / row["latency"] - 1))
    return found


def main(folder: Path) -> None:
    print("system,collective,rows,mean_error,median_error,p90_error")
    for name in (*TABLES, *OTHER_MACHINES):
        library = errors_of(name, folder) if name in TABLES else {}
        everything = library | engine_errors(name, folder)
        for op, errors in everything.items():
            ordered = sorted(errors)
            count = len(ordered)
            figures = (sum(ordered) / count, ordered[count // 2], ordered[int(0.9 * count)])
            print(f"{name},{op},{count}," + ",".join(f"{figure:.4f}" for figure in figures))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        import aiconfigurator_core

        main(Path(aiconfigurator_core.__file__).parent / "systems" / "data")
