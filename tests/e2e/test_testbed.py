# SPDX-License-Identifier: Apache-2.0
"""The testbed must be what it claims to be, and leave nothing: every other end-to-end test stands on it."""

from __future__ import annotations

import itertools
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest
from e2e.dual_stack import url
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6NDOptSrcLLAddr, IPv6
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Packet
from testbed import BALANCER, CLIENT, ECHO_PORT, HOST_INTERFACE, ROUTER, SWITCH, Testbed, TestbedError, wait_until
from testbed import background as background_module
from testbed import bed as bed_module
from testbed.__main__ import main
from testbed.host import NETNS, environment, mounts_below, pids_in, python_module, run

pytestmark = pytest.mark.root

TUNNEL_SOURCES = {4: "172.16.9.9", 6: "100::9"}
VERSIONS = (4, 6)
FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
ETH_P_ARP, ETH_P_IPV6 = 0x0806, 0x86DD

every_version = pytest.mark.parametrize("version", VERSIONS)
ANSWER_SECONDS = 5.0


@pytest.fixture(params=["flat_bed", "routed_bed"])
def bed(request: pytest.FixtureRequest) -> Testbed:
    """Both topologies."""
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Testbed)
    return found


def send(bed: Testbed, node: str, frame: Ether) -> None:
    """Put a frame on the wire of a node."""
    with bed.entered(node), socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire:
        wire.bind((HOST_INTERFACE, 0))
        wire.send(bytes(frame))


def neighbour_mac(bed: Testbed, backend: str) -> str:
    """Where the balancer sends frames for a backend."""
    return bed.mac(ROUTER, BALANCER) if ROUTER in bed.topology.nodes else bed.mac(backend)


def vip_of(bed: Testbed, version: int) -> str:
    return bed.topology.vip(version)


@pytest.fixture(params=VERSIONS)
def client_socket(bed: Testbed, request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    """A UDP socket of the client that takes datagrams from the VIP's echo port only."""
    with bed.entered(CLIENT):
        sock = socket.socket(FAMILIES[request.param], socket.SOCK_DGRAM)
    with sock:
        sock.settimeout(ANSWER_SECONDS)
        sock.connect((vip_of(bed, request.param), ECHO_PORT))
        yield sock


def tunnelled(bed: Testbed, backend: str, outer_version: int, client: socket.socket, payload: bytes) -> Ether:
    """The frame that a balancer would send for a datagram from ``client`` to the VIP."""
    source, source_port, *_ = client.getsockname()
    inner_version = 6 if client.family == socket.AF_INET6 else 4
    return (
        Ether(dst=neighbour_mac(bed, backend), src=bed.mac(BALANCER))
        / ip_header(outer_version, TUNNEL_SOURCES[outer_version], bed.address(backend, outer_version))
        / ip_header(inner_version, source, vip_of(bed, inner_version))
        / UDP(sport=source_port, dport=ECHO_PORT)
        / payload
    )


def ip_header(version: int, source: str, destination: str) -> Packet:
    return (IP if version == 4 else IPv6)(src=source, dst=destination)


@every_version
def test_client_reaches_every_backend(bed: Testbed, version: int) -> None:
    """Answers come straight from backend to client, so there must be a way back for them."""
    for backend in bed.backends:
        address = bed.address(backend, version)
        assert bed.http(url(address), 4).served == {backend: 4}
        assert bed.udp(address, ECHO_PORT, 4).served == {backend: 4}


@pytest.mark.parametrize("origin", [BALANCER, "b2"])
@every_version
def test_balancer_and_backends_reach_each_other(bed: Testbed, origin: str, version: int) -> None:
    """Next hops can be resolved, and backends can be asked directly when something is wrong."""
    asked = url(bed.address("b1", version))
    answer = bed.run(origin, *python_module("testbed.client", "http", asked, "1")).stdout
    assert '"served": {"b1": 1}' in answer


@every_version
def test_traffic_for_the_vip_goes_to_the_balancer_and_nowhere_else(bed: Testbed, version: int) -> None:
    """Without a balancer nobody may answer: else a test could pass that never touched it."""
    for vip in bed.topology.vips:
        if ip_address(vip).version != version:
            continue
        balancer = bed.address(BALANCER, version)
        routed = ROUTER in bed.topology.nodes
        gateway = bed.topology.router(version) if routed else balancer
        assert f"via {gateway} dev {HOST_INTERFACE}" in bed.run(CLIENT, "ip", "route", "get", vip).stdout
        if routed:
            assert f"via {balancer} dev {BALANCER}" in bed.run(ROUTER, "ip", "route", "get", vip).stdout


def test_backends_never_answer_arp_for_the_vip(flat_bed: Testbed) -> None:
    """A backend that did would get the clients' packets past the balancer."""
    with flat_bed.entered(CLIENT), socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ARP)) as wire:
        wire.bind((HOST_INTERFACE, ETH_P_ARP))
        wire.settimeout(ANSWER_SECONDS)
        asked = [flat_bed.vip, *map(flat_bed.address, flat_bed.backends)]
        for target in asked:
            question = ARP(op="who-has", psrc=flat_bed.address(CLIENT), hwsrc=flat_bed.mac(CLIENT), pdst=target)
            wire.send(bytes(Ether(dst="ff:ff:ff:ff:ff:ff", src=flat_bed.mac(CLIENT)) / question))
        answered: set[str] = set()
        # Each backend hears the questions in this order: when all have answered the later one, none answered the first.
        while not answered.issuperset(asked[1:]):
            answer = Ether(wire.recv(2048))
            if answer[ARP].op == 2:
                answered.add(answer[ARP].psrc)
    assert flat_bed.vip not in answered


