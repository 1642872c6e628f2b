# SPDX-License-Identifier: Apache-2.0
"""SystemService."""

# ruff: noqa: N802 (gRPC names the methods)
from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp

from lb import __version__
from lb.api.present_findings import finding_to_proto
from lb.ports import Controller, InterfaceState, XdpMode
from lb.v1 import system_pb2, system_pb2_grpc

_MODES = {
    None: system_pb2.InterfaceStatus.MODE_UNSPECIFIED,
    XdpMode.NATIVE: system_pb2.InterfaceStatus.NATIVE,
    XdpMode.GENERIC: system_pb2.InterfaceStatus.GENERIC,
}


class SystemService(system_pb2_grpc.SystemServiceServicer):
    """Shows the state of the balancer itself, and what is wrong with it."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller

    async def GetStatus(self, _request: system_pb2.GetStatusRequest, _context: object) -> system_pb2.SystemStatus:
        state = await self._controller.state()
        view = self._controller.view()
        return system_pb2.SystemStatus(
            ready=state.ready,
            reason=state.reason,
            version=__version__,
            revision=view.revision,
            start_time=Timestamp(seconds=int(state.started_at)),
            interfaces=[_interface(interface) for interface in state.interfaces],
            vips=len(view.config.vips),
            pools=len(view.config.pools),
            backends=sum(len(pool.backends) for pool in view.config.pools.values()),
            backends_in_ring=sum(not backend.reason for backend in view.backends.values()),
            bpf_dir=state.bpf_dir,
        )

    async def Diagnose(self, _request: system_pb2.DiagnoseRequest, _context: object) -> system_pb2.DiagnoseResponse:
        found = await self._controller.diagnose()
        return system_pb2.DiagnoseResponse(findings=map(finding_to_proto, found))


def _interface(state: InterfaceState) -> system_pb2.InterfaceStatus:
    return system_pb2.InterfaceStatus(
        interface=state.interface, attached=state.attached, mode=_MODES[state.mode], reason=state.reason
    )
