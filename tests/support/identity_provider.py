"""An identity provider for tests: keys, a server that publishes them, and tokens with any claims."""

import asyncio
import json
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from joserfc import jwt
from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

SigningKey = RSAKey | ECKey | OKPKey | OctKey

ISSUER = "https://login.example.org/realms/markets"
AUDIENCE = "candlekeep"


def a_key(kid: str = "first", kind: str = "EC") -> SigningKey:
    parameters: Any = {"kid": kid, "use": "sig"}
    match kind:
        case "RSA":
            return RSAKey.generate_key(2048, parameters)
        case "EC":
            return ECKey.generate_key("P-256", parameters)
        case _:
            return OKPKey.generate_key("Ed25519", parameters)


def a_jwt(key: SigningKey, *, now: datetime | None = None, header: dict[str, Any] | None = None, **claims: Any) -> str:
    """A valid token. `claims` and `header` replace parts of it; the value None removes a part."""
    seconds = int((now or datetime.now(UTC)).timestamp())
    algorithm = {"RSA": "RS256", "EC": "ES256", "OKP": "EdDSA"}.get(key.key_type, "HS256")
    whole_header = {"alg": algorithm, "kid": key.kid, "typ": "at+jwt"} | (header or {})
    whole = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "ann",
        "iat": seconds,
        "exp": seconds + 300,
        "roles": ["markets-operators"],
    } | claims
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SecurityWarning)  # joserfc warns about the name EdDSA, which providers use
        return jwt.encode(
            {name: value for name, value in whole_header.items() if value is not None},
            {name: value for name, value in whole.items() if value is not None},
            key,
            algorithms=[str(whole_header["alg"])],
            default_type=None,
        )


@dataclass
class KeyServer:
    """Publishes `keys`, or sends the configured status, body and headers. `requests` counts the requests."""

    keys: list[SigningKey] = field(default_factory=list)
    status: int = 200
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    hang: asyncio.Event | None = None
    """Responses wait until this event is set."""
    requests: int = 0
    url: str = ""

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            self.requests += 1
            if self.hang is not None:
                await self.hang.wait()
            document = {"keys": [key.as_dict(private=False) for key in self.keys]}
            body = self.body if self.body is not None else json.dumps(document).encode()
            extra = "".join(f"{name}: {value}\r\n" for name, value in self.headers.items())
            head = f"HTTP/1.1 {self.status} X\r\nContent-Length: {len(body)}\r\n{extra}Connection: close\r\n\r\n"
            writer.write(head.encode() + body)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def key_server(*keys: SigningKey) -> AsyncIterator[KeyServer]:
    published = KeyServer(list(keys))
    server = await asyncio.start_server(published.answer, "127.0.0.1", 0)
    published.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/keys"
    try:
        yield published
    finally:
        server.close()
