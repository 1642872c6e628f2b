# SPDX-License-Identifier: Apache-2.0
"""The C structures and their Python packing have the same sizes."""

from __future__ import annotations

import pytest

from lb.dataplane.compiler import MapShape, compile_source
from lb.dataplane.maps import META, PERSISTENT, RING, SYMBOLS
from lb.dataplane.pins import PROGRAM
from lb.dataplane.source import balancer_source

pytestmark = pytest.mark.root


def test_keys_and_values_have_the_sizes_that_the_program_was_compiled_for() -> None:
    """A map whose values are shorter than the program thinks loads only by chance, and one that is longer lies."""
    shapes = compile_source(balancer_source(bytes(16)), [PROGRAM], SYMBOLS).shapes
    for spec in (*(spec for spec in PERSISTENT if spec is not META), RING):
        assert shapes[spec.name] == MapShape(spec.key_size, spec.value_size), spec.name
