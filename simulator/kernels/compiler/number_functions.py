"""``min`` and ``max`` of several numbers and ``int`` of one, written where they are called.

numba compiles a function for each combination of types, with machine code of its own, and calls it
as something that may raise, so that whoever takes the lesser of two floats might raise as well.
"""

# numba's own types are incomplete
# mypy: disable-error-code="no-untyped-call,attr-defined,misc,import-untyped"

from __future__ import annotations

import operator
from typing import Any

from numba.core import types
from numba.core.imputils import lower_builtin
from numba.core.typing import signature
from numba.cpython.builtins import do_minmax

_types: Any = types
_signature: Any = signature
_lower_builtin: Any = lower_builtin
_do_minmax: Any = do_minmax

_NUMBERS = (types.int64, types.float64)
_COMPARISON = {min: operator.lt, max: operator.gt}


def number_signature(what: Any, plain: tuple[Any, ...]) -> Any:
    """The signature of ``what`` for these types, or None where numba has to find it."""
    if not all(kind in _NUMBERS for kind in plain):
        return None
    if what in _COMPARISON and len(plain) > 1:
        result = types.float64 if types.float64 in plain else types.int64
        return _signature(result, *plain)
    if what is int and len(plain) == 1:
        return _signature(types.int64, *plain)
    return None


def lower_number_function(context: Any, build: Any, found: Any, what: Any, values: Any) -> Any:
    """The instructions for a call with ``found`` by ``number_signature``."""
    if what is int:
        return context.cast(build, values[0], found.args[0], found.return_type)
    if found.return_type != types.int64:
        # in Python's order, so that a NaN wins or loses as it does there
        return _do_minmax(context, build, found.args, values, _COMPARISON[what])
    least = values[0]
    for value in values[1:]:
        less = build.icmp_signed("<" if what is min else ">", value, least)
        least = build.select(less, value, least)
    return least


def _register(what: Any, *kinds: Any) -> None:
    """For functions that numba compiles its own way and that call one of these."""

    def lower(context: Any, build: Any, found: Any, values: Any) -> Any:
        return lower_number_function(context, build, found, what, values)

    _lower_builtin(what, *kinds)(lower)


_register(min, _types.VarArg(_types.Number))
_register(max, _types.VarArg(_types.Number))
_register(int, _types.Number)
