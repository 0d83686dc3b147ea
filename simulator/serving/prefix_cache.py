"""Prefix caching: which hash blocks of prompts a replica has, where they lie, who refers to them.

A hash block is a run of tokens with a content id (Mooncake: 512 tokens), of whole cache blocks. It
is cached when all its tokens have been computed; the longest cached prefix of a prompt is not
computed again. Blocks that nobody refers to are given up least recently used first, the end of a
prefix before its beginning (vLLM 0.8, v1/core/kv_cache_manager.py), and go to host memory and from
there to a pool where the system has such tiers.

``entries`` is int64[SENTINELS + entries, ENTRY_FIELDS]: a row a cached hash block; the first rows
are the heads of circular lists, one a tier (unreferenced blocks, least recently used first) and
one of unused rows. ``table`` is int64[power of two], an open-addressing hash map from content id
to row (0: empty). ``ids`` is int64[hash blocks of all requests].
"""

from __future__ import annotations

import numpy as np

from simulator.kernels.arrays import Int64Array
from simulator.kernels.jit import inner
from simulator.serving.fields import (
    BLOCKS_IN_ALL,
    COPIED_IN,
    COPIED_OUT,
    EVICTABLE,
    FREE_BLOCKS,
    HASH_BLOCKS,
    HASH_FIRST,
    HOST_BLOCKS,
    HOST_USED,
    POOL_BLOCKS,
    POOL_IN,
    POOL_USED,
)

Prefixes = tuple[Int64Array, Int64Array, Int64Array]
"""(table, entries, ids)"""

# Fields of an entry.
ID = 0
REFERENCES = 1
TIER = 2
BEFORE = 3
AFTER = 4
ENTRY_FIELDS = 5

# Tiers, and the heads of their lists.
HBM = 0
HOST = 1
POOL = 2
UNUSED = 3
SENTINELS = 4

_GOLDEN = -7046029254386353131
"""2**64 divided by the golden ratio, as a signed number (Knuth, volume 3, section 6.4)."""


@inner
def home(table: Int64Array, content: int) -> int:
    """The slot where the search for a content id begins."""
    return ((content * _GOLDEN) >> 32) & (len(table) - 1)


@inner
def find(prefixes: Prefixes, content: int) -> int:
    """Row of a content id in ``entries``, 0 where it is not cached."""
    table, entries, _ = prefixes
    slot = home(table, content)
    while table[slot] != 0 and entries[table[slot], ID] != content:
        slot = (slot + 1) & (len(table) - 1)
    return table[slot]


@inner
def forget(prefixes: Prefixes, content: int) -> None:
    """Take a content id out of the map; later ones of its run move up (Knuth's algorithm R)."""
    table, entries, _ = prefixes
    last = len(table) - 1
    slot = home(table, content)
    while entries[table[slot], ID] != content:
        slot = (slot + 1) & last
    hole = slot
    slot = (slot + 1) & last
    while table[slot] != 0:
        wanted = home(table, entries[table[slot], ID])
        if ((slot - wanted) & last) >= ((slot - hole) & last):
            table[hole] = table[slot]
            hole = slot
        slot = (slot + 1) & last
    table[hole] = 0


@inner
def unlink(entries: Int64Array, row: int) -> None:
    """Take a row out of the list that it is in."""
    before, after = entries[row, BEFORE], entries[row, AFTER]
    entries[before, AFTER] = after
    entries[after, BEFORE] = before


@inner
def append(entries: Int64Array, head: int, row: int) -> None:
    """Put a row at the end of a list."""
    last = entries[head, BEFORE]
    entries[last, AFTER] = row
    entries[row, BEFORE] = last
    entries[row, AFTER] = head
    entries[head, BEFORE] = row


@inner
def insert(prefixes: Prefixes, content: int) -> int:
    """A row for a content id that is not cached; referred to once, in HBM."""
    table, entries, _ = prefixes
    row = entries[UNUSED, AFTER]
    unlink(entries, row)
    entries[row, ID] = content
    entries[row, REFERENCES] = 1
    entries[row, TIER] = HBM
    slot = home(table, content)
    while table[slot] != 0:
        slot = (slot + 1) & (len(table) - 1)
    table[slot] = row
    return row


@inner
def drop(prefixes: Prefixes, row: int) -> None:
    """Forget a cached block that is in no list."""
    _, entries, _ = prefixes
    forget(prefixes, entries[row, ID])
    append(entries, UNUSED, row)