def test_backends_never_claim_the_ipv6_vip(flat_bed: Testbed) -> None:
    """The same for neighbour discovery."""
    mac = flat_bed.mac(CLIENT)
    asked = [flat_bed.vip6, *(flat_bed.address(backend, 6) for backend in flat_bed.backends)]
    with flat_bed.entered(CLIENT), socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_IPV6)) as wire:
        wire.bind((HOST_INTERFACE, ETH_P_IPV6))
        wire.settimeout(1)

        def ask() -> None:
            for target in asked:
                question = IPv6(src=flat_bed.address(CLIENT, 6), dst="ff02::1", hlim=255) / ICMPv6ND_NS(tgt=target)
                wire.send(bytes(Ether(dst="33:33:00:00:00:01", src=mac) / question / ICMPv6NDOptSrcLLAddr(lladdr=mac)))

        answered: set[str] = set()

        def all_answered() -> bool:
            try:
                answer = Ether(wire.recv(2048))
            except TimeoutError:
                # Multicast is not repeated by anybody but the one who asks.
                ask()
                return False
            if ICMPv6ND_NA in answer:
                answered.add(answer[ICMPv6ND_NA].tgt)
            return answered.issuperset(asked[1:])

        ask()
        wait_until(all_answered, 4 * ANSWER_SECONDS, "the backends do not answer for their own addresses")
    assert flat_bed.vip6 not in answered


def test_ipv6_addresses_can_be_used_at_once(bed: Testbed) -> None:
    """None is still being asked for on the link, and none but those that were given."""
    for node in (CLIENT, BALANCER, *bed.backends):
        shown = json.loads(bed.run(node, "ip", "-6", "-json", "address", "show", "dev", HOST_INTERFACE).stdout)
        addresses = [address for interface in shown for address in interface["addr_info"]]
        assert not [address for address in addresses if address.get("tentative")]
        assert bed.address(node, 6) in [address["local"] for address in addresses]
        assert len(addresses) == 2


@every_version
def test_backend_unwraps_and_answers_from_the_vip(bed: Testbed, version: int, client_socket: socket.socket) -> None:
    """Direct server return: the client's connected socket accepts an answer from the VIP only."""
    for backend in bed.backends:
        send(bed, BALANCER, tunnelled(bed, backend, version, client_socket, b"hello"))
        assert client_socket.recv(2048) == backend.encode() + b" hello"


