# SPDX-License-Identifier: Apache-2.0
"""Looking at the machine and at the backends for what is known to go wrong: `lbctl doctor`."""
