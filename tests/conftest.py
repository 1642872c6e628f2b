# SPDX-License-Identifier: Apache-2.0
"""What all tests share: root-only tests fail, not skip, when CI runs them without root."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

# Deadlines are absolute times, and machines are noisy.
settings.register_profile("lb", deadline=None, max_examples=60, derandomize="CI" in os.environ)
settings.load_profile("lb")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Developers without root may run the rest; in CI a test that can't run is a failure."""
    if os.geteuid() == 0 or "CI" in os.environ:
        return
    for item in items:
        if item.get_closest_marker("root"):
            item.add_marker(pytest.mark.skip(reason="needs root, BPF and network namespaces"))