@every_version
def test_full_size_packet_fits_through_the_tunnel(bed: Testbed, version: int, client_socket: socket.socket) -> None:
    """A client's 1500 bytes and the outer header: the fabric takes them, the answer is cut for the client's link."""
    outer_bytes = 20 if version == 4 else 40
    inner_bytes = 40 if client_socket.family == socket.AF_INET6 else 20
    payload = b"x" * (1500 - inner_bytes - 8)
    frame = tunnelled(bed, "b1", version, client_socket, payload)
    assert len(frame) == 14 + outer_bytes + 1500
    send(bed, BALANCER, frame)
    assert client_socket.recv(4096) == b"b1 " + payload


def test_peers_of_the_hosts_run_a_program(bed: Testbed) -> None:
    """XDP_TX on a veth whose peer runs none sends nothing, without an error."""
    for node in (SWITCH, *([ROUTER] if ROUTER in bed.topology.nodes else [])):
        for interface, _ in bed.topology.interfaces(node):
            shown = bed.run(node, "ip", "-d", "link", "show", interface).stdout
            assert "prog/xdp" in shown
            assert "xdpgeneric" not in shown


def test_hosts_compute_their_checksums(bed: Testbed) -> None:
    """What is left to the NIC is never computed when the packet goes through XDP."""
    for node in (CLIENT, BALANCER, *bed.backends):
        assert "tx-checksumming: off" in bed.run(node, "ethtool", "-k", HOST_INTERFACE).stdout


def test_failures_are_counted_not_retried(flat_bed: Testbed) -> None:
    """Nothing listens on port 81: the client says so, in words."""
    web = flat_bed.http(f"http://{flat_bed.address('b1')}:81/", 3)
    assert (web.served, web.failed) == ({}, 3)
    assert "refused" in web.errors[0]
    echo = flat_bed.udp(flat_bed.address("b1"), 8, 2)
    assert (echo.served, echo.failed) == ({}, 2)


def test_down_leaves_nothing(prefix: str) -> None:
    """Namespaces, processes, mounts, files."""
    with Testbed(backends=1, name_prefix=f"{prefix}-gone") as bed:
        namespaces = [bed.namespace(node) for node in bed.topology.nodes]
        assert all((NETNS / name).exists() for name in namespaces)
        processes = [pid for name in namespaces for pid in pids_in(name)]
        assert processes
        mount = bed.state_dir / "bpf"
        mount.mkdir()
        run(["mount", "-t", "bpf", "bpf", str(mount)])
        assert mounts_below(bed.state_dir) == [mount]
    assert_nothing_left(bed)
    wait_until(lambda: not any(map(alive, processes)), 5, f"some of {processes} are alive")


def alive(pid: int) -> bool:
    """Not gone, and not merely waiting for init to take note of its death."""
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def assert_nothing_left(bed: Testbed) -> None:
    assert not list(NETNS.glob(f"{bed.prefix}-*"))
    assert not mounts_below(bed.state_dir)
    assert not bed.state_dir.exists()
    assert bed.left_behind() == []


def command(*args: str) -> subprocess.Popen[str]:
    """``python -m testbed ARGS``, as a user starts it."""
    return subprocess.Popen(
        [sys.executable, "-m", "testbed", *args],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    )


def finish(*args: str) -> tuple[int, str, str]:
    """Run ``python -m testbed ARGS`` to its end: exit code, stdout, stderr."""
    with command(*args) as process:
        output, errors = process.communicate(timeout=30)
    return process.returncode, output, errors


