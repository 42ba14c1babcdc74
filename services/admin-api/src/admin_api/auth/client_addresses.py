"""The client address of a request. Uvicorn's middleware has already replaced the address of a trusted proxy."""

from ipaddress import IPv6Address, IPv6Network, ip_address
from typing import Any

from starlette.types import Scope


def address_of(scope: Scope) -> str | None:
    """The client's IP address; None if there is none, for example on a Unix socket.

    It has no zone (`%eth0`): a zone is any text, and a proxy may pass it on from the client.
    """
    client: Any = scope.get("client")
    try:
        return str(ip_address(str(client[0]).partition("%")[0])) if client else None
    except ValueError:
        return None


def rate_limit_key(address: str | None) -> str:
    """The key of a rate limit: an IPv4 address, or the /64 network that an IPv6 subscriber has."""
    if address is None:
        return "unknown"
    ip = ip_address(address)
    if not isinstance(ip, IPv6Address):
        return address
    if ip.ipv4_mapped is not None:
        return str(ip.ipv4_mapped)
    return str(IPv6Network((ip.packed, 64), strict=False))
