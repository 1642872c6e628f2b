# SPDX-License-Identifier: Apache-2.0
"""``lbctl diff``, ``apply``, ``rollback`` against the real API: what is shown, asked, refused and changed."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cli.conftest import Run
from fakes.controller import FakeController

from lb.cli import session
from lb.cli.exits import Exit, Failure
from lb.cli.rpc_errors import is_stale, violations_of
from lb.core.audit import Caller
from lb.core.model import Config

B2 = "pools: [{name: web, backends: [{name: b2, address: 10.0.0.12}]}]\n"
PLAN = """\
+ backend web/b2
    address: 10.0.0.12
    weight: 1
    admin_state: ENABLED

pool web tcp: 32,769 of 65,537 slots move (50.0 % of new flows), existing flows are kept
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file that adds a second backend, which takes half of the flows."""
    path = tmp_path / "lb.yaml"
    path.write_text(B2)
    return path


def members(controller: FakeController) -> set[str]:
    return set(controller.view().config.pools["web"].backends)


# Diff.


def test_diff_shows_what_would_change_and_what_that_does_to_flows(
    real: Run, file: Path, controller: FakeController
) -> None:
    before = controller.view()
    result = real("diff", "-f", str(file))
    assert (result.exit_code, result.stdout, result.stderr) == (0, PLAN, "")
    assert controller.view() == before


def test_diff_shows_fields_old_and_new(real: Run, file: Path) -> None:
    file.write_text(
        "settings: {outer_source_ipv4: 'off'}\n"
        "pools: [{name: web, description: the shop, backends: [{name: b1, address: 10.0.0.11, weight: 3}]}]\n"
    )
    assert real("diff", "-f", str(file)).stdout.splitlines() == [
        "~ settings",
        "    outer_source_ipv4: 172.16.0.0/16 -> off",
        "~ pool web",
        "    description: (none) -> the shop",
        "~ backend web/b1",
        "    weight: 1 -> 3",
        "",
        "no flow moves",
    ]


def test_diff_with_prune_shows_what_goes_and_whose_flows_end(real: Run, file: Path) -> None:
    file.write_text("pools: [{name: web, backends: [{name: b2, address: 10.0.0.12}]}, {name: new}]\n")
    lines = real("diff", "-f", str(file), "--prune").stdout.splitlines()
    assert {"- backend web/b1", "+ backend web/b2", "+ pool new", "- vip web"} <= set(lines)
    assert "    address: 10.0.0.11" in lines
    assert lines[-1] == "vip web: all its flows are cut"


def test_diff_says_when_all_flows_of_a_vip_move(real: Run, file: Path) -> None:
    """No slot moves then, so nothing else would tell."""
    file.write_text(
        f"settings: {{hash_key: {'ab' * 16}}}\n"
        "vips: [{name: web, address: 192.0.2.1, port: 80, protocol: TCP, pool: web, hash_policy: SOURCE}]\n"
    )
    result = real("diff", "-f", str(file))
    assert result.stdout.splitlines()[-2:] == [
        "settings: a new hash key moves the flows of every vip, existing ones are not protected",
        "vip web: its flows move, existing ones are not protected",
    ]
    assert "ab" * 16 not in result.stdout


def test_diff_exits_10_on_differences_only_when_asked_to(real: Run, file: Path) -> None:
    assert real("diff", "-f", str(file), "--exit-code").exit_code == 10
    assert real("apply", "-f", str(file), "--yes").exit_code == 0
    result = real("diff", "-f", str(file), "--exit-code")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "nothing to change: revision 4 is like that already\n"


def test_diff_as_data_is_the_protobuf_mapping(real: Run, file: Path) -> None:
    found = json.loads(real("diff", "-f", str(file), "-o", "json").stdout)
    assert found["revision"] == "3"
    assert [(item["action"], item["name"]) for item in found["differences"]] == [("ADDED", "pools/web/backends/b2")]
    (impact,) = found["impacts"]
    assert (impact["pool"], impact["movedSlots"], "measuredMovedSlots" in impact) == ("pools/web", 32_769, False)


# Apply.


def test_apply_shows_the_plan_applies_it_and_says_what_moved(real: Run, file: Path, controller: FakeController) -> None:
    result = real("apply", "-f", str(file), "--yes")
    assert result.exit_code == 0
    assert result.stdout == f"{PLAN}pool web tcp: 32,769 slots moved, as predicted\n"
    assert result.stderr == "applied as revision 4\n"
    assert members(controller) == {"b1", "b2"}


def test_apply_as_data_prints_what_came_of_it_alone(real: Run, file: Path) -> None:
    """A script parses stdout; the plan is for the log."""
    result = real("apply", "-f", str(file), "--yes", "-o", "json")
    done = json.loads(result.stdout)
    assert (done["revision"], done["impacts"][0]["measuredMovedSlots"]) == ("4", 32_769)
    assert result.stderr == f"{PLAN}applied as revision 4\n"


def test_a_measurement_that_differs_is_not_called_predicted(
    real: Run, file: Path, controller: FakeController, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply = controller.apply

    async def otherwise(*args: Any, **more: Any) -> Any:
        done = await apply(*args, **more)
        return replace(done, measured=tuple(replace(item, moved=1) for item in done.measured))

    monkeypatch.setattr(controller, "apply", otherwise)
    result = real("apply", "-f", str(file), "--yes")
    assert result.stdout.splitlines()[-1] == "pool web tcp: 1 slot moved, 32,769 were predicted"


def test_apply_twice_is_no_second_revision(real: Run, file: Path, controller: FakeController) -> None:
    assert real("apply", "-f", str(file), "--yes").exit_code == 0
    result = real("apply", "-f", str(file), "--yes")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "nothing to change: revision 4 is like that already\n"
    assert controller.view().revision == 4


@pytest.mark.parametrize("prune", [[], ["--prune"]])
def test_applying_an_export_changes_nothing(real: Run, controller: FakeController, prune: list[str]) -> None:
    """Through standard input, and with everything that can be set."""
    for line in (
        "pool update web --health-check https --health-path /healthz --slow-start 30s --min-healthy 40",
        "backend create web/b2 --address 2001:db8::12 --weight 0",
        "backend drain web/b1 --deadline 1h",
        "vip create any --address 2001:db8::1 --port 0 --protocol udp --pool web --hash-policy source",
    ):
        assert real(*line.split()).exit_code == 0
    before = controller.view()
    result = real("apply", "-f", "-", "--yes", *prune, stdin=real("export").stdout)
    assert (result.exit_code, result.stderr) == (0, "nothing to change: revision 7 is like that already\n")
    assert controller.view() == before


def test_dry_run_changes_nothing(real: Run, file: Path, controller: FakeController) -> None:
    before = controller.view()
    result = real("apply", "-f", str(file), "--dry-run")
    assert (result.exit_code, result.stdout, result.stderr) == (0, PLAN, "dry run: nothing was changed\n")
    assert controller.view() == before


def test_prune_removes_what_the_file_does_not_name(real: Run, file: Path, controller: FakeController) -> None:
    assert real("apply", "-f", str(file), "--yes", "--prune").exit_code == 0
    assert members(controller) == {"b2"}
    assert not controller.view().config.vips


def test_nobody_to_ask_and_no_yes_is_wrong_usage(real: Run, file: Path, controller: FakeController) -> None:
    """A script that forgot it must not hang, nor move traffic."""
    before = controller.view()
    for args in (["apply", "-f", str(file)], ["apply", "-f", "-"], ["rollback", "1"]):
        result = real(*args, stdin=B2)
        assert (result.exit_code, result.stdout) == (2, "")
        assert "nobody can be asked here: give --yes to apply it, or --dry-run" in result.stderr
    assert controller.view() == before


def on_terminal(answer: str, *words: str) -> tuple[int, str]:
    """Exit code and output of ``lbctl`` on a pseudo-terminal on which somebody types ``answer``."""
    master, slave = os.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "lb.cli", *words],
        stdin=slave,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as child:
        os.close(slave)
        os.write(master, f"{answer}\n".encode())
        output, _ = child.communicate(timeout=60)
        os.close(master)
    return child.returncode, output


@pytest.mark.parametrize(
    ("answer", "code", "last"),
    [
        ("y", 0, "applied as revision 4"),
        ("n", 1, "Error: nothing was changed"),
        # Ctrl-C and Ctrl-D: who is asked must know what became of it.
        ("\x03", 1, "Error: nothing was changed"),
        ("\x04", 1, "Error: nothing was changed"),
    ],
)
@pytest.mark.usefixtures("real")
def test_on_a_terminal_it_asks(file: Path, controller: FakeController, answer: str, code: int, last: str) -> None:
    found, output = on_terminal(answer, "apply", "-f", str(file))
    assert (found, output.rstrip().endswith(last)) == (code, True)
    assert output.startswith(PLAN)
    assert "Apply this? [y/N]" in output
    assert ("b2" in members(controller)) is (code == 0)


# What is refused.


def test_a_wrong_file_reports_every_problem_with_its_line(real: Run, file: Path, controller: FakeController) -> None:
    """Those that are wrong whatever the state are found before lbd is asked."""
    file.write_text(
        "pools:\n"
        "  - name: web\n"
        "    wieght: 1\n"
        "    backends:\n"
        "      - {name: b2, address: 10.0.0.12:80}\n"
        "vips:\n"
        "  - {name: Web, address: 192.0.2.1, port: 70000, protocol: TCP, pool: web}\n"
    )
    before = controller.view()
    for args in (["diff"], ["apply", "--yes"]):
        result = real(*args, "-f", str(file), "--target", "/nowhere")
        assert (result.exit_code, result.stdout) == (2, "")
        lines = result.stderr.splitlines()
        assert lines[0] == "Error: nothing was changed, the file has to be mended first:"
        starts = [
            "3:5: pools[0].wieght: unknown",
            "5:29: pools[0].backends[0].address: ",
            "7:12: vips[0].name: ",
            "7:43: vips[0].port: ",
        ]
        assert len(lines) == 1 + len(starts)
        for line, start in zip(lines[1:], starts, strict=True):
            assert line.startswith(f"  {file}:{start}")
    assert controller.view() == before


def test_what_only_lbd_can_know_gets_its_line_too(real: Run, file: Path) -> None:
    file.write_text(
        "vips:\n"
        "  - {name: a, address: 192.0.2.8, port: 80, protocol: TCP, pool: web}\n"
        "  - name: b\n"
        "    address: 192.0.2.9\n"
        "    protocol: TCP\n"
        "    pool: nowhere\n"
    )
    result = real("apply", "-f", str(file), "--yes")
    assert (result.exit_code, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()[1:]
    assert line.startswith(f"  {file}:6:11: vips[1].pool: pool 'nowhere' does not exist: add it to the file, or")


def test_standard_input_has_lines_as_well(real: Run) -> None:
    result = real("apply", "-f", "-", "--yes", stdin="pools:\n  - {name: Web}\n")
    assert result.exit_code == 2
    assert "  standard input:2:12: pools[0].name: 'Web' is not a name" in result.stderr


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "Error: {}: can't be read: No such file or directory\n"),
        (b"\xff", "  {}:1:1: file: is not UTF-8 text"),
        (b"a: ]", "  {}:1:4: file: is not YAML"),
    ],
)
def test_files_that_cannot_be_read(real: Run, tmp_path: Path, content: bytes | None, words: str) -> None:
    path = tmp_path / "wrong.yaml"
    if content is not None:
        path.write_bytes(content)
    result = real("apply", "-f", str(path), "--yes")
    assert (result.exit_code, words.format(path) in result.stderr) == (2, True)


def test_a_file_that_fails_while_it_is_read(real: Run) -> None:
    result = real("apply", "-f", "/proc/self/mem", "--yes")
    assert (result.exit_code, "/proc/self/mem: can't be read: Input/output error" in result.stderr) == (2, True)


def test_max_move_refuses_after_the_plan_and_before_anything_changes(
    real: Run, file: Path, controller: FakeController
) -> None:
    """The operator sees what was too much."""
    before = controller.view()
    for extra in (["--yes"], ["--dry-run"]):
        result = real("apply", "-f", str(file), "--max-move", "49.9", *extra)
        assert (result.exit_code, result.stdout) == (4, PLAN)
        assert result.stderr.startswith("Error: pool 'web', TCP: 50.0 % of the slots would move or be cut, more than")
    assert controller.view() == before
    assert real("apply", "-f", str(file), "--max-move", "51", "--yes").exit_code == 0


@pytest.mark.parametrize(
    ("percent", "words"),
    [
        ("101", "max_move_percent: 101 is not a share: give 0 (no slot may move) to 100 percent (--max-move)"),
        ("half", "'half' can't be right: give a percentage, such as 30"),
    ],
)
def test_a_max_move_that_is_none(real: Run, file: Path, percent: str, words: str) -> None:
    result = real("apply", "-f", str(file), "--max-move", percent, "--yes")
    assert result.exit_code == 2
    assert words in " ".join(result.stderr.split())


def test_an_empty_file_does_not_empty_a_balancer_unasked(real: Run, file: Path, controller: FakeController) -> None:
    """An export that failed, applied by a script: --yes is for what the file says, not for what it does not."""
    before = controller.view()
    for content in ("", "settings: {outer_source_ipv4: 'off'}\n", "pools: []\nvips: []\n"):
        file.write_text(content)
        result = real("apply", "-f", str(file), "--prune", "--yes")
        assert (result.exit_code, result.stdout) == (2, "")
        assert "names no pool and no VIP, so --prune would remove all of them" in " ".join(result.stderr.split())
    assert controller.view() == before
    shown = real("apply", "-f", str(file), "--prune", "--dry-run", "--yes")
    assert (shown.exit_code, "- vip web" in shown.stdout) == (0, True)
    code, output = on_terminal("y", "apply", "-f", str(file), "--prune")
    assert (code, "applied as revision 4" in output) == (0, True)
    assert not controller.view().config.pools


def test_max_move_counts_a_vip_that_goes(real: Run, file: Path, controller: FakeController) -> None:
    """No slot moves when it goes, but all its flows do."""
    before = controller.view()
    file.write_text("pools: [{name: web}]\n")
    result = real("apply", "-f", str(file), "--prune", "--yes", "--max-move", "99")
    assert result.exit_code == 4
    assert result.stderr.startswith("Error: vip web: all its flows are cut, more than the 99 % that are allowed")
    assert controller.view() == before


def test_diff_says_that_another_port_cuts_a_vips_flows(real: Run, file: Path) -> None:
    file.write_text("vips: [{name: web, address: 192.0.2.1, port: 81, protocol: TCP, pool: web}]\n")
    lines = real("diff", "-f", str(file)).stdout.splitlines()
    assert lines == ["~ vip web", "    port: 80 -> 81", "", "vip web: all its flows are cut"]


def test_an_address_of_the_balancer_is_refused(real: Run, file: Path) -> None:
    file.write_text("vips: [{name: own, address: 192.0.2.200, port: 80, protocol: TCP, pool: web}]\n")
    result = real("apply", "-f", str(file), "--yes")
    assert result.exit_code == 4
    assert "192.0.2.200 is an address of this balancer" in result.stderr


def interfere(controller: FakeController, edit: Callable[[Config], Config]) -> None:
    """Have somebody else's change come between the next plan and its apply."""
    apply = controller.apply

    async def late(change: Any, by: Caller, **more: Any) -> Any:
        if not more["validate_only"]:
            controller.apply = apply
            await apply(edit, Caller("rival"))
        return await apply(change, by, **more)

    controller.apply = late


