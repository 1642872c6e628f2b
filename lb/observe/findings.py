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
    """Problems, then warnings, then the rest; of each, what is about one subject together, else as it came.

    At most ``MAX_FINDINGS``, and one that says how many were left out.
    """
    found = list(findings)
    places: dict[str, int] = {}
    for finding in found:
        places.setdefault(finding.subject, len(places))
    ordered = sorted(found, key=lambda finding: (_RANK[finding.severity], places[finding.subject]))
    left_out = len(ordered) - MAX_FINDINGS
    if left_out <= 0:
        return ordered
    worst = ordered[MAX_FINDINGS].severity
    note = Finding(worst, "lbd", "findings", f"{left_out} more, none worse than these", "mend these first")
    return [*ordered[:MAX_FINDINGS], note]
