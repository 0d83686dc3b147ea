"""Write the errors of ``chipsim validate`` into chip and engine files, for results to cite.

    chipsim validate --format json > validation.json
    python benchmarks/record_validation.py validation.json [CHIP...]

Each chip file in ``configs/chips`` gets a ``validation:`` block, one line an operator, data type
and table, and each engine file in ``configs/engines`` one line for the servers of a chip and data
type. A block that is there is replaced, everything else is left as it is; lines of engines for
chips that the JSON does not have stay, and those of their own kernels.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

CONFIGS = Path(__file__).resolve().parent.parent / "configs"
HEAD = "# written by benchmarks/record_validation.py from `chipsim validate --format json`"
_BLOCK = re.compile(rf"\n(?:{re.escape(HEAD)}\n)?validation:\n(?:  .*\n)*", re.MULTILINE)


def line(row: dict[str, object], chip: str = "") -> str:
    """The YAML of one row."""
    first = f"chip: {chip}, " if chip else ""
    return (
        f"  - {{{first}operator: {row['operator']}, dtype: {row['dtype']}, "
        f'table: "{row["table"]}", count: {row["count"]}, '
        f"mape_percent: {row['mape_percent']:.1f}}}"
    )


def write(path: Path, lines: list[str]) -> None:
    """Replace the block of a file."""
    bare = _BLOCK.sub("\n", path.read_text()).rstrip("\n") + "\n"
    block = "\n".join(["", HEAD, "validation:", *lines, ""]) if lines else ""
    path.write_text(bare + block)
    print(f"{path.name}: {len(lines)} rows")


def main(words: list[str]) -> None:
    document = json.loads(Path(words[0]).read_text())
    chips: dict[str, list[str]] = {}
    engines: dict[str, list[str]] = {}
    for row in document["rows"]:
        if row["operator"] == "server":
            if (CONFIGS / "engines" / f"{row['regime']}.yaml").exists():
                engines.setdefault(row["regime"], []).append(line(row, row["chip"]))
        elif row["regime"] == "all":
            chips.setdefault(row["chip"], []).append(line(row))
    for chip in words[1:] or sorted(chips):
        write(CONFIGS / "chips" / f"{chip}.yaml", chips.get(chip, []))
    measured = {row["chip"] for row in document["rows"]}
    for engine, lines in sorted(engines.items()):
        path = CONFIGS / "engines" / f"{engine}.yaml"
        others = [
            old
            for old in path.read_text().splitlines()
            if (found := re.match(r"  - \{chip: ([^,]+), operator: ([^,]+),", old))
            and (found[1] not in measured or found[2] != "server")
        ]
        write(path, [*others, *lines])


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(sys.argv[1:])
