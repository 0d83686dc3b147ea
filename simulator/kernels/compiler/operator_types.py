"""The types of operators on numbers, remembered.

numba finds the type of ``a + b`` by trying every rule that it knows for a sum, those for arrays
included, each time that there is one. For numbers of the same types it is the same each time.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from numba.core import types

from simulator.kernels.compiler.number_functions import number_signature

_Function: Any = types.Function
_unliteral: Any = types.unliteral

_OPERATORS = {
    getattr(operator, name)
    for name in [
        "add",
        "iadd",
        "sub",
        "isub",
        "mul",
        "imul",
        "truediv",
        "itruediv",
        "floordiv",
        "ifloordiv",
        "mod",
        "imod",
        "neg",
        "pos",
        "invert",
        "and_",
        "iand",
        "or_",
        "ior",
        "xor",
        "ixor",
        "lshift",
        "ilshift",
        "rshift",
        "irshift",
        "eq",
        "ne",
        "lt",
        "le",
        "gt",
        "ge",
        "not_",
        "truth",
    ]
} | {min, max, int, bool, abs, len, range}
_ITEMS = {operator.getitem, operator.setitem}

_known: dict[Any, Any] = {}
_find: Any = _Function.get_call_type
_depth = 0


def _is_number(kind: Any) -> bool:
    return isinstance(kind, (types.Number, types.Boolean))


def _is_item(args: Any) -> bool:
    """An array of numbers, an integer or several as its index, and maybe a number to put there."""
    array, index, *value = args
    parts: Any = index if isinstance(index, types.BaseTuple) else (index,)
    return (
        isinstance(array, types.Array)
        and all(isinstance(part, types.Integer) for part in parts)
        and all(_is_number(kind) for kind in value)
    )


def _remembered(function: Any, context: Any, args: Any, kws: Any) -> Any:
    if not kws and function.typing_key in _ITEMS and _is_item(args):
        key = (id(function), args)
        if key not in _known:
            _known[key] = (_find(function, context, args, kws), function)
        return _known[key][0]
    if kws or function.typing_key not in _OPERATORS:
        return _find(function, context, args, kws)
    plain = tuple([_unliteral(kind) for kind in args])
    if function.typing_key is len:
        simple = len(plain) == 1 and isinstance(plain[0], types.Array)
    else:
        simple = all(_is_number(kind) for kind in plain)
    if not simple:
        return _find(function, context, args, kws)
    key = (id(function), plain)
    if key not in _known:
        found = number_signature(function.typing_key, plain)
        if found is None:
            found = _find(function, context, plain, kws)
        else:
            function._impl_keys[plain] = function.typing_key
        _known[key] = (found, function)
    return _known[key][0]


@contextmanager
def remembered() -> Iterator[None]:
    """Inside, numba asks here first."""
    global _depth
    _depth += 1
    _Function.get_call_type = _remembered
    try:
        yield
    finally:
        _depth -= 1
        if _depth == 0:
            _Function.get_call_type = _find
