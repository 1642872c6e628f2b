# SPDX-License-Identifier: Apache-2.0
"""The verdict list stands in five places; here they are compared."""

from __future__ import annotations

import re
from pathlib import Path

from lb.core.verdicts import Verdict
from lb.v1 import stats_pb2

ROOT = Path(__file__).resolve().parents[2]


def test_c_proto_python_and_docs_hold_the_same_verdicts() -> None:
    """A number that means one thing to the kernel and another to the operator is worse than none."""
    ours = {verdict.name: int(verdict) for verdict in Verdict}
    text = (ROOT / "xdp" / "verdicts.h").read_text()
    in_c = {name: int(number) for name, number in re.findall(r"^\t([A-Z_]+) = (\d+),", text, re.MULTILINE)}
    in_c.pop("CONTINUE")
    in_proto = dict(stats_pb2.VerdictStats.Verdict.items())
    in_proto.pop("VERDICT_UNSPECIFIED")
    documented = re.findall(r"^\| (\d+) \| `([A-Z_]+)` \|", (ROOT / "xdp" / "README.md").read_text(), re.MULTILINE)
    assert in_c == ours
    assert in_proto == ours
    assert {name: int(number) for number, name in documented} == ours


def test_every_verdict_is_explained() -> None:
    """A drop reason without a sentence is a support ticket."""
    assert all(verdict.description for verdict in Verdict)
