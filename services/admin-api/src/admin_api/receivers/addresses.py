"""The addresses of receivers, as Apprise reads them: `slack://…`, `tgram://…`, `mailtos://…`, `jsons://…` and so on."""

import hashlib
import logging
import re
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import unquote

if TYPE_CHECKING:
    from apprise import NotifyBase


_LIBRARIES: Final = ("apprise", "urllib3", "requests", "oauthlib", "requests_oauthlib")
"""Libraries that log addresses. For example, urllib3 logs each path, which is the password of a Slack webhook."""
_PART: Final = re.compile(r"[^/:@?&=,;\s]+")
_SHORTEST_SECRET: Final = 4


class Address(NamedTuple):
    """The address of one receiver. Only `url` contains secrets."""

    url: str
    name: str
    """The name for logs: the place in the setting and the kind, such as `2 (slack)`."""
    id: str
    """The id of the receiver. It stays the same after a restart, and if only a password or another address changes."""
    shown: str
    """The address as Apprise shows it: without its secrets, but with user, path and parameters."""

    def redacted(self, text: str) -> str:
        """The text without parts of the address, except the scheme and the host.

        Apprise's log lines may contain such parts.
        """
        for part in sorted(self._secret_parts(), key=len, reverse=True):
            text = text.replace(part, "***")
        return text

    def _secret_parts(self) -> set[str]:
        # For services such as Slack, the address has a token in the place of the host. In that case, Apprise does not
        # show the token.
        scheme, _, rest = self.shown.partition("://")
        host = re.split(r"[/?]", rest, maxsplit=1)[0].rpartition("@")[2]
        parts = set(_PART.findall(self.url)) - {scheme, *_PART.findall(host)}
        return {each for part in parts for each in (part, unquote(part)) if len(each) >= _SHORTEST_SECRET}


class UnknownAddress(ValueError):  # noqa: N818 -- the name states the problem
    """The message does not contain the address, because an address contains secrets."""


def addresses_in(setting: str) -> list[Address]:
    """The addresses, which are separated by spaces or line breaks. Raises `UnknownAddress`."""
    found: list[Address] = []
    equals: Counter[str] = Counter()
    for number, url in enumerate(setting.split(), 1):
        kind = url.partition(":")[0].lower() if "://" in url else "no scheme"
        name = f"{number} ({kind[:20]})"
        service = service_of(url)
        if service is None:
            raise UnknownAddress(
                f"address {name} is not one that Apprise knows; see https://github.com/caronc/apprise/wiki for the "
                "form of each service. A space inside of an address is %20"
            )
        shown = str(service.url(privacy=True))  # type: ignore[no-untyped-call]
        stable = shown.partition("?")[0]  # a new release of Apprise may add parameters
        equals[stable] += 1
        digest = hashlib.sha256(f"{equals[stable]} {stable}".encode()).hexdigest()
        found.append(Address(url, name, digest[:16], shown))
    return found


def service_of(url: str) -> "NotifyBase | None":
    """Apprise's object for the address; None if Apprise does not know it.

    Apprise is imported here, because it loads 130 services, which takes a second and 40 MB. A process without
    notifications does not need them.
    """
    from apprise import Apprise, AppriseAsset  # noqa: PLC0415

    _keep_out_of_the_log(_LIBRARIES)

    # Apprise must not load plugins from files of the machine or store its state there. Without async_mode and its time
    # limit, it sends in the calling thread. Its pool of threads would delay the end of the process while a receiver
    # does not answer.
    asset = AppriseAsset(
        app_id="Candlekeep",
        app_desc="Candlekeep notifications",
        app_url="",
        async_mode=False,
        service_timeout=0,
        plugin_paths=[],
        secure_logging=True,
    )
    return Apprise.instantiate(url, asset=asset, suppress_exceptions=True)


def _keep_out_of_the_log(libraries: Iterable[str]) -> None:
    """Turn off the log lines of these libraries, at every LOG_LEVEL.

    `sending` reports the reason of a failure.
    """
    for name in libraries:
        library = logging.getLogger(name)
        library.propagate = False
        if not library.handlers:
            library.addHandler(logging.NullHandler())  # otherwise Python prints warnings to stderr
