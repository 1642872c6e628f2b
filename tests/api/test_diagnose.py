# SPDX-License-Identifier: Apache-2.0
"""SystemService.Diagnose."""

from __future__ import annotations

from api.client import Api
from fakes.controller import FakeController

from lb.core.errors import UnavailableError
from lb.ports import Finding, Severity
from lb.v1 import system_pb2


async def test_findings_arrive_whole_and_in_order(api: Api, controller: FakeController) -> None:
    controller.findings = (
        Finding(Severity.PROBLEM, "pools/web/backends/b1", "next hop", "no route", "add one"),
        Finding(Severity.WARNING, "interface eth0", "XDP mode", "generic", "another NIC"),
        Finding(Severity.OK, "machine", "kernel", "6.1"),
    )
    answer = await api.system.Diagnose(system_pb2.DiagnoseRequest())
    assert [(each.severity, each.subject, each.check, each.observation, each.remedy) for each in answer.findings] == [
        (system_pb2.Finding.PROBLEM, "pools/web/backends/b1", "next hop", "no route", "add one"),
        (system_pb2.Finding.WARNING, "interface eth0", "XDP mode", "generic", "another NIC"),
        (system_pb2.Finding.OK, "machine", "kernel", "6.1", ""),
    ]


async def test_every_severity_has_a_number_of_its_own() -> None:
    """Names agree, so that a new one cannot be forgotten."""
    assert {each.name for each in Severity} | {"SEVERITY_UNSPECIFIED"} == set(system_pb2.Finding.Severity.keys())


async def test_a_diagnosis_that_fails_says_why(api: Api, controller: FakeController) -> None:
    controller.failure = UnavailableError("cannot look: try again")
    failure = await api.failure(api.system.Diagnose(system_pb2.DiagnoseRequest()))
    assert (failure.code.name, failure.message) == ("UNAVAILABLE", "cannot look: try again")
