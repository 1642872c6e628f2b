# SPDX-License-Identifier: Apache-2.0
"""Every verb of vip, pool and backend: what goes over the wire, and what comes out in each format."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import yaml
from cli.conftest import Run, cells
from cli.fake_server import FakeServer
from google.protobuf import json_format

from lb.cli import verbs
from lb.v1 import backend_pb2, pool_pb2, vip_pb2

NOW = 1_767_323_104.5
"""2026-01-02 03:05:04.5 UTC, a minute after what the fake reports."""

CLOCK = SimpleNamespace(time=lambda: NOW)
SLOW = "slow start: 40% of its weight in force"
NOUNS = ["vip", "pool", "backend"]
EXISTING = {"vip": "web", "pool": "web", "backend": "web/b1"}
FULL = {"vip": "vips/web", "pool": "pools/web", "backend": "pools/web/backends/b1"}
CREATE = {
    "vip": ["new", "--address", "192.0.2.9", "--port", "443", "--protocol", "tcp", "--pool", "web"],
    "pool": ["new", "--description", "fresh"],
    "backend": ["web/new", "--address", "10.0.0.19"],
}
UPDATE = {
    "vip": ["web", "--pool", "blue"],
    "pool": ["web", "--description", "fresh"],
    "backend": ["web/b1", "--weight", "3"],
}


def test_vip_list_shows_all_pages_as_a_table(fake: FakeServer, run: Run) -> None:
    """A list that stops at the first page hides objects; the fake's pages hold two."""
    result = run("vip", "list")
    assert cells(result.stdout) == [
        ["NAME", "ADDRESS", "PORT", "PROTOCOL", "POOL"],
        ["alt", "192.0.2.1", "8080", "tcp", "spare"],
        ["dns", "192.0.2.53", "any", "udp", "web"],
        ["web", "192.0.2.1", "80", "tcp", "web"],
    ]
    assert (result.exit_code, result.stderr, len(fake.requests)) == (0, "", 2)


@pytest.mark.usefixtures("fake")
def test_pool_list_counts_members_and_those_in_the_ring(run: Run) -> None:
    assert cells(run("pool", "list").stdout) == [
        ["NAME", "BACKENDS", "IN-RING", "VIPS", "DESCRIPTION"],
        ["blue", "0", "0", "-", "-"],
        ["spare", "0", "0", "-", "-"],
        ["web", "2", "1", "dns,web", "front servers"],
    ]


