"""Replay published server throughputs, and compare.

    python benchmarks/published_servers.py FILE.csv [MODEL]...

FILE has the columns system, n_accel, model, precision, workload, metric, value; rows whose workload
names lengths and layout ("ISL/OSL 1000/1000, max load, parallelism TP2") and whose metric is a rate
of output tokens are replayed as `trtllm-bench throughput` measures them (NVIDIA/TensorRT-LLM,
docs/source/performance/perf-overview.md): all requests at once, in the numbers stated there, under
the limits of batch and tokens that the tool works out (tensorrt_llm/bench/build/tuning.py). All
else is what `chipsim run --engine trtllm` takes. The other rows are named with the reason.
"""

from __future__ import annotations

import argparse
import csv
import math
import re
import sys
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np

from simulator.api import LayoutOptions, load_engine, load_model, load_system, plan_of
from simulator.config.names import list_names
from simulator.errors import ChipsimError, InputError
from simulator.serving.cluster import replay
from simulator.serving.options import ServingOptions
from simulator.timing.choices import Dtypes
from simulator.timing.layout_room import Search
from simulator.workload.request import Requests, Workload

COLUMNS = ("system", "n_accel", "model", "precision", "workload", "metric", "value")
MODELS = {
    "llama 3.1 8b": "llama3-8b",
    "llama 3.3 70b": "llama3-70b",
    "llama 3.1 405b": "llama3-405b",
    "qwen3 235b a22b": "qwen3-235b",
    "deepseek r1 0528": "deepseek-r1",
    "gpt oss 120b": "gpt-oss-120b",
    "gpt oss 20b": "gpt-oss-20b",
}
REQUESTS = {
    (128, 128): 30_000,
    (128, 4096): 1500,
    (1000, 2000): 1500,
    (2048, 2048): 1500,
    (5000, 500): 1500,
    (20_000, 2000): 1000,
    (8192, 1024): 1500,
    (1024, 8192): 1500,
    (32_768, 1024): 1000,
    (1024, 32_768): 1000,
}
"""Those of the page by (prompt, output); 3,000 of all other lengths."""

GRAPHS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 384, 512, 1024, 2048)
"""Batches that the runs had captured graphs of, beside the limit of the batch: ``batch_sizes`` of
the page's options but for those beyond any limit."""

WITHOUT_RULE = (2048, 8192)
"""(sequences, tokens) for weights of 4 bits, for which the tool's rule finds no room at all."""


class Row:
    """A published figure, and the server that it is of."""

    def __init__(self, cells: dict[str, str]) -> None:
        lengths = re.search(r"ISL/OSL (\d+)/(\d+)", cells["workload"])
        layout = re.search(r"parallelism (TP|DEP)(\d+)", cells["workload"])
        name = re.sub(r"[ _-]+", " ", cells["model"]).lower()
        self.label = f"{cells['system']} x {cells['n_accel']} {cells['model']} {cells['workload']}"
        if not lengths or not layout or "output throughput" not in cells["metric"]:
            raise ValueError("no lengths, layout and rate of output tokens")
        if name not in MODELS:
            raise ValueError(f"no model file for {cells['model']}")
        if cells["system"].lower() not in list_names("systems"):
            raise ValueError(f"no system {cells['system']}")
        self.prompt, self.output = (int(text) for text in lengths.groups())
        self.chips = int(cells["n_accel"]) if cells["n_accel"].isdecimal() else 0
        if not self.chips or not self.prompt or not self.output:
            raise ValueError("numbers of chips and tokens are whole and more than 0")
        self.model = load_model(MODELS[name])
        # DEP: ranks of attention have requests of their own, and share the experts
        self.ranks = self.chips if layout[1] == "DEP" else 1
        each = self.chips if "per GPU" in cells["metric"] else 1
        self.measured = _rate(cells["value"]) * each
        self.system = cells["system"].lower()
        mxfp4 = name.startswith("gpt oss")
        self.dtypes = Dtypes("fp4", "bf16", "bf16") if mxfp4 else Dtypes("fp8", "fp8", "fp8")

    @property
    def layout(self) -> str:
        if self.ranks > 1:
            return f"dp{self.ranks}-ep{self.ranks}"
        shared = self.chips > 1 and self.model.experts is not None
        return f"tp{self.chips}-ep{self.chips}" if shared else f"tp{self.chips}"

    def limits(self, capacity: int, share: float) -> tuple[int, int]:
        """(sequences, tokens) of an iteration by the tool's rule, of all ranks of attention."""
        size = self.dtypes.bits()[2] // 8 * self.model.kv_elements_per_token
        free = capacity * self.chips - self.model.parameters
        # chunks are off: the budget holds a whole prompt beside the decodes
        if self.dtypes.weight == "fp4":
            most, tokens = WITHOUT_RULE
        else:
            fit = share * free / size / (self.prompt + self.output) / self.ranks
            most, tokens = _limits(fit, self.prompt / self.output)
        return most * self.ranks, max(tokens, self.prompt + most) * self.ranks

    def replay(self) -> tuple[float, float]:
        """(output tokens a second, mean batch) of the simulated server."""
        name = self.system if self.chips == 1 else f"{self.system}:{self.chips}"
        engine, bare = load_engine("trtllm"), load_system(name)
        share = engine.kv_memory or 0.9
        most, tokens = self.limits(bare.chip.hbm.capacity_bytes, share)
        own = most // self.ranks
        graphs = (*(size for size in GRAPHS if size < own), own)
        system = bare.under(replace(engine, graph_batches=graphs))
        layout = LayoutOptions(layout=self.layout)
        plan = plan_of(system, self.model, layout, self.dtypes, Search("decode", 64, self.prompt))
        count = REQUESTS.get((self.prompt, self.output), 3000)
        zeros = np.zeros(count, dtype=np.int64)
        asked = Workload("published", Requests(zeros, zeros + self.prompt, zeros + self.output))
        options = ServingOptions(most, tokens, scheduler=engine.scheduler)
        found = replay(plan, asked, options)
        return found.output_tokens_per_s, found.mean_batch


