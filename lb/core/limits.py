# SPDX-License-Identifier: Apache-2.0
"""Fixed capacities. Each is a map's size or an index's width; exceeding one is refused before anything is written."""

VIP_SLOTS_LOG2 = 14
"""Places of the largest VIP table, as a power of two; it is half full with as many VIPs as there may be."""

FLOW_ENTRIES = 1_048_576
"""Flows of moving slots that can be tracked: about 8,000 short connections a second there."""

FRAGMENT_ENTRIES = 16_384
"""Fragmented datagrams on their way at a time; the least recently used give way."""

MAX_VIPS = 4_096
"""Each may have an address of its own, which has an entry as well."""

MAX_POOLS = 512
MAX_RINGS = 1_024
"""A pool has one ring for each protocol that its VIPs use."""

MAX_BACKENDS = 65_534
"""Over all pools; index 0 means none and 0xffff means tracked."""

MAX_BACKENDS_PER_POOL = 4_096
"""Sixteen slots of the ring each, on average: fewer would make equal weights visibly unequal."""