@pytest.mark.usefixtures("fake")
def test_backend_list_says_why_one_is_outside_the_ring(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason is longer than 80 columns and must arrive whole in a pipe."""
    monkeypatch.setattr(verbs, "time", CLOCK)
    reason = (
        "no route to 10.0.0.12: add one, or a default route, on the balancer's own machine; check: connection refused"
    )
    assert cells(run("backend", "list").stdout) == [
        ["NAME", "ADDRESS", "WEIGHT", "ADMIN", "SHARE", "HEALTH", "SINCE", "NEXT-HOP", "REASON"],
        ["spare/b9", "10.0.1.9", "1", "disabled", "0.0%", "-", "-", "-", "-"],
        ["web/b1", "10.0.0.11", "2", "enabled", "66.7%", "up", "59s", "eth1", SLOW],
        ["web/b2", "10.0.0.12", "0", "draining", "0.0%", "down", "4m", "unresolved", reason],
    ]


@pytest.mark.usefixtures("empty")
@pytest.mark.parametrize(
    ("status", "health", "reason"),
    [
        ({"inRing": True}, "-", "-"),
        ({"inRing": True, "health": {"state": "UNCHECKED", "weightPercent": 100}}, "-", "-"),
        ({"reason": "its health check has no verdict yet", "health": {"state": "UNKNOWN"}}, "unknown", None),
        ({"inRing": True, "health": {"state": "UNKNOWN", "lastError": "no probe yet"}}, "unknown", "no probe yet"),
        ({"reason": "disabled", "health": {"state": "UNKNOWN", "lastError": "not checked"}}, "unknown", None),
        ({"inRing": True, "health": {"state": "UP", "lastError": "timeout"}}, "up", "check: timeout"),
        ({"inRing": True, "health": {"state": "DOWN", "lastError": "refused"}}, "down", "check: refused"),
        ({"reason": "its checks fail: refused", "health": {"state": "DOWN", "lastError": "refused"}}, "down", None),
        ({"inRing": True, "health": {"state": 77}}, "77", "-"),
    ],
)
def test_health_in_a_list(empty: FakeServer, run: Run, status: dict, health: str, reason: str | None) -> None:
    """One that fails its checks while it still serves (not often enough yet, or the pool fails open) is seen too."""
    empty.backends.put(
        json_format.ParseDict(
            {"name": "pools/web/backends/b1", "address": "10.0.0.11", "status": status}, backend_pb2.Backend()
        )
    )
    row = cells(run("backend", "list").stdout)[1]
    assert (row[5], row[-1]) == (health, reason or status["reason"])


@pytest.mark.parametrize(
    ("args", "parent", "names"),
    [
        ([], "pools/-", ["spare/b9", "web/b1", "web/b2"]),
        (["web"], "pools/web", ["web/b1", "web/b2"]),
        (["pools/spare"], "pools/spare", ["spare/b9"]),
    ],
)
def test_backend_list_takes_a_pool_or_lists_all(
    fake: FakeServer, run: Run, args: list[str], parent: str, names: list[str]
) -> None:
    result = run("backend", "list", *args)
    assert [row[0] for row in cells(result.stdout)[1:]] == names
    assert {request.parent for request in fake.requests} == {parent}


@pytest.mark.parametrize("noun", NOUNS)
def test_an_empty_list_is_valid_in_every_format(run: Run, noun: str) -> None:
    """Scripts get an empty list, people a hint on stderr."""
    assert json.loads(run(noun, "list", "-o", "json").stdout) == {f"{noun}s": []}
    assert yaml.safe_load(run(noun, "list", "-o", "yaml").stdout) == {f"{noun}s": []}
    result = run(noun, "list")
    assert result.exit_code == 0
    assert result.stdout.startswith("NAME")
    assert f"lbctl {noun} create" in result.stderr


@pytest.mark.parametrize("noun", NOUNS)
def test_json_and_yaml_hold_the_same_data(fake: FakeServer, run: Run, noun: str) -> None:
    as_json = json.loads(run("-o", "json", noun, "list").stdout)
    assert as_json == yaml.safe_load(run("-o", "yaml", noun, "list").stdout)
    assert [item["name"] for item in as_json[f"{noun}s"]] == sorted(getattr(fake, f"{noun}s"))
    one = json.loads(run(noun, "get", EXISTING[noun], "-o", "json").stdout)
    assert one == yaml.safe_load(run(noun, "get", EXISTING[noun], "-o", "yaml").stdout)
    assert one in as_json[f"{noun}s"]


@pytest.mark.usefixtures("fake")
def test_json_shows_zero_and_false(run: Run) -> None:
    """A script that reads `.port` or `.status.inRing` must not get null for 0 and false."""
    vip = json.loads(run("vip", "get", "dns", "-o", "json").stdout)
    assert (vip["port"], vip["protocol"], vip["force"]) == (0, "UDP", True)
    assert json.loads(run("vip", "get", "web", "-o", "json").stdout)["force"] is False
    backend = json.loads(run("backend", "get", "web/b2", "-o", "json").stdout)
    assert (backend["weight"], backend["status"]["inRing"], backend["status"]["slots"]) == (0, False, 0)


@pytest.mark.parametrize("noun", NOUNS)
@pytest.mark.parametrize("names", [EXISTING, FULL])
def test_get_takes_short_and_full_names(fake: FakeServer, run: Run, noun: str, names: dict[str, str]) -> None:
    result = run(noun, "get", names[noun])
    assert (result.exit_code, result.stderr) == (0, "")
    assert cells(result.stdout)[0] == ["NAME", EXISTING[noun]]
    assert fake.requests[0].name == FULL[noun]


def test_get_shows_everything_about_a_backend(fake: FakeServer, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verbs, "time", CLOCK)
    assert dict(cells(run("backend", "get", "web/b1").stdout)) == {
        "NAME": "web/b1",
        "ADDRESS": "10.0.0.11",
        "WEIGHT": "2",
        "ADMIN": "enabled",
        "DEADLINE": "-",
        "DRAIN": "-",
        "IN-RING": "yes",
        "SHARE": "66.7% (43691 of 65537 slots)",
        "HEALTH": "up",
        "SINCE": "2026-01-02 03:04:05 UTC (59s ago)",
        "LAST-ERROR": "-",
        "NEXT-HOP": "02:00:00:00:00:11 via eth1",
        "GATEWAY": "10.9.0.1",
        "MTU": "1500 bytes",
        "REASON": SLOW,
        "ETAG": fake.backends["pools/web/backends/b1"].etag,
    }


@pytest.mark.parametrize(
    ("drain", "words"),
    [
        (
            {"flows": "12", "packetsPerSecond": 340.4, "closingFlows": "2", "untrackedUntil": "2026-01-02T03:09:05Z"},
            "12 live flows and 2 closing, 340 packets/s, silent flows possible for 4m",
        ),
        ({"untrackedUntil": "2026-01-02T03:05:00Z"}, "0 live flows, 0 packets/s"),
        ({"drained": True}, "drained: nothing names it any more, it may be switched off"),
        ({"drained": True, "cutFlows": "3"}, "deadline reached: 3 flows were cut"),
        ({"drained": True, "cutFlows": "1"}, "deadline reached: 1 flow was cut"),
    ],
)
def test_get_shows_a_drain(
    fake: FakeServer, run: Run, monkeypatch: pytest.MonkeyPatch, drain: dict, words: str
) -> None:
    monkeypatch.setattr(verbs, "time", CLOCK)
    b2 = fake.backends["pools/web/backends/b2"]
    json_format.ParseDict(drain, b2.status.drain)
    b2.drain_deadline_at_seconds = int(NOW) + 3_700
    shown = dict(cells(run("backend", "get", "web/b2").stdout))
    assert (shown["DRAIN"], shown["LAST-ERROR"]) == (words, "connection refused")
    assert shown["DEADLINE"] == "2026-01-02 04:06:44 UTC (in 1h 1m)"


@pytest.mark.usefixtures("fake")
def test_get_shows_everything_about_a_pool(run: Run) -> None:
    shown = dict(cells(run("pool", "get", "web").stdout))
    assert shown["BACKENDS"] == "web/b1,web/b2"
    assert (shown["RING"], shown["VIPS"]) == ("65537 of 65537 slots filled", "dns,web")
    assert (shown["SETTLE"], shown["DRAIN-IDLE"]) == ("7500 s for TCP, 60 s for UDP", "350 s")
    assert shown["HEALTH-CHECK"] == (
        "https GET /healthz, expects 200, host www.example.com, server name shop.example.com; via direct, port 8443; "
        "every 5s (+-10%), timeout 1500ms; up after 2, down after 3"
    )
    assert (shown["SLOW-START"], shown["ON-DOWN"]) == ("1m 30s", "keep its flows")
    assert shown["FAIL-OPEN"] == "when fewer than 50% of the members are up"
    assert shown["FAILING-OPEN"] == "yes: too few members are up, so all are used"


@pytest.mark.usefixtures("fake")
def test_get_shows_what_a_pool_does_not_have(run: Run) -> None:
    shown = dict(cells(run("pool", "get", "blue").stdout))
    names = ("HEALTH-CHECK", "SLOW-START", "ON-DOWN", "FAIL-OPEN", "FAILING-OPEN")
    assert [shown[name] for name in names] == ["-", "-", "-", "-", "no"]


@pytest.mark.parametrize(
    ("fail_open", "words"), [(True, "when no member is up"), (False, "no: packets are dropped when no member is up")]
)
def test_get_shows_whether_a_pool_fails_open(fake: FakeServer, run: Run, fail_open: bool, words: str) -> None:
    fake.pools["pools/blue"].fail_open = fail_open
    assert dict(cells(run("pool", "get", "blue").stdout))["FAIL-OPEN"] == words


@pytest.mark.parametrize(
    ("check", "words"),
    [
        ({"kind": "TCP"}, "tcp; via tunnel where there is a VIP, port of the pool's first VIP; "),
        ({"kind": "ICMP", "via": "TUNNEL"}, "icmp; via tunnel; "),
        ({"kind": "UDP", "udp": {"send": "hex:00"}}, "udp sends 'hex:00', expects any answer; "),
        (
            {"kind": "UDP", "udp": {"send": "ping", "expect": "pong"}},
            "udp sends 'ping', expects an answer that begins with 'pong'; ",
        ),
        ({"kind": "GRPC"}, "grpc whole server; "),
        ({"kind": "GRPC", "grpc": {"service": "shop.Cart"}}, "grpc shop.Cart; "),
        (
            {
                "kind": "HTTPS",
                "http": {"method": "HEAD", "path": "/", "expectedStatus": "200", "insecureSkipVerify": True},
            },
            "https HEAD /, expects 200, any certificate; ",
        ),
        (
            {"kind": "HTTP", "http": {"method": "GET", "path": "/", "expectedStatus": "200", "expectedBody": "ok"}},
            "http GET /, expects 200 and 'ok' in the body; ",
        ),
        (
            {"kind": "HTTPS", "http": {"method": "GET", "path": "/", "expectedStatus": "200", "caFile": "/ca.pem"}},
            "https GET /, expects 200, CAs of /ca.pem; ",
        ),
    ],
)
def test_a_check_in_one_line(fake: FakeServer, run: Run, check: dict, words: str) -> None:
    json_format.ParseDict(check, fake.pools["pools/blue"].health_check)
    assert dict(cells(run("pool", "get", "blue").stdout))["HEALTH-CHECK"].startswith(words)


@pytest.mark.usefixtures("fake")
def test_get_shows_the_slots_of_a_pool_by_state(run: Run) -> None:
    """How an operator sees that a change is over, or that it is held up and where to look."""
    shown = dict(cells(run("pool", "get", "web").stdout))
    assert shown["TCP-SLOTS"] == "65507 stable, 10 moving, 20 tracked; 0 flows refused"
    assert shown["UDP-SLOTS"] == (
        "65530 stable, 7 moving, 0 tracked; 12 flows refused; they hold moves back: see the flow table in `lbctl stats`"
    )
    assert "TCP-SLOTS" not in run("pool", "get", "spare").stdout


@pytest.mark.usefixtures("fake")
def test_get_shows_the_hash_policy_as_it_is_typed(run: Run) -> None:
    assert dict(cells(run("vip", "get", "web").stdout))["HASH-POLICY"] == "source-and-destination-port"


def test_create_vip_sends_what_was_given(fake: FakeServer, run: Run) -> None:
    result = run("vip", "create", *CREATE["vip"], "--force")
    assert (result.exit_code, result.stderr) == (0, "created vip new\n")
    assert cells(result.stdout)[0] == ["NAME", "new"]
    vip = vip_pb2.Vip(address="192.0.2.9", port=443, protocol=vip_pb2.Vip.TCP, pool="pools/web", force=True)
    assert fake.requests == [vip_pb2.CreateVipRequest(vip_id="new", vip=vip)]


def test_create_pool_sends_what_was_given(fake: FakeServer, run: Run) -> None:
    assert run("pool", "create", "pools/new", "--description", "fresh").stderr == "created pool new\n"
    assert fake.requests == [pool_pb2.CreatePoolRequest(pool_id="new", pool=pool_pb2.Pool(description="fresh"))]


def test_create_pool_sends_zero_seconds_and_leaves_out_what_was_not_given(fake: FakeServer, run: Run) -> None:
    """0 turns protection off; left out is the server's default."""
    run("pool", "create", "new", "--settle-seconds", "0", "--drain-idle-seconds", "60")
    pool = pool_pb2.Pool(settle_seconds=0, drain_idle_seconds=60)
    assert pool.HasField("settle_seconds")
    assert fake.requests == [pool_pb2.CreatePoolRequest(pool_id="new", pool=pool)]


@pytest.mark.parametrize(
    ("typed", "sent"),
    [
        ("five-tuple", vip_pb2.Vip.FIVE_TUPLE),
        ("source", vip_pb2.Vip.SOURCE),
        ("Source-And-Destination-Port", vip_pb2.Vip.SOURCE_AND_DESTINATION_PORT),
        ("destination-port", vip_pb2.Vip.DESTINATION_PORT),
    ],
)
def test_every_hash_policy_can_be_typed(fake: FakeServer, run: Run, typed: str, sent: int) -> None:
    assert run("vip", "create", *CREATE["vip"], "--hash-policy", typed).exit_code == 0
    assert run("vip", "update", "web", "--hash-policy", typed).exit_code == 0
    created, updated = fake.requests
    assert (created.vip.hash_policy, updated.vip.hash_policy) == (sent, sent)


@pytest.mark.parametrize(
    ("args", "complaint"),
    [
        (["pool", "create", "new", "--settle-seconds", "5m"], "'5m' can't be right: give a whole number of seconds"),
        (["pool", "update", "web", "--udp-settle-seconds", "-1"], "'-1' can't be right: give a whole number"),
        (["pool", "update", "web", "--drain-idle-seconds", "1.5"], "'1.5' can't be right"),
        (["pool", "update", "web", "--drain-idle-seconds", str(2**32)], "can't be right"),
        (["vip", "update", "web", "--hash-policy", "random"], "'random' is not one of 'five-tuple', 'source',"),
    ],
)
def test_values_that_cannot_be_sent_are_refused_here(
    fake: FakeServer, run: Run, args: list[str], complaint: str
) -> None:
    result = run(*args)
    assert (result.exit_code, result.stdout) == (2, "")
    assert complaint in " ".join(result.stderr.split())
    assert fake.requests == []


def test_create_backend_leaves_the_defaults_to_the_server(fake: FakeServer, run: Run) -> None:
    """An unset weight is the server's default, a weight of 0 is not."""
    run("backend", "create", "web/new", "--address", "10.0.0.19")
    run("backend", "create", "web/zero", "--address", "10.0.0.20", "--weight", "0", "--admin-state", "Draining")
    first, second = fake.requests
    assert (first.parent, first.backend_id) == ("pools/web", "new")
    assert first.backend == backend_pb2.Backend(address="10.0.0.19")
    assert second.backend == backend_pb2.Backend(
        address="10.0.0.20", weight=0, admin_state=backend_pb2.Backend.DRAINING
    )


@pytest.mark.usefixtures("fake")
def test_a_backend_outside_the_ring_is_announced(run: Run) -> None:
    """`backend create` succeeds without a next hop: the operator must hear that no traffic will come."""
    result = run("backend", "update", "web/b2", "--weight", "5")
    assert result.exit_code == 0
    assert "updated backend web/b2\nit takes no new flows now: no route to 10.0.0.12: add one" in result.stderr
    assert run("backend", "update", "web/b1", "--weight", "5").stderr == "updated backend web/b1\n"


@pytest.mark.parametrize(
    ("args", "paths", "check"),
    [
        (["vip", "update", "web", "--pool", "blue"], ["pool"], lambda r: r.vip.pool == "pools/blue"),
        (["vip", "update", "web", "--no-force"], ["force"], lambda r: r.vip.force is False),
        (["vip", "update", "web", "--hash-policy", "source"], ["hash_policy"], lambda r: r.vip.hash_policy == 2),
        (["pool", "update", "web", "--description", ""], ["description"], lambda r: r.pool.name == "pools/web"),
        (["pool", "update", "web", "--settle-seconds", "0"], ["settle_seconds"], lambda r: r.pool.settle_seconds == 0),
        (
            ["pool", "update", "web", "--udp-settle-seconds", "5", "--drain-idle-seconds", "6"],
            ["drain_idle_seconds", "udp_settle_seconds"],
            lambda r: (r.pool.udp_settle_seconds, r.pool.drain_idle_seconds) == (5, 6),
        ),
        (["backend", "update", "web/b1", "--weight", "0"], ["weight"], lambda r: r.backend.HasField("weight")),
        (
            ["backend", "update", "web/b1", "--admin-state", "disabled", "--weight", "3"],
            ["admin_state", "weight"],
            lambda r: (r.backend.weight, r.backend.admin_state) == (3, backend_pb2.Backend.DISABLED),
        ),
    ],
)
def test_update_masks_exactly_the_given_fields(fake: FakeServer, run: Run, args, paths, check) -> None:
    """A field outside the mask would be reset by an update that never meant it."""
    result = run(*args)
    assert (result.exit_code, result.stderr.splitlines()[0]) == (0, f"updated {args[0]} {args[2]}")
    (request,) = fake.requests
    assert list(request.update_mask.paths) == paths
    assert check(request)


@pytest.mark.parametrize(
    ("noun", "flags"),
    [
        ("vip", "--pool or --hash-policy or --force/--no-force"),
        ("pool", "an option such as --description; --help shows all"),
        ("backend", "--weight or --admin-state"),
    ],
)
def test_update_without_a_field_says_which_there_are(fake: FakeServer, run: Run, noun: str, flags: str) -> None:
    result = run(noun, "update", EXISTING[noun], "--etag", "x")
    assert result.exit_code == 2
    assert result.stderr.endswith(f"Error: nothing to change: give {flags}\n")
    assert fake.requests == []


@pytest.mark.parametrize("noun", NOUNS)
def test_delete_asks_nothing_and_reports_on_stderr(fake: FakeServer, run: Run, noun: str) -> None:
    result = run(noun, "delete", EXISTING[noun])
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", f"deleted {noun} {EXISTING[noun]}\n")
    assert FULL[noun] not in getattr(fake, f"{noun}s")


@pytest.mark.parametrize("noun", NOUNS)
def test_etag_guards_update_and_delete(fake: FakeServer, run: Run, noun: str) -> None:
    table = getattr(fake, f"{noun}s")
    for verb, args in (("update", UPDATE[noun]), ("delete", [EXISTING[noun]])):
        stale = run(noun, verb, *args, "--etag", "stale")
        assert (stale.exit_code, stale.stdout) == (4, "")
        assert "was changed meanwhile" in stale.stderr
        assert run(noun, verb, *args, "--etag", table[FULL[noun]].etag).exit_code == 0


@pytest.mark.parametrize("noun", NOUNS)
def test_validate_only_changes_nothing(fake: FakeServer, run: Run, noun: str) -> None:
    table = getattr(fake, f"{noun}s")
    before = dict(table)
    for verb, args in (("create", CREATE[noun]), ("update", UPDATE[noun]), ("delete", [EXISTING[noun]])):
        result = run(noun, verb, *args, "--validate-only")
        assert result.exit_code == 0
        assert result.stderr == f"valid, nothing was changed: {noun} {args[0]}\n"
    assert [request.validate_only for request in fake.requests] == [True] * 3
    assert dict(table) == before


@pytest.mark.parametrize("noun", NOUNS)
@pytest.mark.parametrize("output", ["json", "yaml"])
def test_create_and_update_print_the_resource(fake: FakeServer, run: Run, noun: str, output: str) -> None:
    """So that a script gets the new etag without another call."""
    for verb, args in (("create", CREATE[noun]), ("update", UPDATE[noun])):
        shown = yaml.safe_load(run(noun, verb, *args, "-o", output).stdout)
        assert getattr(fake, f"{noun}s")[shown["name"]].etag == shown["etag"]
