# SPDX-License-Identifier: Apache-2.0
"""The API over a few dicts, on a unix socket: what ``lbctl`` is tested against."""

# ruff: noqa: N802 (gRPC names the methods)
from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
from google.protobuf.empty_pb2 import Empty
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from lb.v1 import (
    backend_pb2,
    backend_pb2_grpc,
    config_pb2,
    config_pb2_grpc,
    events_pb2,
    events_pb2_grpc,
    pool_pb2,
    pool_pb2_grpc,
    stats_pb2,
    stats_pb2_grpc,
    system_pb2,
    system_pb2_grpc,
    vip_pb2,
    vip_pb2_grpc,
)

NOW = 1_800_000_000
"""What the fake takes for the present, in seconds since the epoch."""

PAGE_SIZE = 2
"""Small, so that every list of the tests takes several pages."""


def make_status(code: int, message: str, *violations: tuple[str, str]) -> status_pb2.Status:
    """A ``google.rpc.Status`` as lbd sends it; ``violations`` are (field, description)."""
    status = status_pb2.Status(code=code, message=message)
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason="TEST", domain="lb"))
    if violations:
        bad = error_details_pb2.BadRequest()
        for field, description in violations:
            bad.field_violations.add(field=field, description=description)
        status.details.add().Pack(bad)
    return status


class RefusalError(Exception):
    """Raised by a servicer; the interceptor answers with ``status``."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.status = make_status(code, message)


class FakeServer(grpc.ServerInterceptor):
    """Runs the services; ``requests`` is what they were asked, ``failure`` what every call is answered with if set."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.target = f"unix://{path}"
        self.requests: list[object] = []
        self.failure: status_pb2.Status | tuple[grpc.StatusCode, str] | None = None
        self.vips = Table("vip")
        self.pools = Table("pool")
        self.backends = Table("backend")
        self.status = system_pb2.SystemStatus()
        self.stats = stats_pb2.Stats()
        self.config = config_pb2.Config()
        self.applied = config_pb2.ApplyConfigResponse()
        self.revisions: list[config_pb2.Revision] = []
        self.verified = config_pb2.VerifyDataPlaneResponse()
        self.diagnosed = system_pb2.DiagnoseResponse()
        self.events: list[events_pb2.WatchResponse] = []
        self._server = grpc.server(ThreadPoolExecutor(4), interceptors=[self])
        vip_pb2_grpc.add_VipServiceServicer_to_server(VipService(self), self._server)
        pool_pb2_grpc.add_PoolServiceServicer_to_server(PoolService(self), self._server)
        backend_pb2_grpc.add_BackendServiceServicer_to_server(BackendService(self), self._server)
        system_pb2_grpc.add_SystemServiceServicer_to_server(SystemService(self), self._server)
        stats_pb2_grpc.add_StatsServiceServicer_to_server(StatsService(self), self._server)
        config_pb2_grpc.add_ConfigServiceServicer_to_server(ConfigService(self), self._server)
        events_pb2_grpc.add_EventServiceServicer_to_server(EventService(self), self._server)
        self._server.add_insecure_port(self.target)
        self._server.start()

    def stop(self) -> None:
        """Stop at once; the socket's file stays or goes as gRPC likes."""
        self._server.stop(None).wait()

    def intercept_service(self, continuation, details):
        """Record the request; answer with ``failure`` or a servicer's ``RefusalError``."""
        handler = continuation(details)
        if handler.unary_stream is not None:
            return handler

        def guarded(request, context):
            self.requests.append(request)
            if isinstance(self.failure, tuple):
                context.abort(*self.failure)
            try:
                if self.failure is None:
                    return handler.unary_unary(request, context)
                status = self.failure
            except RefusalError as refusal:
                status = refusal.status
            return context.abort_with_status(rpc_status.to_status(status))

        return grpc.unary_unary_rpc_method_handler(guarded, handler.request_deserializer, handler.response_serializer)


class Table(dict):
    """Resources of one kind by full name."""

    def __init__(self, noun: str) -> None:
        super().__init__()
        self._noun = noun

    def put(self, message):
        """Store a message under its name, with an etag."""
        message.etag = f"etag-{len(message.SerializeToString())}"
        self[message.name] = message
        return message

    def find(self, name: str, etag: str = ""):
        """The message; refuses an unknown name and a stale etag."""
        if name not in self:
            raise RefusalError(code_pb2.NOT_FOUND, f"{self._noun} {name!r} does not exist")
        if etag and etag != self[name].etag:
            raise RefusalError(code_pb2.ABORTED, f"{name} was changed meanwhile")
        return self[name]

    def page(self, token: str, parent: str = ""):
        """One page of those under ``parent``, and the next token."""
        names = sorted(name for name in self if name.startswith(parent))
        start = int(token or 0)
        end = start + PAGE_SIZE
        return [self[name] for name in names[start:end]], str(end) if end < len(names) else ""

    def create(self, name: str, message, request):
        """Add a message; refuses a taken name."""
        if name in self:
            raise RefusalError(code_pb2.ALREADY_EXISTS, f"{self._noun} {name!r} exists already")
        made = type(message)()
        made.CopyFrom(message)
        made.name = name
        return made if request.validate_only else self.put(made)

    def update(self, message, request):
        """Change what the mask names."""
        changed = type(message)()
        changed.CopyFrom(self.find(message.name, message.etag))
        request.update_mask.MergeMessage(message, changed, replace_message_field=True)
        return changed if request.validate_only else self.put(changed)

    def remove(self, request):
        """Delete a message."""
        self.find(request.name, request.etag)
        if not request.validate_only:
            del self[request.name]
        return Empty()


