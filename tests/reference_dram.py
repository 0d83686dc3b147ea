"""A slow, obvious DRAM channel: every tick, every request, every constraint looked up again.

Written from the prose of docs/memory.md and not from the kernel: it keeps the history of commands
and checks a candidate against all of it. Reads only.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from simulator.hardware.dram import DramChannel
from simulator.kernels.dram_address import map_fields


@dataclass
class Request:
    age: int
    where: dict[str, int]
    arrived: int
    first: str | None = None


@dataclass
class Command:
    name: str
    tick: int
    pc: int
    sid: int = -1
    bg: int = -1
    ba: int = -1


@dataclass
class SlowChannel:
    spec: DramChannel
    history: list[Command] = field(default_factory=list)
    rows: dict[tuple[int, ...], int] = field(default_factory=dict)

    def gap(self, clocks: int, first: str, second: str) -> int:
        bus = self.spec.bus
        length = {
            "act": bus.activate_ticks,
            "pre": bus.precharge_ticks,
            "prea": bus.precharge_ticks,
            "ref": bus.refresh_ticks,
            "rd": bus.column_ticks,
        }
        return clocks * bus.ticks_per_clock + length[first] - length[second]

    def legal(self, new: Command) -> bool:
        t, bus = self.spec.timing, self.spec.bus
        if new.name not in ("pre", "prea") and new.tick % bus.ticks_per_clock:
            return False
        acts = 0
        for old in reversed(self.history):
            age = new.tick - old.tick
            if age > 4000:
                break
            row_old, row_new = old.name != "rd", new.name != "rd"
            if row_old == row_new or not bus.separate:
                length = {"act": bus.activate_ticks, "rd": bus.column_ticks}
                if age < length.get(old.name, bus.precharge_ticks):
                    return False
            if old.pc != new.pc:
                continue
            same_sid = old.sid == new.sid
            same_bg = same_sid and old.bg == new.bg
            same_bank = same_bg and old.ba == new.ba
            waits: list[int] = []
            pair = (old.name, new.name)
            if pair == ("rd", "rd"):
                waits.append(max(t.burst, t.ccd_s if same_sid else t.ccd_r))
                if same_bg:
                    waits.append(t.ccd_l)
            elif pair == ("act", "act"):
                acts += 1
                waits.append(t.rrd_s)
                if same_bg:
                    waits.append(t.rrd_l)
                if same_bank:
                    waits.append(t.rc)
                if acts == 4:
                    waits.append(t.faw)
            elif pair == ("act", "rd") and same_bank:
                waits.append(t.rcd_read)
            elif (pair == ("act", "pre") and same_bank) or pair == ("act", "prea"):
                waits.append(t.ras)
            elif (pair == ("rd", "pre") and same_bank) or pair == ("rd", "prea"):
                waits.append(t.rtp)
            elif (pair == ("pre", "act") and same_bank) or pair == ("prea", "act"):
                waits.append(t.rp)
            elif old.name in ("pre", "prea") and new.name in ("pre", "prea"):
                waits.append(t.ppd)
            elif old.name in ("pre", "prea") and new.name == "ref":
                waits.append(t.rp)
            elif pair == ("act", "ref"):
                waits.append(t.rc)
            elif pair == ("ref", "act"):
                waits.append(t.rfc)
            if any(age < self.gap(wait, *pair) for wait in waits):
                return False
        return True


def simulate_slowly(
    spec: DramChannel, bursts: list[int], queue: int, refresh: bool
) -> dict[str, int]:
    """Counts of hits, misses and conflicts, the last tick of data, and the sum of latencies."""
    channel, tick, sent = SlowChannel(spec), 0, 0
    waiting: list[Request] = []
    opened: list[Request] = []
    refreshes: list[int] = []
    counts = {"hits": 0, "misses": 0, "conflicts": 0, "end": 0, "latency": 0}
    per_clock = spec.bus.ticks_per_clock
    data = (spec.timing.read_latency + spec.timing.burst) * per_clock
    done = 0
    while done < len(bursts):
        if refresh and tick and tick % (spec.timing.refi * per_clock) == 0:
            refreshes += range(spec.organisation.pseudo_channels)
        while sent < len(bursts) and len(waiting) < queue:
            waiting.append(Request(sent, _decode(spec, bursts[sent]), tick))
            sent += 1
        candidates = [*opened]
        hits = [r for r in waiting if channel.rows.get(_bank(r.where)) == r.where["row"]]
        chosen = _oldest(channel, candidates, "rd", tick)
        if chosen is None and not refreshes:
            chosen = _oldest(channel, hits, "rd", tick)
        used = False
        if chosen is not None:
            channel.history.append(_command("rd", tick, chosen.where))
            _count(counts, chosen, "hits")
            (opened if chosen in opened else waiting).remove(chosen)
            counts["end"] = max(counts["end"], tick + data)
            counts["latency"] += tick + data - chosen.arrived
            done += 1
            used = not spec.bus.separate
        if refreshes and not used:
            _refresh(channel, refreshes, opened, tick)
        elif not used:
            _row_command(channel, waiting, opened, counts, tick)
        tick += 1
    return counts


def _decode(spec: DramChannel, burst: int) -> dict[str, int]:
    sizes, where = spec.organisation.field_sizes(), {}
    for name in map_fields(spec.address_map):
        burst, where[name] = divmod(burst, sizes[name])
    return where


def _bank(where: dict[str, int]) -> tuple[int, ...]:
    return where["pc"], where["sid"], where["bg"], where["ba"]


def _command(name: str, tick: int, where: dict[str, int]) -> Command:
    return Command(name, tick, where["pc"], where["sid"], where["bg"], where["ba"])


def _oldest(channel: SlowChannel, requests: list[Request], name: str, tick: int) -> Request | None:
    ready = [r for r in requests if channel.legal(_command(name, tick, r.where))]
    return min(ready, key=lambda r: r.age) if ready else None


def _count(counts: dict[str, int], request: Request, kind: str) -> None:
    if request.first is None:
        request.first = kind
        counts[kind] += 1


def _refresh(channel: SlowChannel, refreshes: list[int], opened: list[Request], tick: int) -> None:
    pc = refreshes[0]
    if any(bank[0] == pc for bank in channel.rows):
        busy = any(r.where["pc"] == pc for r in opened)
        if not busy and channel.legal(Command("prea", tick, pc)):
            channel.history.append(Command("prea", tick, pc))
            channel.rows = {b: row for b, row in channel.rows.items() if b[0] != pc}
    elif channel.legal(Command("ref", tick, pc)):
        channel.history.append(Command("ref", tick, pc))
        refreshes.pop(0)


def _row_command(
    channel: SlowChannel,
    waiting: list[Request],
    opened: list[Request],
    counts: dict[str, int],
    tick: int,
) -> None:
    busy = {_bank(r.where) for r in opened}
    ready: list[tuple[int, Request, str]] = []
    for request in waiting:
        bank = _bank(request.where)
        row = channel.rows.get(bank)
        if row is None:
            name = "act"
        elif row != request.where["row"] and bank not in busy:
            older = [
                r
                for r in waiting
                if _bank(r.where) == bank and r.where["row"] == row and r.age < request.age
            ]
            if older:
                continue
            name = "pre"
        else:
            continue
        if channel.legal(_command(name, tick, request.where)):
            ready.append((request.age, request, name))
    if not ready:
        return
    _, request, name = min(ready, key=lambda item: item[0])
    bank = _bank(request.where)
    channel.history.append(_command(name, tick, request.where))
    if name == "act":
        _count(counts, request, "misses")
        channel.rows[bank] = request.where["row"]
        waiting.remove(request)
        opened.append(request)
    else:
        _count(counts, request, "conflicts")
        del channel.rows[bank]
