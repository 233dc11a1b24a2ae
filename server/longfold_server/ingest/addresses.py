"""Which network addresses a document may be fetched from. Knows no name resolution and no connections.

Sources: the IANA special-purpose address registries (RFC 6890 and its updates); RFC 6052, 3056 and 4380 for IPv6
addresses that carry an IPv4 address inside.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_BLOCKED_V4 = [
    ipaddress.IPv4Network(text)
    for text in (
        "0.0.0.0/8",
        "192.0.0.0/24",
        "192.88.99.0/24",  # the retired 6to4 relays
        "168.63.129.16/32",  # Azure's host service: a public address that only exists inside a virtual machine
    )
]
_GLOBAL_V6 = ipaddress.IPv6Network("2000::/3")
_BLOCKED_V6 = [
    ipaddress.IPv6Network(text)
    for text in (
        "2001::/23",  # Teredo and other protocol assignments
        "2001:db8::/32",
        "2002::/16",  # 6to4: carries any IPv4 address
        "3fff::/20",
    )
]
_LOOPBACK_V4 = ipaddress.IPv4Address("127.0.0.1")
_LOOPBACK_V6 = ipaddress.IPv6Network("::1/128")


def is_public(address: Address) -> bool:
    """Whether an address belongs to the public unicast internet.

    Stricter than `ipaddress.is_global`: of IPv6 only 2000::/3 without its special ranges, so that translation prefixes
    (64:ff9b::/96), tunnels and ranges assigned after this Python was released stay out.
    """
    if isinstance(address, ipaddress.IPv4Address):
        return (
            address.is_global
            and not (address.is_multicast or address.is_reserved)
            and not any(address in network for network in _BLOCKED_V4)
        )
    return address.is_global and address in _GLOBAL_V6 and not any(address in network for network in _BLOCKED_V6)


class AddressPolicy:
    """Public addresses plus the networks an operator allows.

    `allow_networks` are CIDR texts. Allowing IPv4 loopback allows `::1` too: it is the same machine, and `localhost`
    often names both.
    """

    def __init__(self, allow_networks: Iterable[str] = ()) -> None:
        networks: list[Network] = [ipaddress.ip_network(text, strict=False) for text in allow_networks]
        if any(_LOOPBACK_V4 in network for network in networks):
            networks.append(_LOOPBACK_V6)
        self._allowed = tuple(networks)

    def permit(self, text: str) -> str | None:
        """The address to dial for a resolved `text`, or None where it must not be dialled.

        An IPv4 address written as IPv6 (::ffff:a.b.c.d) is judged and dialled as IPv4. Scoped addresses (fe80::1%eth0)
        never pass.
        """
        try:
            address: Address = ipaddress.ip_address(text)
        except ValueError:
            return None
        if isinstance(address, ipaddress.IPv6Address):
            if address.scope_id is not None:
                return None
            if address.ipv4_mapped is not None:
                address = address.ipv4_mapped
        if is_public(address) or any(address in network for network in self._allowed):
            return str(address)
        return None
