"""Replay measured servers request by request, and compare with the measurements.

    python benchmarks/replay_servers.py [CHIP] [ROWS]

`validate` prices a server by a formula; this replays it as `chipsim run` would: users who ask again
at once, the engine's own host and scheduler, six requests a user. Random rows of each engine.
"""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np

from simulator.api import load_engine, load_model, plan_of
from simulator.serving.cluster import replay
from simulator.serving.options import ServingOptions
from simulator.timing.choices import Dtypes
from simulator.timing.layout_options import LayoutOptions
from simulator.timing.layout_room import Search
from simulator.validation.machine import Machine
from simulator.validation.run import validate
from simulator.workload.request import ClosedLoop, Workload

ASKS = 6
"""Requests of each user."""


def tpot_s(machine: Machine, row: dict) -> float:
    """Mean time per output token of a replay."""
    engine = load_engine(row["engine"])
    system = replace(machine.system(row["tp"]), engine=engine)
    users, prompt, output = row["batch"], row["prompt_tokens"], row["output_tokens"]
    plan = plan_of(
        system,
        load_model(row["model"]),
        LayoutOptions(tp=row["tp"]),
        Dtypes("bf16", "bf16", row["kv_dtype"]),
        Search("decode", users, prompt),
    )
    count = ASKS * users
    lengths = np.full(count, prompt), np.full(count, output)
    asked = Workload("users", ClosedLoop(users, np.zeros(count, np.int64), *lengths))
    return replay(
        plan, asked, ServingOptions(max_batch=users, scheduler=engine.scheduler)
    ).tpot_s.mean


def main(chip: str, rows: int) -> None:
    machine = Machine(chip)
    # bf16 only: a plan has one data type for all that is not a weight or a cache
    (found,) = validate([chip], operators=["server"], dtype="bf16", baselines=False).comparisons
    inputs, measured = found.table.inputs, found.table.measured_s
    for name in sorted(set(inputs["engine"].tolist())):
        mine = np.flatnonzero(inputs["engine"] == name)
        picked = np.random.default_rng(1).permutation(mine)[:rows]
        replayed = np.array(
            [
                tpot_s(machine, {key: column[i].item() for key, column in inputs.items()})
                for i in picked
            ]
        )
        errors = 100 * (replayed / measured[picked] - 1)
        formula = 100 * np.abs(found.predicted_s[picked] / measured[picked] - 1)
        print(
            f"{name}: {len(picked)} rows, replayed {np.abs(errors).mean():.1f} % off "
            f"(bias {errors.mean():+.1f} %), by the formula {formula.mean():.1f} %"
        )


if __name__ == "__main__":
    words = sys.argv[1:]
    main(words[0] if words else "h100", int(words[1]) if len(words) > 1 else 35)
