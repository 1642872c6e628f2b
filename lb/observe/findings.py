# SPDX-License-Identifier: Apache-2.0
"""Making findings, and putting them in order."""

from __future__ import annotations

from collections.abc import Iterable

from lb.ports import Finding, Severity

MAX_FINDINGS = 4_096
"""A configuration may have 65,534 backends; the worst are kept."""

_RANK = {Severity.PROBLEM: 0, Severity.WARNING: 1, Severity.OK: 2}


def ok(subject: str, check: str, observation: str) -> Finding:
    """Nothing is to be done."""
    return Finding(Severity.OK, subject, check, observation)


def warning(subject: str, check: str, observation: str, remedy: str) -> Finding:
    """It works, but not as well as it could."""
    return Finding(Severity.WARNING, subject, check, observation, remedy)


def problem(subject: str, check: str, observation: str, remedy: str) -> Finding:
    """It does not work, or soon will not."""
    return Finding(Severity.PROBLEM, subject, check, observation, remedy)


def worst_first(findings: Iterable[Finding]) -> list[Finding]:
    """Problems, then warnings, then the rest, each in the order in which they came; at most ``MAX_FINDINGS`` and one
    that says how many were left out."""
    ordered = sorted(findings, key=lambda finding: _RANK[finding.severity])
    left_out = len(ordered) - MAX_FINDINGS
    if left_out <= 0:
        return ordered
    first_left_out = ordered[MAX_FINDINGS]
    note = Finding(
        first_left_out.severity, "lbd", "findings", f"{left_out} more, none worse than these", "mend these first"
    )
    return [*ordered[:MAX_FINDINGS], note]
