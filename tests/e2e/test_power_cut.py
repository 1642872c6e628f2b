# SPDX-License-Identifier: Apache-2.0
"""Whatever moment the daemon dies at, what it had answered is there afterwards, in the store and in the maps."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
from testbed import Lbd, Testbed

from lb.v1 import (
    backend_pb2,
    backend_pb2_grpc,
    config_pb2,
    config_pb2_grpc,
    pool_pb2,
    pool_pb2_grpc,
    vip_pb2,
    vip_pb2_grpc,
)

pytestmark = [pytest.mark.root, pytest.mark.timeout(600)]

MUTATIONS, KILLS = (200, 20) if os.environ.get("LB_DEEP") else (40, 4)
MAX_DELAY_SECONDS = 0.06
"""A mutation takes about as long: the kill falls before, into, or after it."""

CALL_SECONDS = 20.0
POOLS = ("web", "api")
BACKENDS = ("b1", "b2", "b3")
PORTS = range(1, 6)

Key = tuple[Any, ...]
State = dict[Key, tuple[Any, ...]]
"""What the operator set: ("pools", pool), ("backends", pool, name), ("vips", name), with the values chosen here."""

STUBS: dict[str, Any] = {"Pool": pool_pb2_grpc, "Backend": backend_pb2_grpc, "Vip": vip_pb2_grpc}


@dataclass(frozen=True, slots=True)
class Mutation:
    """A call that is not yet made, and the state once it has been carried out."""

    service: str
    method: str
    request: Any
    after: State

    def begin(self, channel: grpc.Channel) -> Any:
        """Make the call; returns its future."""
        stub = getattr(STUBS[self.service], f"{self.service}ServiceStub")(channel)
        return getattr(stub, self.method).future(self.request, timeout=CALL_SECONDS, wait_for_ready=True)


@dataclass
class Operator:
    """Makes random mutations, and knows what has to come of them."""

    bed: Testbed
    random: random.Random
    state: State = field(default_factory=dict)

    def next(self) -> Mutation:
        """One that can be made now."""
        kinds = [self.set_pool, self.add, self.add, self.weigh, self.weigh, self.remove, self.add_vip, self.remove_vip]
        while (mutation := self.random.choice(kinds)()) is None:
            pass
        return mutation

    def set_pool(self) -> Mutation:
        """Create a pool, or change one."""
        name, seconds = self.random.choice(POOLS), self.random.randint(1, 600)
        pool = pool_pb2.Pool(name=f"pools/{name}", settle_seconds=seconds)
        after = {**self.state, ("pools", name): (seconds,)}
        if ("pools", name) not in self.state:
            return Mutation("Pool", "CreatePool", pool_pb2.CreatePoolRequest(pool_id=name, pool=pool), after)
        request = pool_pb2.UpdatePoolRequest(pool=pool)
        request.update_mask.paths.append("settle_seconds")
        return Mutation("Pool", "UpdatePool", request, after)

    def add(self) -> Mutation | None:
        """A backend comes."""
        keys = [("backends", pool, name) for _, pool in self._names("pools") for name in BACKENDS]
        key = self._one(key for key in keys if key not in self.state)
        if key is None:
            return None
        backend = backend_pb2.Backend(address=self.bed.address(key[2]), weight=self.random.randint(0, 9))
        parent = f"pools/{key[1]}"
        request = backend_pb2.CreateBackendRequest(parent=parent, backend_id=key[2], backend=backend)
        return Mutation("Backend", "CreateBackend", request, {**self.state, key: (backend.address, backend.weight)})

    def weigh(self) -> Mutation | None:
        """A backend's share changes."""
        key = self._one(self._names("backends"))
        if key is None:
            return None
        backend = backend_pb2.Backend(name=f"pools/{key[1]}/backends/{key[2]}", weight=self.random.randint(0, 9))
        request = backend_pb2.UpdateBackendRequest(backend=backend)
        request.update_mask.paths.append("weight")
        after = {**self.state, key: (self.state[key][0], backend.weight)}
        return Mutation("Backend", "UpdateBackend", request, after)

    def remove(self) -> Mutation | None:
        """A backend goes."""
        key = self._one(self._names("backends"))
        if key is None:
            return None
        request = backend_pb2.DeleteBackendRequest(name=f"pools/{key[1]}/backends/{key[2]}")
        return Mutation("Backend", "DeleteBackend", request, without(self.state, key))

    def add_vip(self) -> Mutation | None:
        """A VIP comes."""
        port = self._one((port,) for port in PORTS if ("vips", f"v{port}") not in self.state)
        pool = self._one(self._names("pools"))
        if port is None or pool is None:
            return None
        number = int(port[0])
        vip = vip_pb2.Vip(address=self.bed.vip, port=number, protocol=vip_pb2.Vip.TCP, pool=f"pools/{pool[1]}")
        request = vip_pb2.CreateVipRequest(vip_id=f"v{number}", vip=vip)
        return Mutation("Vip", "CreateVip", request, {**self.state, ("vips", f"v{number}"): (number, pool[1])})

    def remove_vip(self) -> Mutation | None:
        """A VIP goes."""
        key = self._one(self._names("vips"))
        if key is None:
            return None
        return Mutation("Vip", "DeleteVip", vip_pb2.DeleteVipRequest(name=f"vips/{key[1]}"), without(self.state, key))

    def _names(self, kind: str) -> list[Key]:
        return [key for key in self.state if key[0] == kind]

    def _one(self, keys: Iterable[Key]) -> Key | None:
        found = sorted(keys)
        return self.random.choice(found) if found else None


