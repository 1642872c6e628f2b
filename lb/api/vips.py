# SPDX-License-Identifier: Apache-2.0
"""VipService."""

# ruff: noqa: N802 (gRPC names the methods)
from __future__ import annotations

from google.protobuf.empty_pb2 import Empty

from lb.api import convert, etags, masks, names, present
from lb.api.callers import caller
from lb.api.paging import paginate
from lb.core import edit
from lb.core.model import Config
from lb.core.validate import Found, parse_name, raise_if_any
from lb.ports import Controller
from lb.v1 import vip_pb2, vip_pb2_grpc

MUTABLE = frozenset({"pool", "force", "hash_policy"})
_ANEW = "delete the VIP and create it anew"
FIXED = {"address": _ANEW, "port": _ANEW, "protocol": _ANEW}


class VipService(vip_pb2_grpc.VipServiceServicer):
    """Reads and edits the VIPs of the controller's configuration."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller

    async def GetVip(self, request: vip_pb2.GetVipRequest, _context: object) -> vip_pb2.Vip:
        name = _name("name", request.name)
        return present.vip_to_proto(edit.find_vip(self._controller.view().config, name))

    async def ListVips(self, request: vip_pb2.ListVipsRequest, _context: object) -> vip_pb2.ListVipsResponse:
        vips = self._controller.view().config.vips
        page, token = paginate(
            "vips", vips, request.page_size, request.page_token, lambda name: present.vip_to_proto(vips[name])
        )
        return vip_pb2.ListVipsResponse(vips=page, next_page_token=token)

    async def CreateVip(self, request: vip_pb2.CreateVipRequest, _context: object) -> vip_pb2.Vip:
        found: Found = []
        name = parse_name(found, "vip_id", request.vip_id)
        vip = convert.vip_from_proto(found, "vip", request.vip, name)
        raise_if_any(found)
        view = await self._controller.mutate(
            lambda config: edit.create_vip(config, vip), caller(), validate_only=request.validate_only
        )
        return present.vip_to_proto(view.config.vips[name])

    async def UpdateVip(self, request: vip_pb2.UpdateVipRequest, _context: object) -> vip_pb2.Vip:
        name = _name("vip.name", request.vip.name)

        def change(config: Config) -> Config:
            old = edit.find_vip(config, name)
            etags.check_etag(request.vip.name, request.vip.etag, etags.vip_etag(old))
            found: Found = []
            message = masks.overlay(found, present.plain_vip(old), request.vip, request.update_mask, MUTABLE, FIXED)
            new = convert.vip_from_proto(found, "vip", message, name)
            masks.check_fixed(found, "vip", old, new, FIXED)
            raise_if_any(found)
            return edit.put_vip(config, new)

        view = await self._controller.mutate(change, caller(), validate_only=request.validate_only)
        return present.vip_to_proto(view.config.vips[name])

    async def DeleteVip(self, request: vip_pb2.DeleteVipRequest, _context: object) -> Empty:
        name = _name("name", request.name)

        def change(config: Config) -> Config:
            etags.check_etag(request.name, request.etag, etags.vip_etag(edit.find_vip(config, name)))
            return edit.delete_vip(config, name)

        await self._controller.mutate(change, caller(), validate_only=request.validate_only)
        return Empty()


def _name(field: str, text: str) -> str:
    found: Found = []
    name = names.parse_vip_name(found, field, text)
    raise_if_any(found)
    return name