def _rate(text: str) -> float:
    """A published rate, against which a simulated one can be held."""
    try:
        rate = float(text)
    except ValueError:
        rate = math.nan
    if not 0 < rate < math.inf:
        raise ValueError(f"the value is '{text[:40]}', expected a rate of more than 0")
    return rate


def _limits(fit: float, prompts_per_output: float) -> tuple[int, int]:
    """The rule of trtllm-bench for as many requests as ``fit`` the cache."""
    raw = min(fit, 4096)
    step = 32 if raw < 256 else 128 if raw < 1024 else 256
    tokens = min(raw * (1 + prompts_per_output), 32_768)
    grain = 256 if tokens < 4096 else 512 if tokens < 8192 else 1024
    return max(64, step * math.ceil(raw / step)), max(2048, grain * math.ceil(tokens / grain))


def read(path: str) -> list[dict[str, str]]:
    """The rows of a file of published figures; InputError where it cannot be read as one."""
    try:
        with Path(path).open(newline="", encoding="utf-8") as stream:
            table = csv.DictReader(stream)
            columns = table.fieldnames or ()
            rows = list(table)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"cannot read {path}: {reason}") from None
    missing = [name for name in COLUMNS if name not in columns]
    if missing:
        raise InputError(f"{path} has no column {', '.join(missing)}")
    # short rows have cells of None
    return [{name: row[name] or "" for name in COLUMNS} for row in rows]


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", metavar="FILE.csv", help="the published figures")
    parser.add_argument("model", metavar="MODEL", nargs="*", help="replay only these models")
    given = parser.parse_args(words)
    try:
        unknown = [name for name in given.model if name not in MODELS.values()]
        if unknown:
            known = ", ".join(sorted(MODELS.values()))
            raise InputError(f"unknown model '{unknown[0][:60]}', expected one of {known}")
        table = read(given.file)
    except InputError as error:
        print(f"error: {error.message}", file=sys.stderr)
        return 3
    compare(table, given.model)
    return 0


def compare(table: list[dict[str, str]], wanted: list[str]) -> None:
    """Replay the rows of the wanted models, all if none is named, and print a line for each."""
    ratios = defaultdict(list)
    print("model,layout,prompt,output,published_tokens_per_s,simulated_tokens_per_s,ratio,batch")
    for cells in table:
        try:
            row = Row(cells)
            if wanted and row.model.name not in wanted:
                continue
            rate, batch = row.replay()
        except (ValueError, ChipsimError) as error:
            print(f"not replayed: {cells['model']} {cells['workload']}: {error}", file=sys.stderr)
            continue
        ratio = rate / row.measured
        kind = row.model.name if row.chips == 1 else f"{row.model.name} {row.layout}"
        ratios[kind].append(ratio)
        print(
            f"{row.model.name},{row.layout},{row.prompt},{row.output},{row.measured:.0f},"
            f"{rate:.0f},{ratio:.3f},{batch:.0f}",
            flush=True,
        )
    groups = [*ratios.items(), ("all", [r for group in ratios.values() for r in group])]
    for kind, group in groups if ratios else ():
        found = np.array(group)
        print(
            f"{kind}: {len(found)} rows, ratio {found.mean():.2f} on average, median "
            f"{np.median(found):.2f}, off by {100 * np.abs(found - 1).mean():.0f} % on average"
        )


if __name__ == "__main__":
    sys.exit(main())
