# SPDX-License-Identifier: Apache-2.0
"""``lbctl`` over TCP: never without TLS, and what goes wrong with certificates is said in words."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from api.pki import Authority, Pair
from click.testing import CliRunner, Result
from fakes.controller import FakeController

from lb.api.server import Server
from lb.api.tls import TlsSettings
from lb.cli.main import cli
from lb.cli.options import settings_of
from lb.cli.target import parse_target
from lb.cli.tls import TlsOptions, explain

README = Path(__file__).resolve().parents[2] / "README.md"
ADMIN = "URI:urn:lb:role:admin"


@dataclass(frozen=True)
class Site:
    """A daemon on TCP, and who has certificates for it."""

    port: int
    authority: Authority
    stranger: Authority

    def run(self, pair: Pair, *args: str, ca: Path | None = None, host: str = "127.0.0.1") -> Result:
        files = {"--tls-ca": ca or self.authority.ca, "--tls-cert": pair.cert, "--tls-key": pair.key}
        options = [word for option, path in files.items() for word in (option, str(path))]
        return CliRunner().invoke(cli, ["--target", f"{host}:{self.port}", *options, *args], prog_name="lbctl")


@contextmanager
def daemon(folder: Path, settings: TlsSettings) -> Iterator[int]:
    """A server in a thread; its port."""
    started, ports, loop, done = threading.Event(), [], asyncio.new_event_loop(), asyncio.Event()

    async def serve() -> None:
        server = Server(FakeController(), f"unix://{folder}/lbd.sock", settings)
        await server.start()
        ports.append(server.tls_port)
        started.set()
        await done.wait()
        await server.stop(0)

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert started.wait(30)
    try:
        yield ports[0]
    finally:
        loop.call_soon_threadsafe(done.set)
        thread.join(30)
        loop.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    authority, stranger = Authority(folder / "ca"), Authority(folder / "other-ca", "another CA")
    lbd = authority.issue("lbd", "IP:127.0.0.1", "DNS:lb1.example")
    with daemon(folder, TlsSettings("127.0.0.1:0", lbd.cert, lbd.key, authority.ca)) as port:
        yield Site(port, authority, stranger)


@pytest.fixture(scope="module")
def admin(site: Site) -> Pair:
    return site.authority.issue("admin", ADMIN)


def test_an_admin_gets_things_done(site: Site, admin: Pair) -> None:
    assert site.run(admin, "pool", "create", "by-tls").exit_code == 0
    assert json.loads(site.run(admin, "pool", "get", "by-tls", "-o", "json").stdout)["name"] == "pools/by-tls"


def test_the_recipe_of_the_readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Typed as it stands, but for the address, it ends in an operator who may operate."""
    monkeypatch.chdir(tmp_path)
    (recipe,) = re.findall(r"^```bash\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)
    *openssl, lbd, lbctl = recipe.replace("10.0.0.1", "127.0.0.1").splitlines()
    subprocess.run(["bash", "-ec", "\n".join(openssl)], check=True, capture_output=True, timeout=60)
    words = lbd.split()
    files = (tmp_path / words[words.index(f"--tls-{name}") + 1] for name in ("cert", "key", "ca"))
    with daemon(tmp_path, TlsSettings("127.0.0.1:0", *files)) as port:
        args = lbctl.replace(":8443", f":{port}").split()[1:]
        assert CliRunner().invoke(cli, args).exit_code == 0
        denied = CliRunner().invoke(cli, [*args[:-2], "pool", "create", "web"])
        assert denied.stderr == "Error: PoolService.CreatePool needs role admin, the certificate has role operate\n"


def test_the_environment_will_do(site: Site, admin: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "LB_TARGET": f"127.0.0.1:{site.port}",
        "LB_TLS_CA": site.authority.ca,
        "LB_TLS_CERT": admin.cert,
        "LB_TLS_KEY": admin.key,
    }.items():
        monkeypatch.setenv(name, str(value))
    assert CliRunner().invoke(cli, ["status"]).exit_code == 0


def test_another_role_is_denied_with_words(site: Site) -> None:
    reader = site.authority.issue("reader", "URI:urn:lb:role:read")
    assert site.run(reader, "pool", "list").exit_code == 0
    result = site.run(reader, "pool", "create", "web")
    assert result.exit_code == 6
    assert result.stderr == "Error: PoolService.CreatePool needs role admin, the certificate has role read\n"


def test_an_expired_certificate(site: Site) -> None:
    result = site.run(site.authority.issue("expired", ADMIN, days=-1), "pool", "list")
    assert result.exit_code == 6
    assert result.stderr == (f"Error: lbd on 127.0.0.1:{site.port} refused our certificate: certificate has expired\n")


def test_a_certificate_of_the_wrong_ca(site: Site) -> None:
    result = site.run(site.stranger.issue("admin", ADMIN), "pool", "list")
    assert result.exit_code == 6
    assert "refused our certificate: it is not signed by the CA that lbd trusts (its --tls-ca)" in result.stderr


def test_a_certificate_that_is_not_for_clients(site: Site) -> None:
    result = site.run(site.authority.issue("server", ADMIN, usage="serverAuth"), "pool", "list")
    assert result.exit_code == 6
    assert "refused our certificate: it is not meant for clients (extended key usage)" in result.stderr


def test_a_daemon_of_the_wrong_ca(site: Site, admin: Pair) -> None:
    result = site.run(admin, "pool", "list", ca=site.stranger.ca)
    assert result.exit_code == 5
    assert result.stderr.startswith(f"Error: the certificate of lbd on 127.0.0.1:{site.port} was refused: ")
    assert result.stderr.endswith(": --tls-ca must be the CA that signed it\n")


def test_a_daemon_of_another_name(site: Site, admin: Pair) -> None:
    result = site.run(admin, "pool", "list", host="localhost")
    assert result.exit_code == 5
    assert "certificate is not valid for 'localhost': give the name that is in it with --tls-server-name" in (
        result.stderr
    )
    assert site.run(admin, "pool", "list", "--tls-server-name", "lb1.example", host="localhost").exit_code == 0


def test_something_else_that_listens(site: Site, admin: Pair) -> None:
    """Not TLS, or TLS that is closed without a word."""
    answers = [b"HTTP/1.1 400 Bad Request\r\n\r\n" * 10, b""]
    options = TlsOptions(site.authority.ca, admin.cert, admin.key)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"

        def answer() -> None:
            for words in answers:
                connection, _ = server.accept()
                with connection:
                    connection.recv(65_536)
                    connection.sendall(words)

        thread = threading.Thread(target=answer)
        thread.start()
        failures = [explain(address, options) for _ in answers]
        thread.join(30)
    words = [failure.message if failure else "" for failure in failures]
    assert words[0] == f"what listens on {address} does not speak TLS: is it lbd --listen-tls?"
    assert words[1].startswith(f"no TLS connection to {address}: ")
    assert words[1].endswith(": lbd's log may say why")


def test_nobody_at_a_tcp_target(site: Site, admin: Pair) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    result = Site(port, site.authority, site.stranger).run(admin, "vip", "list")
    assert result.exit_code == 5
    assert f"lbd does not answer on 127.0.0.1:{port}" in result.stderr


@pytest.mark.parametrize(
    ("args", "missing"),
    [
        ([], "--tls-ca, --tls-cert, --tls-key"),
        (["--tls-ca", "ca.pem"], "--tls-cert, --tls-key"),
        (["--tls-ca", "ca.pem", "--tls-cert", "cert.pem"], "--tls-key"),
    ],
)
def test_there_is_no_tcp_without_tls(args: list[str], missing: str) -> None:
    result = CliRunner().invoke(cli, ["--target", "127.0.0.1:8443", *args, "status"])
    assert result.exit_code == 2
    assert result.stderr == (
        f"Error: a TCP target needs {missing} (or LB_TLS_CA, LB_TLS_CERT, LB_TLS_KEY): lbd speaks only TLS on TCP, "
        "and asks for a certificate\n"
    )


def test_files_that_cannot_be_used(site: Site, admin: Pair, tmp_path: Path) -> None:
    result = site.run(Pair(tmp_path / "missing", admin.key), "status")
    assert (result.exit_code, result.stderr) == (
        2,
        f"Error: --tls-cert: {tmp_path}/missing: No such file or directory: give a PEM file\n",
    )


def test_the_unix_socket_needs_none_of_this() -> None:
    """An environment that is set up for TCP does not get in the way."""
    with cli.make_context("lbctl", ["--target", "/run/lb/lbd.sock", "--tls-ca", "/nowhere", "status"]) as context:
        target = settings_of(context).target
    assert (target.path, target.tls.ca) == (Path("/run/lb/lbd.sock"), Path("/nowhere"))


@pytest.mark.parametrize(
    "address", ["dns:///127.0.0.1:{}", "ipv4:127.0.0.1:{}", "dns://8.8.8.8/127.0.0.1:{}", "127.0.0.1:{}"]
)
def test_targets_that_can_be_explained(site: Site, address: str) -> None:
    """Whatever way gRPC has to write them."""
    expired = site.authority.issue("expired", ADMIN, days=-1)
    target = parse_target(address.format(site.port))
    failure = explain(target.address, TlsOptions(site.authority.ca, expired.cert, expired.key))
    assert failure is not None
    assert failure.message.endswith("certificate has expired")


def test_targets_that_cannot_be_explained(site: Site, admin: Pair) -> None:
    options = TlsOptions(site.authority.ca, admin.cert, admin.key)
    assert explain("xds:///lb", options) is None
    assert explain(f"127.0.0.1:{site.port}", options) is None