@pytest.mark.parametrize("milestone", ["namespaces", "servers"])
def test_down_removes_what_a_killed_up_left(prefix: str, milestone: str) -> None:
    """SIGKILL in the middle of building: `down` in another process finds it all."""
    bed = Testbed(backends=2, name_prefix=f"{prefix}-killed")
    reached = bed.state_dir / "nginx-b1" if milestone == "servers" else NETNS / bed.namespace(BALANCER)
    with command("up", "--prefix", bed.prefix, "--backends", "2") as building:
        wait_until(reached.exists, 20, f"{reached} did not appear")
        building.kill()
    assert bed.left_behind()
    assert finish("down", "--prefix", bed.prefix) == (0, f"testbed {bed.prefix} removed\n", "")
    assert_nothing_left(bed)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_up_removes_what_it_built(prefix: str, number: signal.Signals) -> None:
    """Ctrl-C while building leaves nothing."""
    bed = Testbed(name_prefix=f"{prefix}-int")
    with command("up", "--prefix", bed.prefix) as building:
        wait_until((NETNS / bed.namespace("b3")).exists, 20, "no namespaces appeared")
        building.send_signal(number)
        _, errors = building.communicate(timeout=30)
    assert (building.returncode, errors) == (128 + number, f"testbed up: interrupted by {number.name}\n")
    assert_nothing_left(bed)


def test_up_twice_is_refused_and_harms_nothing(prefix: str) -> None:
    """The second one says what to do, and does not tear down the first."""
    bed = Testbed(backends=1, routed=True, name_prefix=f"{prefix}-twice")
    try:
        code, output, errors = finish("up", "--prefix", bed.prefix, "--backends", "1", "--routed")
        assert (code, errors) == (0, "")
        assert f"http http://{bed.vip}/ 100" in output
        code, _, errors = finish("up", "--prefix", bed.prefix)
        assert (code, errors) == (
            1,
            f"testbed up: testbed {bed.prefix!r} is up already, or half of it: `down` removes it\n",
        )
        assert bed.http(f"http://{bed.address('b1')}/", 1).served == {"b1": 1}
    finally:
        assert finish("down", "--prefix", bed.prefix)[0] == 0
    nothing = f"testbed {bed.prefix} is not there: nothing to remove\n"
    assert finish("down", "--prefix", bed.prefix) == (0, nothing, "")
    assert_nothing_left(bed)


def test_testbed_in_use_is_not_removed(flat_bed: Testbed, capsys: pytest.CaptureFixture[str]) -> None:
    """`down` typed in another terminal must not pull the rug from under a running test."""
    assert main(["down", "--prefix", flat_bed.prefix]) == 1
    assert "another process is using" in capsys.readouterr().err
    assert flat_bed.http(f"http://{flat_bed.address('b1')}/", 1).failed == 0


def test_down_leaves_other_testbeds_alone(prefix: str) -> None:
    """A prefix that starts another prefix is not that other one."""
    other = f"{prefix}-mine-too-{CLIENT}"
    run(["ip", "netns", "add", other])
    try:
        Testbed(name_prefix=f"{prefix}-mine").close()
        assert (NETNS / other).exists()
    finally:
        run(["ip", "netns", "delete", other])


