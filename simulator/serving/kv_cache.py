"""The paged KV cache of a replica: who gets blocks, who returns them.

Blocks are free, private to a sequence (``BLOCKS``), or hold a cached hash block (see
``serving.prefix_cache``) that ``SHARED`` of each sequence refers to, or nobody (``EVICTABLE``):

    free + evictable + sum of private + referred to = all.

Every function either does what it says or changes nothing.
"""

from __future__ import annotations

from simulator.kernels.arithmetic import ceil_div
from simulator.kernels.arrays import Int64Array
from simulator.kernels.jit import inner
from simulator.serving.fields import (
    BLOCK_TOKENS,
    BLOCKS,
    COMPUTED,
    COPIED_IN,
    COPIED_OUT,
    EMITTED,
    EVICTABLE,
    FREE_BLOCKS,
    HASH_BLOCKS,
    HASH_COUNT,
    HASH_FIRST,
    HOST_USED,
    PROMPT,
    SHARED,
    SWAPPED,
)
from simulator.serving.prefix_cache import (
    HBM,
    REFERENCES,
    TIER,
    Prefixes,
    evict,
    fetch,
    find,
    host_room,
    insert,
    leave_tier,
    refer,
    unrefer,
)


@inner
def take(settings: Int64Array, replica: Int64Array, prefixes: Prefixes, blocks: int) -> bool:
    """Take free blocks, after evicting cached prefixes where needed."""
    if blocks > replica[FREE_BLOCKS]:
        if blocks > replica[FREE_BLOCKS] + replica[EVICTABLE]:
            return False
        while replica[FREE_BLOCKS] < blocks:
            evict(settings, replica, prefixes)
    replica[FREE_BLOCKS] -= blocks
    return True


@inner
def grow(
    settings: Int64Array,
    replica: Int64Array,
    request: Int64Array,
    prefixes: Prefixes,
    tokens: int,
) -> bool:
    """Give a sequence the blocks for ``tokens`` more tokens; False where there are none."""
    held = request[BLOCKS] + request[SHARED] * settings[HASH_BLOCKS]
    need = ceil_div(request[COMPUTED] + tokens, BLOCK_TOKENS) - held
    if need > 0:
        if not take(settings, replica, prefixes, need):
            return False
        request[BLOCKS] += need
    return True


@inner
def cached_prefix(settings: Int64Array, request: Int64Array, prefixes: Prefixes) -> int:
    """Leading hash blocks of a request that are cached; the last token is always computed."""
    _, _, ids = prefixes
    hash_tokens = settings[HASH_BLOCKS] * BLOCK_TOKENS
    most = min(request[HASH_COUNT], (request[PROMPT] + request[EMITTED] - 1) // hash_tokens)
    found = 0
    while found < most and find(prefixes, ids[request[HASH_FIRST] + found]) != 0:
        found += 1
    return found


@inner
def share(
    settings: Int64Array,
    replica: Int64Array,
    request: Int64Array,
    prefixes: Prefixes,
    found: int,
    spare: int,
) -> bool:
    """Refer to the first ``found`` hash blocks, fetching those that are not in HBM.

    False, and nothing changed, where fewer than ``spare`` blocks would be left for other tokens.
    """
    _, entries, ids = prefixes
    size = settings[HASH_BLOCKS]
    left = replica[FREE_BLOCKS] + replica[EVICTABLE] - spare
    first = request[HASH_FIRST]
    for index in range(found):
        row = find(prefixes, ids[first + index])
        if entries[row, TIER] != HBM or entries[row, REFERENCES] == 0:
            left -= size
    if left < 0:
        return False
    for index in range(found):
        refer(settings, replica, entries, find(prefixes, ids[first + index]))
    for index in range(found):
        row = find(prefixes, ids[first + index])
        if entries[row, TIER] != HBM:
            while replica[FREE_BLOCKS] < size:
                evict(settings, replica, prefixes)
            fetch(settings, replica, entries, row)
    request[SHARED] = found
    request[COMPUTED] = found * size * BLOCK_TOKENS
    return True


@inner
def publish(
    settings: Int64Array, replica: Int64Array, request: Int64Array, prefixes: Prefixes
) -> None:
    """Cache the hash blocks of a sequence that have been computed since the last time.

    Where another sequence has cached the same content meanwhile its blocks are used and the own
    ones freed (SGLang 0.4, mem_cache/radix_cache.py, cache_unfinished_req).
    """
    _, entries, ids = prefixes
    size = settings[HASH_BLOCKS]
    while (
        request[SHARED] < request[HASH_COUNT]
        and (request[SHARED] + 1) * size * BLOCK_TOKENS <= request[COMPUTED]
    ):
        content = ids[request[HASH_FIRST] + request[SHARED]]
        row = find(prefixes, content)
        if row == 0:
            insert(prefixes, content)
        else:
            refer(settings, replica, entries, row)
            if entries[row, TIER] == HBM:
                replica[FREE_BLOCKS] += size
            else:
                leave_tier(settings, replica, entries, row)
        request[BLOCKS] -= size
        request[SHARED] += 1


@inner
def release(
    settings: Int64Array, replica: Int64Array, request: Int64Array, prefixes: Prefixes
) -> None:
    """Return all blocks of a sequence; its cached prefix stays until the room is needed."""
    replica[FREE_BLOCKS] += request[BLOCKS]
    request[BLOCKS] = 0
    if request[SHARED] > 0:
        unrefer(settings, replica, request, request[SHARED], prefixes)
        request[SHARED] = 0


@inner
def swap_out(
    settings: Int64Array, replica: Int64Array, request: Int64Array, prefixes: Prefixes
) -> bool:
    """Copy the cache of a sequence to host memory, and free its blocks; False without room."""
    blocks = ceil_div(request[COMPUTED], BLOCK_TOKENS)
    if blocks == 0 or not host_room(settings, replica, prefixes, blocks):
        return False
    replica[HOST_USED] += blocks
    replica[COPIED_OUT] += blocks
    request[SWAPPED] = blocks
    release(settings, replica, request, prefixes)
    return True


@inner
def swap_in(replica: Int64Array, request: Int64Array) -> None:
    """Copy the cache of a sequence back into the blocks that it has been given."""
    replica[HOST_USED] -= request[SWAPPED]
    replica[COPIED_IN] += request[SWAPPED]
    request[SWAPPED] = 0