@inner
def to_pool(settings: Int64Array, replica: Int64Array, prefixes: Prefixes) -> None:
    """The host gives up its least recently used block, to the pool where there is one."""
    _, entries, _ = prefixes
    size = settings[HASH_BLOCKS]
    row = entries[HOST, AFTER]
    unlink(entries, row)
    replica[HOST_USED] -= size
    oldest = entries[POOL, AFTER]
    full = replica[POOL_USED] + size > settings[POOL_BLOCKS]
    if full and oldest == POOL:
        drop(prefixes, row)
        return
    if full:
        unlink(entries, oldest)
        drop(prefixes, oldest)
        replica[POOL_USED] -= size
    replica[POOL_USED] += size
    entries[row, TIER] = POOL
    append(entries, POOL, row)


@inner
def host_room(settings: Int64Array, replica: Int64Array, prefixes: Prefixes, blocks: int) -> bool:
    """Make room for blocks in host memory; False where cached prefixes do not suffice."""
    _, entries, _ = prefixes
    while replica[HOST_USED] + blocks > settings[HOST_BLOCKS] and entries[HOST, AFTER] != HOST:
        to_pool(settings, replica, prefixes)
    return replica[HOST_USED] + blocks <= settings[HOST_BLOCKS]


@inner
def evict(settings: Int64Array, replica: Int64Array, prefixes: Prefixes) -> None:
    """HBM gives up its least recently used block, to the host where there is room."""
    _, entries, _ = prefixes
    size = settings[HASH_BLOCKS]
    row = entries[HBM, AFTER]
    unlink(entries, row)
    replica[EVICTABLE] -= size
    replica[FREE_BLOCKS] += size
    if not host_room(settings, replica, prefixes, size):
        drop(prefixes, row)
        return
    replica[HOST_USED] += size
    replica[COPIED_OUT] += size
    entries[row, TIER] = HOST
    append(entries, HOST, row)


@inner
def refer(settings: Int64Array, replica: Int64Array, entries: Int64Array, row: int) -> None:
    """One more sequence uses a cached block."""
    if entries[row, REFERENCES] == 0:
        unlink(entries, row)
        if entries[row, TIER] == HBM:
            replica[EVICTABLE] -= settings[HASH_BLOCKS]
    entries[row, REFERENCES] += 1


@inner
def leave_tier(settings: Int64Array, replica: Int64Array, entries: Int64Array, row: int) -> None:
    """A block of a lower tier is in HBM from now on."""
    if entries[row, TIER] == HOST:
        replica[HOST_USED] -= settings[HASH_BLOCKS]
    else:
        replica[POOL_USED] -= settings[HASH_BLOCKS]
    entries[row, TIER] = HBM


@inner
def fetch(settings: Int64Array, replica: Int64Array, entries: Int64Array, row: int) -> None:
    """Copy a block of a lower tier into free blocks of HBM, before the next iteration."""
    size = settings[HASH_BLOCKS]
    if entries[row, TIER] == POOL:
        replica[POOL_IN] += size
    leave_tier(settings, replica, entries, row)
    replica[COPIED_IN] += size
    replica[FREE_BLOCKS] -= size


@inner
def unrefer(
    settings: Int64Array, replica: Int64Array, request: Int64Array, shared: int, prefixes: Prefixes
) -> None:
    """A request leaves its first ``shared`` hash blocks; its last one is given up first."""
    _, entries, ids = prefixes
    for index in range(shared - 1, -1, -1):
        row = find(prefixes, ids[request[HASH_FIRST] + index])
        entries[row, REFERENCES] -= 1
        if entries[row, REFERENCES] == 0:
            append(entries, HBM, row)
            replica[EVICTABLE] += settings[HASH_BLOCKS]


def empty_prefixes(settings: Int64Array, ids: Int64Array) -> tuple[Int64Array, Int64Array]:
    """(table, entries) of a cache with room for what its tiers hold of the hash blocks ``ids``."""
    most = 0
    if len(ids):
        tiers = (BLOCKS_IN_ALL, HOST_BLOCKS, POOL_BLOCKS)
        most = sum(int(settings[tier]) // int(settings[HASH_BLOCKS]) for tier in tiers)
        # An evicted block may be on its way from one tier to the next.
        most = min(most, len(ids)) + 2
    table = np.zeros(1 << max(1, (2 * most).bit_length()), dtype=np.int64)
    entries = np.zeros((SENTINELS + most, ENTRY_FIELDS), dtype=np.int64)
    rows = np.arange(SENTINELS + most)
    entries[:, BEFORE] = entries[:, AFTER] = rows
    unused = np.concatenate([[UNUSED], rows[SENTINELS:]])
    following = np.concatenate([unused[1:], unused[:1]])
    entries[unused, AFTER] = following
    entries[following, BEFORE] = unused
    return table, entries
