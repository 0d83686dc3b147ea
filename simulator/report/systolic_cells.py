"""The cells of a small array cycle by cycle, and the folds of a large one as a timeline."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from simulator.timing.systolic import SystolicCase
    from simulator.timing.systolic_schedule import Schedule

MAX_CELLS = 256
MAX_CYCLES = 2000
LEGEND = (
    "L loading  * multiplying  # both  > passing data on without use  . idle\n"
    "A vector that streams in is named in the cycle of its first element: each next row of cells\n"
    "(column, from the top) gets its own a cycle later. A result is named with its last element."
)
TIMELINE_FOLDS = 12
TIMELINE_WIDTH = 72


def fits_screen(case: SystolicCase, cycles: int) -> bool:
    """Whether the cells are few enough to be shown one by one."""
    return case.rows * case.cols <= MAX_CELLS and cycles <= MAX_CYCLES


class CellView:
    """The state of each cell in each cycle, from the times at which the folds are fed."""

    def __init__(self, case: SystolicCase, schedule: Schedule, cycles: int) -> None:
        from simulator.timing.systolic import extents

        self.case = case
        self.cycles = cycles
        self.extents = extents(case)
        self.row_folds = -(-self.extents[0] // case.rows)
        self.folds = len(schedule.feeds)
        self.fed: dict[int, tuple[int, int]] = {}
        self.loads: list[int] = []
        base, longer = divmod(schedule.stream, schedule.chunks)
        for fold in range(self.folds):
            if case.dataflow != "os":
                self.loads.append(int(schedule.feeds[fold, 0]))
            step = 0
            for chunk in range(schedule.chunks):
                start = int(schedule.feeds[fold, 1 + chunk])
                for offset in range(base + (chunk < longer)):
                    self.fed[start + offset] = (fold, step)
                    step += 1

    def states(self, cycle: int) -> list[str]:
        """A row of letters for each row of cells; see ``LEGEND``."""
        return [
            "".join(self._cell(i, j, cycle) for j in range(self.case.cols))
            for i in range(self.case.rows)
        ]

    def events(self, cycle: int) -> list[str]:
        """What enters and leaves in a cycle, in words."""
        lines = []
        for fold, begin in enumerate(self.loads):
            if begin <= cycle < begin + self.case.rows:
                lines.append(self._load_line(fold, self.case.rows - 1 - (cycle - begin)))
        if cycle in self.fed:
            lines.append(self._feed_line(*self.fed[cycle]))
        out = self.fed.get(cycle - self.case.rows - self.case.cols + 2)
        if out is not None:
            lines += self._out_lines(*out)
        return lines or ["nothing new enters, nothing is complete: data moves on by one cell"]

    def _cell(self, i: int, j: int, cycle: int) -> str:
        # a vector that enters in cycle t reaches the cell i rows down and j columns on at t + i + j
        fed = self.fed.get(cycle - i - j)
        loading = self._loading(i, j, cycle)
        if fed is None:
            return "L" if loading else "."
        _, height, _, width = self._span(fed[0])
        if i < height and j < width:
            return "#" if loading else "*"
        return "L" if loading else ">"

    def _loading(self, i: int, j: int, cycle: int) -> bool:
        rows = self.case.rows
        if self.case.load == "double":
            # the next operand follows the wavefront of the stream that it comes behind
            return any(b + i + j <= cycle < b + j + rows for b in self.loads)
        return any(b + i <= cycle < b + rows for b in self.loads)

    def _span(self, fold: int) -> tuple[int, int, int, int]:
        """First and number of what is mapped along the rows and along the columns."""
        i0 = (fold % self.row_folds) * self.case.rows
        j0 = (fold // self.row_folds) * self.case.cols
        height = min(self.case.rows, self.extents[0] - i0)
        return i0, height, j0, min(self.case.cols, self.extents[1] - j0)

    def _load_line(self, fold: int, row: int) -> str:
        i0, height, j0, width = self._span(fold)
        if row >= height:
            return f"fold {fold + 1}: zeros enter from the top (row {row} of the array is unused)"
        if self.case.dataflow == "ws":
            what = f"B[{i0 + row}, {_range(j0, width)}]"
        else:
            what = f"A[{_range(j0, width)}, {i0 + row}]"
        return f"fold {fold + 1}: {what} enters from the top, bound for row {row}"

    def _feed_line(self, fold: int, step: int) -> str:
        i0, height, j0, width = self._span(fold)
        macs = self.case.macs
        v = _range(step * macs, min(macs, self.extents[2] - step * macs))
        if self.case.dataflow == "ws":
            return f"fold {fold + 1}: A[{v}, {_range(i0, height)}] enters from the left"
        if self.case.dataflow == "is":
            return f"fold {fold + 1}: B[{_range(i0, height)}, {v}] enters from the left"
        return (
            f"fold {fold + 1}: A[{_range(i0, height)}, {v}] enters from the left, "
            f"B[{v}, {_range(j0, width)}] from the top"
        )

    def _out_lines(self, fold: int, step: int) -> list[str]:
        i0, height, j0, width = self._span(fold)
        macs = self.case.macs
        v = _range(step * macs, min(macs, self.extents[2] - step * macs))
        last = fold % self.row_folds == self.row_folds - 1
        partial = "complete" if last else "a partial sum"
        if self.case.dataflow == "ws":
            return [f"fold {fold + 1}: C[{v}, {_range(j0, width)}] leaves below, {partial}"]
        if self.case.dataflow == "is":
            return [f"fold {fold + 1}: C[{_range(j0, width)}, {v}] leaves below, {partial}"]
        if (step + 1) * macs < self.extents[2]:
            return []
        return [
            f"fold {fold + 1}: C[{_range(i0, height)}, {_range(j0, width)}] is complete and "
            "shifts out behind the next fold"
        ]


def frame(view: CellView, cycle: int) -> str:
    """One cycle as text: its number, what enters and leaves, and the cells."""
    head = f"cycle {cycle} (0 to {view.cycles - 1})"
    body = ["  " + " ".join(row) for row in view.states(cycle)]
    return "\n".join([head, *("  " + line for line in view.events(cycle)), *body])


def timeline(case: SystolicCase, schedule: Schedule, cycles: int) -> Iterator[str]:
    """The first folds as bars, one line each, and what follows them in words."""
    view = CellView(case, _head(schedule), cycles)
    ends = [fold_end(case, schedule, fold) for fold in range(view.folds)]
    span = max(1, ends[-1])
    yield (
        f"{len(schedule.feeds)} folds in {cycles} cycles; "
        "L load  * stream  > drain  - waiting for memory or for the array"
    )
    yield f"{'fold':>8} {'load':>10} {'stream':>10} {'end':>10}"
    begins = list(view.loads) or [int(row[1]) for row in schedule.feeds[: view.folds]]
    for fold in range(view.folds):
        bar = _bar(view, schedule, fold, begins[fold], ends[fold], span)
        load = str(view.loads[fold]) if view.loads else ""
        stream = int(schedule.feeds[fold, 1])
        yield f"{fold + 1:>8} {load:>10} {stream:>10} {ends[fold]:>10} |{bar}|"
    rest = len(schedule.feeds) - view.folds
    if rest:
        yield f"... and {rest} more folds, the last of which ends at cycle {cycles}"


def fold_end(case: SystolicCase, schedule: Schedule, fold: int) -> int:
    """The cycle after the last of a fold, its drain included."""
    last = int(schedule.feeds[fold, -1]) + schedule.stream // schedule.chunks
    return last + case.rows + case.cols - 2


def _head(schedule: Schedule) -> Schedule:
    from dataclasses import replace

    return replace(schedule, feeds=schedule.feeds[:TIMELINE_FOLDS])


def _bar(view: CellView, schedule: Schedule, fold: int, begin: int, end: int, span: int) -> str:
    """The cycles 0 to ``span`` as characters, each of which shows its middle cycle."""
    letters = []
    chunk = schedule.stream // schedule.chunks
    drained = int(schedule.feeds[fold, -1]) + chunk
    for place in range(TIMELINE_WIDTH):
        cycle = (2 * place + 1) * span // (2 * TIMELINE_WIDTH)
        if not begin <= cycle < end:
            letters.append(" ")
        elif view.loads and cycle < begin + view.case.rows:
            letters.append("L")
        elif view.fed.get(cycle, (-1, 0))[0] == fold:
            letters.append("*")
        else:
            letters.append(">" if cycle >= drained else "-")
    return "".join(letters)


def _range(first: int, count: int) -> str:
    return str(first) if count == 1 else f"{first}:{first + count}"
