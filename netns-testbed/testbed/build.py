# SPDX-License-Identifier: Apache-2.0
"""Turns a description into the commands that make it: one shell script per namespace, readable and replayable."""

from __future__ import annotations

from ipaddress import IPv4Interface, IPv6Address, IPv6Interface, ip_interface

from testbed.topology import BRIDGE, HOST_INTERFACE, Node, Topology

_SYSCTL = "/proc/sys/net"


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
        for address in map(ip_interface, node.addresses.get(interface, ())):
            lines.append(_add(address, interface))
            if isinstance(address, IPv6Interface):
                lines.append(_add(_link_local(address), interface))
        lines.append(f"ip link set {interface} up")
    lines += [_add(ip_interface(vip), "lo") for vip in node.vips]
    lines += _routes(node)
    return "".join(f"{line}\n" for line in lines)


_TUNNELS = ("lb-ipip", "lb-sit", "lb-ip6tnl")


def tunnel_commands(topology: Topology, backend: str) -> str:
    """Lines for ``ip -batch`` that make the kernel's tunnel devices, as tests/interop/RECIPE.md has them."""
    ipv4, ipv6 = (topology.address(backend, version) for version in (4, 6))
    options = (
        f"ipip local {ipv4} remote any",
        f"sit mode ip6ip local {ipv4} remote any",
        f"ip6tnl mode any local {ipv6} remote ::",
    )
    devices = dict(zip(_TUNNELS, options, strict=True))
    made = [f"link add {name} type {options}\n" for name, options in devices.items()]
    return "".join(made + [f"link set {name} up\n" for name in devices])


def tunnel_removal() -> str:
    """Lines for ``ip -batch`` that remove those devices."""
    return "".join(f"link delete {name}\n" for name in _TUNNELS)


def _add(address: IPv4Interface | IPv6Interface, interface: str) -> str:
    # Without nodad it could not be used for a second, in which the kernel asks the link whether anybody has it.
    nodad = " nodad" if address.version == 6 else ""
    return f"ip address add {address} dev {interface}{nodad}"


def _link_local(address: IPv6Interface) -> IPv6Interface:
    """The same host number under fe80::/64: what a router asks for neighbours with."""
    return IPv6Interface((int(IPv6Address("fe80::")) | int(address) & int(address.hostmask), 64))


def _sysctls(node: Node) -> list[str]:
    # "default" is what interfaces made later get (tunnels); for eth0, which is there already, "all" counts:
    # the kernel takes the larger of the two, so rp_filter needs both at 0.
    names = ["all", "default", *node.addresses]
    settings = {f"ipv4/conf/{name}/rp_filter": 0 for name in names}
    settings["ipv4/conf/all/send_redirects"] = 0
    for name in names:
        # Nobody announces prefixes here, and link-local addresses are given: no packet that a test has not sent.
        settings |= {f"ipv6/conf/{name}/accept_ra": 0, f"ipv6/conf/{name}/addr_gen_mode": 1}
    settings["ipv6/conf/all/disable_ipv6"] = 1 if node.ports else 0
    if node.vips:
        # The VIP sits on lo: answer ARP only for addresses of the interface asked on, and ask with those only.
        # IPv6 does so by itself.
        settings |= {"ipv4/conf/all/arp_ignore": 1, "ipv4/conf/all/arp_announce": 2}
    if node.forwards:
        settings |= {"ipv4/ip_forward": 1, "ipv6/conf/all/forwarding": 1}
    return [f"echo {value} >{_SYSCTL}/{name}" for name, value in settings.items()]


def _routes(node: Node) -> list[str]:
    lines = []
    if node.link_mtu:
        # Its link takes more than a client's does, for the sake of tunnel packets; what it sends must not.
        for address in map(ip_interface, node.addresses[HOST_INTERFACE]):
            as_before = f"src {address.ip} scope link" if address.version == 4 else "metric 256"
            lines.append(
                f"ip route replace {address.network} dev {HOST_INTERFACE} proto kernel {as_before} mtu {node.link_mtu}"
            )
    for route in node.routes:
        mtu = f" mtu {route.mtu}" if route.mtu else ""
        lines.append(f"ip route add {route.destination} via {route.gateway}{mtu}")
    return lines
