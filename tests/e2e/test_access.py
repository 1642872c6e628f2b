# SPDX-License-Identifier: Apache-2.0
"""Who may do what, with a real daemon and clients elsewhere on the network."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from api.pki import Authority, Pair
from testbed import BALANCER, CLIENT, Lbd, Testbed
from testbed.lbd import script

pytestmark = pytest.mark.root

PORT = 8443
DENIED = 6


@dataclass(frozen=True, slots=True)
class Site:
    """A daemon that listens for certificates."""

    bed: Testbed
    lbd: Lbd
    authority: Authority

    def lbctl(self, pair: Pair, *args: str) -> subprocess.CompletedProcess[str]:
        """From the client's namespace, over the network."""
        files = {"--tls-ca": self.authority.ca, "--tls-cert": pair.cert, "--tls-key": pair.key}
        options = [word for option, path in files.items() for word in (option, str(path))]
        target = f"{self.bed.address(BALANCER)}:{PORT}"
        return self.bed.run(CLIENT, str(script("lbctl")), "--target", target, *options, *args, check=False)


@pytest.fixture(scope="module")
def site(prefix: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Its certificate names its address."""
    folder = tmp_path_factory.mktemp("access")
    authority = Authority(folder / "ca")
    with Testbed(backends=1, name_prefix=f"{prefix}-access") as bed:
        server = authority.issue("lbd", f"IP:{bed.address(BALANCER)}")
        listener = f"{bed.address(BALANCER)}:{PORT}"
        args = ["--listen-tls", listener, "--tls-cert", str(server.cert), "--tls-key", str(server.key)]
        with Lbd(bed, args=[*args, "--tls-ca", str(authority.ca)]) as lbd:
            yield Site(bed, lbd, authority)


def test_an_admin_elsewhere_may_do_everything_and_the_history_knows_who(site: Site) -> None:
    alice = site.authority.issue("alice", "URI:urn:lb:role:admin")
    done = site.lbctl(alice, "pool", "create", "web")
    assert done.returncode == 0, done.stderr
    newest = site.lbd.lbctl("history", "--limit", "1")["revisions"][0]
    assert "alice" in newest["who"]
    assert site.bed.address(CLIENT) in newest["origin"]


def test_the_socket_of_the_machine_needs_no_certificate_and_the_history_knows_who(site: Site) -> None:
    site.lbd.lbctl("pool", "create", "api")
    newest = site.lbd.lbctl("history", "--limit", "1")["revisions"][0]
    assert newest["who"] == "root (uid 0)"
    assert newest["origin"].startswith("unix, pid ")


def test_a_role_that_does_not_suffice_is_told_which_one_does_and_is_on_record(site: Site) -> None:
    bob = site.authority.issue("bob", "URI:urn:lb:role:read")
    assert site.lbctl(bob, "pool", "list").returncode == 0
    done = site.lbctl(bob, "pool", "create", "mine")
    assert done.returncode == DENIED
    assert "admin" in done.stderr
    assert "read" in done.stderr
    newest = site.lbd.lbctl("history", "--limit", "1")["revisions"][0]
    assert newest.get("revision", "0") == "0"
    assert "bob" in newest["who"]
    assert site.lbd.lbctl_run("pool", "get", "mine").returncode == 3


@pytest.mark.parametrize(
    ("days", "foreign", "words"),
    [(-1, False, "expired"), (1, True, "not signed by the CA that lbd trusts")],
    ids=["expired", "wrong CA"],
)
def test_a_certificate_that_does_not_count_is_refused_with_the_reason(
    site: Site, tmp_path: Path, days: int, foreign: bool, words: str
) -> None:
    authority = Authority(tmp_path / "other") if foreign else site.authority
    pair = authority.issue(f"carol-{days}-{foreign}", "URI:urn:lb:role:admin", days=days)
    done = site.lbctl(pair, "status")
    assert done.returncode == DENIED, done.stderr
    assert words in done.stderr


def test_without_a_certificate_there_is_no_way_in(site: Site) -> None:
    target = f"{site.bed.address(BALANCER)}:{PORT}"
    command = [str(script("lbctl")), "--target", target]
    done = site.bed.run(CLIENT, *command, "status", check=False)
    assert done.returncode == 2
    assert "--tls-cert" in done.stderr


def test_lbd_says_what_is_wrong_with_its_tls_options(site: Site, tmp_path: Path) -> None:
    """Before it touches anything."""
    lbd = Lbd(site.bed, args=["--listen-tls", "0.0.0.0:1", "--tls-cert", str(tmp_path / "nope.pem")])
    done = site.bed.run(BALANCER, *lbd.argv, check=False)
    assert done.returncode == 1
    assert "--tls-key: is needed together with --listen-tls, --tls-cert" in done.stderr
