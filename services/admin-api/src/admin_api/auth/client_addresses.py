"""Where a request came from. Behind trusted proxies uvicorn's middleware has put the client's address in its place."""

from ipaddress import IPv6Address, IPv6Network, ip_address
from typing import Any

from starlette.types import Scope


def address_of(scope: Scope) -> str | None:
    """The client's IP address; None where there is none, as on a socket of the file system."""
    client: Any = scope.get("client")
    try:
        return str(ip_address(client[0])) if client else None
    except ValueError:
        return None


def rate_limit_key(address: str | None) -> str:
    """Whom failures are counted for: an IPv4 address, or the network that one IPv6 subscriber gets."""
    if address is None:
        return "unknown"
    ip = ip_address(address)
    if not isinstance(ip, IPv6Address):
        return address
    if ip.ipv4_mapped is not None:
        return str(ip.ipv4_mapped)
    return str(IPv6Network((ip.packed, 64), strict=False))
