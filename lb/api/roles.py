# SPDX-License-Identifier: Apache-2.0
"""Who may call what: three roles, each with the rights of those before it, and the role that each method needs."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping


class Role(enum.IntEnum):
    """READ: look, but not at secrets. OPERATE: also drain, undrain and weigh backends. ADMIN: everything."""

    READ = 1
    OPERATE = 2
    ADMIN = 3

    @property
    def word(self) -> str:
        """As certificates and messages have it."""
        return self.name.lower()


ROLE_URI = "urn:lb:role:"
"""A certificate has a role by a URI of its subjectAltName: this and ``Role.word``."""

_NEEDS: Mapping[Role, Mapping[str, tuple[str, ...]]] = {
    Role.READ: {
        "lb.v1.VipService": ("GetVip", "ListVips"),
        "lb.v1.PoolService": ("GetPool", "ListPools"),
        "lb.v1.BackendService": ("GetBackend", "ListBackends"),
        "lb.v1.StatsService": ("GetStats",),
        "lb.v1.SystemService": ("GetStatus", "Diagnose"),
        "lb.v1.ConfigService": ("ListRevisions", "VerifyDataPlane"),
        "lb.v1.EventService": ("Watch",),
        "grpc.health.v1.Health": ("Check", "List", "Watch"),
        "grpc.reflection.v1alpha.ServerReflection": ("ServerReflectionInfo",),
    },
    Role.OPERATE: {
        "lb.v1.BackendService": ("UpdateBackend", "DrainBackend"),
    },
    Role.ADMIN: {
        "lb.v1.VipService": ("CreateVip", "UpdateVip", "DeleteVip"),
        "lb.v1.PoolService": ("CreatePool", "UpdatePool", "DeletePool"),
        "lb.v1.BackendService": ("CreateBackend", "DeleteBackend"),
        # The configuration holds the key of the flow hash: who has it can aim flows at one backend.
        "lb.v1.ConfigService": ("GetConfig", "ApplyConfig", "RollbackConfig"),
    },
}
ROLE_OF_METHOD: Mapping[str, Role] = {
    f"/{service}/{method}": role
    for role, services in _NEEDS.items()
    for service, methods in services.items()
    for method in methods
}


def needed_role(method: str) -> Role:
    """For a method by its full name, "/lb.v1.VipService/GetVip"; ADMIN for one that the table does not have."""
    return ROLE_OF_METHOD.get(method, Role.ADMIN)


def granted_role(uris: Iterable[str]) -> Role | None:
    """The highest role that the URIs of a certificate name; None when they name none."""
    by_uri = {ROLE_URI + role.word: role for role in Role}
    return max((by_uri[uri] for uri in uris if uri in by_uri), default=None)
