"""A slow tile pipeline: every cycle each port moves its words and the array looks what is there.

It shares with ``simulator.kernels.systolic_pipeline`` what is fetched (the tiles and their order),
but not how times are found: here the clock ticks.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field


@dataclass
class ReadPort:
    """Fetches tiles in order while there is room; ``here`` are those that have arrived."""

    capacity: int
    words_per_cycle: int
    tiles: list[int] = field(default_factory=list)
    here: set[int] = field(default_factory=set)
    released: set[int] = field(default_factory=set)
    next: int = 0
    moved: int = 0
    oldest: int = 0

    def cold_start(self) -> None:
        filled = 0
        while self.next < len(self.tiles) and (
            self.next == 0 or filled + self.tiles[self.next] <= self.capacity // 2
        ):
            filled += self.tiles[self.next]
            self.here.add(self.next)
            self.next += 1

    def tick(self) -> None:
        budget = self.words_per_cycle
        while self.next < len(self.tiles) and budget > 0:
            while self.oldest in self.released:
                self.oldest += 1
            if self.moved == 0 and sum(self.tiles[self.oldest : self.next + 1]) > self.capacity:
                return
            step = min(budget, self.tiles[self.next] - self.moved)
            self.moved += step
            budget -= step
            if self.moved == self.tiles[self.next]:
                self.here.add(self.next)
                self.next += 1
                self.moved = 0


@dataclass
class WritePort:
    """Does its list of writes, reads of partial sums and grants of room, one after the other."""

    words_per_cycle: int
    work: deque = field(default_factory=deque)
    ready: set[int] = field(default_factory=set)
    granted: set[int] = field(default_factory=set)
    moved: int = 0

    def plan(self, capacity: int, tiles: list[tuple[int, bool]]) -> None:
        """``tiles`` are (words, whether partial sums are read back) in the order of their use."""
        kept: deque[int] = deque()
        used = 0
        for index, (words, back) in enumerate(tiles):
            while used + words > capacity:
                old = kept.popleft()
                self.work.append(("write", old, tiles[old][0]))
                used -= tiles[old][0]
            if back:
                self.work.append(("read", index, words))
            self.work.append(("grant", index, 0))
            kept.append(index)
            used += words

    def tick(self, first: bool = False) -> None:
        budget = 0 if first else self.words_per_cycle
        while self.work:
            kind, index, words = self.work[0]
            if kind == "grant":
                self.granted.add(index)
                self.work.popleft()
                continue
            if budget == 0 or (kind == "write" and index not in self.ready):
                return
            step = min(budget, words - self.moved)
            self.moved += step
            budget -= step
            if self.moved == words:
                self.work.popleft()
                self.moved = 0


def pipeline_cycles(
    dataflow, load, row_extent, col_extent, vectors, rows, cols, chunks, capacities, bandwidth
):
    """Cycles until the last result leaves the array; ``chunks`` are the lengths of the chunks."""
    row_folds, col_folds = -(-row_extent // rows), -(-col_extent // cols)
    row, col = ReadPort(capacities[0], bandwidth), ReadPort(capacities[1], bandwidth)
    out = WritePort(bandwidth)
    results: list[tuple[int, bool]] = []
    folds = []  # for each fold its tiles: (row ids, col ids, out ids) and what it releases
    resident = row_extent * vectors <= capacities[0]
    for fc in range(col_folds):
        width = min(cols, col_extent - fc * cols)
        held = width * vectors <= (capacities[1] if dataflow == "os" else capacities[2])
        kept: dict[str, list[int]] = {}
        for fr in range(row_folds):
            height = min(rows, row_extent - fr * rows)
            last = fr == row_folds - 1
            ids = {"row": [], "col": [], "out": [], "free_row": not resident}
            if dataflow != "os":
                col.tiles.append(height * width)
                ids["col"].append(len(col.tiles) - 1)
            for length in chunks:
                if fc == 0 or not resident:
                    row.tiles.append(height * length)
                    ids["row"].append(len(row.tiles) - 1)
                if dataflow == "os" and (fr == 0 or not held):
                    col.tiles.append(width * length)
                    ids["col"].append(len(col.tiles) - 1)
                if dataflow != "os" and (fr == 0 or not held):
                    results.append((width * length, fr > 0))
                    ids["out"].append(len(results) - 1)
            if dataflow == "os":
                results.append((height * width, False))
                ids["out"].append(len(results) - 1)
            for name in ("col", "out"):
                if held and (name == "col") == (dataflow == "os"):
                    kept.setdefault(name, ids[name])
                    ids[name] = kept[name]
            ids["free_col"] = last or not held or dataflow != "os"
            ids["free_out"] = last or not held
            folds.append(ids)
    row.cold_start()
    col.cold_start()
    out.plan(capacities[2], results)
    out.tick(first=True)

    clock = [0]
    tail = rows + cols - 2
    loaded, streaming, finished = set(), set(), set()

    def after(cycles):
        end = clock[0] + cycles
        return lambda: clock[0] >= end

    def loader():
        for f, ids in enumerate(folds):
            if f > 0 and load == "double":
                yield lambda f=f: f - 1 in streaming
            elif f > 0:
                yield lambda f=f: f - 1 in finished
            yield lambda ids=ids: ids["col"][0] in col.here
            yield after(rows)
            col.released.add(ids["col"][0])
            loaded.add(f)

    def array():
        for f, ids in enumerate(folds):
            if dataflow != "os":
                yield lambda f=f: f in loaded
            for c, length in enumerate(chunks):
                if ids["row"]:
                    yield lambda ids=ids, c=c: ids["row"][c] in row.here
                if dataflow == "os":
                    yield lambda ids=ids, c=c: ids["col"][c] in col.here
                else:
                    yield lambda ids=ids, c=c: ids["out"][c] in out.granted
                streaming.add(f)
                yield after(length)
                if ids["row"] and ids["free_row"]:
                    row.released.add(ids["row"][c])
                if dataflow == "os" and ids["free_col"]:
                    col.released.add(ids["col"][c])
                if dataflow != "os" and ids["free_out"]:
                    out.ready.add(ids["out"][c])
            if load == "single" or f == len(folds) - 1:
                yield after(tail)
            if dataflow == "os":
                yield lambda ids=ids: ids["out"][0] in out.granted
                out.ready.add(ids["out"][0])
            finished.add(f)

    processes = [array()] if dataflow == "os" else [array(), loader()]
    waiting = [next(process) for process in processes]
    while True:
        moved = True
        while moved:
            moved = False
            for index, process in enumerate(processes):
                while waiting[index] is not None and waiting[index]():
                    waiting[index] = next(process, None)
                    moved = True
        if waiting[0] is None:
            return clock[0]
        row.tick()
        col.tick()
        out.tick()
        clock[0] += 1
        assert clock[0] < 100_000, "the pipeline is stuck"
