# SPDX-License-Identifier: Apache-2.0
"""A gRPC channel to a target: plain on the unix socket, whose file says who may; TLS on TCP, always."""

from __future__ import annotations

from typing import Any

import grpc

from lb.cli.target import Target


def open_channel(target: Target, options: list[tuple[str, Any]]) -> grpc.Channel:
    """Connects when it is first used. The target was checked."""
    if target.path is not None:
        return grpc.insecure_channel(target.address, options=options)
    ca, cert, key = (path.read_bytes() for path in target.tls.files())
    if target.tls.server_name is not None:
        options = [*options, ("grpc.ssl_target_name_override", target.tls.server_name)]
    return grpc.secure_channel(target.address, grpc.ssl_channel_credentials(ca, key, cert), options=options)
