# SPDX-License-Identifier: Apache-2.0
"""Exit codes are a contract with scripts, and messages name field and remedy."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import grpc
import pytest
from cli.conftest import Run
from cli.fake_server import FakeServer, make_status
from google.rpc import code_pb2

from lb.cli.exits import Exit, Failure
from lb.cli.target import parse_target

EXITS = {
    grpc.StatusCode.CANCELLED: 1,
    grpc.StatusCode.UNKNOWN: 1,
    grpc.StatusCode.INVALID_ARGUMENT: 2,
    grpc.StatusCode.DEADLINE_EXCEEDED: 5,
    grpc.StatusCode.NOT_FOUND: 3,
    grpc.StatusCode.ALREADY_EXISTS: 4,
    grpc.StatusCode.PERMISSION_DENIED: 6,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 1,
    grpc.StatusCode.FAILED_PRECONDITION: 4,
    grpc.StatusCode.ABORTED: 4,
    grpc.StatusCode.OUT_OF_RANGE: 2,
    grpc.StatusCode.UNIMPLEMENTED: 1,
    grpc.StatusCode.INTERNAL: 1,
    grpc.StatusCode.UNAVAILABLE: 5,
    grpc.StatusCode.DATA_LOSS: 1,
    grpc.StatusCode.UNAUTHENTICATED: 6,
}
CREATE_VIP = ["vip", "create", "web", "--address", "192.0.2.1", "--port", "70000", "--protocol", "tcp", "--pool", "web"]


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
@pytest.mark.parametrize("rich", [True, False])
def test_every_status_code_has_its_exit_code(empty: FakeServer, run: Run, code: grpc.StatusCode, rich: bool) -> None:
    """With and without details; the data stream stays empty."""
    empty.failure = make_status(code.value[0], "the very reason") if rich else (code, "the very reason")
    result = run("pool", "create", "web")
    assert (result.exit_code, result.stdout) == (EXITS[code], "")
    assert result.stderr.startswith("Error: ")
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        assert "raise --timeout" in result.stderr
    else:
        assert "the very reason" in result.stderr


def test_violations_come_one_a_line_with_their_option(empty: FakeServer, run: Run) -> None:
    """All mistakes at once, each where the operator typed it."""
    empty.failure = make_status(
        code_pb2.INVALID_ARGUMENT,
        "vip.port: 70000 is not a port; vip_id: x is not a name; 7 more",
        ("vip.port", "70000 is not a port: 1 to 65535, or 0 for every port"),
        ("vip_id", "'x' is not a name"),
        ("", "7 more violations: mend these first"),
    )
    result = run(*CREATE_VIP)
    assert result.exit_code == 2
    assert result.stderr.splitlines() == [
        "Error: invalid input:",
        "  vip.port: 70000 is not a port: 1 to 65535, or 0 for every port (--port)",
        "  vip_id: 'x' is not a name",
        "  7 more violations: mend these first",
    ]


def test_a_refusal_keeps_its_message_above_the_violations(empty: FakeServer, run: Run) -> None:
    empty.failure = make_status(
        code_pb2.FAILED_PRECONDITION, "192.0.2.1 is an address of this balancer", ("vip.address", "set force (--force)")
    )
    result = run(*CREATE_VIP)
    assert result.exit_code == 4
    assert result.stderr == "Error: 192.0.2.1 is an address of this balancer\n  vip.address: set force (--force)\n"


def test_out_of_range_numbers_are_judged_by_the_server(empty: FakeServer, run: Run) -> None:
    """One truth: the command line only makes sure that they fit the wire."""
    run(*CREATE_VIP)
    run("backend", "update", "web/b1", "--weight", "-1")
    assert empty.requests[0].vip.port == 70_000
    assert empty.requests[1].backend.weight == -1


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["vip", "get"], "Missing argument 'NAME'"),
        (["backend", "get", "b1"], "'b1' names no pool: write POOL/NAME, such as web/b1"),
        (["backend", "get", ""], "'' names no pool: write POOL/NAME, such as web/b1"),
        ([*CREATE_VIP[:-4], "--protocol", "sctp", "--pool", "web"], "'sctp' is not one of 'tcp', 'udp'"),
        ([*CREATE_VIP[:5], "--port", "http", "--protocol", "tcp", "--pool", "w"], "'http' can't be right: give 1 to"),
        ([*CREATE_VIP[:5], "--port", "-1", "--protocol", "tcp", "--pool", "w"], "'-1' can't be right: give 1 to 65535"),
        (["backend", "update", "web/b1", "--weight", "3000000000"], "give a whole number from 0 to 65535"),
        (["-o", "xml", "vip", "list"], "'xml' is not one of 'table', 'json', 'yaml'"),
        (["--timeout", "0", "vip", "list"], "'0' is not a time: give seconds"),
        (["--timeout", "nan", "vip", "list"], "'nan' is not a time: give seconds"),
        (["--timeout", "soon", "vip", "list"], "'soon' is not a time: give seconds"),
        (["--target", "", "vip", "list"], "write unix:///PATH"),
        (["--target", "unix:", "vip", "list"], "write unix:///PATH"),
        (["--target", "unix://run/lbd.sock", "vip", "list"], "write unix:///PATH"),
        (["export", "-o", "table"], "choose -o yaml or -o json"),
        (["pool", "create", "\udcff"], "cannot be sent to lbd"),
        (["frontend", "list"], "No such command 'frontend'"),
    ],
)
def test_wrong_usage_exits_2_and_sends_nothing(empty: FakeServer, run: Run, args: list[str], message: str) -> None:
    result = run(*args)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr
    assert empty.requests == []


def test_no_socket_means_not_running(run: Run, tmp_path: Path) -> None:
    for path in (tmp_path / "nothing", tmp_path / "lbd.sock" / "below-a-file"):
        result = run("vip", "list", "--target", str(path))
        assert result.exit_code == 5
        assert result.stderr == (
            f"Error: lbd is not running on unix://{path}: start it with `lbd --interface IF`, "
            "or point --target at another socket\n"
        )


def test_a_stale_socket_means_not_running(run: Run, tmp_path: Path) -> None:
    """The file of a daemon that was killed is still there; connecting to it is refused."""
    path = tmp_path / "stale"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
    result = run("--target", f"unix:{path}", "status")
    assert result.exit_code == 5
    assert "lbd is not running on" in result.stderr


def test_a_full_backlog_is_not_an_error(tmp_path: Path) -> None:
    """A daemon that is busy is running."""
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as waiting:
        server.bind(str(tmp_path / "busy"))
        server.listen(0)
        waiting.connect(str(tmp_path / "busy"))
        parse_target(str(tmp_path / "busy")).check()


def test_a_path_that_is_too_long_is_explained(run: Run) -> None:
    result = run("--target", "/" + "x" * 200, "status")
    assert result.exit_code == 5
    assert "path too long: point --target at lbd's socket" in result.stderr


def test_a_daemon_that_does_not_answer_in_time(run: Run, tmp_path: Path) -> None:
    """A hung daemon must not hang the script."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "hung"))
        server.listen()
        hang = ["--target", str(tmp_path / "hung"), "--timeout", "0.2"]
        looks, checks, changes = (
            run(*hang, *args)
            for args in (["vip", "list"], ["vip", "delete", "web", "--validate-only"], ["vip", "delete", "web"])
        )
    words = f"Error: no answer from unix://{tmp_path}/hung within 0.2 s: raise --timeout, or look at lbd's log"
    assert (looks.exit_code, looks.stderr) == (checks.exit_code, checks.stderr) == (5, f"{words}\n")
    assert (changes.exit_code, changes.stderr) == (5, f"{words}; the change may have been made\n")


def test_a_socket_that_may_not_be_used_is_denied(fake: FakeServer) -> None:
    """A real user without the right: root may use any socket, so a child gives up root first."""
    fake.path.chmod(0)
    become_nobody = "import os; os.geteuid() or (os.setgroups([]), os.setgid(65534), os.setuid(65534))"
    # Imports come first: nobody may not be allowed to read this source tree.
    code = f"import lb.cli.client, encodings.idna; from lb.cli.main import main; {become_nobody}; main()"
    child = subprocess.run(
        [sys.executable, "-c", code, "--target", fake.target, "vip", "list"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (child.returncode, child.stdout) == (6, "")
    assert child.stderr == (
        f"Error: no permission to use {fake.target}: run lbctl as root or as a member of the socket's group "
        f"(`ls -l {fake.path}`)\n"
    )


def test_failure_carries_its_code() -> None:
    failure = Failure(Exit.CONFLICT, "headline", ("one", "two"))
    assert (failure.exit_code, failure.format_message()) == (4, "headline\n  one\n  two")
