"""Where a request comes from."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

from fusion_store._errors import ConfigError

Address = IPv4Address | IPv6Address


def parse_address(text: str) -> Address | None:
    """An address, as such or with a port (``192.0.2.1:80``, ``[2001:db8::1]:80``); None for anything else."""
    host = text.strip()
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        address = ip_address(host)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def is_loopback(host: str | None) -> bool:
    """Whether a host name or address means this machine."""
    address = parse_address(host or "")
    return host == "localhost" if address is None else address.is_loopback


def authority_host(authority: str) -> str | None:
    """The host in a ``Host`` header or an origin, lower-case; None where there is none."""
    try:
        return urlsplit(authority if "://" in authority else f"//{authority}").hostname
    except ValueError:
        return None


class TrustedProxies:
    """The proxies whose ``X-Forwarded-For`` is believed: addresses, networks, or ``unix`` for peers on a socket
    file, which have no address."""

    def __init__(self, proxies: Sequence[str]) -> None:
        if isinstance(proxies, str):
            raise ConfigError("trusted_proxies: must be a sequence")
        self._unix = "unix" in proxies
        self._networks: list[IPv4Network | IPv6Network] = []
        for proxy in proxies:
            if proxy != "unix":
                try:
                    self._networks.append(ip_network(proxy))
                except ValueError:
                    raise ConfigError("trusted_proxies: must hold addresses, networks or 'unix'") from None

    def _trusts(self, address: Address | None) -> bool:
        return self._unix if address is None else any(address in network for network in self._networks)

    def client(self, peer: str | None, forwarded: Sequence[bytes]) -> str:
        """The address to count a request under: the last one that no trusted proxy vouches for.

        ``forwarded`` are the values of ``X-Forwarded-For``. An IPv6 client is its /64, which is what one
        subscriber has; a peer without an address is ``unix``.
        """
        address = parse_address(peer or "")
        hops = b",".join(forwarded).decode("latin-1").split(",") if forwarded else []
        while hops and self._trusts(address):
            before = parse_address(hops.pop())
            if before is None:
                break
            address = before
        if address is None:
            return "unix"
        return str(address if address.version == 4 else IPv6Network((address, 64), strict=False))
