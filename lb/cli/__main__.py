# SPDX-License-Identifier: Apache-2.0
"""``python -m lb.cli``."""

from lb.cli.main import main

main()
