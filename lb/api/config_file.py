# SPDX-License-Identifier: Apache-2.0
"""The YAML configuration file: ``lb.v1.Config`` as people write it, every problem with its line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import yaml
from google.protobuf import json_format

from lb.api import present
from lb.api.overlay import lay_over, missing_pools
from lb.api.yaml_walk import Place, Sheet, fill, start
from lb.core.diff import differences
from lb.core.errors import InvalidError, Violation
from lb.core.model import Config
from lb.core.validate import Found
from lb.v1 import config_pb2

MAX_FILE_BYTES = 32 * 1024 * 1024
MAX_DEPTH = 32
MAX_PROBLEMS = 50
"""That are shown; ``ConfigFileError.violations`` has all."""

_DEADLINE = "drain_deadline_at_seconds"
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_Dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class ConfigFileError(InvalidError):
    """The file can't be used: ``str()`` has one line for each problem, ``file:line:column: field: what to do``."""

    reason = "INVALID_CONFIG_FILE"

    def __init__(self, source: str, problems: Sequence[tuple[Place, Violation]]) -> None:
        ordered = sorted(problems, key=lambda problem: problem[0])
        super().__init__([violation for _, violation in ordered])
        lines = [f"{source}:{place.line}:{place.column}: {item}" for place, item in ordered[:MAX_PROBLEMS]]
        if len(ordered) > MAX_PROBLEMS:
            lines.append(f"{source}: and {len(ordered) - MAX_PROBLEMS} more problems")
        self.message = "\n".join(lines)
        self.args = (self.message,)


class UnreadableError(ConfigFileError):
    """There is no such file, or it can't be read: no line of it is at fault."""

    def __init__(self, source: str, why: str) -> None:
        super().__init__(source, [(Place(1, 1), Violation("file", f"can't be read: {why}"))])
        self.message = f"{source}: can't be read: {why}"
        self.args = (self.message,)


@dataclass(frozen=True, slots=True)
class Fragment:
    """A valid configuration file; ``merge`` lays it over a configuration."""

    source: str
    message: config_pb2.Config
    sheet: Sheet


def load(path: Path) -> Fragment:
    """Read a file; raises ``ConfigFileError`` with all its problems."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise UnreadableError(str(path), error.strerror or str(error)) from error
    with file:
        return read(file, str(path))


def read(file: BinaryIO, source: str) -> Fragment:
    """Like ``load`` for what is open already; ``source`` is its name in messages."""
    try:
        content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise UnreadableError(source, error.strerror or str(error)) from error
    if len(content) > MAX_FILE_BYTES:
        raise _unreadable(source, f"is larger than {MAX_FILE_BYTES} bytes: is it the right file?")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _unreadable(source, "is not UTF-8 text: save it as UTF-8", Place(line, 1)) from error
    return parse(text, source)


def parse(text: str, source: str) -> Fragment:
    """Like ``load`` for a text; ``source`` is its name in messages."""
    sheet, message = Sheet(), config_pb2.Config()
    root = _compose(text, source)
    if root is not None:
        fill(sheet, "", root, message)
    fragment = Fragment(source, message, sheet)
    found: Found = []
    lay_over(found, Config(), fragment.message)
    sheet.problems.extend(_located(sheet, found))
    if sheet.problems:
        raise ConfigFileError(source, sheet.problems)
    return fragment


def merge(current: Config, fragment: Fragment) -> tuple[Config, list[str]]:
    """Lay a file over a configuration.

    For an object that is in both, the file wins; what it leaves out keeps its value if it is set in operation or moves
    flows (weight, admin state, deadline, hash policy, all of a pool but its description), so that a restart neither
    undoes a drain nor moves flows. Objects that the file does not name stay, members of its pools too, unless they
    hold the endpoint or the address of one that it does name.

    Returns:
        The configuration, and the names of what the file added, changed or removed ("settings" for the settings).

    Raises:
        ConfigFileError: A VIP names a pool that exists nowhere.
    """
    found: Found = []
    merged = lay_over(found, current, fragment.message)
    missing_pools(found, merged, fragment.message)
    if found:
        raise complain(fragment, found)
    return merged, [difference.name for difference in differences(current, merged)]


def complain(fragment: Fragment, found: Found) -> ConfigFileError:
    """What was found wrong with a file's content elsewhere, with its lines."""
    return ConfigFileError(fragment.source, _located(fragment.sheet, found))


def dump(config: Config) -> str:
    """A configuration as a YAML file that ``load`` reads back."""
    return dump_message(present.config_to_proto(config))


def dump_message(message: config_pb2.Config) -> str:
    """A configuration, as the API shows it, as a YAML file; names in their short form."""
    plain = json_format.MessageToDict(message, preserving_proto_field_name=True)
    for pool in plain.get("pools", ()):
        for item in (pool, *pool.get("backends", ())):
            item["name"] = _last(item["name"])
            if _DEADLINE in item:
                # A 64-bit number, which the JSON mapping quotes.
                item[_DEADLINE] = int(item[_DEADLINE])
    for vip in plain.get("vips", ()):
        vip["name"], vip["pool"] = _last(vip["name"]), _last(vip["pool"])
    return yaml.dump(plain, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def _compose(text: str, source: str) -> yaml.Node | None:
    try:
        _refuse_tricks(text, source)
        return yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(mark.line + 1, mark.column + 1) if mark else Place(1, 1)
        lines = text.splitlines()
        indent = lines[place.line - 1] if place.line <= len(lines) else ""
        tab = "\t" in indent[: len(indent) - len(indent.lstrip())]
        remedy = ": indent with spaces, not with tabs" if tab else ""
        reason = ", ".join(filter(None, (error.context, error.problem)))
        raise _unreadable(source, f"is not YAML: {reason}{remedy}", place) from error
    except yaml.reader.ReaderError as error:
        before = text[: error.position] if isinstance(error.position, int) else ""
        place = Place(before.count("\n") + 1, len(before) - before.rfind("\n"))
        raise _unreadable(source, "has a character that YAML does not allow: remove it", place) from error


def _refuse_tricks(text: str, source: str) -> None:
    """What a configuration never needs and a parser can choke on: aliases that multiply, nesting that overflows."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.AliasEvent):
            raise _unreadable(source, "aliases ('*name') can't be used here: write it out", start(event))
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise _unreadable(
                    source, f"is nested deeper than {MAX_DEPTH} levels: nothing here needs that", start(event)
                )
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _located(sheet: Sheet, found: Found) -> list[tuple[Place, Violation]]:
    return [(sheet.place(item.field), item) for item in found if not sheet.is_covered(item.field)]


def _last(name: str) -> str:
    return name.rpartition("/")[2]


def _unreadable(source: str, message: str, place: Place | None = None) -> ConfigFileError:
    return ConfigFileError(source, [(place or Place(1, 1), Violation("file", message))])
