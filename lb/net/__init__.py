# SPDX-License-Identifier: Apache-2.0
"""Next hops of backends, watched over netlink: the ``NextHops`` port."""
