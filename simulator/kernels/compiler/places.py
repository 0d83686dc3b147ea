"""Where values are while a function is lowered: in registers, or still where a caller put them.

numba keeps a variable that several blocks use in memory. Kernels' tuples hold dozens of arrays, so
that each mention of one would load, and each call store, hundreds of words. Here a variable that is
assigned once is one LLVM value wherever its assignment is known to have happened; and a tuple or an
array that a caller owns stays in the caller's memory, out of which its members are taken one by
one and whose address is passed on.
"""

# numba's own types are incomplete
# mypy: disable-error-code="no-untyped-call,attr-defined,index,misc,import-untyped"

from __future__ import annotations

from typing import Any, NamedTuple

import llvmlite.ir as llvm
from numba.core import cgutils, ir, types

from simulator.kernels.compiler.ranges import RangeLower

_cgutils: Any = cgutils
_AGGREGATES = (llvm.LiteralStructType, llvm.ArrayType)


class Place(NamedTuple):
    """Memory that holds a value, and that nobody writes to until the function returns."""

    pointer: Any
    fields: dict[str, Any]
    """What has been loaded of an array."""


class PlacedLower(RangeLower):
    """numba's lowering, which leaves values where they are."""

    # variables

    def _find_singly_assigned_variable(self) -> None:
        """Those that need no memory: assigned once, before every use on every way to it."""
        first: dict[str, int] = {}
        used: dict[str, set[int]] = {}
        memory = set()
        for label, block in sorted(self.func_ir.blocks.items()):
            for statement in block.body:
                assigned = isinstance(statement, ir.Assign)
                read = statement.value if assigned else statement
                if isinstance(read, ir.Var):
                    names = [read.name]
                else:
                    names = [v.name for v in read.list_vars()] if isinstance(read, ir.Inst) else []
                for name in names:
                    if name not in first:
                        memory.add(name)
                    used.setdefault(name, set()).add(label)
                if assigned:
                    if statement.target.name in first:
                        memory.add(statement.target.name)
                    first[statement.target.name] = label
        before = self.func_ir.variable_lifetime.cfg.dominators()
        self._singly_assigned_vars = {
            name
            for name, label in first.items()
            if name not in memory and self._reaches(name, label, used.get(name, set()), before)
        }
        self._blk_local_varmap: dict[str, Any] = {}

    def _reaches(self, name: str, label: int, used: set[int], before: Any) -> bool:
        if used <= {label}:
            return True
        return not self._counted(name) and all(label in before[place] for place in used)

    def loadvar(self, name: str) -> Any:
        """A variable's value."""
        held = self._blk_local_varmap.get(name)
        if type(held) is Place:
            return self.builder.load(held.pointer)
        return super().loadvar(name)

    def delvar(self, name: str) -> None:
        """The end of a variable's life; the caller's memory has a life of its own.

        It is also said where a variable may not have been assigned, which numbers need not hear.
        """
        if type(self._blk_local_varmap.get(name)) is not Place and self._counted(name):
            super().delvar(name)

    def _counted(self, name: str) -> bool:
        """Whether numba counts references to what a variable holds."""
        model = self.context.data_model_manager[self.typeof(name)]
        return bool(self.context.enable_nrt and model.contains_nrt_meminfo())

    def place_of(self, name: str) -> Place | None:
        """Where a caller's memory holds the value of a variable, if it does."""
        held = self._blk_local_varmap.get(name)
        return held if type(held) is Place else None

    # assignments

    def pre_block(self, block: Any) -> None:
        """What a block has stored for its calls need not have happened in another."""
        super().pre_block(block)
        self._stored: dict[tuple[int, int], tuple[Any, Any]] = {}

    def extract_function_arguments(self) -> Any:
        """The arguments; tuples and arrays go to memory, where all calls find them."""
        super().extract_function_arguments()
        build = self.builder
        for position, argument in enumerate(self.fnargs):
            if isinstance(getattr(argument, "type", None), _AGGREGATES):
                at = _cgutils.alloca_once(build, argument.type)
                build.store(argument, at)
                self.fnargs[position] = Place(at, {})
        return self.fnargs

    def lower_inst(self, inst: Any) -> Any:
        """An assignment of what is in a caller's memory moves nothing."""
        if isinstance(inst, ir.Assign):
            place = self._assigned_place(inst)
            if place is not None:
                self._load_fields(place, self.typeof(inst.target.name))
                self._blk_local_varmap[inst.target.name] = place
                return None
        return super().lower_inst(inst)

    def _assigned_place(self, inst: Any) -> Place | None:
        name, value = inst.target.name, inst.value
        kept = name in self._singly_assigned_vars
        if isinstance(value, ir.Arg):
            argument = self.fnargs[value.index]
            if type(argument) is not Place:
                return None
            if kept and self.typeof("arg." + value.name) == self.typeof(name):
                return argument
            self.fnargs[value.index] = self.builder.load(argument.pointer)
            return None
        if not kept or self.context.enable_nrt:
            return None
        if isinstance(value, ir.Var):
            source, member = value.name, None
        elif isinstance(value, ir.Expr) and value.op == "exhaust_iter":
            source, member = value.value.name, None
        elif isinstance(value, ir.Expr) and value.op == "static_getitem":
            source, member = value.value.name, value.index
        else:
            return None
        place = self.place_of(source)
        if place is None:
            return None
        kind = self.typeof(source)
        if member is None:
            return place if kind == self.typeof(name) else None
        if not isinstance(kind, types.BaseTuple) or not isinstance(member, int):
            return None
        member += len(kind) if member < 0 else 0
        model = self.context.get_value_type(kind[member])
        if kind[member] != self.typeof(name) or not isinstance(model, _AGGREGATES):
            return None
        return Place(self._member_address(place, member), {})

    def _member_address(self, place: Place, member: int) -> Any:
        return _cgutils.gep_inbounds(self.builder, place.pointer, 0, member)

    # arguments of calls

    def address_for_call(self, name: str, kind: Any) -> Any:
        """Where a callee finds the tuple or array of a variable."""
        place = self.place_of(name)
        if place is not None and self.typeof(name) == kind:
            return place.pointer
        value = self.context.cast(self.builder, self.loadvar(name), self.typeof(name), kind)
        return self.stored_for_call(value)

    def stored_for_call(self, value: Any) -> Any:
        """The same for a value, which is stored once for all calls in a row."""
        key = (id(value), id(self.builder.block))
        if key not in self._stored:
            at = _cgutils.alloca_once(self.builder, value.type)
            self.builder.store(value, at)
            self._stored[key] = (at, value)
        return self._stored[key][0]

    def _by_address(self, kind: Any) -> bool:
        return isinstance(self.context.get_value_type(kind), _AGGREGATES)

    # arrays

    def _load_fields(self, place: Place, kind: Any) -> None:
        """What every access to an array needs, once: LLVM cannot know that it does not change."""
        if isinstance(kind, types.Array) and not place.fields:
            position = self.context.data_model_manager[kind].get_field_position
            for name in ("data", "shape"):
                at = self._member_address(place, position(name))
                place.fields[name] = self.builder.load(at)

    def _field(self, place: Place, name: str, position: int) -> Any:
        """A member of an array's description."""
        found = place.fields.get(name)
        return found or self.builder.load(self._member_address(place, position))