def without(state: State, key: Key) -> State:
    """All but one."""
    return {other: values for other, values in state.items() if other != key}


def stored(channel: grpc.Channel) -> State:
    """What `lbd` says that the operator set."""
    request = config_pb2.GetConfigRequest()
    stub = config_pb2_grpc.ConfigServiceStub(channel)
    config = stub.GetConfig(request, timeout=CALL_SECONDS, wait_for_ready=True)
    state: State = {}
    for pool in config.pools:
        name = pool.name.split("/")[1]
        state["pools", name] = (pool.settle_seconds,)
        for backend in pool.backends:
            state["backends", name, backend.name.split("/")[3]] = (backend.address, backend.weight)
    for vip in config.vips:
        state["vips", vip.name.split("/")[1]] = (vip.port, vip.pool.split("/")[1])
    return state


@pytest.fixture
def bed(prefix: str) -> Iterator[Testbed]:
    """Three backends."""
    with Testbed(backends=3, name_prefix=f"{prefix}-power") as made:
        yield made


def test_what_was_answered_survives_a_kill_at_any_moment(bed: Testbed) -> None:
    """A change that was under way is there wholly or not at all; the maps are what the configuration says."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    operator = Operator(bed, random.Random(seed))
    kills = set(operator.random.sample(range(MUTATIONS), KILLS))
    with Lbd(bed) as lbd:
        for number in range(MUTATIONS):
            mutation = operator.next()
            with grpc.insecure_channel(lbd.target) as channel:
                call = mutation.begin(channel)
                if number not in kills:
                    call.result()
                    operator.state = mutation.after
                    continue
                time.sleep(operator.random.uniform(0, MAX_DELAY_SECONDS))
                lbd.kill()
                answered = wait_for_end(call)
            lbd.start()
            with grpc.insecure_channel(lbd.target) as channel:
                found = stored(channel)
            assert found == mutation.after if answered else found in (operator.state, mutation.after)
            operator.state = found
            verified = lbd.lbctl("verify")
            assert verified["problems"] == []
            assert int(verified["compared"]) > 0


def wait_for_end(call: Any) -> bool:
    """Whether the call was answered before the daemon died."""
    try:
        call.result(timeout=CALL_SECONDS)
    except grpc.RpcError:
        return False
    return True