def weigh(config: Config) -> Config:
    """b1 gets weight 9."""
    pool = config.pools["web"]
    members = {**pool.backends, "b1": replace(pool.backends["b1"], weight=9)}
    return replace(config, pools={"web": replace(pool, backends=members)})


def test_of_two_applies_the_later_one_conflicts_and_sees_the_new_plan(
    real: Run, file: Path, controller: FakeController
) -> None:
    """The plan that was agreed to is not what would happen by now: nothing is applied."""
    interfere(controller, weigh)
    result = real("apply", "-f", str(file), "--yes")
    assert result.exit_code == 4
    first, second = result.stdout.split("+ backend web/b2")[1:]
    assert "32,769 of 65,537 slots move (50.0 % of new flows)" in first
    assert "6,554 of 65,537 slots move (10.0 % of new flows)" in second
    assert result.stderr.splitlines()[0].startswith("somebody else changed the configuration meanwhile; this is what")
    assert "Error: the configuration is at revision 4 by now, not 3" in result.stderr
    assert members(controller) == {"b1"}
    assert controller.view().config.pools["web"].backends["b1"].weight == 9


def test_a_conflict_that_the_limit_is_the_first_to_meet(real: Run, file: Path, controller: FakeController) -> None:
    """A rival may also come between the plan that is shown and its check against --max-move."""
    apply = controller.apply

    async def late(change: Any, by: Caller, **more: Any) -> Any:
        if more["max_move_percent"] != 100:
            controller.apply = apply
            await apply(weigh, Caller("rival"))
        return await apply(change, by, **more)

    controller.apply = late
    result = real("apply", "-f", str(file), "--yes", "--max-move", "60")
    assert (result.exit_code, result.stdout.count("+ backend web/b2")) == (4, 2)
    assert members(controller) == {"b1"}


