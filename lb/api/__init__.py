# SPDX-License-Identifier: Apache-2.0
"""The gRPC API and the YAML configuration file: the two ways in, both described by ``proto/lb/v1``."""
