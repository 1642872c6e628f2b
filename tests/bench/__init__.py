# SPDX-License-Identifier: Apache-2.0
"""What a packet costs: `python -m bench`. README.md says how, and why so."""
