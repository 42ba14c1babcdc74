"""Refuses control requests that a page of another site starts in a browser on this machine.

A browser lets any page send requests to 127.0.0.1. It names the page in `Origin` and `Sec-Fetch-Site`. A page can also
point its own host name to 127.0.0.1 (DNS rebinding), and then the request seems to have the same origin. But the name
is in `Host`, so only addresses, `localhost` and the simulator's own name are accepted there.
"""

import ipaddress
from typing import Final
from urllib.parse import urlsplit

from multidict import CIMultiDictProxy

_OWN_PAGES: Final = frozenset({"same-origin", "none"})
"""`none`: a person typed the address, so that no page started the request."""


def browser_problem(headers: CIMultiDictProxy[str], own_host: str) -> str | None:
    """The reason why a request is refused; None if it is allowed. Programs that are no browsers send no such headers.

    `own_host` is the name or address that the simulator listens on.
    """
    hosts, origins, sites = (headers.getall(name, []) for name in ("Host", "Origin", "Sec-Fetch-Site"))
    if len(hosts) != 1 or not _is_own(hosts[0], own_host):
        return (
            f"the Host header must be an IP address, localhost or {own_host}: use the address that the simulator prints"
        )
    if any(site not in _OWN_PAGES for site in sites):
        return "the request comes from a page of another site"
    if any(origin.lower() != f"http://{hosts[0].lower()}" for origin in origins):
        return "the request comes from a page of another origin"
    return None


def _is_own(host: str, own_host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
        if name in {"localhost", own_host.lower()}:
            return True
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