class VipService(vip_pb2_grpc.VipServiceServicer):
    def __init__(self, fake: FakeServer) -> None:
        self._table = fake.vips

    def GetVip(self, request, _context):
        return self._table.find(request.name)

    def ListVips(self, request, _context):
        page, token = self._table.page(request.page_token)
        return vip_pb2.ListVipsResponse(vips=page, next_page_token=token)

    def CreateVip(self, request, _context):
        return self._table.create(f"vips/{request.vip_id}", request.vip, request)

    def UpdateVip(self, request, _context):
        return self._table.update(request.vip, request)

    def DeleteVip(self, request, _context):
        return self._table.remove(request)


class PoolService(pool_pb2_grpc.PoolServiceServicer):
    def __init__(self, fake: FakeServer) -> None:
        self._table = fake.pools

    def GetPool(self, request, _context):
        return self._table.find(request.name)

    def ListPools(self, request, _context):
        page, token = self._table.page(request.page_token)
        return pool_pb2.ListPoolsResponse(pools=page, next_page_token=token)

    def CreatePool(self, request, _context):
        return self._table.create(f"pools/{request.pool_id}", request.pool, request)

    def UpdatePool(self, request, _context):
        return self._table.update(request.pool, request)

    def DeletePool(self, request, _context):
        return self._table.remove(request)


class BackendService(backend_pb2_grpc.BackendServiceServicer):
    def __init__(self, fake: FakeServer) -> None:
        self._pools = fake.pools
        self._table = fake.backends

    def GetBackend(self, request, _context):
        return self._table.find(request.name)

    def ListBackends(self, request, _context):
        parent = "" if request.parent == "pools/-" else self._pools.find(request.parent).name + "/"
        page, token = self._table.page(request.page_token, parent)
        return backend_pb2.ListBackendsResponse(backends=page, next_page_token=token)

    def CreateBackend(self, request, _context):
        self._pools.find(request.parent)
        return self._table.create(f"{request.parent}/backends/{request.backend_id}", request.backend, request)

    def UpdateBackend(self, request, _context):
        return self._table.update(request.backend, request)

    def DeleteBackend(self, request, _context):
        return self._table.remove(request)

    def DrainBackend(self, request, _context):
        """Drained at once, unless the backend's status says how far its drain is."""
        drained = backend_pb2.Backend()
        drained.CopyFrom(self._table.find(request.name, request.etag))
        drained.admin_state = backend_pb2.Backend.DRAINING
        drained.drain_deadline_at_seconds = request.deadline_seconds and NOW + request.deadline_seconds
        if not drained.status.HasField("drain"):
            drained.status.drain.drained = True
        return drained if request.validate_only else self._table.put(drained)


class SystemService(system_pb2_grpc.SystemServiceServicer):
    def __init__(self, fake: FakeServer) -> None:
        self._fake = fake

    def GetStatus(self, _request, _context):
        return self._fake.status

    def Diagnose(self, _request, _context):
        return self._fake.diagnosed


class StatsService(stats_pb2_grpc.StatsServiceServicer):
    """Every reading is 2 s and 3,000 received packets after the one before."""

    def __init__(self, fake: FakeServer) -> None:
        self._fake = fake

    def GetStats(self, _request, _context):
        answer = stats_pb2.Stats()
        answer.CopyFrom(self._fake.stats)
        self._fake.stats.time.seconds += 2
        self._fake.stats.received.packets += 3_000
        return answer


class ConfigService(config_pb2_grpc.ConfigServiceServicer):
    def __init__(self, fake: FakeServer) -> None:
        self._fake = fake

    def GetConfig(self, _request, _context):
        return self._fake.config

    def ApplyConfig(self, _request, _context):
        return self._fake.applied

    def RollbackConfig(self, _request, _context):
        return self._fake.applied

    def VerifyDataPlane(self, _request, _context):
        return self._fake.verified

    def ListRevisions(self, request, _context):
        start = int(request.page_token or 0)
        end = start + PAGE_SIZE
        token = str(end) if end < len(self._fake.revisions) else ""
        return config_pb2.ListRevisionsResponse(revisions=self._fake.revisions[start:end], next_page_token=token)


class EventService(events_pb2_grpc.EventServiceServicer):
    """Sends what there is, then ends: the real one goes on."""

    def __init__(self, fake: FakeServer) -> None:
        self._fake = fake

    def Watch(self, request, _context):
        self._fake.requests.append(request)
        yield from self._fake.events
