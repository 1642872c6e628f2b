# SPDX-License-Identifier: Apache-2.0
"""What a backend runs: nginx and a UDP echo, both answering with the backend's name, on IPv4 and IPv6."""

from __future__ import annotations

from pathlib import Path

HTTP_PORT = 80
ECHO_PORT = 7

_CONFIG = """\
user root;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    default_type text/plain;
    client_max_body_size 0;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen {port} backlog=4096;
        listen [::]:{port} backlog=4096;
        location / {{ return 200 "{name}\\n"; }}
        # Answers when it has the whole body; the one above does not wait for it.
        location /upload {{
            proxy_pass http://127.0.0.1:{port}/;
            proxy_pass_request_body off;
            proxy_set_header Content-Length "";
        }}
    }}
}}
"""


def nginx_command(name: str, folder: Path) -> list[str]:
    """Write a configuration into ``folder``; returns the command that starts nginx and ends when it listens."""
    folder.mkdir(parents=True)
    config = folder / "nginx.conf"
    config.write_text(_CONFIG.format(folder=folder, port=HTTP_PORT, name=name))
    # -e: before it reads the configuration it would write to the system's log.
    return ["nginx", "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(config)]
