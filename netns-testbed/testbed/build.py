# SPDX-License-Identifier: Apache-2.0
"""Turns a description into the commands that make it: one shell script per namespace, readable and replayable."""

from __future__ import annotations

from ipaddress import IPv4Interface

from testbed.topology import BRIDGE, HOST_INTERFACE, Node, Topology

_SYSCTL = "/proc/sys/net/ipv4"


def link_commands(topology: Topology, prefix: str) -> str:
    """Lines for ``ip -batch`` in the host's namespace: the veth pairs, each end born in its namespace."""
    return "".join(
        f"link add name {link.left[1]} mtu {link.mtu} netns {prefix}-{link.left[0]} type veth"
        f" peer name {link.right[1]} mtu {link.mtu} netns {prefix}-{link.right[0]}\n"
        for link in topology.links
    )


def node_script(topology: Topology, node: Node) -> str:
    """``sh`` commands that set up one namespace from inside."""
    interfaces = [name for name, _ in topology.interfaces(node.name)]
    lines = [*_sysctls(node), "ip link set lo up"]
    if node.ports:
        lines.append(f"ip link add {BRIDGE} type bridge forward_delay 0")
        lines.append(f"ip link set {BRIDGE} up")
    for interface in interfaces:
        # A packet goes through XDP as it is: a checksum left to the NIC would never be computed, and packets merged
        # by GRO would be cut again in another way than they were sent.
        lines.append(f"ethtool -K {interface} tx off gro off >/dev/null")
        if interface in node.ports:
            lines.append(f"ip link set {interface} master {BRIDGE}")
        if interface in node.addresses:
            lines.append(f"ip address add {node.addresses[interface]} dev {interface}")
        lines.append(f"ip link set {interface} up")
    lines += [f"ip address add {vip}/32 dev lo" for vip in node.vips]
    lines += _routes(node)
    return "".join(f"{line}\n" for line in lines)


def _sysctls(node: Node) -> list[str]:
    # "default" is what interfaces made later get (tunnels); for eth0, which is there already, "all" counts:
    # the kernel takes the larger of the two, so rp_filter needs both at 0.
    names = ["all", "default", *node.addresses]
    settings = {f"conf/{name}/rp_filter": 0 for name in names}
    settings["conf/all/send_redirects"] = 0
    if node.vips:
        # The VIP sits on lo: answer ARP only for addresses of the interface asked on, and ask with those only.
        settings |= {"conf/all/arp_ignore": 1, "conf/all/arp_announce": 2}
    if node.forwards:
        settings["ip_forward"] = 1
    return [f"echo {value} >{_SYSCTL}/{name}" for name, value in settings.items()]


def _routes(node: Node) -> list[str]:
    lines = []
    if node.link_mtu:
        # Its link takes more than a client's does, for the sake of tunnel packets; what it sends must not.
        subnet = IPv4Interface(node.addresses[HOST_INTERFACE])
        lines.append(
            f"ip route replace {subnet.network} dev {HOST_INTERFACE} src {subnet.ip} proto kernel scope link"
            f" mtu {node.link_mtu}"
        )
    for route in node.routes:
        mtu = f" mtu {route.mtu}" if route.mtu else ""
        lines.append(f"ip route add {route.destination} via {route.gateway}{mtu}")
    return lines
