# SPDX-License-Identifier: Apache-2.0
"""Who may do what: roles by certificate on the TLS listener, everything on the unix socket."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import grpc
import pytest
from api.client import Api
from api.pki import Authority, Pair
from fakes.controller import FakeController
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2, reflection_pb2_grpc

from lb.api import access, budget, unix_client
from lb.api.callers import caller
from lb.api.identity import Identity, of_certificate, of_process, user_name
from lb.api.roles import ROLE_OF_METHOD, Role, granted_role, needed_role
from lb.api.server import SERVICES, Server, serve
from lb.api.tls import TlsSettings
from lb.core.audit import Caller, Record
from lb.core.model import Config, Pool
from lb.v1 import backend_pb2, config_pb2, events_pb2, pool_pb2, stats_pb2, system_pb2, vip_pb2
from lb.v1.backend_pb2 import UpdateBackendRequest
from lb.v1.events_pb2 import WatchRequest
from lb.v1.events_pb2_grpc import EventServiceStub
from lb.v1.pool_pb2 import CreatePoolRequest, ListPoolsRequest

MODULES = (vip_pb2, pool_pb2, backend_pb2, stats_pb2, system_pb2, config_pb2, events_pb2)
HEALTH = health_pb2.HealthCheckRequest()
LIST_SERVICES = reflection_pb2.ServerReflectionRequest(list_services="")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("pki") / "ca")


@pytest.fixture(scope="module")
def pairs(authority: Authority) -> dict[str, Pair]:
    """The daemon's certificate "lbd", one for each role, and "nobody", which has none."""
    roles = {role.word: f"URI:urn:lb:role:{role.word}" for role in Role}
    return {
        "lbd": authority.issue("lbd", "IP:127.0.0.1"),
        "nobody": authority.issue("nobody", "URI:urn:lb:role:emperor", "DNS:urn.lb.role.admin"),
        **{word: authority.issue(word, uri) for word, uri in roles.items()},
    }


@pytest.fixture
async def server(
    controller: FakeController, tmp_path: Path, authority: Authority, pairs: dict[str, Pair]
) -> AsyncIterator[Server]:
    controller._config = Config(pools={"web": Pool("web")})
    tls = TlsSettings("127.0.0.1:0", pairs["lbd"].cert, pairs["lbd"].key, authority.ca)
    server = await serve(controller, f"unix://{tmp_path}/lbd.sock", tls)
    yield server
    await server.stop(0)


@pytest.fixture
async def clients(server: Server, authority: Authority, pairs: dict[str, Pair]) -> AsyncIterator[dict[str, Api]]:
    """A client for each certificate."""
    found = {
        name: Api(
            f"127.0.0.1:{server.tls_port}",
            grpc.ssl_channel_credentials(authority.ca.read_bytes(), pair.key.read_bytes(), pair.cert.read_bytes()),
        )
        for name, pair in pairs.items()
    }
    yield found
    for client in found.values():
        await client.channel.close()


async def denials(controller: FakeController) -> list[Record]:
    return [record for record in await controller.history(0, 1000) if not record.revision]


# Roles.


def test_every_method_has_a_role() -> None:
    """A method that is added must be thought about, not fall to whatever the default is."""
    modules = (*MODULES, health_pb2, reflection_pb2)
    served = [service for module in modules for service in module.DESCRIPTOR.services_by_name.values()]
    assert {service.full_name for service in served} == {*SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME}
    methods = {f"/{service.full_name}/{method.name}" for service in served for method in service.methods}
    assert set(ROLE_OF_METHOD) == methods


def test_what_changes_something_is_not_for_readers() -> None:
    """Said here once more, by the methods' names."""
    looking = ("Get", "List", "Check", "Watch", "Verify", "Diagnose", "ServerReflectionInfo")
    for method, role in ROLE_OF_METHOD.items():
        name = method.rpartition("/")[2]
        reads = name.startswith(looking) and name != "GetConfig"
        assert (role is Role.READ) == reads, method
    operate = {method for method, role in ROLE_OF_METHOD.items() if role is Role.OPERATE}
    assert operate == {"/lb.v1.BackendService/UpdateBackend", "/lb.v1.BackendService/DrainBackend"}


def test_an_unknown_method_needs_the_highest_role() -> None:
    assert needed_role("/lb.v1.VipService/Nope") is Role.ADMIN


@pytest.mark.parametrize(
    ("uris", "role"),
    [
        ([], None),
        (["urn:lb:role:read"], Role.READ),
        (["urn:lb:role:operate", "urn:lb:role:read"], Role.OPERATE),
        (["https://example.com", "urn:lb:role:admin"], Role.ADMIN),
        (["urn:lb:role:ADMIN", "urn:lb:role:admin2", "urn:lb:role:", "urn:lb:role", "lb:role:admin"], None),
    ],
)
def test_the_role_of_a_certificate(uris: list[str], role: Role | None) -> None:
    assert granted_role(uris) is role


