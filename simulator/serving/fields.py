"""Fields of the arrays that a serving loop keeps: requests, one replica's counters, settings, sums.

A request is a row of int64[requests, REQUEST_FIELDS]. It is shared by all replicas of a run: at
any time one of them has it (queue, batch), and at most one other holds blocks of its cache for it
(``HELD``: the prefill replica, until the cache has moved).
"""

from __future__ import annotations

import numpy as np

# Fields of a request.
ARRIVAL = 0
PROMPT = 1
OUTPUT = 2
COMPUTED = 3
"""Tokens whose keys and values are in the cache. A request may join a queue with COMPUTED > 0 and
EMITTED > 0: its cache came from elsewhere, and is not computed again."""
EMITTED = 4
BLOCKS = 5
"""Blocks that are its own on the replica that has it; those of shared prefixes not counted."""
SCHEDULED_AT = 6
FIRST_TOKEN_AT = 7
COMPLETED_AT = 8
PREEMPTIONS = 9
PRIORITY = 10
"""Smaller is served first and preempted last (vLLM's convention)."""
READY_AT = 11
"""When it joins the queue of its replica, for requests that are posted ahead."""
SHARED = 12
"""Leading hash blocks that it refers to in the prefix cache of the replica that has it."""
HASH_FIRST = 13
HASH_COUNT = 14
"""Its hash blocks: ``ids[HASH_FIRST : HASH_FIRST + HASH_COUNT]``, whole blocks only."""
FOUND = 15
"""Prompt tokens that were in a prefix cache when it was first admitted."""
SWAPPED = 16
"""Blocks of its cache in host memory after a preemption by swap."""
HELD = 17
HELD_SHARED = 18
"""As BLOCKS and SHARED, on the prefill replica that holds them until they are released."""
RUNS = 19
"""1 while it is in the running list of a replica."""
LAST_TOKEN_AT = 20
RESERVED_AT = 21
"""When blocks are taken for its cache, for reservations that are posted ahead."""
RANK = 22
"""Which of the ranks that share the sequences of its replica has it; chosen when it is admitted."""
REQUEST_FIELDS = 23

NEVER = -1

# Counters of a replica.
NOW = 0
QUEUE_HEAD = 1
QUEUE_TAIL = 2
RUNNING = 3
FREE_BLOCKS = 4
SCHEDULED = 5
"""Sequences in the batch that is being formed or priced; 0 when there is none."""
TOKENS = 6
LOGITS = 7
ITERATIONS = 8
PREEMPTED = 9
COMPLETED = 10
LOGGED = 11
PEAK_BLOCKS = 12
ENDED = 13
"""Sequences that the last iteration finished (or, where only prefills run, prefilled)."""
INBOX_HEAD = 14
INBOX_TAIL = 15
"""Requests that were posted ahead of their time, by READY_AT; ~request is a reservation."""
EVICTABLE = 16
"""Blocks of prefixes that are cached and that nobody refers to."""
COPIED_OUT = 17
COPIED_IN = 18
"""Blocks that the next iteration moves to and from host memory; POOL_IN from the pool."""
POOL_IN = 19
HOST_USED = 20
POOL_USED = 21
SWAPS = 22
PROMPT_TOKENS = 23
FOUND_TOKENS = 24
"""Prompt tokens of admitted requests, and those of them that the prefix cache had."""
VERIFIED = 25
"""Tokens that decode steps computed, and those that they emitted (speculation)."""
DECODED = 26
MOVED_OUT = 27
MOVED_IN = 28
MOVED_POOL = 29
"""Blocks copied to and from host memory, and from the pool, in all."""
LAST_START = 30
"""When the last iteration began."""
FORMED_AFTER = 31
"""Preemptions before the batch was formed."""
EMITTED_TOKENS = 32
RETURNED = 33
"""Blocks that the sequences of ENDED returned, at the end of the last iteration."""
IN_FLIGHT = 34
"""Prompt and emitted tokens of requests when they came, less those of requests when they left:
with EMITTED_TOKENS, the tokens of all that are here."""
LAST_END = 35
"""When the last iteration ended; NOW may be later."""
COUNTERS = 36

# Fixed settings.
BUDGET = 0
MOST = 1
BLOCKS_IN_ALL = 2
HOST_PS = 3
STOP_AT_COMPLETION = 4
SCHEDULER = 5
PREEMPTION = 6
PREFILL_ONLY = 7
HEADROOM = 8
"""Blocks that an admission must leave free while others run."""
SPECULATED = 9
"""Tokens that a decode step verifies beyond its own."""
ACCEPTANCE = 10
"""Chance that one of them is accepted, in parts of 2**32."""
SEED = 11
BLOCK_BYTES = 12
"""Bytes of a block on all chips of the replica."""
HOST_BYTES_PER_S = 13
POOL_BYTES_PER_S = 14
HOST_BLOCKS = 15
POOL_BLOCKS = 16
HASH_BLOCKS = 17
"""Cache blocks of one hash block."""
DEADLINE = 18
"""When the replica fails: no iteration that would end later takes place."""
MEETING = 19
"""Tokens of an iteration that can meet every expert; 1 without experts."""
WINDOW = 20
"""Keys that layers with a sliding window see, 0 without such layers."""
HOST_SEQUENCE_PS = 21
"""What the host adds to an iteration for each sequence of it."""
HOSTS = 22
"""Ranks that share the sequences, each with a host of its own."""
RANK_BUDGET = 23
"""Tokens of an iteration that one of them computes at most; BUDGET is that of all."""
SETTINGS = 24

# What prices a replica has and asks for, int64[ASKED_FIELDS].
ASKED_ROWS = 0
ASKED_TOKENS = 1
ASKED_LOGITS = 2
"""Of a batch that has no price yet (``timing.batch.Rows``)."""
UNEVEN_ROWS = 3
UNEVEN_TOKENS = 4
"""Of the batch of unequal ranks that the first row of the table is for."""
ASKED_FIELDS = 5

# Schedulers.
CHUNKED = 0
PREFILL_FIRST = 1
DECODE_FIRST = 2
STATIC = 3
NO_EVICT = 4

# Preemption.
RECOMPUTE = 0
SWAP = 1

# Running sums, float64[SUMS]; beyond the range of int64, or not whole.
BLOCK_PS = 0
SEQUENCE_PS = 1
TOKEN_SUM = 2
LOGIT_SUM = 3
PAIR_SUM = 4
PAST_SUM = 5
LOGIT_ITERATIONS = 6
SEQUENCE_SUM = 7
MEETING_SUM = 8
"""Tokens, those beyond the setting MEETING of an iteration left out."""
WINDOW_PAIRS = 9
WINDOW_PAST = 10
"""As PAIR_SUM and PAST_SUM, of what layers with a sliding window see."""
SUMS = 11

# Columns of the iteration log.
LOG_START = 0
LOG_END = 1
LOG_TOKENS = 2
LOG_SEQUENCES = 3
LOG_WAITING = 4
LOG_BLOCKS = 5
LOG_BUSY = 6
LOG_FIELDS = 11

BLOCK_TOKENS = 16
"""Tokens of a block of the paged KV cache (vLLM's default)."""

LATEST_PS = 9 * 10**18
NO_HORIZON = np.iinfo(np.int64).max