def test_failed_up_removes_what_it_built(prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backend whose server does not start: the reason is said, nothing stays."""
    monkeypatch.setattr(bed_module, "nginx_command", lambda *_: ["no-such-server"])
    bed = Testbed(backends=1, name_prefix=f"{prefix}-fail")
    with pytest.raises(TestbedError, match=r"no-such-server.*\.ci/setup nginx-light"):
        bed.up()
    assert_nothing_left(bed)


def test_wrong_arguments_are_explained(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["up", "--backends", "0"]) == 1
    assert "0 backends: choose 1 to 200" in capsys.readouterr().err


def test_background_process_that_dies_early_is_explained(flat_bed: Testbed) -> None:
    """Its own words are in the error."""
    dying = flat_bed.start(CLIENT, "dying", "sh", "-c", "echo out of luck >&2; exit 3")
    with pytest.raises(TestbedError, match=r"dying ended with 3: out of luck"):
        dying.wait_for_line("ready")


def test_background_process_that_is_never_ready_is_explained(flat_bed: Testbed) -> None:
    """So is one that hangs, with what it logged."""
    hanging = flat_bed.start(CLIENT, "hanging", "sh", "-c", "echo still busy >&2; echo begun; exec sleep 60")
    hanging.wait_for_line("begun")
    with pytest.raises(TestbedError, match=r"(?s)hanging did not print 'ready'.*still busy"):
        hanging.wait_for_line("ready", 0.05)
    assert hanging.stop() == -signal.SIGTERM


def test_background_process_that_ignores_sigterm_is_killed(flat_bed: Testbed, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the caller hears of it: an `lbd` that does that is broken."""
    monkeypatch.setattr(background_module, "_STOP_SECONDS", 0.1)
    stubborn = flat_bed.start(CLIENT, "stubborn", "sh", "-c", "trap '' TERM; echo begun; sleep 60; sleep 60")
    stubborn.wait_for_line("begun")
    with pytest.raises(TestbedError, match="stubborn ignored SIGTERM"):
        stubborn.stop()
    assert not stubborn.running


def test_command_that_does_not_end_is_cut_off(flat_bed: Testbed) -> None:
    with pytest.raises(TestbedError, match=r"no end after 0\.1 s: .*sleep 60"):
        flat_bed.run(CLIENT, "sleep", "60", timeout_seconds=0.1)


def test_missing_command_names_the_remedy() -> None:
    with pytest.raises(TestbedError, match=r"no-such-command is not installed; .*nginx-light"):
        run(["no-such-command"])


def test_missing_interface_is_explained(flat_bed: Testbed) -> None:
    done = flat_bed.run(CLIENT, *python_module("testbed.xdp", "pass", "nope0"), check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("testbed.xdp: ")
    assert "Traceback" not in done.stderr


def test_second_program_on_an_interface_is_refused(flat_bed: Testbed) -> None:
    """Never replaced silently: it might be the balancer."""
    done = flat_bed.run("b1", *python_module("testbed.xdp", "pass", HOST_INTERFACE), check=False)
    assert done.returncode == 1
    assert f"XDP program on {HOST_INTERFACE}: " in done.stderr
    assert f"`ip link set dev {HOST_INTERFACE} xdp off`" in done.stderr


@pytest.mark.parametrize(("option", "mode"), [("--generic", "xdpgeneric"), ("--jumbo", "xdp")])
def test_decapsulator_of_a_real_backend(flat_bed: Testbed, option: str, mode: str) -> None:
    """Attached as xdp/DECAP.md says, for a driver without XDP or one with large frames; and removed."""
    host4, host6 = (flat_bed.address(CLIENT, version) for version in VERSIONS)
    flat_bed.run(CLIENT, *python_module("testbed.xdp", "decap", HOST_INTERFACE, host4, host6, option))
    try:
        for outer_version, inner_version in itertools.product(VERSIONS, VERSIONS):
            with flat_bed.entered(CLIENT):
                sock = socket.socket(FAMILIES[inner_version], socket.SOCK_DGRAM)
            with sock:
                sock.settimeout(ANSWER_SECONDS)
                sock.bind((flat_bed.address(CLIENT, inner_version), 0))
                frame = (
                    Ether(dst=flat_bed.mac(CLIENT), src=flat_bed.mac(BALANCER))
                    / ip_header(outer_version, TUNNEL_SOURCES[outer_version], flat_bed.address(CLIENT, outer_version))
                    / ip_header(inner_version, flat_bed.address("b1", inner_version), sock.getsockname()[0])
                    / UDP(sport=1, dport=sock.getsockname()[1])
                    / b"inside"
                )
                send(flat_bed, BALANCER, frame)
                assert sock.recv(100) == b"inside"
    finally:
        flat_bed.run(CLIENT, "ip", "link", "set", "dev", HOST_INTERFACE, mode, "off")
    assert "prog/xdp" not in flat_bed.run(CLIENT, "ip", "-d", "link", "show", HOST_INTERFACE).stdout


def test_decapsulator_for_two_addresses_of_a_family_is_refused(flat_bed: Testbed) -> None:
    arguments = ["decap", HOST_INTERFACE, "10.0.0.3", "10.0.0.4"]
    done = flat_bed.run(CLIENT, *python_module("testbed.xdp", *arguments), check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("testbed.xdp: 10.0.0.4: one IPv4 address is enough")
