"""Tokens for OAUTHBEARER: from a file that another program renews, or from a token endpoint."""

import asyncio
import json
import time
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Final
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode
from urllib.request import HTTPRedirectHandler, Request, build_opener

from aiokafka.abc import AbstractTokenProvider
from aiokafka.errors import KafkaError
from typing_extensions import override

from runtime.connections.kafka_security import KafkaSecuritySettings

_TIMEOUT_SECONDS: Final = 10.0
_MAX_BYTES: Final = 256 * 1024
_USED_SHARE: Final = 0.8
"""Share of a token's lifetime in which new connections use it."""


class TokenUnavailable(KafkaError):  # type: ignore[misc] # noqa: N818 -- the name states the problem
    """There is no token. The client treats this like a broker that does not answer, and tries again."""

    @override
    def __str__(self) -> str:
        return str(self.args[0])


class FileTokens(AbstractTokenProvider):  # type: ignore[misc]
    """Reads the file for each connection."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)

    @override
    async def token(self) -> str:
        try:
            text = self._path.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise TokenUnavailable(f"KAFKA_SASL_TOKEN_FILE: cannot read {self._path} ({error})") from None
        if not text:
            raise TokenUnavailable(f"KAFKA_SASL_TOKEN_FILE: {self._path} is empty")
        return text


class EndpointTokens(AbstractTokenProvider):  # type: ignore[misc]
    """Requests tokens with the client credentials grant, and uses each for most of its lifetime."""

    def __init__(self, settings: KafkaSecuritySettings, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._settings, self._monotonic = settings, monotonic
        self._token, self._until = "", float("-inf")
        self._lock = asyncio.Lock()

    @override
    async def token(self) -> str:
        async with self._lock:
            if self._monotonic() >= self._until:
                asked_at = self._monotonic()
                self._token, lifetime = await asyncio.to_thread(self._request)
                self._until = asked_at + _USED_SHARE * lifetime
            return self._token

    def _request(self) -> tuple[str, float]:
        settings = self._settings
        form = {"grant_type": "client_credentials"}
        if settings.kafka_sasl_token_scope:
            form["scope"] = settings.kafka_sasl_token_scope
        request = Request(settings.kafka_sasl_token_url, urlencode(form).encode(), method="POST")  # noqa: S310 -- checked
        request.add_header("Authorization", f"Basic {self._credentials()}")
        try:
            with build_opener(_NoRedirects).open(request, timeout=_TIMEOUT_SECONDS) as response:
                answer = json.loads(response.read(_MAX_BYTES))
            return str(answer["access_token"]), float(answer.get("expires_in", 0))
        except HTTPError as error:
            error.close()
            hint = "check KAFKA_SASL_CLIENT_ID and KAFKA_SASL_CLIENT_SECRET" if error.code in {400, 401} else ""
            raise TokenUnavailable(f"KAFKA_SASL_TOKEN_URL answered HTTP {error.code}{hint and ': ' + hint}") from None
        except URLError as error:
            raise TokenUnavailable(f"KAFKA_SASL_TOKEN_URL does not answer ({error.reason})") from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise TokenUnavailable(f"KAFKA_SASL_TOKEN_URL sent no token ({type(error).__name__})") from None

    def _credentials(self) -> str:
        """RFC 6749, section 2.3.1, requires that the id and the secret are encoded before they are joined."""
        parts = (self._settings.kafka_sasl_client_id, self._settings.kafka_sasl_client_secret.get_secret_value())
        return b64encode(":".join(quote(part, safe="") for part in parts).encode()).decode()


class _NoRedirects(HTTPRedirectHandler):
    """A redirect would send the client's secret to another address."""

    @override
    def redirect_request(self, *_arguments: object) -> None:
        return None
