"""Which addresses are not of the public internet, and why.

The tables are explicit because `ipaddress.is_global` is not usable as a guard: up to 3.13 it calls
64:ff9b::7f00:1, ::127.0.0.1, fec0::1, ff02::1 and 224.0.0.1 global, on 3.11 6to4 as well.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_DENIED_V4 = tuple(
    (IPv4Network(network), why)
    for network, why in (
        ("0.0.0.0/8", "this network (RFC 791)"),
        ("10.0.0.0/8", "private use (RFC 1918)"),
        ("100.64.0.0/10", "carrier-grade NAT (RFC 6598)"),
        ("127.0.0.0/8", "loopback (RFC 1122)"),
        # Every large cloud's metadata service but the two below answers at 169.254.169.254.
        ("169.254.0.0/16", "link-local (RFC 3927)"),
        ("172.16.0.0/12", "private use (RFC 1918)"),
        # Oracle's metadata service, 192.0.0.192, lives in here.
        ("192.0.0.0/24", "protocol assignments (RFC 6890)"),
        ("192.0.2.0/24", "documentation (RFC 5737)"),
        ("192.88.99.0/24", "6to4 relay anycast (RFC 7526)"),
        ("192.168.0.0/16", "private use (RFC 1918)"),
        ("198.18.0.0/15", "benchmarking (RFC 2544)"),
        ("198.51.100.0/24", "documentation (RFC 5737)"),
        ("203.0.113.0/24", "documentation (RFC 5737)"),
        ("224.0.0.0/4", "multicast (RFC 5771)"),
        ("255.255.255.255/32", "limited broadcast (RFC 919)"),
        ("240.0.0.0/4", "reserved (RFC 1112)"),
        # A public address that only exists inside Azure: its host agent.
        ("168.63.129.16/32", "Azure platform address"),
    )
)

# Of IPv6 only this block is in use as the public internet (RFC 4291, IANA): what lies outside is
# denied without a list, be it ::1, fc00::/7, fe80::/10, fec0::/10, ff00::/8, ::a.b.c.d,
# ::ffff:0:a.b.c.d, 64:ff9b:1::/48, 5f00::/16 or something not yet invented.
_PUBLIC_V6 = IPv6Network("2000::/3")
_DENIED_V6 = tuple(
    (IPv6Network(network), why)
    for network, why in (
        # Teredo (RFC 4380), benchmarking (RFC 5180), ORCHID (RFC 4843, 7343) and more.
        ("2001::/23", "protocol assignments (RFC 2928)"),
        ("2001:db8::/32", "documentation (RFC 3849)"),
        ("2002::/16", "6to4 (RFC 3056)"),
        ("3fff::/20", "documentation (RFC 9637)"),
    )
)
NAT64 = IPv6Network("64:ff9b::/96")


def denied(address: Address) -> str | None:
    """Say why `address` is not one of the public internet, or None where it is.

    An IPv4-mapped address (RFC 4291, 2.5.5.2) is judged as the IPv4 address inside, for that is
    what a dual-stack socket connects to.
    """
    address = unmapped(address)
    if isinstance(address, IPv4Address):
        return next((why for network, why in _DENIED_V4 if address in network), None)
    if address in NAT64:
        return "NAT64 (RFC 6052)"
    if address not in _PUBLIC_V6:
        return "outside 2000::/3 (RFC 4291)"
    return next((why for network, why in _DENIED_V6 if address in network), None)


def unmapped(address: Address) -> Address:
    """Give the IPv4 address inside one that is mapped; any other as it is."""
    inner = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return inner or address


def literal(host: str) -> Address | None:
    """Give the address that a URL's host is; None for a name."""
    # A zone ("fe80::1%eth0") names one of this machine's interfaces: nothing a stranger may do.
    if "%" in host:
        return None
    try:
        return ip_address(host)
    except ValueError:
        return None
