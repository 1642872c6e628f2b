# SPDX-License-Identifier: Apache-2.0
"""Findings as messages of ``lb.v1``; lbctl needs them, too, where no lbd runs."""

from __future__ import annotations

from lb.ports import Finding, Severity
from lb.v1 import system_pb2

_SEVERITIES = {
    Severity.OK: system_pb2.Finding.OK,
    Severity.WARNING: system_pb2.Finding.WARNING,
    Severity.PROBLEM: system_pb2.Finding.PROBLEM,
}


def finding_to_proto(finding: Finding) -> system_pb2.Finding:
    """A finding as the API shows it."""
    return system_pb2.Finding(
        severity=_SEVERITIES[finding.severity],
        subject=finding.subject,
        check=finding.check,
        observation=finding.observation,
        remedy=finding.remedy,
    )
