"""The ``chipsim`` command: a group that imports a subcommand only when it is used.

Exit statuses: 0 done, 1 a failed ``--assert``, 2 command-line grammar, 3 unknown names, bad values
and files, 4 what cannot fit, 130 interrupted, 141 the reader of our output has gone.
"""

from __future__ import annotations

import sys

try:
    from simulator.cli.start import main
except KeyboardInterrupt:
    # the handler of ``main`` is not there yet
    sys.stderr.write("error: interrupted\n")
    raise SystemExit(130) from None

__all__ = ["main"]
