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

    loaded_until: dict[int, int] = {}  # fold -> the cycle at which its operand is in place
    fold, chunk, clock = 0, 0, 0
    free_at, stream_began, next_load = 0, 0, 0
    waiting_out = False
    while True:
        # releases happen at whole cycles; the ports see them in the same cycle
        progress = True
        while progress and fold < len(folds):
            progress = False
            ids = folds[fold]
            if dataflow != "os" and next_load < len(folds):
                may = next_load == 0 or (
                    stream_began is not None and clock >= stream_began
                    if load == "double" and next_load == fold + 1 and chunk > 0
                    else load == "single" and next_load == fold and clock >= free_at
                )
                if may and folds[next_load]["col"][0] in col.here:
                    loaded_until[next_load] = clock + rows
                    next_load += 1
                    progress = True
            for which, end in list(loaded_until.items()):
                if clock >= end:
                    col.released.add(folds[which]["col"][0])
            if clock < free_at or (dataflow != "os" and clock < loaded_until.get(fold, 1 << 60)):
                continue
            if waiting_out:  # output stationary: room for the results at the end of a fold
                if ids["out"][0] in out.granted:
                    out.ready.add(ids["out"][0])
                    waiting_out = False
                    fold, chunk = fold + 1, 0
                    progress = True
                continue
            if chunk == len(chunks):
                continue
            there = not ids["row"] or ids["row"][chunk] in row.here
            if dataflow == "os":
                there = there and ids["col"][chunk] in col.here
            else:
                there = there and ids["out"][chunk] in out.granted
            if there:
                if chunk == 0:
                    stream_began = clock
                _later.append((clock + chunks[chunk], fold, chunk))
                free_at = clock + chunks[chunk]
                chunk += 1
                progress = True
                if chunk == len(chunks):
                    tail = rows + cols - 2
                    if dataflow == "os":
                        free_at += tail
                        waiting_out = True
                    else:
                        free_at += 0 if load == "double" else tail
        for item in [item for item in _later if item[0] <= clock]:
            _later.remove(item)
            _, f, c = item
            ids = folds[f]
            if ids["row"] and ids["free_row"]:
                row.released.add(ids["row"][c])
            if dataflow == "os" and ids["free_col"]:
                col.released.add(ids["col"][c])
            if dataflow != "os" and ids["free_out"]:
                out.ready.add(ids["out"][c])
        if dataflow != "os" and fold < len(folds) and chunk == len(chunks) and clock >= free_at:
            fold, chunk = fold + 1, 0
            continue
        if fold == len(folds):
            break
        row.tick()
        col.tick()
        out.tick()
        clock += 1
        assert clock < 1_000_000, "the pipeline is stuck"
    return clock + (rows + cols - 2 if dataflow != "os" and load == "double" else 0)


_later: list[tuple[int, int, int]] = []