LOOK, WEIGH, CHANGE, SECRET = "look", "weigh", "change", "secret"
ALLOWED = {
    "nobody": set(),
    "lbd": set(),
    "read": {LOOK},
    "operate": {LOOK, WEIGH},
    "admin": {LOOK, WEIGH, CHANGE, SECRET},
}


@pytest.mark.parametrize("who", sorted(ALLOWED))
async def test_each_role_may_do_its_part(clients: dict[str, Api], who: str) -> None:
    api = clients[who]
    calls = {
        LOOK: api.pools.ListPools(ListPoolsRequest()),
        WEIGH: api.backends.UpdateBackend(UpdateBackendRequest(backend={"name": "pools/web/backends/b1"})),
        CHANGE: api.pools.CreatePool(CreatePoolRequest(pool_id="new")),
        SECRET: api.config.GetConfig(config_pb2.GetConfigRequest()),
    }
    allowed = {kind for kind, call in calls.items() if await _code(call) is not grpc.StatusCode.PERMISSION_DENIED}
    assert allowed == ALLOWED[who]


async def _code(call: grpc.aio.UnaryUnaryCall) -> grpc.StatusCode:
    return await call.code()


async def test_a_denied_call_says_which_role_it_needs(clients: dict[str, Api]) -> None:
    failure = await Api.failure(clients["read"].pools.CreatePool(CreatePoolRequest(pool_id="new")))
    assert (failure.code, failure.reason) == (grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED")
    assert failure.message == "PoolService.CreatePool needs role admin, the certificate has role read"
    failure = await Api.failure(clients["nobody"].pools.ListPools(ListPoolsRequest()))
    assert failure.message == (
        "PoolService.ListPools needs role read, the certificate has none: the URI urn:lb:role:read in its "
        "subjectAltName gives that role"
    )


async def test_a_denied_call_changes_nothing_and_is_on_record(
    clients: dict[str, Api], controller: FakeController
) -> None:
    before = controller.view().config
    await Api.failure(clients["operate"].pools.CreatePool(CreatePoolRequest(pool_id="new")))
    assert controller.view().config == before
    (record,) = await denials(controller)
    assert (record.caller.who, record.caller.method) == ("operate (cert CN)", "PoolService.CreatePool")
    assert record.caller.origin.startswith("127.0.0.1:")
    assert record.note == "needs role admin, the certificate has role operate"


async def test_denied_calls_cannot_fill_the_record(clients: dict[str, Api], controller: FakeController) -> None:
    for _ in range(access.DENIALS_PER_MINUTE + 5):
        await Api.failure(clients["nobody"].pools.ListPools(ListPoolsRequest()))
    assert len(await denials(controller)) == access.DENIALS_PER_MINUTE


def test_a_budget_is_renewed_and_tells_what_it_left_out() -> None:
    now = 0.0
    purse = budget.Budget(2, lambda: now)
    assert [purse.take() for _ in range(4)] == ["", "", None, None]
    now = budget.WINDOW_SECONDS
    assert [purse.take() for _ in range(3)] == [" (2 more before it)", "", None]


async def test_streams_are_checked_too(clients: dict[str, Api], controller: FakeController) -> None:
    """Watch, health's Watch and reflection: the three kinds of streams that are served."""
    channel = clients["nobody"].channel
    for stream in (
        EventServiceStub(channel).Watch(WatchRequest()),
        health_pb2_grpc.HealthStub(channel).Watch(HEALTH),
        reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter([LIST_SERVICES])),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stream.read()
        assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert {record.caller.method for record in await denials(controller)} == {
        "EventService.Watch",
        "Health.Watch",
        "ServerReflection.ServerReflectionInfo",
    }


async def test_a_reader_may_use_all_streams(clients: dict[str, Api]) -> None:
    channel = clients["read"].channel
    health_stream = health_pb2_grpc.HealthStub(channel).Watch(HEALTH)
    assert (await health_stream.read()).status == health_pb2.HealthCheckResponse.SERVING
    health_stream.cancel()
    reflected = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter([LIST_SERVICES]))
    assert {item.name for item in (await reflected.read()).list_services_response.service} >= set(SERVICES)
    watch = EventServiceStub(channel).Watch(WatchRequest())
    assert (await watch.read()).WhichOneof("body") == "snapshot"
    watch.cancel()


async def test_a_request_is_parsed_only_when_it_may_be_made(clients: dict[str, Api]) -> None:
    garbage = b"\xff" * 20
    for who, code in (
        ("read", grpc.StatusCode.PERMISSION_DENIED),
        ("admin", grpc.StatusCode.INVALID_ARGUMENT),
    ):
        call = clients[who].channel.unary_unary("/lb.v1.PoolService/CreatePool")(garbage)
        failure = await Api.failure(call)
        assert failure.code is code
    assert failure.violations == {"request": "is not a message of PoolService.CreatePool"}


# Who it was.


