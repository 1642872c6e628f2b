# SPDX-License-Identifier: Apache-2.0
"""The durable home of the configuration."""
