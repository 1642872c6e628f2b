# SPDX-License-Identifier: Apache-2.0
"""Etags: a hash of what the operator set, so that equal content has an equal etag, also after a restart."""

from __future__ import annotations

import hashlib
import json

from lb.core import codec
from lb.core.errors import StaleError
from lb.core.model import Backend, Pool, Vip


def vip_etag(vip: Vip) -> str:
    """Etag of a VIP."""
    return _hash(vip.name, codec.encode_vip(vip))


def pool_etag(pool: Pool) -> str:
    """Etag of a pool: members count, because deleting the pool deletes them."""
    members = {name: codec.encode_backend(backend) for name, backend in pool.backends.items()}
    return _hash(pool.name, codec.encode_pool(pool), members)


def backend_etag(pool: str, backend: Backend) -> str:
    """Etag of a backend."""
    return _hash(pool, backend.name, codec.encode_backend(backend))


def check_etag(name: str, sent: str, current: str) -> None:
    """Raise ``StaleError`` when an etag was sent and is not the current one."""
    if sent and sent != current:
        raise StaleError(f"{name} was changed meanwhile: read it again, then repeat the change with its new etag")


def _hash(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