class Witness(FakeController):
    """Remembers on whose behalf it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.callers: list[Caller] = []

    async def apply(self, change, by, **options):
        self.callers.append(by)
        return await super().apply(change, by, **options)

    def subscribe(self, start_revision=0):
        self.callers.append(caller())
        return super().subscribe(start_revision)


@pytest.fixture
def controller() -> Witness:
    return Witness()


@pytest.mark.root
async def test_the_unix_socket_tells_who_called(controller: Witness, server: Server) -> None:
    """For one answer and for a stream; and there everybody is an admin."""
    api = Api(f"unix://{server.path}")
    await api.pools.CreatePool(CreatePoolRequest(pool_id="new"))
    stream = EventServiceStub(api.channel).Watch(WatchRequest())
    await stream.read()
    stream.cancel()
    await api.channel.close()
    who, origin = "root (uid 0)", f"unix, pid {os.getpid()}"
    assert controller.callers == [
        Caller(who, origin, "PoolService.CreatePool"),
        Caller(who, origin, "EventService.Watch"),
    ]


async def test_a_certificate_tells_who_called(controller: Witness, clients: dict[str, Api]) -> None:
    await clients["admin"].pools.CreatePool(CreatePoolRequest(pool_id="new"))
    (found,) = controller.callers
    assert (found.who, found.method) == ("admin (cert CN)", "PoolService.CreatePool")
    assert found.origin.startswith("127.0.0.1:")


CHILD = """
import os, sys, grpc, grpc._channel, encodings.idna, socket
from lb.v1.pool_pb2 import CreatePoolRequest
from lb.v1.pool_pb2_grpc import PoolServiceStub
path, group = sys.argv[1], int(sys.argv[2])
os.setgroups([]), os.setgid(group), os.setuid(65534)
with grpc.insecure_channel(f"unix://{path}") as channel:
    try:
        print(PoolServiceStub(channel).CreatePool(CreatePoolRequest(pool_id="new"), timeout=20).name, os.getpid())
    except grpc.RpcError as error:
        print(error.code().name)
folder, name = path.rsplit("/", 1)
for private in (f"{folder}/.{name}.private/unix", f"/proc/{os.getppid()}/root{folder}/.{name}.private/unix"):
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(private)
            print("let in")
        except PermissionError:
            print("kept out")
"""


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can look into, as /run/lb is."""
    with TemporaryDirectory(prefix="lb-access-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.root
@pytest.mark.parametrize(("group", "member"), [(65533, True), (65534, False)])
async def test_another_user(controller: Witness, open_folder: Path, group: int, member: bool) -> None:
    """A member of the socket's group is let in under its own name; nobody else is, and gRPC's socket is for no one."""
    server = await serve(controller, f"unix://{open_folder}/lbd.sock")
    os.chown(server.path, -1, 65533)
    child = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", CHILD, str(server.path), str(group)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    await server.stop(0)
    first, *private = child.stdout.splitlines()
    assert private == ["kept out", "kept out"]
    if member:
        name, pid = first.split()
        assert name == "pools/new"
        assert controller.callers == [
            Caller("nobody (uid 65534)", f"unix, pid {pid}", "PoolService.CreatePool"),
        ]
    else:
        assert first == "UNAVAILABLE"
        assert controller.callers == []


def test_a_user_without_a_name_has_a_number() -> None:
    assert of_process(0, 4_294_967_294, user_name(4_294_967_294)) == Identity("uid 4294967294", "unix", Role.ADMIN)


async def test_a_directory_service_that_hangs_holds_nobody_up(
    controller: Witness, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = threading.Event()
    monkeypatch.setattr(unix_client, "LOOKUP_SECONDS", 0.05)
    monkeypatch.setattr(unix_client.identity, "user_name", lambda _uid: str(answer.wait(30)))
    api = Api(f"unix://{server.path}")
    await api.pools.CreatePool(CreatePoolRequest(pool_id="new"))
    answer.set()
    await api.channel.close()
    assert [found.who for found in controller.callers] == [f"uid {os.geteuid()}"]


@pytest.mark.parametrize(
    ("subject", "alternatives", "who"),
    [
        ([("organizationName", "Example"), ("commonName", "alice")], [], "alice (cert CN)"),
        ([], [("URI", "urn:lb:role:read"), ("DNS", "alice.example")], "alice.example (cert SAN)"),
        ([("commonName", "")], [("email", "alice@example.com")], "alice@example.com (cert SAN)"),
        ([], [("URI", "urn:lb:role:read")], "71AD (cert serial number)"),
        ([("commonName", "root\n\x1b[31m")], [], "root??[31m (cert CN)"),
        ([("commonName", "x" * 100)], [], f"{'x' * 61}... (cert CN)"),
    ],
)
def test_the_name_of_a_certificate(subject: list, alternatives: list, who: str) -> None:
    """It goes to logs and terminals, and must not be taken for another kind of name."""
    certificate = {
        "subject": tuple((pair,) for pair in subject),
        "subjectAltName": tuple(alternatives),
        "serialNumber": "71AD",
    }
    assert of_certificate(certificate, "192.0.2.7:53142").who == who
