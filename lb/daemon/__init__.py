# SPDX-License-Identifier: Apache-2.0
"""``lbd``: the daemon that owns the configuration and writes the data plane."""
