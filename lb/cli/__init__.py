# SPDX-License-Identifier: Apache-2.0
"""The ``lbctl`` command line: a client of the API. See README.md beside this file."""
