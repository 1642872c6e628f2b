# SPDX-License-Identifier: Apache-2.0
"""C source -> instructions, by bcc in a child process."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from lb.core.errors import UnavailableError
from lb.dataplane.source import Source, source_dir

_INSTRUCTION = struct.Struct("=BBhi")
_LD_IMM64 = 0x18
_PSEUDO_MAP_FD = 1
_TIMEOUT_SECONDS = 120


class CompileError(UnavailableError):
    """bcc is unusable here, or the source is wrong; the message holds its diagnostics."""

    reason = "COMPILE_FAILED"


@dataclass(frozen=True, slots=True)
class MapShape:
    """Sizes of a template map, in bytes."""

    key_size: int
    value_size: int


@dataclass(frozen=True, slots=True)
class Object:
    """Compiled functions whose map references are still names.

    ``functions``: name to instructions (8 bytes each). ``references``: function name to {instruction number: map}.
    """

    functions: Mapping[str, bytes]
    references: Mapping[str, Mapping[int, str]]
    shapes: Mapping[str, MapShape]

    def bind(self, function: str, fds: Mapping[str, int]) -> bytes:
        """Instructions of ``function`` with every map reference pointed at ``fds[map name]``."""
        code = bytearray(self.functions[function])
        for number, name in self.references[function].items():
            opcode, registers, offset, _ = _INSTRUCTION.unpack_from(code, number * 8)
            _INSTRUCTION.pack_into(code, number * 8, opcode, registers, offset, fds[name])
        return bytes(code)


def compile_source(
    source: Source, functions: Sequence[str], maps: Iterable[str], *, cflags: Sequence[str] = ()
) -> Object:
    """Compile; raises ``CompileError``.

    Args:
        source: Text and constants.
        functions: Programs to hand back.
        maps: Names of the template maps that they may refer to.
        cflags: Further compiler flags ("-Werror").
    """
    request = {
        "text": source.text,
        "cflags": [*_include_flags(), "-Wall", *cflags, *(f"-D{k}={v}" for k, v in source.defines.items())],
        "functions": list(functions),
        "maps": list(maps),
        "compat": str(source_dir() / "compat"),
    }
    child = subprocess.run(
        [sys.executable, "-m", "lb.dataplane.compile_child"],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_SECONDS,
        check=False,
    )
    if child.returncode != 0:
        raise CompileError(f"cannot compile {', '.join(functions)}: {child.stderr.strip() or 'bcc died'}")
    if child.stderr.strip():
        raise CompileError(f"the compiler warns: {child.stderr.strip()}")
    return _object(json.loads(child.stdout))


def _include_flags() -> list[str]:
    triplet = sysconfig.get_config_var("MULTIARCH") or "x86_64-linux-gnu"
    return ["-I/usr/include", f"-I/usr/include/{triplet}"]


def _object(answer: dict[str, dict[str, object]]) -> Object:
    names: dict[int, str] = {}
    shapes: dict[str, MapShape] = {}
    for name, found in answer["maps"].items():
        assert isinstance(found, dict)
        if found["fd"] >= 0:
            names[found["fd"]] = name
            shapes[name] = MapShape(found["key_size"], found["value_size"])
    functions = {name: bytes.fromhex(str(code)) for name, code in answer["functions"].items()}
    references = {
        function: {
            number: names[immediate]
            for number, (opcode, registers, _, immediate) in enumerate(_INSTRUCTION.iter_unpack(code))
            if opcode == _LD_IMM64 and registers >> 4 == _PSEUDO_MAP_FD
        }
        for function, code in functions.items()
    }
    return Object(functions, references, shapes)
