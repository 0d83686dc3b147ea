"""Write the errors of ``chipsim validate`` into the chip files, for ``run`` and ``step`` to cite.

    chipsim validate --format json > validation.json
    python benchmarks/record_validation.py validation.json [CHIP...]

Each chip file in ``configs/chips`` gets a ``validation:`` block, one line an operator, data type
and table; a block that is there is replaced, everything else is left as it is.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

CHIPS = Path(__file__).resolve().parent.parent / "configs" / "chips"
HEAD = "# written by benchmarks/record_validation.py from `chipsim validate --format json`"
_BLOCK = re.compile(rf"\n(?:{re.escape(HEAD)}\n)?validation:\n(?:  .*\n)*", re.MULTILINE)


def block(rows: list[dict[str, object]]) -> str:
    """The YAML of one chip's rows."""
    lines = [
        f"  - {{operator: {row['operator']}, dtype: {row['dtype']}, "
        f'table: "{row["table"]}", count: {row["count"]}, '
        f"mape_percent: {row['mape_percent']:.1f}}}"
        for row in rows
    ]
    return "\n".join(["", HEAD, "validation:", *lines, ""])


def main(words: list[str]) -> None:
    document = json.loads(Path(words[0]).read_text())
    found: dict[str, list[dict[str, object]]] = {}
    for row in document["rows"]:
        if row["regime"] == "all":
            found.setdefault(row["chip"], []).append(row)
    for chip in words[1:] or sorted(found):
        path = CHIPS / f"{chip}.yaml"
        bare = _BLOCK.sub("\n", path.read_text()).rstrip("\n") + "\n"
        path.write_text(bare + (block(found[chip]) if found.get(chip) else ""))
        print(f"{path.name}: {len(found.get(chip, []))} rows")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(sys.argv[1:])