def test_a_conflict_whose_new_plan_fails_is_still_a_conflict(real: Run, file: Path, controller: FakeController) -> None:
    """The pool that the file's VIP needs goes meanwhile."""
    assert real("pool", "create", "blue").exit_code == 0
    file.write_text("vips: [{name: new, address: 192.0.2.8, port: 80, protocol: TCP, pool: blue}]\n")
    interfere(controller, lambda config: replace(config, pools={"web": config.pools["web"]}))
    result = real("apply", "-f", str(file), "--yes")
    assert result.exit_code == 4
    assert "pool 'blue' does not exist" in result.stderr
    assert "Error: the configuration is at revision 5 by now, not 4" in result.stderr


def test_a_plan_is_waited_for_longer_unless_told_otherwise(
    run: Run, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plan for a large file takes lbd longer than an answer to a question."""
    monkeypatch.setattr(session, "TIMEOUT_SECONDS", 0.1)
    monkeypatch.setattr(session, "PATIENT_TIMEOUT_SECONDS", 0.2)
    with socket.socket(socket.AF_UNIX) as hung:
        hung.bind(str(tmp_path / "hung"))
        hung.listen()
        hang = ["--target", str(tmp_path / "hung")]
        for args, seconds in (
            (["diff", "-f", str(file)], "0.2"),
            (["apply", "-f", str(file), "--yes"], "0.2"),
            (["verify"], "0.2"),
            (["history"], "0.1"),
            (["diff", "-f", str(file), "--timeout", "0.3"], "0.3"),
        ):
            result = run(*hang, *args)
            assert result.exit_code == 5
            assert f"within {seconds} s: raise --timeout" in result.stderr


def test_a_failure_that_lbd_had_no_part_in_is_no_conflict() -> None:
    failure = Failure(Exit.UNAVAILABLE, "lbd is not running")
    assert (violations_of(failure), is_stale(failure)) == ([], False)


# Rollback.


def test_rollback_is_planned_shown_and_applied_like_a_file(real: Run, file: Path, controller: FakeController) -> None:
    then = controller.view().config
    assert real("apply", "-f", str(file), "--yes").exit_code == 0
    planned = real("rollback", "3", "--dry-run")
    assert (planned.exit_code, planned.stderr) == (0, "dry run: nothing was changed\n")
    assert planned.stdout.startswith("- backend web/b2\n    address: 10.0.0.12\n")
    assert planned.stdout.endswith("move (50.0 % of new flows), 50.0 % of existing flows are cut\n")
    refused = real("rollback", "3", "--yes", "--max-move", "20")
    assert refused.exit_code == 4
    done = real("rollback", "3", "--yes")
    assert (done.exit_code, done.stderr) == (0, "applied as revision 5\n")
    assert controller.view().config == then
    again = real("rollback", "3", "--yes")
    assert (again.exit_code, again.stderr) == (0, "nothing to change: revision 5 is like that already\n")


def test_rollback_to_what_is_not_kept(real: Run) -> None:
    result = real("rollback", "99", "--yes")
    assert result.exit_code == 3
    assert "revision 99 is not kept: `lbctl history` shows those that are" in result.stderr
    assert real("rollback", "0", "--yes").exit_code == 2


def test_rollback_conflicts_too(real: Run, controller: FakeController) -> None:
    interfere(controller, weigh)
    assert real("rollback", "2", "--yes").exit_code == 4
    assert controller.view().config.vips
