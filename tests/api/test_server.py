# SPDX-License-Identifier: Apache-2.0
"""The server itself: socket, health, reflection, limits, and what becomes of errors."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import stat
from grp import struct_group
from pathlib import Path
from tempfile import TemporaryDirectory

import grpc
import pytest
from api.client import Api
from fakes.controller import FakeController
from google.protobuf import message_factory
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from lb.api import listen
from lb.api.server import SERVICES, Server, serve
from lb.core.errors import InvalidError, UnavailableError
from lb.core.model import Config, Pool
from lb.v1.pool_pb2 import CreatePoolRequest, DeletePoolRequest, GetPoolRequest
from lb.v1.system_pb2 import GetStatusRequest
from lb.v1.vip_pb2 import GetVipRequest

LB_SERVICES = {f"lb.v1.{kind}Service" for kind in ("Vip", "Pool", "Backend", "Stats", "System", "Config", "Event")}


def test_every_service_of_the_proto_is_served() -> None:
    assert set(SERVICES) == LB_SERVICES


async def test_a_client_that_knows_nothing_creates_a_vip(controller: FakeController, server: Server) -> None:
    """As grpcurl does: list the services, fetch the descriptors, build the call from them."""
    controller._config = Config(pools={"web": Pool("web")})

    def client() -> tuple[set[str], str]:
        with grpc.insecure_channel(f"unix://{server.path}") as channel:
            database = ProtoReflectionDescriptorDatabase(channel)
            services = set(database.get_services())
            pool = DescriptorPool(database)
            method = pool.FindServiceByName("lb.v1.VipService").FindMethodByName("CreateVip")
            request = message_factory.GetMessageClass(method.input_type)(vip_id="web")
            request.vip.address, request.vip.port, request.vip.pool = "192.0.2.1", 80, "pools/web"
            request.vip.protocol = 1
            call = channel.unary_unary(
                f"/{method.containing_service.full_name}/{method.name}",
                request_serializer=type(request).SerializeToString,
                response_deserializer=message_factory.GetMessageClass(method.output_type).FromString,
            )
            return services, call(request, timeout=10).name

    services, name = await asyncio.to_thread(client)
    assert services == LB_SERVICES | {"grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"}
    assert name == "vips/web"
    assert "web" in controller.view().config.vips


@pytest.mark.parametrize("service", ["", *sorted(LB_SERVICES)])
async def test_health_says_serving_and_what_it_is_told(api: Api, server: Server, service: str) -> None:
    health = health_pb2_grpc.HealthStub(api.channel)
    request = health_pb2.HealthCheckRequest(service=service)
    assert (await health.Check(request)).status == health_pb2.HealthCheckResponse.SERVING
    await server.set_serving(False)
    assert (await health.Check(request)).status == health_pb2.HealthCheckResponse.NOT_SERVING
    await server.set_serving(True)
    assert (await health.Check(request)).status == health_pb2.HealthCheckResponse.SERVING


async def test_health_of_an_unknown_service_is_not_found(api: Api) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await health_pb2_grpc.HealthStub(api.channel).Check(health_pb2.HealthCheckRequest(service="lb.v1.Nope"))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_a_server_may_start_before_it_is_ready(controller: FakeController, tmp_path: Path) -> None:
    server = Server(controller, f"unix://{tmp_path}/lbd.sock")
    await server.start(serving=False)
    api = Api(f"unix://{server.path}")
    answer = await health_pb2_grpc.HealthStub(api.channel).Check(health_pb2.HealthCheckRequest())
    assert answer.status == health_pb2.HealthCheckResponse.NOT_SERVING
    await api.channel.close()
    await server.stop(0)


# Errors.


async def test_an_unavailable_daemon_says_so(api: Api, controller: FakeController) -> None:
    controller.failure = UnavailableError("the data plane is not ready: wait")
    failure = await api.failure(api.pools.CreatePool(CreatePoolRequest(pool_id="web")))
    assert (failure.code, failure.reason, failure.message) == (
        grpc.StatusCode.UNAVAILABLE,
        "UNAVAILABLE",
        "the data plane is not ready: wait",
    )


async def test_a_bug_is_answered_logged_and_survived(api: Api, controller: FakeController, caplog) -> None:
    """The answer gives nothing away, the log everything."""
    controller.failure = ZeroDivisionError("secret detail")
    with caplog.at_level(logging.ERROR, "lb.api.errors"):
        failure = await api.failure(api.vips.GetVip(GetVipRequest(name="vips/web")))
    assert (failure.code, failure.reason) == (grpc.StatusCode.INTERNAL, "INTERNAL")
    assert failure.message == "internal error: lbd's log has the traceback"
    (record,) = caplog.records
    assert record.getMessage() == "/lb.v1.VipService/GetVip failed: this is a bug in lbd"
    assert record.exc_info
    assert record.exc_info[0] is ZeroDivisionError
    controller.failure = None
    assert (await api.system.GetStatus(GetStatusRequest())).ready


async def test_an_unknown_method_is_unimplemented(api: Api) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await api.channel.unary_unary("/lb.v1.VipService/Nope")(b"")
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_many_clients_at_once(api: Api, controller: FakeController) -> None:
    names = [f"p{number}" for number in range(60)]
    await asyncio.gather(*(api.pools.CreatePool(CreatePoolRequest(pool_id=name)) for name in names))
    assert set(controller.view().config.pools) == set(names)
    assert controller.view().revision == len(names)
    await asyncio.gather(*(api.pools.DeletePool(DeletePoolRequest(name=f"pools/{name}")) for name in names))
    assert not controller.view().config.pools


# The socket.


def names(folder: Path) -> list[str]:
    return [entry.name for entry in folder.iterdir()]


async def test_the_socket_is_for_owner_and_group(controller: FakeController, tmp_path: Path) -> None:
    mask = os.umask(0)
    try:
        server = await serve(controller, f"unix://{tmp_path}/run/lb/lbd.sock")
        assert stat.S_IMODE(server.path.stat().st_mode) == 0o660
        assert stat.S_IMODE(server.path.parent.stat().st_mode) == 0o755
    finally:
        assert os.umask(mask) == 0
    await server.stop(0)
    assert names(server.path.parent) == []


@pytest.mark.root
def test_the_socket_belongs_to_the_group_where_there_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    members = struct_group(("lb", "x", 4_321, []))
    monkeypatch.setattr(listen.grp, "getgrnam", {"lb": members}.__getitem__)
    with listen.bind(tmp_path / "lbd.sock"):
        assert (tmp_path / "lbd.sock").stat().st_gid == 4_321


def test_without_the_group_the_socket_is_for_root_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(listen.grp, "getgrnam", {}.__getitem__)
    caplog.set_level(logging.INFO, "lb.api.listen")
    with listen.bind(tmp_path / "lbd.sock"):
        assert (tmp_path / "lbd.sock").stat().st_gid == os.getegid()
    assert "is for root only: there is no group 'lb' (`groupadd --system lb`, restart)" in caplog.text


def test_a_daemon_that_may_not_give_its_socket_to_the_group_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As under systemd without CAP_CHOWN. The socket is then closed to the group, not open to the world."""

    def refuse(*_args: object) -> None:
        raise PermissionError

    monkeypatch.setattr(listen.grp, "getgrnam", {"lb": struct_group(("lb", "x", 4_321, []))}.__getitem__)
    monkeypatch.setattr(listen.os, "chown", refuse)
    with listen.bind(tmp_path / "lbd.sock"):
        assert stat.S_IMODE((tmp_path / "lbd.sock").stat().st_mode) == 0o660
    assert "run lbd with CAP_CHOWN, or as a member of the group" in caplog.text


