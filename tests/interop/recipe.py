# SPDX-License-Identifier: Apache-2.0
"""The recipe for backends, as the documentation has it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

RECIPE = Path(__file__).parent / "RECIPE.md"

_BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_SETTING = re.compile(r"^(\w+)=(\S+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Recipe:
    """``script``: the code block, every byte of it. The rest is what its settings say; the wire is built to match."""

    script: str
    device: str
    mtu_bytes: int
    local4: IPv4Address
    local6: IPv6Address
    router4: IPv4Address
    router6: IPv6Address
    vip4: IPv4Address
    vip6: IPv6Address


def read_recipe(text: str) -> Recipe:
    """Take the recipe out of RECIPE.md's text.

    Raises:
        ValueError: Not exactly one ``sh`` block, or a setting that is missing or wrong.
    """
    blocks = _BLOCK.findall(text)
    if len(blocks) != 1:
        raise ValueError(f"RECIPE.md: one ```sh block expected, found {len(blocks)}")
    settings: Mapping[str, str] = dict(_SETTING.findall(blocks[0]))
    try:
        return Recipe(
            blocks[0],
            settings["device"],
            int(settings["mtu"]),
            IPv4Address(settings["local4"]),
            IPv6Address(settings["local6"]),
            IPv4Address(settings["router4"]),
            IPv6Address(settings["router6"]),
            IPv4Address(settings["vip4"]),
            IPv6Address(settings["vip6"]),
        )
    except KeyError as error:
        raise ValueError(f"RECIPE.md: the block does not set {error.args[0]}") from None
