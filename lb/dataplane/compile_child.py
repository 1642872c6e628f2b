# SPDX-License-Identifier: Apache-2.0
"""The child process that imports bcc: JSON request on stdin, JSON answer on stdout, diagnostics on stderr.

bcc changes the working directory while it compiles and leaves 70 to 120 MB resident, so the daemon keeps it out.
Request: {"text", "cflags", "functions": [name], "maps": [name], "compat": folder}.
Answer: {"functions": {name: instructions in hex}, "maps": {name: {"fd", "key_size", "value_size"}}}.
Exit code 1 with a sentence on stderr when bcc is unusable or the source is wrong.
"""

from __future__ import annotations

import json
import os
import sys

_XDP = 6
_WRONG_BCC = (
    "the Python module bcc is missing or is PyPI's unrelated package of that name: "
    "`apt-get install python3-bpfcc`, and make the venv with --system-site-packages from the system's Python"
)


def main() -> int:
    request = json.load(sys.stdin)
    os.environ["BCC_KERNEL_SOURCE"] = request["compat"]
    # bcc's C++ half prints where it likes; stdout belongs to the answer.
    answer_fd = os.dup(1)
    os.dup2(2, 1)
    try:
        from bcc import BPF, lib
    except ImportError:
        print(_WRONG_BCC, file=sys.stderr)
        return 1
    try:
        program = BPF(text=request["text"], cflags=request["cflags"])
    except Exception as error:  # noqa: BLE001 - bcc raises bare Exception; its diagnostics are on stderr already
        print(f"bcc: {error}", file=sys.stderr)
        return 1
    answer = {
        "functions": {name: program.dump_func(name).hex() for name in request["functions"]},
        "maps": {
            name: {
                "fd": lib.bpf_table_fd(program.module, name.encode()),
                "key_size": lib.bpf_table_key_size(program.module, name.encode()),
                "value_size": lib.bpf_table_leaf_size(program.module, name.encode()),
            }
            for name in request["maps"]
        },
    }
    with os.fdopen(answer_fd, "w") as out:
        json.dump(answer, out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