# The folder of gRPC's own sockets.


async def test_the_folder_of_grpcs_sockets_is_closed_to_others(server: Server) -> None:
    folder = server.path.with_name(".lbd.sock.private")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert names(folder) == ["unix"]


async def test_a_folder_that_was_left_behind_is_taken_over(controller: FakeController, tmp_path: Path) -> None:
    """After kill -9; whatever its mode has become."""
    folder = tmp_path / ".lbd.sock.private"
    folder.mkdir(0o777)
    folder.chmod(0o777)
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(folder / "unix"))
    server = await serve(controller, f"unix://{tmp_path}/lbd.sock")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    api = Api(f"unix://{tmp_path}/lbd.sock")
    assert (await api.system.GetStatus(GetStatusRequest())).ready
    await api.channel.close()
    await server.stop(0)
    assert names(tmp_path) == []


@pytest.mark.root
async def test_a_folder_of_somebody_else_is_not_trusted(controller: FakeController, tmp_path: Path) -> None:
    folder = tmp_path / ".lbd.sock.private"
    folder.mkdir()
    os.chown(folder, 65534, -1)
    with pytest.raises(UnavailableError, match=r"\.private: belongs to somebody else: remove it, or give another"):
        await serve(controller, f"unix://{tmp_path}/lbd.sock")
    assert names(tmp_path) == [folder.name]


async def test_a_folder_that_is_in_use_is_not_cleared(server: Server) -> None:
    """Two daemons that start at the same moment: neither listens yet, so neither sees the other."""
    with pytest.raises(UnavailableError, match=r"another lbd uses /.*lbd\.sock: stop it, or give another --listen"):
        listen.PrivateFolder(server.path)
    assert names(server.path.with_name(".lbd.sock.private")) == ["unix"]


async def test_a_link_instead_of_the_folder_is_not_followed(controller: FakeController, tmp_path: Path) -> None:
    (tmp_path / ".lbd.sock.private").symlink_to("/tmp")
    with pytest.raises(UnavailableError, match=r"\.private: .*: remove it, or give another --listen"):
        await serve(controller, f"unix://{tmp_path}/lbd.sock")


async def test_a_socket_that_was_left_behind_is_replaced(controller: FakeController, tmp_path: Path) -> None:
    """After a crash nobody should have to remove files by hand."""
    path = tmp_path / "lbd.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    server = await serve(controller, f"unix://{path}")
    api = Api(f"unix://{path}")
    assert (await api.system.GetStatus(GetStatusRequest())).ready
    await api.channel.close()
    await server.stop(0)


