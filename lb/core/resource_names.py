# SPDX-License-Identifier: Apache-2.0
"""Resource names: what the API, the history and findings call an object."""

from __future__ import annotations


def vip_name(name: str) -> str:
    """Of a VIP."""
    return f"vips/{name}"


def pool_name(name: str) -> str:
    """Of a pool."""
    return f"pools/{name}"


def backend_name(pool: str, name: str) -> str:
    """Of a backend."""
    return f"{pool_name(pool)}/backends/{name}"