async def test_a_second_server_is_refused_and_the_first_stays(api: Api, server: Server) -> None:
    with pytest.raises(UnavailableError, match=r"another lbd is listening on /.*lbd\.sock: stop it, or give another"):
        await serve(FakeController(), f"unix://{server.path}")
    assert (await api.system.GetStatus(GetStatusRequest())).ready


async def test_a_listener_with_a_full_backlog_is_not_taken_for_dead(tmp_path: Path) -> None:
    path = tmp_path / "lbd.sock"
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as first:
        listener.bind(str(path))
        listener.listen(0)
        first.connect(str(path))
        with pytest.raises(UnavailableError, match="another lbd is listening"):
            listen.claim(path)


async def test_a_file_in_the_way_is_kept(controller: FakeController, tmp_path: Path) -> None:
    path = tmp_path / "lbd.sock"
    path.write_text("mine")
    with pytest.raises(UnavailableError, match="exists and is not a socket: remove it"):
        await serve(controller, f"unix://{path}")
    assert path.read_text() == "mine"


async def test_a_directory_that_cannot_be_made(controller: FakeController, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UnavailableError, match=r"can't listen on /.*lbd\.sock: .*; make the directory writable"):
        await serve(controller, f"unix://{tmp_path}/file/lbd.sock")
    with pytest.raises(UnavailableError, match=r"can't listen on /proc/lbd\.sock: "):
        await serve(controller, "unix:///proc/lbd.sock")


async def test_a_bind_that_fails_inside_grpc(controller: FakeController, tmp_path: Path, monkeypatch) -> None:
    """Nothing is left behind then."""
    monkeypatch.setattr(listen.PrivateFolder, "path", lambda _folder, name: f"{tmp_path}/missing/{name}")
    with pytest.raises(UnavailableError, match="gRPC can't listen in the private folder"):
        await serve(controller, f"unix://{tmp_path}/lbd.sock")
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("127.0.0.1:50051", "write unix:///PATH; for TCP, with TLS, there is --listen-tls"),
        ("/run/lb/lbd.sock", "write unix:///PATH"),
        ("unix://run/lbd.sock", "write unix:///PATH"),
        ("unix:///" + "x" * 107, "is longer than the 107 bytes that a unix socket's path may have"),
        ("unix:///" + "ö" * 54, "is longer than the 107 bytes"),
    ],
)
def test_targets_that_cannot_be_listened_on(target: str, message: str) -> None:
    with pytest.raises(InvalidError) as caught:
        listen.parse_listen(target)
    (violation,) = caught.value.violations
    assert violation.field == "--listen"
    assert message in violation.message


async def test_the_longest_path_is_served(controller: FakeController) -> None:
    """gRPC's own socket lies deeper still, and must not be what sets the limit."""
    with TemporaryDirectory() as directory:
        path = f"{directory}/{'x' * (listen.MAX_PATH_BYTES - len(directory) - 1)}"
        assert len(path) == 107
        server = await serve(controller, f"unix://{path}")
        api = Api(f"unix://{path}")
        assert (await api.system.GetStatus(GetStatusRequest())).ready
        await api.channel.close()
        await server.stop(0)


async def test_stop_lets_a_running_call_finish(controller: FakeController, tmp_path: Path) -> None:
    """A mutation that was written must be answered, or the operator repeats it."""
    entered, leave = asyncio.Event(), asyncio.Event()
    mutate = controller.mutate

    async def slow(*args, **kwargs):
        entered.set()
        await leave.wait()
        return await mutate(*args, **kwargs)

    controller.mutate = slow
    server = await serve(controller, f"unix://{tmp_path}/lbd.sock")
    api = Api(f"unix://{server.path}")
    call = asyncio.ensure_future(api.pools.CreatePool(CreatePoolRequest(pool_id="web")))
    await entered.wait()
    stopping = asyncio.ensure_future(server.stop(10))
    await asyncio.sleep(0)
    leave.set()
    assert (await call).name == "pools/web"
    await stopping
    await api.channel.close()


async def test_stopping_twice_is_stopping_once(controller: FakeController, tmp_path: Path) -> None:
    """Who cleans up need not know how far the start came."""
    server = await serve(controller, f"unix://{tmp_path}/lbd.sock")
    await server.stop(0)
    other = await serve(controller, f"unix://{tmp_path}/lbd.sock")
    await server.stop(0)
    api = Api(f"unix://{other.path}")
    assert (await api.system.GetStatus(GetStatusRequest())).ready
    await api.channel.close()
    await other.stop(0)


async def test_get_works_while_a_mutation_waits(api: Api, controller: FakeController) -> None:
    async with controller._lock:
        call = asyncio.ensure_future(api.pools.CreatePool(CreatePoolRequest(pool_id="web")))
        failure = await api.failure(api.pools.GetPool(GetPoolRequest(name="pools/web")))
        assert failure.code is grpc.StatusCode.NOT_FOUND
    await call
